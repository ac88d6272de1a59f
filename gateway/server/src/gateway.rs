//! The few long-lived owners that requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use ingress::body::BodyBudget;
use telemetry::audit::AuditLog;
use telemetry::metrics::Metrics;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tower::retry::budget::TpsBudget;

use crate::snapshot::Snapshot;

/// One gateway: the snapshot in force, and what outlives snapshots.
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    /// Where decisions are written before anything is sent.
    pub audit: AuditLog,
    /// What is counted.
    pub metrics: Metrics,
    /// The bytes that all request bodies together may hold.
    pub body_budget: BodyBudget,
    /// Retries that may have been executed already, as a share of requests.
    pub retry_budget: TpsBudget,
    /// Lets one refused credential a second into the log.
    pub(crate) unauthenticated_sample: OncePerSecond,
    phase: AtomicU8,
    refreshed: Notify,
}

/// Where the process stands in its life; readiness follows from it and from nothing an upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The listeners are not open yet.
    Starting = 0,
    /// Serving.
    Ready = 1,
    /// Told to leave: readiness fails, requests in flight finish.
    Draining = 2,
}

/// Share of requests that may be sent a second time though the first may have been executed, in percent.
const RETRY_PERCENT: f32 = 0.2;

/// Such retries that are always allowed, per second, so that a quiet gateway can fail over at all.
const RETRIES_PER_SECOND: u32 = 10;

/// How often the results of active probes are looked at; the probes themselves come at their own intervals.
const LOOK_AT_PROBES: std::time::Duration = std::time::Duration::from_millis(250);

/// How long a deposit counts.
const RETRY_WINDOW: std::time::Duration = std::time::Duration::from_secs(10);

impl Gateway {
    /// A gateway in its starting phase.
    #[must_use]
    pub fn new(snapshot: Snapshot, audit: AuditLog, metrics: Metrics) -> Arc<Self> {
        let body_budget = BodyBudget::new(snapshot.max_buffered_bytes);
        metrics.set_configuration(&snapshot.hash, snapshot.loaded, false);
        Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            audit,
            metrics,
            body_budget,
            retry_budget: TpsBudget::new(RETRY_WINDOW, RETRIES_PER_SECOND, RETRY_PERCENT),
            unauthenticated_sample: OncePerSecond::default(),
            phase: AtomicU8::new(Phase::Starting as u8),
            refreshed: Notify::new(),
        })
    }

    /// The configuration in force. A request takes it once and keeps it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts a snapshot in force, whole. Requests in flight keep the one they started with.
    pub fn put_in_force(&self, next: Snapshot) {
        self.metrics.set_configuration(&next.hash, next.loaded, false);
        self.body_budget.resize(next.max_buffered_bytes);
        self.snapshot.store(Arc::new(next));
        self.refreshed.notify_one();
    }

    /// Keeps the connections of the snapshot in force, and of each that follows it: warm-up, health probes, closing what
    /// idles. The tasks run on the runtime of the caller.
    pub async fn tend(&self) {
        let mut look = tokio::time::interval(LOOK_AT_PROBES);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let snapshot = self.snapshot();
            snapshot.fleet.start();
            let probed = snapshot.is_probed();
            tokio::select! {
                () = self.refreshed.notified() => continue,
                _ = look.tick(), if probed => snapshot.heed_probes(),
            }
        }
    }

    /// Where the process stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Moves on; a process that drains never becomes ready again.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

/// Says yes at most once in each second of the clock.
#[derive(Debug, Default)]
pub(crate) struct OncePerSecond(AtomicU64);

impl OncePerSecond {
    pub(crate) fn is_due(&self, at: SystemTime) -> bool {
        let second = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.0.swap(second, Ordering::Relaxed) != second
    }
}
