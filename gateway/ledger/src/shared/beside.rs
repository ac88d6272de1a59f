//! Counters of two processes that have one state folder, as while a new release takes the place of the old one.
//!
//! Each process keeps a mark in the folder, a file that it holds locked, and looks for those of others four times a second; while it
//! is alone the folder's own times say mostly that nobody came. While there is none its counters are its own, and no database is asked. Beside another one all of them are shared: each process
//! leases its part from a database in the folder, by the decisions that a [store](super::scripts) makes for several gateways. When
//! the other is gone, what it left used is taken over, and the counters are the remaining one's own again.
//!
//! **Promises.** A process that comes second lets nothing in before every one that is there has told the database what it had used,
//! and shares: [`Shared::join`] waits for it. What somebody who was killed had told counts as spent, with what it held.
//!
//! **Does not do.** What lies in the database is worth nothing after all processes are gone, and is not forced to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use accounting::{Answer, Counter, Left, Question};
use parking_lot::{Condvar, Mutex};

use super::leases::{Leases, LeasesError};
use super::marks::{Marks, Others};
use super::stillness::Stillness;
use super::{Account, Inner, OnLoss, Settings, Shared, now, random};
use crate::turn::pause;

/// How often others are looked for, and counters that hold a part are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The longest that a process waits until those that are there share with it.
const JOINS_IN: Duration = Duration::from_secs(10);

/// How often it looks meanwhile.
const ASKS_EVERY: Duration = Duration::from_millis(20);

/// A thread that read a moment ago that a counter is its process's own has used it by then.
const SETTLES_IN: Duration = Duration::from_millis(20);

/// Most questions in one transaction: the other process waits for its end.
const MOST_AT_ONCE: usize = 256;

/// After so many looks in which the database cannot say what others left, it is not asked any more. And after so many in a row in
/// which there is no mark of another process that had one, it is gone.
const TRIES: u32 = 4;

/// Where processes of one state folder meet.
pub(super) struct Beside {
    folder: PathBuf,
    pub(super) marks: Marks,
    /// How long it is waited at most until those that are there share.
    joins_in: Duration,
    pub(super) bell: Arc<Bell>,
    /// Counters are shared with another process.
    pub(super) shares: AtomicBool,
    /// What others left used of counters that this process does not have yet.
    inherited: Mutex<LeftOf>,
    /// Held while the database is asked; requests never wait for it.
    pub(super) place: Mutex<Option<Place>>,
    /// The turn to take over what the ledger says, until that is told.
    pub(super) reads: Mutex<Option<File>>,
}

/// The place of this process in the folder.
pub(super) struct Place {
    pub(super) owner: String,
    /// It is locked while the process lives.
    mark: File,
    /// Those of the others whose marks somebody has removed, and for how many looks by now.
    missing: BTreeMap<String, u32>,
    pub(super) leases: Option<Leases>,
    /// Those that are there. INVARIANT: whoever was granted anything is among them while it lives.
    pub(super) others: BTreeSet<String>,
    /// That nobody else is there, and the mark of this process is.
    alone: Stillness,
    /// Those of them that know that this process shares with them, and those that it waited for.
    told: BTreeSet<String>,
    /// The last round failed.
    failing: bool,
    /// So often in a row the database could not say what those who are gone have left.
    unsaid: u32,
}

impl Shared {
    /// Counters that are this process's own until another one comes into `folder`; before [`Shared::join`] nobody is looked for.
    #[must_use]
    pub fn beside(folder: &Path) -> Self {
        Self::beside_within(folder, JOINS_IN)
    }

    pub(super) fn beside_within(folder: &Path, joins_in: Duration) -> Self {
        let settings = Settings { prefix: String::new(), user: None, password: None, on_loss: OnLoss::Deny };
        let beside = Beside {
            folder: folder.to_owned(),
            marks: Marks::below(folder),
            joins_in,
            bell: Arc::default(),
            shares: AtomicBool::new(false),
            inherited: Mutex::default(),
            place: Mutex::default(),
            reads: Mutex::default(),
        };
        Self { inner: Arc::new(Inner { beside: Some(beside), ..Inner::new(settings) }) }
    }

    /// Takes a place in the folder, and waits for those that are there to share what they count. It blocks its thread.
    ///
    /// # Errors
    ///
    /// When the folder cannot be used, or another process has it that does not share within ten seconds.
    pub fn join(&self) -> io::Result<()> {
        let Some(beside) = &self.inner.beside else { return Ok(()) };
        if !beside.join()? {
            return Ok(());
        }
        let (owner, bell) = (Arc::downgrade(&self.inner), Arc::clone(&beside.bell));
        // A thread and no task: it is there before a runtime serves, and a disk that hangs hangs nothing beside it.
        std::thread::Builder::new().name("beside".to_owned()).spawn(move || keep(&owner, &bell)).map(drop)
    }

    /// What others left of these accounts is in what the ledger says of them: it is not to be counted beside that.
    pub fn forget(&self, is_restored: impl Fn(&str) -> bool) {
        if let Some(beside) = &self.inner.beside {
            beside.inherited.lock().retain(|name, _| !is_restored(name));
        }
    }

    /// Tells a last time what was used, and gives the place in the folder up. It blocks its thread.
    pub fn part(&self) {
        if let Some(beside) = &self.inner.beside {
            beside.part(&self.inner);
        }
    }
}

/// Wakes the thread that asks.
#[derive(Default)]
pub(super) struct Bell {
    rang: Mutex<bool>,
    woken: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.rang.lock() = true;
        self.woken.notify_one();
    }

    /// Until it rings, or until then.
    fn wait(&self, until: Instant) {
        let mut rang = self.rang.lock();
        if !*rang {
            self.woken.wait_until(&mut rang, until);
        }
        *rang = false;
    }
}

/// Looks for others, and asks the database while there are some, until the process gives its place up.
fn keep(owner: &Weak<Inner>, bell: &Bell) {
    let mut next = Instant::now();
    loop {
        bell.wait(next);
        let Some(inner) = owner.upgrade() else { return };
        let Some(beside) = &inner.beside else { return };
        let looks = Instant::now() >= next;
        if looks {
            next = Instant::now() + LOOK_EVERY;
        }
        if !beside.turn(&inner, looks) {
            return;
        }
    }
}

impl Beside {
    /// Whether it took a place: not a second time.
    fn join(&self) -> io::Result<bool> {
        self.marks.make_folder()?;
        let mut own = self.place.lock();
        if own.is_some() {
            return Ok(false);
        }
        let begun = Instant::now();
        let mut place = self.take_place(random()?)?;
        let waited = self.wait_for_others(&mut place, begun);
        if waited.is_err() {
            self.marks.remove(&place.owner);
        }
        waited?;
        self.shares.store(place.leases.is_some(), Ordering::Release);
        *own = Some(place);
        Ok(true)
    }

    /// The mark of this process, and those that were there before it.
    fn take_place(&self, owner: String) -> io::Result<Place> {
        let _turn = self.marks.turn(self.joins_in)?;
        let others = self.marks.others(&owner)?.there;
        if others.is_empty() {
            Leases::remove(&self.marks.database())?;
        }
        let mark = self.marks.make(&owner)?;
        Ok(Place {
            owner,
            mark,
            missing: BTreeMap::new(),
            leases: None,
            told: others.clone(),
            others,
            alone: Stillness::default(),
            failing: false,
            unsaid: 0,
        })
    }

    /// Until those that were there before share, or are dead. Whoever came later waits for this process, which must not wait for
    /// it in turn.
    fn wait_for_others(&self, place: &mut Place, begun: Instant) -> io::Result<()> {
        while !place.others.is_empty() {
            let failed = match self.is_shared_with(place) {
                Ok(true) => return Ok(()),
                Ok(false) => String::new(),
                // The other writes to it, or makes it, at this moment.
                Err(error) => format!(" ({error})"),
            };
            if begun.elapsed() > self.joins_in {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "another process has the state folder `{}` and does not share its limits and budgets within {:?}{failed}; \
                         see whether it hangs, and end it",
                        self.folder.display(),
                        self.joins_in
                    ),
                ));
            }
            pause(ASKS_EVERY);
            let there = self.marks.others(&place.owner)?.there;
            place.others.retain(|other| there.contains(other));
        }
        // Whoever died before it had told everything is known to the ledger alone.
        place.leases = None;
        Ok(())
    }

    /// Whoever was there before makes the database, in the format of its release.
    fn is_shared_with(&self, place: &mut Place) -> Result<bool, LeasesError> {
        if place.leases.is_none() {
            place.leases = Leases::open(&self.marks.database())?;
        }
        let Some(leases) = &place.leases else { return Ok(false) };
        leases.share_with(&place.owner, &place.others)
    }

    /// One look, or one round for those who wait; whether there is a next one.
    fn turn(&self, inner: &Inner, looks: bool) -> bool {
        let mut place = self.place.lock();
        let Some(place) = &mut *place else { return false };
        // INVARIANT: what the ledger says is in the books before another is told that all is told.
        if !inner.serving.load(Ordering::Acquire) {
            return true;
        }
        let number = inner.begun.fetch_add(1, Ordering::AcqRel) + 1;
        // What is handed over meanwhile is told by the next look.
        let reads = if looks { self.reads.lock().take() } else { None };
        let turned = self.try_turn(inner, place, looks);
        if turned.is_err() && reads.is_some() {
            *self.reads.lock() = reads;
        }
        if let Err(error) = &turned
            && !std::mem::replace(&mut place.failing, true)
        {
            tracing::error!(%error, "limits that two processes of one state folder share: what needs more than was granted is refused");
        }
        place.failing &= turned.is_err();
        inner.over.send_replace((number, turned.is_ok()));
        true
    }

    fn try_turn(&self, inner: &Inner, place: &mut Place, looks: bool) -> Result<(), String> {
        if looks {
            // INVARIANT: whoever is new is known here before it is told so, and so before it is granted anything.
            place.others = self.look(place, Instant::now()).map_err(|error| error.to_string())?;
            place.told.retain(|told| place.others.contains(told));
            if !place.others.is_empty() {
                self.begin_sharing(inner, place)?;
            } else if self.shares.load(Ordering::Acquire) {
                self.end_sharing(inner, place)?;
            }
        }
        if !self.shares.load(Ordering::Acquire) {
            return Ok(());
        }
        self.round(inner, place, looks)?;
        // Whoever is new stays so until it is told, however often a round before that fails.
        let joined: BTreeSet<_> = place.others.difference(&place.told).cloned().collect();
        let Some(leases) = place.leases.as_mut().filter(|_| looks) else { return Ok(()) };
        leases.tell(&place.owner, &joined).map_err(|error| error.to_string())?;
        place.told.extend(joined);
        Ok(())
    }

    /// Who is there. Where somebody removed the mark of this process, or the folder, it is made again.
    pub(super) fn look(&self, place: &mut Place, now: Instant) -> io::Result<BTreeSet<String>> {
        // INVARIANT: before the folder is read, so that what comes while it is read makes it look another way.
        let stamp = self.marks.stamp();
        if place.alone.holds(stamp, now) {
            return Ok(BTreeSet::new());
        }
        let before = std::mem::take(&mut place.alone);
        let has_mark = self.marks.has(&place.owner);
        if !has_mark {
            self.marks.make_folder()?;
            // INVARIANT: nothing here waits for another process, which may hang: requests wait for what this thread does next.
            if let Some(_turn) = self.marks.turn_if_free()? {
                place.mark = self.marks.make(&place.owner)?;
            }
        }
        let Others { mut there, dead } = self.marks.others(&place.owner)?;
        // Who lives makes a mark again that somebody removed, at its next look.
        let missing = place.others.iter().filter(|other| !there.contains(*other) && !dead.contains(*other));
        place.missing =
            missing.map(|other| (other.clone(), place.missing.get(other).copied().unwrap_or(0) + 1)).collect();
        there.extend(place.missing.iter().filter(|(_, looks)| **looks < TRIES).map(|(other, _)| other.clone()));
        // The lock of another one ends without a trace in the folder: whoever is not alone reads it each time.
        if has_mark && there.is_empty() && dead.is_empty() {
            place.alone = before;
            place.alone.was_read(stamp, now);
        }
        Ok(there)
    }

    fn begin_sharing(&self, inner: &Inner, place: &mut Place) -> Result<(), String> {
        if self.shares.load(Ordering::Acquire) {
            return Ok(());
        }
        // Nobody else was granted anything: what lies there is of those who are gone, and was taken over or is in the ledger.
        place.leases = Some(Leases::make(&self.marks.database()).map_err(|error| error.to_string())?);
        self.shares.store(true, Ordering::Release);
        tracing::info!(
            "another process has this state folder: limits and budgets are shared with it until it has left"
        );
        let accounts: Vec<_> = inner.accounts.lock().values().cloned().collect();
        accounts.iter().filter_map(|account| account.counter.upgrade()).for_each(|counter| counter.share());
        pause(SETTLES_IN);
        Ok(())
    }

    /// Not where another process comes at this moment, or hangs while it does: then the next look tries again.
    fn end_sharing(&self, inner: &Inner, place: &mut Place) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        let Some(_turn) = self.marks.turn_if_free().map_err(failed)? else { return Ok(()) };
        if !self.marks.others(&place.owner).map_err(failed)?.there.is_empty() {
            return Ok(());
        }
        let left = place.leases.as_ref().map_or(Ok(LeftOf::new()), |leases| leases.left(&place.owner));
        if let Err(error) = &left {
            place.unsaid += 1;
            if place.unsaid < TRIES {
                return Err(error.to_string());
            }
            tracing::error!(%error, "what the other process of this state folder had spent last is not known; what it told before counts");
        }
        place.unsaid = 0;
        // Nobody reads it any more. Where it cannot be removed it is emptied before it is used again.
        place.leases = None;
        let _ = Leases::remove(&self.marks.database());
        let said = left.is_ok();
        let mut left = left.unwrap_or_default();
        let accounts = inner.accounts.lock();
        self.shares.store(false, Ordering::Release);
        // INVARIANT: what others left before stays until a counter has it: whoever came since may have died before it said anything.
        let mut inherited = self.inherited.lock();
        for (name, before) in std::mem::take(&mut *inherited) {
            left.entry(name).or_default().add_months_of(before);
        }
        for (name, account) in &*accounts {
            let Some(counter) = account.counter.upgrade() else { continue };
            let mut of_counter = left.remove(name).unwrap_or_default();
            if !said {
                let before = std::mem::replace(&mut of_counter, counter.last_known());
                of_counter.add_months_of(before);
            }
            counter.own(&of_counter, now());
        }
        // Only what is spent is kept for counters that come later; what was used of a rate comes back by itself.
        left.retain(|_, left| !left.levels.is_empty());
        *inherited = left;
        drop(inherited);
        drop(accounts);
        tracing::info!("the other process has left: limits and budgets are this one's own again");
        Ok(())
    }

    /// A counter is new. It is called while the list of accounts is held.
    pub(super) fn enrol(&self, name: &str, counter: &dyn Counter) {
        if self.shares.load(Ordering::Acquire) {
            counter.share();
        } else if let Some(left) = self.inherited.lock().remove(name) {
            counter.own(&left, now());
        }
    }

    fn round(&self, inner: &Inner, place: &mut Place, looks: bool) -> Result<(), String> {
        let Some(leases) = &mut place.leases else { return Ok(()) };
        let mut asked: Vec<(Arc<Account>, Arc<dyn Counter>, Question)> = Vec::new();
        for (account, counter) in inner.rang(looks) {
            let questions = counter.questions(now());
            asked.extend(questions.into_iter().map(|question| (Arc::clone(&account), Arc::clone(&counter), question)));
        }
        let mut failed = Ok(());
        for slice in asked.chunks(MOST_AT_ONCE) {
            let sent_at = now();
            let questions = slice.iter().map(|(account, _, question)| (&*account.key, *question));
            // After an error the others are not asked: each would wait for a database that is busy.
            let answers = match &failed {
                Ok(()) => leases.ask(&place.owner, &place.others, questions).map_err(|error| error.to_string()),
                Err(_) => Ok(Vec::new()),
            };
            let answers: Vec<Option<Answer>> = match answers {
                Ok(answers) if failed.is_ok() => answers.into_iter().map(Some).collect(),
                Ok(_) => vec![None; slice.len()],
                Err(error) => {
                    failed = Err(error);
                    vec![None; slice.len()]
                }
            };
            for ((_, counter, question), answer) in slice.iter().zip(answers) {
                counter.learn(question, answer, sent_at);
            }
        }
        inner.status.lock().rounds += 1;
        failed
    }

    fn tell_a_last_time(&self, inner: &Inner, place: &mut Place) -> Result<(), String> {
        self.round(inner, place, true)?;
        let Some(leases) = &place.leases else { return Ok(()) };
        leases.leave(&place.owner).map_err(|error| error.to_string())
    }

    fn part(&self, inner: &Inner) {
        let mut own = self.place.lock();
        let Some(mut place) = own.take() else { return };
        // Also what was settled since the last question, which was a moment ago.
        let accounts: Vec<_> = inner.accounts.lock().values().cloned().collect();
        accounts.iter().filter_map(|account| account.counter.upgrade()).for_each(|counter| counter.tell_again());
        if self.shares.load(Ordering::Acquire)
            && let Err(error) = self.tell_a_last_time(inner, &mut place)
        {
            tracing::error!(%error, "what was used last was not told to the other process of this state folder; it counts what was held");
        }
        *self.reads.lock() = None;
        // Whoever shares with it finds a mark that nobody holds, and need not ask itself whether somebody removed it.
        if !self.shares.load(Ordering::Acquire) {
            self.marks.remove(&place.owner);
        }
    }
}

/// What is left of the accounts, by name.
pub(super) type LeftOf = BTreeMap<Arc<str>, Left>;
