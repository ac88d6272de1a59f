//! Three doors: callers, operators, load balancers. None leads where another does.

use std::net::Ipv4Addr;

use crate::testkit::{
    Client, Config, Endpoint, Gateway, Refusing, Request, Upstream, chat, chat_stream, until, within,
};

async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    (upstream, gateway)
}

#[tokio::test]
async fn what_operators_see_is_not_behind_the_callers_door() {
    let (_upstream, gateway) = gateway().await;

    for path in ["/metrics", "/api/status", "/livez", "/readyz", "/v1/../metrics", "//metrics"] {
        let with_key = gateway.send(Request::get(path)).await;
        let without = gateway.send(Request::get(path).anonymous()).await;

        assert_eq!(with_key.status, 404, "{path}");
        assert_eq!(without.status, 401, "{path}");
    }
}

#[tokio::test]
async fn what_callers_do_is_not_behind_the_operators_door() {
    let (upstream, gateway) = gateway().await;

    for address in [gateway.admin(), gateway.health()] {
        let answer = Client::plain(address).send(Request::post("/v1/chat/completions", &chat("assistant"))).await;

        assert_eq!(answer.status, 404, "{address}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn the_probes_door_has_the_probes_and_nothing_else() {
    let (_upstream, gateway) = gateway().await;
    let probes = Client::plain(gateway.health());

    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 404), ("/api/status", 404), ("/", 404)] {
        assert_eq!(probes.send(Request::get(path).anonymous()).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn operators_read_metrics_as_prometheus_does_and_status_as_json() {
    let (_upstream, gateway) = gateway().await;
    gateway.chat(&chat("assistant")).await.bytes().await;

    let metrics = gateway.operator("/metrics").await.text().await;
    let status = gateway.operator("/api/status").await.json().await;

    assert!(metrics.ends_with("# EOF\n"), "OpenMetrics ends with a mark");
    assert!(metrics.contains("causeway_requests"), "{metrics}");
    assert!(status.is_object());
}

#[tokio::test]
async fn no_thread_looks_at_the_clock_all_the_time() {
    let (_upstream, gateway) = gateway().await;

    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);

    let threads = gateway.threads();
    assert!(threads.len() > 2, "{threads:?}");
    assert!(!threads.iter().any(|name| name.starts_with("Timer")), "{threads:?}");
}

#[tokio::test]
async fn readiness_does_not_depend_on_an_endpoint() {
    let refusing = Refusing::new();
    let config = Config::new().endpoint("only", Endpoint::at(refusing.address)).model("assistant", &["only/m"]);
    let gateway = Gateway::start(&config).await;

    for _ in 0..6 {
        assert_eq!(gateway.chat(&chat("assistant")).await.status, 502);
    }

    assert_eq!(gateway.operator("/readyz").await.status, 200);
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge_and_many_calls_share_a_connection() {
    let (upstream, gateway) = gateway().await;
    let client = Client { prior_knowledge: true, ..gateway.client() };
    let mut connection = client.connect().await.expect("the port is open");

    let mut open = Vec::new();
    for number in 0..20 {
        let body = if number % 2 == 0 { chat("assistant") } else { chat_stream("assistant") };
        open.push(connection.send(Request::post("/v1/chat/completions", &body)).await.expect("an answer"));
    }

    for answer in open {
        assert_eq!((answer.status, answer.version), (200, http::Version::HTTP_2));
        assert!(answer.text().await.contains("only"));
    }
    assert_eq!(upstream.requests().len(), 20);
}

#[tokio::test]
async fn a_connection_takes_one_call_after_another() {
    let (_upstream, gateway) = gateway().await;
    let mut connection = gateway.client().connect().await.expect("the port is open");

    for number in 0..10 {
        let body = if number % 2 == 0 { chat("assistant") } else { chat_stream("assistant") };
        let answer = connection.send(Request::post("/v1/chat/completions", &body)).await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(answer.text().await.contains("only"));
    }
}

#[tokio::test]
async fn a_connection_above_the_bound_is_closed_at_once_and_one_that_ends_makes_room() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream).listen("max_connections = 2")).await;
    let ask = || Request::post("/v1/chat/completions", &chat("assistant"));
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut connection = gateway.client().connect().await.expect("the port is open");
        connection.send(ask()).await.expect("an answer").of_status(200, "one of two").await;
        open.push(connection);
    }

    let third = gateway.client().try_send(ask()).await;

    assert!(third.is_err(), "it is answered {:?}", third.map(|answer| answer.status));
    assert_eq!(upstream.requests().len(), 2);
    for connection in &mut open {
        connection.send(ask()).await.expect("an answer").of_status(200, "one that is open goes on").await;
    }
    drop(open.pop());
    until("a place for another", async || {
        let answer = gateway.client().try_send(ask()).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// A PROXY protocol v2 header that speaks for this address.
fn speaking_for(source: Ipv4Addr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    // Version 2 and command PROXY; TCP over IPv4; twelve bytes of addresses and ports.
    header.extend([0x21, 0x11, 0, 12]);
    header.extend(source.octets());
    header.extend([127, 0, 0, 1]);
    header.extend([0xC3, 0x50, 0x01, 0xBB]);
    header
}

#[tokio::test]
async fn a_listed_balancer_says_whom_it_speaks_for() {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).listen("proxy_protocol_from = [\"127.0.0.0/8\"]");
    let gateway = Gateway::start(&config).await;
    let client = Client { preamble: speaking_for(Ipv4Addr::new(10, 9, 8, 7)), ..gateway.client() };

    let answer = client.send(Request::post("/v1/chat/completions", &chat("assistant"))).await;

    assert_eq!(answer.status, 200);
    assert_eq!(gateway.audit().record(&answer.decision()).await.intent["peer"], "10.9.8.7");
}

#[tokio::test]
async fn a_listed_balancer_that_does_not_say_so_is_cut_off() {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).listen("proxy_protocol_from = [\"127.0.0.0/8\"]");
    let gateway = Gateway::start(&config).await;

    let refused = gateway.client().try_send(Request::post("/v1/chat/completions", &chat("assistant"))).await;

    assert!(refused.is_err());
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn nobody_else_may_say_whom_it_speaks_for() {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).listen("proxy_protocol_from = [\"10.0.0.0/8\"]");
    let gateway = Gateway::start(&config).await;
    let client = Client { preamble: speaking_for(Ipv4Addr::new(10, 9, 8, 7)), ..gateway.client() };

    let forged = client.try_send(Request::post("/v1/chat/completions", &chat("assistant"))).await;

    assert!(forged.map_or(true, |answer| answer.status == 400));
    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_http_are_cut_off_and_harm_nobody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (_upstream, gateway) = gateway().await;

    for noise in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\0\0\0\0\r\n\r\n"]
    {
        let mut socket = gateway.client().dial().await.expect("the port is open");
        socket.write_all(noise).await.expect("bytes are taken");
        socket.shutdown().await.expect("our side can close");
        let mut answer = Vec::new();
        let _ = within("the end of it", socket.read_to_end(&mut answer)).await;
    }

    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
}
