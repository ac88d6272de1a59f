//! What the gateway remembers of its endpoints: who failed is asked last, who is busy is left alone, and nobody is
//! given up altogether.

use crate::testkit::{Act, Config, Endpoint, Gateway, Upstream, chat, full, until};

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

/// Half a minute of waiting, so it runs with the long suites; the crate of the router runs it with a clock of its own.
#[tokio::test]
async fn an_endpoint_that_was_left_out_is_asked_again_by_one_call_after_thirty_seconds() {
    if !full() {
        eprintln!("!! SKIPPED: it waits for 30 s; CAUSEWAY_FULL=1 runs it");
        return;
    }
    let (first, _second, gateway) = two().await;
    first.script((0..5).map(|_| Act::error(503)));
    for _ in 0..5 {
        tried(&gateway).await;
    }
    let left_out = std::time::Instant::now();

    while first.requests().len() == 5 {
        tried(&gateway).await;
        assert!(left_out.elapsed().as_secs() < 60, "it was never asked again");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }

    assert!(left_out.elapsed().as_secs() >= 29, "{:?}", left_out.elapsed());
    assert_eq!(tried(&gateway).await, ["first/m"]);
}
