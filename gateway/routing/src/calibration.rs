//! One scalar a model that makes the first-token target tighter while too many requests miss it.
//!
//! Predictions err. Where they err often enough to break the promise, the target that they are held to shrinks until the
//! misses are within budget: online conformal calibration. It only ever tightens. Letting it loosen beyond the target
//! that was set cost 20 to 30 % more in the simulation, and would promise what nobody asked for.

use std::time::Instant;

/// How far one answer moves the scalar.
const STEP: f64 = 0.02;

/// The tightest: a twentieth of the target.
const TIGHTEST: f64 = 0.05;

/// While answers come, they say themselves whether the targets may be looser again, and this is only a slow drift.
const DRIFT: f64 = 3_000.0;

/// Seconds without an answer after which what was learned counts as old, and over which it is then forgotten. Without
/// this a burst of misses could keep requests away from own servers, and nothing served there could ever show that they
/// are fast again.
const OLD: f64 = 30.0;
const FORGOTTEN_OVER: f64 = 300.0;

/// How much of its targets a model may use up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tightness {
    /// Factor on the first-token target, at most 1.
    pub first_token: f64,
    /// Factor on the time per further token, at most 1.
    pub per_token: f64,
}

impl Tightness {
    /// Nothing to correct.
    pub const NONE: Self = Self { first_token: 1.0, per_token: 1.0 };
}

/// The calibration of one model.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    tightness: Tightness,
    at: Option<Instant>,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { tightness: Tightness::NONE, at: None }
    }
}

impl Calibration {
    /// A model of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tightness at `now`: what misses tightened is forgotten within some minutes in which own capacity answers nothing.
    #[must_use]
    pub fn at(&self, now: Instant) -> Tightness {
        let Some(at) = self.at else { return Tightness::NONE };
        let age = now.saturating_duration_since(at).as_secs_f64();
        let left = (-age.min(OLD) / DRIFT - (age - OLD).max(0.0) / FORGOTTEN_OVER).exp();
        let relax = |scalar: f64| 1.0 - (1.0 - scalar) * left;
        Tightness { first_token: relax(self.tightness.first_token), per_token: relax(self.tightness.per_token) }
    }

    /// The first token of an interactive request came from own capacity, within its target or not.
    pub fn on_first_token(&mut self, missed: bool, miss_budget: f64, now: Instant) {
        let mut tightness = self.at(now);
        tightness.first_token = stepped(tightness.first_token, missed, miss_budget);
        *self = Self { tightness, at: Some(now) };
    }

    /// An interactive answer from own capacity ended, within its times as a whole or not.
    pub fn on_end(&mut self, missed: bool, miss_budget: f64, now: Instant) {
        let mut tightness = self.at(now);
        tightness.per_token = stepped(tightness.per_token, missed, miss_budget);
        *self = Self { tightness, at: Some(now) };
    }
}

fn stepped(scalar: f64, missed: bool, miss_budget: f64) -> f64 {
    let miss = if missed { 1.0 } else { 0.0 };
    (scalar + STEP * (miss_budget.clamp(0.001, 1.0) - miss)).clamp(TIGHTEST, 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn misses_beyond_the_budget_tighten_the_target() {
        let now = Instant::now();
        let mut calibration = Calibration::new();
        for step in 0..100 {
            calibration.on_first_token(step % 5 == 0, 0.01, now);
        }

        let tightness = calibration.at(now);
        assert!((0.5..0.7).contains(&tightness.first_token), "{tightness:?}");
        assert!((tightness.per_token - 1.0).abs() < 1e-9);
    }

    #[test]
    fn no_success_loosens_it_beyond_the_target() {
        let now = Instant::now();
        let mut calibration = Calibration::new();
        for _ in 0..1_000 {
            calibration.on_first_token(false, 0.05, now);
            calibration.on_end(false, 0.05, now);
        }

        assert_eq!(calibration.at(now), Tightness::NONE);
    }

    #[test]
    fn a_run_of_misses_is_forgiven_with_time_even_when_nothing_is_served_meanwhile() {
        let now = Instant::now();
        let mut calibration = Calibration::new();
        for _ in 0..1_000 {
            calibration.on_first_token(true, 0.01, now);
        }

        assert!((calibration.at(now).first_token - TIGHTEST).abs() < 1e-9);
        assert!(calibration.at(now + Duration::from_secs(930)).first_token > 0.9);
    }
}
