//! What is known of the log without waiting for a disk, and the bell that wakes its threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// What the status page wants to know without waiting for a disk.
#[derive(Debug)]
pub(super) struct Figures {
    begun: Instant,
    /// When the write that runs now began, in milliseconds since `begun` and one more; 0 while none runs.
    writing_since: AtomicU64,
    pub(super) committed: AtomicU64,
    pub(super) intents: AtomicU64,
    pub(super) outcomes: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) actions_lost: AtomicU64,
    pub(super) refusals_lost: AtomicU64,
    pub(super) passed: AtomicU64,
    pub(super) unrecorded: AtomicU64,
    pub(super) failing: AtomicBool,
    pub(super) checkpoint_failing: AtomicBool,
}

/// Tells a thread that there is something to do.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.rung.lock() = true;
        self.heard.notify_one();
    }

    /// Waits until it is rung, at most so long.
    pub(super) fn wait(&self, most: Duration) {
        let mut rung = self.rung.lock();
        if !*rung {
            self.heard.wait_for(&mut rung, most);
        }
        *rung = false;
    }
}

impl Figures {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            begun: Instant::now(),
            writing_since: zero(),
            committed: zero(),
            intents: zero(),
            outcomes: zero(),
            errors: zero(),
            lost: zero(),
            actions_lost: zero(),
            refusals_lost: zero(),
            passed: zero(),
            unrecorded: zero(),
            failing: AtomicBool::new(false),
            checkpoint_failing: AtomicBool::new(false),
        }
    }

    pub(super) fn writing(&self, now: bool) {
        let since = if now { self.begun.elapsed().as_millis() as u64 + 1 } else { 0 };
        self.writing_since.store(since, Ordering::Relaxed);
    }

    pub(super) fn writing_for(&self) -> Option<Duration> {
        let since = self.writing_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.begun.elapsed().saturating_sub(Duration::from_millis(since)))
    }
}
