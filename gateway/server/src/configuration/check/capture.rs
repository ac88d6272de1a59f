//! `data.NAME.capture` and `app.NAME.capture`: what is kept of prompts and answers, which two people must want.
//!
//! No file may hold both `app` and `data`, so that nobody who writes one file wants it twice. A configuration that is one file has
//! one author, so there nothing is kept.

use std::collections::BTreeSet;

use telemetry::capture::{NoRecipient, Recipient, Rules};

use super::super::compile::CaptureConfig;
use super::super::document::{Document, OnCaptureFailure};
use super::super::report::quote;
use super::super::sources::Source;
use super::super::tree::Cursor;
use super::Check;

/// Most keys that can open one capture: each makes every file longer, and is one more to lose.
const MOST_RECIPIENTS: usize = 8;

/// MiB of a day where nothing is said.
const MIB_A_DAY: u32 = 1024;

impl Check<'_> {
    pub(super) fn capture(&mut self, name: &str, document: &Document) -> Option<CaptureConfig> {
        let wanted = document.data.get(name).and_then(|data| data.capture.as_ref());
        let agreed = document.app.get(name).is_some_and(|app| app.capture == Some(true));
        let Some(capture) = wanted else {
            if agreed && self.walked.is_whole("data", name) {
                let message = format!("`app.{name}.capture` has no effect without `data.{name}.capture`");
                let remedy = "the security team says for whom and how long; until then leave it out";
                self.wrong(self.place("app", name).at("capture").mark(), message, remedy);
            }
            return None;
        };
        let at = self.place("data", name).at("capture");
        if !agreed && self.walked.is_whole("app", name) {
            let message = format!("`data.{name}.capture` has no effect: the owner of app `{name}` has not agreed");
            self.wrong(
                at.mark(),
                message,
                format!("have the owner write `capture = true` in `[app.{name}]`, or leave it out"),
            );
        }
        if agreed {
            self.two_authors(at, name, document);
        }
        let setting = format!("data.{name}.capture.to");
        self.is_empty_list(at.at("to"), &setting, capture.to.len(), "name the public key of whoever may read it");
        self.no_repeats(at.at("to"), &setting, &capture.to, |_| "a key".to_owned());
        if capture.to.len() > MOST_RECIPIENTS {
            let message = format!("`{setting}` names {} keys, and may name {MOST_RECIPIENTS}", capture.to.len());
            self.wrong(at.at("to").mark(), message, "give one pair to a role, and not one to each person");
        }
        let mut recipients = Vec::new();
        for (index, key) in capture.to.iter().enumerate() {
            match Recipient::parse(key) {
                Ok(recipient) => recipients.push(recipient),
                // A private key that was put here by mistake must not be shown.
                Err(NoRecipient) => {
                    let message = format!("`{setting}` holds what is {NoRecipient}");
                    self.wrong(
                        at.at("to").item(index).mark(),
                        message,
                        "write what `age-keygen` says is the public key",
                    );
                }
            }
        }
        let rules = Rules {
            recipients,
            days: capture.days,
            bytes_a_day: u64::from(capture.mib_per_day.unwrap_or(MIB_A_DAY)) << 20,
        };
        let refuses = capture.on_failure.unwrap_or_default() == OnCaptureFailure::Refuse;
        agreed.then_some(CaptureConfig { rules, refuses })
    }

    /// Whether those who write `[app]` and those who write `[data]` are not the same.
    fn two_authors(&mut self, at: Cursor<'_>, name: &str, document: &Document) {
        let both = format!("both `app.{name}.capture` and `data.{name}.capture`");
        if !self.sources.is_folder {
            let message = format!("whoever writes this file can write {both}: one author could switch it on alone");
            let remedy = "give `--config` a folder with a file for `app` and another for `data`, and divide the two in `[authors]`";
            self.wrong(at.mark(), message, remedy);
            return;
        }
        if !self.walked.all_whole("authors") {
            return;
        }
        let why = if self.root.at("authors").exists() {
            let (apps, data) = (self.authors_of("app", document), self.authors_of("data", document));
            let Some(shared) = apps.intersection(&data).next() else { return };
            format!("{} may hold {both}", quote(shared))
        } else {
            format!("without `[authors]` any file may hold {both}")
        };
        let message = format!("{why}: one author could switch it on alone");
        self.wrong(at.mark(), message, "divide `app` and `data` in `[authors]`");
    }

    /// The files that may hold `section`: those that `[authors]` lists it for, else the one that holds `[authors]`.
    fn authors_of(&self, section: &str, document: &Document) -> BTreeSet<String> {
        let lists = |listed: &[String]| listed.iter().any(|name| name == section);
        let listed: BTreeSet<String> =
            document.authors.iter().filter(|(_, listed)| lists(listed)).map(|(file, _)| file.clone()).collect();
        if !listed.is_empty() {
            return listed;
        }
        self.sources.files.get(self.root.at("authors").mark().file).map(Source::name).into_iter().collect()
    }
}
