//! Money by the calendar month: what is spent and what running requests hold, of the whole limit or of what is leased of it.
//!
//! What is called a month here is any stretch of a calendar whose numbers grow: the purse of a [`crate::Budget`] counts in hours,
//! days or weeks in the same way.

use std::fmt;
use std::sync::OnceLock;
use std::time::Instant;

use parking_lot::Mutex;

use crate::limits::{Denied, Moment, WHEN_HELD};
use crate::money::Money;
use crate::shared::{Answer, Bell, Counter, Lease, Left, Question, Short, Wanted};

/// Money by the calendar month. Where several gateways share it, it is the [`Counter`] that their store is asked for.
#[derive(Default)]
pub struct Purse {
    months: Mutex<Months>,
    bell: OnceLock<Bell>,
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Purse").field(&self.months).finish()
    }
}

/// A stretch in which the calendar said the same month, by its number; it grows with each turn of the month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Era(u64);

#[derive(Debug, Default)]
struct Months {
    limit: Option<Money>,
    /// The limit stops nobody: what is spent is counted against it.
    only_counts: bool,
    /// What several gateways share of it; none where this gateway has the whole limit.
    lease: Option<Leased>,
    /// What is spent is told also where no limit is: those who share it may have one, or get one.
    tells_all: bool,
    /// The month that counts.
    now: Month,
    /// The one before it, for a calendar that was ahead and is put right.
    before: Option<Month>,
    /// When `now` began to count, by the clock that never goes back; `None` while no request has come.
    turned: Option<Instant>,
}

/// What this gateway may go up to in a month, in [`SHARED_UNIT`]s.
#[derive(Clone, Copy, Debug, Default)]
struct Leased {
    month: u32,
    lease: Lease,
    /// Something changed that the store was not told.
    changed: bool,
    /// And something of the month before.
    changed_before: bool,
    /// The store is to be asked before what lies here is used up.
    is_low: bool,
}

/// Money in the shared store is counted in millionths of a dollar: a script's numbers are exact to nine billion dollars so.
const SHARED_UNIT: u64 = 1_000;

/// Where there is no limit: more than all limits, and what can be counted exactly.
const NO_LIMIT: u64 = 1 << 52;

/// Rounded up, so that the store never counts too little.
fn shared(money: Money) -> u64 {
    money.0.div_ceil(SHARED_UNIT)
}

/// The same rounded down: what may be used, or is known for certain.
#[must_use]
pub fn usable(money: Money) -> u64 {
    money.0 / SHARED_UNIT
}

/// What so many units of the shared store come to.
#[must_use]
pub fn in_money(units: u64) -> Money {
    Money(units.saturating_mul(SHARED_UNIT))
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

    fn hold(&mut self, amount: Money, now: Moment) -> Result<Era, Denied> {
        self.turn(now.month, now.at);
        let Self { limit, only_counts, lease, tells_all, now: month, .. } = self;
        let limit = limit.filter(|_| !*only_counts);
        if *only_counts || (*tells_all && limit.is_none()) {
            lease.iter_mut().for_each(|leased| leased.count(month));
        }
        if let (Some(limit), Some(leased)) = (limit, lease)
            && amount > Money::ZERO
        {
            leased.hold(limit, month, (amount, now))?;
        } else if let Some(limit) = limit
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
}

impl Purse {
    pub(crate) fn set(&self, limit: Option<Money>) {
        self.months.lock().limit = limit;
    }

    /// The same; where `only_counts`, the limit stops nobody.
    pub(crate) fn set_budget(&self, limit: Money, only_counts: bool) {
        let mut months = self.months.lock();
        (months.limit, months.only_counts) = (Some(limit), only_counts);
    }

    /// What the books say was spent in `month` before this process began.
    pub(crate) fn restore(&self, month: u32, spent: Money) {
        let mut months = self.months.lock();
        let now = &mut months.now;
        if month > now.number {
            (now.number, now.spent) = (month, Money::ZERO);
        }
        if now.number == month {
            now.spent = now.spent + spent;
        }
        drop(months);
        self.tell_again();
    }

    /// From now on only what is leased is held.
    pub(crate) fn share(&self) {
        self.months.lock().lease.get_or_insert_default();
    }

    /// Holds `amount` until it is settled. Nothing is always held: it costs nothing.
    ///
    /// What holds it is given, for [`Purse::settle`].
    pub(crate) fn hold(&self, amount: Money, now: Moment) -> Result<Era, Denied> {
        let mut months = self.months.lock();
        let held = months.hold(amount, now);
        let is_low = months.lease.as_mut().is_some_and(|leased| std::mem::take(&mut leased.is_low));
        drop(months);
        if (is_low || held == Err(Denied::Unleased))
            && let Some(bell) = self.bell.get()
        {
            bell();
        }
        held
    }

    /// What was held since `era` is spent, or given back, in the month that it belongs to.
    pub(crate) fn settle(&self, era: Era, held: Money, spent: Money) {
        let mut months = self.months.lock();
        let Some(month) = months.paying(era) else { return };
        month.held = month.held.less(held);
        month.spent = month.spent + spent;
        let number = month.number;
        if let Some(leased) = &mut months.lease {
            if leased.month == number { leased.changed = true } else { leased.changed_before = true }
        }
    }

    /// How it stands in `month`, as far as the requests so far tell: a month that none has come in has spent nothing.
    pub(crate) fn standing(&self, month: u32) -> BudgetStanding {
        let months = self.months.lock();
        let counts = if month > months.now.number { Month::default() } else { months.now };
        let lease = months.lease.filter(|leased| leased.month == month).map(|leased| leased.lease).unwrap_or_default();
        let others = in_money(lease.spent_by_others);
        let held = in_money(lease.others().saturating_sub(lease.spent_by_others));
        BudgetStanding { limit: months.limit, spent: counts.spent + others, held: counts.held + held }
    }
}

impl Purse {
    /// The months that it remembers, the latest first: the number of each, and what all gateways together have spent in it, as far
    /// as it is known here.
    pub(crate) fn spent(&self) -> [(u32, Money); 2] {
        let months = self.months.lock();
        let of = |month: Month| {
            let lease = months.lease.filter(|leased| leased.month == month.number).map(|leased| leased.lease);
            (month.number, month.spent + in_money(lease.unwrap_or_default().spent_by_others))
        };
        [of(months.now), of(months.before.unwrap_or_default())]
    }

    /// Whether nothing is held, nothing is to be told, and nothing was spent in `month` or later.
    pub(crate) fn is_idle(&self, month: u32) -> bool {
        let months = self.months.lock();
        let is_told = months.lease.is_none_or(|leased| !leased.changed && !leased.changed_before);
        let holds = months.now.held + months.before.unwrap_or_default().held > Money::ZERO;
        is_told && !holds && (months.now.number < month || months.now.spent == Money::ZERO)
    }
}

impl Counter for Purse {
    fn ring_by(&self, bell: Bell) {
        let _ = self.bell.set(bell);
    }

    /// The store is to be told of both months.
    fn tell_again(&self) {
        if let Some(leased) = &mut self.months.lock().lease {
            (leased.changed, leased.changed_before) = (true, true);
            leased.lease.tell_again();
        }
    }

    /// What the store is to be asked of this month, and told of the one before.
    fn questions(&self, at: Instant) -> Vec<Question> {
        let mut months = self.months.lock();
        let limit = match months.limit {
            Some(limit) => usable(limit),
            None if months.tells_all => NO_LIMIT,
            None => return Vec::new(),
        };
        let Months { lease: Some(leased), now, before, .. } = &mut *months else { return Vec::new() };
        if leased.month != now.number {
            *leased = Leased { month: now.number, changed: leased.changed, changed_before: true, ..Leased::default() };
        }
        let mut questions = Vec::with_capacity(2);
        let told = |month: &Month| (month.number, shared(month.spent + month.held), shared(month.spent));
        if let Some(before) = before.filter(|before| std::mem::take(&mut leased.changed_before) && before.number > 0) {
            let (month, used, spent) = told(&before);
            questions.push(Question::Level {
                month: Some(month),
                limit,
                used,
                kept: used,
                spent,
                holds: used,
                least: used,
                need: used,
                want: used,
            });
        }
        let (month, used, spent) = told(now);
        let is_ahead = leased.lease.is_ahead_of(used);
        if month > 0
            && (leased.changed || is_ahead || now.held > Money::ZERO)
            && let Some(Wanted { holds, least, need, want }) = leased.lease.wanted(used, limit, at)
        {
            // What waits will be held as soon as it is granted, and this gateway may die before it tells so.
            leased.changed = false;
            let kept = need;
            questions.push(Question::Level { month: Some(month), limit, used, kept, spent, holds, least, need, want });
        }
        questions
    }

    /// What came of a question.
    fn learn(&self, question: &Question, answer: Option<Answer>, sent_at: Instant) {
        let Question::Level { month: Some(month), used, holds, least, need, want, .. } = *question else { return };
        let mut months = self.months.lock();
        let Some(leased) = &mut months.lease else { return };
        if leased.month == month {
            leased.lease.learn((used, Wanted { holds, least, need, want }), answer, sent_at);
            leased.changed |= answer.is_none();
        } else {
            leased.changed_before |= answer.is_none();
        }
    }

    fn share(&self) {
        let mut months = self.months.lock();
        let month = months.now.number;
        months.tells_all = true;
        months.lease.get_or_insert(Leased { month, changed: true, changed_before: true, ..Leased::default() });
    }

    /// What others had spent who are gone, and what they held, counts as spent here: whoever was killed settles at what it held.
    fn own(&self, left: &Left, now: Instant) {
        let mut months = self.months.lock();
        (months.lease, months.tells_all) = (None, false);
        for (number, spent) in &left.levels {
            if *number > months.now.number {
                months.turn(*number, now);
            }
            let Months { now, before, .. } = &mut *months;
            let of = [Some(now), before.as_mut()].into_iter().flatten().find(|month| month.number == *number);
            if let Some(month) = of {
                month.spent = month.spent + in_money(*spent);
            }
        }
    }

    /// Of this month what they may have come to; of the one before nothing is known.
    fn last_known(&self) -> Left {
        let lease = self.months.lock().lease;
        let others = lease.map(|leased| (leased.month, leased.lease.others()));
        Left { levels: others.into_iter().collect(), ..Left::default() }
    }

    /// Whether a part is held, or something is to be told.
    fn is_busy(&self) -> bool {
        let months = self.months.lock();
        let Some(leased) = &months.lease else { return false };
        let used = shared(months.now.spent + months.now.held);
        (months.limit.is_some() || months.tells_all)
            && (leased.changed
                || leased.changed_before
                || months.now.held > Money::ZERO
                || leased.lease.is_ahead_of(used))
    }
}

impl Leased {
    /// What the month sees is to be told, and nothing is asked for.
    fn count(&mut self, month: &Month) {
        if self.month != month.number {
            *self = Self { month: month.number, changed: true, changed_before: true, ..Self::default() };
        }
        self.changed = true;
    }

    /// Whether the amount may be held on top of what the month has seen.
    fn hold(&mut self, limit: Money, month: &Month, (amount, now): (Money, Moment)) -> Result<(), Denied> {
        if self.month != month.number {
            *self = Self { month: month.number, changed: self.changed, changed_before: true, ..Self::default() };
        }
        let used = month.spent + month.held;
        let more = shared(used + amount) - shared(used);
        let (fits, is_low) = self.lease.fits(shared(used), more, now.at);
        self.is_low |= is_low;
        match fits {
            Ok(()) => Ok(()),
            Err(Short::Unleased) => {
                self.changed = true;
                Err(Denied::Unleased)
            }
            Err(Short::Refused { .. }) => {
                let spent = month.spent + in_money(self.lease.spent_by_others);
                let held = month.held + in_money(self.lease.others().saturating_sub(self.lease.spent_by_others));
                let is_spent = spent + amount > limit;
                let retry_after = if is_spent { now.month_left } else { WHEN_HELD };
                Err(Denied::Budget { limit, spent, held, asked: amount, retry_after })
            }
        }
    }
}

/// How a budget stands in this month; where several gateways share it, what the others told the store last is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetStanding {
    /// Money per month; nothing where it is not bounded.
    pub limit: Option<Money>,
    /// Settled in this month.
    pub spent: Money,
    /// Held by requests that run.
    pub held: Money,
}
