//! TLS towards endpoints.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use egress::{ClientCertificate, EndpointSpec, Http2, Protocol, Scheme, SendError, TlsFault, TlsSpec};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::world::{Dns, Upstream, fleet_with, named, ok, read, scripted, send, serve};

/// An authority and what it issued.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

pub(crate) struct Issued {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// SHA-256 of the public key.
    pin: [u8; 32],
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let pin = digest(&SHA256, &key.subject_public_key_info()).as_ref().try_into().unwrap();
        Issued { chain: vec![certificate.der().clone()], key: PrivateKeyDer::Pkcs8(key.serialize_der().into()), pin }
    }

    fn roots(&self) -> Vec<CertificateDer<'static>> {
        vec![self.0.der().clone()]
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(crate) fn server(issued: &Issued, alpn: &[&str]) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let mut config =
        builder.with_no_client_auth().with_single_cert(issued.chain.clone(), issued.key.clone_key()).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

pub(crate) async fn tls_upstream(config: ServerConfig) -> Upstream {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    scripted(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, ok).await;
            }
        }
    })
    .await
}

pub(crate) fn secure(address: SocketAddr, authority: &Authority) -> EndpointSpec {
    EndpointSpec {
        scheme: Scheme::Https,
        tls: TlsSpec { ca: Some(authority.roots()), ..TlsSpec::default() },
        ..named("gpu-1.internal", address.port(), &["127.0.0.0/8"])
    }
}

pub(crate) async fn dns() -> Dns {
    Dns::start(&["127.0.0.1"]).await
}

async fn tls_fault(spec: EndpointSpec) -> Option<TlsFault> {
    match send(&fleet_with(spec, dns().await.resolver())).await.unwrap_err() {
        SendError::Tls { fault, .. } => Some(fault),
        _ => None,
    }
}

#[tokio::test]
async fn http2_is_spoken_over_tls_where_the_server_chooses_it_and_the_proof_says_what_was_met() {
    let authority = Authority::new("Corp CA");
    let issued = authority.issue("gpu-1.internal");
    let upstream = tls_upstream(server(&issued, &["h2", "http/1.1"])).await;
    let fleet = fleet_with(secure(upstream.address, &authority), dns().await.resolver());

    let reply = send(&fleet).await.unwrap();

    let proof = Arc::clone(&reply.connection);
    let tls = proof.tls.as_ref().unwrap();
    assert_eq!(proof.protocol, Protocol::Http2);
    assert_eq!((tls.version, tls.group.as_deref()), ("TLSv1.3", Some("X25519MLKEM768")));
    assert!(tls.issuer.contains("CN=Corp CA"), "{}", tls.issuer);
    assert_eq!(tls.certificate_sha256.len(), 64);
    assert_eq!(read(reply).await, "ok");
}

#[tokio::test]
async fn http2_and_the_post_quantum_group_can_be_turned_off() {
    let authority = Authority::new("Corp CA");
    let upstream = tls_upstream(server(&authority.issue("gpu-1.internal"), &["h2", "http/1.1"])).await;
    let mut spec = secure(upstream.address, &authority);
    spec.http2 = Http2::Off;
    spec.tls.post_quantum = false;
    let fleet = fleet_with(spec, dns().await.resolver());

    let reply = send(&fleet).await.unwrap();

    let proof = Arc::clone(&reply.connection);
    assert_eq!(proof.protocol, Protocol::Http1);
    assert_eq!(proof.tls.as_ref().unwrap().group.as_deref(), Some("X25519"));
    assert_eq!(read(reply).await, "ok");
}

#[tokio::test]
async fn a_certificate_from_another_issuer_is_refused() {
    let (ours, theirs) = (Authority::new("Corp CA"), Authority::new("Inspection CA"));
    let upstream = tls_upstream(server(&theirs.issue("gpu-1.internal"), &[])).await;

    assert_eq!(tls_fault(secure(upstream.address, &ours)).await, Some(TlsFault::UnknownIssuer));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new("Corp CA");
    let upstream = tls_upstream(server(&authority.issue("gpu-2.internal"), &[])).await;

    assert_eq!(tls_fault(secure(upstream.address, &authority)).await, Some(TlsFault::WrongName));
}

#[tokio::test]
async fn a_trusted_certificate_with_another_key_than_the_pinned_one_is_refused() {
    let authority = Authority::new("Corp CA");
    let (served, other) = (authority.issue("gpu-1.internal"), authority.issue("gpu-1.internal"));
    let upstream = tls_upstream(server(&served, &[])).await;
    let pinned = |pin: Vec<[u8; 32]>| {
        let mut spec = secure(upstream.address, &authority);
        spec.tls.pin = pin;
        spec
    };

    assert_eq!(tls_fault(pinned(vec![other.pin])).await, Some(TlsFault::PinMismatch));
    assert!(send(&fleet_with(pinned(vec![other.pin, served.pin]), dns().await.resolver())).await.is_ok());
}

#[tokio::test]
async fn a_pin_does_not_replace_the_chain() {
    let (ours, theirs) = (Authority::new("Corp CA"), Authority::new("Inspection CA"));
    let served = theirs.issue("gpu-1.internal");
    let upstream = tls_upstream(server(&served, &[])).await;
    let mut spec = secure(upstream.address, &ours);
    spec.tls.pin = vec![served.pin];

    assert_eq!(tls_fault(spec).await, Some(TlsFault::UnknownIssuer));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_and_one_that_closes_are_told_apart() {
    let authority = Authority::new("Corp CA");
    let plain = scripted(|mut stream, _| async move {
        crate::world::write(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    let closing = scripted(|mut stream, _| async move {
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await;
    })
    .await;

    assert_eq!(tls_fault(secure(plain.address, &authority)).await, Some(TlsFault::Protocol));
    assert_eq!(tls_fault(secure(closing.address, &authority)).await, Some(TlsFault::Closed));
}

#[tokio::test]
async fn a_server_that_does_not_finish_the_handshake_is_a_connect_timeout() {
    let authority = Authority::new("Corp CA");
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let upstream = scripted(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            let hello = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await.unwrap();
            tell.send(hello).await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let fleet = fleet_with(secure(upstream.address, &authority), dns().await.resolver());
    let received = async {
        told.recv().await.unwrap();
        tokio::time::pause();
    };

    let (reply, ()) = tokio::join!(send(&fleet), received);

    let error = reply.unwrap_err();
    assert!(matches!(error, SendError::ConnectTimeout { phase: egress::Phase::Tls, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_must_speak_http2_and_does_not_is_refused() {
    let authority = Authority::new("Corp CA");
    let upstream = tls_upstream(server(&authority.issue("gpu-1.internal"), &[])).await;
    let mut spec = secure(upstream.address, &authority);
    spec.http2 = Http2::PriorKnowledge;

    assert_eq!(tls_fault(spec).await, Some(TlsFault::NoCommonProtocol));
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_when_it_is_asked() {
    let authority = Authority::new("Corp CA");
    let (served, own) = (authority.issue("gpu-1.internal"), authority.issue("gateway.internal"));
    let mut roots = RootCertStore::empty();
    roots.add(authority.roots().remove(0)).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_client_cert_verifier(verifier).with_single_cert(served.chain, served.key).unwrap();
    let upstream = tls_upstream(config).await;
    let without = secure(upstream.address, &authority);
    let mut with = without.clone();
    with.tls.client_certificate = Some(ClientCertificate { chain: own.chain, key: Arc::new(own.key) });

    assert!(send(&fleet_with(with, dns().await.resolver())).await.is_ok());
    assert!(send(&fleet_with(without, dns().await.resolver())).await.is_err());
}
