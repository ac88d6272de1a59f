//! How long a target takes for each further token, while its streams say so.

/// An estimate of the pace is worth nothing after so many seconds without a chunk. One that never ran out once kept a
/// server out for good: nothing was sent to it, so nothing could show that it had recovered.
const AGE: f64 = 1.0;

/// Seconds over which the pace is averaged.
///
/// Where a large chunk budget makes the pace swing, a window of 1 s cost half as much again in the simulation, and one of
/// 0.05 s missed the targets.
const WINDOW: f64 = 0.2;

#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    mean: f64,
    at: Option<f64>,
}

impl Pace {
    /// A token came `gap` seconds after the one before it in its stream.
    ///
    /// The weight follows the time since the last chunk of any stream, so the window is the same for one stream and for
    /// a hundred.
    pub(crate) fn on_token(&mut self, gap: f64, now: f64) {
        self.mean = match self.at {
            Some(at) if now - at <= AGE => self.mean + ((now - at).max(0.0) / WINDOW).min(0.5) * (gap - self.mean),
            _ => gap,
        };
        self.at = Some(now);
    }

    /// Seconds a token; nothing when it is too old to be known.
    pub(crate) fn at(&self, now: f64) -> Option<f64> {
        self.at.filter(|at| now - at <= AGE).map(|_| self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_unknown_before_the_first_chunk_and_a_second_after_the_last() {
        let mut pace = Pace::default();
        assert_eq!(pace.at(0.0), None);

        pace.on_token(0.4, 3.0);

        assert_eq!(pace.at(3.9), Some(0.4));
        assert_eq!(pace.at(4.1), None);
    }

    #[test]
    fn a_change_is_believed_within_a_few_seconds_however_many_streams_there_are() {
        for streams in [1, 50] {
            let mut pace = Pace::default();
            for step in 0..100 {
                let (gap, now) = if step < 50 { (0.02, 0.02 * f64::from(step)) } else { (0.2, 0.2 * f64::from(step)) };
                for _ in 0..streams {
                    pace.on_token(gap, now);
                }
            }

            let mean = pace.at(0.2 * 99.0).unwrap();
            assert!(mean > 0.19, "{streams} streams: {mean}");
        }
    }
}
