//! TLS for callers: the gateway's certificate, and which client certificates are accepted.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

/// What a TLS listener is made of, as the PEM texts that were read from files.
#[derive(Clone)]
pub struct TlsMaterial {
    /// The server's certificate, followed by its intermediates.
    pub certificate: Vec<u8>,
    /// The private key of that certificate.
    pub key: Vec<u8>,
    /// Whose client certificates are accepted; `None` asks for none.
    pub clients: Option<ClientTrust>,
}

/// Which client certificates are accepted.
#[derive(Debug, Clone)]
pub struct ClientTrust {
    /// The authorities that sign callers' certificates, as PEM.
    pub authorities: Vec<u8>,
    /// Revocation lists as PEM, each with one list or more.
    ///
    /// With any list given, each authority in a client's chain needs a current one: a certificate
    /// whose authority has none, or one that is past its next update, is refused. Not to know
    /// whether a certificate was revoked is no reason to accept it.
    pub revocation_lists: Vec<Vec<u8>>,
    /// Whether a caller without a certificate is refused in the handshake.
    pub required: bool,
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial").field("clients", &self.clients).finish_non_exhaustive()
    }
}

/// Why TLS material was refused.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A text is not PEM, or holds nothing of the kind that is looked for.
    #[error("the {what} cannot be read as PEM")]
    Pem {
        /// What the text should have been.
        what: &'static str,
        /// What was found instead.
        #[source]
        source: pem::Error,
    },
    /// A text holds no certificate.
    #[error("the {what} holds no certificate")]
    Empty {
        /// What the text should have been.
        what: &'static str,
    },
    /// A client CA certificate is not one.
    #[error("a client CA certificate cannot be used")]
    Authority(#[source] rustls::Error),
    /// The client CA or a revocation list cannot be used.
    #[error("the client CA or a revocation list cannot be used")]
    Clients(#[from] VerifierBuilderError),
    /// The certificate cannot be used, or the key is not its key.
    #[error("the server certificate and its key cannot be used")]
    Server(#[source] rustls::Error),
}

/// The TLS side of a listener. Its certificate can be replaced while connections run.
#[derive(Debug)]
pub struct TlsServer {
    current: ArcSwap<Material>,
}

/// What handshakes are made with, and callers' certificates verified.
#[derive(Debug)]
pub(super) struct Material {
    config: Arc<ServerConfig>,
    /// Absent where callers are asked for no certificate.
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// Material that was checked and is not in force yet.
#[derive(Debug)]
pub struct PreparedTls(Material);

impl PreparedTls {
    /// Checks `material`.
    ///
    /// # Errors
    ///
    /// When it cannot be used.
    pub fn of(material: &TlsMaterial) -> Result<Self, TlsError> {
        Ok(Self(ready(material)?))
    }
}

impl TlsServer {
    /// Whether a caller without a certificate is turned away in the handshake.
    pub(super) fn asks_everybody(&self) -> bool {
        self.current.load().clients.as_ref().is_some_and(|clients| clients.client_auth_mandatory())
    }

    /// Checks `material` and makes a server of it.
    pub fn new(material: &TlsMaterial) -> Result<Self, TlsError> {
        Ok(Self { current: ArcSwap::from_pointee(ready(material)?) })
    }

    /// Checks and takes; with an error the old material stays.
    #[cfg(test)]
    pub(super) fn reload(&self, material: &TlsMaterial) -> Result<(), TlsError> {
        self.take(PreparedTls::of(material)?);
        Ok(())
    }

    /// Replaces certificate and key for handshakes that begin from now on, and client trust for requests as well: a
    /// caller whose certificate the new authorities or lists refuse is served no further request.
    ///
    /// The material was checked before, so this cannot fail. Sessions from before cannot be resumed, so a caller always
    /// meets the certificate, and the revocation lists, that are current.
    pub fn take(&self, prepared: PreparedTls) {
        self.current.store(Arc::new(prepared.0));
    }

    pub(super) fn material(&self) -> Arc<Material> {
        self.current.load_full()
    }
}

impl Material {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn ready(material: &TlsMaterial) -> Result<Material, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates("server certificate", &material.certificate)?;
    let key =
        PrivateKeyDer::from_pem_slice(&material.key).map_err(|source| TlsError::Pem { what: "server key", source })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Server)?;
    let clients = material.clients.as_ref().map(|trust| client_verifier(trust, provider)).transpose()?;
    let builder = match &clients {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Server)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if material.clients.is_some() {
        // A resumed session carries the client's certificate over without looking at it again, so
        // one that expired or was revoked meanwhile would still be let in.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Server)?;
    }
    Ok(Material { config: Arc::new(config), clients })
}

fn client_verifier(
    trust: &ClientTrust,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("client CA", &trust.authorities)? {
        roots.add(authority).map_err(TlsError::Authority)?;
    }
    let mut lists = Vec::new();
    for text in &trust.revocation_lists {
        let before = lists.len();
        for list in CertificateRevocationListDer::pem_slice_iter(text) {
            lists.push(list.map_err(bad_list)?);
        }
        if lists.len() == before {
            return Err(bad_list(pem::Error::NoItemsFound));
        }
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(lists)
        .enforce_revocation_expiration();
    if !trust.required {
        verifier = verifier.allow_unauthenticated();
    }
    Ok(verifier.build()?)
}

fn bad_list(source: pem::Error) -> TlsError {
    TlsError::Pem { what: "revocation list", source }
}

fn certificates(what: &'static str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what, source })?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { what });
    }
    Ok(certificates)
}
