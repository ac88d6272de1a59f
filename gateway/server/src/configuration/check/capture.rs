//! `data.NAME.capture` and `app.NAME.capture`: what is kept of prompts and answers, which two people must want.

use telemetry::capture::{NoRecipient, Recipient, Rules};

use super::super::compile::CaptureConfig;
use super::super::document::{Document, OnCaptureFailure};
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
}
