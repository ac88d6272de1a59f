//! Whether everything that one set of policies permits is permitted by another, for every request and every endpoint.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cedar_policy::{Policy, PolicySet};
use policy::{About, Mention, Reads, Rules};

use super::counterexample::Counterexample;
use super::simpler::Simplifier;
use super::solver::{Answer, Formulas, Solver};
use super::usual;

/// What was found out.
pub(super) enum Verdict {
    /// Everything is, whatever the request and whatever the endpoint.
    Proved,
    /// This is not.
    Refuted(Counterexample),
    /// It could not be found out.
    Unknown(String),
}

/// A set of policies as the gateway enforces it, and as formulas.
pub(super) struct Side {
    pub(super) rules: Arc<Rules>,
    pub(super) set: PolicySet,
    formulas: Formulas,
}

impl Side {
    /// # Errors
    ///
    /// When a policy cannot be written out, which is a fault of this crate.
    pub(super) fn of(rules: Arc<Rules>) -> Result<Self, String> {
        let set = as_enforced(&rules)?;
        Ok(Self { formulas: Formulas::of(&set), set, rules })
    }

    /// What it reads, its annotations included.
    pub(super) fn reads(&self) -> Reads {
        let mut reads = self.rules.reads().clone();
        for about in self.rules.policies() {
            reads.mentions.extend(about.redact.iter().cloned().map(Mention::Finding));
            reads.context.extend((!about.redact.is_empty()).then(|| "redacted".to_owned()));
            reads.context.extend(about.expires.filter(|_| about.permits).map(|_| "now".to_owned()));
        }
        reads
    }

    /// Whether it permits everything there is: as a goal it would hold of any policies.
    pub(super) async fn permits_everything(&self, solver: &Solver) -> bool {
        let Ok(everything) = "permit (principal, action, resource);".parse::<PolicySet>() else { return false };
        matches!(solver.implies(&Formulas::of(&everything), &self.formulas).await, Answer::Proved)
    }
}

/// The policies with what their annotations mean to the gateway written into them: a permit with an obligation permits only
/// what is redacted, and an exception only until its end.
pub(super) fn as_enforced(rules: &Rules) -> Result<PolicySet, String> {
    let mut set = PolicySet::new();
    for policy in rules.set().policies() {
        let about = rules.policies().find(|about| *about.id == *policy.id().to_string());
        let conditions = about.map(conditions).unwrap_or_default();
        let policy = if conditions.is_empty() { policy.clone() } else { with(policy, &conditions)? };
        set.add(policy).map_err(|error| error.to_string())?;
    }
    Ok(set)
}

fn conditions(about: &About) -> String {
    let mut text = String::new();
    for kind in &about.redact {
        let _ = write!(text, "\nwhen {{ context.redacted.contains({kind:?}) }}");
    }
    if let Some(end) = about.expires.filter(|_| about.permits) {
        let _ = write!(text, "\nwhen {{ context.now < datetime(\"{}\") }}", day(end));
    }
    text
}

/// The policy with further conditions, each with its `when`.
pub(super) fn with(policy: &Policy, conditions: &str) -> Result<Policy, String> {
    let text = policy.to_cedar().ok_or_else(|| format!("policy `{}` cannot be written out", policy.id()))?;
    let text = format!("{}{conditions};", text.trim_end().trim_end_matches(';'));
    Policy::parse(Some(policy.id().clone()), text).map_err(|error| error.to_string())
}

/// The instant as Cedar writes it; ends are days.
fn day(end: SystemTime) -> String {
    let seconds = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let date = i64::try_from(seconds).ok().and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    let date = date.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// Whether everything that `inner` permits is permitted by `outer`.
pub(super) async fn within(solver: &Solver, inner: &Side, outer: &Side) -> Verdict {
    let found = match solver.implies(&inner.formulas, &outer.formulas).await {
        Answer::Unknown(why) => return Verdict::Unknown(why),
        Answer::Proved => return Verdict::Proved,
        Answer::Refuted(found) => found,
    };
    let usual = match usual::only(inner, outer) {
        Some(usual) => solver.implies(&Formulas::of(&usual), &outer.formulas).await,
        None => Answer::Proved,
    };
    let (found, is_usual) = match usual {
        Answer::Refuted(usual) => (Simplifier { inner: &inner.set, outer: &outer.set }.simpler(usual), true),
        Answer::Proved | Answer::Unknown(_) => (found, false),
    };
    match Counterexample::replay(&found, inner, outer, is_usual) {
        Ok(counterexample) => Verdict::Refuted(counterexample),
        Err(why) => Verdict::Unknown(format!("a counterexample does not replay: {why}")),
    }
}

/// Formulas are deep; the threads that build them have room.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(32 << 20).build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use policy::{Names, PolicyFile, ReadOptions, Strictness};

    use super::*;

    fn enforced(annotations: &str) -> String {
        let text = format!(
            "@id(\"p\") @owner(\"o\") @basis(\"b\") {annotations}\npermit (principal, action, resource) when {{ resource.approved }};"
        );
        let names = Names::default();
        let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names: &names };
        let (rules, _) = Rules::read(&[PolicyFile { name: "a.cedar", text: &text }], &options).unwrap();
        let set = as_enforced(&rules).unwrap();
        set.policies().map(|policy| policy.to_cedar().unwrap()).collect()
    }

    #[test]
    fn an_obligation_and_an_end_are_conditions_of_what_is_proved() {
        assert!(!enforced("@grant(\"base\")").contains("context"));
        let obliging = enforced("@grant(\"base\") @obligation(\"redact:card,iban\")");
        for kind in ["card", "iban"] {
            assert!(obliging.contains(&format!("context.redacted.contains(\"{kind}\")")), "{obliging}");
        }
        let ending = enforced("@expires(\"2027-06-30\")");
        assert!(ending.contains("context.now < datetime(\"2027-06-30\")"), "{ending}");
        assert!(ending.contains("resource.approved"), "{ending}");
    }
}
