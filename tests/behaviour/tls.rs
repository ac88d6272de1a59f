//! TLS at the callers' door: two versions, two protocols, and a certificate that changes without a restart.

use crate::testkit::{
    Act, Authority, Client, Config, DONE, Gate, Gateway, Issued, Request, Step, Upstream, chat, chat_stream, chunk,
    client_trusting, finish, make_example_certificates, until,
};

const PATH: &str = "/v1/chat/completions";

async fn gateway(authority: &Authority) -> (Upstream, Config, Gateway) {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).tls(&authority.issue());
    let gateway = Gateway::start(&config).await;
    (upstream, config, gateway)
}

fn client(gateway: &Gateway, authority: &Authority, alpn: &[&str]) -> Client {
    Client { tls: Some(authority.client(alpn)), ..gateway.client() }
}

#[tokio::test]
async fn alpn_chooses_between_http1_and_http2() {
    let authority = Authority::new();
    let (_upstream, _config, gateway) = gateway(&authority).await;

    for (alpn, version) in [
        (&["h2", "http/1.1"][..], http::Version::HTTP_2),
        (&["http/1.1"], http::Version::HTTP_11),
        (&[], http::Version::HTTP_11),
    ] {
        let answer = client(&gateway, &authority, alpn).send(Request::post(PATH, &chat_stream("assistant"))).await;

        assert_eq!((answer.status, answer.version), (200, version), "{alpn:?}");
        assert!(answer.text().await.ends_with(DONE));
    }
}

#[tokio::test]
async fn both_tls_versions_are_spoken() {
    let authority = Authority::new();
    let (_upstream, _config, gateway) = gateway(&authority).await;

    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = authority.client_of(version);
        let answer =
            Client { tls: Some(config), ..gateway.client() }.send(Request::post(PATH, &chat("assistant"))).await;

        assert_eq!(answer.status, 200, "{version:?}");
    }
}

#[tokio::test]
async fn plaintext_gets_nothing_from_a_door_with_tls() {
    let (upstream, _config, gateway) = gateway(&Authority::new()).await;

    let refused = gateway.client().try_send(Request::post(PATH, &chat("assistant"))).await;

    assert!(refused.is_err());
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_it_was_put_there_and_open_streams_go_on() {
    let (before, after) = (Authority::new(), Authority::new());
    let (upstream, _config, gateway) = gateway(&before).await;
    let gate = Gate::closed();
    upstream.script([Act::steps([
        Step::Send(chunk("ferry").into()),
        Step::Wait(gate.clone()),
        Step::Send((finish() + DONE).into()),
    ])]);
    let mut stream = client(&gateway, &before, &[]).send(Request::post(PATH, &chat_stream("assistant"))).await;
    assert_eq!(stream.event().await, Some(chunk("ferry")));

    let issued = after.issue();
    gateway.replace_file("gateway.key", &issued.key);
    gateway.replace_file("gateway.pem", &issued.certificate);
    gateway.signal("HUP");

    let renewed = client(&gateway, &after, &[]);
    until("the new certificate", async || renewed.try_send(Request::post(PATH, &chat("assistant"))).await.ok()).await;
    assert!(client(&gateway, &before, &[]).connect().await.is_err(), "the old one is not shown any more");
    gate.open();
    assert_eq!(stream.text().await, finish() + DONE);
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_its_key_changes_nothing() {
    let authority = Authority::new();
    let (_upstream, _config, gateway) = gateway(&authority).await;

    gateway.replace_file("gateway.pem", &Authority::new().issue().certificate);
    gateway.signal("HUP");
    until("the mistake in the log", async || gateway.log().contains("gateway.pem").then_some(())).await;

    let answer = client(&gateway, &authority, &[]).send(Request::post(PATH, &chat("assistant"))).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn with_a_ca_for_callers_a_certificate_is_asked_for_beside_the_key() {
    let (authority, callers) = (Authority::new(), Authority::new());
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).tls_asking(&authority.issue(), &callers.pem(), None);
    let gateway = Gateway::start(&config).await;
    let showing =
        |of: &Authority| Client { tls: Some(authority.client_showing(&of.issue_caller())), ..gateway.client() };
    let request = Request::post(PATH, &chat("assistant"));

    let shown = showing(&callers).send(request.clone()).await;
    let without_key = showing(&callers).send(request.clone().anonymous()).await;
    let none = client(&gateway, &authority, &[]).try_send(request.clone()).await;
    let of_a_stranger = showing(&Authority::new()).try_send(request).await;

    assert_eq!((shown.status, without_key.status), (200, 401));
    assert!(none.is_err() && of_a_stranger.is_err());
}

#[tokio::test]
async fn the_example_certificates_do_what_their_page_says() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    make_example_certificates(folder.path());
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("make-certs made it");
    let upstream = Upstream::start("only").await;
    let server = Issued::example(folder.path(), "server");
    let config = Config::serving(&upstream).tls_asking(&server, &file("app-ca.pem"), Some(&file("app-ca-crl.pem")));
    let gateway = Gateway::start(&config).await;
    let authority = folder.path().join("server-ca.pem");
    let as_app = async |name: &str| {
        let tls = client_trusting(&authority, Some(&Issued::example(folder.path(), name)));
        let client = Client { tls: Some(tls), ..gateway.client() };
        client.try_send(Request::post(PATH, &chat("assistant"))).await.map(|answer| answer.status).ok()
    };

    assert_eq!(as_app("client-claims").await, Some(200));
    assert_eq!(as_app("client-revoked").await, None);
    assert_eq!(as_app("client-expired").await, None);
    let nobody = Client { tls: Some(client_trusting(&authority, None)), ..gateway.client() };
    assert!(nobody.try_send(Request::post(PATH, &chat("assistant"))).await.is_err());
    assert_eq!(upstream.requests().len(), 1);
}
