//! Requests that are sent although the log takes no entries, because their class may: what becomes of their records, and what
//! the log says of them once it takes entries again.

use std::time::SystemTime;

use serde::Serialize;

use super::entry::Entry;
use super::stamp;

/// Most bytes of waiting entries beside which the record of such a request waits as well: 8 MiB.
///
/// Half of what is kept back for an orderly end on a full disk. Beside it come actions and refusals, up to [`ACTIONS_LATE_BYTES`], and
/// outcomes of requests that run by then; where those are too many for that room as well the newest are counted. Some 4,000 requests; of those beyond it only their
/// number is known.
pub const LATE_BYTES: usize = 8 * 1024 * 1024;

/// Most bytes of waiting entries beside which the record of a refusal waits as well: 1 MiB, some 2,000 refusals.
///
/// A caller who is refused asks again, so that refusals would take the room of what was sent.
pub const REFUSED_LATE_BYTES: usize = 1024 * 1024;

/// Most bytes of waiting actions and refusals beside which the record of an administrative action waits as well: 2 MiB, some
/// 5,000 actions.
///
/// At the end outcomes make room for what must be sealed, and these do not: beside [`LATE_BYTES`] of requests they fit into what
/// is kept back for an orderly end.
pub const ACTIONS_LATE_BYTES: usize = 2 * 1024 * 1024;

/// Requests that were let through and are not told in the log yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// When the first of them arrived.
    from: SystemTime,
    /// When the last of them did.
    until: SystemTime,
    requests: u64,
    /// Those of them whose records found no room.
    unrecorded: u64,
}

impl Passed {
    pub(super) fn one(at: SystemTime, is_recorded: bool) -> Self {
        Self { from: at, until: at, requests: 1, unrecorded: u64::from(!is_recorded) }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            until: self.until.max(other.until),
            requests: self.requests + other.requests,
            unrecorded: self.unrecorded + other.unrecorded,
        }
    }

    pub(super) fn told_at(self, at: SystemTime) -> PassedLine {
        let Self { from, until, requests, unrecorded } = self;
        PassedLine { at, from, until, requests, unrecorded }
    }
}

/// The entry that says it, before the records that come late.
#[derive(Serialize)]
pub(super) struct PassedLine {
    #[serde(serialize_with = "stamp::serialize")]
    at: SystemTime,
    #[serde(serialize_with = "stamp::serialize")]
    from: SystemTime,
    #[serde(serialize_with = "stamp::serialize")]
    until: SystemTime,
    requests: u64,
    unrecorded: u64,
}

/// What is written after it happened, because the log took no entries then.
pub(super) struct Late<'a, T>(pub(super) &'a T);

impl<T: Entry> Entry for Late<'_, T> {
    fn write(&self, line: &mut Vec<u8>) {
        self.0.write(line);
        line.extend_from_slice(b",\"late\":true");
    }
}
