//! Budgets beside the books of apps and keys: money in the stretches of a calendar, for whatever requests somebody counts in it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::calendar::{Calendar, Stretch};
use crate::limits::{Denied, Moment};
use crate::money::Money;
use crate::purse::{BudgetStanding, Era, Purse};

/// What becomes of a request that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is refused.
    #[default]
    Hard,
    /// It is let in: the budget only counts.
    Warning,
}

/// How much may be spent in each stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// So much.
    pub limit: Money,
    /// And what becomes of a request beyond it.
    pub mode: Mode,
}

/// Most thresholds of one budget.
pub const MOST_THRESHOLDS: usize = 8;

/// Money in the stretches of one calendar. Many books' requests may pay into one, and one request into many.
pub struct Budget {
    name: Arc<str>,
    calendar: Calendar,
    purse: Arc<Purse>,
    /// The stretch that was counted in last.
    latest: Mutex<Stretch>,
    /// The stretches of which something was announced last, and the highest threshold of each.
    announced: Mutex<[(u32, u32); 2]>,
    /// The number of the latest stretch in which a request was refused because too little was left unspent.
    refused: AtomicU32,
}

/// How far a budget has come in one stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The stretch, by its number.
    pub stretch: u32,
    /// What was spent.
    pub spent: Money,
    /// Of how much.
    pub limit: Money,
    /// That in percent, rounded down. It is a hundred at least where a request was refused because it did not fit into what is
    /// unspent: the rest is of no use to such requests.
    pub percent: u32,
}

impl Budget {
    /// One in which nothing is spent. Where several gateways share it only what was leased from their store is used.
    #[must_use]
    pub fn new(name: Arc<str>, calendar: Calendar, terms: Terms, is_shared: bool) -> Self {
        let budget = Self {
            name,
            calendar,
            purse: Arc::default(),
            latest: Mutex::default(),
            announced: Mutex::default(),
            refused: AtomicU32::new(0),
        };
        if is_shared {
            budget.purse.share();
        }
        budget.set(terms);
        budget
    }

    /// The name that a refusal gives.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// When it begins anew.
    #[must_use]
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// The money of its stretches. Where several gateways share it, this is what their store is asked for.
    #[must_use]
    pub fn purse(&self) -> &Arc<Purse> {
        &self.purse
    }

    /// Other terms from now on; what is spent and held stays.
    pub fn set(&self, terms: Terms) {
        self.purse.set_budget(terms.limit, terms.mode == Mode::Warning);
    }

    /// Adds what the ledger says was spent in the stretch that this moment, in seconds since 1970, falls into.
    pub fn restore(&self, seconds: u64, spent: Money) {
        self.purse.restore(self.stretch(seconds).number, spent);
    }

    /// How it stands at a moment in seconds since 1970.
    #[must_use]
    pub fn standing(&self, seconds: u64) -> BudgetStanding {
        self.purse.standing(self.stretch(seconds).number)
    }

    /// How far it has come in the latest stretch in which a request came, and in the one before it.
    #[must_use]
    pub fn reached(&self) -> [Option<Reached>; 2] {
        let Some(limit) = self.purse.standing(0).limit else { return [None; 2] };
        let refused = self.refused.load(Ordering::Relaxed);
        self.purse.spent().map(|(stretch, spent)| {
            let percent = u128::from(spent.0) * 100 / u128::from(limit.0.max(1));
            let percent = u32::try_from(percent).unwrap_or(u32::MAX);
            let percent = if refused == stretch { percent.max(100) } else { percent };
            (stretch > 0).then_some(Reached { stretch, spent, limit, percent })
        })
    }

    /// Which of these thresholds, in percent and rising, it has reached since it was asked last; each once in a stretch for as
    /// long as this process runs.
    pub fn crossed(&self, thresholds: &[u32]) -> Vec<(u32, Reached)> {
        let reached = self.reached();
        let mut announced = self.announced.lock();
        let known = *announced;
        let of = |stretch: u32| known.iter().find(|(known, _)| *known == stretch).map_or(0, |(_, highest)| *highest);
        // The earlier stretch first.
        let stretches = reached.into_iter().flatten().rev();
        let mut crossed = Vec::new();
        for reached in stretches {
            let news =
                thresholds.iter().filter(|percent| (of(reached.stretch) + 1..=reached.percent).contains(*percent));
            crossed.extend(news.map(|percent| (*percent, reached)));
        }
        *announced = reached.map(|reached| {
            let Some(Reached { stretch, percent, .. }) = reached else { return (0, 0) };
            let highest = thresholds.iter().copied().filter(|threshold| *threshold <= percent).max();
            (stretch, highest.unwrap_or(0).max(of(stretch)))
        });
        crossed
    }

    /// Whether it could be forgotten: nothing is held, and nothing was spent in the stretch of this moment.
    #[must_use]
    pub fn is_idle(&self, seconds: u64) -> bool {
        self.purse.is_idle(self.stretch(seconds).number)
    }

    /// The stretch of a moment; the calendar is asked once in each.
    fn stretch(&self, seconds: u64) -> Stretch {
        let mut latest = self.latest.lock();
        if !latest.holds(seconds) {
            *latest = self.calendar.at(seconds);
        }
        *latest
    }

    fn hold(&self, amount: Money, (at, seconds): (Instant, u64)) -> Result<Era, OverBudget> {
        let stretch = self.stretch(seconds);
        let month_left = Duration::from_secs(stretch.ends.saturating_sub(seconds));
        let moment = Moment { at, month: stretch.number, month_left };
        self.purse.hold(amount, moment).map_err(|denied| match denied {
            Denied::Budget { limit, spent, asked, retry_after, .. } => {
                if spent + asked > limit {
                    self.refused.store(stretch.number, Ordering::Relaxed);
                }
                OverBudget::Spent { budget: Arc::clone(&self.name), retry_after }
            }
            Denied::Unleased | Denied::Tokens { .. } => OverBudget::Unleased,
        })
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, calendar, purse, .. } = self;
        f.debug_struct("Budget")
            .field("name", name)
            .field("calendar", calendar)
            .field("purse", purse)
            .finish_non_exhaustive()
    }
}

/// Why a request does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// The money is spent, or held by requests that run. No amount is named: others spend of it as well.
    #[error("budget `{budget}` has no room for this request")]
    Spent {
        /// The budget.
        budget: Arc<str>,
        /// The end of the stretch where the money is spent; a second where running requests hold it.
        retry_after: Duration,
    },
    /// The part that several gateways share is used up here: the store is asked, and then it can be tried again.
    #[error("the part of a shared budget that lies here is used up")]
    Unleased,
}

/// What one request holds of budgets. It is given back where nothing settles it.
#[derive(Debug, Default)]
pub struct Held {
    of: Vec<(Arc<Budget>, Era)>,
    amount: Money,
}

impl Held {
    /// Holds `amount` of every one of these budgets, or nothing of any. The moment is said by both clocks: the calendar's in
    /// seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`OverBudget`], of the first that has no room.
    pub fn of(budgets: &[Arc<Budget>], amount: Money, now: (Instant, u64)) -> Result<Self, OverBudget> {
        let amount = amount.min(Money::MOST);
        // What is held already is given back where a later one has no room.
        let mut held = Self { of: Vec::with_capacity(budgets.len()), amount };
        for budget in budgets {
            let era = budget.hold(amount, now)?;
            held.of.push((Arc::clone(budget), era));
        }
        Ok(held)
    }

    /// What was held is spent, or less or more of it.
    pub(crate) fn settle(mut self, spent: Money) {
        for (budget, era) in self.of.drain(..) {
            budget.purse.settle(era, self.amount, spent);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for (budget, era) in self.of.drain(..) {
            budget.purse.settle(era, self.amount, Money::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Ask, Book};
    use crate::calendar::Period;
    use crate::price::Used;
    use crate::shared::{Answer, Counter as _, Question};

    /// 2026-11-26T10:00:00Z.
    const MORNING: u64 = 1_795_687_200;
    const DAY: u64 = 86_400;

    fn budget(name: &str, limit: u64, mode: Mode) -> Arc<Budget> {
        let terms = Terms { limit: Money(limit), mode };
        Arc::new(Budget::new(name.into(), Calendar::utc(Period::Day), terms, false))
    }

    fn spend(budgets: &[Arc<Budget>], amount: u64, at: (Instant, u64)) -> Result<(), OverBudget> {
        let held = Held::of(budgets, Money(amount), at)?;
        held.settle(Money(amount));
        Ok(())
    }

    #[test]
    fn a_request_fits_into_all_budgets_or_takes_nothing_of_any() {
        let (wide, narrow) = (budget("wide", 100, Mode::Hard), budget("narrow", 10, Mode::Hard));
        let now = (Instant::now(), MORNING);

        let refused = spend(&[Arc::clone(&wide), Arc::clone(&narrow)], 11, now);

        let retry_after = Duration::from_secs(14 * 3_600);
        assert_eq!(refused, Err(OverBudget::Spent { budget: "narrow".into(), retry_after }));
        assert_eq!((wide.standing(MORNING).held, wide.standing(MORNING).spent), (Money::ZERO, Money::ZERO));
        assert_eq!(spend(&[wide, narrow], 10, now), Ok(()));
    }

    #[test]
    fn a_refusal_waits_for_the_end_of_the_stretch_or_for_requests_that_run() {
        let daily = budget("daily", 10, Mode::Hard);
        let now = (Instant::now(), MORNING);
        let running = Held::of(&[Arc::clone(&daily)], Money(8), now).expect("it fits");

        let refused = |retry_after| Err(OverBudget::Spent { budget: "daily".into(), retry_after });
        assert_eq!(spend(&[Arc::clone(&daily)], 5, now), refused(Duration::from_secs(1)));
        running.settle(Money(8));

        assert_eq!(spend(&[Arc::clone(&daily)], 5, now), refused(Duration::from_secs(14 * 3_600)));
        assert_eq!(spend(&[daily], 5, (now.0, MORNING + DAY)), Ok(()));
    }

    #[test]
    fn what_is_dropped_unsettled_is_given_back_and_what_a_reservation_holds_is_paid() {
        let daily = budget("daily", 10, Mode::Hard);
        let now = (Instant::now(), MORNING);
        drop(Held::of(&[Arc::clone(&daily)], Money(9), now).expect("it fits"));
        assert_eq!(daily.standing(MORNING).held, Money::ZERO);

        let held = Held::of(&[Arc::clone(&daily)], Money(9), now).expect("it was given back");
        let book = Arc::new(Book::new(now.0));
        let moment = Moment { at: now.0, month: 1, month_left: Duration::ZERO };
        let ask = Ask { money: Money(9), ..Ask::default() };
        let reservation = book.reserve(None, ask, moment).expect("the book has no limits").paying(held);
        assert_eq!(daily.standing(MORNING).held, Money(9));
        reservation.settle(Used::default(), Some(Money(4)));
        assert_eq!((daily.standing(MORNING).held, daily.standing(MORNING).spent), (Money::ZERO, Money(4)));

        let held = Held::of(&[Arc::clone(&daily)], Money(6), now).expect("six are left");
        let ask = Ask { money: Money(6), ..Ask::default() };
        drop(book.reserve(None, ask, moment).expect("the book has no limits").paying(held));
        assert_eq!(daily.standing(MORNING).spent, Money(10), "one that is forgotten pays what it held");
    }

    #[test]
    fn a_budget_that_only_warns_stops_nobody_and_counts_all_the_same() {
        let warning = budget("warning", 10, Mode::Warning);
        let now = (Instant::now(), MORNING);

        for _ in 0..3 {
            spend(&[Arc::clone(&warning)], 5, now).expect("it only counts");
        }

        let reached = warning.reached()[0].expect("a request came");
        assert_eq!((reached.spent, reached.percent), (Money(15), 150));
    }

    #[test]
    fn a_hundred_percent_is_reached_with_the_first_request_that_does_not_fit_into_what_is_unspent() {
        let daily = budget("daily", 10, Mode::Hard);
        let now = (Instant::now(), MORNING);
        spend(&[Arc::clone(&daily)], 8, now).expect("it fits");
        let running = Held::of(&[Arc::clone(&daily)], Money(1), now).expect("it fits");
        let percent = || daily.reached()[0].map(|reached| reached.percent);

        spend(&[Arc::clone(&daily)], 2, now).expect_err("one is held");
        assert_eq!(percent(), Some(80), "what is held may come back");
        drop(running);
        spend(&[Arc::clone(&daily)], 3, now).expect_err("two are left");

        assert_eq!(percent(), Some(100));
        spend(&[Arc::clone(&daily)], 1, (now.0, MORNING + DAY)).expect("another day");
        let [today, yesterday] = daily.reached().map(|reached| reached.map(|reached| reached.percent));
        assert_eq!((today, yesterday), (Some(10), Some(100)));
    }

    #[test]
    fn each_threshold_is_crossed_once_in_a_stretch_also_when_the_next_has_begun() {
        let daily = budget("daily", 10, Mode::Warning);
        let now = (Instant::now(), MORNING);
        let crossed = || -> Vec<_> {
            let all = daily.crossed(&[50, 80, 100]).into_iter();
            all.map(|(percent, reached)| (percent, reached.stretch)).collect()
        };
        let (today, tomorrow) = (daily.calendar().at(MORNING).number, daily.calendar().at(MORNING + DAY).number);

        assert_eq!(crossed(), []);
        spend(&[Arc::clone(&daily)], 5, now).expect("it only counts");
        assert_eq!((crossed(), crossed()), (vec![(50, today)], vec![]));
        spend(&[Arc::clone(&daily)], 5, now).expect("it only counts");
        spend(&[Arc::clone(&daily)], 6, (now.0, MORNING + DAY)).expect("it only counts");
        assert_eq!((crossed(), crossed()), (vec![(80, today), (100, today), (50, tomorrow)], vec![]));
    }

    #[test]
    fn what_the_ledger_says_counts_in_its_stretch_alone() {
        let daily = budget("daily", 10, Mode::Hard);
        daily.restore(MORNING, Money(9));
        let now = (Instant::now(), MORNING);

        spend(&[Arc::clone(&daily)], 2, now).expect_err("one is left");
        assert!(!daily.is_idle(MORNING) && daily.is_idle(MORNING + DAY));
        spend(&[daily], 2, (now.0, MORNING + DAY)).expect("another day");
    }

    #[test]
    fn of_a_shared_budget_only_what_was_leased_is_used_and_one_that_warns_tells_without_asking() {
        let terms = |mode| Terms { limit: Money(1_000_000), mode };
        let calendar = || Calendar::utc(Period::Day);
        let hard = Arc::new(Budget::new("hard".into(), calendar(), terms(Mode::Hard), true));
        let warning = Arc::new(Budget::new("warning".into(), calendar(), terms(Mode::Warning), true));
        let now = (Instant::now(), MORNING);

        assert_eq!(spend(&[Arc::clone(&hard)], 100_000, now), Err(OverBudget::Unleased));
        let question = hard.purse().questions(now.0).pop().expect("it asks for what was wanted");
        hard.purse().learn(&question, Some(Answer::Level { ceiling: 100, others: 600, spent: 600 }), now.0);
        assert_eq!(spend(&[Arc::clone(&hard)], 100_000, now), Ok(()));
        assert_eq!(hard.reached()[0].map(|reached| reached.percent), Some(70), "what others spent counts");

        spend(&[Arc::clone(&warning)], 2_000_000, now).expect("it only counts");
        let question = warning.purse().questions(now.0).pop().expect("it tells what is spent");
        assert!(matches!(question, Question::Level { spent: 2_000, need: 2_000, .. }), "{question:?}");
    }
}
