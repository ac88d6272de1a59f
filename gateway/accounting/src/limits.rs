//! What an app or a key may use: tokens by the minute and money by the month.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::money::Money;
use crate::tokens::Tokens;

/// The moment of a reservation or a settlement; the caller reads the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For rates.
    pub at: Instant,
    /// For budgets: the calendar month in UTC, as a number that grows by one each month.
    pub month: u32,
    /// What is left of that month.
    pub month_left: Duration,
}

/// The limits of one account. What is absent is not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Tokens per minute, input and output together.
    pub tokens_per_minute: Option<u64>,
    /// Money per calendar month, UTC.
    pub per_month: Option<Money>,
}

/// Why nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The tokens of the minute are used up.
    Tokens {
        /// The limit per minute.
        limit: u64,
        /// What the request would have taken.
        asked: Tokens,
        /// After this time the same request is let in, if no other comes before it and running ones use what they reserved.
        retry_after: Duration,
    },
    /// The money of the month is used up, or held by requests that run.
    Budget {
        /// The limit per month.
        limit: Money,
        /// What is spent.
        spent: Money,
        /// What running requests hold.
        held: Money,
        /// What the request would have taken.
        asked: Money,
        /// The end of the month where the money is spent; a second where running requests hold it.
        retry_after: Duration,
    },
    /// The part of a limit that several gateways share is used up here: the store is asked, and then it can be tried again.
    Unleased,
}

/// One minute, in which the whole limit comes back.
const MINUTE_NS: u64 = 60_000_000_000;

/// The longest that requests are shut out by what upstreams reported, counted from the latest reservation of those that
/// report: an hour.
///
/// An honest report is far below it: a limit that the longest answers exceed by an hour's tokens is no limit for them. A
/// server that reports nonsense must not switch an app off for years.
const LONGEST_DEBT_NS: u64 = 60 * MINUTE_NS;

/// When to try again where only requests that run stand in the way; nobody knows when one of them ends.
pub(crate) const WHEN_HELD: Duration = Duration::from_secs(1);

/// Tokens by the minute: a bucket that refills evenly, kept as the time at which it will be full (GCRA with weights).
///
/// The limit lets as many tokens through at once. What an upstream reports beyond the reservation is taken as well, below
/// nothing if need be: the debt is paid by waiting, an hour at most. A request that is larger than the whole limit is
/// let in by a full bucket and empties it: a caller may allow any number of output tokens, and what nobody reported must
/// not shut out those after it for longer than a minute.
#[derive(Debug)]
pub(crate) struct TokenRate {
    /// Zero for no bound.
    per_minute: AtomicU64,
    origin: Instant,
    /// When the bucket is full again, in nanoseconds after `origin`; in the past it is full.
    full_at: AtomicU64,
}

impl TokenRate {
    pub(crate) fn new(origin: Instant) -> Self {
        Self { per_minute: AtomicU64::new(0), origin, full_at: AtomicU64::new(0) }
    }

    /// A limit that changes keeps the time that is owed.
    pub(crate) fn set(&self, per_minute: Option<u64>) {
        self.per_minute.store(per_minute.unwrap_or(0), Ordering::Relaxed);
    }

    fn limit(&self) -> Option<u64> {
        Some(self.per_minute.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    fn now(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes `tokens`, or the whole bucket where they are more. What was taken is given, for [`TokenRate::correct`].
    pub(crate) fn take(&self, tokens: Tokens, at: Instant) -> Result<Taken, Denied> {
        let Some(limit) = self.limit() else { return Ok(Taken::default()) };
        let (now, ns) = (self.now(at), time_of(tokens, limit).min(MINUTE_NS));
        let more = |full_at: u64| {
            let ends = full_at.max(now).saturating_add(ns);
            (ends - now <= MINUTE_NS).then_some(ends)
        };
        match self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(Taken { limit, ns, at: now }),
            Err(full_at) => {
                // It fits when the rest is down to a minute less its own time.
                let wait = Duration::from_nanos((full_at - now).saturating_sub(MINUTE_NS - ns));
                Err(Denied::Tokens { limit, asked: tokens, retry_after: wait })
            }
        }
    }

    /// Replaces what was taken by what an upstream `reported`, and by what is `assumed` where none did: a minute's worth
    /// at most. A report fills the bucket's debt up to [`LONGEST_DEBT_NS`] and not beyond it.
    pub(crate) fn correct(&self, taken: Taken, reported: Tokens, assumed: Tokens) {
        if taken.limit == 0 {
            return;
        }
        // By the limit under which it was taken, so that it comes back whole after a reload changed the limit.
        let assumed = time_of(assumed, taken.limit).min(MINUTE_NS);
        let used = time_of(reported, taken.limit).saturating_add(assumed);
        let longest = taken.at.saturating_add(LONGEST_DEBT_NS);
        let corrected = |full_at: u64| {
            let without = full_at.saturating_sub(taken.ns);
            // What others owe already stays, whoever was admitted later.
            Some(without.saturating_add(used).min(longest.max(without)))
        };
        let _ = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, corrected);
    }

    /// Limit, what is left, and when it is full again; `None` without a limit.
    pub(crate) fn standing(&self, at: Instant) -> Option<RateStanding> {
        let limit = self.limit()?;
        let owed = self.full_at.load(Ordering::Relaxed).saturating_sub(self.now(at));
        let left = u128::from(MINUTE_NS.saturating_sub(owed)) * u128::from(limit) / u128::from(MINUTE_NS);
        Some(RateStanding {
            limit,
            remaining: u64::try_from(left).unwrap_or(limit),
            full_in: Duration::from_nanos(owed),
        })
    }
}

/// The time that `tokens` take to come back.
fn time_of(tokens: Tokens, per_minute: u64) -> u64 {
    u64::try_from(u128::from(tokens.0) * u128::from(MINUTE_NS) / u128::from(per_minute.max(1))).unwrap_or(u64::MAX)
}

/// What a reservation took from a rate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    limit: u64,
    ns: u64,
    /// When, in nanoseconds after the origin of the rate.
    at: u64,
}

/// How a rate stands, as `OpenAI`'s `x-ratelimit-*` headers say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateStanding {
    /// Tokens per minute.
    pub limit: u64,
    /// Tokens that could be taken now.
    pub remaining: u64,
    /// When all of them can, if nobody asks.
    pub full_in: Duration,
}

#[cfg(test)]
mod tests;
