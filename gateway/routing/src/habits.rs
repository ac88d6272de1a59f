//! What an app's requests turn out to use, so that the next one can be judged before anyone has counted.

use std::time::{Duration, Instant};

use accounting::{BYTES_PER_TOKEN, DEFAULT_OUTPUT, Tokens};

use crate::ask::Expected;
use crate::signals::Used;

/// What is known of an app is forgotten after a day without a request.
const FORGOTTEN: Duration = Duration::from_secs(86_400);

/// Weight of one answer in the bytes a token and in the mean output.
const BYTES_WEIGHT: f64 = 0.1;
const OUTPUT_WEIGHT: f64 = 0.02;

/// How far one answer moves the 95th percentile, as a factor's logarithm.
const PERCENTILE_STEP: f64 = 0.1;

/// What one app uses of one model.
///
/// Bytes a token differ by a third between code, prose and tables, and hardly within an app; output differs by a factor
/// of eight between apps. Averages an app take most of that error away.
#[derive(Clone, Debug)]
pub struct Habits {
    bytes_per_token: f64,
    mean_output: f64,
    /// The 95th percentile of the output, followed by steps of unequal size.
    most_output: f64,
    answers: u32,
    at: Option<Instant>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            bytes_per_token: BYTES_PER_TOKEN as f64,
            mean_output: DEFAULT_OUTPUT.0 as f64,
            most_output: DEFAULT_OUTPUT.0 as f64,
            answers: 0,
            at: None,
        }
    }
}

impl Habits {
    /// An app of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a request of `input_bytes` with this bound on its output is expected to use.
    ///
    /// Without a bound the most it will write is the learned 95th percentile, at first 1,024 tokens.
    #[must_use]
    pub fn expect(&self, input_bytes: usize, max_output: Option<u64>, now: Instant) -> Expected {
        let fresh = self.at.is_some_and(|at| now.saturating_duration_since(at) < FORGOTTEN);
        let unknown = Self::default();
        let known = if fresh { self } else { &unknown };
        let bound = max_output.map_or(Tokens::MOST, Tokens);
        Expected {
            prompt: Tokens((input_bytes as f64 / known.bytes_per_token).ceil() as u64).bounded(),
            output: Tokens(known.mean_output.ceil() as u64).min(bound),
            at_most: max_output.map_or(Tokens(known.most_output.ceil() as u64), Tokens).bounded(),
        }
    }

    /// An answer reported what it used; `input_bytes` is the text that was counted for it.
    pub fn on_usage(&mut self, input_bytes: usize, used: &Used, now: Instant) {
        if self.at.is_none_or(|at| now.saturating_duration_since(at) >= FORGOTTEN) {
            *self = Self::default();
        }
        self.at = Some(now);
        if used.input.0 > 0 && input_bytes > 0 {
            let ratio = (input_bytes as f64 / used.input.0 as f64).clamp(0.5, 32.0);
            self.bytes_per_token += BYTES_WEIGHT * (ratio - self.bytes_per_token);
        }
        let output = used.output.bounded().0 as f64;
        // The first answers weigh more, so that the first guess is gone after a few.
        let weight = OUTPUT_WEIGHT.max(1.0 / f64::from(self.answers.saturating_add(1)));
        self.mean_output += weight * (output - self.mean_output);
        let step = if output > self.most_output { 0.95 } else { -0.05 };
        self.most_output = (self.most_output * (PERCENTILE_STEP * step).exp()).clamp(1.0, Tokens::MOST.0 as f64);
        self.answers = self.answers.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(input: u64, output: u64) -> Used {
        Used { input: Tokens(input), cached: Tokens(0), output: Tokens(output) }
    }

    #[test]
    fn before_the_first_answer_the_general_estimate_holds() {
        let expected = Habits::new().expect(4_000, None, Instant::now());

        assert_eq!(expected, Expected { prompt: Tokens(1_000), output: DEFAULT_OUTPUT, at_most: DEFAULT_OUTPUT });
    }

    #[test]
    fn bytes_a_token_and_output_follow_what_the_app_uses() {
        let now = Instant::now();
        let mut habits = Habits::new();
        for step in 0..2_000_u64 {
            // One answer in ten is long.
            habits.on_usage(2_000, &used(1_000, if step % 10 == 0 { 500 } else { 50 }), now);
        }

        let expected = habits.expect(2_000, None, now);

        assert_eq!(expected.prompt, Tokens(1_000));
        assert!((60..140).contains(&expected.output.0), "{expected:?}");
        assert!((300..=700).contains(&expected.at_most.0), "{expected:?}");
    }

    #[test]
    fn a_callers_bound_is_the_most_that_is_expected() {
        let expected = Habits::new().expect(4, Some(7), Instant::now());

        assert_eq!((expected.output, expected.at_most), (Tokens(7), Tokens(7)));
    }

    #[test]
    fn what_is_a_day_old_is_forgotten() {
        let now = Instant::now();
        let mut habits = Habits::new();
        habits.on_usage(100, &used(100, 3), now);

        assert_eq!(habits.expect(400, None, now + FORGOTTEN).prompt, Tokens(100));
        assert_ne!(habits.expect(400, None, now).prompt, Tokens(100));
    }
}
