//! From texts to policies that know where they stand.

use cedar_policy::{Policy, PolicySet};
use miette::Diagnostic;

use super::PolicyFile;
use super::lint::{Place, Report};

/// A policy with its place.
pub(super) struct Parsed {
    pub(super) policy: Policy,
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Parsed {
    pub(super) fn place(&self) -> Place {
        Place { file: self.file.clone(), line: self.line, column: self.column }
    }
}

/// Parses each file for itself, so that a mistake in one does not hide those in another.
pub(super) fn parse(files: &[PolicyFile<'_>], report: &mut Report) -> Vec<Parsed> {
    let mut all = Vec::new();
    for file in files {
        match file.text.parse::<PolicySet>() {
            Ok(set) => {
                if let Some(template) = set.templates().next() {
                    let message = format!("`{}` is a template, and nothing would ever fill its slots", template.id());
                    let remedy = "write the policy out; a set with templates cannot be proved";
                    report.fault(Place::start(file.name), message, remedy);
                }
                let mut policies: Vec<Parsed> = set.policies().map(|policy| placed(policy, file)).collect();
                policies.sort_by_key(|parsed| (parsed.line, parsed.column));
                all.extend(policies);
            }
            Err(errors) => {
                for error in errors.iter() {
                    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
                    let help = error.help().map(|help| help.to_string());
                    let place = Place::at(file, offset.unwrap_or(0));
                    report.error(place, one_line(&error.to_string()), &help.unwrap_or_default());
                }
            }
        }
    }
    all
}

fn placed(policy: &Policy, file: &PolicyFile<'_>) -> Parsed {
    let inner = policy.as_ref();
    let offset = inner.loc().map_or(0, |loc| loc.start());
    let Place { file, line, column } = Place::at(file, offset);
    Parsed { policy: policy.clone(), file, line, column }
}

/// The first line of a message; the rest repeats the text.
pub(super) fn one_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}
