//! A declared proxy: what it is asked, what of it is believed, and what happens when it does not connect.

use std::net::SocketAddr;
use std::sync::Arc;

use egress::{
    Code, EndpointSpec, Fleet, Host, Level, Reach, SendError, StepKind, TlsFault, TlsSpec, TransportSpec, ViaConnect,
    ViaSpec,
};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::tls::{Authority, secure, server, tls_upstream};
use crate::world::{Dns, TARGET, Upstream, endpoint, fleet, fleet_with, read, scripted, send};

const PROXY: &str = "proxy.internal";

/// A proxy that takes what RFC 9110 allows and nothing else, and where it was asked to connect to.
struct Proxy {
    server: Upstream,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Connects to where it is asked to, or to `to` whatever it is asked.
    async fn start(to: Option<SocketAddr>) -> Self {
        Self::speaking(None, to).await
    }

    async fn speaking(tls: Option<ServerConfig>, to: Option<SocketAddr>) -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let list = Arc::clone(&asked);
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let server = scripted(move |stream, _| {
            let (list, acceptor) = (Arc::clone(&list), acceptor.clone());
            async move {
                match acceptor {
                    None => connect(stream, list, to).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            connect(stream, list, to).await;
                        }
                    }
                }
            }
        })
        .await;
        Self { server, asked }
    }

    /// Says this to every CONNECT.
    async fn saying(answer: &'static str) -> Self {
        let server = scripted(move |mut stream, _| async move {
            head_of(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        Self { server, asked: Arc::default() }
    }

    fn via(&self, connect: ViaConnect) -> ViaSpec {
        ViaSpec {
            host: Host::Address(self.server.address.ip()),
            port: self.server.address.port(),
            tls: None,
            within: vec!["127.0.0.0/8".parse().unwrap()],
            connect,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    asked: Arc<Mutex<Vec<String>>>,
    to: Option<SocketAddr>,
) {
    let head = head_of(&mut stream).await;
    let lines: Vec<&str> = head.split("\r\n").collect();
    let wanted = lines[0].strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
    let wanted = wanted.filter(|wanted| lines[1..] == [format!("Host: {wanted}").as_str(), "", ""]);
    let Some(wanted) = wanted else {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        return;
    };
    asked.lock().push(wanted.to_owned());
    let to = to.unwrap_or_else(|| wanted.parse().unwrap());
    let mut beyond = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 Connection established\r\nx-proxy: yes\r\n\r\n").await.unwrap();
    stream.flush().await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut beyond).await;
}

async fn head_of<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn over(proxy: &Proxy, connect: ViaConnect, spec: EndpointSpec) -> EndpointSpec {
    EndpointSpec { via: Some(proxy.via(connect)), ..spec }
}

fn refused(error: &SendError) -> String {
    assert_eq!(error.code(), Some(Code::Net12), "{error:?}");
    assert!(!error.may_have_executed());
    error.to_string()
}

/// An endpoint over TLS, and who issues its certificate.
async fn upstream() -> (Upstream, Authority) {
    let authority = Authority::new("Corp CA");
    let upstream = tls_upstream(server(&authority.issue("gpu-1.internal"), &["h2", "http/1.1"])).await;
    (upstream, authority)
}

#[tokio::test]
async fn a_proxy_is_told_the_address_that_was_verified_and_the_record_says_that_it_stood_between() {
    let (upstream, authority) = upstream().await;
    let proxy = Proxy::start(None).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let spec = secure(upstream.address, &authority);
    let fleet = fleet_with(over(&proxy, ViaConnect::Address, spec), dns.resolver());

    let reply = send(&fleet).await.unwrap();

    let proof = Arc::clone(&reply.connection);
    assert_eq!(read(reply).await, "ok");
    assert_eq!(proxy.asked(), [upstream.address.to_string()], "an address, and never the name");
    let met = proxy.server.address;
    assert_eq!((proof.address, proof.peer, proof.via), (upstream.address, met, Some(met)));
    assert_eq!((proof.level, proof.level.as_str()), (Level::Proxied, "proxied"));
    let note = String::from_utf8(proof.note.json().to_vec()).unwrap();
    assert!(note.contains(&format!("\"via\":\"{met}\"")), "{note}");
}

#[tokio::test]
async fn a_proxy_that_connects_to_somebody_else_is_found_out_by_the_certificate() {
    let (upstream, authority) = upstream().await;
    let other = Authority::new("Another CA");
    let elsewhere = tls_upstream(server(&other.issue("gpu-1.internal"), &[])).await;
    let proxy = Proxy::start(Some(elsewhere.address)).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let spec = secure(upstream.address, &authority);
    let fleet = fleet_with(over(&proxy, ViaConnect::Address, spec), dns.resolver());

    let error = send(&fleet).await.unwrap_err();

    assert!(matches!(error, SendError::Tls { fault: TlsFault::UnknownIssuer, .. }), "{error:?}");
    assert!(!error.may_have_executed());
}

#[tokio::test]
async fn an_address_that_is_not_verified_is_never_told_to_a_proxy() {
    let (upstream, authority) = upstream().await;
    let proxy = Proxy::start(None).await;
    let dns = Dns::start(&["203.0.113.9"]).await;
    let spec = secure(upstream.address, &authority);
    let fleet = fleet_with(over(&proxy, ViaConnect::Address, spec), dns.resolver());

    let error = send(&fleet).await.unwrap_err();

    assert_eq!(error.code(), Some(Code::Addr01));
    assert_eq!((proxy.server.accepted(), proxy.asked().len()), (0, 0));
}

#[tokio::test]
async fn what_is_public_may_be_asked_for_by_name_and_that_is_weaker_evidence() {
    let authority = Authority::new("Corp CA");
    let upstream = tls_upstream(server(&authority.issue("models.example"), &[])).await;
    let proxy = Proxy::start(Some(upstream.address)).await;
    // No resolver is asked for the name, and none has its zone.
    let public = EndpointSpec {
        host: Host::Name("models.example".to_owned()),
        authority: "models.example".to_owned(),
        reach: Reach::Public,
        ..secure(upstream.address, &authority)
    };
    let fleet = fleet(over(&proxy, ViaConnect::Name, public));

    let reply = send(&fleet).await.unwrap();

    let proof = Arc::clone(&reply.connection);
    assert_eq!(read(reply).await, "ok");
    assert_eq!(proxy.asked(), [format!("models.example:{}", upstream.address.port())]);
    assert_eq!((proof.level, proof.level.as_str(), proof.via), (Level::Name, "name", Some(proxy.server.address)));
    assert!(Level::Name < Level::Proxied && Level::Proxied < Level::Address);
}

#[tokio::test]
async fn nothing_but_what_is_public_is_asked_for_by_name_and_nothing_without_tls_at_all() {
    let (upstream, authority) = upstream().await;
    let proxy = Proxy::start(None).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let built = |spec| {
        let fleet = Fleet::build(vec![spec], vec![dns.resolver()], &[(TARGET, 0)], None);
        fleet.unwrap_err().to_string()
    };

    let by_name = built(over(&proxy, ViaConnect::Name, secure(upstream.address, &authority)));
    let plain = built(over(&proxy, ViaConnect::Address, endpoint(upstream.address)));

    assert!(by_name.contains("only what is public"), "{by_name}");
    assert!(plain.contains("without TLS"), "{plain}");
}

#[tokio::test]
async fn a_proxy_outside_its_networks_is_not_dialled() {
    let (upstream, authority) = upstream().await;
    let proxy = Proxy::start(None).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let within = vec!["10.0.0.0/8".parse().unwrap()];
    let via = ViaSpec { within, ..proxy.via(ViaConnect::Address) };
    let spec = EndpointSpec { via: Some(via), ..secure(upstream.address, &authority) };

    let text = refused(&send(&fleet_with(spec, dns.resolver())).await.unwrap_err());

    assert!(text.contains("cannot be dialled"), "{text}");
    assert_eq!((proxy.server.accepted(), upstream.accepted()), (0, 0));
}

#[tokio::test]
async fn a_proxy_whose_name_leads_elsewhere_too_is_not_dialled() {
    let (upstream, authority) = upstream().await;
    let proxy = Proxy::start(None).await;
    let dns = Dns::start(&["127.0.0.1", "203.0.113.9"]).await;
    let via = ViaSpec { host: Host::Name(PROXY.to_owned()), ..proxy.via(ViaConnect::Address) };
    let host = Host::Address(upstream.address.ip());
    let spec = EndpointSpec { via: Some(via), host, ..secure(upstream.address, &authority) };

    let text = refused(&send(&fleet_with(spec, dns.resolver())).await.unwrap_err());

    assert!(text.contains("203.0.113.9"), "{text}");
    assert_eq!(proxy.server.accepted(), 0, "one address outside refuses them all");
}

#[tokio::test]
async fn a_proxy_is_dialled_by_the_families_that_its_endpoint_allows() {
    let (upstream, authority) = upstream().await;
    let proxy = Proxy::start(None).await;
    let within = || vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let fleet_of = |dns: &Dns, spec: EndpointSpec, ipv6: bool| {
        let via = ViaSpec { host: Host::Name(PROXY.to_owned()), within: within(), ..proxy.via(ViaConnect::Address) };
        let transport = TransportSpec { ipv6, ..TransportSpec::default() };
        let reach = Reach::Local { within: within() };
        fleet_with(EndpointSpec { via: Some(via), transport, reach, ..spec }, dns.resolver())
    };
    let both = Dns::start(&["127.0.0.1", "::1"]).await;
    let ipv6_alone = Dns::start(&["::1"]).await;
    let by_name = secure(upstream.address, &authority);
    let by_address =
        || EndpointSpec { host: Host::Address(upstream.address.ip()), ..secure(upstream.address, &authority) };

    let reply = send(&fleet_of(&both, by_name, false)).await.unwrap();
    let refused_family = refused(&send(&fleet_of(&ipv6_alone, by_address(), false)).await.unwrap_err());
    let dialled = refused(&send(&fleet_of(&ipv6_alone, by_address(), true)).await.unwrap_err());

    assert_eq!(reply.connection.via, Some(proxy.server.address));
    assert!(refused_family.contains("`transport.ipv6` does not allow them"), "{refused_family}");
    assert!(!dialled.contains("transport.ipv6"), "nobody listens at ::1, which only dialling finds out: {dialled}");
}

#[tokio::test]
async fn tls_to_the_proxy_is_verified_under_its_own_name() {
    let (upstream, authority) = upstream().await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let roots = secure(upstream.address, &authority).tls.ca;
    let (right, wrong) = (authority.issue(PROXY), authority.issue("other.internal"));
    let of = |proxy: &Proxy| {
        let tls = Some(TlsSpec { ca: roots.clone(), ..TlsSpec::default() });
        let via = ViaSpec { host: Host::Name(PROXY.to_owned()), tls, ..proxy.via(ViaConnect::Address) };
        fleet_with(EndpointSpec { via: Some(via), ..secure(upstream.address, &authority) }, dns.resolver())
    };
    let proxy = Proxy::speaking(Some(server(&right, &[])), None).await;
    let forged = Proxy::speaking(Some(server(&wrong, &[])), None).await;

    let reply = send(&of(&proxy)).await.unwrap();
    let text = refused(&send(&of(&forged)).await.unwrap_err());

    assert_eq!(read(reply).await, "ok");
    assert_eq!(proxy.asked(), [upstream.address.to_string()]);
    assert!(text.contains("could not be verified over TLS"), "{text}");
    assert!(forged.asked().is_empty(), "it hears nothing of the endpoint");
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_is_named_with_what_it_said_and_nobody_goes_around_it() {
    let (upstream, authority) = upstream().await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    for (answer, told) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n", "answers 407 to CONNECT"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "answers 403 to CONNECT"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not answer in HTTP"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "does not answer in HTTP"),
        ("HTTP/1.1 200", "breaks the connection"),
        ("", "breaks the connection"),
    ] {
        let proxy = Proxy::saying(answer).await;
        let spec = over(&proxy, ViaConnect::Address, secure(upstream.address, &authority));

        let text = refused(&send(&fleet_with(spec, dns.resolver())).await.unwrap_err());

        assert!(text.contains(told) && text.contains(&upstream.address.to_string()), "{answer}: {text}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn a_proxy_whose_answer_has_no_end_is_given_up() {
    let (upstream, authority) = upstream().await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let server = scripted(|mut stream, _| async move {
        head_of(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.is_ok() {}
    });
    let proxy = Proxy { server: server.await, asked: Arc::default() };
    let spec = over(&proxy, ViaConnect::Address, secure(upstream.address, &authority));

    let text = refused(&send(&fleet_with(spec, dns.resolver())).await.unwrap_err());

    assert!(text.contains("an endless head"), "{text}");
}

#[tokio::test]
async fn a_look_says_that_a_proxy_stood_between() {
    let (upstream, authority) = upstream().await;
    let proxy = Proxy::start(None).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let spec = over(&proxy, ViaConnect::Address, secure(upstream.address, &authority));
    let fleet = fleet_with(spec, dns.resolver());

    let seen = fleet.endpoints()[0].inspect(&egress::Inspect::default()).await;

    assert_eq!(seen.verdict, None, "{:?}", seen.steps);
    let step = seen.steps.iter().find(|step| step.kind == StepKind::Connect).unwrap();
    assert!(step.seen.starts_with(&format!("the proxy at {}", proxy.server.address)), "{}", step.seen);
    assert!(fleet.endpoints()[0].trace(std::time::Duration::from_secs(1)).await.is_empty());
}
