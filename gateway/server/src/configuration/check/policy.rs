//! `[policy]` and `[label.NAME]`: what the security team permits.

use std::collections::{BTreeMap, BTreeSet};

use super::super::compile::GrantsConfig;
use policy::SHIPPED_LABELS;

use super::super::document::{Document, Grant, Policy, Reach};
use super::super::mistakes::MistakeKind;
use super::super::report::quote;
use super::Check;

/// What the security team permits, by endpoint.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    approved: BTreeSet<String>,
    grants: BTreeMap<String, GrantsConfig>,
    certified: BTreeMap<String, BTreeSet<String>>,
}

impl Permissions {
    /// Whether callers' content may be sent to `endpoint`. What is one's own needs nobody's approval.
    pub(super) fn covers(&self, endpoint: &str, reach: &Reach) -> bool {
        matches!(reach, Reach::Local { .. }) || self.approved.contains(endpoint)
    }

    /// What callers may make `endpoint` do beyond answering.
    pub(super) fn grants(&self, endpoint: &str) -> GrantsConfig {
        self.grants.get(endpoint).copied().unwrap_or_default()
    }

    /// Certificates and contracts that hold for `endpoint`.
    pub(super) fn certified(&self, endpoint: &str) -> BTreeSet<String> {
        self.certified.get(endpoint).cloned().unwrap_or_default()
    }
}

impl Check<'_> {
    pub(super) fn policy(&mut self, document: &Document) -> Permissions {
        self.labels();
        let mut permissions = Permissions::default();
        if let Some(policy) = &document.policy {
            self.approve(document, policy, &mut permissions);
            self.allow(document, policy, &mut permissions);
            self.certified(policy, &mut permissions);
        }
        permissions
    }

    fn labels(&mut self) {
        for name in self.defined("label") {
            if SHIPPED_LABELS.contains(&name) {
                let mark = self.place("label", name).key();
                let message = format!("label `{name}` is shipped with the gateway");
                self.report.mend(MistakeKind::Duplicate, mark, message, "choose another name, or leave it out");
            }
        }
    }

    fn approve(&mut self, document: &Document, policy: &Policy, permissions: &mut Permissions) {
        let at = self.root.at("policy").at("approve");
        let approve = policy.approve.as_deref().unwrap_or_default();
        self.no_repeats(at, "policy.approve", approve, |name| quote(name));
        for (index, name) in approve.iter().enumerate() {
            let mark = at.item(index).mark();
            if !self.is_defined("endpoint", name) {
                self.dangling(mark, "`policy.approve`", "endpoint", name);
            } else if document.endpoint.get(name).is_some_and(|endpoint| matches!(endpoint.reach, Reach::Local { .. }))
            {
                self.warn(mark, format!("endpoint `{name}` is `local` and needs no approval"), "leave it out");
            }
            permissions.approved.insert(name.clone());
        }
    }

    fn certified(&mut self, policy: &Policy, permissions: &mut Permissions) {
        for (name, certificates) in policy.certified.iter().flatten() {
            let at = self.root.at("policy").at("certified").at(name);
            let setting = format!("policy.certified.{name}");
            if !self.is_defined("endpoint", name) {
                self.dangling(at.key(), "`policy.certified`", "endpoint", name);
            }
            self.is_empty_list(at, &setting, certificates.len(), "name what holds, or leave it out");
            self.no_repeats(at, &setting, certificates, |certificate| quote(certificate));
            permissions.certified.insert(name.clone(), certificates.iter().cloned().collect());
        }
    }

    fn allow(&mut self, document: &Document, policy: &Policy, permissions: &mut Permissions) {
        for (name, grants) in policy.allow.iter().flatten() {
            let at = self.root.at("policy").at("allow").at(name);
            let setting = format!("policy.allow.{name}");
            if !self.is_defined("endpoint", name) {
                self.dangling(at.key(), "`policy.allow`", "endpoint", name);
            } else if document.endpoint.get(name).is_some_and(|endpoint| !permissions.covers(name, &endpoint.reach)) {
                let message = format!("`{setting}` has no effect: endpoint `{name}` is not approved");
                self.warn(at.key(), message, "add it to `approve`, or leave it out");
            }
            self.is_empty_list(at, &setting, grants.len(), "name what is granted, or leave it out");
            self.no_repeats(at, &setting, grants, |grant| format!("`{}`", word(*grant)));
            let granted = GrantsConfig {
                keep_state: grants.contains(&Grant::KeepState),
                fetch_remote: grants.contains(&Grant::FetchRemote),
                use_hosted_tool: grants.contains(&Grant::UseHostedTool),
            };
            permissions.grants.insert(name.clone(), granted);
        }
    }
}

fn word(grant: Grant) -> &'static str {
    match grant {
        Grant::KeepState => "keep_state",
        Grant::FetchRemote => "fetch_remote",
        Grant::UseHostedTool => "use_hosted_tool",
    }
}
