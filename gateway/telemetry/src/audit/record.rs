//! A record whose intent is written and whose outcome is still to come.

use std::sync::Arc;
use std::time::SystemTime;

use super::entry::OutcomeLine;
use super::shared::Shared;
use super::{AttemptNote, CaptureNote, End, Intent, Outcome};

/// The open half of a record. Whatever happens to it, an outcome is written: by [`Self::close`], or on drop, at what the
/// request held.
#[derive(Debug)]
#[must_use = "dropping an open record closes it as abandoned"]
pub struct OpenRecord {
    shared: Arc<Shared>,
    decision: Box<str>,
    started: SystemTime,
    /// What the intent said is reserved, in billionths of a dollar.
    held: u64,
    attempts: Vec<AttemptNote>,
    capture: Option<Captured>,
    closed: bool,
    intent: Recorded,
}

/// How a request's intent stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// Since before anything of it was sent.
    Before,
    /// It was let through, and its intent is there or comes: perhaps after it was sent, which its outcome says.
    Late,
    /// It was let through and is only counted, so that there is nothing that an outcome could belong to.
    Counted,
}

/// What became of keeping an answer. Reasons are one word each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    /// It is kept, or its beginning.
    Kept {
        /// The SHA-256 of its file, in hex.
        sha256: String,
        /// Why it is only the beginning, where it is.
        cut: Option<&'static str>,
    },
    /// It is not, and why.
    Failed(&'static str),
}

impl OpenRecord {
    pub(super) fn new(shared: Arc<Shared>, intent: &Intent<'_>, recorded: Recorded) -> Self {
        Self {
            shared,
            decision: intent.decision.into(),
            started: intent.at,
            held: intent.money,
            attempts: Vec::new(),
            capture: None,
            closed: false,
            intent: recorded,
        }
    }

    /// The decision's id.
    pub fn decision(&self) -> &str {
        &self.decision
    }

    /// Notes an attempt; it is written with the outcome, also when the record is dropped.
    pub fn attempt(&mut self, note: AttemptNote) {
        self.attempts.push(note);
    }

    /// Notes what became of keeping the answer.
    pub fn captured(&mut self, capture: Captured) {
        self.capture = Some(capture);
    }

    /// The attempts so far.
    pub fn attempts(&self) -> &[AttemptNote] {
        &self.attempts
    }

    /// Closes the record.
    ///
    /// There is no error to meet: an outcome that the disk does not take waits for the next write, see
    /// [`BACKLOG_BYTES`](super::BACKLOG_BYTES).
    pub fn close(mut self, outcome: Outcome<'_>) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome<'_>) {
        self.closed = true;
        if self.intent == Recorded::Counted {
            return;
        }
        let capture = self.capture.as_ref().map(|capture| match capture {
            Captured::Kept { sha256, cut: None } => CaptureNote::Kept(sha256),
            Captured::Kept { sha256, cut: Some(why) } => CaptureNote::Cut(sha256, why),
            Captured::Failed(why) => CaptureNote::Failed(why),
        });
        let is_late = self.intent == Recorded::Late;
        let line = OutcomeLine { decision: &self.decision, attempts: &self.attempts, outcome, capture, is_late };

        if !self.shared.append_outcome(&line) {
            tracing::error!(
                decision = &*self.decision,
                end = ?outcome.end,
                status = outcome.status,
                "the outcome came after the audit log was sealed; the closing entry counts it as open"
            );
        }
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        // Nobody is left who could pass the time in.
        let now = SystemTime::now();

        self.finish(Outcome {
            at: now,
            status: None,
            code: None,
            usage: None,
            settled_by: "reservation",
            lost_tokens: 0,
            // Nobody knows what became of it, so it pays what it held.
            charged: self.held,
            priced: false,
            to_first_byte: None,
            total: now.duration_since(self.started).unwrap_or_default(),
            end: End::Abandoned,
        });
    }
}
