//! Percentiles from all samples: a window has some thousands, so nothing needs to be approximated.

use std::time::Duration;

/// Durations of one kind.
#[derive(Debug, Default)]
pub struct Samples(Vec<u64>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, sample: Duration) {
        self.0.push(u64::try_from(sample.as_micros()).unwrap_or(u64::MAX));
    }

    /// `{"count":…,"p50":…,"p90":…,"p99":…,"max":…}` in microseconds; zeros where there is no sample.
    pub fn json(mut self) -> String {
        self.0.sort_unstable();
        let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|share| self.at(share));

        format!(r#"{{"count":{},"p50":{p50},"p90":{p90},"p99":{p99},"max":{max}}}"#, self.0.len())
    }

    /// The smallest sample that at least `share` of all samples do not exceed.
    fn at(&self, share: f64) -> u64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_not_averages() {
        let mut samples = Samples::default();
        for micros in (1..=200).rev() {
            samples.add(Duration::from_micros(micros));
        }

        assert_eq!(samples.json(), r#"{"count":200,"p50":100,"p90":180,"p99":198,"max":200}"#);
    }

    #[test]
    fn no_samples_are_zeros() {
        assert_eq!(Samples::default().json(), r#"{"count":0,"p50":0,"p90":0,"p99":0,"max":0}"#);
    }
}
