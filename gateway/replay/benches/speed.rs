//! How fast a replay is: the Azure traces at twice their speed, on one core.
//!
//! `cargo bench -p replay`. The figure to hold is 200,000 requests a second with the gateway's own router.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::io::Read as _;
use std::time::Instant;

use replay::{Job, Router, Scenario, Trace, permit_all, read_azure, run};

fn main() {
    let trace = trace("conv").merged(trace("code")).at_load(2.0);
    let scenario = include_str!("../../../docs/scenarios/four-gpus-two-clouds.toml");
    let scenario = Scenario::from_toml(scenario).expect("the book's scenario is right");
    let permits = permit_all(&scenario, &trace);
    for router in Router::ALL {
        let mut best = 0.0_f64;
        for seed in 1..=5 {
            let began = Instant::now();
            let job =
                Job { scenario: &scenario, trace: &trace, permits: &permits, wants: &[], router, seed, start: began };
            let played = run(&job, |_| {}).outcomes.len();
            best = best.max(played as f64 / began.elapsed().as_secs_f64());
        }
        println!("{:<20} {best:>10.0} requests a second", router.name());
    }
}

fn trace(name: &str) -> Trace {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/simulation/traces");
    let path = format!("{folder}/AzureLLMInferenceTrace_{name}.csv.gz");
    let bytes = std::fs::read(path).expect("the traces lie in the repository");
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("the traces are whole");
    read_azure(&text, name).expect("the traces are readable")
}
