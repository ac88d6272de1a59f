//! The audit log: what was decided, written before the first byte leaves, and how it ended.
//!
//! Each process writes its own *epoch*, `<folder>/<origin>/<epoch>/`, a Merkle tree of RFC 6962 over its entries in the
//! tiles of C2SP tlog-tiles. Two processes that overlap during an upgrade therefore never share a file. The first entry
//! (`kind: "open"`) names the epoch before it, the state it was found in and the root over it; the last (`kind: "seal"`)
//! counts the entries. An epoch without a seal belongs to a process that still runs, or that died.
//!
//! **Evidence.** Every [`CHECKPOINT_EVERY`] while entries come, the tree is signed (`checkpoint`, an Ed25519 note) and the
//! checkpoint is copied to a second place, if there is one. [`read`] finds any change up to the last checkpoint that is
//! held where the gateway's operator cannot write.
//!
//! **Durability.** With [`Durability::Os`] an intent has been handed to the operating system (`write(2)` returned) before
//! [`AuditLog::intent`] returns: it survives the death of the process, not the loss of power. With [`Durability::Disk`]
//! the disk has it; intents that come meanwhile share one wait. An outcome is kept in memory until the next write, which
//! is the next intent, [`AuditLog::flush`] (called every 50 ms) or 64 KiB of waiting entries, whichever comes first. So
//! SIGKILL loses at most the last 50 ms of *outcomes*; the intent of each is there and shows that the request may have
//! been sent.
//!
//! **Why inline.** With `Os` the write runs on the calling thread, and whoever comes meanwhile finds its entry in the
//! write of the next. A write to the page cache takes a few microseconds, which is less than handing the entry to another
//! thread and waiting for its answer. A disk that hangs holds up that one thread. Everybody else waits without one, and is
//! refused after [`PATIENCE`]: file systems stand still for some hundred milliseconds while they put much on the disk, and no
//! request is lost to that.

mod bundle;
mod checkpoint;
mod copies;
mod disk;
mod entry;
mod epoch;
mod figures;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod grounds;
mod json;
mod keeper;
mod keys;
mod log;
mod note;
mod passed;
mod path;
mod pen;
mod queue;
pub mod read;
mod record;
mod reserve;
mod retire;
mod shared;
mod stamp;
mod tree;
mod witness;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

pub use bundle::MAX_ENTRY;
pub use entry::{
    AdminEvent, AttemptNote, CandidateNote, CaptureNote, DataNote, End, EstimateNote, FeatureNote, FindingNote, Intent,
    Outcome, Refused, SeenNote, UsageNote,
};
pub use epoch::{FORMAT_VERSION, is_origin};
pub use grounds::{BasisNote, PlaceFacts, PlaceNote};
pub use keeper::CHECKPOINT_EVERY;
pub use keys::{KeyFileError, load_or_make, make_private};
pub use log::AuditLog;
pub use note::{KeyError, NoteError, SigningKey, VerifierKey, open as open_note, sign as sign_note};
pub use passed::{ACTIONS_LATE_BYTES, LATE_BYTES, REFUSED_LATE_BYTES};
pub use path::{ConnectionPath, PathNote, TlsPath};
pub use record::{Captured, OpenRecord};
pub use reserve::RESERVE_BYTES;
pub use retire::Retention;
pub use witness::{Copy, SecondPlace};

/// Waiting entries are written at once when they pass this many bytes.
pub const FLUSH_BYTES: usize = 64 * 1024;

/// Most bytes of entries that wait for a disk that does not take them: 64 MiB.
///
/// While the disk fails no new request is admitted, so only outcomes of requests that were already running wait
/// here; at about 1 KiB each this is room for some 60,000. Beyond it an outcome is counted instead of kept, and an
/// entry `kind: "lost"` with the count is written as soon as the disk takes entries again.
pub const BACKLOG_BYTES: usize = 64 * 1024 * 1024;

/// How long a request waits for a disk that is slow; then it is refused.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long it keeps its thread meanwhile, with [`Durability::Os`]: a thousand times what a write to the page cache takes.
const BRIEF: Duration = Duration::from_millis(5);

/// What an entry survives before the request that it is about may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process.
    #[default]
    Os,
    /// The loss of power.
    Disk,
}

/// Where a log lies and how it is kept.
#[derive(Debug)]
pub struct Settings {
    /// The folder of all logs, the `audit` folder of `state.folder`.
    pub folder: PathBuf,
    /// A folder on the same disk and outside the log, where files are made whole before they are put in their place.
    pub scratch: PathBuf,
    /// Names this gateway among those of a fleet.
    pub origin: String,
    /// What an entry survives.
    pub durability: Durability,
    /// Signs the checkpoints; its name is the origin.
    pub key: SigningKey,
    /// A second place for checkpoints, where the gateway's operator cannot change what stands there.
    pub witness: Option<SecondPlace>,
    /// A file outside the log, on the same disk, that keeps [`RESERVE_BYTES`] back for an orderly end.
    pub reserve: PathBuf,
}

/// Why an entry could not be written.
///
/// An [`AuditLog::intent`] that meets one of these means that the request must be refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The origin cannot be the name of a folder.
    #[error("audit origin `{0}` is not 1 to 64 of a-z, 0-9, `-`, `_` and `.`, starting with a letter or a digit")]
    Origin(String),
    /// The folder of the log cannot be made, read or listed.
    #[error("audit folder `{}` cannot be used", path.display())]
    Folder {
        /// The folder or file that failed.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// An entry could not be written; nothing of it is left in the file.
    #[error("audit log `{}` takes no record", path.display())]
    Write {
        /// The folder of the epoch that failed.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The disk took too long. Where an intent may be in the file all the same, an outcome behind it says that it was
    /// not sent.
    #[error("audit log `{}` takes records too slowly", path.display())]
    Slow {
        /// The folder of the epoch.
        path: PathBuf,
    },
    /// An entry is longer than [`MAX_ENTRY`] bytes.
    #[error("an audit record is longer than {MAX_ENTRY} bytes")]
    TooLong,
    /// The log was sealed: this process is leaving.
    #[error("the audit log is sealed because this process is leaving")]
    Sealed,
}

/// How the log stands, for metrics and the status page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditStatus {
    /// Entries of this epoch so far, waiting ones included.
    pub entries: u64,
    /// Bytes of entries that wait for the next write.
    pub waiting_bytes: usize,
    /// Intents whose outcome has not come.
    pub open: u64,
    /// Writes that failed since the start.
    pub errors: u64,
    /// Outcomes that found the backlog full since the start; each is counted in a `lost` entry.
    pub lost: u64,
    /// Administrative actions that found no room to wait while the log took no entries, since the start; counted likewise.
    pub actions_lost: u64,
    /// Refusals that found no room to wait, since the start; counted likewise.
    pub refusals_lost: u64,
    /// Requests that were sent while the log took no entries, since the start.
    pub passed: u64,
    /// Those of them that are only counted; all are in a `passed` entry.
    pub unrecorded: u64,
    /// Whether the latest write failed, which means that requests are being refused. It ends with the next entry that the disk
    /// takes.
    pub failing: bool,
    /// Entries that the latest checkpoint covers.
    pub signed: u64,
    /// Whether the latest checkpoint could not be made.
    pub checkpoint_failing: bool,
    /// Entries that the latest copy in the second place covers; none where there is no second place.
    pub witnessed: Option<u64>,
    /// Whether the latest copy failed.
    pub witness_failing: bool,
}
