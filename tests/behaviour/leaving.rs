//! Leaving: readiness fails first, new connections stop, streams finish, and then the process is gone at once.

use std::time::{Duration, Instant};

use crate::testkit::{
    Act, Answer, Client, Config, DONE, Gate, Gateway, Request, Step, Upstream, chat, chat_stream, chunk, finish, until,
};

/// Opens a stream that has begun and waits at the gate.
fn waiting_stream(gate: &Gate) -> Act {
    Act::steps([Step::Send(chunk("ferry").into()), Step::Wait(gate.clone()), Step::Send((finish() + DONE).into())])
}

async fn open_streams(gateway: &Gateway, upstream: &Upstream, count: usize, gate: &Gate) -> Vec<Answer> {
    upstream.script((0..count).map(|_| waiting_stream(gate)));
    let mut answers = Vec::new();
    for _ in 0..count {
        let mut answer = gateway.chat(&chat_stream("assistant")).await;
        assert_eq!(answer.event().await, Some(chunk("ferry")));
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn two_hundred_open_streams_all_finish_after_term_and_then_the_process_is_gone() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&Config::serving(&upstream)).await;
    let gate = Gate::closed();
    let streams = open_streams(&gateway, &upstream, 200, &gate).await;

    gateway.signal("TERM");
    until("new connections to stop", async || gateway.client().dial().await.err()).await;
    gate.open();

    for stream in streams {
        assert_eq!(stream.text().await, finish() + DONE);
    }
    let ended = Instant::now();
    assert!(gateway.left().await.success());
    assert!(ended.elapsed() < Duration::from_secs(5), "it left {:?} after the last stream", ended.elapsed());
    let records = gateway.audit().records();
    assert_eq!(records.len(), 200);
    assert!(records.iter().all(|record| record.end("end") == "complete"));
    assert_eq!(gateway.audit().of_kind("seal").len(), 1);
}

#[tokio::test]
async fn a_gateway_with_nothing_to_do_leaves_at_once_although_connections_are_kept_open() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&Config::serving(&upstream)).await;
    let mut kept = gateway.client().connect().await.expect("the port is open");
    let answer = kept.send(Request::post("/v1/chat/completions", &chat("assistant"))).await.expect("an answer");
    answer.bytes().await;

    gateway.signal("TERM");
    let told = Instant::now();

    assert!(gateway.left().await.success());
    assert!(told.elapsed() < Duration::from_secs(5), "it took {:?}", told.elapsed());
    drop(kept);
}

#[tokio::test]
async fn readiness_fails_first_while_callers_are_still_served() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start_with(&Config::serving(&upstream), &["--readiness-lead", "3"]).await;
    let probes = Client::plain(gateway.health());

    gateway.signal("TERM");
    until("readiness to fail", async || {
        let answer = probes.try_send(Request::get("/readyz").anonymous()).await.ok()?;
        (answer.status == 503).then_some(())
    })
    .await;

    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
    let live = probes.send(Request::get("/livez").anonymous()).await;
    assert_eq!(live.status, 200);
    assert!(gateway.left().await.success());
}

#[tokio::test]
async fn a_stream_that_does_not_end_is_cut_at_the_bound_and_its_books_close() {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).listen("timeouts = { drain_ms = 500 }");
    let mut gateway = Gateway::start(&config).await;
    let mut streams = open_streams(&gateway, &upstream, 1, &Gate::closed()).await;

    gateway.signal("TERM");
    gateway.left().await;

    let stream = streams.pop().expect("one was opened");
    let text = stream.try_bytes().await.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    assert!(!text.contains("[DONE]"), "{text}");
    assert_eq!(gateway.audit().of_kind("intent").len(), 1);
    assert_eq!(gateway.audit().of_kind("seal").len(), 1);
}

#[tokio::test]
async fn a_caller_on_http2_is_told_to_go_and_finishes_its_stream() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&Config::serving(&upstream)).await;
    let gate = Gate::closed();
    upstream.script([waiting_stream(&gate)]);
    let client = Client { prior_knowledge: true, ..gateway.client() };
    let mut connection = client.connect().await.expect("the port is open");
    let request = Request::post("/v1/chat/completions", &chat_stream("assistant"));
    let mut stream = connection.send(request.clone()).await.expect("an answer");
    assert_eq!(stream.event().await, Some(chunk("ferry")));

    gateway.signal("TERM");
    until("new connections to stop", async || gateway.client().dial().await.err()).await;
    gate.open();

    assert_eq!(stream.text().await, finish() + DONE);
    assert!(gateway.left().await.success());
}
