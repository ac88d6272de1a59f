//! What a gateway may go up to, and until when.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Answer, BELIEVED, Bell, Counter, GOOD_FOR, Left, Pace, Question, Short, ahead_of};

/// When a caller should come back that met a level at its limit: nobody knows when somebody gives back.
const WHEN_HELD: Duration = Duration::from_secs(1);

/// So long after the store was asked it is not asked again where what it gave is enough for those who wait.
const RESTS: Duration = Duration::from_millis(250);

/// The part of a level that was leased.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lease {
    ceiling: u64,
    /// When the store was asked that gave it.
    since: Option<Instant>,
    refused: Option<Refused>,
    /// What requests wait for: all together, and the smallest.
    short: u64,
    least: Option<u64>,
    pace: Pace,
    /// What was wanted ahead of need when the store was asked last; none where it gave less, or where little of it is left and it
    /// is to be asked again.
    ahead: Option<u64>,
    /// What the others may come to, and what of it is used up for good, when the store was asked last.
    others: u64,
    pub(crate) spent_by_others: u64,
}

/// The store had no room up to here, and is believed for a moment. What is smaller may fit.
#[derive(Clone, Copy, Debug)]
struct Refused {
    until: Instant,
    from: u64,
}

/// What the store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) holds: u64,
    pub(crate) least: u64,
    pub(crate) need: u64,
    pub(crate) want: u64,
}

impl Lease {
    /// Whether `amount` fits on top of what is `used`, and whether the store is to be asked.
    pub(crate) fn fits(&mut self, used: u64, amount: u64, now: Instant) -> (Result<(), Short>, bool) {
        let after = used.saturating_add(amount);
        if self.is_younger_than(GOOD_FOR, now) && after <= self.ceiling {
            self.pace.count(amount, now);
            // Before nothing is left, so that nobody waits; once, and only where the store has enough.
            let is_low = self.ahead.take_if(|ahead| self.ceiling - after < *ahead / 8).is_some();
            return (Ok(()), is_low);
        }
        if self.refused.is_some_and(|refused| now < refused.until && after >= refused.from) {
            return (Err(Short::Refused { retry_after: WHEN_HELD }), false);
        }
        self.short = self.short.saturating_add(amount);
        self.least = Some(self.least.map_or(amount, |least| least.min(amount)));
        (Err(Short::Unleased), true)
    }

    /// What to go up to for those who wait, and ahead of need; nothing where the store gave enough a moment ago.
    ///
    /// What is not wanted any more is given up here first, and all that lies here ahead where it is too little for the smallest
    /// that waits: of several gateways that each hold too little, the first that asks leaves its own to the others.
    // INVARIANT: while the question is on its way nothing is let in beyond what it says is held, and the store gives nothing of
    // that to anybody else.
    pub(crate) fn wanted(&mut self, used: u64, limit: u64, now: Instant) -> Option<Wanted> {
        let ahead = ahead_of(limit, self.pace.lately(now));
        let need = used.saturating_add(std::mem::take(&mut self.short));
        let least = used.saturating_add(self.least.take().unwrap_or_default());
        let want = need.saturating_add(ahead);
        // Whoever rang while the store was asked finds by now what it gave.
        if self.is_younger_than(RESTS, now) && self.ahead.is_some() && need <= self.ceiling {
            return None;
        }
        let is_of_use = self.is_younger_than(GOOD_FOR, now) && self.ceiling >= least;
        self.ceiling = self.ceiling.min(if is_of_use { want } else { used });
        Some(Wanted { holds: self.ceiling.max(used), least, need, want })
    }

    /// What came of a question that was sent at `sent_at`.
    pub(crate) fn learn(&mut self, asked: (u64, Wanted), answer: Option<Answer>, sent_at: Instant) {
        let (used, Wanted { least, need, want, .. }) = asked;
        let Some(Answer::Level { ceiling, others, spent }) = answer else { return };
        self.ceiling = ceiling;
        self.since = Some(sent_at);
        self.ahead = (ceiling >= want).then_some(want - need);
        (self.others, self.spent_by_others) = (others, spent);
        let refuses = least > used && ceiling < least;
        self.refused = refuses.then(|| Refused { until: sent_at + BELIEVED, from: least });
    }

    /// The store has forgotten: it is asked whatever it gave.
    pub(crate) fn tell_again(&mut self) {
        self.ahead = None;
    }

    fn is_younger_than(&self, age: Duration, now: Instant) -> bool {
        self.since.is_some_and(|since| now < since + age)
    }

    /// What the others hold or have used up, as far as it is known.
    pub(crate) fn others(&self) -> u64 {
        self.others
    }

    /// What lies here unused.
    pub(crate) fn is_ahead_of(&self, used: u64) -> bool {
        self.ceiling > used || self.short > 0
    }
}

/// Requests in flight, of one gateway or of several together.
#[derive(Default)]
pub struct Seats {
    taken: AtomicU32,
    /// [`u64::MAX`] for no bound; read where nobody shares it.
    most: AtomicU64,
    /// Nobody shares it. What it says counts where it is read under the lock.
    is_own: AtomicBool,
    state: Mutex<State>,
    bell: OnceLock<Bell>,
}

#[derive(Debug, Default)]
struct State {
    limit: Option<u64>,
    lease: Lease,
    /// The store was told that nothing is used here.
    gone: bool,
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, state, .. } = self;
        f.debug_struct("Seats").field("taken", taken).field("state", &*state.lock()).finish_non_exhaustive()
    }
}

impl Seats {
    /// So many at once, of several gateways.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        let seats = Self::default();
        seats.set(Some(limit));
        seats
    }

    /// Without a bound, of this gateway alone.
    #[must_use]
    pub fn own() -> Self {
        Self { most: AtomicU64::new(u64::MAX), is_own: AtomicBool::new(true), ..Self::default() }
    }

    /// Another limit; what is used stays.
    pub fn set(&self, limit: Option<u64>) {
        self.state.lock().limit = limit;
        self.most.store(limit.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Seats that are taken here.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes one seat, which [`Seats::leave`] gives back.
    ///
    /// # Errors
    ///
    /// [`Short`].
    pub fn enter(&self, now: Instant) -> Result<(), Short> {
        if self.is_own.load(Ordering::Acquire) {
            let most = self.most.load(Ordering::Relaxed);
            let more = |taken: u32| (u64::from(taken) < most).then(|| taken.saturating_add(1));
            let entered = self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more);
            return entered.map(drop).map_err(|_| Short::Refused { retry_after: WHEN_HELD });
        }
        let mut state = self.state.lock();
        if self.is_own.load(Ordering::Acquire) {
            drop(state);
            return self.enter(now);
        }
        if state.limit.is_none() {
            self.taken.fetch_add(1, Ordering::AcqRel);
            return Ok(());
        }
        let (fits, rings) = state.lease.fits(self.used(), 1, now);
        if fits.is_ok() {
            self.taken.fetch_add(1, Ordering::AcqRel);
            state.gone = false;
        }
        drop(state);
        if rings && let Some(bell) = self.bell.get() {
            bell();
        }
        fits
    }

    /// Gives a seat back.
    pub fn leave(&self) {
        let less = |taken: u32| Some(taken.saturating_sub(1));
        let _ = self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less);
    }

    fn used(&self) -> u64 {
        u64::from(self.taken.load(Ordering::Acquire))
    }
}

impl Counter for Seats {
    fn ring_by(&self, bell: Bell) {
        let _ = self.bell.set(bell);
    }

    fn questions(&self, now: Instant) -> Vec<Question> {
        let mut state = self.state.lock();
        let Some(limit) = state.limit.filter(|_| !self.is_own.load(Ordering::Acquire)) else { return Vec::new() };
        let used = self.used();
        let Some(wanted) = state.lease.wanted(used, limit, now) else { return Vec::new() };
        let Wanted { holds, least, need, want } = wanted;
        if std::mem::replace(&mut state.gone, want == 0) && want == 0 {
            return Vec::new();
        }
        vec![Question::Level { month: None, limit, used, kept: 0, spent: 0, holds, least, need, want }]
    }

    fn learn(&self, question: &Question, answer: Option<Answer>, sent_at: Instant) {
        let Question::Level { used, holds, least, need, want, .. } = *question else { return };
        let mut state = self.state.lock();
        state.lease.learn((used, Wanted { holds, least, need, want }), answer, sent_at);
    }

    fn tell_again(&self) {
        let mut state = self.state.lock();
        state.gone = false;
        state.lease.tell_again();
    }

    fn is_busy(&self) -> bool {
        let state = self.state.lock();
        let is_shared = state.limit.is_some() && !self.is_own.load(Ordering::Acquire);
        is_shared && (self.used() > 0 || state.lease.is_ahead_of(0))
    }

    fn share(&self) {
        let mut state = self.state.lock();
        if self.is_own.swap(false, Ordering::AcqRel) {
            (state.lease, state.gone) = (Lease::default(), false);
        }
    }

    /// Whoever is gone holds nothing.
    fn own(&self, _left: &Left, _now: Instant) {
        let _state = self.state.lock();
        self.is_own.store(true, Ordering::Release);
    }

    fn last_known(&self) -> Left {
        Left::default()
    }
}

#[cfg(test)]
mod tests;
