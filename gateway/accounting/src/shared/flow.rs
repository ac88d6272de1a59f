//! Units of a rate, taken out of the store's bucket in parts.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Answer, BELIEVED, Bell, Counter, Question, Short, part_of};
use crate::limits::RateStanding;

/// How long units that were taken ahead may lie here.
const LIES_FOR: Duration = Duration::from_secs(2);

/// The most that is owed: an hour, as for a rate of one gateway.
const LONGEST_DEBT: u64 = 60;

/// A rate that several gateways share.
#[derive(Default)]
pub struct Flow {
    state: Mutex<State>,
    bell: OnceLock<Bell>,
}

#[derive(Debug, Default)]
struct State {
    limit: Option<u64>,
    period: Duration,
    /// Taken from the store and not used. INVARIANT: nothing while something is owed.
    at_hand: u64,
    /// Used, and not taken from the store.
    owed: u64,
    good_until: Option<Instant>,
    /// What requests wait for: all together, and the smallest.
    short: u64,
    least: Option<u64>,
    /// Used since the store was asked last.
    used: u64,
    refused: Option<Refused>,
    /// What the store had left when it was asked last.
    left: u64,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    until: Instant,
    least: u64,
    fits_at: Instant,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("state", &*self.state.lock()).finish_non_exhaustive()
    }
}

impl Flow {
    /// So many units in a period.
    #[must_use]
    pub fn new(limit: u64, period: Duration) -> Self {
        let flow = Self::default();
        flow.set(Some(limit), period);
        flow
    }

    /// Another limit; what lies here and what is owed stays.
    pub fn set(&self, limit: Option<u64>, period: Duration) {
        let mut state = self.state.lock();
        if state.limit != limit {
            state.left = limit.unwrap_or_default();
            state.refused = None;
        }
        (state.limit, state.period) = (limit, period);
    }

    /// Takes units, or the whole limit where they are more; gives how many were taken.
    ///
    /// # Errors
    ///
    /// [`Short`].
    pub fn take(&self, units: u64, now: Instant) -> Result<u64, Short> {
        let (taken, rings) = self.state.lock().take(units, now);
        if rings {
            self.ring();
        }
        taken
    }

    /// What was taken is replaced by what an upstream `reported`, and by what is `assumed` where none did: a minute's worth at
    /// most, as for a rate of one gateway.
    pub fn settle(&self, taken: u64, reported: u64, assumed: u64) {
        let limit = self.state.lock().limit;
        self.correct(taken, reported.saturating_add(limit.map_or(assumed, |limit| assumed.min(limit))));
    }

    /// What was taken is replaced by what was used.
    pub fn correct(&self, taken: u64, used: u64) {
        let mut state = self.state.lock();
        let Some(limit) = state.limit else { return };
        if used <= taken {
            let back = taken - used;
            let paid = state.owed.min(back);
            state.owed -= paid;
            state.at_hand += back - paid;
        } else {
            let more = (used - taken).min(limit.saturating_mul(LONGEST_DEBT));
            let paid = state.at_hand.min(more);
            state.at_hand -= paid;
            state.owed = state.owed.saturating_add(more - paid).min(limit.saturating_mul(LONGEST_DEBT));
        }
        let rings = state.owed > 0 || state.at_hand > 2 * part_of(limit);
        drop(state);
        if rings {
            self.ring();
        }
    }

    /// How it stands, as far as this gateway knows; `None` without a limit.
    #[must_use]
    pub fn standing(&self) -> Option<RateStanding> {
        let state = self.state.lock();
        let limit = state.limit?;
        let remaining = state.left.saturating_add(state.at_hand).saturating_sub(state.owed).min(limit);
        Some(RateStanding { limit, remaining, full_in: time_of(limit - remaining, limit, state.period) })
    }

    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell();
        }
    }
}

impl State {
    /// What was taken, and whether the store is to be asked.
    fn take(&mut self, units: u64, now: Instant) -> (Result<u64, Short>, bool) {
        let Some(limit) = self.limit else { return (Ok(0), false) };
        let units = units.min(limit);
        if units == 0 {
            return (Ok(0), false);
        }
        if self.is_good(now) && self.at_hand >= units {
            self.at_hand -= units;
            self.used = self.used.saturating_add(units);
            let part = part_of(limit);
            return (Ok(units), part > 1 && self.at_hand < part / 2);
        }
        if let Some(refused) = self.refused.filter(|refused| now < refused.until && units >= refused.least) {
            let more = time_of(units - refused.least, limit, self.period);
            let retry_after = refused.fits_at.saturating_duration_since(now) + more;
            return (Err(Short::Refused { retry_after }), false);
        }
        self.short = self.short.saturating_add(units);
        self.least = Some(self.least.map_or(units, |least| least.min(units)));
        (Err(Short::Unleased), true)
    }

    fn is_good(&self, now: Instant) -> bool {
        self.good_until.is_some_and(|until| now < until)
    }

    fn question(&mut self) -> Option<Question> {
        let limit = self.limit?;
        let part = part_of(limit);
        let ahead = if part == 1 { 0 } else { part.min(self.used.saturating_mul(2)) };
        let wanted = self.short.saturating_add(ahead).min(limit);
        let (least, used) = (self.least.take(), std::mem::take(&mut self.used));
        self.short = 0;
        let is_idle = used == 0 && least.is_none();
        let keep = if is_idle { 0 } else { wanted.max(part) };
        let back = self.at_hand.saturating_sub(keep);
        let most = wanted.saturating_sub(self.at_hand);
        let is_low = most > 0 && self.at_hand < wanted / 2;
        if least.is_none() && self.owed == 0 && back == 0 && !is_low {
            return None;
        }
        self.at_hand -= back;
        let owed = signed(std::mem::take(&mut self.owed)) - signed(back);
        let least = least.map_or(most.min(1), |least| least.saturating_sub(self.at_hand));
        Some(Question::Flow { limit, period: self.period, owed, least, most })
    }
}

impl Counter for Flow {
    fn ring_by(&self, bell: Bell) {
        let _ = self.bell.set(bell);
    }

    fn questions(&self) -> Vec<Question> {
        self.state.lock().question().into_iter().collect()
    }

    fn learn(&self, question: &Question, answer: Option<Answer>, sent_at: Instant) {
        let Question::Flow { owed, least, most, .. } = *question else { return };
        let mut state = self.state.lock();
        match answer {
            Some(Answer::Flow { granted, left, wait }) => {
                let paid = state.owed.min(granted);
                state.owed -= paid;
                state.at_hand += granted - paid;
                state.left = left;
                state.good_until = Some(sent_at + LIES_FOR);
                let is_refused = most > 0 && granted < least;
                state.refused = is_refused.then(|| Refused {
                    until: sent_at + wait.min(BELIEVED),
                    least: least + state.at_hand,
                    fits_at: sent_at + wait,
                });
            }
            // Whether it was taken is not known: what is owed is told again, what was given back is not.
            _ => state.owed = state.owed.saturating_add(u64::try_from(owed).unwrap_or(0)),
        }
    }

    /// Whoever keeps it knows what was granted lately.
    fn tell_again(&self) {}

    fn is_busy(&self) -> bool {
        let state = self.state.lock();
        state.at_hand > 0 || state.owed > 0 || state.used > 0
    }
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

/// The time that so many units take to come back.
fn time_of(units: u64, limit: u64, period: Duration) -> Duration {
    let ns = u128::from(units) * period.as_nanos() / u128::from(limit.max(1));
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn asked(flow: &Flow) -> Question {
        flow.questions().pop().expect("there is something to ask")
    }

    fn answered(flow: &Flow, granted: u64, now: Instant) -> Question {
        let question = asked(flow);
        flow.learn(&question, Some(Answer::Flow { granted, left: 0, wait: Duration::from_secs(5) }), now);
        question
    }

    #[test]
    fn nothing_is_let_in_that_was_not_taken_from_the_store() {
        let (flow, now) = (Flow::new(640, MINUTE), Instant::now());

        assert_eq!(flow.take(3, now), Err(Short::Unleased));
        let question = answered(&flow, 3, now);

        assert_eq!(question, Question::Flow { limit: 640, period: MINUTE, owed: 0, least: 3, most: 3 });
        assert_eq!((flow.take(3, now), flow.take(1, now)), (Ok(3), Err(Short::Unleased)));
    }

    #[test]
    fn the_more_is_used_the_more_is_taken_ahead_up_to_a_thirty_second() {
        let (flow, now) = (Flow::new(640, MINUTE), Instant::now());
        flow.take(15, now).expect_err("nothing is here yet");
        answered(&flow, 15, now);
        flow.take(15, now).expect("it was taken");

        let Question::Flow { most, .. } = asked(&flow) else { unreachable!("a flow asks for a flow") };

        assert_eq!(most, 20);
    }

    #[test]
    fn what_lies_unused_is_given_back() {
        let (flow, now) = (Flow::new(640, MINUTE), Instant::now());
        flow.take(9, now).expect_err("nothing is here yet");
        answered(&flow, 9, now);

        let Question::Flow { owed, most, .. } = asked(&flow) else { unreachable!("a flow asks for a flow") };

        assert_eq!((owed, most, flow.is_busy()), (-9, 0, false));
        assert_eq!(flow.take(1, now), Err(Short::Unleased));
    }

    #[test]
    fn units_that_lay_here_for_too_long_are_not_used() {
        let (flow, now) = (Flow::new(640, MINUTE), Instant::now());
        flow.take(9, now).expect_err("nothing is here yet");
        answered(&flow, 9, now);

        assert_eq!(flow.take(1, now + LIES_FOR), Err(Short::Unleased));
    }

    #[test]
    fn what_was_used_beyond_is_owed_until_the_store_was_told() {
        let (flow, now) = (Flow::new(640, MINUTE), Instant::now());
        flow.take(10, now).expect_err("nothing is here yet");
        answered(&flow, 10, now);
        flow.take(10, now).expect("it was taken");
        flow.correct(10, 50);

        let question = asked(&flow);
        flow.learn(&question, None, now);
        let again = asked(&flow);

        for question in [question, again] {
            assert!(matches!(question, Question::Flow { owed: 40, .. }), "{question:?}");
        }
    }

    #[test]
    fn a_refusal_is_believed_for_a_moment_and_says_when_it_will_fit() {
        let (flow, now) = (Flow::new(60, MINUTE), Instant::now());
        flow.take(2, now).expect_err("nothing is here yet");
        answered(&flow, 0, now);

        let refused = |units| flow.take(units, now);

        assert_eq!(refused(2), Err(Short::Refused { retry_after: Duration::from_secs(5) }));
        assert_eq!(refused(4), Err(Short::Refused { retry_after: Duration::from_secs(7) }));
        assert_eq!(refused(1), Err(Short::Unleased));
        assert_eq!(flow.take(2, now + BELIEVED), Err(Short::Unleased));
    }

    #[test]
    fn a_request_larger_than_the_limit_takes_all_of_it() {
        let (flow, now) = (Flow::new(100, MINUTE), Instant::now());
        flow.take(5_000, now).expect_err("nothing is here yet");
        let question = answered(&flow, 100, now);

        assert!(matches!(question, Question::Flow { least: 100, most: 100, .. }), "{question:?}");
        assert_eq!(flow.take(5_000, now), Ok(100));
    }
}
