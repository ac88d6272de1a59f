//! Requests that differ in one thing from the one that every row is about: another action, class or purpose, or a finding.
//!
//! **Promises.** Everything that a policy can name is gone through, one thing at a time, in an order that does not change by itself.
//!
//! **Does not do.** It combines no two of them: each label with each action, class, purpose and finding is more than anybody reads.

use std::collections::BTreeSet;
use std::time::SystemTime;

use clap::ValueEnum;
use policy::{Class, Finding, FindingKind, Findings, Mention, Operation, Reads, Rules, TextKind};
use server::configuration::AppConfig;
use server::outlook;

use crate::commands::policy::{enumerate, table};

/// In what a request differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum By {
    /// What is asked of the model, or what an endpoint would do beyond answering.
    Action,
    /// A higher class than the app's own.
    Class,
    /// Another purpose of the app's.
    Purpose,
    /// Something that a policy asks for and inspection finds.
    Finding,
}

/// Whatever a policy may ask for by name that stands for no text.
const NO_TEXT: [&str; 3] = ["uninspected", "uninspected_media", "user_identifier"];

/// One request.
#[derive(Clone)]
pub(super) struct Variant<'a> {
    /// In what it differs; in nothing where absent.
    pub(super) by: Option<By>,
    pub(super) operation: Operation,
    /// The name of the action, as policies and decision tables have it.
    pub(super) action: &'a str,
    pub(super) class: Class,
    pub(super) purpose: Option<&'a str>,
    /// The name of the finding.
    pub(super) finding: &'a str,
    pub(super) findings: Findings,
}

impl<'a> Variant<'a> {
    /// The request that every row is about: a chat in which nothing is found, of the app's class and first purpose.
    pub(super) fn usual(app: &'a AppConfig) -> Self {
        Self {
            by: None,
            operation: Operation::Chat,
            action: Operation::Chat.name(),
            class: outlook::class(app.class),
            purpose: app.purposes.first().map(String::as_str),
            finding: "",
            findings: Findings::default(),
        }
    }

    /// All that differ from it in one thing that a policy reads, in the order of [`By`]; `own` are the kinds of recognisers of
    /// one's own.
    pub(super) fn all((app, own): (&'a AppConfig, &[TextKind]), rules: &'a Rules, now: SystemTime) -> Vec<Self> {
        let (usual, reads) = (Self::usual(app), rules.reads());
        let reads_of = |attribute: &str| ["*", attribute].iter().any(|name| reads.context.contains(*name));
        let mut all = Vec::new();
        let features = policy::Action::ALL.map(policy::Action::name);
        let operations = enumerate::operations(&[rules]).into_iter().map(Operation::name);
        for action in operations.filter(|name| *name != usual.action).chain(features) {
            let mut kinds = Vec::new();
            if let Ok(operation) = table::operation(action, &mut kinds) {
                let findings = found(kinds);
                all.push(Self { by: Some(By::Action), operation, action, findings, ..usual.clone() });
            }
        }
        for class in Class::ALL.into_iter().filter(|class| *class > usual.class && reads_of("class")) {
            all.push(Self { by: Some(By::Class), class, ..usual.clone() });
        }
        for purpose in app.purposes.iter().skip(1).filter(|_| reads_of("purpose")) {
            all.push(Self { by: Some(By::Purpose), purpose: Some(purpose), ..usual.clone() });
        }
        for finding in asked_for(reads) {
            let is_hidden = |kind| app.data.suppression(kind, now).is_some();
            let kind = table::kind_but(finding, own, is_hidden);
            // What inspection never reports by this name, and what is an action of its own, are no findings of a row.
            let Some(kind) = kind.ok().filter(|kind| policy::Action::behind(kind).is_none()) else { continue };
            let findings = found(vec![kind]).without(is_hidden);
            all.push(Self { by: Some(By::Finding), finding, findings, ..usual.clone() });
        }
        all
    }

    /// In what it differs, in words; nothing for the usual one.
    pub(super) fn words(&self) -> String {
        match self.by {
            None => String::new(),
            Some(By::Action) => format!("action {}", self.action),
            Some(By::Class) => format!("class {}", self.class.name()),
            Some(By::Purpose) => format!("purpose {}", self.purpose.unwrap_or_default()),
            Some(By::Finding) => format!("finding {}", self.finding),
        }
    }
}

/// The findings that policies ask for, by name; all groups of them where a policy asks for any.
fn asked_for(reads: &Reads) -> BTreeSet<&str> {
    let named = reads.mentions.iter().filter_map(|mention| match mention {
        Mention::Finding(name) => Some(name.as_str()),
        _ => None,
    });
    let any = policy::Group::ALL.map(policy::Group::name);
    let any = any.into_iter().chain(NO_TEXT).filter(|_| !reads.findings_by_name && reads.context.contains("findings"));
    named.chain(any).collect()
}

fn found(kinds: Vec<FindingKind>) -> Findings {
    kinds.into_iter().map(|kind| Finding { kind, path: "$".to_owned() }).collect()
}
