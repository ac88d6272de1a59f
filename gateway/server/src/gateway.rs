//! The few long-lived owners that requests share.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::SystemTime;

use accounting::Money;
use arc_swap::ArcSwap;
use ingress::body::BodyBudget;
use ledger::{Known, Ledger, LedgerError, Reads, Spent, Told, Whose};
use parking_lot::Mutex;
use telemetry::audit::{AdminEvent, AuditLog};
use telemetry::capture::Vault;
use telemetry::metrics::Metrics;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tower::retry::budget::TpsBudget;

use crate::break_glass::BreakGlass;
use crate::export::Export;
use crate::issuers::KeySource;
use crate::known_spending;
use crate::last_used::LastUsed;
use crate::pipeline;
use crate::restrictions::Holding;
use crate::snapshot::{BudgetSpendings, Snapshot};

/// One gateway: the snapshot in force, and what outlives snapshots.
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    /// Held while a snapshot comes into force, and while the store is told what was read for the one in force: what was read for
    /// an earlier one, with fewer limits, must not take the place of what a reload tells.
    telling: Mutex<()>,
    /// Where decisions are written before anything is sent.
    pub audit: AuditLog,
    /// Where money is written before anything is sent, and settled.
    pub ledger: Ledger,
    /// What is counted.
    pub metrics: Metrics,
    /// What waits for the collector.
    pub export: Export,
    /// Where prompts and answers are kept of apps that have that; nowhere until it is opened.
    pub captures: Vault,
    /// The bytes that all request bodies together may hold.
    pub body_budget: BodyBudget,
    /// The part of them that may wait for a place.
    pub(crate) waiting_budget: BodyBudget,
    /// The bytes of what administrators send: callers cannot use them up.
    pub(crate) admin_budget: BodyBudget,
    /// What administrators hold back; empty, and kept nowhere, until it is opened.
    pub restrictions: Arc<Holding>,
    /// When keys were last used, over a restart; kept nowhere until it is opened.
    pub last_used: Arc<LastUsed>,
    /// Grants for an emergency that are open.
    pub break_glass: BreakGlass,
    /// Retries that may have been executed already, as a share of requests.
    pub retry_budget: TpsBudget,
    /// Lets one refused credential a second into the log.
    pub(crate) unauthenticated_sample: OncePerSecond,
    /// How many refused administrators are written to the audit log.
    pub(crate) refused_administrators: PerSecond,
    phase: AtomicU8,
    refreshed: Notify,
}

/// Where the process stands in its life; readiness follows from it and from nothing an upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The listeners are not open yet.
    Starting = 0,
    /// Serving.
    Ready = 1,
    /// Told to leave: readiness fails, requests in flight finish.
    Draining = 2,
}

/// Share of requests that may be sent a second time though the first may have been executed, in percent.
const RETRY_PERCENT: f32 = 0.2;

/// Such retries that are always allowed, per second, so that a quiet gateway can fail over at all.
const RETRIES_PER_SECOND: u32 = 10;

/// How often the results of active probes are looked at; the probes themselves come at their own intervals.
const LOOK_AT_PROBES: std::time::Duration = std::time::Duration::from_millis(250);

/// Bytes that the bodies of administrators' requests may hold together.
const ADMIN_BYTES: usize = 1 << 20;

/// How long a deposit counts.
const RETRY_WINDOW: std::time::Duration = std::time::Duration::from_secs(10);

impl Gateway {
    /// A gateway in its starting phase.
    ///
    /// # Errors
    ///
    /// When the ledger cannot say what was spent this month: budgets would begin at nothing.
    pub fn new(
        snapshot: Snapshot,
        audit: AuditLog,
        ledger: Ledger,
        metrics: Metrics,
    ) -> Result<Arc<Self>, LedgerError> {
        inspection::prepare();
        snapshot.take_effect();
        let spendings = Spendings::of(&snapshot, &ledger)?;
        spendings.restore(&snapshot);
        if let Some(sharing) = &snapshot.sharing {
            sharing.counters.tell(known_spending::known(&snapshot, &ledger)?);
        }
        snapshot.counters().serve();
        snapshot.counters().tells(spendings.reads);
        let body_budget = BodyBudget::new(snapshot.max_buffered_bytes);
        let waiting_budget = BodyBudget::new(snapshot.waiting.all);
        metrics.set_configuration(&snapshot.hash, snapshot.loaded, false);
        Ok(Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            telling: Mutex::default(),
            audit,
            ledger,
            metrics,
            export: Export::default(),
            captures: Vault::default(),
            body_budget,
            waiting_budget,
            admin_budget: BodyBudget::new(ADMIN_BYTES),
            restrictions: Arc::default(),
            last_used: Arc::default(),
            break_glass: BreakGlass::default(),
            retry_budget: TpsBudget::new(RETRY_WINDOW, RETRIES_PER_SECOND, RETRY_PERCENT),
            unauthenticated_sample: OncePerSecond::default(),
            refused_administrators: PerSecond::default(),
            phase: AtomicU8::new(Phase::Starting as u8),
            refreshed: Notify::new(),
        }))
    }

    /// The configuration in force. A request takes it once and keeps it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// What was spent this month by those whose books are new in `next`, and what the store is to be told for its new limits.
    ///
    /// # Errors
    ///
    /// When the ledger cannot say: `next` must not come into force then.
    pub fn spendings(&self, next: &Snapshot) -> Result<Spendings, LedgerError> {
        let own = Spendings::of(next, &self.ledger)?;
        let is_told = next.has_new_limits(own.month);
        let known = is_told.then(|| known_spending::known(next, &self.ledger)).transpose()?;
        Ok(Spendings { known, ..own })
    }

    /// Puts a snapshot in force, whole. Requests in flight keep the one they started with.
    pub fn put_in_force(&self, next: Snapshot, mut spendings: Spendings) {
        let telling = self.telling.lock();
        // INVARIANT: before the store can be asked of what is limited from now on.
        if let (Some(sharing), Some(known)) = (&next.sharing, spendings.known.take()) {
            sharing.counters.tell(known);
        }
        self.metrics.set_configuration(&next.hash, next.loaded, false);
        self.body_budget.resize(next.max_buffered_bytes);
        spendings.take_the_place_of_what_others_left(&next);
        next.take_effect();
        self.waiting_budget.resize(next.waiting.all);
        next.apps().for_each(|app| app.waiting.resize(next.waiting.of_one_app));
        spendings.restore(&next);
        next.counters().tells(spendings.reads);
        if let Some(postgres) = next.books.clone() {
            self.ledger.reach_by(postgres);
        }
        self.snapshot.store(Arc::new(next));
        drop(telling);
        self.refreshed.notify_one();
    }

    /// Tells the store what was read for this snapshot; not where another is in force by now.
    pub(crate) fn tell(&self, read_for: &Arc<Snapshot>, known: Vec<Known>) -> bool {
        let _telling = self.telling.lock();
        let is_in_force = Arc::ptr_eq(&self.snapshot(), read_for);
        if let (true, Some(sharing)) = (is_in_force, &read_for.sharing) {
            sharing.counters.tell(known);
        }
        is_in_force
    }

    /// Keeps the connections of the snapshot in force, and of each that follows it: warm-up, health probes, closing what
    /// idles. The tasks run on the runtime of the caller.
    pub async fn tend(self: &Arc<Self>) {
        let mut look = tokio::time::interval(LOOK_AT_PROBES);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let snapshot = self.snapshot();
            snapshot.fleet.start();
            snapshot.key_sources.iter().for_each(KeySource::start);
            snapshot.planes.iter().for_each(|plane| plane.start(self));
            let looked_at = snapshot.is_probed() || snapshot.is_scraped();
            tokio::select! {
                () = self.refreshed.notified() => continue,
                _ = look.tick(), if looked_at => {
                    snapshot.heed_probes();
                    snapshot.heed_pages();
                }
            }
        }
    }

    /// Where the process stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Moves on; a process that drains never becomes ready again.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// Says in the audit log of how many refusals it has no entry: `detail` says whose they are, and how many.
    ///
    /// A refusal stands even where it cannot be recorded. Where this finds no room to wait, the log counts so many more as lost.
    pub(crate) fn note_unwritten(&self, at: SystemTime, detail: &str, unwritten: u64) {
        let action = "refusals_not_written";
        let event = AdminEvent { at, action, actor: "process", done: true, configuration: None, detail };
        if let Err(error) = self.audit.admin_refused(&event, unwritten) {
            tracing::error!(%error, %detail, "refusals could not be recorded");
        }
    }
}

/// What the ledger says was spent in a month.
#[derive(Debug)]
pub struct Spendings {
    month: u32,
    spent: Vec<Spent>,
    budgets: BudgetSpendings,
    /// What other processes of the state folder tell that was spent, before the ledger was asked.
    told: Told,
    /// The turn to take it over: no other process of the state folder begins to limit the same thing meanwhile.
    reads: Reads,
    /// What the store is to be told of all gateways; nothing where it was told of every limit before.
    known: Option<Vec<Known>>,
}

impl Spendings {
    /// Asks at every start, and at a reload that brings new apps or keys.
    fn of(snapshot: &Snapshot, ledger: &Ledger) -> Result<Self, LedgerError> {
        let now = SystemTime::now();
        let month = pipeline::month_of(now);
        let nothing = Self {
            month,
            spent: Vec::new(),
            budgets: BudgetSpendings::default(),
            told: Told::default(),
            reads: Reads::default(),
            known: None,
        };
        if snapshot.new_books().next().is_none() && !snapshot.budgets.has_new() {
            return Ok(nothing);
        }
        // Beside another process of the same state folder each tells the shared store its own.
        if snapshot.sharing.as_ref().is_some_and(|sharing| !sharing.counters.is_alone()) {
            return Ok(nothing);
        }
        // Of several gateways each tells the shared store its own. Where nobody shares, all that the ledger knows counts.
        let whose = if snapshot.sharing.is_some() { Whose::OfThisGateway } else { Whose::OfAll };
        let reads = snapshot.counters().reads();
        // INVARIANT: asked before the ledger. What another process settles in between is in what the ledger says and not in what
        // it told: it is counted twice at worst, and not left out.
        let told = snapshot.counters().told().map_err(|source| LedgerError::Shared { source })?;
        // What the journal holds counts as well.
        ledger.carry_over()?;
        let first = |month| accounting::Day::first_of(month).days().unsigned_abs();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let budgets = snapshot.budgets.spendings(ledger, seconds, whose)?;
        let spent = ledger.spent((first(month), first(month + 1)), whose)?;
        Ok(Self { month, spent, budgets, told, reads, known: None })
    }

    /// What the ledger says of an account holds what another process of the state folder, which is gone, had spent of it.
    fn take_the_place_of_what_others_left(&self, snapshot: &Snapshot) {
        let books: HashSet<String> = snapshot.new_books().map(|book| book.account()).collect();
        let is_new = |name: &str| books.contains(name) || snapshot.budgets.has_new_account(name);
        snapshot.counters().forget(is_new);
    }

    /// Tells the books that are new in this snapshot, but for what other processes of the state folder tell of them.
    fn restore(&self, snapshot: &Snapshot) {
        for book in snapshot.new_books() {
            let is_own = |spent: &&Spent| *spent.app == *book.app && book.key.is_none_or(|key| *spent.key == *key);
            let spent: Money = self.spent.iter().filter(is_own).map(|spent| spent.money).sum();
            book.book.restore(self.month, spent.less(self.told.of(&book.account(), self.month)));
        }
        snapshot.budgets.restore(&self.budgets, &self.told);
    }
}

/// Says yes at most once in each second of the clock.
#[derive(Debug, Default)]
pub(crate) struct OncePerSecond(AtomicU64);

impl OncePerSecond {
    pub(crate) fn is_due(&self, at: SystemTime) -> bool {
        let second = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.0.swap(second, Ordering::Relaxed) != second
    }
}

/// Refusals of one app that are written to the audit log in one second; the rest are counted.
///
/// An app that asks in vain as fast as it can must not fill the disk, because a full disk refuses everybody.
const REFUSALS_PER_SECOND: u64 = 50;

/// Lets so many events a second through, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct PerSecond(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    second: u64,
    taken: u64,
    unwritten: u64,
}

/// Whether an event goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It does.
    Yes,
    /// It does, and it is the first after some that did not.
    YesAfter {
        /// How many did not.
        unwritten: u64,
    },
    /// It is counted.
    No,
}

impl PerSecond {
    pub(crate) fn take(&self, at: SystemTime) -> Taken {
        let second = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut window = self.0.lock();
        if window.second != second {
            (window.second, window.taken) = (second, 0);
        }
        if window.taken >= REFUSALS_PER_SECOND {
            window.unwritten += 1;
            return Taken::No;
        }
        window.taken += 1;
        match std::mem::take(&mut window.unwritten) {
            0 => Taken::Yes,
            unwritten => Taken::YesAfter { unwritten },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn refusals_beyond_the_bound_are_counted_and_told_with_the_next_that_is_written() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let refusals = PerSecond::default();

        let written = (0..REFUSALS_PER_SECOND + 3).filter(|_| refusals.take(at) == Taken::Yes).count() as u64;

        assert_eq!(written, REFUSALS_PER_SECOND);
        assert_eq!(refusals.take(at + Duration::from_secs(1)), Taken::YesAfter { unwritten: 3 });
        assert_eq!(refusals.take(at + Duration::from_secs(1)), Taken::Yes);
    }

    #[test]
    fn one_refused_credential_a_second_is_said() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let sample = OncePerSecond::default();

        assert_eq!([at, at, at + Duration::from_secs(1)].map(|at| sample.is_due(at)), [true, false, true]);
    }
}
