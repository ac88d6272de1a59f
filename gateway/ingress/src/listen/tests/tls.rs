use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::proxy::tests::proxied;
use super::super::{ClientTrust, PreparedTls, TlsError, TlsMaterial, TlsServer, Unreadable};
use super::{
    Door, ListenSettings, ServeError, Served, World, exchange, get, http1_over, http2_over, read_to_end, read_until,
    text_of,
};

const WHO: &str = "GET /who HTTP/1.1\r\nhost: gateway.example\r\nconnection: close\r\n\r\n";

/// An authority that lives in memory.
pub(super) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn server(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    fn client(&self, serial: u64, last_year: i32) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = "spiffe://example.org/app/claims".try_into().unwrap();
        params.subject_alt_names = vec![SanType::URI(name)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = date_time_ymd(last_year, 1, 1);
        self.sign(&params)
    }

    fn revocation_list(&self, serials: &[u64], next_year: i32) -> Vec<u8> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(next_year, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap().into_bytes()
    }
}

fn material(authority: &Authority, clients: Option<ClientTrust>) -> TlsMaterial {
    let (certificate, key) = authority.server("gateway.example");
    TlsMaterial { certificate: certificate.into_bytes(), key: key.into_bytes(), clients }
}

fn trust(authority: &Authority, revocation_lists: Vec<Vec<u8>>) -> ClientTrust {
    ClientTrust { authorities: authority.certificate.clone().into_bytes(), revocation_lists, required: true }
}

fn world(material: &TlsMaterial) -> World {
    let tls = TlsServer::new(material).unwrap();
    World::with(Door::new(ListenSettings::default(), Some(tls)))
}

/// How a client does its handshake.
#[derive(Default)]
pub(super) struct Client {
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) alpn: Vec<&'static str>,
    pub(super) version: Option<&'static SupportedProtocolVersion>,
    pub(super) identity: Option<(String, String)>,
}

impl Client {
    fn trusting(authority: &Authority) -> Self {
        Self { roots: vec![authority.certificate.clone().into_bytes()], ..Self::default() }
    }

    fn presenting(self, identity: (String, String)) -> Self {
        Self { identity: Some(identity), ..self }
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for root in &self.roots {
            roots.add(CertificateDer::from_pem_slice(root).unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = match self.version {
            Some(version) => builder.with_protocol_versions(&[version]).unwrap(),
            None => builder.with_safe_default_protocol_versions().unwrap(),
        };
        let builder = builder.with_root_certificates(roots);
        let mut config = match &self.identity {
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                let chain = chain.collect::<Result<_, _>>().unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub(super) async fn handshake(
    world: &World,
    config: &Arc<ClientConfig>,
) -> (std::io::Result<TlsStream<DuplexStream>>, Served) {
    let (io, served) = world.connect();
    let name = ServerName::try_from("gateway.example").unwrap();
    let connected = TlsConnector::from(Arc::clone(config)).connect(name, io).await;
    (connected, served)
}

/// Asks who the caller is; in TLS 1.3 a client learns only from the answer that it was refused.
pub(super) async fn ask_who(world: &World, config: &Arc<ClientConfig>) -> Result<String, ServeError> {
    let (connected, served) = handshake(world, config).await;
    let mut answer = Vec::new();
    if let Ok(mut stream) = connected {
        let _ = stream.write_all(WHO.as_bytes()).await;
        let _ = stream.read_to_end(&mut answer).await;
    }
    served.await.unwrap()?;
    Ok(String::from_utf8(answer).unwrap())
}

async fn is_refused(world: &World, client: &Client) -> bool {
    matches!(ask_who(world, &client.config()).await, Err(ServeError::Tls(_)))
}

#[tokio::test]
async fn the_protocol_is_chosen_by_alpn() {
    let authority = Authority::new("server CA");
    let world = world(&material(&authority, None));
    let with_alpn = |alpn: &[&'static str]| {
        let client = Client { alpn: alpn.to_vec(), ..Client::trusting(&authority) };
        client.config()
    };

    let (h2, _served) = handshake(&world, &with_alpn(&["h2", "http/1.1"])).await;
    let (mut requests, _connection) = http2_over(h2.unwrap()).await;
    let who = text_of(requests.send_request(get("/who")).await.unwrap()).await;
    assert!(who.contains(r#"alpn: Some("h2")"#), "{who}");

    let http1 = ask_who(&world, &with_alpn(&["http/1.1"])).await.unwrap();
    assert!(http1.contains(r#"alpn: Some("http/1.1")"#), "{http1}");
    let none = ask_who(&world, &with_alpn(&[])).await.unwrap();
    assert!(none.contains("alpn: None"), "{none}");
    let other = ask_who(&world, &with_alpn(&["spdy/1"])).await;
    assert!(matches!(other, Err(ServeError::Tls(_))));
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_answered_in_words_in_tls_as_well() {
    let authority = Authority::new("server CA");
    let world = world(&material(&authority, None));

    for alpn in [&["http/1.1"][..], &[]] {
        let client = Client { alpn: alpn.to_vec(), ..Client::trusting(&authority) };
        let (connected, served) = handshake(&world, &client.config()).await;
        let mut io = connected.unwrap();
        let answer = exchange(&mut io, "GET / HTTP/1.1\r\nhost : gateway.example\r\n\r\n").await;
        drop(io);

        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{}\n", Unreadable::Malformed)), "{answer}");
        assert!(matches!(served.await.unwrap(), Err(ServeError::Http(_))));
    }
}

#[tokio::test]
async fn a_load_balancer_names_the_caller_before_the_handshake_and_nobody_else_may() {
    let authority = Authority::new("server CA");
    let tls = TlsServer::new(&material(&authority, None)).unwrap();
    let settings =
        ListenSettings { proxy_protocol_from: vec!["192.0.2.9".parse().unwrap()], ..ListenSettings::default() };
    let world = World::with(Door::new(settings, Some(tls)));
    let config = Client::trusting(&authority).config();
    let connect = async |io| {
        let name = ServerName::try_from("gateway.example").unwrap();
        TlsConnector::from(Arc::clone(&config)).connect(name, io).await
    };

    for caller in ["198.51.100.7:2222", "[2001:db8::7]:2222"] {
        let (mut io, served) = world.connect();
        io.write_all(&proxied(caller.parse().unwrap(), &[0xee, 0, 1, 7])).await.unwrap();
        let who = exchange(&mut connect(io).await.unwrap(), WHO).await;

        let expected = format!(
            "Peer {{ address: {caller}, via: Some(192.0.2.9:50000), tls: Some(TlsFacts {{ version: \"TLSv1.3\""
        );
        assert!(who.contains(&expected), "{who}");
        served.await.unwrap().unwrap();
    }
    let (unnamed, served) = handshake(&world, &config).await;
    assert!(unnamed.is_err());
    assert!(matches!(served.await.unwrap(), Err(ServeError::Proxy { .. })));
    let (mut forging, served) = world.connect_from("192.0.2.10:50000");
    forging.write_all(&proxied("198.51.100.7:2222".parse().unwrap(), &[])).await.unwrap();
    assert!(connect(forging).await.is_err());
    assert!(matches!(served.await.unwrap(), Err(ServeError::Tls(_))));
}

#[tokio::test]
async fn http2_by_prior_knowledge_needs_no_alpn() {
    let authority = Authority::new("server CA");
    let world = world(&material(&authority, None));

    let (stream, _served) = handshake(&world, &Client::trusting(&authority).config()).await;
    let (mut requests, _connection) = http2_over(stream.unwrap()).await;
    let answer = requests.send_request(get("/")).await.unwrap();

    assert_eq!(text_of(answer).await, "hello");
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_known() {
    let authority = Authority::new("server CA");
    let world = world(&material(&authority, None));
    for (version, name) in [(&rustls::version::TLS12, "TLSv1.2"), (&rustls::version::TLS13, "TLSv1.3")] {
        let client = Client { version: Some(version), ..Client::trusting(&authority) };

        let who = ask_who(&world, &client.config()).await.unwrap();

        assert!(who.contains(&format!("version: {name:?}, cipher: \"TLS")), "{who}");
        assert!(who.contains("client_certificate: None"), "{who}");
    }
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_old_ones_go_on() {
    let (old, new) = (Authority::new("old CA"), Authority::new("new CA"));
    let world = world(&material(&old, None));
    let mut answers = Vec::new();
    let (stream, _served) = handshake(&world, &Client::trusting(&old).config()).await;
    let mut live = http1_over(stream.unwrap()).await;
    let request = || ::http::Request::get("/").body(http_body_util::Empty::new()).unwrap();
    answers.push(text_of(live.send_request(request()).await.unwrap()).await);

    world.door.tls().unwrap().reload(&material(&new, None)).unwrap();

    answers.push(text_of(live.send_request(request()).await.unwrap()).await);
    assert_eq!(answers, ["hello", "hello"]);
    let (by_old, _) = handshake(&world, &Client::trusting(&old).config()).await;
    assert!(by_old.is_err());
    let (by_new, _) = handshake(&world, &Client::trusting(&new).config()).await;
    assert!(by_new.is_ok());
}

#[tokio::test]
async fn material_that_is_prepared_serves_nobody_before_it_is_taken() {
    let (old, new) = (Authority::new("old CA"), Authority::new("new CA"));
    let world = world(&material(&old, None));
    let serves = async |authority: &Authority| {
        let (stream, _) = handshake(&world, &Client::trusting(authority).config()).await;
        stream.is_ok()
    };

    let prepared = PreparedTls::of(&material(&new, None)).unwrap();

    assert!(serves(&old).await && !serves(&new).await);
    world.door.tls().unwrap().take(prepared);
    assert!(serves(&new).await && !serves(&old).await);
}

#[tokio::test]
async fn material_that_does_not_fit_together_is_refused_and_the_old_stays() {
    let authority = Authority::new("server CA");
    let good = material(&authority, None);
    let tls = TlsServer::new(&good).unwrap();
    let reload = |change: &dyn Fn(&mut TlsMaterial)| {
        let mut changed = good.clone();
        change(&mut changed);
        tls.reload(&changed).unwrap_err()
    };
    let other_key = KeyPair::generate().unwrap().serialize_pem().into_bytes();
    let crl = authority.revocation_list(&[], 4000);

    let no_certificate = reload(&|changed| changed.certificate = Vec::new());
    let no_key = reload(&|changed| changed.key = b"not PEM".to_vec());
    let wrong_key = reload(&|changed| changed.key = other_key.clone());
    let no_authority = reload(&|changed| {
        let mut clients = trust(&authority, vec![crl.clone()]);
        clients.authorities = Vec::new();
        changed.clients = Some(clients);
    });
    let empty_list = reload(&|changed| changed.clients = Some(trust(&authority, vec![vec![]])));

    assert!(matches!(no_certificate, TlsError::Empty { what: "server certificate" }));
    assert!(matches!(no_key, TlsError::Pem { what: "server key", .. }));
    assert!(matches!(wrong_key, TlsError::Server(_)));
    assert!(matches!(no_authority, TlsError::Empty { what: "client CA" }));
    assert!(matches!(empty_list, TlsError::Pem { what: "revocation list", .. }));
    let world = World::with(Door::new(ListenSettings::default(), Some(tls)));
    assert!(ask_who(&world, &Client::trusting(&authority).config()).await.is_ok());
}

#[test]
fn no_output_shows_a_private_key() {
    let material = material(&Authority::new("server CA"), None);

    assert!(!format!("{material:?}").contains("key"));
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_verified_and_known() {
    let (servers, apps) = (Authority::new("server CA"), Authority::new("app CA"));
    let mut clients = trust(&apps, Vec::new());
    let required = world(&material(&servers, Some(clients.clone())));
    clients.required = false;
    let optional = world(&material(&servers, Some(clients)));
    let client = || Client::trusting(&servers);

    for world in [&required, &optional] {
        let known = client().presenting(apps.client(1, 4000));
        let who = ask_who(world, &known.config()).await.unwrap();
        assert!(who.contains("client_certificate: Some("), "{who}");

        let stranger = Authority::new("stranger CA").client(1, 4000);
        assert!(is_refused(world, &client().presenting(stranger)).await);
        assert!(is_refused(world, &client().presenting(apps.client(2, 2021))).await, "expired");
        let server = apps.server("gateway.example");
        assert!(is_refused(world, &client().presenting(server)).await, "not for clients");
    }
    assert!(is_refused(&required, &client()).await);
    let nobody = ask_who(&optional, &client().config()).await.unwrap();
    assert!(nobody.contains("client_certificate: None"), "{nobody}");
}

#[tokio::test]
async fn a_revoked_client_certificate_is_refused() {
    let (servers, apps) = (Authority::new("server CA"), Authority::new("app CA"));
    let clients = trust(&apps, vec![apps.revocation_list(&[7], 4000)]);
    let world = world(&material(&servers, Some(clients)));
    let present = |serial| Client::trusting(&servers).presenting(apps.client(serial, 4000));

    assert!(is_refused(&world, &present(7)).await);
    assert!(ask_who(&world, &present(8).config()).await.is_ok());
}

#[tokio::test]
async fn when_it_cannot_be_known_whether_a_certificate_was_revoked_it_is_refused() {
    let (servers, apps) = (Authority::new("server CA"), Authority::new("app CA"));
    let past_its_next_update = apps.revocation_list(&[7], 2021);
    let of_another_authority = Authority::new("other CA").revocation_list(&[7], 4000);
    let client = Client::trusting(&servers).presenting(apps.client(8, 4000));

    for list in [past_its_next_update, of_another_authority] {
        let world = world(&material(&servers, Some(trust(&apps, vec![list]))));
        assert!(is_refused(&world, &client).await);
    }
}

#[tokio::test]
async fn a_certificate_revoked_meanwhile_cannot_resume_an_old_session() {
    let (servers, apps) = (Authority::new("server CA"), Authority::new("app CA"));
    let with_list = |serials: &[u64]| {
        let list = apps.revocation_list(serials, 4000);
        material(&servers, Some(trust(&apps, vec![list])))
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let world = world(&with_list(&[]));
        let client = Client { version: Some(version), ..Client::trusting(&servers).presenting(apps.client(7, 4000)) };
        // One configuration keeps the sessions that a client could resume.
        let config = client.config();
        for _ in 0..2 {
            assert!(ask_who(&world, &config).await.is_ok());
        }
        let (again, _served) = handshake(&world, &config).await;
        assert_eq!(again.unwrap().get_ref().1.handshake_kind(), Some(HandshakeKind::Full));

        world.door.tls().unwrap().reload(&with_list(&[7])).unwrap();

        assert!(matches!(ask_who(&world, &config).await, Err(ServeError::Tls(_))));
    }
}

#[tokio::test]
async fn a_certificate_that_is_revoked_is_served_no_further_request_on_an_open_connection() {
    let (servers, apps) = (Authority::new("server CA"), Authority::new("app CA"));
    let with_list = |serials: &[u64]| {
        let list = apps.revocation_list(serials, 4000);
        material(&servers, Some(trust(&apps, vec![list])))
    };
    let client = || Client::trusting(&servers).presenting(apps.client(7, 4000));

    let world = world(&with_list(&[]));
    let tls = world.door.tls().unwrap();
    let (stream, _served) = handshake(&world, &client().config()).await;
    let mut live = http1_over(stream.unwrap()).await;
    let request = || ::http::Request::get("/").body(http_body_util::Empty::new()).unwrap();
    let mut by_two = Client { alpn: vec!["h2"], ..client() };
    by_two.version = Some(&rustls::version::TLS13);
    let (stream, _served_too) = handshake(&world, &by_two.config()).await;
    let (mut live_two, _connection) = http2_over(stream.unwrap()).await;

    for others in [vec![], vec![8]] {
        tls.reload(&with_list(&others)).unwrap();
        assert_eq!(text_of(live.send_request(request()).await.unwrap()).await, "hello");
        assert_eq!(text_of(live_two.send_request(get("/")).await.unwrap()).await, "hello");
    }
    tls.reload(&with_list(&[7])).unwrap();

    assert!(live.send_request(request()).await.is_err());
    assert!(live_two.send_request(get("/")).await.is_err());
}

#[tokio::test]
async fn without_client_certificates_a_session_is_resumed_until_the_next_reload() {
    let authority = Authority::new("server CA");
    let world = world(&material(&authority, None));
    let config = Client::trusting(&authority).config();
    let kind = async || {
        let (stream, served) = handshake(&world, &config).await;
        let mut stream = stream.unwrap();
        exchange(&mut stream, WHO).await;
        served.await.unwrap().unwrap();
        stream.get_ref().1.handshake_kind().unwrap()
    };

    assert_ne!(kind().await, HandshakeKind::Resumed);
    assert_eq!(kind().await, HandshakeKind::Resumed);
    world.door.tls().unwrap().reload(&material(&authority, None)).unwrap();
    assert_ne!(kind().await, HandshakeKind::Resumed);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_go_on_is_cut_off() {
    let authority = Authority::new("server CA");
    let world = world(&material(&authority, None));
    let (mut io, served) = world.connect();
    let began = Instant::now();

    io.write_all(&[0x16, 3, 1, 2]).await.unwrap();
    read_to_end(&mut io).await;

    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert!(matches!(served.await.unwrap(), Err(ServeError::HandshakeTimeout(_))));
}

#[tokio::test]
async fn plain_http_on_a_tls_listener_is_refused() {
    let authority = Authority::new("server CA");
    let world = world(&material(&authority, None));
    let (mut io, served) = world.connect();

    io.write_all(WHO.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();

    assert!(!answer.starts_with(b"HTTP"));
    assert!(matches!(served.await.unwrap(), Err(ServeError::Tls(_))));
}

#[tokio::test]
async fn over_loopback_the_whole_of_it_holds_together() {
    let authority = Authority::new("server CA");
    let world = world(&material(&authority, None));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::spawn(async move {
        #[expect(clippy::disallowed_methods, reason = "this end of the connection is the caller's")]
        let io = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("gateway.example").unwrap();
        let config = Client { alpn: vec!["h2"], ..Client::trusting(&authority) }.config();
        let stream = TlsConnector::from(config).connect(name, io).await.unwrap();
        let (mut requests, _connection) = http2_over(stream).await;
        text_of(requests.send_request(get("/who")).await.unwrap()).await
    });

    let (io, sender) = listener.accept().await.unwrap();
    io.set_nodelay(true).unwrap();
    let served = world.serve(io, &sender.to_string());

    let who = client.await.unwrap();
    assert!(who.starts_with(&format!("Peer {{ address: {sender}, via: None")), "{who}");
    let _ = served.await.unwrap();
}

#[tokio::test]
async fn a_stream_in_flight_over_tls_is_finished_when_the_drain_begins() {
    let authority = Authority::new("server CA");
    let mut world = world(&material(&authority, None));
    let (stream, served) = handshake(&world, &Client::trusting(&authority).config()).await;
    let mut stream = stream.unwrap();
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut events = world.streams.recv().await.unwrap();
    events.send_data("before".into()).await.unwrap();
    read_until(&mut stream, "before\r\n").await;

    world.switch.begin();
    tokio::task::yield_now().await;
    events.send_data("after".into()).await.unwrap();
    drop(events);

    // rustls reports an end without a close_notify as an error.
    assert_eq!(read_to_end(&mut stream).await, "5\r\nafter\r\n0\r\n\r\n");
    served.await.unwrap().unwrap();
}
