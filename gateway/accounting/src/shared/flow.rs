//! Units of a rate: of a bucket that this gateway has for itself, or taken out of the store's in parts.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Answer, BELIEVED, Bell, Counter, Left, Pace, Question, Short, ahead_of, part_of};
use crate::limits::{Bucket, LONGEST_DEBT, RateStanding, Taken};

/// How long units that were taken ahead may lie here.
const LIES_FOR: Duration = Duration::from_secs(2);

/// Where they are in use they are asked for again so long before that time is over.
const RENEWED: Duration = Duration::from_secs(1);

/// A rate, of one gateway or of several that share it.
#[derive(Default)]
pub struct Flow {
    /// What is used while nobody shares it.
    own: Bucket,
    /// Nobody shares it. What it says counts where it is read under the lock.
    is_own: AtomicBool,
    state: Mutex<State>,
    bell: OnceLock<Bell>,
}

#[derive(Debug, Default)]
struct State {
    limit: Option<u64>,
    period: Duration,
    /// Taken from the store and not used. INVARIANT: nothing while something is owed.
    at_hand: u64,
    /// Used, and not taken from the store.
    owed: u64,
    good_until: Option<Instant>,
    /// What requests wait for: all together, and the smallest.
    short: u64,
    least: Option<u64>,
    pace: Pace,
    /// What was used before it was shared is to be told.
    joins: bool,
    /// Little is left here, and the bell was rung for it.
    rang: bool,
    /// The store gave all that was wanted when it was asked last.
    is_ample: bool,
    refused: Option<Refused>,
    /// What the store had left when it was asked last.
    left: u64,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    until: Instant,
    least: u64,
    fits_at: Instant,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("state", &*self.state.lock()).finish_non_exhaustive()
    }
}

impl Flow {
    /// So many units in a period, which several gateways share.
    #[must_use]
    pub fn new(limit: u64, period: Duration) -> Self {
        let flow = Self::default();
        flow.set(Some(limit), period);
        flow
    }

    /// One without a limit that nobody shares; its times count from `origin`.
    #[must_use]
    pub fn own(origin: Instant) -> Self {
        Self { own: Bucket::new(origin), is_own: AtomicBool::new(true), ..Self::default() }
    }

    /// Another limit; what lies here and what is owed stays, and of a lower one the same share: a debt is paid in the same time.
    pub fn set(&self, limit: Option<u64>, period: Duration) {
        let mut state = self.state.lock();
        if state.limit != limit {
            if let (Some(before), Some(limit)) = (state.limit, limit) {
                // INVARIANT: never more than was taken from the store.
                state.at_hand = state.at_hand.min(scaled(state.at_hand, before, limit));
                state.owed = state.owed.min(scaled(state.owed, before, limit));
            }
            state.left = limit.unwrap_or_default();
            state.refused = None;
        }
        (state.limit, state.period) = (limit, period);
        self.own.set(limit, period);
    }

    /// Takes units, or the whole limit where they are more; gives what was taken.
    ///
    /// # Errors
    ///
    /// [`Short`].
    pub fn take(&self, units: u64, now: Instant) -> Result<Taken, Short> {
        if self.is_own() {
            return self.own.take(units, now).map_err(|retry_after| Short::Refused { retry_after });
        }
        let mut state = self.state.lock();
        if self.is_own() {
            drop(state);
            return self.take(units, now);
        }
        let (taken, rings) = state.take(units, now);
        drop(state);
        if rings {
            self.ring();
        }
        taken.map(|units| self.own.taking(units, now))
    }

    /// What was taken is replaced by what an upstream `reported`, and by what is `assumed` where none did: a minute's worth at
    /// most.
    pub fn settle(&self, taken: Taken, reported: u64, assumed: u64) {
        if self.is_own() {
            return self.own.correct(taken, reported, assumed);
        }
        let mut state = self.state.lock();
        if self.is_own() {
            drop(state);
            return self.own.correct(taken, reported, assumed);
        }
        let used = reported.saturating_add(state.limit.map_or(assumed, |limit| assumed.min(limit)));
        let rings = state.correct(taken.units, used);
        drop(state);
        if rings {
            self.ring();
        }
    }

    /// Gives back what was taken a moment ago.
    pub fn give_back(&self, taken: Taken) {
        self.settle(taken, 0, 0);
    }

    /// In which all of it comes back.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.own.period()
    }

    /// Whether nobody shares it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_own.load(Ordering::Acquire)
    }

    /// How it stands, as far as this gateway knows; `None` without a limit.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Option<RateStanding> {
        if self.is_own() {
            return self.own.standing(now);
        }
        let state = self.state.lock();
        let limit = state.limit?;
        let remaining = state.left.saturating_add(state.at_hand).saturating_sub(state.owed).min(limit);
        Some(RateStanding { limit, remaining, full_in: time_of(limit - remaining, limit, state.period) })
    }

    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell();
        }
    }
}

impl State {
    /// What was taken, and whether the store is to be asked.
    fn take(&mut self, units: u64, now: Instant) -> (Result<u64, Short>, bool) {
        let Some(limit) = self.limit else { return (Ok(0), false) };
        let units = units.min(limit);
        if units == 0 {
            return (Ok(0), false);
        }
        if self.is_good(now) && self.at_hand >= units {
            self.at_hand -= units;
            self.pace.count(units, now);
            // Before nothing is left, so that nobody waits; once, and only where the store has enough.
            let is_low = self.is_ample && self.at_hand < ahead_of(limit, self.pace.lately(now)) / 8;
            return (Ok(units), is_low && !std::mem::replace(&mut self.rang, true));
        }
        if let Some(refused) = self.refused.filter(|refused| now < refused.until && units >= refused.least) {
            let more = time_of(units - refused.least, limit, self.period);
            let retry_after = refused.fits_at.saturating_duration_since(now) + more;
            return (Err(Short::Refused { retry_after }), false);
        }
        self.short = self.short.saturating_add(units);
        self.least = Some(self.least.map_or(units, |least| least.min(units)));
        (Err(Short::Unleased), true)
    }

    /// What was taken is replaced by what was used; whether the store is to be asked.
    fn correct(&mut self, taken: u64, used: u64) -> bool {
        let Some(limit) = self.limit else { return false };
        if used <= taken {
            let back = taken - used;
            let paid = self.owed.min(back);
            self.owed -= paid;
            self.at_hand += back - paid;
        } else {
            let more = (used - taken).min(limit.saturating_mul(LONGEST_DEBT));
            let paid = self.at_hand.min(more);
            self.at_hand -= paid;
            self.owe(more - paid, limit);
        }
        self.owed > 0 || self.at_hand > 2 * part_of(limit)
    }

    fn owe(&mut self, units: u64, limit: u64) {
        self.owed = self.owed.saturating_add(units).min(limit.saturating_mul(LONGEST_DEBT));
    }

    /// What was used before it was shared is owed to the store, of which nothing was taken for it.
    fn join(&mut self, used: u64) {
        let Some(limit) = self.limit else { return };
        let paid = self.at_hand.min(used);
        self.at_hand -= paid;
        self.owe(used - paid, limit);
    }

    fn is_good(&self, now: Instant) -> bool {
        self.good_until.is_some_and(|until| now < until)
    }

    fn question(&mut self, now: Instant) -> Option<Question> {
        let limit = self.limit?;
        self.rang = false;
        let (is_good, lately) = (self.is_good(now), self.pace.lately(now));
        let short = std::mem::take(&mut self.short);
        // Whoever rang while the store was asked finds by now what it gave.
        let least = self.least.take().filter(|_| !is_good || self.at_hand < short);
        let wanted = short.saturating_add(ahead_of(limit, lately)).min(limit);
        let is_idle = lately == 0 && short == 0;
        let keep = if is_idle { 0 } else { wanted.max(part_of(limit)) };
        let back = self.at_hand.saturating_sub(keep);
        let most = wanted.saturating_sub(self.at_hand);
        let is_low = most > 0 && self.at_hand < wanted - wanted / 8;
        let is_old = self.at_hand > 0 && !is_idle && self.good_until.is_none_or(|until| now + RENEWED > until);
        if least.is_none() && self.owed == 0 && back == 0 && !is_low && !is_old {
            return None;
        }
        self.at_hand -= back;
        let owed = signed(std::mem::take(&mut self.owed)) - signed(back);
        let least = least.map_or(most.min(1), |least| least.saturating_sub(self.at_hand));
        Some(Question::Flow { limit, period: self.period, owed, least, most })
    }
}

impl Counter for Flow {
    fn ring_by(&self, bell: Bell) {
        let _ = self.bell.set(bell);
    }

    fn questions(&self, now: Instant) -> Vec<Question> {
        let mut state = self.state.lock();
        if self.is_own() {
            return Vec::new();
        }
        if std::mem::take(&mut state.joins) {
            state.join(self.own.used(now));
        }
        state.question(now).into_iter().collect()
    }

    fn learn(&self, question: &Question, answer: Option<Answer>, sent_at: Instant) {
        let Question::Flow { owed, least, most, .. } = *question else { return };
        let mut state = self.state.lock();
        match answer {
            Some(Answer::Flow { granted, left, wait }) => {
                let paid = state.owed.min(granted);
                state.owed -= paid;
                state.at_hand += granted - paid;
                state.left = left;
                state.is_ample = granted >= most;
                state.good_until = Some(sent_at + LIES_FOR);
                let is_refused = most > 0 && granted < least;
                state.refused = is_refused.then(|| Refused {
                    until: sent_at + wait.min(BELIEVED),
                    least: least + state.at_hand,
                    fits_at: sent_at + wait,
                });
            }
            // Whether it was taken is not known: what is owed is told again, what was given back is not.
            _ => state.owed = state.owed.saturating_add(u64::try_from(owed).unwrap_or(0)),
        }
    }

    /// Whoever keeps it knows what was granted lately.
    fn tell_again(&self) {}

    fn share(&self) {
        let mut state = self.state.lock();
        if self.is_own.swap(false, Ordering::AcqRel) {
            let State { limit, period, .. } = *state;
            *state = State { limit, period, left: limit.unwrap_or_default(), joins: true, ..State::default() };
        }
    }

    fn own(&self, left: &Left, now: Instant) {
        let state = self.state.lock();
        if self.is_own() {
            return;
        }
        let untold = if state.joins { self.own.used(now) } else { state.owed };
        let left = left.flow.unwrap_or_default();
        let used = state.limit.map_or(0, |limit| units_of(left, limit, state.period));
        // What lies here was taken and is not used.
        let used = used.saturating_sub(state.at_hand).saturating_add(untold);
        self.own.use_up(used, now);
        self.is_own.store(true, Ordering::Release);
    }

    fn last_known(&self) -> Left {
        let state = self.state.lock();
        let flow = state.limit.map(|limit| time_of(limit.saturating_sub(state.left), limit, state.period));
        Left { flow, ..Left::default() }
    }

    fn is_busy(&self) -> bool {
        let state = self.state.lock();
        !self.is_own() && (state.joins || state.at_hand > 0 || state.owed > 0 || state.pace.is_counting())
    }
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

/// The same share of another limit.
fn scaled(units: u64, before: u64, limit: u64) -> u64 {
    u64::try_from(u128::from(units) * u128::from(limit) / u128::from(before.max(1))).unwrap_or(u64::MAX)
}

/// The units that come back in such a time, begun ones counted whole.
fn units_of(time: Duration, limit: u64, period: Duration) -> u64 {
    let units = (time.as_nanos() * u128::from(limit)).div_ceil(period.as_nanos().max(1));
    u64::try_from(units).unwrap_or(u64::MAX)
}

/// The time that so many units take to come back.
fn time_of(units: u64, limit: u64, period: Duration) -> Duration {
    let ns = u128::from(units) * period.as_nanos() / u128::from(limit.max(1));
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
