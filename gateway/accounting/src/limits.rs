//! What an app or a key may use: tokens by the minute and money by the month.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::money::Money;
use crate::tokens::Tokens;

/// In which the tokens of a limit come back.
pub const MINUTE: Duration = Duration::from_secs(60);

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

/// The longest that requests are shut out by what upstreams reported, in periods, counted from the latest reservation of those
/// that report: an hour for a limit by the minute.
///
/// An honest report is far below it: a limit that the longest answers exceed by an hour's tokens is no limit for them. A
/// server that reports nonsense must not switch an app off for years.
pub(crate) const LONGEST_DEBT: u64 = 60;

/// When to try again where only requests that run stand in the way; nobody knows when one of them ends.
pub(crate) const WHEN_HELD: Duration = Duration::from_secs(1);

/// Units by the minute or the second, tokens or requests: a bucket that refills evenly, kept as the time at which it will be full
/// (GCRA with weights).
///
/// The limit lets as many units through at once. What an upstream reports beyond the reservation is taken as well, below
/// nothing if need be: the debt is paid by waiting, an hour at most. A request that is larger than the whole limit is
/// let in by a full bucket and empties it: a caller may allow any number of output tokens, and what nobody reported must
/// not shut out those after it for longer than a minute.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Zero for no bound.
    limit: AtomicU64,
    /// The time in which the whole limit comes back.
    period_ns: AtomicU64,
    /// The moment that times are counted from; the first that was seen where nobody said one.
    origin: OnceLock<Instant>,
    /// When the bucket is full again, in nanoseconds after `origin`; in the past it is full.
    full_at: AtomicU64,
}

impl Bucket {
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin: OnceLock::from(origin), ..Self::default() }
    }

    /// A limit that changes keeps the time that is owed.
    pub(crate) fn set(&self, limit: Option<u64>, period: Duration) {
        self.period_ns.store(u64::try_from(period.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.limit.store(limit.unwrap_or(0), Ordering::Relaxed);
    }

    fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    fn period_ns(&self) -> u64 {
        self.period_ns.load(Ordering::Relaxed).max(1)
    }

    pub(crate) fn period(&self) -> Duration {
        Duration::from_nanos(self.period_ns())
    }

    fn now(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(*self.origin.get_or_init(|| at)).as_nanos()).unwrap_or(u64::MAX)
    }

    /// What taking so many units means, or the whole bucket where they are more; nothing without a limit.
    pub(crate) fn taking(&self, units: u64, at: Instant) -> Taken {
        let Some(limit) = self.limit() else { return Taken::default() };
        let period = self.period_ns();
        Taken { limit, units: units.min(limit), ns: time_of(units, limit, period).min(period), at: self.now(at) }
    }

    /// Takes `units`, or the whole bucket where they are more. What was taken is given, for [`Bucket::correct`].
    ///
    /// # Errors
    ///
    /// The time after which they would fit.
    pub(crate) fn take(&self, units: u64, at: Instant) -> Result<Taken, Duration> {
        let taken = self.taking(units, at);
        let Taken { limit, ns, at: now, .. } = taken;
        if limit == 0 {
            return Ok(taken);
        }
        let period = self.period_ns();
        let more = |full_at: u64| {
            let ends = full_at.max(now).saturating_add(ns);
            (ends - now <= period).then_some(ends)
        };
        match self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(taken),
            // It fits when the rest is down to a period less its own time.
            Err(full_at) => Err(Duration::from_nanos((full_at - now).saturating_sub(period - ns))),
        }
    }

    /// Replaces what was taken by what an upstream `reported`, and by what is `assumed` where none did: a period's worth
    /// at most. A report fills the bucket's debt up to [`LONGEST_DEBT`] periods and not beyond it.
    pub(crate) fn correct(&self, taken: Taken, reported: u64, assumed: u64) {
        if taken.limit == 0 {
            return;
        }
        let period = self.period_ns();
        // By the limit under which it was taken, so that it comes back whole after a reload changed the limit.
        let assumed = time_of(assumed, taken.limit, period).min(period);
        let used = time_of(reported, taken.limit, period).saturating_add(assumed);
        let longest = taken.at.saturating_add(period.saturating_mul(LONGEST_DEBT));
        let corrected = |full_at: u64| {
            let without = full_at.saturating_sub(taken.ns);
            // What others owe already stays, whoever was admitted later.
            Some(without.saturating_add(used).min(longest.max(without)))
        };
        let _ = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, corrected);
    }

    /// Limit, what is left, and when it is full again; `None` without a limit.
    pub(crate) fn standing(&self, at: Instant) -> Option<RateStanding> {
        let (limit, period) = (self.limit()?, self.period_ns());
        let owed = self.full_at.load(Ordering::Relaxed).saturating_sub(self.now(at));
        let left = u128::from(period.saturating_sub(owed)) * u128::from(limit) / u128::from(period);
        Some(RateStanding {
            limit,
            remaining: u64::try_from(left).unwrap_or(limit),
            full_in: Duration::from_nanos(owed),
        })
    }

    /// Units that are used and not back yet, begun ones counted whole.
    pub(crate) fn used(&self, at: Instant) -> u64 {
        let Some(limit) = self.limit() else { return 0 };
        let owed = self.full_at.load(Ordering::Acquire).saturating_sub(self.now(at));
        let units = (u128::from(owed) * u128::from(limit)).div_ceil(u128::from(self.period_ns()));
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// From now on so many units are used, and come back with time.
    pub(crate) fn use_up(&self, units: u64, at: Instant) {
        let owed = self.limit().map_or(0, |limit| time_of(units, limit, self.period_ns()));
        self.full_at.store(self.now(at).saturating_add(owed), Ordering::Release);
    }
}

/// The time that so many units take to come back.
fn time_of(units: u64, limit: u64, period_ns: u64) -> u64 {
    u64::try_from(u128::from(units) * u128::from(period_ns) / u128::from(limit.max(1))).unwrap_or(u64::MAX)
}

/// What was taken from a rate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    limit: u64,
    pub(crate) units: u64,
    ns: u64,
    /// When, in nanoseconds after the origin of the rate.
    at: u64,
}

impl Taken {
    /// So many units of a rate that is shared.
    #[must_use]
    pub fn of(units: u64) -> Self {
        Self { units, ..Self::default() }
    }
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
