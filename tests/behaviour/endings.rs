//! How an answer that had begun came to its end: what the record says of the attempt, and what its target's standing
//! learns from it.

use std::time::Duration;

use serde_json::json;

use crate::testkit::{
    Act, Config, DONE, Endpoint, Gate, Gateway, Step, Upstream, chat_stream, chunk, event, finish, until,
};

/// A gateway whose first target is the one to watch.
async fn two(limits: &str) -> (Upstream, Upstream, Gateway) {
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first).with(&format!("timeouts = {{ {limits} }}")))
        .endpoint("second", Endpoint::of(&second))
        .model("assistant", &["first/m", "second/m"]);
    let gateway = Gateway::start(&config).await;
    (first, second, gateway)
}

/// One event, and then this.
fn begun(then: impl IntoIterator<Item = Step>) -> Act {
    Act::steps([Step::Send(chunk("ferry").into())].into_iter().chain(then))
}

/// Streams once to the end, and gives the attempts that the record holds.
async fn attempts_of(gateway: &Gateway) -> Vec<String> {
    let answer = gateway.chat(&chat_stream("assistant")).await;
    let decision = answer.decision();
    answer.bytes().await;
    gateway.audit().record(&decision).await.attempts()
}

#[tokio::test]
async fn an_attempt_is_recorded_by_how_its_stream_ended_and_not_by_how_it_began() {
    let error = event(&json!({"error": {"message": "lost its mind", "type": "server_error", "code": 500}}));
    let stalls = || begun([Step::Wait(Gate::closed())]);
    let endings = [
        ("connect_ms = 5000", Act::stream([chunk("ferry"), finish(), DONE.to_owned()]), "success"),
        ("connect_ms = 5000", begun([Step::Close]), "broken_body"),
        ("connect_ms = 5000", begun([]), "broken_body"),
        ("connect_ms = 5000", begun([Step::Send(error.into())]), "error_event"),
        ("idle_ms = 300", stalls(), "timeout_idle"),
        ("total_ms = 600", stalls(), "timeout_total"),
    ];

    for (limits, act, met) in endings {
        let (first, second, gateway) = two(limits).await;
        first.script([act]);

        assert_eq!(attempts_of(&gateway).await, [format!("first/m {met}")]);
        assert!(second.requests().is_empty(), "{met}: nothing is tried again after the first byte");
    }
}

#[tokio::test]
async fn a_caller_who_leaves_is_no_fault_of_the_endpoint() {
    let (first, _second, gateway) = two("connect_ms = 5000").await;
    first.script((0..6).map(|_| begun([Step::Wait(Gate::closed())])));

    for number in 0..6 {
        let mut answer = gateway.chat(&chat_stream("assistant")).await;
        answer.event().await;
        let decision = answer.decision();
        drop(answer);
        first.request(number).await.caller_left().await;
        assert_eq!(gateway.audit().record(&decision).await.attempts(), ["first/m disconnected"]);
    }

    assert_eq!(attempts_of(&gateway).await, ["first/m success"]);
}

#[tokio::test]
async fn after_five_streams_in_a_row_that_broke_off_an_endpoint_is_asked_last() {
    five_in_a_row("connect_ms = 5000", || begun([Step::Close])).await;
}

#[tokio::test]
async fn after_five_streams_in_a_row_that_fell_silent_an_endpoint_is_asked_last() {
    five_in_a_row("idle_ms = 200", || begun([Step::Wait(Gate::closed())])).await;
}

async fn five_in_a_row(limits: &str, ending: impl Fn() -> Act) {
    let (first, _second, gateway) = two(limits).await;
    first.script((0..5).map(|_| ending()));

    for _ in 0..5 {
        assert_eq!(attempts_of(&gateway).await.len(), 1);
    }

    let next = gateway.chat(&chat_stream("assistant")).await;
    let decision = next.decision();
    assert_eq!(next.header("x-causeway-endpoint"), Some("second"));
    next.bytes().await;
    assert_eq!(gateway.audit().record(&decision).await.intent["plan"], json!(["second/m", "first/m"]));
}

#[tokio::test]
async fn the_time_for_the_whole_call_runs_from_its_arrival_and_not_from_each_attempt() {
    let (slow, late) = (Upstream::start("slow").await, Upstream::start("late").await);
    let limits = "timeouts = { first_byte_ms = 700, total_ms = 1000 }";
    let config = Config::new()
        .endpoint("slow", Endpoint::of(&slow).with(limits))
        .endpoint("late", Endpoint::of(&late).with(limits))
        .model("assistant", &["slow/m", "late/m"]);
    let gateway = Gateway::start(&config).await;
    slow.script([Act::error(500).after(&Gate::closed())]);
    late.script([Act::error(500).after(&Gate::closed())]);

    let began = std::time::Instant::now();
    let answer = gateway.chat(&chat_stream("assistant")).await;

    // 700 ms at the first, and what is left of the second's 1000; each from its own beginning would be 1400.
    let took = began.elapsed();
    assert_eq!(answer.status, 504);
    let record = gateway.audit().record(&answer.decision()).await;
    assert_eq!(record.attempts(), ["slow/m timeout_first_byte", "late/m timeout_total"]);
    assert!(took < Duration::from_millis(1350), "{took:?}");
}

#[tokio::test]
async fn requests_that_fail_together_are_one_outage() {
    let (first, second, gateway) = two("connect_ms = 5000").await;
    let gate = Gate::closed();
    first.script((0..12).map(|_| Act::error(503).after(&gate)));

    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let client = gateway.client();
        asking.spawn(async move {
            let request = crate::testkit::Request::post("/v1/chat/completions", &chat_stream("assistant"));
            client.send(request).await.status
        });
    }
    first.request(11).await;
    gate.open();
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.expect("no panic"), 200);
    }

    until("every record", async || (gateway.audit().records().len() == 12).then_some(())).await;
    assert_eq!(second.requests().len(), 12);
    assert_eq!(attempts_of(&gateway).await, ["second/m success"]);
}
