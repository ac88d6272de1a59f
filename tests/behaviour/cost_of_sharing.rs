//! What sharing limits costs: how often a gateway goes to the store for a thousand requests, counted by the store itself.

use std::time::Instant;

use super::replicas::{ask_all, asking_for, fleet, three};
use crate::testkit::{Shared, Upstream};

/// Limits of every kind, far from used up, as those of an app are nearly always.
const AMPLE: &str =
    "requests_per_minute = 600000, tokens_per_minute = 60000000, in_flight = 3200, usd_per_month = 100000";

#[tokio::test]
async fn requests_far_from_their_limits_share_the_store_s_round_trips() {
    let Some(shared) = Shared::start("what sharing costs").await else { return };
    let upstream = Upstream::start("only").await;
    let gateways = three(&fleet(&upstream, &shared, AMPLE, "")).await;
    let warm = ask_all(&gateways, (8, 160), &asking_for(20)).await;
    // Every exchange begins with the question whether the store remembers, and each counter in it is one script.
    let counts = async || (shared.store.count_of("get").await, shared.store.count_of("evalsha").await);
    let (began, before) = (Instant::now(), counts().await);

    let answered = ask_all(&gateways, (8, 400), &asking_for(20)).await;

    let (took, after) = (began.elapsed(), counts().await);
    let (exchanges, scripts) = (after.0 - before.0, after.1 - before.1);
    assert_eq!((warm.ok, answered.ok), (480, 1_200), "{warm:?} {answered:?}");
    // Each gateway looks twice a second whether anybody asks or not; that is no request's cost.
    let looks = 3 * (u64::try_from(took.as_millis()).expect("a test does not run for ages") / 500 + 2);
    let for_requests = exchanges.saturating_sub(looks);
    println!(
        "sharing: {} requests with four shared limits at three gateways in {:.1} s: {exchanges} exchanges with the store, \
         {scripts} scripts; {looks} of the exchanges are due without requests; {} for 1,000 requests beyond them",
        answered.ok,
        took.as_secs_f64(),
        for_requests * 1_000 / answered.ok,
    );
    assert!(exchanges > 0, "what is counted is counted");
    // Seen: none. The rest is room for a machine on which callers are held up and come all at once.
    assert!(
        for_requests * 1_000 < answered.ok * 50,
        "{exchanges} exchanges, {looks} due: one request in twenty asks, or more"
    );
}

#[tokio::test]
async fn a_limit_too_small_for_parts_is_asked_for_by_all_who_wait_together() {
    let Some(shared) = Shared::start("what sharing a small limit costs").await else { return };
    let upstream = Upstream::start("only").await;
    let gateways = three(&fleet(&upstream, &shared, "in_flight = 48", "")).await;
    let before = shared.store.count_of("get").await;

    let answered = ask_all(&gateways, (8, 200), &asking_for(20)).await;

    let exchanges = shared.store.count_of("get").await - before;
    println!("sharing: {} requests with a limit below 64: {exchanges} exchanges with the store", answered.ok);
    assert_eq!((answered.ok, answered.unavailable), (600, 0), "{answered:?}");
    assert!(exchanges > 0, "what is counted is counted");
}
