//! A shared store that hears of a gateway late: what was asked before, over a connection that was given up, does not undo what the
//! gateway has said since.

use serde_json::Value;

use super::replicas::{CHARGED, KEY, PATH, ask_all, asking_for, fleet, spent};
use crate::testkit::{Between, Gateway, Request, Shared, Upstream, until};

/// How often the store answered this gateway.
async fn rounds(gateway: &Gateway) -> u64 {
    let status: Value = gateway.operator("/api/status").await.json().await;
    status["store"]["rounds"].as_u64().expect("a number")
}

#[tokio::test]
async fn a_question_that_reaches_the_store_behind_a_newer_one_does_not_undo_it() {
    let Some(shared) = Shared::start("a question that comes late to the shared store").await else { return };
    let upstream = Upstream::start("only").await;
    let between = Between::before(shared.store.address()).await;
    let direct = fleet(&upstream, &shared, "usd_per_month = 1", "");
    let store = |address: std::net::SocketAddr| format!("\"redis://{address}\"");
    let behind = direct.clone().replacing(&store(shared.store.address()), &store(between.address()));
    let late = [Gateway::start(&behind).await];
    let other = Gateway::start(&direct).await;
    until("it to be connected", async || (rounds(&late[0]).await > 0).then_some(())).await;

    // What it asks for its first request is on its way for as long as this takes, and given up.
    let held = between.hold_those_there_are();
    let refused = late[0].client().send(Request::post(PATH, &asking_for(20)).key(KEY)).await.status;
    let one = asking_for(20);
    until("it to be let in again", async || (ask_all(&late, (1, 1), &one).await.ok == 1).then_some(())).await;
    let first = 1 + ask_all(&late, (1, 39), &asking_for(20)).await.ok;
    spent(&late).await;
    let told = rounds(&late[0]).await + 2;
    until("the store to be told", async || (rounds(&late[0]).await >= told).then_some(())).await;
    between.hold_all();
    let with_questions: Vec<_> = held.into_iter().filter(|connection| connection.has_something()).collect();
    for connection in &with_questions {
        connection.let_go().await;
    }
    let mut rest = 0;
    until("the dollar to be used up", async || {
        let answer = other.client().send(Request::post(PATH, &asking_for(20)).key(KEY)).await;
        rest += u64::from(answer.status == 200);
        let is_past = (first + rest) * CHARGED > 1_000_000;
        let is_near = (first + rest) * CHARGED > 1_000_000 - 40_000;
        (is_past || answer.status == 429 && is_near).then_some(())
    })
    .await;

    assert_eq!((refused, first), (503, 40));
    assert!(!with_questions.is_empty());
    assert_eq!(upstream.requests().len() as u64, first + rest);
    assert!((first + rest) * CHARGED <= 1_000_000, "{first} and {rest} at 0.018 dollars each");
}
