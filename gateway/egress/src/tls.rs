//! TLS towards endpoints: whom to trust, which key to insist on, and how a handshake failed.
//!
//! aws-lc-rs is passed to every builder, so that no process-wide default decides. A configuration is built once per
//! endpoint and holds its session tickets: endpoints never share trust, pins or sessions.

use std::io;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, NamedGroup, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::error::TlsFault;
use crate::issuer;
use crate::spec::{EndpointSpec, Host, Http2, TlsSpec};

/// Loads the system's roots at most once per build of a fleet, and only if an endpoint needs them.
#[derive(Default)]
pub(crate) struct SystemRoots(OnceLock<Arc<RootCertStore>>);

impl SystemRoots {
    fn get(&self) -> Arc<RootCertStore> {
        let load = || {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "a system root certificate could not be read");
            }
            // Old roots in a form that webpki does not read are common and not a reason to refuse the rest.
            let (_, unread) = roots.add_parsable_certificates(found.certs);
            if unread > 0 {
                tracing::debug!(unread, "some system root certificates were left out");
            }
            Arc::new(roots)
        };
        Arc::clone(self.0.get_or_init(load))
    }
}

/// Builds an endpoint's client configuration, or says what is wrong with its settings.
pub(crate) fn client_config(spec: &TlsSpec, http2: Http2, system: &SystemRoots) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(crypto(spec.post_quantum));
    let roots = match &spec.ca {
        Some(issuers) => {
            let mut roots = RootCertStore::empty();
            for issuer in issuers {
                roots.add(issuer.clone()).map_err(|error| format!("an issuer cannot be used: {error}"))?;
            }
            Arc::new(roots)
        }
        None => system.get(),
    };
    let webpki = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|_| "there is no root certificate to trust; name one with `tls = { ca = … }`".to_owned())?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let narrowed = Arc::new(Narrowed { webpki, pins: spec.pin.clone(), issuers: spec.issuers.clone() });
    let builder = builder.dangerous().with_custom_certificate_verifier(narrowed);
    let mut config = match &spec.client_certificate {
        Some(own) => builder
            .with_client_auth_cert(own.chain.clone(), own.key.clone_key())
            .map_err(|error| format!("the client certificate cannot be used: {error}"))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match http2 {
        Http2::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Http2::Off => vec![b"http/1.1".to_vec()],
        Http2::PriorKnowledge => vec![b"h2".to_vec()],
        Http2::NoHttp => Vec::new(),
    };
    Ok(Arc::new(config))
}

/// The name that the certificate must carry.
pub(crate) fn server_name(spec: &EndpointSpec) -> Result<ServerName<'static>, String> {
    match &spec.host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` is not a name for a certificate"))
        }
    }
}

fn crypto(post_quantum: bool) -> CryptoProvider {
    let mut provider = provider::default_provider();
    if !post_quantum {
        provider.kx_groups.retain(|group| !is_post_quantum(group.name()));
    }
    provider
}

fn is_post_quantum(group: NamedGroup) -> bool {
    matches!(
        group,
        NamedGroup::X25519MLKEM768
            | NamedGroup::secp256r1MLKEM768
            | NamedGroup::MLKEM512
            | NamedGroup::MLKEM768
            | NamedGroup::MLKEM1024
    )
}

/// The client configuration towards DNS servers.
pub(crate) fn resolver_config(
    ca: Option<&[CertificateDer<'static>]>,
    alpn: &[u8],
    system: &SystemRoots,
) -> Result<Arc<ClientConfig>, String> {
    let spec = TlsSpec { ca: ca.map(<[_]>::to_vec), ..TlsSpec::default() };
    let mut config = ClientConfig::clone(&*client_config(&spec, Http2::Off, system)?);
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

/// The usual verification, and then issuer and pin. Neither ever replaces the chain, the name or the dates.
#[derive(Debug)]
struct Narrowed {
    webpki: Arc<WebPkiServerVerifier>,
    pins: Vec<[u8; 32]>,
    issuers: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the certificate was issued by `{0}`, which is none of the issuers that it may have")]
struct OtherIssuer(String);

#[derive(Debug, thiserror::Error)]
#[error("the certificate was issued by `{0}`, which is not trusted")]
struct UnknownIssuer(String);

/// Names the issuer in an error that means somebody else's certificate: who opens TLS on the way is known by it.
fn named(error: Error, end_entity: &CertificateDer<'_>) -> Error {
    match (&error, webpki::EndEntityCert::try_from(end_entity)) {
        (Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature), Ok(parsed)) => {
            let unknown = UnknownIssuer(issuer::readable(parsed.issuer()));
            CertificateError::Other(OtherError(Arc::new(unknown))).into()
        }
        _ => error,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the key of the certificate is not one of the pinned keys")]
struct PinMismatch;

impl ServerCertVerifier for Narrowed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .webpki
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| named(error, end_entity))?;
        if !self.issuers.is_empty() {
            let parsed = webpki::EndEntityCert::try_from(end_entity)
                .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
            if !issuer::is_one_of(parsed.issuer(), &self.issuers) {
                let met = issuer::readable(parsed.issuer());
                return Err(CertificateError::Other(OtherError(Arc::new(OtherIssuer(met)))).into());
            }
        }
        if self.pins.is_empty() {
            return Ok(verified);
        }
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let seen = digest(&SHA256, &key);
        if self.pins.iter().any(|pin| pin.as_slice() == seen.as_ref()) {
            return Ok(verified);
        }
        Err(CertificateError::Other(OtherError(Arc::new(PinMismatch))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Says what kind of failure a handshake ended with.
pub(crate) fn fault(error: &io::Error) -> TlsFault {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                TlsFault::Closed
            }
            _ => TlsFault::Protocol,
        };
    };
    match error {
        Error::InvalidCertificate(reason) => certificate_fault(reason),
        Error::AlertReceived(_) => TlsFault::Alert,
        Error::NoApplicationProtocol => TlsFault::NoCommonProtocol,
        _ => TlsFault::Protocol,
    }
}

/// The error in our own words, where they stand inside rustls's.
pub(crate) fn readable(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(ours)))) => {
            io::Error::new(error.kind(), ours.to_string())
        }
        _ => error,
    }
}

fn certificate_fault(reason: &CertificateError) -> TlsFault {
    match reason {
        // A root of the right name with another key fails at the signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFault::NotValidNow,
        CertificateError::Revoked => TlsFault::Revoked,
        CertificateError::Other(OtherError(inner)) if inner.is::<PinMismatch>() => TlsFault::PinMismatch,
        CertificateError::Other(OtherError(inner)) if inner.is::<OtherIssuer>() => TlsFault::OtherIssuer,
        CertificateError::Other(OtherError(inner)) if inner.is::<UnknownIssuer>() => TlsFault::UnknownIssuer,
        _ => TlsFault::BadCertificate,
    }
}

/// Lower-case hex of the SHA-256 of a certificate.
pub(crate) fn fingerprint(certificate: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, certificate).as_ref() {
        write!(text, "{byte:02x}").expect("writing into a String cannot fail");
    }
    text
}
