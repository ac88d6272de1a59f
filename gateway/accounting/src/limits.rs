//! What an app or a key may use: tokens by the minute and money by the month.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

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
}

/// One minute, in which the whole limit comes back.
const MINUTE_NS: u64 = 60_000_000_000;

/// When to try again where only requests that run stand in the way; nobody knows when one of them ends.
const WHEN_HELD: Duration = Duration::from_secs(1);

/// Tokens by the minute: a bucket that refills evenly, kept as the time at which it will be full (GCRA with weights).
///
/// The limit lets as many tokens through at once. What an upstream reports beyond the reservation is taken as well, below
/// nothing if need be: the debt is paid by waiting and is never lost. A request that is larger than the whole limit is
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
        let Some(limit) = self.limit() else { return Ok(Taken { limit: 0, ns: 0 }) };
        let (now, ns) = (self.now(at), time_of(tokens, limit).min(MINUTE_NS));
        let more = |full_at: u64| {
            let ends = full_at.max(now).saturating_add(ns);
            (ends - now <= MINUTE_NS).then_some(ends)
        };
        match self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(Taken { limit, ns }),
            Err(full_at) => {
                // It fits when the rest is down to a minute less its own time.
                let wait = Duration::from_nanos((full_at - now).saturating_sub(MINUTE_NS - ns));
                Err(Denied::Tokens { limit, asked: tokens, retry_after: wait })
            }
        }
    }

    /// Replaces what was taken by what an upstream `reported`, and by what is `assumed` where none did: a minute's worth
    /// at most.
    pub(crate) fn correct(&self, taken: Taken, reported: Tokens, assumed: Tokens) {
        if taken.limit == 0 {
            return;
        }
        // By the limit under which it was taken, so that it comes back whole after a reload changed the limit.
        let assumed = time_of(assumed, taken.limit).min(MINUTE_NS);
        let used = time_of(reported, taken.limit).saturating_add(assumed);
        let corrected = |full_at: u64| Some(full_at.saturating_add(used).saturating_sub(taken.ns));
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

/// Money by the calendar month.
#[derive(Debug, Default)]
pub(crate) struct Purse(Mutex<Month>);

#[derive(Debug, Default)]
struct Month {
    limit: Option<Money>,
    number: u32,
    spent: Money,
    held: Money,
}

impl Month {
    /// A new month begins with nothing spent; what an earlier month holds is settled there.
    // INVARIANT: the number only grows, so what a month that is gone held is never taken from a later one.
    fn turn(&mut self, number: u32) {
        if number > self.number {
            (self.number, self.spent, self.held) = (number, Money::ZERO, Money::ZERO);
        }
    }
}

impl Purse {
    pub(crate) fn set(&self, limit: Option<Money>) {
        self.0.lock().limit = limit;
    }

    /// What the books say was spent in `month` before this process began.
    pub(crate) fn restore(&self, month: u32, spent: Money) {
        let mut purse = self.0.lock();
        purse.turn(month);
        if purse.number == month {
            purse.spent = purse.spent + spent;
        }
    }

    /// Holds `amount` until it is settled. Nothing is always held: it costs nothing.
    ///
    /// The month that holds it is given, for [`Purse::settle`]. It is later than that of `now` where another request has
    /// turned the month already.
    pub(crate) fn hold(&self, amount: Money, now: Moment) -> Result<u32, Denied> {
        let mut purse = self.0.lock();
        purse.turn(now.month);
        if let Some(limit) = purse.limit
            && amount > Money::ZERO
            && purse.spent + purse.held + amount > limit
        {
            let is_spent = purse.spent + amount > limit;
            return Err(Denied::Budget {
                limit,
                spent: purse.spent,
                held: purse.held,
                asked: amount,
                retry_after: if is_spent { now.month_left } else { WHEN_HELD },
            });
        }
        purse.held = purse.held + amount;
        Ok(purse.number)
    }

    /// What was held in `month` is spent, or given back.
    pub(crate) fn settle(&self, month: u32, held: Money, spent: Money) {
        let mut purse = self.0.lock();
        if purse.number == month {
            purse.held = purse.held.less(held);
            purse.spent = purse.spent + spent;
        }
    }

    pub(crate) fn standing(&self, month: u32) -> BudgetStanding {
        let mut purse = self.0.lock();
        purse.turn(month);
        BudgetStanding { limit: purse.limit, spent: purse.spent, held: purse.held }
    }
}

/// How a budget stands in this month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetStanding {
    /// Money per month; nothing where it is not bounded.
    pub limit: Option<Money>,
    /// Settled in this month.
    pub spent: Money,
    /// Held by requests that run.
    pub held: Money,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_minute: u64) -> (TokenRate, Instant) {
        let origin = Instant::now();
        let rate = TokenRate::new(origin);
        rate.set(Some(per_minute));
        (rate, origin)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn wait(denied: Result<Taken, Denied>) -> Duration {
        match denied {
            Err(Denied::Tokens { retry_after, .. }) => retry_after,
            other => panic!("it was let in: {other:?}"),
        }
    }

    #[test]
    fn a_minutes_tokens_go_through_at_once_and_come_back_evenly() {
        let (rate, start) = rate(600);

        assert!(rate.take(Tokens(600), start).is_ok());
        assert_eq!(wait(rate.take(Tokens(10), start)), seconds(1));
        assert!(rate.take(Tokens(10), start + seconds(1)).is_ok());
        assert_eq!(wait(rate.take(Tokens(1), start + seconds(1))), Duration::from_millis(100));
    }

    #[test]
    fn after_the_time_that_was_named_the_same_request_is_let_in() {
        let (rate, start) = rate(777);
        rate.take(Tokens(700), start).expect("it is the first");

        let after = wait(rate.take(Tokens(300), start));

        assert!(rate.take(Tokens(300), start + after - Duration::from_nanos(2)).is_err());
        assert!(rate.take(Tokens(300), start + after).is_ok());
    }

    #[test]
    fn what_was_reserved_and_not_used_comes_back() {
        let (rate, start) = rate(600);
        let taken = rate.take(Tokens(600), start).expect("it is the first");

        rate.correct(taken, Tokens(100), Tokens::ZERO);

        assert_eq!(rate.standing(start).map(|standing| standing.remaining), Some(500));
        assert!(rate.take(Tokens(500), start).is_ok());
    }

    #[test]
    fn what_was_used_beyond_the_reservation_is_a_debt_that_is_waited_for() {
        let (rate, start) = rate(600);
        let taken = rate.take(Tokens(10), start).expect("it is the first");

        rate.correct(taken, Tokens(1_200), Tokens::ZERO);

        assert_eq!(wait(rate.take(Tokens(10), start)), seconds(61));
        assert_eq!(rate.standing(start), Some(RateStanding { limit: 600, remaining: 0, full_in: seconds(120) }));
        assert!(rate.take(Tokens(10), start + seconds(61)).is_ok());
    }

    #[test]
    fn a_request_larger_than_the_limit_is_let_in_by_a_full_bucket_only_and_empties_it() {
        let (rate, start) = rate(600);
        rate.take(Tokens(1), start).expect("it is the first");

        let after = wait(rate.take(Tokens(6_000), start));

        assert_eq!(after, Duration::from_millis(100));
        assert!(rate.take(Tokens(6_000), start + after).is_ok());
        assert_eq!(wait(rate.take(Tokens(600), start + after)), seconds(60));
    }

    #[test]
    fn what_nobody_reported_is_a_debt_of_a_minute_at_most_beside_what_was_reported() {
        let (rate, start) = rate(600);
        let taken = rate.take(Tokens(10), start).expect("it is the first");

        rate.correct(taken, Tokens(1_200), Tokens(1 << 40));

        assert_eq!(rate.standing(start).map(|standing| standing.full_in), Some(seconds(180)));
    }

    #[test]
    fn a_rate_without_a_limit_lets_everything_through_and_says_nothing() {
        let rate = TokenRate::new(Instant::now());

        assert!(rate.take(Tokens(u64::MAX), Instant::now()).is_ok());
        assert_eq!(rate.standing(Instant::now()), None);
    }

    fn moment(month: u32) -> Moment {
        Moment { at: Instant::now(), month, month_left: seconds(1_000) }
    }

    #[test]
    fn a_budget_holds_what_runs_and_lets_no_request_begin_beyond_it() {
        let purse = Purse::default();
        purse.set(Some(Money(100)));

        purse.hold(Money(60), moment(1)).expect("there is room");
        let held = purse.hold(Money(50), moment(1)).expect_err("it is held");
        purse.settle(1, Money(60), Money(55));
        let spent = purse.hold(Money(50), moment(1)).expect_err("it is spent");

        let retry = |denied| match denied {
            Denied::Budget { retry_after, spent, held, .. } => (retry_after, spent, held),
            Denied::Tokens { .. } => panic!("no token is counted here"),
        };
        assert_eq!(retry(held), (WHEN_HELD, Money(0), Money(60)));
        assert_eq!(retry(spent), (seconds(1_000), Money(55), Money(0)));
        purse.hold(Money(45), moment(1)).expect("exactly the limit");
        purse.hold(Money::ZERO, moment(1)).expect("what costs nothing passes");
    }

    #[test]
    fn a_month_begins_with_nothing_spent_and_a_request_is_charged_to_the_month_it_began_in() {
        let purse = Purse::default();
        purse.set(Some(Money(100)));
        purse.restore(1, Money(90));
        purse.hold(Money(10), moment(1)).expect("there is room");

        purse.hold(Money(100), moment(2)).expect("a new month");
        purse.settle(1, Money(10), Money(500));

        assert_eq!(purse.standing(2), BudgetStanding { limit: Some(Money(100)), spent: Money(0), held: Money(100) });
        assert!(purse.hold(Money(1), moment(1)).is_err(), "time does not go back");
        assert_eq!(purse.hold(Money::ZERO, moment(1)), Ok(2), "who comes late is held by the new month");
    }

    proptest! {
        #[test]
        fn over_any_stretch_no_more_is_reserved_than_the_limit_and_what_refills(
            limit in 1_u64..100_000, asks in proptest::collection::vec((1_u64..5_000, 0_u64..3_000), 1..60)
        ) {
            let (rate, start) = rate(limit);
            let (mut at, mut through) = (start, 0_u128);
            for (tokens, gap) in asks {
                at += Duration::from_millis(gap);
                if rate.take(Tokens(tokens), at).is_ok() {
                    // What is larger than the bucket takes all of it.
                    through += u128::from(tokens.min(limit));
                }
            }
            let refilled = (at - start).as_nanos() * u128::from(limit) / u128::from(MINUTE_NS);
            // Rounding is one token a request.
            let bound = u128::from(limit) + refilled + 60;
            prop_assert!(through <= bound, "{through} > {bound}");
        }
    }
}
