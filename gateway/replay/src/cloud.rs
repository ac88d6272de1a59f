//! A model of a cloud: a first token after a log-normal time, then tokens at a steady pace, within a quota.

use serde::Deserialize;

use crate::random::Random;

/// The constants of one cloud.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloudSpec {
    /// Milliseconds to the cloud and back.
    pub round_trip_ms: f64,
    /// Median milliseconds to the first token, the round trip left out.
    pub first_token_ms: f64,
    /// Standard deviation of its logarithm.
    pub spread: f64,
    /// Share of the requests that take `tail_factor` times as long.
    pub tail: f64,
    /// How much longer those take.
    pub tail_factor: f64,
    /// Milliseconds for each further token.
    pub token_ms: f64,
    /// Tokens a minute, prompt and output together, counted when a request is admitted.
    pub tokens_per_minute: f64,
    /// Seconds of the quota that may be used at once.
    pub window_s: f64,
}

impl Default for CloudSpec {
    fn default() -> Self {
        Self {
            round_trip_ms: 60.0,
            first_token_ms: 400.0,
            spread: 0.4,
            tail: 0.005,
            tail_factor: 5.0,
            token_ms: 25.0,
            tokens_per_minute: 600_000.0,
            window_s: 10.0,
        }
    }
}

/// One cloud at work.
#[derive(Debug)]
pub(crate) struct Cloud {
    spec: CloudSpec,
    random: Random,
    /// Factor on the first-token time, and on the quota: a fault makes the first larger or the second smaller than 1.
    pub(crate) slower: f64,
    pub(crate) quota: f64,
    left: f64,
    at: f64,
}

/// How a cloud took a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Taken {
    /// It answers, so many seconds after the request came in.
    Answers { first: f64, last: f64, remaining: f64 },
    /// 429: its quota suffices again after so many seconds.
    Refused { retry_after: f64 },
}

impl Cloud {
    pub(crate) fn new(spec: CloudSpec, random: Random) -> Self {
        let left = spec.tokens_per_minute / 60.0 * spec.window_s;
        Self { spec, random, slower: 1.0, quota: 1.0, left, at: 0.0 }
    }

    pub(crate) fn round_trip(&self) -> f64 {
        self.spec.round_trip_ms / 1_000.0
    }

    pub(crate) fn arrive(&mut self, (prompt, output): (u32, u32), now: f64) -> Taken {
        self.left = self.left_at(now);
        self.at = now;
        let rate = self.rate();
        let tokens = f64::from(prompt + output).min(rate * self.spec.window_s);
        if self.left < tokens {
            return Taken::Refused { retry_after: (tokens - self.left) / rate.max(1e-9) };
        }
        self.left -= tokens;
        let tail = if self.random.unit() < self.spec.tail { self.spec.tail_factor } else { 1.0 };
        let first =
            self.spec.first_token_ms / 1e3 * (self.spec.spread * self.random.normal()).exp() * tail * self.slower;
        let last = first + f64::from(output.saturating_sub(1)) * self.spec.token_ms / 1e3;
        Taken::Answers { first, last, remaining: self.left }
    }

    /// What its quota leaves at `now`, as only the cloud itself knows.
    pub(crate) fn left_at(&self, now: f64) -> f64 {
        let rate = self.rate();
        (self.left + rate * (now - self.at).max(0.0)).min(rate * self.spec.window_s)
    }

    fn rate(&self) -> f64 {
        self.spec.tokens_per_minute / 60.0 * self.quota
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_refuses_what_exceeds_it_and_says_when_it_suffices_again() {
        let mut cloud = Cloud::new(CloudSpec::default(), Random::new(1));

        assert!(matches!(cloud.arrive((90_000, 5_000), 0.0), Taken::Answers { .. }));
        let Taken::Refused { retry_after } = cloud.arrive((10_000, 0), 0.0) else { unreachable!("95,000 of 100,000") };

        assert!((retry_after - 0.5).abs() < 1e-9);
        assert!(matches!(cloud.arrive((10_000, 0), retry_after), Taken::Answers { .. }));
    }

    #[test]
    fn half_of_the_first_tokens_come_before_the_median() {
        let mut cloud = Cloud::new(CloudSpec { tokens_per_minute: 1e12, ..CloudSpec::default() }, Random::new(1));
        let sooner = (0..10_000)
            .filter(|_| matches!(cloud.arrive((10, 10), 0.0), Taken::Answers { first, .. } if first < 0.4))
            .count();

        assert!((4_800..5_200).contains(&sooner), "{sooner}");
    }
}
