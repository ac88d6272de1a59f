//! What the verdict costs: how often the resolver is asked, and how long a request takes with it and without.

use std::time::{Duration, Instant};

use egress::Fleet;

use crate::world::{Dns, answering, endpoint, fleet, fleet_with, named, ok, pass, read, send, until};

/// One look-up: a question for A and one for AAAA.
const LOOK_UP: usize = 2;

async fn one_after_the_other(fleet: &Fleet, count: usize) {
    for _ in 0..count {
        read(send(fleet).await.unwrap()).await;
    }
}

/// Each on a connection of its own, since none is given back before all are answered.
async fn at_once(fleet: &Fleet, count: usize) {
    let mut replies = Vec::new();
    for _ in 0..count {
        replies.push(send(fleet).await.unwrap());
    }
    for reply in replies {
        read(reply).await;
    }
}

#[tokio::test]
async fn a_pooled_request_asks_nobody_and_a_new_connection_takes_the_kept_answer_while_it_counts() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());

    one_after_the_other(&fleet, 1).await;
    let first = dns.asked();
    one_after_the_other(&fleet, 200).await;
    let pooled = (dns.asked() - first, upstream.accepted());
    at_once(&fleet, 20).await;
    let fresh = (dns.asked() - first, upstream.accepted());

    assert_eq!(first, LOOK_UP);
    assert_eq!(pooled, (0, 1), "questions and connections of 200 requests");
    assert_eq!(fresh, (0, 20), "questions and connections in all, after 20 requests at once");
}

#[tokio::test]
async fn when_an_answer_has_run_out_one_look_up_serves_every_connection() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());
    one_after_the_other(&fleet, 1).await;

    pass(Duration::from_secs(11)).await;
    at_once(&fleet, 20).await;

    until(|| dns.asked() == 2 * LOOK_UP).await;
    at_once(&fleet, 20).await;
    assert_eq!(dns.asked(), 2 * LOOK_UP);
}

/// Told and not judged: how long something takes on a shared machine decides nothing.
#[tokio::test]
async fn a_pooled_request_by_name_and_by_address_are_measured_side_by_side() {
    const ROUNDS: usize = 9;
    const REQUESTS: usize = 100;
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let by_name = fleet_with(named("gpu.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());
    let by_address = fleet(endpoint(upstream.address));
    let mut times: [Vec<Duration>; 2] = Default::default();

    for _ in 0..ROUNDS {
        for (fleet, times) in [&by_name, &by_address].into_iter().zip(&mut times) {
            let began = Instant::now();
            one_after_the_other(fleet, REQUESTS).await;
            times.push(began.elapsed() / u32::try_from(REQUESTS).unwrap());
        }
    }

    let [name, address] = times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_nanos()
    });
    eprintln!("measured: a pooled request takes {name} ns by a verified name and {address} ns by an address (medians)");
    assert_eq!(upstream.accepted(), 2, "every request but the first of each was a pooled one");
}
