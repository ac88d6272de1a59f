//! A run says how far it is, and accounts for every request.

use replay::Router;

use crate::world::{play, scenario, trace};

#[test]
fn a_run_reports_its_progress_and_ends_with_one_outcome_a_request() {
    let trace = trace();
    let scenario = scenario();
    let permits = replay::permit_all(&scenario, &trace);
    let mut reports = Vec::new();
    let job = replay::Job {
        scenario: &scenario,
        trace: &trace,
        permits: &permits,
        wants: &[],
        router: Router::RequestCap(12),
        seed: 1,
        start: std::time::Instant::now(),
    };

    let run = replay::run(&job, |requests| reports.push(requests));

    assert_eq!(run.outcomes.len(), trace.rows.len());
    assert!(reports.is_sorted() && reports.last() == Some(&(trace.rows.len() as u64)));
    assert_eq!(run.outcomes, play(&scenario, &trace, Router::RequestCap(12), 1).outcomes);
}
