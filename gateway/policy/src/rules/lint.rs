//! What is wrong with a set of policies, beyond its grammar.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cedar_policy::{Policy, PolicySet, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use super::names::Names;
use super::reads::Mention;
use super::text::one_line;
use super::vocabulary;
use super::{About, PolicyFile, Strictness, shipped_schema};

/// Whether a set with this can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The set is refused.
    Fault,
    /// Worth a look.
    Remark,
}

/// One thing that is wrong, with its place and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whether the set is refused for it.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What was found.
    pub message: String,
    /// What would be right; may be empty.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// Where something stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) fn start(file: &str) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1 }
    }

    pub(super) fn at(file: &PolicyFile<'_>, offset: usize) -> Self {
        let before = file.text.get(..offset).unwrap_or(file.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { file: file.name.to_owned(), line, column }
    }

    pub(super) fn of(about: &About) -> Self {
        Self { file: about.file.clone(), line: about.line, column: 1 }
    }

    /// Where `what` stands in the policy, or else where the policy begins.
    fn of_text(policy: &Policy, about: &About, what: &str) -> Self {
        let found = policy.as_ref().loc().and_then(|loc| {
            let within = loc.src.get(loc.start()..loc.end())?;
            Some((Arc::clone(&loc.src), loc.start() + within.find(what)?))
        });
        match found {
            Some((text, offset)) => Self::at(&PolicyFile { name: &about.file, text: &text }, offset),
            None => Self::of(about),
        }
    }
}

/// Collects what is wrong.
pub(super) struct Report {
    strictness: Strictness,
    list: Vec<Fault>,
}

impl Report {
    pub(super) fn new(strictness: Strictness) -> Self {
        Self { strictness, list: Vec::new() }
    }

    /// Nothing can be done with the set.
    pub(super) fn error(&mut self, place: Place, message: String, remedy: &str) {
        self.add(Severity::Fault, place, message, remedy);
    }

    /// The set cannot be enforced, but can be studied.
    pub(super) fn fault(&mut self, place: Place, message: String, remedy: &str) {
        let severity = match self.strictness {
            Strictness::Enforce => Severity::Fault,
            Strictness::Study => Severity::Remark,
        };
        self.add(severity, place, message, remedy);
    }

    /// Worth a look, however strictly the set is read.
    pub(super) fn remark(&mut self, place: Place, message: String, remedy: &str) {
        self.add(Severity::Remark, place, message, remedy);
    }

    fn add(&mut self, severity: Severity, place: Place, message: String, remedy: &str) {
        let Place { file, line, column } = place;
        self.list.push(Fault { severity, file, line, column, message, remedy: remedy.to_owned() });
    }

    pub(super) fn stray_switch(&mut self, id: &str, known: &[&str]) {
        let message = format!("`{id}` is to be switched off, and there is no such policy");
        self.error(Place::start("policy.off"), message, &format!("the policies are {}", known.join(", ")));
    }

    pub(super) fn nothing_is_permitted(&mut self, files: &[PolicyFile<'_>]) {
        let place = Place::start(files.first().map_or("policies", |file| file.name));
        let message = "no policy permits anything, so every request would be denied".to_owned();
        self.fault(place, message, "write a permit, or begin with the shipped policies");
    }

    pub(super) fn has_faults(&self) -> bool {
        self.list.iter().any(|fault| fault.severity == Severity::Fault)
    }

    /// Faults, then remarks, each in the order of the files.
    pub(super) fn into_parts(mut self) -> (Vec<Fault>, Vec<Fault>) {
        self.list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.list.into_iter().partition(|fault| fault.severity == Severity::Fault)
    }
}

/// Strict validation against the schema: an attribute that does not exist is a mistake and not a rule that never fires.
pub(super) fn validate(kept: &[(Policy, Arc<About>)], report: &mut Report) {
    let set = PolicySet::from_policies(kept.iter().map(|(policy, _)| policy.clone())).expect("ids stand once");
    let result = Validator::new(shipped_schema().clone()).validate(&set, ValidationMode::Strict);
    let place = |id: &cedar_policy::PolicyId, diagnostic: &dyn Diagnostic| {
        let about = kept.iter().find(|(policy, _)| policy.id() == id).map(|(_, about)| about);
        let mut place = about.map_or_else(|| Place::start("policies"), |about| Place::of(about));
        let offset = diagnostic.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        if let (Some(text), Some(offset)) = (source_of(kept, id), offset) {
            place = Place::at(&PolicyFile { name: &place.file, text: &text }, offset);
        }
        place
    };
    for error in result.validation_errors() {
        let help = error.help().map(|help| help.to_string()).unwrap_or_default();
        let message = one_line(&error.to_string());
        let message = message.strip_prefix("for policy ").map_or(message.clone(), |rest| format!("policy {rest}"));
        report.error(place(error.policy_id(), error), message, &help);
    }
    for warning in result.validation_warnings() {
        let message = one_line(&warning.to_string());
        let message = message.strip_prefix("for policy ").map_or(message.clone(), |rest| format!("policy {rest}"));
        let remedy = match warning {
            ValidationWarning::ImpossiblePolicy(_) => {
                "a rule that can match nothing is a mistake: mend it or take it out"
            }
            _ => "letters that look alike can hide what a policy says",
        };
        report.fault(place(warning.policy_id(), warning), message, remedy);
    }
}

/// The text of the file that the policy was parsed from.
fn source_of(kept: &[(Policy, Arc<About>)], id: &cedar_policy::PolicyId) -> Option<Arc<str>> {
    let (policy, _) = kept.iter().find(|(policy, _)| policy.id() == id)?;
    let inner = policy.as_ref();
    inner.loc().map(|loc| Arc::clone(&loc.src))
}

/// Kinds that an obligation names and that have no recogniser could never be replaced.
fn obligations(policy: &Policy, about: &About, names: &Names, report: &mut Report) {
    let is_own = |kind: &str| {
        let known = names.findings.as_ref();
        kind.starts_with(inspection::OWN) && known.is_none_or(|known| known.contains(kind) || known.contains("custom"))
    };
    let is_unknown = |kind: &&String| inspection::TextKind::named(kind).is_empty() && !is_own(kind);
    for kind in about.redact.iter().filter(is_unknown) {
        let message = format!("policy `{}` obliges to redact `{kind}`, which nothing recognises", about.id);
        let place = Place::of_text(policy, about, "@obligation");
        report.fault(place, message, "name a kind of text, or a group of kinds, that inspection recognises");
    }
}

/// Names and words that no one has, and `containsAny` where `containsAll` is meant.
pub(super) fn names(kept: &[(Policy, Arc<About>)], names: &Names, report: &mut Report) {
    for (policy, about) in kept {
        obligations(policy, about, names, report);
        vocabulary::check(policy, about, names, report);
        for attribute in &about.reads.any_of {
            let message = format!("policy `{}` asks `containsAny` of `{attribute}`", about.id);
            let remedy = "that is met when one country of the worst case fits; `containsAll` asks for the whole set";
            report.fault(Place::of_text(policy, about, "containsAny"), message, remedy);
        }
        for mention in &about.reads.mentions {
            let (known, what): (&Option<BTreeSet<String>>, &str) = match mention {
                Mention::Zone(_) => (&names.zones, "a group of countries of the data pack"),
                Mention::App(_) => (&names.apps, "an app"),
                Mention::Team(_) => (&names.teams, "a team"),
                Mention::Endpoint(_) => (&names.endpoints, "an endpoint"),
                Mention::Target(_) => (&names.targets, "a target"),
                // These stand beside attributes, and are held against their lists there.
                Mention::Label(_) | Mention::Finding(_) => continue,
                Mention::Country(code) => {
                    if code != "ZZ" && code.parse::<crate::Country>().is_err() {
                        let message = format!("policy `{}` names `Country::\"{code}\"`, which is no country", about.id);
                        let place = Place::of_text(policy, about, &format!("\"{code}\""));
                        report.fault(place, message, "write an ISO 3166-1 code, or `ZZ` for anywhere");
                    }
                    continue;
                }
            };
            let name = mention.name();
            let Some(known) = known.as_ref().filter(|known| !known.contains(name)) else { continue };
            let message = format!("policy `{}` names `{name}`, which is not {what}", about.id);
            let place = Place::of_text(policy, about, &format!("\"{name}\""));
            report.fault(place, message, &vocabulary::remedy(name, &known.iter().map(String::as_str).collect()));
        }
    }
}
