//! What the hot path holds: series that were looked up beforehand.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::names::{APIS, CODES, OUTCOMES, place};
use super::{Counters, Families, Gauges, Labels, add};

/// A thing that runs: the gauge falls again when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it says that the thing has ended"]
pub struct InFlight(Gauge);

impl InFlight {
    /// Counts one more.
    pub fn enter(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counters of one family that differ in labels from fixed lists; each is made when it is first needed, so that a
/// combination that never happens is no series.
#[derive(Debug)]
struct Cells(Box<[OnceLock<Counter>]>);

impl Cells {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| OnceLock::new()).collect())
    }

    fn inc(&self, place: usize, make: impl FnOnce() -> Counter) {
        match self.0.get(place) {
            Some(cell) => cell.get_or_init(make).inc(),
            None => make().inc(),
        };
    }
}

/// The figures of one app.
#[derive(Debug)]
pub struct AppMetrics {
    app: String,
    family: Counters<3>,
    requests: Cells,
    in_flight: Gauge,
}

impl AppMetrics {
    pub(super) fn new(families: &Families, app: String) -> Self {
        let in_flight = families.app_in_flight.get_or_create_owned(&[("app", app.clone())]);
        Self { app, family: families.requests.clone(), requests: Cells::new(APIS.len() * CODES.len()), in_flight }
    }

    /// Counts a request that ended; `api` is one of [`APIS`] and `code` one of [`CODES`], else they count as `other`.
    pub fn request(&self, api: &str, code: &str) {
        let (api, code) = (place(APIS, api), place(CODES, code));
        self.requests.inc(api * CODES.len() + code, || {
            let labels = [("app", self.app.clone()), ("api", APIS[api].to_owned()), ("code", CODES[code].to_owned())];
            self.family.get_or_create_owned(&labels)
        });
    }

    /// Counts a request as running until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        InFlight::enter(&self.in_flight)
    }
}

/// Which way tokens went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In the prompt.
    Input,
    /// In the prompt, and served from the upstream's cache; counted in `Input` as well.
    CachedInput,
    /// In the reply.
    Output,
    /// In the reply, as reasoning; counted in `Output` as well.
    Reasoning,
}

/// The figures of one model.
#[derive(Debug)]
pub struct ModelMetrics {
    tokens: [Counter; 4],
    first_token: TracedHistogram,
    total: TracedHistogram,
    burst_open: Gauge,
    pressure: Gauge<f64, AtomicU64>,
    waiting: Gauge,
    sessions: [Counter; 3],
    fallbacks: Counter,
}

/// Where an answer of a session came from: the values of the label `served`.
const SERVED: [&str; 3] = ["new", "home", "moved"];

impl ModelMetrics {
    pub(super) fn new(families: &Families, model: String) -> Self {
        let tokens = ["input", "cached_input", "output", "reasoning"].map(|direction| {
            families.tokens.get_or_create_owned(&[("model", model.clone()), ("direction", direction.to_owned())])
        });
        let sessions = SERVED.map(|served| {
            families.sessions.get_or_create_owned(&[("model", model.clone()), ("served", served.to_owned())])
        });
        let labels = [("model", model)];

        Self {
            tokens,
            sessions,
            fallbacks: families.fallbacks.get_or_create_owned(&labels),
            burst_open: families.burst_open.get_or_create_owned(&labels),
            pressure: families.pressure.get_or_create_owned(&labels),
            waiting: families.waiting.get_or_create_owned(&labels),
            first_token: families.first_token.get_or_create_owned(&labels),
            total: families.total.get_or_create_owned(&labels),
        }
    }

    /// Counts settled tokens.
    pub fn tokens(&self, direction: Direction, count: u64) {
        self.tokens[direction as usize].inc_by(count);
    }

    /// 1 while own capacity is saturated and requests go to targets that charge by the token.
    pub fn burst_open(&self) -> &Gauge {
        &self.burst_open
    }

    /// The part of the first-token time that the best own server uses up; 1 at saturation.
    pub fn pressure(&self) -> &Gauge<f64, AtomicU64> {
        &self.pressure
    }

    /// Counts an answer of a session: `new`, from its `home`, or from where it has `moved`.
    pub fn session(&self, served: &str) {
        if let Some(index) = SERVED.iter().position(|known| *known == served) {
            self.sessions[index].inc();
        }
    }

    /// Answers by a model that stood in.
    pub fn fallbacks(&self) -> &Counter {
        &self.fallbacks
    }

    /// Requests that wait for a place.
    pub fn waiting(&self) -> &Gauge {
        &self.waiting
    }

    /// Notes the time to the first byte of the reply's body, and the trace that shows such a request, where it is traced.
    pub fn first_token(&self, after: Duration, trace: Option<[u8; 16]>) {
        self.first_token.observe(after.as_secs_f64(), trace.map(exemplar), None);
    }

    /// Notes how long a request took, and the trace that shows such a request, where it is traced.
    pub fn total(&self, took: Duration, trace: Option<[u8; 16]>) {
        self.total.observe(took.as_secs_f64(), trace.map(exemplar), None);
    }
}

/// A histogram that keeps for each of its buckets the trace of the latest request in it.
pub(super) type TracedHistogram = HistogramWithExemplars<Labels<1>>;

fn exemplar(trace: [u8; 16]) -> Labels<1> {
    [("trace_id", trace.iter().map(|byte| format!("{byte:02x}")).collect())]
}

/// The figures of one endpoint.
#[derive(Debug)]
pub struct EndpointMetrics {
    endpoint: String,
    attempts_family: Counters<2>,
    attempts: Cells,
    path_refusals: Counters<2>,
    attempt_seconds: Histogram,
    in_flight: Gauge,
    connections: [Gauge; 2],
    ejected: Gauge,
    cache_hits: Gauge<f64, AtomicU64>,
    place_drift: Counter,
    place_checks: Counters<2>,
}

impl EndpointMetrics {
    pub(super) fn new(families: &Families, endpoint: String) -> Self {
        let own = |family: &Gauges<1>| family.get_or_create_owned(&[("endpoint", endpoint.clone())]);
        let connections = ["open", "idle"].map(|state| {
            families.connections.get_or_create_owned(&[("endpoint", endpoint.clone()), ("state", state.to_owned())])
        });

        Self {
            attempts_family: families.attempts.clone(),
            attempts: Cells::new(OUTCOMES.len()),
            path_refusals: families.path_refusals.clone(),
            attempt_seconds: families.attempt_seconds.get_or_create_owned(&[("endpoint", endpoint.clone())]),
            in_flight: own(&families.endpoint_in_flight),
            connections,
            ejected: own(&families.ejected),
            cache_hits: families.cache_hits.get_or_create_owned(&[("endpoint", endpoint.clone())]),
            place_checks: families.place_checks.clone(),
            place_drift: families.place_drift.get_or_create_owned(&[("endpoint", endpoint.clone())]),
            endpoint,
        }
    }

    /// Counts an attempt that ended and how long it took; `outcome` is one of [`OUTCOMES`], else it counts as `other`.
    pub fn attempt(&self, outcome: &str, took: Duration) {
        self.count(&self.attempts_family, &self.attempts, outcome);
        self.attempt_seconds.observe(took.as_secs_f64());
    }

    /// Counts an attempt that failed by the path to the endpoint; codes come from a fixed list.
    pub fn path_refused(&self, code: &'static str) {
        self.path_refusals.get_or_create_owned(&[("endpoint", self.endpoint.clone()), ("code", code.to_owned())]).inc();
    }

    fn count(&self, family: &Counters<2>, cells: &Cells, outcome: &str) {
        let place = place(OUTCOMES, outcome);
        cells.inc(place, || {
            family.get_or_create_owned(&[("endpoint", self.endpoint.clone()), ("outcome", OUTCOMES[place].to_owned())])
        });
    }

    /// Counts an attempt as running until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        InFlight::enter(&self.in_flight)
    }

    /// Connections that exist, used or idle.
    pub fn open_connections(&self) -> &Gauge {
        &self.connections[0]
    }

    /// Connections that nobody uses now.
    pub fn idle_connections(&self) -> &Gauge {
        &self.connections[1]
    }

    /// The part of expected cache hits of sessions that came true.
    pub fn cache_hits(&self) -> &Gauge<f64, AtomicU64> {
        &self.cache_hits
    }

    /// Answers, and control planes, that say that something is processed where nothing was to be.
    pub fn place_drift(&self) -> &Counter {
        &self.place_drift
    }

    /// Counts what its control plane told: `agrees`, `drift` or `failed`.
    pub fn place_check(&self, result: &'static str) {
        let labels = [("endpoint", self.endpoint.clone()), ("result", result.to_owned())];
        self.place_checks.get_or_create_owned(&labels).inc();
    }

    /// Targets of this endpoint that are ejected.
    pub fn ejected(&self) -> &Gauge {
        &self.ejected
    }
}

/// Figures of the whole process.
#[derive(Debug)]
pub struct ProcessMetrics {
    connections: Gauge,
    in_flight: Gauge,
    buffered_bytes: Gauge,
    restrictions: Gauge,
    open_grants: Gauge,
    unauthenticated: Counter,
    refused_connections: Counter,
    retries: Counter,
    retries_denied: Counter,
    panics: Counter,
    findings: Counters<1>,
    ledger_behind_bytes: Gauge,
    ledger_failing: Gauge,
    store_lost: Gauge,
}

impl ProcessMetrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        Self {
            connections: add(to, "connections", "Connections of callers that are open", Gauge::default()),
            in_flight: add(to, "in_flight", "Requests that are running", Gauge::default()),
            restrictions: add(to, "restrictions", "What administrators hold back", Gauge::default()),
            open_grants: add(to, "break_glass_open", "Grants for an emergency that are open", Gauge::default()),
            buffered_bytes: add(to, "buffered_bytes", "Bytes of request bodies that are held", Gauge::default()),
            unauthenticated: add(to, "unauthenticated", "Requests without a known credential", Counter::default()),
            refused_connections: add(
                to,
                "connections_refused",
                "Connections closed before a request was read",
                Counter::default(),
            ),
            ledger_behind_bytes: add(
                to,
                "ledger_behind_bytes",
                "Bytes of the ledger's journal that its database has not taken",
                Gauge::default(),
            ),
            ledger_failing: add(to, "ledger_failing", "1 while the ledger does not come along", Gauge::default()),
            store_lost: add(
                to,
                "store_lost",
                "1 while the store in which gateways share their limits does not answer",
                Gauge::default(),
            ),
            retries: add(to, "retries", "Attempts after the first", Counter::default()),
            retries_denied: add(
                to,
                "retries_denied",
                "Attempts not made because the retry budget was empty",
                Counter::default(),
            ),
            panics: add(to, "panics", "Requests that met a fault of the gateway itself", Counter::default()),
            findings: add(to, "findings", "What inspection found in requests", Counters::default()),
        }
    }

    /// Counts what was found in one request; `kind` comes from the fixed list of what can be found.
    pub fn findings(&self, kind: &'static str, count: u64) {
        self.findings.get_or_create_owned(&[("kind", kind.to_owned())]).inc_by(count);
    }

    /// Callers' connections; use it with [`InFlight::enter`].
    pub fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// Running requests; use it with [`InFlight::enter`].
    pub fn in_flight(&self) -> &Gauge {
        &self.in_flight
    }

    /// What administrators hold back.
    pub fn restrictions(&self) -> &Gauge {
        &self.restrictions
    }

    /// Grants for an emergency that are open.
    pub fn open_grants(&self) -> &Gauge {
        &self.open_grants
    }

    /// Bytes of request bodies that are held.
    pub fn buffered_bytes(&self) -> &Gauge {
        &self.buffered_bytes
    }

    /// Requests that were answered 401.
    pub fn unauthenticated(&self) -> &Counter {
        &self.unauthenticated
    }

    /// Connections that were closed before a request was read: a failed handshake, too many at once.
    pub fn refused_connections(&self) -> &Counter {
        &self.refused_connections
    }

    /// Bytes of the ledger's journal that its database has not taken.
    pub fn ledger_behind_bytes(&self) -> &Gauge {
        &self.ledger_behind_bytes
    }

    /// 1 while the ledger does not come along.
    pub fn ledger_failing(&self) -> &Gauge {
        &self.ledger_failing
    }

    /// 1 while the store in which gateways share their limits does not answer.
    pub fn store_lost(&self) -> &Gauge {
        &self.store_lost
    }

    /// Attempts after the first.
    pub fn retries(&self) -> &Counter {
        &self.retries
    }

    /// Attempts that were not made because the retry budget was empty.
    pub fn retries_denied(&self) -> &Counter {
        &self.retries_denied
    }

    /// Requests that met a fault of the gateway itself: a bug, whose caller got a 500 or an error event.
    pub fn panics(&self) -> &Counter {
        &self.panics
    }
}
