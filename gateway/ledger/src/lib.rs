//! The books on disk.
//!
//! **For.** [`Entry`] is the line that a settlement becomes: which request of which app used what, at which target, and
//! whether that is a report or a reservation.
//!
//! **Promises.** An entry holds every part of its settlement, so a sum over entries is a sum over settlements, and what
//! was flagged stays flagged.
//!
//! **Does not do.** Nothing is written anywhere yet. The journal, SQLite for one process, PostgreSQL for several, and
//! the counters they share come with budgets; until then the entry is the type that they will all take, and the audit
//! record is where a settlement can be read.

use std::sync::Arc;

use accounting::{SettledBy, Settlement, Tokens};

/// One line of the books: what one request was settled at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The gateway's id of the request; the same as in the audit record.
    pub request: Arc<str>,
    /// The app that pays.
    pub app: Arc<str>,
    /// The model that it asked for.
    pub model: Arc<str>,
    /// The target that answered, `endpoint/upstream-model`; nothing when none did.
    pub target: Option<Arc<str>>,
    /// What it was settled at.
    pub settlement: Settlement,
}

impl Entry {
    /// What the app is charged with, in tokens.
    #[must_use]
    pub fn charged(&self) -> Tokens {
        self.settlement.total()
    }

    /// Whether someone should look at it: a part is a reservation that no upstream confirmed.
    #[must_use]
    pub fn flagged(&self) -> bool {
        self.settlement.flagged()
    }

    /// Whether the request reached no upstream at all.
    #[must_use]
    pub fn never_left(&self) -> bool {
        self.settlement.by == SettledBy::NotSent && self.settlement.lost_attempts == 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use accounting::{Ask, Book, Moment, Money, Reservation, Used, estimate};

    use super::*;

    fn reserve() -> Reservation {
        let now = Moment { at: Instant::now(), month: 0, month_left: Duration::ZERO };
        let ask = Ask { estimate: estimate(400, Some(8)), money: Money(900) };
        Arc::new(Book::new(now.at)).reserve(None, ask, now).expect("the book has no limits")
    }

    fn entry(settlement: Settlement) -> Entry {
        Entry { request: "r-1".into(), app: "claims".into(), model: "chat".into(), target: None, settlement }
    }

    #[test]
    fn an_entry_charges_what_was_settled() {
        let used = Used { input: Tokens(3), output: Tokens(4), ..Used::default() };

        let entry = entry(reserve().settle(used, Some(Money(7))));

        assert_eq!((entry.charged(), entry.flagged(), entry.never_left()), (Tokens(7), false, false));
    }

    #[test]
    fn an_attempt_that_may_have_run_stays_flagged_when_the_last_one_never_left() {
        let mut reservation = reserve();
        reservation.lost_attempt(Money(5));

        let entry = entry(reservation.not_sent());

        assert_eq!((entry.charged(), entry.flagged(), entry.never_left()), (Tokens(108), true, false));
    }
}
