//! Time limits, each with its own setting and its own error: connect, first byte, silence, the whole call; and the
//! caller's own: head and body of a request.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::testkit::{
    Act, Config, Endpoint, Gate, Gateway, Hanging, KEY, Step, Upstream, chat, chat_stream, chunk, events_of, within,
};

async fn gateway(limits: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let endpoint = Endpoint::of(&upstream).with(&format!("timeouts = {{ {limits} }}"));
    let gateway = Gateway::start(&Config::new().endpoint("only", endpoint).model("assistant", &["only/m"])).await;
    (upstream, gateway)
}

#[tokio::test]
async fn an_endpoint_that_takes_no_connection_is_504_after_the_connect_limit() {
    let hanging = Hanging::new().await;
    let endpoint = Endpoint::at(hanging.address).with("timeouts = { connect_ms = 200 }");
    let gateway = Gateway::start(&Config::new().endpoint("only", endpoint).model("assistant", &["only/m"])).await;

    let answer = gateway.chat(&chat("assistant")).await;

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

#[tokio::test]
async fn a_caller_that_dawdles_over_its_head_is_cut_off() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream).listen("timeouts = { header_ms = 300 }")).await;
    let mut socket = gateway.client().dial().await.expect("the port is open");

    socket.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n").await.expect("the first lines are taken");

    let mut rest = Vec::new();
    // Whether it says 408 or just closes is its own affair; that it lets go is not.
    let _ = within("a slow head to be cut off", socket.read_to_end(&mut rest)).await;
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
