//! The decision: which of a model's targets may serve this request, and why each is in or out.

use std::fmt;
use std::sync::Arc;

use inspection::{Finding, FindingKind, Findings};

use crate::proof::{Covered, Permit};

/// A target: its index in the list of targets of the snapshot that the request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub u32);

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Something an upstream would do beyond answering, and that an endpoint must be granted under `[policy] allow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Keep the request or the answer, or use what was kept: `keep_state`.
    KeepState,
    /// Fetch a URL that stands in the content: `fetch_remote`.
    FetchRemote,
    /// Run a tool on the provider's side: `use_hosted_tool`.
    UseHostedTool,
}

impl Action {
    /// Every action, in the order of the reference page.
    pub const ALL: [Self; 3] = [Self::KeepState, Self::FetchRemote, Self::UseHostedTool];

    /// The action that a finding of this kind would set off, where it would set off one.
    #[must_use]
    pub const fn behind(kind: &FindingKind) -> Option<Self> {
        match kind {
            FindingKind::StoredState => Some(Self::KeepState),
            FindingKind::RemoteUrl => Some(Self::FetchRemote),
            FindingKind::HostedTool(_) => Some(Self::UseHostedTool),
            FindingKind::Text(_)
            | FindingKind::UninspectedMedia
            | FindingKind::Uninspected
            | FindingKind::UserIdentifier => None,
        }
    }

    /// The name used in the configuration and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeepState => "keep_state",
            Self::FetchRemote => "fetch_remote",
            Self::UseHostedTool => "use_hosted_tool",
        }
    }

    /// The action of this name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The actions that `[policy] allow` grants to an endpoint; the default grants none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The endpoint may keep state between requests.
    pub keep_state: bool,
    /// The endpoint may fetch URLs that stand in the content.
    pub fetch_remote: bool,
    /// The endpoint may run tools on its side.
    pub use_hosted_tool: bool,
}

/// Grants nothing: what an endpoint has that `[policy] allow` does not name.
pub const NO_GRANTS: Grants = Grants { keep_state: false, fetch_remote: false, use_hosted_tool: false };

impl Grants {
    /// Whether `action` is granted.
    #[must_use]
    pub const fn allow(self, action: Action) -> bool {
        match action {
            Action::KeepState => self.keep_state,
            Action::FetchRemote => self.fetch_remote,
            Action::UseHostedTool => self.use_hosted_tool,
        }
    }

    /// These grants and `action` as well.
    #[must_use]
    pub const fn with(mut self, action: Action) -> Self {
        match action {
            Action::KeepState => self.keep_state = true,
            Action::FetchRemote => self.fetch_remote = true,
            Action::UseHostedTool => self.use_hosted_tool = true,
        }
        self
    }
}

/// One of the model's targets, with what the configuration says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which target.
    pub target: TargetId,
    /// `reach = local`, or listed under `[policy] approve`.
    pub approved: bool,
    /// What `[policy] allow` grants to its endpoint.
    pub grants: Grants,
    /// `endpoint/upstream-model`, as records and `explain` show it.
    pub name: Arc<str>,
}

/// What is asked: may this app's request for this model go to any of these targets.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The app that asks.
    pub app: &'a str,
    /// The model that it names.
    pub model: &'a str,
    /// What inspection found in the request.
    pub findings: &'a Findings,
    /// The model's targets in declared order; the permit keeps that order.
    pub candidates: &'a [Candidate],
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
    In,
    /// Neither local nor listed under `[policy] approve`.
    NotApproved,
    /// The first finding whose action this target's endpoint is not granted.
    NotGranted(Finding),
    /// The same target stood earlier in the list, and was judged there.
    Repeated,
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In => f.write_str("permitted"),
            Self::NotApproved => f.write_str("the endpoint is not approved"),
            Self::NotGranted(finding) => {
                write!(f, "{finding} needs `{}`, which the endpoint is not granted", needed(&finding.kind))
            }
            Self::Repeated => f.write_str("listed twice"),
        }
    }
}

/// No target is left: the cause for the caller, and the verdict on every candidate for the record.
///
/// The message names the app, the model and the kind and path of a finding, never any content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("app `{app}` may not use model `{model}` for this request: {cause}")]
pub struct Denial {
    app: String,
    model: String,
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
    /// Not one of the model's targets is approved.
    #[error("none of the model's targets is approved")]
    NotApproved,
    /// Targets are approved, but each lacks a grant that the request needs.
    ///
    /// Kind and path are those that kept the first approved target out.
    #[error("`{kind}` at `{path}` needs `{}`, which no target of the model is granted", needed(kind))]
    Feature {
        /// What was found.
        kind: FindingKind,
        /// JSON path of the place.
        path: String,
    },
}

/// The action behind a finding, for a sentence about it.
fn needed(kind: &FindingKind) -> &'static str {
    Action::behind(kind).map_or("a grant", Action::name)
}

/// Decides which of the candidates this request may go to.
///
/// A candidate is in when it is approved and its endpoint is granted the action behind every finding.
///
/// # Errors
///
/// A [`Denial`] when no candidate is in. It speaks of a feature only when approval alone would have left a target.
///
/// ```
/// use policy::{Candidate, Findings, Grants, Question, TargetId, decide};
///
/// let findings = Findings::none();
/// let candidates = [Candidate {
///     target: TargetId(0),
///     approved: true,
///     grants: Grants::default(),
///     name: "gpu-01/llama-3.3-70b".into(),
/// }];
///
/// let permit = decide(&Question { app: "claims", model: "chat-large", findings: &findings, candidates: &candidates })?;
///
/// assert_eq!(permit.targets(), [TargetId(0)]);
/// # Ok::<(), policy::Denial>(())
/// ```
pub fn decide(question: &Question<'_>) -> Result<Arc<Permit>, Denial> {
    let mut covered: Vec<Covered> = Vec::with_capacity(question.candidates.len());
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(question.candidates.len());
    for candidate in question.candidates {
        let seen = verdicts.iter().any(|verdict| verdict.target == candidate.target);
        let ruling = if seen { Ruling::Repeated } else { rule(candidate, question.findings) };
        if ruling == Ruling::In {
            covered.push(Covered { target: candidate.target, grants: candidate.grants });
        }
        verdicts.push(Verdict { target: candidate.target, name: Arc::clone(&candidate.name), ruling });
    }
    let verdicts = verdicts.into_boxed_slice();
    match Permit::covering(covered, verdicts) {
        Ok(permit) => Ok(Arc::new(permit)),
        Err(verdicts) => Err(Denial {
            app: question.app.to_owned(),
            model: question.model.to_owned(),
            cause: cause(&verdicts),
            verdicts,
        }),
    }
}

fn rule(candidate: &Candidate, findings: &Findings) -> Ruling {
    if !candidate.approved {
        return Ruling::NotApproved;
    }
    let ungranted = findings
        .iter()
        .find(|finding| Action::behind(&finding.kind).is_some_and(|action| !candidate.grants.allow(action)));
    match ungranted {
        Some(finding) => Ruling::NotGranted(finding.clone()),
        None => Ruling::In,
    }
}

fn cause(verdicts: &[Verdict]) -> Cause {
    if verdicts.is_empty() {
        return Cause::NoTarget;
    }
    let feature = verdicts.iter().find_map(|verdict| match &verdict.ruling {
        Ruling::NotGranted(finding) => Some(finding),
        Ruling::In | Ruling::NotApproved | Ruling::Repeated => None,
    });
    match feature {
        Some(finding) => Cause::Feature { kind: finding.kind.clone(), path: finding.path.clone() },
        None => Cause::NotApproved,
    }
}

#[cfg(test)]
mod tests;
