//! Time limits, each with its own setting and its own error: connect, first byte, silence, the whole call; and the
//! caller's own: head and body of a request.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::testkit::{
    Act, Authority, Client, Config, Endpoint, Gate, Gateway, Hanging, KEY, Request, Step, Upstream, chat, chat_stream,
    chunk, events_of, within,
};

async fn gateway(limits: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let endpoint = Endpoint::of(&upstream).with(&format!("timeouts = {{ {limits} }}"));
    let gateway = Gateway::start(&Config::new().endpoint("only", endpoint).model("assistant", &["only/m"])).await;
    (upstream, gateway)
}

/// Adds the model `silent`, calls of which are given up after four seconds.
async fn and_silence(config: Config) -> (Upstream, Config) {
    let upstream = Upstream::start("silence").await;
    upstream.script((0..8).map(|_| Act::error(500).after(&Gate::closed())));
    let endpoint = Endpoint::of(&upstream).with("timeouts = { first_byte_ms = 4000 }");
    (upstream, config.endpoint("silence", endpoint).model("silent", &["silence/m"]))
}

/// Waits for what must happen before a call of the model `silent` is given up: an order of two events that are far apart, so
/// that a setting which has no effect is found out by its default, which is longer than four seconds.
async fn sooner_than_silence<T>(client: &Client, what: &str, happening: impl Future<Output = T>) -> T {
    let silent = client.send(Request::post("/v1/chat/completions", &chat("silent")));
    tokio::select! {
        biased;
        happened = within(what, happening) => happened,
        answer = silent => unreachable!("{what}: only after a silent call was given up, with status {}", answer.status),
    }
}

#[tokio::test]
async fn an_endpoint_that_takes_no_connection_is_504_after_the_connect_limit() {
    let hanging = Hanging::new().await;
    let endpoint = Endpoint::at(hanging.address).with("timeouts = { connect_ms = 200 }");
    let config = Config::new().endpoint("only", endpoint).model("assistant", &["only/m"]);
    let (_silence, config) = and_silence(config).await;
    let gateway = Gateway::start(&config).await;

    let body = chat("assistant");
    let answer = sooner_than_silence(&gateway.client(), "the connect limit", gateway.chat(&body)).await;

    assert_eq!(answer.status, 504);
    let record = gateway.audit().record(&answer.decision()).await;
    assert_eq!(record.attempts(), ["only/m timeout_connect"]);
    assert_eq!(answer.code().await, "upstream_timeout");
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_is_504_after_the_first_byte_limit() {
    let (upstream, gateway) = gateway("first_byte_ms = 200").await;
    upstream.script([Act::error(500).after(&Gate::closed())]);

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.status, 504);
    let record = gateway.audit().record(&answer.decision()).await;
    assert_eq!(record.attempts(), ["only/m timeout_first_byte"]);
    assert_eq!(answer.code().await, "upstream_timeout");
    upstream.request(0).await.caller_left().await;
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends_with_a_timeout_event_after_the_idle_limit() {
    silent_stream("idle_ms = 300").await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_in_all_ends_with_a_timeout_event() {
    silent_stream("total_ms = 500").await;
}

async fn silent_stream(limits: &str) {
    let (upstream, gateway) = gateway(limits).await;
    upstream.script([Act::steps([Step::Send(chunk("ferry").into()), Step::Wait(Gate::closed())])]);

    let mut answer = gateway.chat(&chat_stream("assistant")).await;
    assert_eq!(answer.event().await, Some(chunk("ferry")));

    let events = events_of(&answer.bytes().await);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains("upstream_timeout"), "{events:?}");
    upstream.request(0).await.caller_left().await;
}

#[tokio::test]
async fn a_stream_that_keeps_talking_outlives_the_idle_limit() {
    let (upstream, gateway) = gateway("idle_ms = 400").await;
    let gate = Gate::closed();
    let steps = (0..4).flat_map(|_| [Step::Send(chunk("ferry").into()), Step::Wait(gate.clone())]);
    upstream.script([Act::steps(steps.chain([Step::Send((crate::testkit::finish() + crate::testkit::DONE).into())]))]);

    let began = Instant::now();
    let mut answer = gateway.chat(&chat_stream("assistant")).await;
    for _ in 0..4 {
        assert_eq!(answer.event().await, Some(chunk("ferry")));
        // The time between chunks is what this test is about.
        tokio::time::sleep(Duration::from_millis(150)).await;
        gate.open_once();
    }

    assert!(answer.text().await.ends_with(crate::testkit::DONE));
    assert!(began.elapsed() > Duration::from_millis(400));
}

/// A gateway with these time limits of its listener, and a silent model.
async fn listening(limits: &str) -> (Upstream, Gateway) {
    let (silence, config) = and_silence(Config::new()).await;
    let gateway = Gateway::start(&config.listen(&format!("timeouts = {{ {limits} }}"))).await;
    (silence, gateway)
}

#[tokio::test]
async fn a_caller_that_dawdles_over_its_head_is_cut_off() {
    let (_silence, gateway) = listening("header_ms = 300").await;
    let mut socket = gateway.client().dial().await.expect("the port is open");

    socket.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n").await.expect("the first lines are taken");

    let mut rest = Vec::new();
    // Whether it says 408 or just closes is its own affair; that it lets go is not.
    let _ = sooner_than_silence(&gateway.client(), "a slow head to be cut off", socket.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn a_connection_with_no_call_is_closed_after_the_idle_limit() {
    let (_silence, gateway) = listening("idle_ms = 300").await;
    let mut socket = gateway.client().dial().await.expect("the port is open");
    let call = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n");
    socket.write_all(call.as_bytes()).await.expect("the call is taken");

    let mut answer = Vec::new();
    let idle = socket.read_to_end(&mut answer);
    let ended = sooner_than_silence(&gateway.client(), "an idle connection to be closed", idle).await;

    ended.expect("the end comes cleanly");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_cut_off() {
    let authority = Authority::new();
    let (_silence, config) = and_silence(Config::new()).await;
    let config = config.tls(&authority.issue()).listen("timeouts = { handshake_ms = 300 }");
    let gateway = Gateway::start(&config).await;
    let secure = Client { tls: Some(authority.client(&["http/1.1"])), ..gateway.client() };
    let mut socket = gateway.client().dial().await.expect("the port is open");
    // The first bytes of a record that says it is longer.
    socket.write_all(&[0x16, 3, 1, 2]).await.expect("the first bytes are taken");

    let mut rest = Vec::new();
    let _ = sooner_than_silence(&secure, "a handshake to be cut off", socket.read_to_end(&mut rest)).await;

    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn a_caller_that_dawdles_over_its_body_is_answered_408() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream).listen("timeouts = { body_ms = 300 }")).await;
    let mut socket = gateway.client().dial().await.expect("the port is open");

    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 100\r\n\r\n{{"
    );
    socket.write_all(head.as_bytes()).await.expect("the head is taken");

    let mut answer = Vec::new();
    within("a slow body to be cut off", socket.read_to_end(&mut answer)).await.expect("the end comes cleanly");
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    assert!(upstream.requests().is_empty());
}
