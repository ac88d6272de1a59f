//! A shared store that was emptied: what gateways that are gone had spent is known from the ledger, to whoever meets the store
//! first.
//!
//! The bounds are those of `docs/src/explanation/replicas.md`.

use serde_json::Value;

use super::replicas::{CHARGED, KEY, PATH, ask_all, asking_for, fleet, spent};
use super::spending::PSEUDONYMS;
use crate::testkit::{Gateway, Request, Shared, Upstream, until};

/// Has one gateway spend 0.72 of a dollar, waits until the ledger has it, and kills it for good.
async fn spends_and_dies(mut gateway: Gateway, body: &Value) -> u64 {
    let gateways = [gateway];
    let answered = ask_all(&gateways, (1, 40), body).await;
    spent(&gateways).await;
    let [one] = &gateways;
    until("the ledger to have it", async || {
        let status: Value = one.operator("/api/status").await.json().await;
        (status["ledger"]["behind_bytes"] == 0).then_some(())
    })
    .await;
    [gateway] = gateways;
    gateway.kill().await;
    answered.ok
}

#[tokio::test]
async fn a_gateway_that_never_met_the_store_before_it_was_emptied_counts_what_the_ledger_says() {
    let Some(shared) = Shared::start("an emptied store that a new gateway is the first to meet").await else { return };
    let pseudonyms = "[audit]\npseudonyms = { key = \"pseudonyms.key\", held_by = \"data protection office\" }\n";
    let body = asking_for(20);
    let mut of_erika = body.clone();
    of_erika["user"] = "erika".into();
    for (limits, budget, body) in [
        ("usd_per_month = 1", "", &body),
        ("requests_per_minute = 60000", "[budget.app]\napp = \"limited\"\nusd = 1\nperiod = \"week\"\n", &body),
        ("requests_per_minute = 60000", "[budget.user]\napp = \"limited\"\neach_user = true\nusd = 1\n", &of_erika),
    ] {
        let upstream = Upstream::start("only").await;
        let config = fleet(&upstream, &shared, limits, "").section(pseudonyms).section(budget);
        let config = config.file("pseudonyms.key", PSEUDONYMS);
        let first = spends_and_dies(Gateway::start(&config).await, body).await;

        shared.store.forget().await;
        let gateways = [Gateway::start(&config).await];
        let rest = use_up_all(&gateways, first, body).await;

        assert_eq!(first, 40, "{budget}");
        assert_eq!(upstream.requests().len() as u64, first + rest, "{budget}");
        assert!((first + rest) * CHARGED <= 1_000_000, "{budget}: {first} and {rest} at 0.018 dollars each");
        // It posts nothing more into a ledger that is emptied for the next.
        let [mut gateway] = gateways;
        gateway.kill().await;
        shared.database.tell("TRUNCATE causeway.entry, causeway.spent, causeway.spent_slot").await;
    }
}

#[tokio::test]
async fn a_gateway_that_finds_the_store_emptied_asks_the_ledger_what_those_that_are_gone_had_spent() {
    let Some(shared) = Shared::start("an emptied store that a running gateway meets").await else { return };
    let upstream = Upstream::start("only").await;
    let (config, body) = (fleet(&upstream, &shared, "usd_per_month = 1", ""), asking_for(20));
    let gateways = [Gateway::start(&config).await];
    let own = ask_all(&gateways, (1, 2), &body).await.ok;
    let first = spends_and_dies(Gateway::start(&config).await, &body).await;

    shared.store.forget().await;
    let rest = own + use_up_all(&gateways, first + own, &body).await;

    assert!(gateways[0].log().contains("the shared store has lost its memory"), "{}", gateways[0].log());
    assert_eq!((own, upstream.requests().len() as u64), (2, first + rest));
    assert!((first + rest) * CHARGED <= 1_000_000, "{first} and {rest} at 0.018 dollars each");
}

#[tokio::test]
async fn a_reload_that_limits_what_was_not_limited_counts_what_gateways_that_are_gone_had_spent() {
    let Some(shared) = Shared::start("limits that a reload brings, and what was spent before").await else { return };
    let budget = "[budget.app]\napp = \"limited\"\nusd = 1\nperiod = \"week\"\n";
    let body = asking_for(20);
    for (limits, section) in [("usd_per_month = 1", ""), ("requests_per_minute = 60000", budget)] {
        let upstream = Upstream::start("only").await;
        let config = fleet(&upstream, &shared, "requests_per_minute = 60000", "");
        let gateways = [Gateway::start(&config).await];
        let first = spends_and_dies(Gateway::start(&config).await, &body).await;

        gateways[0].configure(&fleet(&upstream, &shared, limits, "").section(section));
        gateways[0].signal("HUP");
        until("the configuration to be reloaded", async || {
            gateways[0].log().contains("configuration reloaded").then_some(())
        })
        .await;
        let rest = use_up_all(&gateways, first, &body).await;

        assert_eq!((first, upstream.requests().len() as u64), (40, first + rest), "{limits}");
        assert!((first + rest) * CHARGED <= 1_000_000, "{limits}: {first} and {rest} at 0.018 dollars each");
        // It posts nothing more into a ledger that is emptied for the next.
        let [mut gateway] = gateways;
        gateway.kill().await;
        shared.database.tell("TRUNCATE causeway.entry, causeway.spent, causeway.spent_slot").await;
    }
}

/// Asks until the dollar is used up, so far as these gateways know; gives how many more were let in.
async fn use_up_all(gateways: &[Gateway], before: u64, body: &Value) -> u64 {
    let mut more = 0;
    until("the dollar to be used up", async || {
        let answer = gateways[0].client().send(Request::post(PATH, body).key(KEY)).await;
        more += u64::from(answer.status == 200);
        // Whoever passes a dollar is not waited for.
        let is_past = (before + more) * CHARGED > 1_000_000;
        let refused = answer.status == 429 && answer.code().await == "budget_exceeded";
        (is_past || refused && (before + more) * CHARGED > 1_000_000 - 30_000).then_some(())
    })
    .await;
    more
}
