//! A provider's quota, mirrored: what may be sent before it answers 429.
//!
//! The mirror counts what leaves and is set right by the rate-limit headers of each answer. A header tells how things
//! stood when its request was admitted, so what was sent since then is taken off again.

/// Seconds of a quota that may be used at once, where no header says more: Azure enforces its minutes in windows of up to
/// ten seconds.
const WINDOW: f64 = 10.0;

/// What a header said is unknown after so many seconds, where no rate says how it has changed since.
const AGE: f64 = 60.0;

/// One quota: tokens or requests a minute.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    left: f64,
    at: f64,
    /// The most that can be left; it grows with what headers report.
    most: f64,
    /// Regained each second; nothing where only headers are known.
    rate: Option<f64>,
    /// All that was ever taken, so that a header can be corrected by what was sent after its request.
    taken: f64,
}

impl Bucket {
    /// A quota that the configuration states.
    pub(crate) fn per_minute(amount: f64) -> Self {
        let most = amount * WINDOW / 60.0;
        Self { left: most, at: 0.0, most, rate: Some(amount / 60.0), taken: 0.0 }
    }

    /// A quota of which only headers will tell.
    pub(crate) fn unknown() -> Self {
        Self { left: 0.0, at: f64::NEG_INFINITY, most: 0.0, rate: None, taken: 0.0 }
    }

    /// What is left at `now`; nothing when it is not known.
    pub(crate) fn left(&self, now: f64) -> Option<f64> {
        match self.rate {
            Some(rate) => Some((self.left + rate * (now - self.at).max(0.0)).min(self.most)),
            None => (now - self.at <= AGE).then_some(self.left),
        }
    }

    /// Seconds until `amount` is left; zero when it is, nothing when nobody can tell or it never will be.
    pub(crate) fn wait_for(&self, amount: f64, now: f64) -> Option<f64> {
        let missing = amount.min(self.most) - self.left(now)?;
        if missing <= 0.0 {
            return Some(0.0);
        }
        self.rate.filter(|rate| *rate > 0.0).map(|rate| missing / rate)
    }

    /// Whether a request of `amount` would be refused, as far as is known. One that is larger than the whole quota needs
    /// all of it.
    pub(crate) fn is_short(&self, amount: f64, now: f64) -> bool {
        self.left(now).is_some_and(|left| left < amount.min(self.most))
    }

    pub(crate) fn take(&mut self, amount: f64, now: f64) {
        self.taken += amount;
        if let Some(left) = self.left(now) {
            self.left = left - amount;
            self.at = if self.rate.is_some() { now } else { self.at };
        }
    }

    /// Everything taken so far; handed back to [`Bucket::on_header`] with the answer of what was sent then.
    pub(crate) fn taken(&self) -> f64 {
        self.taken
    }

    /// What was taken too much, or too little where it is negative.
    pub(crate) fn give_back(&mut self, amount: f64) {
        self.left = (self.left + amount).min(self.most);
    }

    /// An answer said what was left once its request, after which `taken_then` had been taken, was admitted at about `then`.
    pub(crate) fn on_header(&mut self, said: &Said, taken_then: f64, (then, now): (f64, f64)) {
        if let Some(limit) = said.limit {
            self.rate = Some(limit / 60.0);
            self.most = self.most.max(limit * WINDOW / 60.0);
        }
        let Some(remaining) = said.remaining else { return };
        self.most = self.most.max(remaining);
        let since = self.rate.unwrap_or(0.0) * (now - then).max(0.0);
        self.left = (remaining + since).min(self.most) - (self.taken - taken_then);
        self.at = now;
    }

    /// The provider refused: nothing is left.
    pub(crate) fn on_refused(&mut self, now: f64) {
        self.left = self.left(now).unwrap_or(0.0).min(0.0);
        self.at = now;
    }
}

/// What a rate-limit header pair said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    pub(crate) limit: Option<f64>,
    pub(crate) remaining: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_lets_ten_seconds_of_it_through_at_once_and_regains_the_rest_with_time() {
        let mut bucket = Bucket::per_minute(600_000.0);

        bucket.take(100_000.0, 0.0);

        assert_eq!(bucket.left(0.0), Some(0.0));
        assert_eq!(bucket.left(1.0), Some(10_000.0));
        assert_eq!(bucket.wait_for(20_000.0, 0.0), Some(2.0));
    }

    #[test]
    fn a_header_is_corrected_by_what_was_sent_after_its_request() {
        let mut bucket = Bucket::unknown();
        let then = bucket.taken();
        bucket.take(5_000.0, 1.0);

        bucket.on_header(&Said { limit: None, remaining: Some(20_000.0) }, then, (0.0, 2.0));

        assert_eq!(bucket.left(2.0), Some(15_000.0));
        assert_eq!(bucket.left(2.0 + AGE + 1.0), None, "a header that old says nothing");
    }

    #[test]
    fn a_refusal_empties_the_mirror() {
        let mut bucket = Bucket::per_minute(60_000.0);

        bucket.on_refused(0.0);

        assert_eq!(bucket.left(0.0), Some(0.0));
        assert_eq!(bucket.left(5.0), Some(5_000.0));
    }

    #[test]
    fn a_request_larger_than_the_whole_quota_waits_until_it_is_full() {
        let mut bucket = Bucket::per_minute(6_000.0);
        bucket.take(1_000.0, 0.0);

        assert_eq!(bucket.wait_for(50_000.0, 0.0), Some(10.0));
    }
}
