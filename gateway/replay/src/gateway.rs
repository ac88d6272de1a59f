//! One gateway of the simulation: what routing keeps for its targets, models and apps, and what the baselines keep.

use std::sync::Arc;
use std::time::Instant;

use accounting::Book;
use routing::{Bounds, BurstState, Calibration, Habits, Queue, Signals, TargetHealth};

use crate::baseline::{Chance, Memory};
use crate::random::Random;
use crate::scenario::Scenario;

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) signals: Vec<Signals>,
    pub(crate) health: Vec<TargetHealth>,
    pub(crate) models: Vec<ModelState>,
    /// One for each profile of the trace.
    pub(crate) habits: Vec<Habits>,
    pub(crate) books: Vec<Arc<Book>>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) chance: Chance,
}

/// What the traffic of one model teaches.
#[derive(Debug)]
pub(crate) struct ModelState {
    pub(crate) calibration: Calibration,
    pub(crate) burst: BurstState,
    /// Requests that wait, by their place among those in flight.
    pub(crate) queue: Queue<u16, u32>,
}

impl ModelState {
    fn new(now: Instant) -> Self {
        // Batch requests may all have to wait, so the queue is as long as a replay needs, and its bound is no part of it.
        let bounds = Bounds { requests: 1 << 20, of_one_app: 1 << 20 };
        Self { calibration: Calibration::new(), burst: BurstState::new(now), queue: Queue::new(bounds) }
    }
}

impl Gateway {
    pub(crate) fn new(scenario: &Scenario, (models, profiles): (usize, usize), random: Random, now: Instant) -> Self {
        let gateways = u32::try_from(scenario.gateways).unwrap_or(u32::MAX);
        let signals = scenario.targets.iter().map(|target| {
            let mut signals = Signals::new(target.terms(scenario.gateways), now);
            signals.set_gateways(gateways);
            signals
        });
        let count = scenario.targets.len();
        Self {
            signals: signals.collect(),
            health: vec![TargetHealth::new(); count],
            models: (0..models).map(|_| ModelState::new(now)).collect(),
            habits: vec![Habits::new(); profiles],
            books: (0..profiles).map(|_| Arc::new(Book::new(now))).collect(),
            memory: vec![Memory::default(); count],
            chance: Chance { random, turn: 0 },
        }
    }
}
