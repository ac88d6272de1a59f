//! The audit log: what was decided, written before the first byte leaves, and how it ended.
//!
//! Each process writes its own *epoch*, `<folder>/<origin>/<epoch>/records.jsonl`, one JSON object per line. Two
//! processes that overlap during an upgrade therefore never share a file. The first line (`kind: "open"`) names
//! the epoch before it and says in what state that one was found; the last (`kind: "seal"`) counts the lines. A
//! file without a seal belongs to a process that still runs, or that died.
//!
//! **Durability.** An intent has been handed to the operating system (`write(2)` returned) before
//! [`AuditLog::intent`] returns: it survives the death of the process, not the loss of power. An outcome is kept
//! in memory until the next write, which is the next intent, [`AuditLog::flush`] (called every 50 ms) or
//! 64 KiB of waiting lines, whichever comes first. So SIGKILL loses at most the last 50 ms of *outcomes*; the intent of each
//! is there and shows that the request may have been sent.
//!
//! **Why inline.** The write runs on the calling thread under a mutex. A write to the page cache takes a few
//! microseconds, which is less than handing the line to another thread and waiting for its answer.

mod entry;
mod epoch;
mod json;
mod lines;
mod record;
mod stamp;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

pub use entry::{
    AdminEvent, AttemptNote, CandidateNote, End, EstimateNote, FeatureNote, Intent, Outcome, Refused, UsageNote,
};
pub use epoch::FORMAT_VERSION;
pub use record::OpenRecord;

use entry::{Entry, Seldom};
use lines::Lines;

/// Waiting lines are written at once when they pass this many bytes.
pub const FLUSH_BYTES: usize = 64 * 1024;

/// Most bytes of lines that wait for a disk that does not take them: 64 MiB.
///
/// While the disk fails no new request is admitted, so only outcomes of requests that were already running wait
/// here; at about 1 KiB each this is room for some 60,000. Beyond it an outcome is counted instead of kept, and an
/// entry `kind: "lost"` with the count is written as soon as the disk takes lines again.
pub const BACKLOG_BYTES: usize = 64 * 1024 * 1024;

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
    /// A line could not be written; nothing of it is left in the file.
    #[error("audit log `{}` takes no record", path.display())]
    Write {
        /// The file that failed.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The log was sealed: this process is leaving.
    #[error("the audit log is sealed because this process is leaving")]
    Sealed,
}

/// How the log stands, for metrics and the status page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditStatus {
    /// Lines of this epoch so far, waiting ones included.
    pub entries: u64,
    /// Bytes of lines that wait for the next write.
    pub waiting_bytes: usize,
    /// Intents whose outcome has not come.
    pub open: u64,
    /// Writes that failed since the start.
    pub errors: u64,
    /// Outcomes that found the backlog full since the start; each is counted in a `lost` entry.
    pub lost: u64,
    /// Whether the latest write failed, which means that requests are being refused.
    pub failing: bool,
}

/// The audit log of this process. Cloning is cheap and gives the same log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

/// What all clones and all open records share.
#[derive(Debug)]
struct Shared {
    lines: Mutex<Lines>,
    file: PathBuf,
    epoch: String,
}

impl AuditLog {
    /// Opens a new epoch below `folder` (the `audit` folder of `state.folder`) and writes its opening entry.
    ///
    /// `origin` names this gateway among those of a fleet. A torn last line of the epoch before is not touched; the
    /// opening entry reports it. The files are readable by this user only: evidence is personal data.
    ///
    /// # Errors
    /// [`AuditError::Origin`], [`AuditError::Folder`], or [`AuditError::Write`] when the opening cannot be written.
    pub fn open(folder: &Path, origin: &str, now: SystemTime) -> Result<Self, AuditError> {
        let opened = epoch::create(folder, origin)?;
        let lines = Lines::new(Box::new(opened.file));
        let log = Self::over(lines, opened.path, opened.epoch);
        let opening = epoch::Opening {
            format_version: FORMAT_VERSION,
            origin,
            epoch: &log.shared.epoch,
            predecessor: opened.predecessor.as_ref(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            at: now,
        };

        log.shared.append_now("open", &Seldom(&opening))?;

        Ok(log)
    }

    fn over(lines: Lines, file: PathBuf, epoch: String) -> Self {
        Self { shared: Arc::new(Shared { lines: Mutex::new(lines), file, epoch }) }
    }

    /// Writes the decision on a request, before anything of it is sent.
    ///
    /// The line is in the file when this returns `Ok`. Outcomes that wait go out in the same write.
    ///
    /// # Errors
    /// [`AuditError::Write`] or [`AuditError::Sealed`]: the request must be refused. The next call tries again.
    // Async although nothing is awaited yet: a durability that waits for the disk joins writers into one commit here.
    pub async fn intent(&self, intent: &Intent<'_>) -> Result<OpenRecord, AuditError> {
        self.shared.append_now("intent", intent)?;

        Ok(OpenRecord::new(Arc::clone(&self.shared), intent.decision, intent.at))
    }

    /// Notes a request that was refused after its caller was known.
    ///
    /// Nothing was sent, so the line may wait up to 50 ms for the next write.
    ///
    /// # Errors
    /// [`AuditError::Write`] while the disk takes no lines: then it is written at once or not at all, so that refused
    /// requests cannot fill the room that running ones need.
    pub async fn refused(&self, refused: &Refused<'_>) -> Result<(), AuditError> {
        self.shared.append_soon("refused", refused)
    }

    /// Writes an administrative action: a start, a reload, a change of keys.
    ///
    /// # Errors
    /// [`AuditError::Write`] or [`AuditError::Sealed`].
    pub async fn admin(&self, event: &AdminEvent<'_>) -> Result<(), AuditError> {
        self.shared.append_now("admin", &Seldom(event))
    }

    /// Writes the lines that wait. The server calls this every 50 ms; it costs one lock when nothing waits.
    ///
    /// # Errors
    /// [`AuditError::Write`]; the lines keep waiting.
    pub fn flush(&self) -> Result<(), AuditError> {
        self.shared.lines.lock().write().map_err(|source| self.shared.write_error(source))
    }

    /// Writes what waits and the closing entry, then asks the operating system to put all of it on the disk.
    ///
    /// Call it when the last request has ended. Records that are still open are counted in the closing entry; their
    /// outcomes come too late for the file and go to the log instead.
    ///
    /// # Errors
    /// [`AuditError::Write`]; the log is then left unsealed, and a later call may try again. Sealing twice is fine.
    pub async fn seal(&self, reason: &str, now: SystemTime) -> Result<(), AuditError> {
        self.shared.lines.lock().seal(reason, now).map_err(|source| self.shared.write_error(source))
    }

    /// How the log stands now.
    pub fn status(&self) -> AuditStatus {
        self.shared.lines.lock().status()
    }

    /// The name of this process's epoch.
    pub fn epoch(&self) -> &str {
        &self.shared.epoch
    }

    /// The file that this process writes.
    pub fn file(&self) -> &Path {
        &self.shared.file
    }
}

impl Shared {
    /// Appends one line and returns when it is in the file; on failure nothing of it is left.
    fn append_now<T: Entry>(&self, kind: &str, body: &T) -> Result<(), AuditError> {
        let mut lines = self.lines.lock();
        if lines.is_sealed() {
            return Err(AuditError::Sealed);
        }

        lines.append_now(kind, body).map_err(|source| self.write_error(source))
    }

    /// Appends one line that the next write takes along; while the disk fails, the same as [`Self::append_now`].
    fn append_soon<T: Entry>(&self, kind: &str, body: &T) -> Result<(), AuditError> {
        let mut lines = self.lines.lock();
        if lines.is_sealed() {
            return Err(AuditError::Sealed);
        }

        lines.append_soon(kind, body).map_err(|source| self.write_error(source))
    }

    /// Appends an outcome; it is kept, or counted where the backlog is full. Returns false after the seal.
    fn append_outcome(&self, body: &entry::OutcomeLine<'_>) -> bool {
        let mut lines = self.lines.lock();
        if lines.is_sealed() {
            return false;
        }
        lines.record_closed();
        lines.append_outcome(body);

        true
    }

    fn write_error(&self, source: std::io::Error) -> AuditError {
        AuditError::Write { path: self.file.clone(), source }
    }
}

impl Drop for Shared {
    /// A log that nobody sealed still writes what waits; the missing seal shows how the process left.
    fn drop(&mut self) {
        if let Err(error) = self.lines.get_mut().write() {
            tracing::error!(file = %self.file.display(), %error, "the last outcomes could not be written to the audit log");
        }
    }
}
