//! A question in the terms of the policies.

use std::collections::BTreeSet;

use crate::question::{Action, Question};

/// What a question comes down to, apart from its candidates.
pub(super) struct Ask {
    /// Actions that findings need, in the order of [`Action::ALL`].
    pub(super) actions: Vec<Action>,
    /// Kinds of finding by name, and their groups; `a:b` stands as `a` as well.
    pub(super) findings: BTreeSet<String>,
}

impl Ask {
    pub(super) fn of(question: &Question<'_>) -> Self {
        if question.findings.is_empty() {
            return Self { actions: Vec::new(), findings: BTreeSet::new() };
        }
        let needed: Vec<Action> = question.findings.counts().filter_map(|(kind, _)| Action::behind(kind)).collect();
        let mut findings = question.findings.names();
        let families: Vec<String> =
            findings.iter().filter_map(|name| name.split_once(':')).map(|(family, _)| family.to_owned()).collect();
        findings.extend(families);
        Self { actions: Action::ALL.into_iter().filter(|action| needed.contains(action)).collect(), findings }
    }
}
