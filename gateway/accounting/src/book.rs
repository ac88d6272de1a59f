//! The book of one app, and the reservations that are open in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tokens::{Estimate, Tokens};

/// What one app has reserved and what it has used, since the process started.
///
/// Counters only, without a lock: a request touches each at most twice. Every counter is exact; a reading of several of
/// them ([`Book::totals`]) may fall between two steps of a request that is just ending.
#[derive(Debug, Default)]
pub struct Book {
    requests: AtomicU64,
    open: AtomicU64,
    reserved: AtomicU64,
    settled_input: AtomicU64,
    settled_output: AtomicU64,
    settled_unknown: AtomicU64,
    flagged: AtomicU64,
    not_sent: AtomicU64,
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the estimate from this book until the reservation is settled.
    pub fn reserve(self: &Arc<Self>, estimate: Estimate) -> Reservation {
        // The fields of an estimate are public; the bound holds whoever wrote them.
        let estimate = Estimate { input: estimate.input.bounded(), output: estimate.output.bounded() };
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        self.reserved.fetch_add(estimate.total().0, Ordering::Relaxed);
        Reservation { book: Arc::clone(self), estimate, lost_attempts: 0, open: true }
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
        }
    }

    /// The one place where a reservation leaves the book.
    fn close(&self, reserved: Estimate, settlement: &Settlement) {
        self.reserved.fetch_sub(reserved.total().0, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
        match settlement.by {
            SettledBy::Reported => {
                add(&self.settled_input, settlement.input);
                add(&self.settled_output, settlement.output);
            }
            SettledBy::Reservation => add(&self.settled_unknown, settlement.input + settlement.output),
            SettledBy::NotSent => {
                self.not_sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        add(&self.settled_unknown, settlement.lost);
        if settlement.flagged() {
            self.flagged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Adds without wrapping around: an upstream may report any number, and the sum of a year must not become small.
fn add(counter: &AtomicU64, tokens: Tokens) {
    let added = |sum: u64| Some(sum.saturating_add(tokens.0));
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
}

impl Totals {
    /// Everything that was settled, reported or not.
    #[must_use]
    pub fn settled(&self) -> Tokens {
        self.settled_input + self.settled_output + self.settled_unknown
    }
}

/// Tokens that an upstream reported for one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Tokens read by the model.
    pub input: Tokens,
    /// Tokens written by the model.
    pub output: Tokens,
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
    /// Input tokens of the answer.
    pub input: Tokens,
    /// Output tokens of the answer.
    pub output: Tokens,
    /// Where these two numbers come from.
    pub by: SettledBy,
    /// Attempts before it that may have been executed without a reported usage.
    pub lost_attempts: u32,
    /// What those attempts were settled at: the reservation, once for each.
    pub lost: Tokens,
}

impl Settlement {
    /// Everything this request is charged with.
    #[must_use]
    pub fn total(&self) -> Tokens {
        self.input + self.output + self.lost
    }

    /// Whether any part of it is a reservation and not a report.
    #[must_use]
    pub fn flagged(&self) -> bool {
        self.by == SettledBy::Reservation || self.lost_attempts > 0
    }
}

/// Tokens held for one request. It is settled exactly once: each way to settle consumes it.
///
/// ```
/// use std::sync::Arc;
/// use accounting::{Book, Reported, SettledBy, Tokens, estimate};
///
/// let book = Arc::new(Book::new());
///
/// let reservation = book.reserve(estimate(400, Some(50)));
/// let settlement = reservation.settle(Reported { input: Tokens(90), output: Tokens(12) });
///
/// assert_eq!((settlement.total(), settlement.by), (Tokens(102), SettledBy::Reported));
/// assert_eq!(book.totals().reserved, Tokens::ZERO);
/// ```
///
/// A second settlement does not compile:
///
/// ```compile_fail,E0382
/// # use std::sync::Arc;
/// # use accounting::{Book, Reported, SettledBy, Tokens, estimate};
/// let book = Arc::new(Book::new());
///
/// let reservation = book.reserve(estimate(400, Some(50)));
/// reservation.settle(Reported { input: Tokens(90), output: Tokens(12) });
/// reservation.settle(Reported { input: Tokens(90), output: Tokens(12) });
/// ```
#[derive(Debug)]
#[must_use = "a reservation that is dropped is settled at what it holds"]
pub struct Reservation {
    book: Arc<Book>,
    estimate: Estimate,
    lost_attempts: u32,
    // INVARIANT: true until `finish` has run once; `finish` is the only place that clears it.
    open: bool,
}

impl Reservation {
    /// What is held.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        self.estimate
    }

    /// Notes an attempt that may have been executed and whose usage nobody will report (a timeout after sending, a 5xx).
    ///
    /// It is charged at the reservation when this request ends, beside whatever the last attempt used.
    pub fn lost_attempt(&mut self) {
        self.lost_attempts = self.lost_attempts.saturating_add(1);
    }

    /// Settles at what the upstream reported.
    pub fn settle(mut self, reported: Reported) -> Settlement {
        self.finish(SettledBy::Reported, reported.input.bounded(), reported.output.bounded())
    }

    /// Settles at the reservation and flags it: the request was sent, and its usage is unknown.
    pub fn settle_unknown(mut self) -> Settlement {
        self.finish(SettledBy::Reservation, self.estimate.input, self.estimate.output)
    }

    /// Settles at zero: the last attempt never left, or was refused before it could run.
    ///
    /// Attempts noted by [`Reservation::lost_attempt`] are charged all the same.
    pub fn not_sent(mut self) -> Settlement {
        self.finish(SettledBy::NotSent, Tokens::ZERO, Tokens::ZERO)
    }

    fn finish(&mut self, by: SettledBy, input: Tokens, output: Tokens) -> Settlement {
        let lost = Tokens(self.estimate.total().0.saturating_mul(u64::from(self.lost_attempts)));
        let settlement = Settlement { input, output, by, lost_attempts: self.lost_attempts, lost };
        self.open = false;
        self.book.close(self.estimate, &settlement);
        settlement
    }
}

/// Whoever forgets a reservation, loses it to a disconnect or unwinds past it pays what was reserved.
impl Drop for Reservation {
    fn drop(&mut self) {
        if self.open {
            self.finish(SettledBy::Reservation, self.estimate.input, self.estimate.output);
        }
    }
}

#[cfg(test)]
mod tests;
