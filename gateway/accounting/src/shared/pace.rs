//! What came lately: so much is held ahead of need, and no more.
//!
//! It is counted over a stretch of time, and not since the store was asked last: of callers that press, several find their part
//! used up at the same moment, and the second question would come after nothing.

use std::time::{Duration, Instant};

/// What is counted apart. The latest is the one that is running.
const STEPS: usize = 4;

/// How long each is. Together they are half a second at most, in which a gateway looks at its counters once: what is held for
/// twice as much lasts until then, and what nobody uses any more is given back within a second.
const STEP: Duration = Duration::from_millis(125);

/// What came within the last half second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// The latest first.
    steps: [u64; STEPS],
    began: Option<Instant>,
}

impl Pace {
    pub(super) fn count(&mut self, amount: u64, now: Instant) {
        self.turn(now);
        self.steps[0] = self.steps[0].saturating_add(amount);
    }

    /// What came in three whole steps and in the one that is running.
    pub(super) fn lately(&mut self, now: Instant) -> u64 {
        self.turn(now);
        self.steps.iter().fold(0, |sum, step| sum.saturating_add(*step))
    }

    /// Whether there is something left to forget, as far as is known without a clock.
    pub(super) fn is_counting(&self) -> bool {
        self.steps.iter().any(|step| *step > 0)
    }

    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began);
        if passed < STEP {
            return;
        }
        match u32::try_from(passed.as_millis() / STEP.as_millis()) {
            Ok(over @ 1..=3) => {
                for _ in 0..over {
                    self.steps.rotate_right(1);
                    self.steps[0] = 0;
                }
                self.began = Some(began + STEP * over);
            }
            _ => *self = Self { began: Some(now), ..Self::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_forgotten_within_half_a_second_and_a_part_of_it_not_sooner_than_after_three_eighths() {
        let begun = Instant::now();
        for offset in [0, 1, 60, 124] {
            let came = begun + Duration::from_millis(offset);
            let lately = |later: u64| {
                let mut pace = Pace::default();
                pace.count(0, begun);
                pace.count(7, came);
                pace.lately(came + Duration::from_millis(later))
            };

            assert_eq!([lately(0), lately(375), lately(500)], [7, 7, 0], "{offset}");
        }
    }

    #[test]
    fn what_comes_evenly_is_counted_for_three_steps_at_least_and_four_at_most_however_often_it_is_asked() {
        let (mut pace, begun) = (Pace::default(), Instant::now());

        for at in 0..5_000 {
            let now = begun + Duration::from_millis(at);
            pace.count(1, now);
            let lately = pace.lately(now);
            assert!(at < 500 || (376..=500).contains(&lately), "{at}: {lately}");
        }
    }

    #[test]
    fn a_clock_that_is_read_in_another_order_forgets_nothing() {
        let (mut pace, now) = (Pace::default(), Instant::now() + Duration::from_secs(1));
        pace.count(3, now);

        pace.count(4, now - Duration::from_millis(300));

        assert_eq!(pace.lately(now), 7);
    }
}
