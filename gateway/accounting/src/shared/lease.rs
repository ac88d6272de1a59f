//! What a gateway may go up to, and until when.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Answer, BELIEVED, Bell, Counter, GOOD_FOR, Question, Short, part_of};

/// When a caller should come back that met a level at its limit: nobody knows when somebody gives back.
const WHEN_HELD: Duration = Duration::from_secs(1);

/// The part of a level that was leased.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lease {
    ceiling: u64,
    good_until: Option<Instant>,
    refused_until: Option<Instant>,
    /// What requests wait for.
    short: u64,
    /// What came since the store was asked last.
    came: u64,
    /// What the others may come to, and what of it is used up for good, when the store was asked last.
    others: u64,
    pub(crate) spent_by_others: u64,
}

impl Lease {
    /// Whether `amount` fits on top of what is `used`, and whether the store is to be asked.
    pub(crate) fn fits(&mut self, used: u64, amount: u64, now: Instant) -> (Result<(), Short>, bool) {
        let after = used.saturating_add(amount);
        if self.good_until.is_some_and(|until| now < until) && after <= self.ceiling {
            self.came = self.came.saturating_add(amount);
            return (Ok(()), false);
        }
        if self.refused_until.is_some_and(|until| now < until) {
            return (Err(Short::Refused { retry_after: WHEN_HELD }), false);
        }
        self.short = self.short.saturating_add(amount);
        (Err(Short::Unleased), true)
    }

    /// What to go up to for those who wait, and ahead of need. What is not wanted any more is given up here first.
    pub(crate) fn wanted(&mut self, used: u64, limit: u64) -> (u64, u64) {
        let part = part_of(limit);
        let ahead = if part == 1 { 0 } else { part.min(self.came.saturating_mul(2)) };
        let need = used.saturating_add(self.short);
        let want = need.saturating_add(ahead);
        self.ceiling = self.ceiling.min(want);
        self.came = 0;
        (need, want)
    }

    /// `used` is what was told in the question.
    pub(crate) fn learn(&mut self, (used, need): (u64, u64), answer: Option<Answer>, sent_at: Instant) {
        self.short = self.short.saturating_sub(need - used);
        let Some(Answer::Level { ceiling, others, spent }) = answer else { return };
        self.ceiling = ceiling;
        self.good_until = Some(sent_at + GOOD_FOR);
        (self.others, self.spent_by_others) = (others, spent);
        let refuses = need > used && ceiling < need;
        self.refused_until = refuses.then(|| sent_at + BELIEVED);
    }

    /// What the others hold or have used up, as far as it is known.
    pub(crate) fn others(&self) -> u64 {
        self.others
    }

    /// What lies here unused.
    pub(crate) fn is_ahead_of(&self, used: u64) -> bool {
        self.ceiling > used || self.short > 0
    }
}

/// Requests in flight, of all gateways together.
#[derive(Default)]
pub struct Seats {
    state: Mutex<State>,
    bell: OnceLock<Bell>,
}

#[derive(Debug, Default)]
struct State {
    limit: Option<u64>,
    used: u64,
    lease: Lease,
    /// The store was told that nothing is used here.
    gone: bool,
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seats").field("state", &*self.state.lock()).finish_non_exhaustive()
    }
}

impl Seats {
    /// So many at once.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        let seats = Self::default();
        seats.set(Some(limit));
        seats
    }

    /// Another limit; what is used stays.
    pub fn set(&self, limit: Option<u64>) {
        self.state.lock().limit = limit;
    }

    /// Takes one seat, which [`Seats::leave`] gives back.
    ///
    /// # Errors
    ///
    /// [`Short`].
    pub fn enter(&self, now: Instant) -> Result<(), Short> {
        let mut state = self.state.lock();
        if state.limit.is_none() {
            state.used += 1;
            return Ok(());
        }
        let used = state.used;
        let (fits, rings) = state.lease.fits(used, 1, now);
        if fits.is_ok() {
            state.used += 1;
            state.gone = false;
        }
        drop(state);
        if rings && let Some(bell) = self.bell.get() {
            bell();
        }
        fits
    }

    /// Gives a seat back.
    pub fn leave(&self) {
        let mut state = self.state.lock();
        state.used = state.used.saturating_sub(1);
    }
}

impl Counter for Seats {
    fn ring_by(&self, bell: Bell) {
        let _ = self.bell.set(bell);
    }

    fn questions(&self) -> Vec<Question> {
        let mut state = self.state.lock();
        let Some(limit) = state.limit else { return Vec::new() };
        let used = state.used;
        let (need, want) = state.lease.wanted(used, limit);
        if std::mem::replace(&mut state.gone, want == 0) && want == 0 {
            return Vec::new();
        }
        vec![Question::Level { month: None, limit, used, kept: 0, spent: 0, need, want }]
    }

    fn learn(&self, question: &Question, answer: Option<Answer>, sent_at: Instant) {
        let Question::Level { used, need, .. } = *question else { return };
        let mut state = self.state.lock();
        state.lease.learn((used, need), answer, sent_at);
    }

    fn tell_again(&self) {
        self.state.lock().gone = false;
    }

    fn is_busy(&self) -> bool {
        let state = self.state.lock();
        state.limit.is_some() && (state.used > 0 || state.lease.is_ahead_of(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(seats: &Seats, ceiling: u64, now: Instant) -> Question {
        let question = seats.questions().pop().expect("there is something to ask");
        seats.learn(&question, Some(Answer::Level { ceiling, others: 0, spent: 0 }), now);
        question
    }

    #[test]
    fn a_seat_is_taken_only_below_the_ceiling_and_only_while_it_is_good() {
        let (seats, now) = (Seats::new(3), Instant::now());
        assert_eq!(seats.enter(now), Err(Short::Unleased));

        let question = answer(&seats, 1, now);

        let asked = Question::Level { month: None, limit: 3, used: 0, kept: 0, spent: 0, need: 1, want: 1 };
        assert_eq!(question, asked);
        assert_eq!((seats.enter(now), seats.enter(now)), (Ok(()), Err(Short::Unleased)));
        seats.leave();
        assert_eq!(seats.enter(now + GOOD_FOR), Err(Short::Unleased));
    }

    #[test]
    fn a_refusal_holds_for_a_moment() {
        let (seats, now) = (Seats::new(3), Instant::now());
        seats.enter(now).expect_err("nothing is leased yet");
        answer(&seats, 0, now);

        assert_eq!(seats.enter(now), Err(Short::Refused { retry_after: WHEN_HELD }));
        assert_eq!(seats.enter(now + BELIEVED), Err(Short::Unleased));
    }

    #[test]
    fn what_is_not_wanted_any_more_cannot_be_used_while_the_store_is_told() {
        let (seats, now) = (Seats::new(640), Instant::now());
        for _ in 0..8 {
            seats.enter(now).expect_err("nothing is leased yet");
        }
        answer(&seats, 8, now);

        let given_up = seats.questions();

        assert!(matches!(given_up[..], [Question::Level { used: 0, want: 0, .. }]), "{given_up:?}");
        assert_eq!(seats.enter(now), Err(Short::Unleased));
    }

    #[test]
    fn without_a_limit_seats_are_counted_and_nobody_is_asked() {
        let (seats, now) = (Seats::default(), Instant::now());

        assert_eq!(seats.enter(now), Ok(()));
        assert_eq!((seats.questions(), seats.is_busy()), (Vec::new(), false));
    }
}
