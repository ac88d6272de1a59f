//! One of three gateways that share a store is killed at seeded moments under load, while it holds parts of their budget: the
//! books, the logs and what the upstream got agree over all three, and then the budget stops where it says.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::Value;

use super::crash::{
    Chance, Line, adds_up, agrees_with_the_audit_log, agrees_with_the_upstream, keep_asking, pays_what_it_held,
};
use super::replicas::{KEY, ask_all, asking_for, fleet, three};
use crate::testkit::{Config, Gateway, Request, Shared, Upstream, full, until};

/// Callers of each gateway that ask at the same time.
const CALLERS: usize = 4;

/// A budget that the load does not reach.
const FAR: &str = "usd_per_month = 10000000";

const NANO_PER_DOLLAR: u64 = 1_000_000_000;

fn ask(body: &Value) -> Request {
    Request::post("/v1/chat/completions", body).key(KEY)
}

#[tokio::test]
async fn whenever_one_of_three_gateways_is_killed_the_books_of_all_agree_and_the_budget_holds() {
    let Some(shared) = Shared::start("kills of one of three gateways that share a budget").await else { return };
    let kills = if full() { 60 } else { 4 };
    let upstream = Upstream::reading("only", 1_000).await;
    let mut gateways = three(&fleet(&upstream, &shared, FAR, "")).await;

    let recovered = kill_under_load(&mut gateways, &upstream, kills).await;
    leave(&mut gateways).await;

    let (reached, all) = they_agree(&gateways, &upstream, &shared).await;
    assert_eq!(recovered, all.values().filter(|line| line.recovered).count() as u64, "each is recovered once");
    assert!(recovered > 0, "a kill under load leaves requests open");
    let spent: u64 = all.values().map(|line| line.charged).sum();
    let dollars = spent / NANO_PER_DOLLAR + 2;
    again(&mut gateways, &fleet(&upstream, &shared, &format!("usd_per_month = {dollars}"), "")).await;
    use_up(&gateways).await;
    leave(&mut gateways).await;
    let (_, all) = they_agree(&gateways, &upstream, &shared).await;
    let charged: u64 = all.values().map(|line| line.charged).sum();
    assert!(charged <= dollars * NANO_PER_DOLLAR, "{charged} of {dollars} dollars");
    assert!(charged + NANO_PER_DOLLAR / 10 > dollars * NANO_PER_DOLLAR, "{charged} of {dollars} dollars");
    println!(
        "one of three killed {kills} times: {} requests in the books of all, {reached} reached the upstream under the kills, \
         {recovered} were open and pay what they held; then {charged} billionths of a budget of {dollars} dollars were spent",
        all.len()
    );
}

/// Gives how many requests were found open at the starts after the kills.
async fn kill_under_load(gateways: &mut [Gateway; 3], upstream: &Upstream, kills: usize) -> u64 {
    let (numbers, mut chance, mut recovered) = (Arc::new(AtomicU64::new(1)), Chance(21), 0);
    let callers = |gateway: &Gateway| -> Vec<_> {
        (0..CALLERS).map(|_| tokio::spawn(keep_asking(gateway.client(), Arc::clone(&numbers), ask))).collect()
    };
    let mut running: Vec<Vec<_>> = gateways.iter().map(callers).collect();
    for kill in 0..kills {
        let victim = chance.below(3) as usize;
        upstream.request(upstream.requests().len() + chance.below(30) as usize).await;
        gateways[victim].kill().await;
        for caller in running[victim].drain(..) {
            caller.await.expect("no panic");
        }
        gateways[victim] = gateways[victim].again(&format!("again-{kill}.log"), &[]);
        assert!(gateways[victim].is_ready().await, "{}", gateways[victim].log());
        let ledger = gateways[victim].operator("/api/status").await.json().await["ledger"].clone();
        assert_eq!(ledger["damaged"], 0, "kill {kill}: {ledger}");
        recovered += ledger["recovered"].as_u64().expect("a number");
        running[victim] = callers(&gateways[victim]);
    }
    for caller in running.into_iter().flatten() {
        caller.abort();
    }
    recovered
}

/// Has all of them leave in order.
async fn leave(gateways: &mut [Gateway; 3]) {
    for gateway in gateways {
        gateway.signal("TERM");
        gateway.left().await;
    }
}

async fn again(gateways: &mut [Gateway; 3], config: &Config) {
    for gateway in gateways {
        gateway.configure(config);
        *gateway = gateway.again("last.log", &[]);
        assert!(gateway.is_ready().await, "{}", gateway.log());
    }
}

/// Asks until none of the three lets anything in any more.
async fn use_up(gateways: &[Gateway]) {
    let mut in_vain = 0;
    until("the budget to be used up", async || {
        let answered = ask_all(gateways, (1, 20), &asking_for(1)).await;
        assert_eq!(answered.unavailable, 0, "{answered:?}");
        in_vain = if answered.ok == 0 { in_vain + 1 } else { 0 };
        (in_vain == 3).then_some(())
    })
    .await;
}

/// What the upstream got, and the one ledger of all three, in which no request stands twice.
async fn they_agree(gateways: &[Gateway; 3], upstream: &Upstream, shared: &Shared) -> (usize, HashMap<String, Line>) {
    let (mut all, mut intents) = (HashMap::new(), Vec::new());
    for gateway in gateways {
        let books = books_of(gateway, shared).await;
        agrees_with_the_audit_log(gateway, &books);
        pays_what_it_held(&books);
        intents.extend(gateway.audit().of_kind("intent"));
        for (request, line) in books {
            assert!(all.insert(request.clone(), line).is_none(), "{request} is in the ledger twice");
        }
    }
    let rows = shared.database.number("SELECT count(*) FROM causeway.entry").await;
    assert_eq!(rows, all.len() as u64, "every entry is of one of the three");
    for gateway in gateways {
        adds_up(gateway, &all).await;
    }
    (agrees_with_the_upstream(&intents, upstream, &all), all)
}

/// What the ledger has of this gateway, whichever of its processes let it in.
async fn books_of(gateway: &Gateway, shared: &Shared) -> HashMap<String, Line> {
    let family =
        std::fs::read_to_string(gateway.state().join("ledger/replica.id")).expect("it has a name in the ledger");
    let question = format!(
        "SELECT request, held_nano_usd, nano_usd + lost_nano_usd, settled_by, recovered, \
         recovered OR settled_by = 'reservation' OR NOT priced OR lost_attempts > 0 \
         FROM causeway.entry WHERE gateway = '{family}'"
    );
    let line = |row: String| {
        let columns: Vec<&str> = row.split('|').collect();
        let [request, held, charged, settled_by, recovered, flagged] = columns[..] else { unreachable!("{row}") };
        let number = |text: &str| text.parse().unwrap_or_else(|_| unreachable!("{row}"));
        let line = Line {
            held: number(held),
            charged: number(charged),
            settled_by: settled_by.to_owned(),
            recovered: recovered == "t",
            flagged: flagged == "t",
        };
        (request.to_owned(), line)
    };
    shared.database.tell(&question).await.into_iter().map(line).collect()
}
