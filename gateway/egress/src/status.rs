//! What an endpoint looks like from outside, for the status page and the metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::canary::CanaryReport;
use crate::connect::ConnectionProof;
use crate::fault::Verdict;
use crate::resolve::Resolution;

/// The state of one endpoint at one moment.
#[derive(Clone, Debug)]
pub struct EndpointStatus {
    /// Its name.
    pub name: Arc<str>,
    /// `local`, `private-link` or `public`.
    pub reach: &'static str,
    /// Its connections.
    pub connections: Connections,
    /// Requests whose replies have not ended.
    pub in_flight: usize,
    /// What happened since it was built.
    pub counts: Counts,
    /// The last time its addresses were looked at.
    pub last_resolution: Option<ResolutionReport>,
    /// Why it may not be used now; `None` while its last verification passed or none was made.
    pub verdict: Option<Verdict>,
    /// Since when verified addresses are used beyond their lifetime, because no server answers.
    pub stale_since: Option<SystemTime>,
    /// What is known of the connection that was opened last.
    pub last_connection: Option<Arc<ConnectionProof>>,
    /// The last error of a request.
    pub last_error: Option<LastError>,
    /// The last active probe.
    pub last_probe: Option<ProbeReport>,
    /// The last look at the public front of its name.
    pub canary: Option<CanaryReport>,
}

/// The connections of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Open or being opened.
    pub open: usize,
    /// Without a request.
    pub idle: usize,
    /// With a request, or being opened.
    pub in_use: usize,
    /// Opened since the endpoint was built.
    pub opened: u64,
    /// How often the set of verified addresses changed.
    pub generation: u64,
}

/// What happened at one endpoint since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that began.
    pub requests: u64,
    /// Requests that used a connection which was already open.
    pub reused: u64,
    /// Requests that a connection gave back unsent and that were sent on a fresh one.
    pub sent_again: u64,
    /// Requests that got no reply.
    pub failed: u64,
    /// Replies that broke off, or were too slow.
    pub broken: u64,
    /// Replies that were dropped before their end.
    pub cancelled: u64,
}

/// One look at an endpoint's addresses.
#[derive(Clone, Debug)]
pub struct ResolutionReport {
    /// When.
    pub at: SystemTime,
    /// Who answered.
    pub by: Arc<str>,
    /// What was verified; empty when it was refused.
    pub addresses: Vec<IpAddr>,
    /// How long it is taken to be true; `None` for an address in the URL.
    pub valid_for: Option<Duration>,
    /// Why it was refused.
    pub refused: Option<Verdict>,
    /// The chain, with who gave each record of it.
    pub resolution: Arc<Resolution>,
}

/// The last error of an endpoint.
#[derive(Clone, Debug)]
pub struct LastError {
    /// When.
    pub at: SystemTime,
    /// What; it names addresses and limits, never content.
    pub message: String,
}

/// One active probe.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The status that was answered, or why there was none.
    pub result: Result<u16, String>,
}

impl ProbeReport {
    /// Whether the endpoint answered with a status of the 2xx class.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        matches!(self.result, Ok(200..=299))
    }
}

/// The counters behind [`Counts`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) sent_again: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) broken: AtomicU64,
    pub(crate) cancelled: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: of(&self.requests),
            reused: of(&self.reused),
            sent_again: of(&self.sent_again),
            failed: of(&self.failed),
            broken: of(&self.broken),
            cancelled: of(&self.cancelled),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The last of each kind. Written on errors, probes and resolutions only, so one lock will do.
#[derive(Default)]
pub(crate) struct Last {
    pub(crate) verdict: Mutex<Option<Verdict>>,
    pub(crate) connection: Mutex<Option<Arc<ConnectionProof>>>,
    pub(crate) resolution: Mutex<Option<ResolutionReport>>,
    pub(crate) error: Mutex<Option<LastError>>,
    pub(crate) probe: Mutex<Option<ProbeReport>>,
    pub(crate) load: Mutex<Option<(crate::scrape::Load, std::time::Instant)>>,
}

impl Last {
    pub(crate) fn note_error(&self, message: String) {
        *self.error.lock() = Some(LastError { at: SystemTime::now(), message });
    }
}
