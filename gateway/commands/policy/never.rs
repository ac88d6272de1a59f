//! Policies that have no effect whatever comes: those that match no request and no endpoint there can be, and permits that
//! forbids of the same set always overrule. Asked of the solver, one policy at a time.
//!
//! Whether policies match is asked first, of all of them: it is the cheaper question, and its answer can be a mistake.
//!
//! Strict validation finds the plainest of them, and `policy::Rules` holds words against their lists. What several conditions make
//! of each other (`context.class >= 2 && context.class < 2`, an `unless` that takes back its `when`, a forbid that takes back all
//! of a permit) takes a solver.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cedar_policy::{Effect, Policy, PolicySet};
use policy::{About, Action, Fault, Reach, Rules, Severity};
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
    dead: Vec<String>,
    /// Permits that permit nothing, and are not known to match nothing.
    overruled: Vec<Overruled>,
    /// What could not be found out.
    unknown: Vec<Unknown>,
}

/// A permit that forbids overrule wherever it matches.
struct Overruled {
    id: String,
    by: By,
}

/// Who overrules it.
enum By {
    /// The ids of the forbids that do so alone.
    Each(Vec<String>),
    /// No forbid does so alone.
    Together,
    /// It could not be found out whether one does so alone.
    Some,
    /// It could not be found out whether the permit matches anything that could be overruled.
    IfAny,
}

/// What a permit permits.
enum Permitting {
    Something,
    Nothing(By),
}

/// A question that has no answer.
struct Unknown {
    id: String,
    question: Question,
    why: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Matches,
    Permits,
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
            Ok(found) => runtime.block_on(by(found, rules)),
            Err(reasons) if solver.is_some() => Err(format!("the solver does not work: {}", reasons.join("; "))),
            Err(reasons) => Ok(Self { by: Some(Err(reasons.join("; "))), ..Self::default() }),
        }
    }

    /// A policy that can match nothing is a mistake, as one is that validation finds to be impossible.
    pub(super) fn faults(&self, rules: &Rules) -> Vec<Fault> {
        let dead = rules.policies().filter(|about| self.dead.iter().any(|id| **id == *about.id));
        let fault = |about: &About| Fault {
            severity: Severity::Fault,
            file: about.file.clone(),
            line: about.line,
            column: 1,
            message: format!("policy `{}` matches no request and no endpoint that there can be", about.id),
            remedy: "a rule that can match nothing is a mistake: mend it or take it out".to_owned(),
        };
        dead.map(fault).collect()
    }

    /// A permit that permits nothing is worth a look and no mistake: it can be there for the day on which a forbid goes.
    pub(super) fn remarks(&self, rules: &Rules) -> Vec<Fault> {
        let about = |id: &str| rules.policies().find(|about| &*about.id == id);
        let remark = |overruled: &Overruled| {
            let permit = about(&overruled.id)?;
            let matches = if matches!(overruled.by, By::IfAny) { "" } else { "matches something and " };
            let by = match &overruled.by {
                By::Each(ids) => {
                    let place = |about: &About| format!("`{}` ({}:{})", about.id, about.file, about.line);
                    let forbids: Vec<String> = ids.iter().filter_map(|id| about(id)).map(place).collect();
                    let alone = if forbids.len() > 1 { ", each of them alone" } else { "" };
                    format!("{} forbids all that it permits{alone}", forbids.join(" and "))
                }
                By::Together => "forbids of the set take all of it together, and none of them alone".to_owned(),
                By::Some => "forbids of the set take all of it".to_owned(),
                By::IfAny => "forbids of the set take all of it, or it matches nothing".to_owned(),
            };
            Some(Fault {
                severity: Severity::Remark,
                file: permit.file.clone(),
                line: permit.line,
                column: 1,
                message: format!("permit `{}` {matches}never permits anything: {by}", permit.id),
                remedy: "except what is to be permitted from the forbid (`unless`), or take the permit out".to_owned(),
            })
        };
        self.overruled.iter().filter_map(remark).collect()
    }

    /// What was found out of a permit, and why it is not known whether it matches anything, where it is not.
    fn note(&mut self, permit: &Policy, unmatched: Option<String>, permits: Result<Permitting, String>) {
        match permits {
            // What permits something matches something.
            Ok(Permitting::Something) => return,
            Ok(Permitting::Nothing(by)) => self.overruled.push(Overruled { id: permit.id().to_string(), by }),
            Err(why) => self.unknown(permit, Question::Permits, why),
        }
        if let Some(why) = unmatched {
            self.unknown(permit, Question::Matches, why);
        }
    }

    fn unknown(&mut self, policy: &Policy, question: Question, why: String) {
        self.unknown.push(Unknown { id: policy.id().to_string(), question, why });
    }

    /// What is said of it where no policy matches nothing.
    pub(super) fn lines(&self) -> Vec<String> {
        let what = "whether each policy can match anything at all, and each permit permits anything";
        let but = |question: Question| {
            let unknown = self.unknown.iter().any(|unknown| unknown.question == question);
            let named = unknown || question == Question::Permits && !self.overruled.is_empty();
            if named { ", but for those named here" } else { "" }
        };
        let mut lines = Vec::new();
        match &self.by {
            None => lines.push(format!("not asked, as wished: {what}")),
            Some(Err(why)) => lines.push(format!("not asked: {what}; that takes a solver ({why}): `pip install cvc5`")),
            Some(Ok(by)) => lines.push(format!(
                "by {by}: each policy can match something{}; each permit permits something{}",
                but(Question::Matches),
                but(Question::Permits)
            )),
        }
        lines.extend(self.unknown.iter().map(|Unknown { id, question, why }| match question {
            Question::Matches => format!("not found out: whether `{id}` can match anything: {why}"),
            Question::Permits => format!("not found out: whether `{id}` ever permits anything: {why}"),
        }));
        lines
    }

    pub(super) fn value(&self) -> Value {
        let (by, why) = match &self.by {
            None => (None, Some("not wanted")),
            Some(Err(why)) => (None, Some(why.as_str())),
            Some(Ok(by)) => (Some(by.as_str()), None),
        };
        let overruled: Vec<Value> = self.overruled.iter().map(Overruled::value).collect();
        let unknown: Vec<Value> = self.unknown.iter().map(Unknown::value).collect();
        json!({ "by": by, "not_asked": why, "policies": self.dead, "overruled": overruled, "unknown": unknown })
    }
}

impl Overruled {
    fn value(&self) -> Value {
        let by = match &self.by {
            By::Each(ids) => Some(ids.clone()),
            By::Together => Some(Vec::new()),
            By::Some | By::IfAny => None,
        };
        json!({ "policy": self.id, "alone": by })
    }
}

impl Unknown {
    fn value(&self) -> Value {
        let question = match self.question {
            Question::Matches => "matches",
            Question::Permits => "permits",
        };
        json!({ "policy": self.id, "question": question, "why": self.why })
    }
}

async fn by(solver: Solver, rules: &Rules) -> Result<Never, String> {
    let mut never = Never { by: Some(Ok(solver.words())), ..Never::default() };
    let asking = Arc::new(Asking::of(solver, rules)?);
    let mut asked = JoinSet::new();
    for policy in as_enforced(rules)?.policies() {
        let (policy, asking) = (policy.clone(), Arc::clone(&asking));
        asked.spawn(async move { (asking.matches(&policy).await, policy) });
    }
    let mut permits = JoinSet::new();
    // Every answer is waited for before the next question is asked, so that no hard one of those takes the time of these.
    for (matches, policy) in all(asked).await? {
        let asking = Arc::clone(&asking);
        match (matches, policy.effect()) {
            (Ok(false), _) => never.dead.push(policy.id().to_string()),
            (Ok(true), Effect::Forbid) => {}
            (Err(why), Effect::Forbid) => never.unknown(&policy, Question::Matches, why),
            (matches, Effect::Permit) => {
                permits.spawn(async move {
                    let permits = asking.permitting(&policy, matches.is_ok()).await;
                    (matches, permits, policy)
                });
            }
        }
    }
    for (matches, permits, permit) in all(permits).await? {
        never.note(&permit, matches.err(), permits);
    }
    never.dead.sort();
    never.overruled.sort_by(|one, other| one.id.cmp(&other.id));
    never.unknown.sort_by(|one, other| (&one.id, one.question).cmp(&(&other.id, other.question)));
    Ok(never)
}

async fn all<T: 'static>(mut asked: JoinSet<T>) -> Result<Vec<T>, String> {
    let mut answers = Vec::new();
    while let Some(answer) = asked.join_next().await {
        answers.push(answer.map_err(|error| error.to_string())?);
    }
    Ok(answers)
}

/// What each question needs.
struct Asking {
    solver: Solver,
    /// As many processes at a time as there are processors.
    room: Semaphore,
    end: Instant,
    forbids: Vec<Policy>,
    /// All that an obligation of the set replaces.
    redacted: BTreeSet<String>,
}

impl Asking {
    fn of(solver: Solver, rules: &Rules) -> Result<Self, String> {
        let room = std::thread::available_parallelism().map_or(1, usize::from);
        let enforced = as_enforced(rules)?;
        let forbids = enforced.policies().filter(|policy| policy.effect() == Effect::Forbid).cloned();
        Ok(Self {
            solver,
            room: Semaphore::new(room),
            end: Instant::now() + LONGEST,
            forbids: forbids.collect(),
            redacted: rules.policies().flat_map(|about| about.redact.iter().cloned()).collect(),
        })
    }

    async fn matches(&self, policy: &Policy) -> Result<bool, String> {
        self.in_time(async { self.solver.matches(&within_reason(policy)?).await }).await
    }

    async fn permitting(&self, permit: &Policy, does_match: bool) -> Result<Permitting, String> {
        Ok(match (self.permits(permit, &self.forbids).await?, does_match) {
            (true, _) => Permitting::Something,
            (false, true) => Permitting::Nothing(self.overruling(permit).await),
            (false, false) => Permitting::Nothing(By::IfAny),
        })
    }

    /// Whether there is a request that the permit permits and none of the forbids takes.
    async fn permits(&self, permit: &Policy, forbids: &[Policy]) -> Result<bool, String> {
        let set = [self.as_permitted(permit)?].into_iter().chain(forbids.iter().cloned());
        let set = PolicySet::from_policies(set).map_err(|error| error.to_string())?;
        self.in_time(self.solver.permits(&set)).await
    }

    /// Who overrules a permit that is overruled.
    async fn overruling(&self, permit: &Policy) -> By {
        let (mut alone, mut is_known) = (Vec::new(), true);
        for forbid in &self.forbids {
            match self.permits(permit, std::slice::from_ref(forbid)).await {
                Ok(true) => {}
                Ok(false) => alone.push(forbid.id().to_string()),
                Err(_) => is_known = false,
            }
        }
        match (alone.is_empty(), is_known) {
            (false, _) => By::Each(alone),
            (true, true) => By::Together,
            (true, false) => By::Some,
        }
    }

    /// The permit for what a gateway fills in; it says of nothing that it is redacted that no obligation replaces.
    fn as_permitted(&self, permit: &Policy) -> Result<Policy, String> {
        let redacted = match self.redacted.is_empty() {
            true => "context.redacted.isEmpty()".to_owned(),
            false => format!("[{}].containsAll(context.redacted)", texts(self.redacted.iter().map(String::as_str))),
        };
        with(&within_reason(permit)?, &format!("\nwhen {{ {redacted} }}"))
    }

    async fn in_time(&self, answer: impl Future<Output = Result<bool, String>>) -> Result<bool, String> {
        let turn = async {
            let _turn = self.room.acquire().await;
            answer.await
        };
        let answer = timeout_at(self.end, turn).await;
        answer.unwrap_or_else(|_| Err(format!("{} s for all policies were over", LONGEST.as_secs())))
    }
}

/// The policy for what a gateway fills in, and nothing else that the schema's types would allow.
fn within_reason(policy: &Policy) -> Result<Policy, String> {
    let conditions = [
        "context.class >= 0 && context.class <= 3".to_owned(),
        "(context.labelled || context.labels.isEmpty())".to_owned(),
        format!("[{}].contains(resource.reach)", texts(Reach::ALL.map(Reach::name))),
        format!("[{}].containsAll(resource.grants)", texts(Action::ALL.map(Action::name))),
        "(!resource.own_site || resource.reach == \"local\")".to_owned(),
        "(resource.reach != \"local\" || resource.approved)".to_owned(),
        "resource.retention_days >= 0".to_owned(),
    ];
    with(policy, &format!("\nwhen {{ {} }}", conditions.join(" && ")))
}

fn texts<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
