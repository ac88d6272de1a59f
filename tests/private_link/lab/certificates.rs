//! The lab's authorities: the one that the service's certificates come from, and one that nobody invited.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("no names are fine for an authority");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority signs itself") }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names and its key, as PEM.
    pub(crate) fn issue(&self, names: &[&str]) -> (String, String) {
        self.sign(&CertificateParams::new(owned(names)).expect("the names are names"))
    }

    /// A certificate that has run out.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> (String, String) {
        let mut params = CertificateParams::new(owned(names)).expect("the names are names");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        (certificate.pem(), key.serialize_pem())
    }

    /// A client that trusts this authority and nobody else.
    pub(crate) fn client(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority is a root");
        let config = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        Arc::new(config.expect("aws-lc-rs speaks TLS").with_root_certificates(roots).with_no_client_auth())
    }
}

/// A server that shows this certificate and speaks HTTP/1.1.
pub(crate) fn server((certificate, key): &(String, String)) -> Arc<rustls::ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
    let chain = chain.map(|certificate| certificate.expect("written as PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("written as PEM");
    let config = rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.expect("aws-lc-rs speaks TLS").with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.expect("the key fits the certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
