//! `[policy] folder` and `off`: the policies themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use inspection::TextKind;
use policy::{
    Adjustments, Extension, Fault, Names, PolicyFile, ReadOptions, Rules, SHIPPED, SHIPPED_LABELS, Strictness, Zones,
};

use super::super::compile::TargetConfig;
use super::super::data_pack::DataPack;
use super::super::document::Document;
use super::super::mistakes::{MistakeKind, NoteKind, Position};
use super::super::report::quote;
use super::Check;
use super::facts::runs_out;
use super::keys::ANNOUNCED;

/// Most files of policies in a folder.
const MOST_FILES: usize = 1_000;

/// Largest file of policies, in bytes.
const LARGEST_FILE: u64 = 4 << 20;

/// What decides where data may go.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// The policies.
    pub rules: Arc<Rules>,
    /// Every label there is, shipped and defined.
    pub labels: BTreeSet<Arc<str>>,
    /// Changes to rows of the data pack.
    pub adjustments: Adjustments,
    /// Policies that are asked beside them and never enforced.
    pub candidate: Option<Arc<Rules>>,
    /// Kinds of finding that these see, or do not see, otherwise than policies in force.
    pub candidate_recognisers: Vec<(TextKind, bool)>,
    /// The files of `[policy] folder` as they were read, name and text; none where the shipped policies count.
    pub files: Vec<(String, String)>,
    /// The data pack that facts of places and groups of countries are from.
    pub pack: Arc<DataPack>,
    /// The groups of countries, and until when each holds.
    pub zones: Zones,
}

impl Check<'_> {
    /// Reads the policies, shipped or of one's own; `None` where they cannot be used.
    pub(super) fn rules(
        &mut self,
        document: &Document,
        targets: &[TargetConfig],
        (adjustments, extended): (Adjustments, &BTreeMap<String, Extension>),
    ) -> Option<PolicyConfig> {
        let names = self.names_of(document, targets);
        let labels = names.labels.iter().flatten().map(|label| Arc::from(label.as_str())).collect();
        let off = self.off(document);
        let policy = document.policy.as_ref();
        // The last good document serves what was enforced; a candidate may be the very thing that is broken now.
        let candidate =
            policy.and_then(|policy| policy.candidate.as_deref()).filter(|_| self.sources.policies.is_none());
        let candidate = match candidate {
            Some(folder) => {
                let names = names.clone().with_findings(self.own_kinds(true));
                Some(Arc::new(self.own("candidate", folder, &BTreeMap::new(), &names)?.0))
            }
            None => None,
        };
        let folder = policy.and_then(|policy| policy.folder.as_deref());
        let (rules, files) = match folder {
            // They name only what ships with them, so nothing of this document can make them wrong.
            None if off.is_empty() => (Rules::shipped_whole(), Vec::new()),
            None => (Arc::new(self.read_all(SHIPPED, &off, &names)?), Vec::new()),
            Some(folder) => {
                let (rules, files) = self.own("folder", folder, &off, &names)?;
                (Arc::new(rules), files)
            }
        };
        let candidate_recognisers = self.candidate_recognisers(document);
        let pack = Arc::clone(&self.pack);
        let zones = pack.zones(extended);
        self.groups_run_out(&rules, &zones);
        Some(PolicyConfig { rules, candidate, candidate_recognisers, labels, adjustments, files, pack, zones })
    }

    /// The policies of the folder that `policy.SETTING` names, with their texts.
    fn own(
        &mut self,
        setting: &str,
        folder: &str,
        off: &BTreeMap<String, String>,
        names: &Names,
    ) -> Option<(Rules, Vec<(String, String)>)> {
        let files = self.policy_files(setting, folder)?;
        let texts: Vec<PolicyFile<'_>> = files.iter().map(|(name, text)| PolicyFile { name, text }).collect();
        Some((self.read_all(&texts, off, names)?, files))
    }

    fn read_all(&mut self, files: &[PolicyFile<'_>], off: &BTreeMap<String, String>, names: &Names) -> Option<Rules> {
        match Rules::read(files, &ReadOptions { strictness: Strictness::Enforce, off, names }) {
            Ok((rules, remarks)) => {
                self.remarks(&rules, &remarks);
                Some(rules)
            }
            Err(faults) => {
                self.faults(&faults);
                None
            }
        }
    }

    fn names_of(&self, document: &Document, targets: &[TargetConfig]) -> Names {
        let set = |names: &mut dyn Iterator<Item = &str>| Some(names.map(str::to_owned).collect::<BTreeSet<_>>());
        let labels = SHIPPED_LABELS.into_iter().chain(self.defined("label")).map(str::to_owned).collect();
        let certified =
            document.policy.iter().flat_map(|policy| &policy.certified).flat_map(BTreeMap::values).flatten();
        let overridden = document.fact.values().flat_map(|fact| {
            let regions = fact.regions.iter().flatten().flat_map(|(_, region)| &region.certifications);
            fact.certifications.iter().chain(regions).flatten()
        });
        let certificates =
            self.pack.certificates().chain(certified.chain(overridden).map(String::as_str)).map(str::to_owned);
        Names {
            labels: Some(labels),
            apps: set(&mut document.app.keys().map(String::as_str)),
            teams: set(&mut document.app.values().map(|app| app.team.as_str())),
            endpoints: set(&mut document.endpoint.keys().map(String::as_str)),
            targets: set(&mut targets.iter().map(|target| target.name.as_str())),
            purposes: set(&mut document
                .data
                .values()
                .flat_map(|data| data.purposes.iter().flatten())
                .map(String::as_str)),
            ..Names::of_pack(self.pack.groups().keys().cloned())
                .with_findings(self.own_kinds(false))
                .with_certificates(certificates)
        }
    }

    fn off(&mut self, document: &Document) -> BTreeMap<String, String> {
        let off = document.policy.as_ref().and_then(|policy| policy.off.clone()).unwrap_or_default();
        for (id, because) in &off {
            let at = self.root.at("policy").at("off").at(id);
            self.reason(at.mark(), &format!("policy.off.{id}"), because);
            self.warn(at.key(), format!("policy `{id}` is switched off: {because}"), "what it forbids is permitted");
        }
        off
    }

    /// Every `*.cedar` file of the folder by name, read whole; reported and `None` where that fails.
    fn policy_files(&mut self, setting: &str, written: &str) -> Option<Vec<(String, String)>> {
        let mark = self.root.at("policy").at(setting).mark();
        let path = self.path(mark, written);
        // A file that is added or taken away changes the folder.
        self.report.material.note(&path);
        if let Some(kept) = &self.sources.policies {
            return Some(kept.clone());
        }
        let mut files = Vec::new();
        let listed = std::fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("`policy.{setting}`: {} cannot be read: {error}", quote(written));
                self.report.mistake(MistakeKind::Material, mark, message);
                return None;
            }
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let file = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden || file.extension().is_none_or(|extension| extension != "cedar") {
                continue;
            }
            self.report.material.note(&file);
            match read_bounded(&file) {
                Ok(text) => files.push((file.display().to_string(), text)),
                Err(error) => {
                    let message = format!("`policy.{setting}`: `{}` cannot be read: {error}", file.display());
                    self.report.mistake(MistakeKind::Material, mark, message);
                    return None;
                }
            }
        }
        if files.is_empty() || files.len() > MOST_FILES {
            let message = format!("`policy.{setting}`: {} holds {} files `*.cedar`", quote(written), files.len());
            let remedy = format!("it takes 1 to {MOST_FILES}; the shipped ones lie in `policies/` of the repository");
            self.report.mend(MistakeKind::Material, mark, message, remedy);
            return None;
        }
        Some(files)
    }

    fn faults(&mut self, faults: &[Fault]) {
        for fault in faults {
            let file: Arc<Path> = Path::new(&fault.file).into();
            let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let at = Position { file, line: number(fault.line), column: number(fault.column) };
            let remedy = Some(fault.remedy.clone()).filter(|remedy| !remedy.is_empty());
            self.report.elsewhere(at, fault.message.clone(), remedy);
        }
    }

    fn remarks(&mut self, rules: &Rules, remarks: &[Fault]) {
        let mark = self.root.at("policy").mark();
        for remark in remarks {
            self.report.note(NoteKind::Warning, mark, remark.to_string(), None);
        }
        for (message, remedy) in due(rules, self.options.now) {
            self.report.note(NoteKind::RunsOut, mark, message, Some(remedy.to_owned()));
        }
    }
}

/// Exceptions that end and reviews that are due within thirty days of `now`, each with what to do about it.
#[must_use]
pub fn due(rules: &Rules, now: SystemTime) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    for about in rules.policies() {
        let place = format!("{}:{}", about.file, about.line);
        if let Some(end) = about.expires.filter(|end| *end <= now + ANNOUNCED) {
            let what = runs_out(end, now).replace("counts as unknown", "permits nothing");
            all.push((format!("{place}: exception `{}` {what}", about.id), "renew it, or take it out"));
        }
        if about.review_by.is_some_and(|day| day <= now + ANNOUNCED) {
            let day = about.review_written.as_deref().unwrap_or_default();
            let message = format!("{place}: `{}` is to be reviewed by {day}", about.id);
            let remedy = match about.permits {
                true => "it goes on permitting until then and after",
                false => "it goes on forbidding until then and after",
            };
            all.push((message, remedy));
        }
    }
    all
}

pub(super) fn read_bounded(file: &Path) -> std::io::Result<String> {
    if std::fs::metadata(file)?.len() > LARGEST_FILE {
        return Err(std::io::Error::other(format!("it is larger than {LARGEST_FILE} bytes")));
    }
    std::fs::read_to_string(file)
}
