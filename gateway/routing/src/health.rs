//! The health of one target: a small state machine without a clock.
//!
//! ```text
//!            5 failures in a row                  30 s x n are over             one request takes the probe
//!   healthy ────────────────────▶ ejected (n + 1) ────────────────▶ half-open ─────────────────▶ probing
//!      ▲                             ▲                                  ▲                       │  │  │
//!      │                             └──────────── it failed ───────────┼───────────────────────┘  │  │
//!      │                                     given back, answered 429, or 60 s without a result ───┘  │
//!      └─────────────────────────────────────── it succeeded ─────────────────────────────────────────┘
//! ```
//!
//! A result counts only when its attempt began in the state that it would change. A hundred requests that fail together
//! are one outage: the first five eject, and the rest, begun before the ejection, neither prolong it nor fail the probe.

use std::time::{Duration, Instant};

/// Failures in a row after which a target is ejected.
///
/// The number that Envoy's outlier detection starts with (`consecutive_5xx`).
pub const EJECTED_AFTER: u32 = 5;

/// How long the first ejection lasts; the n-th in a row lasts n times as long.
///
/// The number that Envoy's outlier detection starts with (`base_ejection_time`).
pub const EJECTION: Duration = Duration::from_secs(30);

/// The largest n: an ejection lasts at most five minutes, so a target that came back is found again soon.
pub const MOST_EJECTIONS: u32 = 10;

/// Successes in a row, the probe among them, after which earlier ejections are forgotten and n starts again.
///
/// Four times [`EJECTED_AFTER`]: a target that flaps, a few good answers between two outages, stays out for longer each time.
pub const FORGIVEN_AFTER: u32 = 20;

/// After this time a probe without a result counts as lost, and another request may be the probe.
pub const PROBE_LEASE: Duration = Duration::from_secs(60);

/// How long a 429 without `retry-after` blocks a target.
pub const DEFAULT_BLOCK: Duration = Duration::from_secs(1);

/// The longest time a 429 can block a target, whatever its `retry-after` says.
///
/// The clients give up beyond 120 s as well; an upstream's mistake must not switch it off for a day.
pub const LONGEST_BLOCK: Duration = Duration::from_secs(120);

/// How a target stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing speaks against it.
    Healthy,
    /// It answered 429 and asked for time.
    Blocked {
        /// When that time is over.
        until: Instant,
    },
    /// It failed too often in a row.
    Ejected {
        /// When it was ejected.
        since: Instant,
        /// When it becomes half-open.
        until: Instant,
    },
    /// Its ejection is over, and the next request may be its probe.
    HalfOpen,
    /// Its ejection is over, and a request is on its way as the probe.
    Probing {
        /// When it was ejected.
        since: Instant,
    },
}

impl Standing {
    /// The name used in records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Blocked { .. } => "blocked",
            Self::Ejected { .. } => "ejected",
            Self::HalfOpen => "half_open",
            Self::Probing { .. } => "probing",
        }
    }
}

/// What routing remembers of one target.
///
/// Every answer that is neither a failure nor a 429 is a success here, a 400 too: the target is there and speaks.
#[derive(Clone, Debug, Default)]
pub struct TargetHealth {
    state: State,
    blocked_until: Option<Instant>,
    /// Ejections in a row: the n of 30 s times n.
    ejections: u32,
}

#[derive(Clone, Debug)]
enum State {
    Healthy {
        /// When it recovered; nothing for a target that was never ejected.
        since: Option<Instant>,
        failures: u32,
        successes: u32,
    },
    Ejected {
        since: Instant,
        until: Instant,
    },
    Probing {
        since: Instant,
        until: Instant,
        taken: Instant,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Healthy { since: None, failures: 0, successes: 0 }
    }
}

impl TargetHealth {
    /// A target about which nothing is known yet; it counts as healthy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the target stands at `now`.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Standing {
        let blocked = self.blocked_until.filter(|until| now < *until);
        match (&self.state, blocked) {
            (State::Ejected { since, until }, _) if now < *until => Standing::Ejected { since: *since, until: *until },
            (State::Probing { since, taken, .. }, _) if now < *taken + PROBE_LEASE => {
                Standing::Probing { since: *since }
            }
            (_, Some(until)) => Standing::Blocked { until },
            (State::Healthy { .. }, None) => Standing::Healthy,
            (State::Ejected { .. } | State::Probing { .. }, None) => Standing::HalfOpen,
        }
    }

    /// Makes the attempt that begins at `now` the probe of a half-open target; false when there is none to take.
    pub fn take_probe(&mut self, now: Instant) -> bool {
        if self.standing(now) != Standing::HalfOpen {
            return false;
        }
        match self.state {
            State::Ejected { since, until } | State::Probing { since, until, .. } => {
                self.state = State::Probing { since, until, taken: now };
                true
            }
            State::Healthy { .. } => false,
        }
    }

    /// Gives back the probe taken at `taken`: its request ended without saying anything about the target.
    pub fn give_probe_back(&mut self, taken: Instant) {
        if let State::Probing { since, until, taken: probe } = self.state
            && probe == taken
        {
            self.state = State::Ejected { since, until };
        }
    }

    /// Notes that the attempt begun at `began` was answered, at `now`.
    pub fn on_success(&mut self, began: Instant, now: Instant) {
        match &mut self.state {
            State::Healthy { since, failures, successes } => {
                if since.is_some_and(|since| began < since) {
                    return;
                }
                *failures = 0;
                *successes = successes.saturating_add(1);
                if *successes >= FORGIVEN_AFTER {
                    self.ejections = 0;
                }
            }
            // A target that is ejected is still tried when nothing better is left, so a success may come at any time.
            State::Ejected { since, .. } | State::Probing { since, .. } => {
                if began >= *since {
                    self.state = State::Healthy { since: Some(now), failures: 0, successes: 1 };
                }
            }
        }
    }

    /// Notes that the attempt begun at `began` failed, at `now`. A 429 is no failure; it is told to [`TargetHealth::block`].
    pub fn on_failure(&mut self, began: Instant, now: Instant) {
        match &mut self.state {
            State::Healthy { since, failures, successes } => {
                if since.is_some_and(|since| began < since) {
                    return;
                }
                *successes = 0;
                *failures += 1;
                if *failures >= EJECTED_AFTER {
                    self.eject(now);
                }
            }
            State::Ejected { until, .. } => {
                if began >= *until {
                    self.eject(now);
                }
            }
            State::Probing { taken, .. } => {
                if began >= *taken {
                    self.eject(now);
                }
            }
        }
    }

    /// Notes a 429: the target is blocked for `retry_after`, or for [`DEFAULT_BLOCK`] where the answer names no time.
    ///
    /// Never longer than [`LONGEST_BLOCK`], never shorter than an earlier 429 asked for, and neither a failure nor a
    /// success: a probe that meets one is given back.
    pub fn block(&mut self, now: Instant, retry_after: Option<Duration>) {
        let until = now + retry_after.unwrap_or(DEFAULT_BLOCK).min(LONGEST_BLOCK);
        self.blocked_until = self.blocked_until.max(Some(until));
        if let State::Probing { since, until, .. } = self.state {
            self.state = State::Ejected { since, until };
        }
    }

    fn eject(&mut self, now: Instant) {
        self.ejections = self.ejections.saturating_add(1).min(MOST_EJECTIONS);
        self.state = State::Ejected { since: now, until: now + EJECTION * self.ejections };
    }
}

#[cfg(test)]
mod tests;
