//! `[policy] break_glass` and `no_break_glass`: grants that two people may open.

use std::path::Path;

use policy::SHIPPED_LABELS;
use telemetry::audit::VerifierKey;

use super::super::compile::Secrets;
use super::super::document::{BreakGlass, Class, Document};
use super::super::grant::{BreakGlassConfig, Grant};
use super::super::mistakes::{MistakeKind, NoteKind, remedy_for};
use super::super::report::quote;
use super::super::tree::Mark;
use super::Check;

/// Most grants.
const MOST_GRANTS: usize = 100;

impl Check<'_> {
    pub(super) fn break_glass(&mut self, document: &Document) -> BreakGlassConfig {
        let at = self.root.at("policy");
        let policy = document.policy.as_ref();
        let Some(written) = policy.and_then(|policy| policy.break_glass.as_ref()) else {
            if at.at("no_break_glass").exists() {
                let message = "`policy.no_break_glass` has no effect without `break_glass`";
                self.warn(at.at("no_break_glass").mark(), message, "leave it out, or add `break_glass`");
            }
            return BreakGlassConfig::default();
        };
        let Some(never) = policy.and_then(|policy| policy.no_break_glass.as_ref()) else {
            let remedy =
                "name the labels and classes whose data no grant may send anywhere; `[]` says that there are none";
            self.wrong(at.at("break_glass").mark(), "`policy.break_glass` needs `policy.no_break_glass`", remedy);
            return BreakGlassConfig::default();
        };
        let (never_labels, never_from) = self.never(never);
        let grants = self.grants(written, document);
        BreakGlassConfig { grants, never_labels, never_from }
    }

    fn never(&mut self, written: &[String]) -> (Vec<String>, Option<Class>) {
        let at = self.root.at("policy").at("no_break_glass");
        let labels: Vec<&str> = SHIPPED_LABELS.into_iter().chain(self.defined("label")).collect();
        let (mut found, mut lowest): (Vec<String>, Option<Class>) = (Vec::new(), None);
        for (index, name) in written.iter().enumerate() {
            let class = [Class::Public, Class::Internal, Class::Confidential, Class::Secret]
                .into_iter()
                .find(|class| class_name(*class) == name);
            if let Some(class) = class {
                lowest = Some(lowest.map_or(class, |lowest| lowest.min(class)));
            } else if labels.contains(&name.as_str()) {
                found.push(name.clone());
            } else {
                let message = format!("`policy.no_break_glass`: {} is no label and no class", quote(name));
                let remedy = remedy_for(name, labels.iter().copied(), format!("define `[label.{name}]`"));
                self.report.mend(MistakeKind::Reference, at.item(index).mark(), message, remedy);
            }
        }
        (found, lowest)
    }

    fn grants(&mut self, written: &BreakGlass, document: &Document) -> Vec<Grant> {
        let at = self.root.at("policy").at("break_glass");
        let mut keys = Vec::new();
        for (index, text) in written.approved_by.iter().enumerate() {
            match VerifierKey::parse(text) {
                Ok(key) => keys.push(key),
                Err(error) => {
                    let mark = at.at("approved_by").item(index).mark();
                    self.wrong(
                        mark,
                        format!("`policy.break_glass.approved_by`: it is {error}"),
                        "`causeway break-glass key` prints it",
                    );
                }
            }
        }
        self.is_empty_list(
            at.at("approved_by"),
            "policy.break_glass.approved_by",
            written.approved_by.len(),
            "name the public key of whoever approves grants",
        );
        let mark = at.at("grants").mark();
        let folder = self.path(mark, &written.grants);
        let mut grants: Vec<Grant> = Vec::new();
        for path in self.grant_files(mark, &folder) {
            let Some(grant) = self.grant(mark, &path, &keys, document) else { continue };
            if grants.iter().any(|other| other.name == grant.name) {
                let message = format!("{} grants {} a second time", shown(&path), quote(&grant.name));
                self.report.mistake(MistakeKind::Duplicate, mark, message);
                continue;
            }
            grants.push(grant);
        }
        grants
    }

    fn grant_files(&mut self, mark: Mark, folder: &Path) -> Vec<std::path::PathBuf> {
        self.report.material.note(folder);
        let listed = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut files: Vec<_> = match listed {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
            Err(error) => {
                let message = format!("`policy.break_glass.grants`: {} cannot be read: {error}", shown(folder));
                self.report.mistake(MistakeKind::Material, mark, message);
                return Vec::new();
            }
        };
        files.retain(|path| path.extension().is_some_and(|extension| extension == "grant"));
        files.sort();
        if files.len() > MOST_GRANTS {
            let message = format!("`policy.break_glass.grants`: more than {MOST_GRANTS} grants");
            self.report.mistake(MistakeKind::Material, mark, message);
            files.truncate(MOST_GRANTS);
        }
        files
    }

    fn grant(&mut self, mark: Mark, path: &Path, keys: &[VerifierKey], document: &Document) -> Option<Grant> {
        self.report.material.note(path);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.report.mistake(MistakeKind::Material, mark, format!("{} cannot be read: {error}", shown(path)));
                return None;
            }
        };
        let grant = match Grant::open(&text, keys) {
            Ok(grant) => grant,
            Err(fault) => {
                self.report.mistake(MistakeKind::Material, mark, format!("{} is no grant: {fault}", shown(path)));
                return None;
            }
        };
        for app in grant.apps.iter().filter(|app| !document.app.contains_key(*app)) {
            let message = format!("{} names app {}, which is not defined", shown(path), quote(app));
            self.report.mistake(MistakeKind::Reference, mark, message);
        }
        for endpoint in grant.endpoints.iter().filter(|endpoint| !document.endpoint.contains_key(*endpoint)) {
            let message = format!("{} names endpoint {}, which is not defined", shown(path), quote(endpoint));
            self.report.mistake(MistakeKind::Reference, mark, message);
        }
        if self.secrets == Secrets::Read && grant.until <= self.options.now {
            // Not a mistake: a document that was good yesterday must still load today.
            let message = format!("the grant {} has run out and cannot be opened", quote(&grant.name));
            self.report.note(NoteKind::RunsOut, mark, message, Some("remove it, or have it approved again".to_owned()));
        }
        Some(grant)
    }
}

fn shown(path: &Path) -> String {
    quote(&path.display().to_string())
}

const fn class_name(class: Class) -> &'static str {
    match class {
        Class::Public => "public",
        Class::Internal => "internal",
        Class::Confidential => "confidential",
        Class::Secret => "secret",
    }
}
