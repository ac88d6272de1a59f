//! `[group.NAME]`: groups of countries of the data pack that hold beyond their date.
//!
//! Membership permits and forbids, so a group that has run out can stand for neither: a policy that asks about it cannot be
//! evaluated, and that denies. Whoever reads the source again extends it, with a reason that stands beside every target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use policy::{Extension, Facts, Mention, Rules, Zones};

use super::super::compile::TargetConfig;
use super::super::document::Document;
use super::super::mistakes::{MistakeKind, NoteKind, remedy_for};
use super::super::report::quote;
use super::Check;
use super::facts::runs_out;
use super::keys::{ANNOUNCED, parse_moment};

impl Check<'_> {
    /// Reads `[group.NAME]`, and says so beside every target: which policies ask about a group is theirs to change.
    pub(super) fn groups(&mut self, document: &Document, targets: &mut [TargetConfig]) -> BTreeMap<String, Extension> {
        let (mut extended, pack): (BTreeMap<String, Extension>, _) = (BTreeMap::new(), Arc::clone(&self.pack));
        for (name, group) in &document.group {
            let at = self.place("group", name);
            if !pack.groups().contains_key(name.as_str()) {
                let remedy = remedy_for(name, pack.groups().keys().map(String::as_str), "leave it out");
                let message = format!("{} is no group of countries of the data pack", quote(name));
                self.report.mend(MistakeKind::Reference, at.key(), message, remedy);
                continue;
            }
            self.reason(at.at("because").mark(), &format!("group.{name}.because"), &group.because);
            if group.by.trim().is_empty() {
                let message = format!("`group.{name}.by` names nobody");
                self.wrong(at.at("by").mark(), message, "name the person who answers for the group until then");
            }
            let written = group.extended_until.as_str();
            let Some(until) = parse_moment(written) else {
                let message = format!("`group.{name}.extended_until` is {}, which is no date", quote(written));
                self.wrong(at.at("extended_until").mark(), message, "write it as 2027-01-31");
                continue;
            };
            let statement = format!("group `{name}` extended to {written} by {}, because {}", group.by, group.because);
            for target in targets.iter_mut() {
                let state = |facts: &mut Arc<Facts>| Arc::make_mut(facts).provenance.statements.push(statement.clone());
                state(&mut target.facts);
                target.candidate_facts.iter_mut().for_each(state);
            }
            extended.insert(name.clone(), Extension { until, written: written.to_owned(), by: group.by.clone() });
        }
        extended
    }

    /// Announces the groups that policies ask about, while there is time to read their sources again.
    pub(super) fn groups_run_out(&mut self, rules: &Rules, zones: &Zones) {
        let now = self.options.now;
        for (name, end) in asked_about(rules, zones).into_iter().filter(|(_, end)| *end <= now + ANNOUNCED) {
            let mark = self.root.at("policy").mark();
            let message = format!("group `{name}` of the data pack {}", runs_out(end, now));
            let remedy =
                format!("policies that ask about it deny then; install a newer pack, or extend it in `[group.{name}]`");
            self.report.note(NoteKind::RunsOut, mark, message, Some(remedy));
        }
    }
}

/// The groups that policies ask about and that end, each with its end.
pub(crate) fn asked_about<'a>(rules: &Rules, zones: &'a Zones) -> BTreeSet<(&'a str, SystemTime)> {
    let named: BTreeSet<&str> = rules
        .reads()
        .mentions
        .iter()
        .filter_map(|mention| if let Mention::Zone(name) = mention { Some(name.as_str()) } else { None })
        .collect();
    let ends = zones.iter().filter(|(name, _)| named.contains(name.as_str()));
    ends.filter_map(|(name, zone)| Some((name.as_str(), zone.valid_until?))).collect()
}
