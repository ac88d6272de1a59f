//! What `[data.NAME]` says beyond labels and purposes: claims, users, suppressions; and the labels of models.

use std::collections::BTreeMap;
use std::time::Duration;

use inspection::{Group, TextKind};
use policy::SHIPPED_LABELS;

use super::super::compile::{ClaimConfig, DataConfig, SuppressionConfig};
use super::super::document::{ClaimMeaning, Data, Document, Model, Suppression, Users};
use super::super::mistakes::{MistakeKind, NoteKind, remedy_for};
use super::super::report::quote;
use super::facts::runs_out;
use super::keys::{ANNOUNCED, parse_moment};
use super::{Check, Cursor};

/// Most values of claims that can say something of one app's data: a token's marks are one word.
const MOST_CLAIMS: usize = ingress::auth::MOST_MARKS;

/// Most kinds of finding that are suppressed for one app. An app of which more is false needs another look, not a list.
const MOST_SUPPRESSED: usize = 32;

/// Farthest end of a suppression.
const LONGEST_SUPPRESSION: Duration = Duration::from_secs(366 * 86_400);

impl Check<'_> {
    /// What is known of the data of the app `name` beyond its labels.
    pub(super) fn data_rules(&mut self, name: &str, document: &Document) -> DataConfig {
        let Some(data) = document.data.get(name) else { return DataConfig::default() };
        DataConfig {
            claims: self.claims(name, data, document),
            users_as_sent: data.users == Some(Users::AsSent),
            suppressed: self.suppressed(name, data),
            capture: self.capture(name, document),
        }
    }

    fn claims(&mut self, name: &str, data: &Data, document: &Document) -> Vec<ClaimConfig> {
        let at = self.place("data", name).at("claims");
        let all: Vec<(&String, &String, &ClaimMeaning)> =
            data.claims.iter().flatten().flat_map(|(claim, values)| pairs(claim, values)).collect();
        let has_tokens = document.app.get(name).is_some_and(|app| app.jwt.is_some());
        if !all.is_empty() && !has_tokens && self.walked.is_whole("app", name) {
            let message = format!("`data.{name}.claims`: app `{name}` has no `jwt`, so there are no claims");
            self.wrong(at.mark(), message, "add its `jwt`, or leave the claims out");
        }
        let shows = document.app.get(name).map(|app| (app.keys.is_some(), app.certificate.is_some()));
        if !all.is_empty() && has_tokens && shows.is_some_and(|(keys, certificate)| keys || certificate) {
            let message = format!(
                "`data.{name}.claims`: app `{name}` may show a key or a certificate as well, which has no claims; who leaves the \
                 token out leaves the labels out"
            );
            self.wrong(at.mark(), message, "give `keys` and `certificate` to an app of their own");
        }
        if all.len() > MOST_CLAIMS {
            let message = format!("`data.{name}.claims` names {} values, and may name {MOST_CLAIMS}", all.len());
            self.wrong(at.mark(), message, "let the issuer put them into fewer roles");
        }
        let mut read = |(claim, value, meaning): (&String, &String, &ClaimMeaning)| {
            self.claim((name, data), at.at(claim).at(value), &format!("data.{name}.claims.{claim}.{value}"), meaning);
            ClaimConfig {
                claim: claim.clone(),
                value: value.clone(),
                labels: meaning.labels.clone().unwrap_or_default(),
                class: meaning.class,
                purpose: meaning.purpose.clone(),
            }
        };
        all.into_iter().map(&mut read).collect()
    }

    fn claim(&mut self, (name, data): (&str, &Data), at: Cursor<'_>, setting: &str, meaning: &ClaimMeaning) {
        let ClaimMeaning { labels, class, purpose } = meaning;
        if labels.as_ref().is_none_or(Vec::is_empty) && class.is_none() && purpose.is_none() {
            self.wrong(at.mark(), format!("`{setting}` says nothing"), "give it `labels`, a `class` or a `purpose`");
        }
        self.known_labels(at.at("labels"), &format!("{setting}.labels"), labels.as_deref().unwrap_or_default());
        let registered = data.purposes.as_deref().unwrap_or_default();
        if let Some(purpose) = purpose.as_ref().filter(|purpose| !registered.contains(purpose)) {
            let known = registered.iter().map(String::as_str);
            let remedy = remedy_for(purpose, known, format!("add it to `data.{name}.purposes`"));
            let message = format!("`{setting}.purpose`: {} is no purpose of the app", quote(purpose));
            self.report.mend(MistakeKind::Reference, at.at("purpose").mark(), message, remedy);
        }
    }

    /// Reports a label that nobody defined, and one that stands twice.
    fn known_labels(&mut self, at: Cursor<'_>, setting: &str, labels: &[String]) {
        let known: Vec<&str> = SHIPPED_LABELS.into_iter().chain(self.defined("label")).collect();
        self.no_repeats(at, setting, labels, |label| quote(label));
        for (index, label) in labels.iter().enumerate() {
            if !known.contains(&label.as_str()) {
                let remedy = remedy_for(label, known.iter().copied(), format!("define `[label.{label}]`"));
                let message = format!("`{setting}`: {} is no label", quote(label));
                self.report.mend(MistakeKind::Reference, at.item(index).mark(), message, remedy);
            }
        }
    }

    pub(super) fn model_labels(&mut self, name: &str, model: &Model) -> Vec<String> {
        let labels = model.labels.clone().unwrap_or_default();
        self.known_labels(self.place("model", name).at("labels"), &format!("model.{name}.labels"), &labels);
        labels
    }

    fn suppressed(&mut self, name: &str, data: &Data) -> Vec<SuppressionConfig> {
        let all = data.suppress.iter().flatten();
        let count = all.clone().count();
        if count > MOST_SUPPRESSED {
            let mark = self.place("data", name).at("suppress").mark();
            let message = format!("`data.{name}.suppress` names {count} kinds, and may name {MOST_SUPPRESSED}");
            self.wrong(mark, message, "mend the recognisers, or let no policy name these kinds");
        }
        all.filter_map(|(kind, suppression)| self.suppression(name, kind, suppression)).collect()
    }

    /// Reads `[policy] candidate_recognisers`.
    pub(super) fn candidate_recognisers(&mut self, document: &Document) -> Vec<(TextKind, bool)> {
        let written = document.policy.as_ref().and_then(|policy| policy.candidate_recognisers.as_ref());
        let at = self.root.at("policy").at("candidate_recognisers");
        let hides =
            |kind: &str| document.data.values().flat_map(|data| &data.suppress).any(|all| all.contains_key(kind));
        let mut all = Vec::new();
        for (kind, is_seen) in written.into_iter().flatten() {
            let setting = format!("policy.candidate_recognisers.{kind}");
            let Some(found) = self.text_kind(at.at(kind), (&setting, "tried"), kind) else { continue };
            if *is_seen && !hides(kind) {
                let message =
                    format!("`{setting}` changes nothing: no app suppresses `{kind}`, so policies see it already");
                self.wrong(at.at(kind).mark(), message, "leave it out, or name it in a candidate policy");
            }
            all.push((found, *is_seen));
        }
        all
    }

    /// The kind of finding in text of this name, which is no group.
    fn text_kind(&mut self, at: Cursor<'_>, (setting, done): (&str, &str), kind: &str) -> Option<TextKind> {
        let found = TextKind::all().find(|known| known.name() == kind).or_else(|| self.own_kind(kind));
        if found.is_none() {
            let is_group = Group::ALL.into_iter().any(|group| group.name() == kind);
            let message = match is_group {
                true => format!("`{setting}`: `{kind}` is a group of kinds, and only single kinds are {done}"),
                false => format!("`{setting}`: {} is no kind of finding in text", quote(kind)),
            };
            let own: Vec<String> = self.own_kinds(false).chain(self.own_kinds(true)).collect();
            let known = TextKind::all().filter_map(|kind| kind.shipped_name()).chain(own.iter().map(String::as_str));
            let remedy =
                remedy_for(kind, known.collect::<Vec<_>>(), "the reference of recognisers lists the kinds".to_owned());
            self.report.mend(MistakeKind::Reference, at.key(), message, remedy);
        }
        found
    }

    fn suppression(&mut self, name: &str, kind: &str, written: &Suppression) -> Option<SuppressionConfig> {
        let at = self.place("data", name).at("suppress").at(kind);
        let setting = format!("data.{name}.suppress.{kind}");
        self.reason(at.at("because").mark(), &format!("{setting}.because"), &written.because);
        if written.owner.trim().is_empty() {
            self.wrong(at.at("owner").mark(), format!("`{setting}.owner` is blank"), "name who answers for it");
        }
        let found = self.text_kind(at, (&setting, "suppressed"), kind);
        let until = self.until(at.at("until"), &setting, written);
        Some(SuppressionConfig {
            kind: found?,
            until: until?,
            owner: written.owner.clone(),
            because: written.because.clone(),
        })
    }

    fn until(&mut self, at: Cursor<'_>, setting: &str, written: &Suppression) -> Option<std::time::SystemTime> {
        let now = self.options.now;
        let Some(until) = parse_moment(written.until.as_str()) else {
            let message = format!("`{setting}.until` is {}, which is no date", quote(written.until.as_str()));
            self.wrong(at.mark(), message, "write it as `2027-01-31`, or as a date and time with offset");
            return None;
        };
        if until > now + LONGEST_SUPPRESSION {
            let message = format!("`{setting}.until` is more than 366 days ahead");
            self.wrong(at.mark(), message, "choose an end at which somebody looks at it again");
        } else if until <= now + ANNOUNCED {
            let what = runs_out(until, now).replace("counts as unknown", "hides nothing");
            let remedy = "policies see the finding again from then on: look whether it is still false";
            self.report.note(NoteKind::RunsOut, at.mark(), format!("`{setting}` {what}"), Some(remedy.to_owned()));
        }
        Some(until)
    }
}

fn pairs<'a>(
    claim: &'a String,
    values: &'a BTreeMap<String, ClaimMeaning>,
) -> impl Iterator<Item = (&'a String, &'a String, &'a ClaimMeaning)> {
    values.iter().map(move |(value, meaning)| (claim, value, meaning))
}
