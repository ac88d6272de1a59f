//! The first-token time of a target whose queue nobody outside can see: quantiles of what it showed lately.

/// Weight of one answer in the mean and the variance of the logarithm.
const WEIGHT: f64 = 0.02;

/// Variance of the logarithm before there are enough answers to tell: a 95th percentile of twice the median.
const FIRST_VARIANCE: f64 = 0.16;

/// The 95th percentile of the normal distribution, in standard deviations.
const P95: f64 = 1.645;

/// After so many seconds without an answer, one request may find out whether a target is still slow.
const OLD: f64 = 30.0;

/// A log-normal distribution, followed by fading averages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency {
    mean: f64,
    variance: f64,
    answers: u32,
    /// When the last answer came, or a request went out to renew an old estimate.
    renewed: f64,
}

/// Median and 95th percentile, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
}

impl Latency {
    /// A request leaves: when the estimate is old, this is the one that renews it, and the others go by the old one.
    pub(crate) fn on_send(&mut self, now: f64) {
        if now - self.renewed > OLD {
            self.renewed = now;
        }
    }

    pub(crate) fn on_first_byte(&mut self, took: f64, now: f64) {
        let took = took.max(1e-3).ln();
        if self.answers == 0 {
            self.mean = took;
            self.variance = FIRST_VARIANCE;
        } else {
            let weight = WEIGHT.max(1.0 / f64::from(self.answers + 1));
            let error = took - self.mean;
            self.mean += weight * error;
            // The first guess of the variance fades with the fixed weight: two answers alike say nothing of the spread.
            self.variance += WEIGHT * (error * error - self.variance);
        }
        self.answers = self.answers.saturating_add(1);
        self.renewed = now;
    }

    /// What is known; nothing before the first answer, and nothing when it is old.
    pub(crate) fn at(&self, now: f64) -> Option<Quantiles> {
        if self.answers == 0 || now - self.renewed > OLD {
            return None;
        }
        Some(Quantiles { p50: self.mean.exp(), p95: (self.mean + P95 * self.variance.sqrt()).exp() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_turns_five_times_slower_is_known_to_be_within_a_dozen_answers() {
        let mut latency = Latency::default();
        for step in 0..200 {
            latency.on_first_byte(0.4 + 0.001 * f64::from(step % 50), f64::from(step));
        }
        assert!(latency.at(200.0).unwrap().p95 < 1.0);

        for step in 0..12 {
            latency.on_first_byte(2.0, 200.0 + f64::from(step));
        }

        assert!(latency.at(212.0).unwrap().p95 > 1.5);
    }

    #[test]
    fn an_old_estimate_lets_one_request_find_out_and_keeps_the_others_away() {
        let mut latency = Latency::default();
        latency.on_first_byte(9.0, 0.0);
        assert!(latency.at(29.0).is_some());

        assert_eq!(latency.at(31.0), None);
        latency.on_send(31.0);

        assert!(latency.at(31.1).unwrap().p95 > 9.0);
    }

    #[test]
    fn a_request_does_not_make_a_fresh_estimate_last_longer() {
        let mut latency = Latency::default();
        latency.on_first_byte(9.0, 0.0);

        latency.on_send(20.0);

        assert_eq!(latency.at(31.0), None);
    }
}
