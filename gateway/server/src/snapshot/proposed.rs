//! What is asked beside what is in force, for the record alone: policies, facts and recognisers that are only proposed.

use std::time::SystemTime;

use inspection::{FindingKind, Findings, TextKind};
use policy::{Judge, WorldError};

use super::DataRules;
use crate::configuration::Compiled;
use crate::outlook;

/// A judge over proposed policies and facts, and what it sees of the findings.
pub(crate) struct Proposed {
    pub(crate) judge: Judge,
    /// Kinds that it sees, or does not see, whatever apps suppress.
    recognisers: Box<[(TextKind, bool)]>,
}

impl Proposed {
    /// What the configuration proposes, where it does.
    pub(super) fn build(compiled: &Compiled) -> Result<Option<Self>, WorldError> {
        let recognisers = compiled.policy.candidate_recognisers.as_slice();
        Ok(outlook::candidate_judge(compiled)?.map(|judge| Self { judge, recognisers: recognisers.into() }))
    }

    /// What the proposed policies see of `findings` in a request of this app; none where that is all of them.
    pub(crate) fn seen_of(&self, findings: &Findings, app: &DataRules, now: SystemTime) -> Option<Findings> {
        let is_hidden = |kind: TextKind| match self.recognisers.iter().find(|(known, _)| *known == kind) {
            Some((_, is_seen)) => !is_seen,
            None => app.hides(kind, now),
        };
        let hides_any = findings.counts().any(|(kind, _)| matches!(kind, FindingKind::Text(kind) if is_hidden(*kind)));
        hides_any.then(|| findings.without(is_hidden))
    }
}
