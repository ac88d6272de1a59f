//! The book of one app, and the reservations that are open in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::budget::Held;
use crate::held_tokens::{self, HeldTokens};
use crate::limits::{Denied, Limits, MINUTE, Moment, RateStanding, Taken};
use crate::money::Money;
use crate::price::Used;
use crate::purse::{BudgetStanding, Era, Purse};
use crate::shared::Flow;
use crate::tokens::{Estimate, Tokens};

/// What one app or key may use, has reserved and has used.
///
/// The counters take no lock, and a request touches each at most twice; the budget of a month takes one for a few
/// instructions. Every counter is exact; a reading of several of them ([`Book::totals`]) may fall between two steps of a
/// request that is just ending. Counters begin with the process, the spent money of a month with [`Book::restore`].
pub struct Book {
    flow: Arc<Flow>,
    purse: Arc<Purse>,
    requests: AtomicU64,
    open: AtomicU64,
    reserved: AtomicU64,
    settled_input: AtomicU64,
    settled_output: AtomicU64,
    settled_unknown: AtomicU64,
    flagged: AtomicU64,
    not_sent: AtomicU64,
    denied: AtomicU64,
    held_money: AtomicU64,
    settled_money: AtomicU64,
    flagged_money: AtomicU64,
}

impl Book {
    /// An empty book without limits; its rate of tokens counts from `origin`.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            flow: Arc::new(Flow::own(origin)),
            purse: Arc::default(),
            requests: zero(),
            open: zero(),
            reserved: zero(),
            settled_input: zero(),
            settled_output: zero(),
            settled_unknown: zero(),
            flagged: zero(),
            not_sent: zero(),
            denied: zero(),
            held_money: zero(),
            settled_money: zero(),
            flagged_money: zero(),
        }
    }

    /// The same, of whose limits only what is leased from a shared store is used: two counters, its [`Book::purse`] and its
    /// [`Book::flow`].
    #[must_use]
    pub fn shared(origin: Instant) -> Self {
        let book = Self { flow: Arc::default(), ..Self::new(origin) };
        book.purse.share();
        book
    }

    /// The money of the month, shared or not.
    #[must_use]
    pub fn purse(&self) -> &Arc<Purse> {
        &self.purse
    }

    /// The tokens of a minute, shared or not.
    #[must_use]
    pub fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Sets the limits that reservations are held against from now on. What is spent and owed stays.
    pub fn set_limits(&self, limits: Limits) {
        self.flow.set(limits.tokens_per_minute, MINUTE);
        self.purse.set(limits.per_month);
    }

    /// Adds what the ledger says was spent in `month`, before this process began to count.
    pub fn restore(&self, month: u32, spent: Money) {
        self.purse.restore(month, spent);
    }

    /// How the limit on tokens stands; `None` where there is none.
    #[must_use]
    pub fn rate(&self, at: Instant) -> Option<RateStanding> {
        self.flow.standing(at)
    }

    /// How the budget stands in `month`.
    #[must_use]
    pub fn budget(&self, month: u32) -> BudgetStanding {
        self.purse.standing(month)
    }

    /// Takes what `ask` names from this book, and from `within` as well (a key within its app), until the reservation is
    /// settled. Where either denies, neither is charged.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the limit that stands in the way and when it will not.
    pub fn reserve(self: &Arc<Self>, within: Option<&Arc<Self>>, ask: Ask, now: Moment) -> Result<Reservation, Denied> {
        // The fields are public; the bounds hold whoever wrote them.
        let estimate = ask.estimate.bounded();
        let ask = Ask { estimate, money: ask.money.min(Money::MOST) };
        let own = self.take(ask, now)?;
        let other = match within.map(|book| book.take(ask, now)) {
            None => None,
            Some(Ok(taken)) => within.map(|book| (Arc::clone(book), taken)),
            Some(Err(denied)) => {
                self.give_back(own, ask);
                return Err(denied);
            }
        };
        for book in [Some(self), within].into_iter().flatten() {
            book.requests.fetch_add(1, Ordering::Relaxed);
            book.open.fetch_add(1, Ordering::Relaxed);
            book.reserved.fetch_add(estimate.total().0, Ordering::Relaxed);
            add(&book.held_money, ask.money.0);
        }
        let books = [Some((Arc::clone(self), own)), other];
        Ok(Reservation { books, budgets: Held::default(), model: None, ask, failed: Failed::default(), open: true })
    }

    fn take(&self, ask: Ask, now: Moment) -> Result<Hold, Denied> {
        let held = self.purse.hold(ask.money, now);
        let taken = held.and_then(|era| {
            let taken = held_tokens::take(&self.flow, ask.estimate.total(), now.at);
            let taken = taken.inspect_err(|_| self.purse.settle(era, ask.money, Money::ZERO))?;
            Ok(Hold { taken, era })
        });
        taken.inspect_err(|denied| {
            if *denied != Denied::Unleased {
                self.denied.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Replaces what was taken of the rate by what was used.
    fn correct(&self, hold: &Hold, reported: Tokens, assumed: Tokens) {
        self.flow.settle(hold.taken, reported.0, assumed.0);
    }

    fn give_back(&self, hold: Hold, ask: Ask) {
        self.correct(&hold, Tokens::ZERO, Tokens::ZERO);
        self.purse.settle(hold.era, ask.money, Money::ZERO);
    }

    /// What the book says now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let tokens = |counter: &AtomicU64| Tokens(counter.load(Ordering::Relaxed));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            requests: count(&self.requests),
            open: count(&self.open),
            reserved: tokens(&self.reserved),
            settled_input: tokens(&self.settled_input),
            settled_output: tokens(&self.settled_output),
            settled_unknown: tokens(&self.settled_unknown),
            flagged: count(&self.flagged),
            not_sent: count(&self.not_sent),
            denied: count(&self.denied),
            held_money: Money(count(&self.held_money)),
            settled_money: Money(count(&self.settled_money)),
            flagged_money: Money(count(&self.flagged_money)),
        }
    }

    /// The one place where a reservation leaves the book.
    fn close(&self, held: Ask, settlement: &Settlement, failed: Failed) {
        self.reserved.fetch_sub(held.estimate.total().0, Ordering::Relaxed);
        self.held_money.fetch_sub(held.money.0, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
        match settlement.by {
            SettledBy::Reported => {
                add(&self.settled_input, settlement.used.input.0);
                add(&self.settled_output, settlement.used.output.0);
            }
            SettledBy::Reservation => add(&self.settled_unknown, (settlement.used.input + settlement.used.output).0),
            SettledBy::NotSent => {
                self.not_sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        add(&self.settled_input, failed.stated.input.0);
        add(&self.settled_output, failed.stated.output.0);
        add(&self.settled_unknown, settlement.lost.0.saturating_sub(failed.stated().0));
        add(&self.settled_money, settlement.charged().0);
        if settlement.flagged() {
            self.flagged.fetch_add(1, Ordering::Relaxed);
            add(&self.flagged_money, settlement.unconfirmed().0);
        }
    }
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").field("purse", &self.purse).field("totals", &self.totals()).finish_non_exhaustive()
    }
}

/// What one book holds for a reservation.
#[derive(Clone, Copy, Debug)]
struct Hold {
    taken: Taken,
    /// What holds the money, and pays. A key and its app can differ: each turns its month with its own first request.
    era: Era,
}

/// What a request may take, before anyone has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Tokens.
    pub estimate: Estimate,
    /// Money for the dearest attempt of its plan.
    pub money: Money,
}

/// Adds without wrapping around: an upstream may report any number, and the sum of a year must not become small.
fn add(counter: &AtomicU64, amount: u64) {
    let added = |sum: u64| Some(sum.saturating_add(amount));
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added).expect("the closure always gives a sum");
}

/// A reading of a [`Book`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Reservations ever made.
    pub requests: u64,
    /// Reservations not settled yet.
    pub open: u64,
    /// Tokens held by the open reservations.
    pub reserved: Tokens,
    /// Input tokens that upstreams reported.
    pub settled_input: Tokens,
    /// Output tokens that upstreams reported.
    pub settled_output: Tokens,
    /// Tokens settled at the reservation, because nothing was reported.
    pub settled_unknown: Tokens,
    /// Requests with at least one part settled at the reservation.
    pub flagged: u64,
    /// Requests that never left.
    pub not_sent: u64,
    /// Reservations that a limit denied.
    pub denied: u64,
    /// Money held by the open reservations.
    pub held_money: Money,
    /// Money that was settled, flagged or not.
    pub settled_money: Money,
    /// The part of it that no upstream or no price confirms.
    pub flagged_money: Money,
}

impl Totals {
    /// Everything that was settled, reported or not.
    #[must_use]
    pub fn settled(&self) -> Tokens {
        self.settled_input + self.settled_output + self.settled_unknown
    }
}

/// How a reservation came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettledBy {
    /// The upstream reported the usage.
    Reported,
    /// The usage is unknown: settled at what was reserved, and flagged.
    Reservation,
    /// The request never left, so nothing was used.
    NotSent,
}

impl SettledBy {
    /// The name used in records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Reservation => "reservation",
            Self::NotSent => "not_sent",
        }
    }
}

/// What one request was settled at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Tokens of the answer.
    pub used: Used,
    /// Where these numbers come from.
    pub by: SettledBy,
    /// What the answer costs.
    pub money: Money,
    /// Whether that follows from a known price. If not, it is what was reserved.
    pub priced: bool,
    /// Attempts beside it that may have been executed, and of which no upstream or no price says what they cost.
    pub lost_attempts: u32,
    /// What failed attempts were settled at in tokens: what each stated, or the reservation where it stated nothing.
    pub lost: Tokens,
    /// And in money: what that costs, or the most that the attempt could cost at its target.
    pub lost_money: Money,
}

impl Settlement {
    /// Every token that this request is charged with.
    #[must_use]
    pub fn total(&self) -> Tokens {
        self.used.input + self.used.output + self.lost
    }

    /// All the money that this request is charged with.
    #[must_use]
    pub fn charged(&self) -> Money {
        self.money + self.lost_money
    }

    /// The part of the answer's money that no upstream or no price confirms: all of it, or nothing.
    #[must_use]
    pub fn unconfirmed_answer(&self) -> Money {
        if self.by == SettledBy::Reservation || !self.priced { self.money } else { Money::ZERO }
    }

    /// The part of what failed attempts cost that no upstream or no price confirms: all of it, where one of them did not
    /// say; nothing, where each did.
    #[must_use]
    pub fn unconfirmed_failures(&self) -> Money {
        if self.lost_attempts > 0 { self.lost_money } else { Money::ZERO }
    }

    /// The part of all the money that no upstream or no price confirms. What was reported beside it is none.
    #[must_use]
    pub fn unconfirmed(&self) -> Money {
        self.unconfirmed_answer() + self.unconfirmed_failures()
    }

    /// Whether any part of it is a reservation and not a report, or rests on no known price.
    #[must_use]
    pub fn flagged(&self) -> bool {
        self.by == SettledBy::Reservation || self.lost_attempts > 0 || !self.priced
    }
}

/// Tokens and money held for one request. It is settled exactly once: each way to settle consumes it.
///
/// ```
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
/// use accounting::{Ask, Book, Moment, Money, SettledBy, Tokens, Used, estimate};
///
/// let now = Moment { at: Instant::now(), month: 0, month_left: Duration::ZERO };
/// let book = Arc::new(Book::new(now.at));
///
/// let ask = Ask { estimate: estimate(400, Some(50)), money: Money(900) };
/// let reservation = book.reserve(None, ask, now).expect("the book has no limits");
/// let used = Used { input: Tokens(90), output: Tokens(12), ..Used::default() };
/// let settlement = reservation.settle(used, Some(Money(700)));
///
/// assert_eq!((settlement.total(), settlement.money, settlement.by), (Tokens(102), Money(700), SettledBy::Reported));
/// assert_eq!(book.totals().reserved, Tokens::ZERO);
/// ```
///
/// A second settlement does not compile:
///
/// ```compile_fail,E0382
/// # use accounting::{Money, Reservation, Used};
/// fn twice(reservation: Reservation) {
///     reservation.settle(Used::default(), Some(Money(700)));
///     reservation.settle(Used::default(), Some(Money(700)));
/// }
/// ```
#[derive(Debug)]
#[must_use = "a reservation that is dropped is settled at what it holds"]
pub struct Reservation {
    books: [Option<(Arc<Book>, Hold)>; 2],
    /// What it holds of budgets beside them.
    budgets: Held,
    /// And of the model that is to answer, with what had failed before that was to.
    model: Option<(HeldTokens, Failed)>,
    ask: Ask,
    failed: Failed,
    // INVARIANT: true until `finish` has run once; `finish` is the only place that clears it.
    open: bool,
}

/// What the attempts that failed are charged at.
#[derive(Clone, Copy, Debug, Default)]
struct Failed {
    /// Attempts that did not say what they used.
    unknown: u32,
    /// Attempts that did, at targets whose price is not known.
    unpriced: u32,
    /// Tokens that attempts stated, failed as they are.
    stated: Used,
    money: Money,
}

impl Failed {
    fn stated(&self) -> Tokens {
        self.stated.input + self.stated.output
    }
}

impl Reservation {
    /// The same, which pays what it holds of these budgets as well.
    pub fn paying(mut self, budgets: Held) -> Self {
        self.budgets = budgets;
        self
    }

    /// From here on a model is to answer of which these tokens are held. The one that was to before, if any, is left with what
    /// failed there.
    pub fn move_to(&mut self, model: HeldTokens) {
        let before = self.model.replace((model, self.failed));
        if let Some((held, began)) = before {
            let (stated, lost) = self.failed_since(began);
            held.settle(stated, lost);
        }
    }

    /// Tokens of the attempts that have failed since: those that were stated, and those that are assumed of the others.
    fn failed_since(&self, began: Failed) -> (Tokens, Tokens) {
        let unknown = u64::from(self.failed.unknown.saturating_sub(began.unknown));
        let stated = self.failed.stated().0.saturating_sub(began.stated().0);
        (Tokens(stated), Tokens(self.ask.estimate.total().0.saturating_mul(unknown)))
    }

    /// What is held in tokens.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        self.ask.estimate
    }

    /// What is held in money.
    #[must_use]
    pub fn money(&self) -> Money {
        self.ask.money
    }

    /// Notes an attempt that may have been executed and whose usage nobody will report (a timeout after sending, a 5xx),
    /// and the most that it can cost at its target.
    ///
    /// It is charged when this request ends, beside whatever the last attempt used.
    pub fn lost_attempt(&mut self, most: Money) {
        self.failed.unknown = self.failed.unknown.saturating_add(1);
        self.failed.money = self.failed.money + most;
    }

    /// Notes an attempt that failed and said what it used all the same, and what that costs; `None` where no price is known:
    /// then `most`, the most that it can cost at its target, is charged and flagged.
    ///
    /// It is charged when this request ends, beside whatever the last attempt used.
    pub fn failed_attempt(&mut self, used: Used, cost: Option<Money>, most: Money) {
        let (used, stated) = (used.bounded(), &mut self.failed.stated);
        stated.input = (stated.input + used.input).bounded();
        stated.output = (stated.output + used.output).bounded();
        self.failed.unpriced = self.failed.unpriced.saturating_add(u32::from(cost.is_none()));
        self.failed.money = self.failed.money + cost.unwrap_or(most);
    }

    /// Settles at what the upstream reported and what that costs; `None` where no price is known: then the money that is
    /// held is charged and flagged.
    pub fn settle(mut self, used: Used, cost: Option<Money>) -> Settlement {
        self.finish(SettledBy::Reported, used.bounded(), cost)
    }

    /// Settles at the reservation and flags it: the request was sent, and its usage is unknown.
    ///
    /// `most` is the most that the attempt can cost at its target; where that is not known, all that is held is charged.
    pub fn settle_unknown(mut self, most: Option<Money>) -> Settlement {
        let used = self.whole();
        self.finish(SettledBy::Reservation, used, most)
    }

    /// Settles at zero: the last attempt never left, or was refused before it could run.
    ///
    /// Attempts noted by [`Reservation::lost_attempt`] and [`Reservation::failed_attempt`] are charged all the same.
    pub fn not_sent(mut self) -> Settlement {
        self.finish(SettledBy::NotSent, Used::default(), Some(Money::ZERO))
    }

    fn whole(&self) -> Used {
        Used { input: self.ask.estimate.input, output: self.ask.estimate.output, ..Used::default() }
    }

    fn finish(&mut self, by: SettledBy, used: Used, cost: Option<Money>) -> Settlement {
        let failed = self.failed;
        let (stated, unknown) = self.failed_since(Failed::default());
        let settlement = Settlement {
            used,
            by,
            money: cost.unwrap_or(self.ask.money).min(Money::MOST),
            priced: cost.is_some(),
            lost_attempts: failed.unknown.saturating_add(failed.unpriced),
            lost: unknown + stated,
            lost_money: failed.money.min(Money::MOST),
        };
        let answered = settlement.used.input + settlement.used.output;
        let (reported, assumed) = match by {
            SettledBy::Reported => (answered, Tokens::ZERO),
            SettledBy::Reservation | SettledBy::NotSent => (Tokens::ZERO, answered),
        };
        self.open = false;
        if let Some((held, began)) = self.model.take() {
            let (stated, lost) = self.failed_since(began);
            held.settle(reported + stated, assumed + lost);
        }
        for (book, hold) in self.books.iter().flatten() {
            book.correct(hold, reported + stated, assumed + unknown);
            book.purse.settle(hold.era, self.ask.money, settlement.charged());
            book.close(self.ask, &settlement, failed);
        }
        std::mem::take(&mut self.budgets).settle(settlement.charged());
        settlement
    }
}

/// Whoever forgets a reservation, loses it to a disconnect or unwinds past it pays what was reserved.
impl Drop for Reservation {
    fn drop(&mut self) {
        if self.open {
            let used = self.whole();
            self.finish(SettledBy::Reservation, used, None);
        }
    }
}

#[cfg(test)]
mod tests;
