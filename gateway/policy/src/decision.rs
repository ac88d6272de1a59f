//! The decision: which of a model's targets may serve this request, and why each is in or out.

use std::fmt;
use std::sync::Arc;

use inspection::{Finding, FindingKind};

use crate::judge::{Held, Judge};
use crate::proof::{Covered, Obligations, Permit};
use crate::question::{Action, Candidate, Question, TargetId};

/// Ids of policies, in the order of their names; cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicyIds(Arc<Named>);

#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Named {
    ids: Box<[Arc<str>]>,
    /// The ids as a person reads them. Every record has them for every target, and they are put together once for a class of
    /// requests.
    text: Box<str>,
}

impl PolicyIds {
    /// The ids.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.ids.iter().map(|id| &**id)
    }

    pub(crate) fn ids(&self) -> &[Arc<str>] {
        &self.0.ids
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.ids.is_empty()
    }

    /// The ids as a person reads them: each in backticks, with commas between.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl FromIterator<Arc<str>> for PolicyIds {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(ids: I) -> Self {
        let mut ids: Vec<Arc<str>> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let quoted: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
        Self(Arc::new(Named { ids: ids.into(), text: quoted.join(", ").into() }))
    }
}

impl fmt::Display for PolicyIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why one candidate is in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which target.
    pub target: TargetId,
    /// Its name, `endpoint/upstream-model`.
    pub name: Arc<str>,
    /// In, or out and for what reason.
    pub ruling: Ruling,
}

/// In, or out and for what reason; [`fmt::Display`] says it to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The permit covers it.
    In {
        /// The policies that permit it.
        by: PolicyIds,
        /// What has to be done to the request before it goes there.
        obligations: Obligations,
    },
    /// These policies forbid it.
    Forbidden(PolicyIds),
    /// No policy permits it, and it is neither local nor listed under `[policy] approve`.
    NotApproved,
    /// No policy permits it.
    NotPermitted,
    /// These policies could not be evaluated, so it is denied.
    Failed(PolicyIds),
    /// The first finding whose action this target is not granted, and the policies that forbid it, if any.
    NotGranted {
        /// What was found, and where.
        finding: Finding,
        /// The policies that forbid the action; none when no policy permits it.
        by: PolicyIds,
    },
    /// Policies permit it, and an administrator holds it back for now: what is held back, in words.
    Withheld(Arc<str>),
    /// The same target stood earlier in the list, and was judged there.
    Repeated,
}

impl Ruling {
    /// Whether the permit covers the target.
    #[must_use]
    pub const fn is_in(&self) -> bool {
        matches!(self, Self::In { .. })
    }

    /// The policies that decided.
    #[must_use]
    pub fn policies(&self) -> Option<&PolicyIds> {
        match self {
            Self::In { by, .. } | Self::Forbidden(by) | Self::Failed(by) | Self::NotGranted { by, .. } => Some(by),
            Self::NotApproved | Self::NotPermitted | Self::Withheld(_) | Self::Repeated => None,
        }
    }
}

impl Ruling {
    /// Writes it as a person reads it, into a string without the machinery of formats: every record has it for every target.
    ///
    /// # Errors
    ///
    /// Those of `out`; a string has none.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::In { by, obligations } if obligations.is_empty() => {
                out.write_str("permitted by ")?;
                out.write_str(by.as_str())
            }
            Self::In { by, obligations } => write!(out, "permitted by {by} with {obligations}"),
            Self::Forbidden(by) => {
                out.write_str("forbidden by ")?;
                out.write_str(by.as_str())
            }
            Self::NotApproved => out.write_str("the endpoint is not approved"),
            Self::NotPermitted => out.write_str("no policy permits it"),
            Self::Failed(by) => write!(out, "denied, because {by} could not be evaluated"),
            Self::NotGranted { finding, by } => {
                match Action::behind(&finding.kind) {
                    Some(action) => write!(out, "{finding} needs `{action}`, which the endpoint is not granted")?,
                    None => write!(out, "{finding} is not permitted")?,
                }
                if by.is_empty() { Ok(()) } else { write!(out, ": forbidden by {by}") }
            }
            Self::Withheld(what) => write!(out, "held back by an administrator: {what}"),
            Self::Repeated => out.write_str("listed twice"),
        }
    }
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// No target is left: the cause for the caller, and the verdict on every candidate for the record.
///
/// The message names the app, the model, the policies, and the kind and path of a finding, never any content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("app `{app}` may not use model `{model}` for this request: {cause}")]
pub struct Denial {
    app: Box<str>,
    model: Box<str>,
    cause: Cause,
    verdicts: Box<[Verdict]>,
}

impl Denial {
    /// The one reason that the caller is told.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Why each candidate was out, in declared order.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }
}

/// Why a request was denied; each maps to one error code (`feature_denied`, `residency_denied`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The model has no target at all.
    #[error("the model has no target")]
    NoTarget,
    /// No policy permits any of them, and not one is approved.
    #[error("none of the model's targets is approved")]
    NotApproved,
    /// No policy permits any of them.
    #[error("no policy permits any of the model's targets")]
    NotPermitted,
    /// Policies forbid every target that would be permitted otherwise.
    #[error("forbidden by {0}")]
    Forbidden(PolicyIds),
    /// An administrator holds back what policies would permit: what is held back, in words.
    #[error("held back by an administrator: {0}")]
    Withheld(Arc<str>),
    /// Targets are permitted, but each lacks a grant that the request needs.
    ///
    /// Kind and path are those that kept the first such target out.
    #[error("`{kind}` at `{path}` needs {}, which no target of the model is granted", quoted(kind))]
    Feature {
        /// What was found.
        kind: FindingKind,
        /// JSON path of the place.
        path: String,
    },
}

fn quoted(kind: &FindingKind) -> String {
    Action::behind(kind).map_or_else(|| "a policy".to_owned(), |action| format!("`{action}`"))
}

/// Decides which of the candidates this request may go to.
///
/// A candidate is in when `judge`'s policies permit the operation and every action behind a finding, and forbid none of
/// them. A candidate that is denied as it is and that a permit with an obligation matches is judged once more as if the
/// obligation were done; if it is permitted then, the warrant carries the obligation.
///
/// # Errors
///
/// A [`Denial`] when no candidate is in. It speaks of a feature only when a target would have been left without it.
///
/// ```
/// use policy::{Candidate, Judge, Question, TargetId, decide};
///
/// let candidates = [Candidate::new(TargetId(0), "gpu-01/llama-3.3-70b")];
/// let judge = Judge::of_grants(&candidates);
///
/// let permit = decide(&judge, &Question::about("claims", "chat-large", &candidates))?;
///
/// assert_eq!(permit.targets(), [TargetId(0)]);
/// # Ok::<(), policy::Denial>(())
/// ```
pub fn decide(judge: &Judge, question: &Question<'_>) -> Result<Arc<Permit>, Denial> {
    let held = judge.hold(question);
    let mut covered: Vec<Covered> = Vec::with_capacity(question.candidates.len());
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(question.candidates.len());
    for (index, (candidate, held)) in question.candidates.iter().zip(held.iter()).enumerate() {
        let seen = question.candidates.iter().take(index).any(|earlier| earlier.target == candidate.target);
        let ruling = if seen { Ruling::Repeated } else { rule(held, candidate, question) };
        if let Ruling::In { obligations, .. } = &ruling {
            let (target, grants) = (candidate.target, candidate.grants);
            covered.push(Covered { target, grants, obligations: obligations.clone() });
        }
        verdicts.push(Verdict { target: candidate.target, name: Arc::clone(&candidate.name), ruling });
    }
    let verdicts = verdicts.into_boxed_slice();
    match Permit::covering(covered, verdicts) {
        Ok(permit) => Ok(Arc::new(permit)),
        Err(verdicts) => {
            Err(Denial { app: question.app.into(), model: question.model.into(), cause: cause(&verdicts), verdicts })
        }
    }
}

/// What becomes of one candidate, in the words of this request: what the policies hold, what an open grant permits beyond
/// them, and last what is withheld, which is out whatever the others say.
fn rule(held: &Held, candidate: &Candidate, question: &Question<'_>) -> Ruling {
    let ruling = match (held, question.lifted_by(candidate.target)) {
        (Held::Forbidden(_) | Held::NotPermitted, Some(grant)) => lifted(grant, candidate, question),
        _ => rule_of_policies(held, candidate, question),
    };
    match (ruling.is_in(), question.withheld_because(candidate.target)) {
        (true, Some(what)) => Ruling::Withheld(Arc::clone(what)),
        _ => ruling,
    }
}

/// A grant permits the operation and nothing beyond it: what a finding would set off takes the endpoint's own grant, and a
/// policy that could not be evaluated denies as ever.
fn lifted(grant: &Arc<str>, candidate: &Candidate, question: &Question<'_>) -> Ruling {
    let lacks =
        |finding: &&Finding| Action::behind(&finding.kind).is_some_and(|action| !candidate.grants.allow(action));
    match question.findings.iter().find(lacks) {
        Some(finding) => Ruling::NotGranted { finding: finding.clone(), by: PolicyIds::default() },
        None => Ruling::In { by: [Arc::clone(grant)].into_iter().collect(), obligations: Obligations::none() },
    }
}

fn rule_of_policies(held: &Held, candidate: &Candidate, question: &Question<'_>) -> Ruling {
    match held {
        Held::Permitted { by, obligations } => Ruling::In { by: by.clone(), obligations: obligations.clone() },
        Held::Forbidden(by) => Ruling::Forbidden(by.clone()),
        Held::NotPermitted if !candidate.approved => Ruling::NotApproved,
        Held::NotPermitted => Ruling::NotPermitted,
        Held::Failed(by) => Ruling::Failed(by.clone()),
        Held::NotGranted { action, by } => {
            let finding = question.findings.iter().find(|finding| Action::behind(&finding.kind) == Some(*action));
            match finding {
                Some(finding) => Ruling::NotGranted { finding: finding.clone(), by: by.clone() },
                // It cannot be: the action was asked about because of a finding. Denied all the same.
                None => Ruling::Forbidden(by.clone()),
            }
        }
    }
}

fn cause(verdicts: &[Verdict]) -> Cause {
    if verdicts.is_empty() {
        return Cause::NoTarget;
    }
    let withheld = verdicts.iter().find_map(|verdict| match &verdict.ruling {
        Ruling::Withheld(what) => Some(what),
        _ => None,
    });
    if let Some(what) = withheld {
        return Cause::Withheld(Arc::clone(what));
    }
    let feature = verdicts.iter().find_map(|verdict| match &verdict.ruling {
        Ruling::NotGranted { finding, .. } => Some(finding),
        _ => None,
    });
    if let Some(finding) = feature {
        return Cause::Feature { kind: finding.kind.clone(), path: finding.path.clone() };
    }
    let forbidding: Vec<Arc<str>> = verdicts
        .iter()
        .filter_map(|verdict| match &verdict.ruling {
            Ruling::Forbidden(by) | Ruling::Failed(by) => Some(by.ids().iter().cloned()),
            _ => None,
        })
        .flatten()
        .collect();
    if !forbidding.is_empty() {
        return Cause::Forbidden(forbidding.into_iter().collect());
    }
    let unapproved = |verdict: &Verdict| matches!(verdict.ruling, Ruling::NotApproved | Ruling::Repeated);
    if verdicts.iter().all(unapproved) { Cause::NotApproved } else { Cause::NotPermitted }
}

#[cfg(test)]
mod tests;
