//! Policies that match no request and no endpoint there can be: asked of the solver, one policy at a time.
//!
//! Strict validation finds the plainest of them, and `policy::Rules` holds words against their lists. What several conditions make
//! of each other (`context.class >= 2 && context.class < 2`, an `unless` that takes back its `when`) takes a solver.

use std::sync::Arc;
use std::time::Duration;

use cedar_policy::Policy;
use policy::{Action, Reach, Rules};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::containment::{as_enforced, runtime, with};
use super::solver::Solver;

/// Longest time that is spent on all policies together; what is not known by then is said to be unknown.
const LONGEST: Duration = Duration::from_secs(60);

/// What was found out.
#[derive(Default)]
pub(super) struct Never {
    /// By which solver; why by none.
    by: Option<Result<String, String>>,
    /// The ids of policies that match nothing.
    pub(super) dead: Vec<String>,
    /// The ids of those of which it could not be found out, each with the reason.
    unknown: Vec<(String, String)>,
}

impl Never {
    /// It was not wanted.
    pub(super) fn unasked() -> Self {
        Self::default()
    }

    /// Asks the solver that was named, or the one that is at hand.
    ///
    /// # Errors
    ///
    /// When one was named and does not work.
    pub(super) fn ask(rules: &Rules, solver: Option<&std::path::Path>) -> Result<Self, String> {
        let runtime = runtime().map_err(|error| error.to_string())?;
        match runtime.block_on(Solver::find(solver)) {
            Ok(found) => runtime.block_on(by(&found, rules)),
            Err(reasons) if solver.is_some() => Err(format!("the solver does not work: {}", reasons.join("; "))),
            Err(reasons) => Ok(Self { by: Some(Err(reasons.join("; "))), ..Self::default() }),
        }
    }

    /// What is said of it where no policy matches nothing.
    pub(super) fn lines(&self) -> Vec<String> {
        let what = "whether each policy can match anything at all";
        let mut lines = Vec::new();
        match &self.by {
            None => lines.push(format!("not asked, as wished: {what}")),
            Some(Err(why)) => lines.push(format!("not asked: {what}; that takes a solver ({why}): `pip install cvc5`")),
            Some(Ok(by)) if self.unknown.is_empty() => lines.push(format!("by {by}: each policy can match something")),
            Some(Ok(by)) => lines.push(format!("by {by}: each policy can match something, but for those named here")),
        }
        lines.extend(
            self.unknown.iter().map(|(id, why)| format!("not found out: whether `{id}` can match anything: {why}")),
        );
        lines
    }

    pub(super) fn value(&self) -> Value {
        let (by, why) = match &self.by {
            None => (None, Some("not wanted")),
            Some(Err(why)) => (None, Some(why.as_str())),
            Some(Ok(by)) => (Some(by.as_str()), None),
        };
        let unknown: Vec<Value> = self.unknown.iter().map(|(id, why)| json!({ "policy": id, "why": why })).collect();
        json!({ "by": by, "not_asked": why, "policies": self.dead, "unknown": unknown })
    }
}

async fn by(solver: &Solver, rules: &Rules) -> Result<Never, String> {
    let (end, room) = (Instant::now() + LONGEST, std::thread::available_parallelism().map_or(1, usize::from));
    let room = Arc::new(Semaphore::new(room));
    let mut asked = JoinSet::new();
    for policy in as_enforced(rules)?.policies() {
        let (id, policy) = (policy.id().to_string(), within_reason(policy)?);
        let (room, solver) = (Arc::clone(&room), solver.clone());
        asked.spawn(async move {
            let turn = async {
                let _turn = room.acquire().await;
                solver.matches(&policy).await
            };
            let answer = timeout_at(end, turn).await;
            (id, answer.unwrap_or_else(|_| Err(format!("{} s for all policies were over", LONGEST.as_secs()))))
        });
    }
    let mut never = Never { by: Some(Ok(solver.words())), ..Never::default() };
    while let Some(answer) = asked.join_next().await {
        match answer.map_err(|error| error.to_string())? {
            (_, Ok(true)) => {}
            (id, Ok(false)) => never.dead.push(id),
            (id, Err(why)) => never.unknown.push((id, why)),
        }
    }
    never.dead.sort();
    never.unknown.sort();
    Ok(never)
}

/// The policy for what a gateway fills in, and nothing else that the schema's types would allow.
fn within_reason(policy: &Policy) -> Result<Policy, String> {
    let texts = |names: &[&str]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let conditions = [
        "context.class >= 0 && context.class <= 3".to_owned(),
        "(context.labelled || context.labels.isEmpty())".to_owned(),
        format!("[{}].contains(resource.reach)", texts(&Reach::ALL.map(Reach::name))),
        format!("[{}].containsAll(resource.grants)", texts(&Action::ALL.map(Action::name))),
        "(!resource.own_site || resource.reach == \"local\")".to_owned(),
        "(resource.reach != \"local\" || resource.approved)".to_owned(),
        "resource.retention_days >= 0".to_owned(),
    ];
    with(policy, &format!("\nwhen {{ {} }}", conditions.join(" && ")))
}
