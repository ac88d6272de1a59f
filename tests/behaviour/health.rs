//! What the gateway remembers of its endpoints: who failed is asked last, who is busy is left alone, and nobody is
//! given up altogether.

use std::time::{Duration, Instant};

use crate::testkit::{Act, Config, Endpoint, Gate, Gateway, Upstream, chat, completion, until, until_after};

async fn two() -> (Upstream, Upstream, Gateway) {
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first))
        .endpoint("second", Endpoint::of(&second))
        .model("assistant", &["first/m", "second/m"]);
    let gateway = Gateway::start(&config).await;
    (first, second, gateway)
}

/// Asks once and gives the targets that were tried.
async fn tried(gateway: &Gateway) -> Vec<String> {
    let answer = gateway.chat(&chat("assistant")).await;
    assert_eq!(answer.status, 200);
    gateway.audit().record(&answer.decision()).await.tried()
}

#[tokio::test]
async fn after_five_failures_in_a_row_an_endpoint_is_left_out() {
    let (first, _second, gateway) = two().await;
    first.script((0..5).map(|_| Act::error(503)));

    for _ in 0..5 {
        assert_eq!(tried(&gateway).await, ["first/m", "second/m"]);
    }

    assert_eq!(tried(&gateway).await, ["second/m"]);
    assert_eq!(first.requests().len(), 5);
}

#[tokio::test]
async fn four_failures_and_a_success_are_forgiven() {
    let (first, _second, gateway) = two().await;
    first.script((0..4).map(|_| Act::error(503)));

    for _ in 0..4 {
        tried(&gateway).await;
    }
    tried(&gateway).await;
    first.script((0..4).map(|_| Act::error(503)));
    for _ in 0..4 {
        assert_eq!(tried(&gateway).await, ["first/m", "second/m"]);
    }
}

#[tokio::test]
async fn a_busy_endpoint_is_left_alone_for_as_long_as_it_asks() {
    let (first, _second, gateway) = two().await;
    first.script([Act::error(429).header("retry-after", "60")]);

    assert_eq!(tried(&gateway).await, ["first/m", "second/m"]);

    assert_eq!(tried(&gateway).await, ["second/m"]);
    assert_eq!(first.requests().len(), 1);
}

#[tokio::test]
async fn being_busy_is_no_failure_however_often() {
    let (first, _second, gateway) = two().await;
    first.script((0..8).map(|_| Act::error(429).header("retry-after-ms", "0")));

    for _ in 0..8 {
        assert_eq!(tried(&gateway).await, ["first/m", "second/m"]);
    }
    assert_eq!(tried(&gateway).await, ["first/m"]);
}

#[tokio::test]
async fn the_only_endpoint_is_never_given_up() {
    let upstream = Upstream::start("only").await;
    upstream.script((0..12).map(|_| Act::error(503)));
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    for _ in 0..12 {
        assert_eq!(gateway.chat(&chat("assistant")).await.status, 503);
    }

    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
}

#[tokio::test]
async fn an_endpoint_whose_probe_fails_is_left_out_before_a_caller_meets_it() {
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    first.answer_probes_with(503);
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first).with("health = { path = \"/health\", interval_ms = 1000 }"))
        .endpoint("second", Endpoint::of(&second))
        .model("assistant", &["first/m", "second/m"]);
    let gateway = Gateway::start(&config).await;

    until("six probes", async || (first.probes() >= 6).then_some(())).await;

    assert_eq!(tried(&gateway).await, ["second/m"]);
    assert!(first.requests().is_empty());
}

#[tokio::test]
async fn never_more_than_half_of_a_models_endpoints_are_left_out() {
    let (first, second, third) =
        (Upstream::start("first").await, Upstream::start("second").await, Upstream::start("third").await);
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first))
        .endpoint("second", Endpoint::of(&second))
        .endpoint("third", Endpoint::of(&third))
        .model("assistant", &["first/m", "second/m", "third/m"]);
    let gateway = Gateway::start(&config).await;

    first.script((0..5).map(|_| Act::error(503)));
    for _ in 0..5 {
        assert_eq!(tried(&gateway).await, ["first/m", "second/m"]);
    }
    assert_eq!(tried(&gateway).await, ["second/m"], "one of three is out");
    second.script((0..5).map(|_| Act::error(503)));
    for _ in 0..5 {
        assert_eq!(tried(&gateway).await, ["second/m", "third/m"]);
    }

    // Two of three would be more than half, so the one that was left out for longest is asked again, before its time.
    assert_eq!(tried(&gateway).await, ["first/m"]);
}

/// It waits for half a minute, beside the other tests; the crate of the router does the same with a clock of its own.
#[tokio::test]
async fn an_endpoint_that_was_left_out_is_asked_again_by_one_call_after_thirty_seconds() {
    let (first, _second, gateway) = two().await;
    first.script((0..5).map(|_| Act::error(503)));
    let begun = Instant::now();
    for _ in 0..5 {
        tried(&gateway).await;
    }
    assert_eq!(standing(&gateway, "first/m").await, "ejected");

    let is_half_open = async || (standing(&gateway, "first/m").await == "half_open").then(Instant::now);
    let half_open = until_after(Duration::from_secs(30), "the endpoint to be half-open", is_half_open).await;

    assert!(half_open - begun >= Duration::from_secs(30), "{:?}", half_open - begun);
    assert_eq!(first.requests().len(), 5, "nobody has asked it meanwhile");
    let gate = Gate::closed();
    first.script([Act::reply(200, &completion("first")).after(&gate)]);
    let (probe, _) = tokio::join!(tried(&gateway), async {
        first.request(5).await;
        assert_eq!(tried(&gateway).await, ["second/m"], "one call is enough to find out");
        gate.open();
    });
    assert_eq!(probe, ["first/m"]);
    assert_eq!(tried(&gateway).await, ["first/m"]);
}

/// How a target stands, as the operator sees it.
async fn standing(gateway: &Gateway, target: &str) -> String {
    let status = gateway.operator("/api/status").await.json().await;
    let targets = status["targets"].as_array().expect("the status lists the targets");
    let found = targets.iter().find(|known| known["target"] == target).expect("the target is configured");
    found["standing"].as_str().expect("a standing is a word").to_owned()
}
