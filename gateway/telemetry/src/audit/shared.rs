//! Who writes when, and what waits for what.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::entry::{Entry, OutcomeLine, Seldom};
use super::epoch::Seal;
use super::figures::{Bell, Figures};
use super::keeper::{CHECKPOINT_EVERY, Keeper, MOST_TILES_BEHIND, Stand};
use super::passed::{ACTIONS_LATE_BYTES, LATE_BYTES, Late, Passed, REFUSED_LATE_BYTES};
use super::pen::Pen;
use super::queue::{Batch, Queue, Slot, Wait};
use super::record::Recorded;
use super::reserve::Reserve;
use super::witness::Witness;
use super::{AuditError, AuditStatus, BRIEF, Durability, FLUSH_BYTES, Intent, PATIENCE};

/// How long leaving waits for the pen.
const SEAL_PATIENCE: Duration = Duration::from_secs(10);

/// What all clones, all open records and the log's own threads share.
pub(super) struct Shared {
    /// Held for a moment only, never across a write.
    queue: Mutex<Queue>,
    /// Held while something is written. Whoever holds it writes what the others have put into the queue as well.
    pen: Mutex<Pen>,
    durability: Durability,
    pub(super) backlog: usize,
    /// Most bytes that wait beside the record of a request that was let through.
    pub(super) late_bytes: usize,
    /// Most bytes of actions and refusals that wait beside the record of an action.
    pub(super) actions_bytes: usize,
    /// Most bytes that wait beside the record of a refusal.
    pub(super) refused_bytes: usize,
    /// Most bytes that are written into the room for the end.
    pub(super) end_bytes: usize,
    pub(super) folder: PathBuf,
    pub(super) epoch: String,
    pub(super) keeper: Option<Keeper>,
    /// Room for the end; none in tests on a disk that is none.
    pub(super) reserve: Option<Reserve>,
    /// Wakes the writer's thread: for each entry with [`Durability::Disk`], and for those that a slow disk holds up.
    bell: Arc<Bell>,
    figures: Figures,
}

/// Whether an entry may be in the file although it was reported as not written.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaybeThere(pub(super) bool);

/// What an entry that finds no room to wait is counted as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    Action,
    /// So many refusals: one, or those that an entry tells of.
    Refusals(u64),
}

pub(super) type Refusal = (AuditError, MaybeThere);

impl Shared {
    pub(super) fn new(
        pen: Pen,
        durability: Durability,
        keeper: Option<Keeper>,
        (folder, epoch): (&Path, &str),
    ) -> Self {
        Self {
            queue: Mutex::default(),
            pen: Mutex::new(pen),
            durability,
            backlog: super::BACKLOG_BYTES,
            late_bytes: LATE_BYTES,
            actions_bytes: ACTIONS_LATE_BYTES,
            refused_bytes: REFUSED_LATE_BYTES,
            end_bytes: super::reserve::END_BYTES,
            folder: folder.to_owned(),
            epoch: epoch.to_owned(),
            keeper,
            reserve: None,
            bell: Arc::default(),
            figures: Figures::new(),
        }
    }

    /// Appends an entry and returns when it counts; on failure it is taken back where that is possible.
    pub(super) async fn append<T: Entry>(&self, kind: &str, body: &T) -> Result<(), Refusal> {
        let nothing_there = |error| (error, MaybeThere(false));
        if self.is_stuck() {
            return Err((self.slow(), MaybeThere(false)));
        }
        if self.durability == Durability::Os {
            return self.append_soon_or_wait(kind, body).await;
        }
        let (sender, mut told) = oneshot::channel();
        self.push(kind, body, Wait::Task(sender)).map_err(nothing_there)?;
        self.bell.ring();
        let said = match tokio::time::timeout(PATIENCE, &mut told).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => return Err(nothing_there(AuditError::Sealed)),
            Err(_) => {
                // From here on whoever writes finds that nobody hears it. What was said just before counts.
                told.close();
                told.try_recv().map_err(|_| (self.slow(), MaybeThere(true)))?
            }
        };
        said.map_err(|source| nothing_there(self.write_error(source)))
    }

    /// Keeps the thread for as long as a write usually takes; while the disk takes longer the task waits instead, and the
    /// writer's thread writes.
    async fn append_soon_or_wait<T: Entry>(&self, kind: &str, body: &T) -> Result<(), Refusal> {
        let slot = self.push_slot(kind, body)?;
        let hiccups = self.figures.writing_for().is_some_and(|time| time > BRIEF);
        if let Some(settled) = self.write_for(&slot, if hiccups { Duration::ZERO } else { BRIEF }) {
            return settled;
        }
        self.bell.ring();
        match tokio::time::timeout(PATIENCE, slot.told()).await {
            Ok(_) => self.outcome_of(&slot),
            Err(_) => Err(self.give_up(&slot)),
        }
    }

    /// Whoever gets the pen writes for all that wait.
    fn append_inline<T: Entry>(&self, kind: &str, body: &T) -> Result<(), Refusal> {
        let slot = self.push_slot(kind, body)?;
        self.write_for(&slot, PATIENCE).unwrap_or_else(|| Err(self.give_up(&slot)))
    }

    fn push_slot<T: Entry>(&self, kind: &str, body: &T) -> Result<Arc<Slot>, Refusal> {
        let slot = Arc::new(Slot::default());
        self.push(kind, body, Wait::Thread(Arc::clone(&slot))).map_err(|error| (error, MaybeThere(false)))?;
        Ok(slot)
    }

    /// Writes the entry and all that wait with it, unless another has. `None`: the pen was not to be had for `most`.
    fn write_for(&self, slot: &Slot, most: Duration) -> Option<Result<(), Refusal>> {
        let mut pen = self.pen.try_lock_for(most)?;
        if slot.settled().is_none() {
            let _ = self.write_queue(&mut pen);
        }
        Some(self.outcome_of(slot))
    }

    fn outcome_of(&self, slot: &Slot) -> Result<(), Refusal> {
        // The queue was written whole or failed whole, and this entry was in it.
        let settled = slot.settled().unwrap_or_else(|| Err(io::ErrorKind::Other.into()));
        settled.map_err(|source| (self.write_error(source), MaybeThere(false)))
    }

    fn give_up(&self, slot: &Slot) -> Refusal {
        let withdrawn = slot.withdraw();
        // It may have been settled between the two looks; what could not be written is not there.
        let failed = matches!(slot.settled(), Some(Err(_)));
        (self.slow(), MaybeThere(!withdrawn && !failed))
    }

    /// Appends an entry from a thread that may wait, whatever the durability.
    pub(super) fn append_here<T: Entry>(&self, kind: &str, body: &T) -> Result<(), AuditError> {
        self.append_inline(kind, body).map_err(|(error, _)| error)
    }

    /// Appends a refusal that the next write takes along; while the disk fails it waits where there is room, or is counted.
    ///
    /// The bound holds on a disk that works as well: one that hangs is not known for it until [`PATIENCE`] is over, and
    /// refusals of that time would take the room of actions, and that of the end. `refusals`: how many the entry tells of.
    pub(super) fn append_refused<T: Entry>(&self, kind: &str, body: &T, refusals: u64) -> Result<(), AuditError> {
        if !self.takes_entries() {
            return self.append_late(kind, body, Counted::Refusals(refusals));
        }
        let mut queue = self.queue.lock();
        if queue.sealed {
            return Err(AuditError::Sealed);
        }
        if queue.bytes() >= self.refused_bytes {
            return Err(self.count(queue, Counted::Refusals(refusals)));
        }
        queue.push(kind, body, Wait::Nobody).map_err(|_| AuditError::TooLong)?;
        drop(queue);
        self.write_if_much();
        Ok(())
    }

    /// Appends an entry that waits until the disk takes it, where there is room for one of its kind; otherwise it is counted.
    pub(super) fn append_late<T: Entry>(&self, kind: &str, body: &T, counted: Counted) -> Result<(), AuditError> {
        let mut queue = self.queue.lock();
        if queue.sealed {
            return Err(AuditError::Sealed);
        }
        let has_room = match counted {
            Counted::Action => queue.bytes() < self.backlog && queue.bytes_beside_requests() < self.actions_bytes,
            Counted::Refusals(_) => queue.bytes() < self.refused_bytes,
        };
        if has_room {
            return queue.push(kind, &Late(body), Wait::Nobody).map_err(|_| AuditError::TooLong);
        }
        Err(self.count(queue, counted))
    }

    /// Counts what found no room to wait, for the figures and for the entry that says so.
    fn count(&self, mut queue: MutexGuard<'_, Queue>, counted: Counted) -> AuditError {
        let (unreported, figure, count) = match counted {
            Counted::Action => (&mut queue.unreported.actions, &self.figures.actions_lost, 1),
            Counted::Refusals(count) => (&mut queue.unreported.refusals, &self.figures.refusals_lost, count),
        };
        *unreported += count;
        drop(queue);
        figure.fetch_add(count, Ordering::Relaxed);
        self.write_error(io::ErrorKind::StorageFull.into())
    }

    /// Appends an outcome; it is kept, or counted where the backlog is full. Returns false after the seal.
    pub(super) fn append_outcome(&self, body: &OutcomeLine<'_>) -> bool {
        if self.push("outcome", body, Wait::Nobody).is_err() {
            return false;
        }
        self.figures.outcomes.fetch_add(1, Ordering::Relaxed);
        self.write_if_much();
        if self.queue.lock().bytes() > self.backlog {
            self.make_room(body);
        }
        true
    }

    /// Whether the latest write went well, and none hangs.
    pub(super) fn takes_entries(&self) -> bool {
        !self.figures.failing.load(Ordering::Relaxed) && !self.is_stuck()
    }

    /// Lets a request through that is not in the log: its record waits where there is room, which is the answer.
    pub(super) fn pass(&self, intent: &Intent<'_>) -> Result<Recorded, AuditError> {
        let recorded = if self.queue.lock().bytes() < self.late_bytes { Recorded::Late } else { Recorded::Counted };
        if recorded == Recorded::Late {
            self.push("intent", &Late(intent), Wait::Nobody)?;
        } else if self.queue.lock().sealed {
            return Err(AuditError::Sealed);
        }
        self.count_passed(intent, recorded);
        Ok(recorded)
    }

    /// Counts a request that was let through, for the figures and for the entry that says so.
    pub(super) fn count_passed(&self, intent: &Intent<'_>, recorded: Recorded) {
        let is_recorded = recorded != Recorded::Counted;
        let one = Passed::one(intent.at, is_recorded);
        let was_said = {
            let mut queue = self.queue.lock();
            queue.passed = Some(queue.passed.map_or(one, |before| before.and(one)));
            std::mem::replace(&mut queue.passed_is_said, true)
        };
        self.figures.passed.fetch_add(1, Ordering::Relaxed);
        self.figures.unrecorded.fetch_add(u64::from(!is_recorded), Ordering::Relaxed);
        if !was_said {
            tracing::error!(
                "ALARM audit_passed: the audit log takes no entries, and requests of the classes that may are sent all the same"
            );
        }
    }

    /// The backlog is full: it is written, or else the newest outcome is only counted.
    fn make_room(&self, body: &OutcomeLine<'_>) {
        let _ = self.flush();
        let takes_entries = self.takes_entries();
        let mut queue = self.queue.lock();
        if takes_entries || queue.bytes() <= self.backlog || !queue.pop_outcome() {
            return;
        }
        queue.unreported.outcomes += 1;
        drop(queue);
        self.figures.lost.fetch_add(1, Ordering::Relaxed);
        tracing::error!(decision = body.decision, end = ?body.outcome.end, "the audit backlog is full; an outcome is only counted");
    }

    fn push<T: Entry>(&self, kind: &str, body: &T, wait: Wait) -> Result<(), AuditError> {
        let mut queue = self.queue.lock();
        if queue.sealed {
            return Err(AuditError::Sealed);
        }
        queue.push(kind, body, wait).map_err(|_| AuditError::TooLong)
    }

    fn write_if_much(&self) {
        if !self.figures.failing.load(Ordering::Relaxed) && self.queue.lock().bytes() >= FLUSH_BYTES {
            // A failure is counted and announced by the write itself; the entries keep waiting.
            let _ = self.flush();
        }
    }

    pub(super) fn flush(&self) -> Result<(), AuditError> {
        let nothing_waits = {
            let queue = self.queue.lock();
            queue.entries() == 0 && queue.unreported.is_nothing() && queue.passed.is_none()
        };
        if nothing_waits && !self.figures.failing.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.durability == Durability::Disk && self.keeper.is_some() {
            self.bell.ring();
            return Ok(());
        }
        let Some(mut pen) = self.pen.try_lock() else { return Ok(()) };
        self.write_queue(&mut pen).map_err(|source| self.write_error(source))
    }

    /// Writes all that waits, before it how many requests were let through, and behind it how many outcomes were lost.
    ///
    /// That nothing waits any more, because whoever did was refused, says nothing of the disk: only what it took does.
    fn write_queue(&self, pen: &mut Pen) -> io::Result<()> {
        let before = pen.growth.size();
        self.write_waiting(pen)?;
        if pen.growth.size() > before {
            self.recovered();
        }
        Ok(())
    }

    fn write_waiting(&self, pen: &mut Pen) -> io::Result<()> {
        if let Err(error) = self.tell_of_passed(pen)
            && self.queue.lock().entries() == 0
        {
            self.failed(&error);
            return Err(error);
        }
        // Where the disk does not take more either, this says so to those who wait.
        self.write_once(pen)?;
        let unreported = {
            let mut queue = self.queue.lock();
            let unreported = std::mem::take(&mut queue.unreported);
            if !unreported.is_nothing() && queue.push("lost", &Seldom(&unreported), Wait::Nobody).is_err() {
                queue.unreported = unreported;
            }
            unreported
        };
        if unreported.is_nothing() { Ok(()) } else { self.write_once(pen) }
    }

    /// Before the records that come late, so that a reader knows when those were written.
    fn tell_of_passed(&self, pen: &mut Pen) -> io::Result<()> {
        let Some(passed) = self.queue.lock().passed.take() else { return Ok(()) };
        let mut batch = Batch::default();
        let line = passed.told_at(SystemTime::now());
        let fits = batch.push("passed", &Seldom(&line), Wait::Nobody).map_err(|_| io::ErrorKind::InvalidInput.into());
        self.figures.writing(true);
        let written = fits.and_then(|()| self.tiles_are_kept()).and_then(|()| pen.write(&mut batch));
        self.figures.writing(false);
        self.figures.committed.store(pen.growth.size(), Ordering::Relaxed);
        let queue = &mut self.queue.lock();
        if written.is_err() {
            queue.passed = Some(queue.passed.map_or(passed, |since| passed.and(since)));
        } else {
            queue.passed_is_said = queue.passed.is_some();
        }
        written
    }

    fn write_once(&self, pen: &mut Pen) -> io::Result<()> {
        let spare = std::mem::take(&mut pen.spare);
        let mut batch = self.queue.lock().take(spare);
        self.figures.writing(true);
        let result = self.tiles_are_kept().and_then(|()| pen.write(&mut batch));
        self.figures.writing(false);
        self.figures.committed.store(pen.growth.size(), Ordering::Relaxed);
        self.figures.intents.store(pen.intents, Ordering::Relaxed);
        match &result {
            Ok(()) => {
                self.queue.lock().is_written();
                pen.spare = batch.cleared(2 * FLUSH_BYTES);
            }
            Err(error) => {
                batch.fail(error);
                self.queue.lock().put_back(batch);
                self.failed(error);
            }
        }
        result
    }

    /// Hashes that a disk does not take are kept within a bound; past it nothing more is taken.
    fn tiles_are_kept(&self) -> io::Result<()> {
        let behind = self.keeper.as_ref().map_or(0, Keeper::behind);
        if behind < MOST_TILES_BEHIND { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    pub(super) fn checkpoint(&self) -> Result<(), AuditError> {
        self.sign().map_err(|source| self.write_error(source))
    }

    fn sign(&self) -> io::Result<()> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let stand = || {
            let mut pen = self.pen.lock();
            Stand { size: pen.growth.size(), root: pen.growth.root(), full: pen.growth.take_full() }
        };
        let result = keeper.checkpoint(stand);
        let before = self.figures.checkpoint_failing.swap(result.is_err(), Ordering::Relaxed);
        if let Err(error) = &result
            && !before
        {
            tracing::error!(%error, "ALARM audit_checkpoint: no checkpoint can be made; what comes now is not signed");
        }
        result
    }

    pub(super) fn seal(&self, reason: &str, at: SystemTime) -> Result<(), AuditError> {
        let Some(mut pen) = self.pen.try_lock_for(SEAL_PATIENCE) else { return Err(self.slow()) };
        if std::mem::replace(&mut self.queue.lock().sealed, true) {
            return Ok(());
        }
        let sealed = self.if_need_be_in_the_reserve(|| {
            self.write_queue(&mut pen)?;
            self.close(&mut pen, reason, at)
        });
        if let Err(source) = sealed {
            self.queue.lock().sealed = false;
            return Err(self.write_error(source));
        }
        let (size, partial) = (pen.growth.size(), pen.growth.partial().to_vec());
        let finished = pen.sync().and_then(|()| {
            drop(pen);
            self.if_need_be_in_the_reserve(|| {
                self.sign()?;
                self.keeper.as_ref().map_or(Ok(()), |keeper| keeper.finish(size, &partial))
            })
        });
        finished.map_err(|source| self.write_error(source))
    }

    /// Does what belongs to the end; on a full disk once more, in the room that was kept back for it.
    fn if_need_be_in_the_reserve(&self, mut act: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        let Err(error) = act() else { return Ok(()) };
        let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let reserve = self.reserve.as_ref().filter(|_| is_full);
        if reserve.is_none_or(|reserve| reserve.release().is_err()) {
            return Err(error);
        }
        tracing::warn!("the disk is full; the audit log ends in the room that was kept back for it");
        let lost = self.queue.lock().shed(self.end_bytes);
        if lost > 0 {
            self.figures.lost.fetch_add(lost, Ordering::Relaxed);
            tracing::error!(lost, "more waits than has room there; the newest outcomes are only counted");
        }
        act()
    }

    /// Writes the closing entry; its count includes the opening and the closing itself.
    fn close(&self, pen: &mut Pen, reason: &str, at: SystemTime) -> io::Result<()> {
        let status = self.status();
        let seal = Seal {
            at,
            reason,
            count: pen.growth.size() + 1,
            open: status.open,
            lost: status.lost,
            lost_actions: status.actions_lost,
            lost_refusals: status.refusals_lost,
        };
        let mut batch = Batch::default();
        if batch.push("seal", &Seldom(&seal), Wait::Nobody).is_err() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        pen.write(&mut batch)?;
        self.figures.committed.store(pen.growth.size(), Ordering::Relaxed);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn settle(&self) {
        let witness = self.keeper.as_ref().and_then(Keeper::witness);
        witness.expect("there is a second place").settle(Duration::from_secs(30));
    }

    pub(super) fn status(&self) -> AuditStatus {
        let (waiting, waiting_bytes) = {
            let queue = self.queue.lock();
            (queue.entries() as u64, queue.bytes())
        };
        let figures = &self.figures;
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let witness = self.keeper.as_ref().and_then(Keeper::witness).map(Witness::status);
        AuditStatus {
            entries: read(&figures.committed) + waiting,
            waiting_bytes,
            open: read(&figures.intents).saturating_sub(read(&figures.outcomes)),
            errors: read(&figures.errors),
            lost: read(&figures.lost),
            actions_lost: read(&figures.actions_lost),
            refusals_lost: read(&figures.refusals_lost),
            passed: read(&figures.passed),
            unrecorded: read(&figures.unrecorded),
            failing: figures.failing.load(Ordering::Relaxed) || self.is_stuck(),
            signed: self.keeper.as_ref().map_or(0, Keeper::signed),
            checkpoint_failing: figures.checkpoint_failing.load(Ordering::Relaxed),
            witnessed: witness.map(|(copied, _)| copied),
            witness_failing: witness.is_some_and(|(_, failing)| failing),
        }
    }

    /// Whether the write that runs now takes longer than anybody would wait.
    fn is_stuck(&self) -> bool {
        self.figures.writing_for().is_some_and(|time| time > PATIENCE)
    }

    fn fill_reserve(&self) {
        if let Some(Err(error)) = self.reserve.as_ref().map(Reserve::fill) {
            tracing::error!(%error, "no room can be kept back for the end of the audit log; a full disk will leave it unsealed");
        }
    }

    fn failed(&self, error: &io::Error) {
        self.figures.errors.fetch_add(1, Ordering::Relaxed);
        if !self.figures.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the audit log takes no entries; requests are refused until it does");
        }
    }

    fn recovered(&self) {
        if self.figures.failing.load(Ordering::Relaxed) && self.figures.failing.swap(false, Ordering::Relaxed) {
            tracing::warn!("the audit log takes entries again");
        }
    }

    fn slow(&self) -> AuditError {
        AuditError::Slow { path: self.folder.clone() }
    }

    fn write_error(&self, source: io::Error) -> AuditError {
        AuditError::Write { path: self.folder.clone(), source }
    }

    /// Begins the threads that write (with `Disk`) and that sign.
    pub(super) fn start_threads(self: &Arc<Self>) -> io::Result<()> {
        let thread = |name: &str, run: fn(&Weak<Self>, &Bell)| {
            let (shared, bell) = (Arc::downgrade(self), Arc::clone(&self.bell));
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared, &bell)).map(drop)
        };
        thread("audit-writer", write_when_rung)?;
        thread("audit-keeper", sign_in_time)
    }
}

/// The one writer of a log that waits for the disk, and of any while its disk is slow: what has come while it waited goes
/// out in its next write.
fn write_when_rung(shared: &Weak<Shared>, bell: &Bell) {
    loop {
        bell.wait(CHECKPOINT_EVERY);
        let Some(shared) = shared.upgrade() else { return };
        let mut pen = shared.pen.lock();
        // A failure is told to those who wait, and announced by the write itself.
        let _ = shared.write_queue(&mut pen);
    }
}

fn sign_in_time(shared: &Weak<Shared>, _bell: &Bell) {
    let own = Bell::default();
    if let Some(shared) = shared.upgrade() {
        shared.fill_reserve();
    }
    loop {
        own.wait(CHECKPOINT_EVERY);
        let Some(shared) = shared.upgrade() else { return };
        // A failure is announced by the checkpoint itself, and the next try comes in time.
        let _ = shared.checkpoint();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder).field("figures", &self.figures).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    /// A log that nobody sealed still writes what waits; the missing seal shows how the process left.
    fn drop(&mut self) {
        self.bell.ring();
        let queue = std::mem::take(self.queue.get_mut());
        if queue.sealed || queue.entries() == 0 && queue.passed.is_none() && queue.unreported.is_nothing() {
            return;
        }
        *self.queue.get_mut() = queue;
        let mut pen = self.pen.lock();
        if let Err(error) = self.write_queue(&mut pen) {
            tracing::error!(folder = %self.folder.display(), %error, "the last outcomes could not be written to the audit log");
        }
    }
}
