//! The figures that the router is held to on the plain scenario.

use policy::{Candidate, TargetId};
use replay::{Job, Router, Scenario, Trace, permit_each, run};

use crate::world::{CLOUD_A, LOADS, SEEDS, mean, scenario, trace, with_fault};

/// Dollars an hour that a clairvoyant needs at each load: a linear program that knows the future, splits requests and moves
/// them at will. No router can reach it.
const CLAIRVOYANT: [f64; 3] = [1.97, 7.28, 16.63];

#[test]
fn at_every_load_99_of_100_requests_keep_their_times_and_hardly_one_in_a_thousand_meets_a_429() {
    for load in LOADS {
        let ours = mean(&scenario(), Router::Causeway, load);

        assert!(ours.in_time >= 0.99, "{load}x: {ours:?}");
        assert!(ours.refusals_per_thousand <= 1.0, "{load}x: {ours:?}");
        assert_eq!((ours.refused, ours.denied), (0, 0));
    }
}

#[test]
fn clouds_cost_at_most_a_tenth_more_than_a_router_that_knows_everything_would_pay() {
    for load in LOADS {
        let ours = mean(&scenario(), Router::Causeway, load);
        let perfect = mean(&scenario(), Router::Perfect, load);

        assert!(ours.usd_per_hour <= 1.10 * perfect.usd_per_hour, "{load}x: {ours:?} {perfect:?}");
    }
}

#[test]
fn clouds_cost_at_most_twice_what_a_clairvoyant_would_pay() {
    for (load, bound) in LOADS.into_iter().zip(CLAIRVOYANT) {
        let ours = mean(&scenario(), Router::Causeway, load);

        assert!(ours.usd_per_hour <= 2.0 * bound, "{load}x: {ours:?}");
        assert!(
            ours.usd_per_hour >= bound,
            "{load}x: nobody is better than the bound, so the model is wrong: {ours:?}"
        );
    }
}

#[test]
fn clouds_cost_at_most_55_percent_of_what_the_best_fixed_cap_pays() {
    for load in LOADS {
        let ours = mean(&scenario(), Router::Causeway, load);
        let cap = mean(&scenario(), Router::RequestCap(12), load);

        assert!(ours.usd_per_hour <= 0.55 * cap.usd_per_hour, "{load}x: {ours:?} {cap:?}");
    }
}

#[test]
fn eight_gateways_that_do_not_know_of_one_another_cost_at_most_175_percent_of_one() {
    let one = mean(&scenario(), Router::Causeway, 1.5);
    let eight = mean(&Scenario { gateways: 8, ..scenario() }, Router::Causeway, 1.5);

    assert!(eight.usd_per_hour <= 1.75 * one.usd_per_hour, "{one:?} {eight:?}");
}

#[test]
fn a_request_is_never_sent_to_a_target_that_its_permit_does_not_cover_whatever_is_saturated_or_down() {
    // Conversation may only go to own servers, code nowhere but to the first of them and the dearer cloud.
    let allowed: [&[u32]; 2] = [&[0, 1, 2, 3], &[0, 5]];
    let scenarios =
        [scenario(), with_fault(CLOUD_A, 1.0, 0.05, false), with_fault("gpu-1/llama-3.3-70b", 1.0, 1.0, true)];
    for scenario in scenarios {
        let trace = trace().at_load(2.0).first_part(0.3);
        let candidates = allowed.map(|ids| ids.iter().map(|id| candidate(&scenario, *id)).collect::<Vec<_>>());
        let permits = permit_each(&trace, |profile| &candidates[profile]);
        for router in Router::ALL {
            let job = Job {
                scenario: &scenario,
                trace: &trace,
                permits: &permits,
                wants: &[],
                router,
                seed: 1,
                start: std::time::Instant::now(),
            };

            let run = run(&job, |_| {});

            assert!(run.sent.len() >= trace.rows.len());
            for (profile, target) in run.sent {
                assert!(
                    allowed[usize::from(profile)].contains(&u32::from(target)),
                    "{}: {profile} {target}",
                    router.name()
                );
            }
        }
    }
}

fn candidate(scenario: &Scenario, id: u32) -> Candidate {
    Candidate::new(TargetId(id), scenario.targets[id as usize].name.as_str())
}

#[test]
fn batch_requests_take_the_slack_halve_the_bill_and_meet_their_deadline() {
    for load in LOADS {
        let all_wait = mean(&scenario(), Router::Causeway, load);
        let with_batch = mean(&Scenario { batch_share: 0.3, ..scenario() }, Router::Causeway, load);

        assert!(with_batch.batch_in_time >= 0.999, "{with_batch:?}");
        assert!(with_batch.in_time >= 0.99, "{with_batch:?}");
        assert!(with_batch.usd_per_hour <= 0.6 * all_wait.usd_per_hour, "{load}x: {all_wait:?} {with_batch:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let trace: Trace = trace().first_part(0.1);
    let play = |seed| crate::world::play(&scenario(), &trace.at_load(3.0), Router::Causeway, seed);

    assert!(play(SEEDS[0]) == play(SEEDS[0]));
    assert!(play(SEEDS[0]) != play(SEEDS[1]));
}
