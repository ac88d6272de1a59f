//! A throw-away certificate authority.

use std::path::Path;
use std::sync::Arc;

pub(crate) use rcgen::DnType;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority, and what it signs.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names are fine for an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority signs itself") }
    }

    /// The authority's own certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server on loopback.
    pub(crate) fn issue(&self) -> Issued {
        self.issue_for(&["127.0.0.1", "localhost"])
    }

    /// A certificate for these names.
    pub(crate) fn issue_for(&self, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names are fine");
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// How a server shows a certificate of this authority.
    pub(crate) fn server(&self) -> Arc<rustls::ServerConfig> {
        Self::showing(&self.issue())
    }

    /// How a server shows this certificate.
    pub(crate) fn showing(issued: &Issued) -> Arc<rustls::ServerConfig> {
        let (chain, key) = issued.parsed();
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.expect("the key fits the certificate"))
    }

    /// A certificate for a caller.
    pub(crate) fn issue_caller(&self) -> Issued {
        let mut params = CertificateParams::new(["app.test".to_owned()]).expect("one name is fine");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate for a caller with this subject, the widest attribute first as a certificate has it, and with no other name.
    pub(crate) fn issue_caller_with(&self, subject: &[(DnType, &str)]) -> Issued {
        let mut params = CertificateParams::new([]).expect("no names are fine");
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// How a client trusts this authority and nobody else, and which protocols it offers.
    pub(crate) fn client(&self, alpn: &[&str]) -> Arc<rustls::ClientConfig> {
        let mut config = self.trusting(rustls::ALL_VERSIONS).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A client that speaks this version of TLS only.
    pub(crate) fn client_of(&self, version: &'static rustls::SupportedProtocolVersion) -> Arc<rustls::ClientConfig> {
        Arc::new(self.trusting(&[version]).with_no_client_auth())
    }

    /// A client that shows this certificate.
    pub(crate) fn client_showing(&self, shown: &Issued) -> Arc<rustls::ClientConfig> {
        let (chain, key) = shown.parsed();
        let config = self.trusting(rustls::ALL_VERSIONS).with_client_auth_cert(chain, key);
        Arc::new(config.expect("the key fits the certificate"))
    }

    fn trusting(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority is a root");
        rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("aws-lc-rs speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
    }
}

impl Issued {
    /// One of the certificates that `certs-example/make-certs` has made in this folder.
    pub(crate) fn example(folder: &Path, name: &str) -> Self {
        let read = |file: String| std::fs::read_to_string(folder.join(file)).expect("make-certs made it");
        Self { certificate: read(format!("{name}.pem")), key: read(format!("{name}-key.pem")) }
    }

    fn parsed(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let chain = chain.map(|certificate| certificate.expect("written as PEM")).collect();
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("written as PEM"))
    }
}

/// Runs `certs-example/make-certs`, as an operator who tries things out would.
pub(crate) fn make_example_certificates(folder: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/certs-example/make-certs");
    let made = std::process::Command::new(script).arg(folder).output().expect("the script can be run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A client that trusts the authority in this file, and shows this certificate if any.
pub(crate) fn client_trusting(authority: &Path, shown: Option<&Issued>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(authority).expect("make-certs made it");
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.expect("written as PEM")).expect("an authority is a root");
    }
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let Some(shown) = shown else { return Arc::new(config.with_no_client_auth()) };
    let (chain, key) = shown.parsed();
    Arc::new(config.with_client_auth_cert(chain, key).expect("the key fits the certificate"))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
