//! How far the second place reaches: which entries its copies vouch for, and when those beyond were written.

use std::time::Duration;

use time::OffsetDateTime;

use super::super::keeper::CHECKPOINT_EVERY;
use super::{Report, finding};

/// What was written so long before a log's end is in a copy: an entry waits for the next checkpoint at most, and that one
/// for the copy of the one before.
pub const COPIED_WITHIN: Duration = CHECKPOINT_EVERY.saturating_mul(2);

/// The entries of an epoch behind the last that something outside vouches for.
#[derive(Clone, Copy, Debug, Default)]
struct Beyond {
    entries: u64,
    earliest: Option<OffsetDateTime>,
    latest: Option<OffsetDateTime>,
    /// Of some it is not known when they were written.
    undated: bool,
}

impl Beyond {
    fn add(&mut self, at: Option<OffsetDateTime>) {
        self.entries += 1;
        let Some(at) = at else {
            self.undated = true;
            return;
        };
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
        self.latest = self.latest.max(Some(at));
    }

    /// Whether an honest gateway may not have had the time to copy a checkpoint over them.
    fn are_recent(&self, end: Option<OffsetDateTime>) -> bool {
        let since = self.earliest.zip(end).map(|(earliest, end)| end - earliest);
        !self.undated && since.is_none_or(|since| since <= COPIED_WITHIN)
    }
}

/// How far one epoch is vouched for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    entries: u64,
    /// Entries that a copy in the second place covers.
    copied: u64,
    /// Entries that the next epoch's opening covers, which counts if something vouches for that opening.
    claimed: u64,
    beyond_copies: Beyond,
    beyond_both: Beyond,
    last: Option<OffsetDateTime>,
    sealed: bool,
}

impl Reach {
    /// One entry more. `at` is when it was written, `None` where that is not known.
    pub(super) fn grow(&mut self, at: Option<OffsetDateTime>) {
        self.entries += 1;
        self.last = at.or(self.last);
        self.beyond_copies.add(at);
        self.beyond_both.add(at);
    }

    /// A copy covers every entry so far.
    pub(super) fn is_copied(&mut self) {
        self.copied = self.entries;
        (self.beyond_copies, self.beyond_both) = (Beyond::default(), Beyond::default());
    }

    /// The next epoch's opening covers every entry so far.
    pub(super) fn is_claimed(&mut self) {
        self.claimed = self.entries;
        self.beyond_both = Beyond::default();
    }

    /// The epoch is closed: its last checkpoint was copied before its process left.
    pub(super) fn seal(&mut self) {
        self.sealed = true;
    }

    /// The latest time in it that can matter. Whoever holds the key can date what is beyond as they like, so an early
    /// date of the last entry does not make the others recent.
    fn end(&self) -> Option<OffsetDateTime> {
        self.last.max(self.beyond_copies.latest)
    }
}

/// Adds to the report how far the second place vouches for the epochs of `origin`, oldest first.
///
/// Each epoch vouches for the one before as it found it, so a copy of the latest stands for all, except for what an
/// earlier process wrote after that.
pub(super) fn judge(origin: &str, epochs: &[(&str, Reach)], has_witness: bool, report: &mut Report) {
    let end = epochs.iter().filter_map(|(_, reach)| reach.end()).max();
    let is_latest_copied = epochs.last().is_some_and(|(_, reach)| reach.copied > 0);
    let mut is_next_vouched = false;
    let mut found = Vec::new();
    for (name, reach) in epochs.iter().rev() {
        let (vouched, beyond) = if is_next_vouched {
            (reach.copied.max(reach.claimed), &reach.beyond_both)
        } else {
            (reach.copied, &reach.beyond_copies)
        };
        is_next_vouched = vouched > 0;
        report.vouched += vouched;
        if beyond.entries == 0 || !has_witness {
            continue;
        }
        let place = format!("{origin}/{name}");
        let some = format!(
            "the last {} of {} entries are in no checkpoint of the second place",
            beyond.entries, reach.entries
        );
        let seconds = COPIED_WITHIN.as_secs();
        if reach.sealed {
            found.push(finding(&place, &format!("{some}, although the epoch is closed")));
        } else if beyond.are_recent(end) {
            report.notes.push(finding(&place, &format!("{some} yet; they are of the log's last {seconds} s")));
        } else {
            found.push(finding(&place, &format!("{some}, and not all are of the log's last {seconds} s")));
        }
    }
    if !is_latest_copied {
        let what = if has_witness {
            "the second place has no copy of the latest epoch's checkpoints"
        } else {
            "no second place was given that checkpoints were copied to"
        };
        report.unwitnessed.push(finding(origin, what));
    }
    report.unwitnessed.extend(found.into_iter().rev());
}
