//! Recorded questions put to the deciding code again, with what their attempts met taken from the record.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounting::{Estimate, estimate};
use policy::{Candidate, Denial, Findings, Judge, Question, TargetId, decide};
use routing::{Ranked, TargetHealth, plan};

/// The models of a fleet, each with its targets in declared order.
pub type Fleet = BTreeMap<Arc<str>, Vec<Candidate>>;

/// One question of a trace, and what its attempts met.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When it came, counted from the start of the trace.
    pub at: Duration,
    /// The app that asked.
    pub app: Arc<str>,
    /// The model that it named.
    pub model: Arc<str>,
    /// What inspection had found in it.
    pub findings: Findings,
    /// Bytes of its text, media left out.
    pub input_bytes: usize,
    /// The caller's bound on the output, in tokens.
    pub max_output: Option<u64>,
    /// What each attempt met, in order.
    pub attempts: Vec<Attempt>,
}

/// One recorded attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where it went, as an id of the fleet that is replayed against.
    pub target: TargetId,
    /// What it met there.
    pub met: Met,
}

/// What an attempt met, as far as the health of its target is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// An answer that is neither a failure nor a 429.
    Answer,
    /// A failure that counts towards ejection.
    Failure,
    /// A 429, with the time that it asked for.
    Limit(Option<Duration>),
}

/// What would have been decided for one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Replanned {
    /// When it came, counted from the start of the trace.
    pub at: Duration,
    /// The permitted targets in the order of the plan, or why there were none.
    pub order: Result<Vec<Ranked>, Denial>,
    /// What would have been reserved; nothing for a denial.
    pub reserved: Option<Estimate>,
}

/// Decides every question of a trace again, against `fleet`, in the order of time.
///
/// Each attempt of the trace is told to its target's health at the moment of its question, so that later plans see it.
/// A model that the fleet does not have is denied like a model without targets. `start` is the moment the trace begins at;
/// any will do.
#[must_use]
pub fn replan(fleet: &Fleet, trace: &[Recorded], start: Instant) -> Vec<Replanned> {
    let targets: Vec<Candidate> = fleet.values().flatten().cloned().collect();
    let judge = Judge::of_grants(&targets);
    let mut in_time: Vec<&Recorded> = trace.iter().collect();
    in_time.sort_by_key(|question| question.at);
    let mut health: HashMap<TargetId, TargetHealth> = HashMap::new();
    let mut replanned = Vec::with_capacity(in_time.len());
    for question in in_time {
        let now = start + question.at;
        replanned.push(decide_again((fleet, &judge), question, &health, now));
        for attempt in &question.attempts {
            let target = health.entry(attempt.target).or_default();
            match attempt.met {
                Met::Answer => target.on_success(now, now),
                Met::Failure => target.on_failure(now, now),
                Met::Limit(retry_after) => target.block(now, retry_after),
            }
        }
    }
    replanned
}

fn decide_again(
    (fleet, judge): (&Fleet, &Judge),
    question: &Recorded,
    health: &HashMap<TargetId, TargetHealth>,
    now: Instant,
) -> Replanned {
    let candidates = fleet.get(&question.model).map_or(&[][..], Vec::as_slice);
    let about = Question::about(&question.app, &question.model, candidates);
    let asked = Question { findings: &question.findings, ..about };
    let unknown = TargetHealth::new();
    let order = decide(judge, &asked).map(|permit| {
        let standing = |target| health.get(&target).unwrap_or(&unknown).standing(now);
        plan(&permit, standing).explain().to_vec()
    });
    let reserved = order.is_ok().then(|| estimate(question.input_bytes, question.max_output));
    Replanned { at: question.at, order, reserved }
}

#[cfg(test)]
mod tests {
    use accounting::Tokens;
    use policy::{Cause, Finding, FindingKind};

    use super::*;

    fn fleet() -> Fleet {
        let candidate = |id, name: &str| Candidate::new(TargetId(id), name);
        Fleet::from([("chat".into(), vec![candidate(0, "gpu-01/llama"), candidate(1, "aoai-sweden/gpt-4o")])])
    }

    fn question(seconds: u64, attempts: &[(u32, Met)]) -> Recorded {
        Recorded {
            at: Duration::from_secs(seconds),
            app: "claims".into(),
            model: "chat".into(),
            findings: Findings::none(),
            input_bytes: 400,
            max_output: Some(28),
            attempts: attempts.iter().map(|(target, met)| Attempt { target: TargetId(*target), met: *met }).collect(),
        }
    }

    fn orders(fleet: &Fleet, trace: &[Recorded]) -> Vec<Vec<u32>> {
        let ids = |ranked: Vec<Ranked>| ranked.iter().map(|ranked| ranked.target.0).collect();
        replan(fleet, trace, Instant::now()).into_iter().map(|replanned| ids(replanned.order.unwrap())).collect()
    }

    #[test]
    fn a_target_that_failed_five_times_in_the_trace_is_last_for_thirty_seconds() {
        let mut trace: Vec<Recorded> =
            (0..5).map(|second| question(second, &[(0, Met::Failure), (1, Met::Answer)])).collect();
        trace.push(question(5, &[]));
        trace.push(question(34, &[]));

        let orders = orders(&fleet(), &trace);

        assert_eq!(orders[..5], vec![vec![0, 1]; 5]);
        assert_eq!(orders[5..], [vec![1, 0], vec![0, 1]]);
    }

    #[test]
    fn a_429_in_the_trace_moves_its_target_back_for_the_time_it_asked_for() {
        let limit = Met::Limit(Some(Duration::from_secs(10)));
        let trace = [question(0, &[(0, limit)]), question(9, &[]), question(10, &[])];

        assert_eq!(orders(&fleet(), &trace), [vec![0, 1], vec![1, 0], vec![0, 1]]);
    }

    #[test]
    fn a_trace_is_replayed_in_the_order_of_time() {
        let limit = Met::Limit(Some(Duration::from_secs(10)));
        let trace = [question(5, &[]), question(0, &[(0, limit)])];

        assert_eq!(orders(&fleet(), &trace), [vec![0, 1], vec![1, 0]]);
    }

    #[test]
    fn a_permitted_question_says_what_it_would_have_reserved_and_a_denied_one_reserves_nothing() {
        let permitted = question(0, &[]);
        let mut denied = question(1, &[]);
        denied.findings.push(Finding { kind: FindingKind::RemoteUrl, path: "$.input".into() });

        let replanned = replan(&fleet(), &[permitted, denied], Instant::now());

        assert_eq!(replanned[0].reserved, Some(Estimate { input: Tokens(100), output: Tokens(28) }));
        assert_eq!(replanned[1].reserved, None);
        assert!(matches!(replanned[1].order.as_ref().unwrap_err().cause(), Cause::Feature { .. }));
    }

    #[test]
    fn a_model_that_the_fleet_does_not_have_is_denied() {
        let replanned = replan(&Fleet::new(), &[question(0, &[])], Instant::now());

        assert_eq!(replanned[0].order.as_ref().unwrap_err().cause(), &Cause::NoTarget);
    }
}
