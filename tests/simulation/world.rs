//! The trace, the scenario, and runs of it.

use std::io::Read as _;
use std::time::Instant;

use replay::{EngineSpec, Fault, Job, Router, Run, Scenario, Summary, Trace, permit_all, read_azure, run};

/// The seeds of every figure.
pub(crate) const SEEDS: [u64; 3] = [1, 2, 3];

/// How much faster than it was recorded the trace is played.
pub(crate) const LOADS: [f64; 3] = [1.0, 1.5, 2.0];

pub(crate) const CLOUD_A: &str = "cloud-a/llama-3.3-70b";
pub(crate) const GPU_1: &str = "gpu-1/llama-3.3-70b";

/// Conversation and code together, as they were recorded on one day.
pub(crate) fn trace() -> Trace {
    let conversation = unpacked(include_bytes!("traces/AzureLLMInferenceTrace_conv.csv.gz"));
    let code = unpacked(include_bytes!("traces/AzureLLMInferenceTrace_code.csv.gz"));
    let read = |text: &str, app| read_azure(text, app).expect("the traces of the repository are readable");
    read(&conversation, "conversation").merged(read(&code, "code"))
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).expect("the traces of the repository are whole");
    text
}

/// Four replicas and two clouds, as the book shows them.
pub(crate) fn scenario() -> Scenario {
    Scenario::from_toml(include_str!("../../docs/scenarios/four-gpus-two-clouds.toml"))
        .expect("the book's scenario is right")
}

/// The same with other servers.
pub(crate) fn with_engines(change: impl Fn(usize, &mut EngineSpec)) -> Scenario {
    let mut scenario = scenario();
    for (index, target) in scenario.targets.iter_mut().enumerate() {
        if let Some(engine) = &mut target.engine {
            change(index, engine);
        }
    }
    scenario
}

/// The same with something going wrong for the middle third.
pub(crate) fn with_fault(target: &str, slower: f64, quota: f64, down: bool) -> Scenario {
    let fault = Fault { target: target.to_owned(), from: 0.35, to: 0.65, slower, quota, down };
    Scenario { faults: vec![fault], ..scenario() }
}

/// One run.
pub(crate) fn play(scenario: &Scenario, trace: &Trace, router: Router, seed: u64) -> Run {
    let permits = permit_all(scenario, trace);
    run(&Job { scenario, trace, permits: &permits, wants: &[], router, seed, start: Instant::now() }, |_| {})
}

/// The mean over [`SEEDS`] at one load.
pub(crate) fn mean(scenario: &Scenario, router: Router, load: f64) -> Summary {
    mean_over(SEEDS, scenario, router, load)
}

/// The mean over some seeds at one load.
#[expect(clippy::print_stdout, reason = "a figure that fails is read beside the others")]
pub(crate) fn mean_over(
    seeds: impl IntoIterator<Item = u64>,
    scenario: &Scenario,
    router: Router,
    load: f64,
) -> Summary {
    let trace = trace().at_load(load);
    let summary = |seed| {
        let run = play(scenario, &trace, router, seed);
        assert_eq!(run.still_reserved, 0, "every reservation was settled");
        run.summary(trace.seconds(), scenario.fixed_usd_per_hour, |target| {
            scenario.targets[usize::from(target)].engine.is_some()
        })
    };
    let summaries: Vec<Summary> = seeds.into_iter().map(summary).collect();
    let mean = Summary::mean(&summaries);
    println!(
        "{load:.1}x {:<20} {:7.2} $/h, {:6.2} % in time, first token {:.2}/{:.2}/{:.2} s, {:.2} 429s a thousand",
        router.name(),
        mean.usd_per_hour,
        mean.in_time * 100.0,
        mean.first[0],
        mean.first[1],
        mean.first[2],
        mean.refusals_per_thousand
    );
    mean
}
