//! The log as the rest of the gateway sees it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::entry::{OutcomeLine, Seldom};
use super::keeper::{Keeper, Place};
use super::note::SigningKey;
use super::pen::{BundleFiles, Pen, Sink};
use super::record::Recorded;
use super::reserve::Reserve;
use super::shared::{Counted, MaybeThere, Shared};
use super::witness::{Copy, Witness};
use super::{
    AdminEvent, AuditError, AuditStatus, Durability, End, Intent, OpenRecord, Outcome, Refused, Settings, epoch, files,
    stamp,
};

/// The audit log of this process. Cloning is cheap and gives the same log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    pub(super) shared: Arc<Shared>,
}

impl AuditLog {
    /// Opens a new epoch, writes its opening entry and signs it.
    ///
    /// A torn last entry of the epoch before is not touched; the opening entry reports it. The files are readable by this
    /// user only: evidence is personal data.
    ///
    /// # Errors
    /// [`AuditError::Origin`], [`AuditError::Folder`], or [`AuditError::Write`] when the opening cannot be written.
    pub fn open(settings: Settings, now: SystemTime) -> Result<Self, AuditError> {
        let opened = epoch::create(&settings.folder, &settings.origin)?;
        let folder = |source| AuditError::Folder { path: opened.folder.clone(), source };
        let synced = settings.durability == Durability::Disk;
        files::make_folder(&settings.scratch).map_err(folder)?;
        files::sweep(&settings.scratch, now);
        let witness = settings.witness.as_ref();
        let witness = witness.map(|second| Witness::start(second, &settings.origin, &opened.epoch));
        let place = Place {
            epoch: &opened.folder,
            scratch: settings.scratch.join(format!("{}-{}", settings.origin, opened.epoch)),
            log: Checkpoint::log_name(&settings.origin, &opened.epoch),
            synced,
        };
        let public = settings.key.public().to_string();
        let keeper = Keeper::new(place, settings.key, witness.transpose().map_err(folder)?);
        let sink = Box::new(BundleFiles::new(&opened.folder, synced));
        let mut log = Self::over(sink, settings.durability, Some(keeper), (&opened.folder, &opened.epoch));
        if let Some(shared) = Arc::get_mut(&mut log.shared) {
            shared.reserve = Some(Reserve::at(settings.reserve));
        }
        let opening = epoch::Opening {
            format_version: epoch::FORMAT_VERSION,
            origin: &settings.origin,
            epoch: &opened.epoch,
            predecessor: opened.predecessor.as_ref(),
            key: &public,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            at: now,
        };
        log.shared.append_here("open", &Seldom(&opening))?;
        log.checkpoint()?;
        log.shared.start_threads().map_err(folder)?;
        Ok(log)
    }

    /// A log over any disk.
    pub(super) fn over(
        sink: Box<dyn Sink>,
        durability: Durability,
        keeper: Option<Keeper>,
        (folder, epoch): (&Path, &str),
    ) -> Self {
        let pen = Pen::new(sink, durability == Durability::Disk);
        let shared = Shared::new(pen, durability, keeper, (folder, epoch));
        Self { shared: Arc::new(shared) }
    }

    #[cfg(test)]
    pub(super) fn with_backlog(mut self, backlog: usize) -> Self {
        Arc::get_mut(&mut self.shared).expect("nobody else has it yet").backlog = backlog;
        self
    }

    /// Writes the decision on a request, before anything of it is sent.
    ///
    /// The entry is in the file, and with [`Durability::Disk`] on the disk, when this returns `Ok`. Outcomes that wait go
    /// out in the same write.
    ///
    /// # Errors
    /// [`AuditError`]: the request must be refused. The next call tries again.
    pub async fn intent(&self, intent: &Intent<'_>) -> Result<OpenRecord, AuditError> {
        let mut left = Left { shared: &self.shared, intent: Some(intent) };
        let written = self.shared.append("intent", intent).await;
        left.intent = None;
        match written {
            Ok(()) => Ok(OpenRecord::new(Arc::clone(&self.shared), intent, Recorded::Before)),
            Err((error, MaybeThere(false))) => Err(error),
            Err((error, MaybeThere(true))) => {
                self.shared.append_outcome(&not_sent(intent, Some("audit_unavailable")));
                Err(error)
            }
        }
    }

    /// As [`Self::intent`], for a request that may be sent although the log takes no entries. Its record then waits in memory
    /// and is written late, up to [`LATE_BYTES`](super::LATE_BYTES) of what waits; beyond that it is only counted. A `passed`
    /// entry says how many there were, `late` in the outcome which, and in the intent as well unless that was being written
    /// when the patience ended.
    ///
    /// # Errors
    /// [`AuditError::TooLong`] and [`AuditError::Sealed`]: the request must be refused.
    pub async fn intent_or_pass(&self, intent: &Intent<'_>) -> Result<OpenRecord, AuditError> {
        let shared = &self.shared;
        let record = |recorded| OpenRecord::new(Arc::clone(shared), intent, recorded);
        let pass = || shared.pass(intent).map(record);
        if !shared.takes_entries() {
            return pass();
        }
        let mut left = Left { shared, intent: Some(intent) };
        let written = shared.append("intent", intent).await;
        left.intent = None;
        match written {
            Ok(()) => Ok(record(Recorded::Before)),
            Err((error @ (AuditError::TooLong | AuditError::Sealed), _)) => Err(error),
            // It is being written, as it was pushed, and is in the file as soon as the disk takes it.
            Err((_, MaybeThere(true))) => {
                shared.count_passed(intent, Recorded::Late);
                Ok(record(Recorded::Late))
            }
            Err((_, MaybeThere(false))) => pass(),
        }
    }

    /// Notes a request that was refused after its caller was known.
    ///
    /// Nothing was sent, so the entry may wait up to 50 ms for the next write. While the log takes no entries it waits until it
    /// does, and is written with `late`.
    ///
    /// # Errors
    /// [`AuditError::Write`] where [`REFUSED_LATE_BYTES`](super::REFUSED_LATE_BYTES) wait already, which takes a disk that fails or
    /// stands still: refused requests cannot fill the room that running ones need. Then it is counted, and a `lost` entry says how
    /// many.
    pub fn refused(&self, refused: &Refused<'_>) -> Result<(), AuditError> {
        self.shared.append_refused("refused", refused, 1)
    }

    /// As [`Self::refused`], for an administrative action that was refused, or an entry that says how many refusals were not
    /// written: `refusals` of them. Where the entry finds no room, so many more are counted. It is written at once where the
    /// disk is free.
    ///
    /// # Errors
    /// As for [`Self::refused`].
    pub fn admin_refused(&self, event: &AdminEvent<'_>, refusals: u64) -> Result<(), AuditError> {
        self.shared.append_refused("admin", &Seldom(event), refusals)?;
        if self.shared.takes_entries() {
            // A failure is counted and announced by the write itself; the entry keeps waiting.
            let _ = self.shared.flush();
        }
        Ok(())
    }

    /// Writes an administrative action: a start, a reload, a change of keys.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn admin(&self, event: &AdminEvent<'_>) -> Result<(), AuditError> {
        self.shared.append("admin", &Seldom(event)).await.map_err(|(error, _)| error)
    }

    /// As [`Self::admin`], for what has taken effect whether it can be recorded or not: a reload, the end of a grant, what is
    /// held back, a drain. While the log takes no entries it waits in memory, like the records of what was let through, and is
    /// written late, with `late`. Returns false where it waits.
    ///
    /// # Errors
    /// [`AuditError`]; where [`BACKLOG_BYTES`](super::BACKLOG_BYTES) wait already, or [`ACTIONS_LATE_BYTES`](super::ACTIONS_LATE_BYTES)
    /// of actions and refusals, it is [`AuditError::Write`], and a `lost` entry counts it.
    pub async fn admin_or_late(&self, event: &AdminEvent<'_>) -> Result<bool, AuditError> {
        if self.shared.takes_entries() {
            match self.shared.append("admin", &Seldom(event)).await {
                Ok(()) => return Ok(true),
                Err((error @ (AuditError::TooLong | AuditError::Sealed), _)) => return Err(error),
                // Where it may be there all the same it may come twice, which tells no less than once, or be counted as well.
                Err(_) => {}
            }
        }
        self.shared.append_late("admin", &Seldom(event), Counted::Action).map(|()| false)
    }

    /// Writes the entries that wait. The server calls this every 50 ms; it costs one lock when nothing waits. While
    /// another thread writes, that one takes them along.
    ///
    /// # Errors
    /// [`AuditError::Write`]; the entries keep waiting.
    pub fn flush(&self) -> Result<(), AuditError> {
        self.shared.flush()
    }

    /// Signs what has been written since the last checkpoint. The log does this itself every [`CHECKPOINT_EVERY`].
    ///
    /// # Errors
    /// [`AuditError::Write`]: the next call tries again.
    pub fn checkpoint(&self) -> Result<(), AuditError> {
        self.shared.checkpoint()
    }

    /// Has checkpoints signed by `key` as well, from the next on; the new key becomes part of the log first, so that
    /// whoever trusts the old one learns of it there.
    ///
    /// # Errors
    /// [`AuditError`]; the keys are then as before.
    pub async fn rotate(&self, key: SigningKey, actor: &str, now: SystemTime) -> Result<(), AuditError> {
        let public = key.public().to_string();
        let entry = NewKey { at: now, actor, key: &public };
        self.shared.append("key", &Seldom(&entry)).await.map_err(|(error, _)| error)?;
        if let Some(keeper) = &self.shared.keeper {
            keeper.rotate(key);
        }
        Ok(())
    }

    /// Writes what waits and the closing entry, puts all of it on the disk, signs it, and copies the signature.
    ///
    /// Call it when the last request has ended. Records that are still open are counted in the closing entry; their
    /// outcomes come too late for the file and go to the log instead.
    ///
    /// # Errors
    /// [`AuditError::Write`]; the log is then left unsealed, and a later call may try again. Sealing twice is fine.
    pub async fn seal(&self, reason: &str, now: SystemTime) -> Result<(), AuditError> {
        self.shared.seal(reason, now)
    }

    /// Waits for a checkpoint that is to be carried to a second place which is no folder. The same one comes again until
    /// [`Self::copied`] was told that it is there, or a later one came.
    pub async fn next_copy(&self) -> Copy {
        match self.shared.keeper.as_ref().and_then(Keeper::witness) {
            Some(witness) => witness.next().await,
            None => std::future::pending().await,
        }
    }

    /// The same without waiting, for the last one when the process leaves.
    pub fn waiting_copy(&self) -> Option<Copy> {
        self.shared.keeper.as_ref().and_then(Keeper::witness)?.waiting()
    }

    /// How it went to carry the checkpoint over `size` entries; what failed is said once, and shown by [`Self::status`].
    pub fn copied(&self, size: u64, result: &Result<(), String>) {
        if let Some(witness) = self.shared.keeper.as_ref().and_then(Keeper::witness) {
            witness.told(size, result);
        }
    }

    /// How the log stands now.
    pub fn status(&self) -> AuditStatus {
        self.shared.status()
    }

    /// Whether checkpoints bear the signature of `key`.
    pub fn signs_with(&self, key: &SigningKey) -> bool {
        self.shared.keeper.as_ref().is_some_and(|keeper| keeper.signs_with(key))
    }

    /// The name of this process's epoch.
    pub fn epoch(&self) -> &str {
        &self.shared.epoch
    }

    /// The folder that this process writes.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }
}

/// A caller may leave while its intent waits for the disk. The entry is on its way then, and no record is there that would
/// close it, so this does.
struct Left<'a> {
    shared: &'a Shared,
    /// None once the waiting is over.
    intent: Option<&'a Intent<'a>>,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if let Some(intent) = self.intent {
            self.shared.append_outcome(&not_sent(intent, None));
        }
    }
}

/// The outcome behind an intent that may be in the file although nothing was sent: the request was refused with this code,
/// or its caller left.
fn not_sent<'a>(intent: &Intent<'a>, code: Option<&'static str>) -> OutcomeLine<'a> {
    let outcome = Outcome {
        at: intent.at,
        status: code.map(|_| 503),
        code,
        usage: None,
        settled_by: "not_sent",
        lost_tokens: 0,
        charged: 0,
        priced: true,
        to_first_byte: None,
        total: Duration::ZERO,
        end: if code.is_some() { End::Error } else { End::Disconnected },
    };
    OutcomeLine { decision: intent.decision, attempts: &[], outcome, capture: None, is_late: false }
}

/// A key that signs as well from now on.
#[derive(Serialize)]
struct NewKey<'a> {
    #[serde(serialize_with = "stamp::serialize")]
    at: SystemTime,
    actor: &'a str,
    key: &'a str,
}
