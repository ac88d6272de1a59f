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

/// The longest that requests are shut out by what upstreams reported, counted from the latest reservation of those that
/// report: an hour.
///
/// An honest report is far below it: a limit that the longest answers exceed by an hour's tokens is no limit for them. A
/// server that reports nonsense must not switch an app off for years.
const LONGEST_DEBT_NS: u64 = 60 * MINUTE_NS;

/// When to try again where only requests that run stand in the way; nobody knows when one of them ends.
const WHEN_HELD: Duration = Duration::from_secs(1);

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

/// Money by the calendar month.
#[derive(Debug, Default)]
pub(crate) struct Purse(Mutex<Months>);

/// A stretch in which the calendar said the same month, by its number; it grows with each turn of the month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Era(u64);

#[derive(Debug, Default)]
struct Months {
    limit: Option<Money>,
    /// The month that counts.
    now: Month,
    /// The one before it, for a calendar that was ahead and is put right.
    before: Option<Month>,
    /// When `now` began to count, by the clock that never goes back; `None` while no request has come.
    turned: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Month {
    number: u32,
    /// The eras whose requests it holds and pays for.
    first: Era,
    last: Era,
    spent: Money,
    held: Money,
}

impl Month {
    fn pays_for(&self, era: Era) -> bool {
        (self.first..=self.last).contains(&era)
    }
}

impl Months {
    /// A later month begins with nothing spent.
    ///
    /// An earlier one is either a request that read its clocks before the turn and comes after it: the new month holds it.
    /// Or the calendar was ahead and has been put right: then what the month ahead has seen counts in the month that it
    /// really was, beside what was spent there before. Which of the two it is, the other clock says. Two months are
    /// remembered, so of a calendar that jumps ahead twice before it is put right the first is lost.
    // INVARIANT: what the two months hold and have spent is never forgotten by going back.
    fn turn(&mut self, to: u32, at: Instant) {
        let went_back = to < self.now.number && self.turned.is_none_or(|turned| at > turned);
        if to > self.now.number {
            let era = Era(self.now.last.0 + 1);
            let begun = Month { number: to, first: era, last: era, ..Month::default() };
            self.before = Some(std::mem::replace(&mut self.now, begun));
            self.turned = Some(at);
        } else if went_back {
            self.now.number = to;
            if let Some(before) = self.before.take_if(|before| before.number >= to) {
                self.now.first = before.first;
                self.now.spent = self.now.spent + before.spent;
                self.now.held = self.now.held + before.held;
            }
            self.turned = Some(at);
        } else {
            self.turned.get_or_insert(at);
        }
    }

    fn paying(&mut self, era: Era) -> Option<&mut Month> {
        let months = [Some(&mut self.now), self.before.as_mut()];
        months.into_iter().flatten().find(|month| month.pays_for(era))
    }
}

impl Purse {
    pub(crate) fn set(&self, limit: Option<Money>) {
        self.0.lock().limit = limit;
    }

    /// What the books say was spent in `month` before this process began.
    pub(crate) fn restore(&self, month: u32, spent: Money) {
        let now = &mut self.0.lock().now;
        if month > now.number {
            (now.number, now.spent) = (month, Money::ZERO);
        }
        if now.number == month {
            now.spent = now.spent + spent;
        }
    }

    /// Holds `amount` until it is settled. Nothing is always held: it costs nothing.
    ///
    /// What holds it is given, for [`Purse::settle`].
    pub(crate) fn hold(&self, amount: Money, now: Moment) -> Result<Era, Denied> {
        let mut months = self.0.lock();
        months.turn(now.month, now.at);
        let (limit, month) = (months.limit, &mut months.now);
        if let Some(limit) = limit
            && amount > Money::ZERO
            && month.spent + month.held + amount > limit
        {
            let is_spent = month.spent + amount > limit;
            return Err(Denied::Budget {
                limit,
                spent: month.spent,
                held: month.held,
                asked: amount,
                retry_after: if is_spent { now.month_left } else { WHEN_HELD },
            });
        }
        month.held = month.held + amount;
        Ok(month.last)
    }

    /// What was held since `era` is spent, or given back, in the month that it belongs to.
    pub(crate) fn settle(&self, era: Era, held: Money, spent: Money) {
        if let Some(month) = self.0.lock().paying(era) {
            month.held = month.held.less(held);
            month.spent = month.spent + spent;
        }
    }

    /// How it stands in `month`, as far as the requests so far tell: a month that none has come in has spent nothing.
    pub(crate) fn standing(&self, month: u32) -> BudgetStanding {
        let months = self.0.lock();
        let counts = if month > months.now.number { Month::default() } else { months.now };
        BudgetStanding { limit: months.limit, spent: counts.spent, held: counts.held }
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
    fn an_absurd_report_shuts_nobody_out_for_longer_than_an_hour() {
        let (rate, start) = rate(600);
        let taken: Vec<Taken> = (0..3).map(|_| rate.take(Tokens(10), start).expect("there is room")).collect();

        for taken in taken {
            rate.correct(taken, Tokens(1 << 40), Tokens(1 << 40));
        }

        let full_in = rate.standing(start).map(|standing| standing.full_in);
        assert!(full_in.is_some_and(|time| time <= seconds(3_600)), "{full_in:?}");
        assert!(rate.take(Tokens(10), start + seconds(3_600)).is_ok());
    }

    #[test]
    fn a_late_report_of_an_early_request_takes_nothing_from_what_others_owe() {
        let (rate, start) = rate(600);
        let early = rate.take(Tokens(10), start).expect("there is room");
        let later = rate.take(Tokens(10), start + seconds(3_000)).expect("there is room");
        rate.correct(later, Tokens(1 << 40), Tokens::ZERO);
        let owed = rate.standing(start).map(|standing| standing.full_in);

        rate.correct(early, Tokens(10), Tokens::ZERO);

        assert_eq!(rate.standing(start).map(|standing| standing.full_in), owed.map(|owed| owed - seconds(1)));
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

        let era = purse.hold(Money(60), moment(1)).expect("there is room");
        let held = purse.hold(Money(50), moment(1)).expect_err("it is held");
        purse.settle(era, Money(60), Money(55));
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

    fn standing(spent: u64, held: u64) -> BudgetStanding {
        BudgetStanding { limit: Some(Money(100)), spent: Money(spent), held: Money(held) }
    }

    #[test]
    fn a_month_begins_with_nothing_spent_and_a_request_is_charged_to_the_month_it_began_in() {
        let purse = Purse::default();
        purse.set(Some(Money(100)));
        purse.restore(1, Money(90));
        let (before, after) = (moment(1), moment(2));
        let old = purse.hold(Money(10), before).expect("there is room");

        let new = purse.hold(Money(100), after).expect("a new month");
        purse.settle(old, Money(10), Money(500));

        assert_eq!(purse.standing(2), standing(0, 100));
        assert!(purse.hold(Money(1), before).is_err(), "it began before the turn and comes after it");
        assert_eq!(purse.hold(Money::ZERO, before), Ok(new), "who comes late is held by the new month");
    }

    #[test]
    fn a_calendar_that_jumped_ahead_and_was_put_right_keeps_the_budget_of_the_month_it_is() {
        let purse = Purse::default();
        purse.set(Some(Money(100)));
        let at = |month, after| Moment { at: moment(1).at + seconds(after), ..moment(month) };
        let early = purse.hold(Money(20), at(11, 0)).expect("there is room");
        purse.settle(early, Money(20), Money(15));
        let running = purse.hold(Money(5), at(11, 1)).expect("there is room");
        let ahead = purse.hold(Money(30), at(600, 2)).expect("a month that is not yet");

        let back = purse.hold(Money(40), at(11, 3)).expect("there is room");

        assert_eq!(purse.standing(11), standing(15, 75), "what was held and spent before and meanwhile counts here");
        assert!(purse.hold(Money(11), at(11, 4)).is_err());
        for (era, held) in [(running, 5), (ahead, 30), (back, 40)] {
            purse.settle(era, Money(held), Money(held));
        }
        assert_eq!(purse.standing(11), standing(90, 0));
        purse.hold(Money(100), at(12, 5)).expect("the next month begins with nothing spent");
        assert_eq!(purse.standing(12), standing(0, 100));
    }

    #[test]
    fn what_a_process_began_with_in_a_month_ahead_counts_in_the_month_that_it_was() {
        let purse = Purse::default();
        purse.set(Some(Money(100)));
        let first = moment(600);
        let era = purse.hold(Money(70), first).expect("there is room");
        purse.settle(era, Money(70), Money(70));

        let denied = purse.hold(Money(40), Moment { at: first.at + seconds(1), ..moment(11) });

        assert!(denied.is_err());
        assert_eq!(purse.standing(11), standing(70, 0));
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
