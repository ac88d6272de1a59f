//! When own capacity is saturated, for people and for what scales the servers: opened, closed, pressure.
//!
//! A single decision needs no hysteresis, because each request that own servers take makes the next prediction longer.
//! The event does: an alarm that rings and stops every second is turned off.

use std::time::{Duration, Instant};

/// Share of the requests of the last ten seconds that must burst for the state to open.
pub const OPENS_AT: f64 = 0.05;

/// How long the share must stay below half of that for it to close.
pub const CLOSES_AFTER: Duration = Duration::from_secs(60);

/// Requests in the window below which a share says nothing.
const ENOUGH: u32 = 10;

const SECONDS: usize = 10;

/// Weight of one decision in the pressure.
const PRESSURE_WEIGHT: f64 = 0.05;

/// The pressure is unknown after so long without a decision.
const PRESSURE_AGE: Duration = Duration::from_secs(30);

/// The burst state of one model.
#[derive(Clone, Debug)]
pub struct BurstState {
    epoch: Instant,
    /// Requests and bursts of each of the last seconds.
    window: [Second; SECONDS],
    open_since: Option<Instant>,
    calm_since: Option<Instant>,
    pressure: f64,
    pressure_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    requests: u32,
    bursts: u32,
}

/// A change of the state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Turn {
    /// Own capacity is saturated: this share of the last ten seconds went elsewhere.
    Opened {
        /// From 0 to 1.
        share: f64,
    },
    /// Own capacity suffices again.
    Closed {
        /// How long the state was open.
        lasted: Duration,
    },
}

impl BurstState {
    /// Closed.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            window: [Second::default(); SECONDS],
            open_since: None,
            calm_since: None,
            pressure: 0.0,
            pressure_at: None,
        }
    }

    /// Notes a decision: whether it went elsewhere for want of own capacity, and which part of its first-token time the
    /// best own server would have used, where that is known.
    pub fn on_decision(&mut self, burst: bool, used: Option<f64>, now: Instant) -> Option<Turn> {
        let number = now.saturating_duration_since(self.epoch).as_secs() + 1;
        let slot = &mut self.window[(number % SECONDS as u64) as usize];
        if slot.number != number {
            *slot = Second { number, ..Second::default() };
        }
        slot.requests = slot.requests.saturating_add(1);
        slot.bursts = slot.bursts.saturating_add(u32::from(burst));
        if let Some(used) = used {
            let fresh = self.pressure_at.is_some_and(|at| now.saturating_duration_since(at) < PRESSURE_AGE);
            let weight = if fresh { PRESSURE_WEIGHT } else { 1.0 };
            self.pressure += weight * (used.clamp(0.0, 10.0) - self.pressure);
            self.pressure_at = Some(now);
        }
        self.turn(now)
    }

    /// Looks at the time alone: a state whose requests stopped closes as well. Call it every few seconds.
    pub fn on_tick(&mut self, now: Instant) -> Option<Turn> {
        self.turn(now)
    }

    /// Since when it is open.
    #[must_use]
    pub fn open_since(&self) -> Option<Instant> {
        self.open_since
    }

    /// The part of the first-token time that the best own server uses up, 1 at saturation: what an autoscaler reads.
    /// Nothing when no decision said so for half a minute.
    #[must_use]
    pub fn pressure(&self, now: Instant) -> Option<f64> {
        self.pressure_at.filter(|at| now.saturating_duration_since(*at) < PRESSURE_AGE).map(|_| self.pressure)
    }

    /// The share of the last ten seconds that went elsewhere.
    #[must_use]
    pub fn share(&self, now: Instant) -> f64 {
        let (requests, bursts) = self.sums(now);
        if requests == 0 { 0.0 } else { f64::from(bursts) / f64::from(requests) }
    }

    fn turn(&mut self, now: Instant) -> Option<Turn> {
        let share = self.share(now);
        let Some(since) = self.open_since else {
            if share <= OPENS_AT || self.sums(now).0 < ENOUGH {
                return None;
            }
            self.open_since = Some(now);
            self.calm_since = None;
            return Some(Turn::Opened { share });
        };
        if share >= OPENS_AT / 2.0 {
            self.calm_since = None;
            return None;
        }
        let calm = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(calm) < CLOSES_AFTER {
            return None;
        }
        self.open_since = None;
        Some(Turn::Closed { lasted: now.saturating_duration_since(since) })
    }

    fn sums(&self, now: Instant) -> (u32, u32) {
        let number = now.saturating_duration_since(self.epoch).as_secs() + 1;
        let recent = self.window.iter().filter(|second| second.number + SECONDS as u64 > number);
        recent.fold((0, 0), |(requests, bursts), second| {
            (requests.saturating_add(second.requests), bursts.saturating_add(second.bursts))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten decisions a second for `seconds`, every `n`-th a burst (0: none), and the turns with the second they came in.
    fn play(state: &mut BurstState, start: Instant, seconds: std::ops::Range<u64>, n: u64) -> Vec<(u64, Turn)> {
        let mut turns = Vec::new();
        for second in seconds {
            for tenth in 0..10 {
                let now = start + Duration::from_millis(second * 1_000 + tenth * 100);
                let burst = n > 0 && (second * 10 + tenth).is_multiple_of(n);
                turns.extend(state.on_decision(burst, Some(0.5), now).map(|turn| (second, turn)));
            }
        }
        turns
    }

    #[test]
    fn it_opens_once_when_one_request_in_ten_bursts_and_closes_a_minute_after_the_last() {
        let start = Instant::now();
        let mut state = BurstState::new(start);

        let mut turns = play(&mut state, start, 0..30, 0);
        turns.extend(play(&mut state, start, 30..60, 10));
        turns.extend(play(&mut state, start, 60..180, 0));

        let [(opened, Turn::Opened { share }), (closed, Turn::Closed { lasted })] = turns[..] else {
            unreachable!("{turns:?}");
        };
        assert!((30..40).contains(&opened) && share > OPENS_AT);
        assert!((120..135).contains(&closed), "{closed}");
        assert!(lasted > Duration::from_secs(80));
    }

    #[test]
    fn a_share_around_the_threshold_does_not_ring_twice() {
        let start = Instant::now();
        let mut state = BurstState::new(start);

        let turns = play(&mut state, start, 0..300, 25);

        assert!(turns.len() <= 1, "{turns:?}");
    }

    #[test]
    fn a_model_whose_requests_stopped_closes_by_time_alone() {
        let start = Instant::now();
        let mut state = BurstState::new(start);
        play(&mut state, start, 0..20, 2);
        assert!(state.open_since().is_some());

        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(state.on_tick(at(40)), None);

        assert!(matches!(state.on_tick(at(101)), Some(Turn::Closed { .. })));
        assert_eq!(state.pressure(at(101)), None, "and nobody knows the pressure any more");
    }

    #[test]
    fn a_handful_of_requests_opens_nothing() {
        let start = Instant::now();
        let mut state = BurstState::new(start);

        for _ in 0..(ENOUGH - 1) {
            assert_eq!(state.on_decision(true, None, start), None);
        }
    }
}
