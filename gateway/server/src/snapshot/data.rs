//! What is known of an app's data beyond its labels, in the form in which requests use it.

use std::sync::Arc;
use std::time::SystemTime;

use inspection::{FindingKind, Findings, OwnRecognisers, TextKind};
use policy::Class;

use crate::configuration::{CaptureConfig, DataConfig};
use crate::outlook;

/// What is known of an app's data beyond its labels.
#[derive(Debug, Default)]
pub(crate) struct DataRules {
    /// What the marks of a token say, by their place.
    pub(crate) claims: Box<[ClaimRule]>,
    /// Names of users go to other sites as they came.
    pub(crate) users_as_sent: bool,
    /// Kinds of finding that policies do not see until then.
    suppressed: Box<[(TextKind, SystemTime)]>,
    /// Kinds that policies in force do not see, because their recognisers are only tried.
    tried: Box<[TextKind]>,
    /// How prompts and answers are kept, where they are.
    pub(crate) capture: Option<CaptureConfig>,
}

/// What a model says of whatever is sent to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteData {
    /// Labels, sorted.
    pub(crate) labels: Arc<[Arc<str>]>,
    pub(crate) class: Option<Class>,
}

impl RouteData {
    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.class.is_none()
    }
}

/// What one value of a claim says.
#[derive(Debug)]
pub(crate) struct ClaimRule {
    pub(crate) labels: Arc<[Arc<str>]>,
    pub(crate) class: Option<Class>,
    pub(crate) purpose: Option<Arc<str>>,
}

impl DataRules {
    pub(super) fn of(config: &DataConfig, own: &OwnRecognisers) -> Self {
        let claims = config.claims.iter().map(|one| ClaimRule {
            labels: outlook::labels(&one.labels),
            class: one.class.map(outlook::class),
            purpose: one.purpose.as_deref().map(Into::into),
        });
        Self {
            claims: claims.collect(),
            users_as_sent: config.users_as_sent,
            suppressed: config.suppressed.iter().map(|one| (one.kind, one.until)).collect(),
            tried: own.tried().collect(),
            capture: config.capture.clone(),
        }
    }

    /// Whether policies do not see findings of this kind at `now`.
    pub(crate) fn suppresses(&self, kind: &FindingKind, now: SystemTime) -> bool {
        matches!(kind, FindingKind::Text(kind) if self.is_unseen(*kind, now))
    }

    /// What policies see of `findings`; none where that is all of them.
    pub(crate) fn seen_of(&self, findings: &Findings, now: SystemTime) -> Option<Findings> {
        let hides_any = findings.counts().any(|(kind, _)| self.suppresses(kind, now));
        hides_any.then(|| findings.without(|kind| self.is_unseen(kind, now)))
    }

    fn is_unseen(&self, kind: TextKind, now: SystemTime) -> bool {
        self.hides(kind, now) || self.tried.contains(&kind)
    }

    /// Whether the app suppresses this kind at `now`.
    pub(super) fn hides(&self, kind: TextKind, now: SystemTime) -> bool {
        self.suppressed.iter().any(|(hidden, until)| *hidden == kind && now < *until)
    }
}
