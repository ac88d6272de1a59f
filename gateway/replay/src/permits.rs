//! What policy says to the requests of a trace. The one place of this crate that puts a question for the simulation.

use std::sync::Arc;

use policy::{Candidate, Denial, Judge, Permit, Question, TargetId, decide};

use crate::scenario::Scenario;
use crate::trace::Trace;

/// Asks policy once for each profile of the trace, with all targets of the scenario as approved candidates.
///
/// A trace of another's requests says nothing of data classes, so of the policies only the base grants are asked.
#[must_use]
pub fn permit_all(scenario: &Scenario, trace: &Trace) -> Vec<Result<Arc<Permit>, Denial>> {
    let candidates: Vec<Candidate> = (0_u32..)
        .zip(&scenario.targets)
        .map(|(id, target)| Candidate::new(TargetId(id), target.name.as_str()))
        .collect();
    permit_each(trace, |_| &candidates)
}

/// Asks the base grants once for each profile of the trace; `candidates` gives those of a profile, by its place in the
/// trace. A decision depends on the profile alone, so its permit stands for all its requests.
pub fn permit_each<'a>(
    trace: &Trace,
    candidates: impl Fn(usize) -> &'a [Candidate],
) -> Vec<Result<Arc<Permit>, Denial>> {
    let decided = trace.profiles.iter().enumerate().map(|(index, profile)| {
        let candidates = candidates(index);
        let about = Question::about(&profile.app, profile.model.as_deref().unwrap_or("trace"), candidates);
        decide(&Judge::of_grants(candidates), &Question { findings: &profile.findings, ..about })
    });
    decided.collect()
}
