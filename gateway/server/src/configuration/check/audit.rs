//! `[audit]`: how the audit log is kept.

use std::path::PathBuf;
use std::time::Duration;

use telemetry::audit::{Retention, is_origin};
use telemetry::pseudonym::{NoPseudonymKey, PseudonymKey};

use super::super::compile::{AuditConfig, Secrets};
use super::super::document::{Audit, Document, Durability, Pseudonyms, Witness};
use super::super::mistakes::{MistakeKind, remedy_for};
use super::super::report::quote;
use super::super::tree::{Cursor, Mark};
use super::Check;
use super::resolvers::Zones;
use super::service::Services;

/// How long records are kept where nothing is said: six months, as Article 26(6) of the EU's AI Act asks of deployers.
const DEFAULT_DAYS: u32 = 183;

/// The classes by their names in the document and in records.
const CLASSES: [&str; 4] = ["public", "internal", "confidential", "secret"];

fn of_days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 3600)
}

const ORIGIN: &str = "it has 1 to 64 of a-z, 0-9, `-`, `_` and `.`, and begins with a letter or a digit";

impl Check<'_> {
    pub(super) fn audit(&mut self, document: &Document, network: (&Zones, &Services)) -> Option<AuditConfig> {
        let at = self.root.at("audit");
        let none = Audit::default();
        let audit = document.audit.as_ref().unwrap_or(&none);
        let (witness, witness_http) = match &audit.witness {
            Some(Witness::Folder(folder)) => {
                let folder = self.folder(at.at("witness").at("folder"), "audit.witness.folder", folder);
                (folder.map(Some), Some(None))
            }
            Some(Witness::Http(http)) => (Some(None), self.witness_http(http, network).map(Some)),
            Some(Witness::S3(bucket)) => (Some(None), self.witness_s3(bucket, network).map(Some)),
            Some(Witness::AzureBlob(container)) => (Some(None), self.witness_blob(container, network).map(Some)),
            None => {
                self.warn_of_no_witness();
                (Some(None), Some(None))
            }
        };
        let signing_key = match &audit.signing_key {
            Some(path) => self.folder(at.at("signing_key"), "audit.signing_key", path).map(Some),
            None => Some(None),
        };
        let pseudonyms = audit.pseudonyms.as_ref().map(|pseudonyms| self.pseudonyms(pseudonyms));
        if let Some(origin) = &audit.origin {
            self.origin(at.at("origin").mark(), "audit.origin", origin);
        }
        self.origins(at.at("origins"), audit);
        let retention = self.retention(audit);
        Some(AuditConfig {
            on_disk: audit.durability == Some(Durability::Disk),
            refuse_from: audit.refuse_from,
            witness: witness?,
            witness_http: witness_http?,
            retention,
            origin: audit.origin.clone(),
            origins: audit.origins.clone().unwrap_or_default(),
            signing_key: signing_key?,
            pseudonyms: pseudonyms.flatten(),
        })
    }

    /// The key is read here, and no message holds anything of it.
    fn pseudonyms(&mut self, pseudonyms: &Pseudonyms) -> Option<PathBuf> {
        let at = self.root.at("audit").at("pseudonyms");
        if pseudonyms.held_by.trim().is_empty() {
            let message = "`audit.pseudonyms.held_by` is empty";
            self.wrong(at.at("held_by").mark(), message, "name the role that may find a person again");
        }
        let (at, setting) = (at.at("key"), "audit.pseudonyms.key");
        if self.secrets != Secrets::Read {
            return Some(self.path(at.mark(), &pseudonyms.key));
        }
        let (path, bytes) = self.read_file((at, setting, &pseudonyms.key))?;
        self.readable_by_others(at.mark(), setting, &path);
        let key = std::str::from_utf8(&bytes).ok().map(PseudonymKey::parse);
        if !matches!(key, Some(Ok(_))) {
            let message = format!("`{setting}`: {} is {NoPseudonymKey}", quote(&pseudonyms.key));
            self.report.mistake(MistakeKind::Material, at.mark(), message);
            return None;
        }
        Some(path)
    }

    fn warn_of_no_witness(&mut self) {
        let at = [self.root.at("audit"), self.root.at("state")].into_iter().find(|at| at.exists());
        let Some(at) = at else { return };
        let message = "the audit log has no second place for its checkpoints: whoever operates the gateway could write it anew \
                       whole, and nothing would show it";
        self.warn(
            at.key(),
            message,
            "name a folder, a server or a bucket that others keep, in `[audit] witness = { folder = \"…\" }`",
        );
    }

    /// How long records are kept; `None` while nothing may be removed.
    fn retention(&mut self, audit: &Audit) -> Option<Retention> {
        let days = audit.retention.as_ref().map_or(DEFAULT_DAYS, |retention| retention.days);
        let at = self.root.at("audit").at("retention");
        if days < DEFAULT_DAYS {
            let message =
                format!("`audit.retention.days` is {days}; the EU's AI Act asks some deployers for six months");
            let remedy = format!("write at least {DEFAULT_DAYS}, unless none of the apps is meant by it");
            self.warn(at.at("days").mark(), message, remedy);
        }
        let written = audit.retention.as_ref().and_then(|retention| retention.classes.as_ref());
        let mut classes = Vec::new();
        for (class, longer) in written.into_iter().flatten() {
            let (at, setting) = (at.at("classes").at(class), format!("audit.retention.classes.{class}"));
            if !CLASSES.contains(&class.as_str()) {
                let remedy = remedy_for(class, CLASSES, format!("the classes are `{}`", CLASSES.join("`, `")));
                self.report.mend(MistakeKind::Reference, at.key(), format!("{} is no class", quote(class)), remedy);
            } else if *longer < days {
                let message = format!("`{setting}` is {longer}, and all are kept for {days} days");
                self.wrong(at.mark(), message, "a class can be kept longer than all, and not shorter");
            }
            classes.push((class.clone(), of_days(*longer)));
        }
        let held = audit.retention.as_ref().is_some_and(|retention| retention.hold == Some(true));
        (!held).then_some(Retention { all: of_days(days), classes })
    }

    fn folder(&mut self, at: Cursor<'_>, setting: &str, text: &str) -> Option<PathBuf> {
        if text.is_empty() {
            self.wrong(at.mark(), format!("`{setting}` is empty"), "name a path, or leave it out");
            return None;
        }
        Some(self.path(at.mark(), text))
    }

    fn origin(&mut self, mark: Mark, setting: &str, origin: &str) {
        if !is_origin(origin) {
            self.wrong(mark, format!("`{setting}`: {} is no name for a log", quote(origin)), ORIGIN);
        }
    }

    fn origins(&mut self, at: Cursor<'_>, audit: &Audit) {
        let Some(origins) = &audit.origins else { return };
        self.is_empty_list(at, "audit.origins", origins.len(), "name every log of the fleet, or leave it out");
        self.no_repeats(at, "audit.origins", origins, |origin| quote(origin));
        for (index, origin) in origins.iter().enumerate() {
            self.origin(at.item(index).mark(), "audit.origins", origin);
        }
        if let Some(own) = audit.origin.as_ref().filter(|own| !origins.contains(own)) {
            let message = format!("`audit.origins` does not name this gateway's own log, {}", quote(own));
            self.wrong(at.mark(), message, "add it");
        }
    }
}
