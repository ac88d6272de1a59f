//! Figures for an operator, in the OpenMetrics text format that Prometheus reads.
//!
//! **Bounded.** Label values come from the configuration and from fixed lists, never from a caller's bytes. Each
//! kind of name (app, model, endpoint) has at most [`MAX_NAMES`] values; names past that share the series `other`,
//! so a list of 10,000 apps cannot blow up a scrape or this process.
//!
//! **Cheap.** [`Metrics::app`], [`Metrics::model`] and [`Metrics::endpoint`] are called when a snapshot is built and
//! give handles. On the path of a request a handle adds to an atomic: no label is hashed and nothing is allocated,
//! except the first time that a combination is seen. A reload gets the same series for the same name.

mod answering;
mod budgets;
mod control;
mod handles;
mod names;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use budgets::{BudgetFigures, Delivery};
pub use control::IssuerKeys;
use handles::TracedHistogram;
pub use handles::{AppMetrics, Direction, EndpointMetrics, InFlight, ModelMetrics, ProcessMetrics};
pub use names::{APIS, CODES, MAX_NAMES, OTHER, OUTCOMES};

use crate::audit::AuditStatus;
use answering::Answering;
use budgets::Budgets;
use control::Control;
use names::Names;

/// Content type of what [`Metrics::render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latency buckets, in seconds: a local embedding answers in milliseconds, a long reply takes
/// minutes.
const LATENCY_SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type RealGauges<const N: usize> = Family<Labels<N>, Gauge<f64, AtomicU64>>;
type Histograms = Family<Labels<1>, Histogram, fn() -> Histogram>;
type TracedHistograms = Family<Labels<1>, TracedHistogram, fn() -> TracedHistogram>;

/// All figures of this process. Cloning is cheap and gives the same figures.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    apps: Names,
    models: Names,
    endpoints: Names,
    issuers: Names,
    policies: Names,
    families: Families,
    process: ProcessMetrics,
    configuration: Configuration,
    audit: Audit,
    control: Control,
    budgets: Budgets,
    answering: Answering,
}

/// The families whose series the handles are cut from.
struct Families {
    requests: Counters<3>,
    app_in_flight: Gauges<1>,
    tokens: Counters<2>,
    first_token: TracedHistograms,
    total: TracedHistograms,
    attempts: Counters<2>,
    path_refusals: Counters<2>,
    verdicts: Gauges<2>,
    token_life: Gauges<3>,
    stale: Gauges<1>,
    attempt_seconds: Histograms,
    endpoint_in_flight: Gauges<1>,
    connections: Gauges<2>,
    ejected: Gauges<1>,
    place_drift: Counters<1>,
    place_checks: Counters<2>,
    burst_open: Gauges<1>,
    pressure: RealGauges<1>,
    waiting: Gauges<1>,
    sessions: Counters<2>,
    fallbacks: Counters<1>,
    cache_hits: RealGauges<1>,
}

struct Configuration {
    info: Gauges<1>,
    loaded: Gauge,
    degraded: Gauge,
    refused: Counter,
    hash: Mutex<String>,
    runs_out: Gauges<2>,
}

struct Audit {
    entries: Counter,
    errors: Counter,
    lost: Counter,
    actions_lost: Counter,
    refusals_lost: Counter,
    passed: Counter,
    unrecorded: Counter,
    waiting: Gauge,
    open: Gauge,
    disk_used: Gauge,
    signed: Gauge,
    checkpoint_failing: Gauge,
    witness: Gauge,
    witnessed: Gauge,
    witness_failing: Gauge,
    failing: Gauge,
}

impl Metrics {
    /// An empty set of figures for this process.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("causeway");
        let families = Families::register(&mut registry);
        let process = ProcessMetrics::register(&mut registry);
        let configuration = Configuration::register(&mut registry);
        let audit = Audit::register(&mut registry);
        let control = Control::register(&mut registry);
        let budgets = Budgets::register(&mut registry);
        let answering = Answering::register(&mut registry);

        Self {
            inner: Arc::new(Inner {
                registry,
                apps: Names::default(),
                models: Names::default(),
                endpoints: Names::default(),
                issuers: Names::default(),
                policies: Names::default(),
                families,
                process,
                configuration,
                audit,
                control,
                budgets,
                answering,
            }),
        }
    }

    /// The handles of an app.
    pub fn app(&self, name: &str) -> AppMetrics {
        AppMetrics::new(&self.inner.families, self.inner.apps.label(name))
    }

    /// The handles of a model.
    pub fn model(&self, name: &str) -> ModelMetrics {
        ModelMetrics::new(&self.inner.families, self.inner.models.label(name))
    }

    /// The handles of an endpoint.
    pub fn endpoint(&self, name: &str) -> EndpointMetrics {
        EndpointMetrics::new(&self.inner.families, self.inner.endpoints.label(name))
    }

    /// Says which endpoints may not be used and by which code; called before [`Self::render`]. Codes come from a fixed
    /// list.
    pub fn set_verdicts<'a>(&self, verdicts: impl Iterator<Item = (&'a str, &'static str)>) {
        let inner = &self.inner;
        inner.families.verdicts.clear();
        for (endpoint, code) in verdicts {
            let labels = [("endpoint", inner.endpoints.label(endpoint)), ("code", code.to_owned())];
            inner.families.verdicts.get_or_create(&labels).set(1);
        }
    }

    /// Says since when the addresses of endpoints outlive their answer; called before [`Self::render`].
    pub fn set_stale<'a>(&self, stale: impl Iterator<Item = (&'a str, Duration)>) {
        let inner = &self.inner;
        inner.families.stale.clear();
        for (endpoint, since) in stale {
            let labels = [("endpoint", inner.endpoints.label(endpoint))];
            inner.families.stale.get_or_create(&labels).set(i64::try_from(since.as_secs().max(1)).unwrap_or(i64::MAX));
        }
    }

    /// Says for how long each of the gateway's own tokens is good; called before [`Self::render`]. Identity host, grant and
    /// scope are the configuration's. Of two tokens that differ in the application alone the shorter life counts.
    pub fn set_token_lives<'a>(&self, lives: impl Iterator<Item = ([&'a str; 3], Duration)>) {
        let family = &self.inner.families.token_life;
        family.clear();
        let mut shortest = std::collections::BTreeMap::new();
        for (token, life) in lives {
            let known = shortest.entry(token).or_insert(life);
            *known = life.min(*known);
        }
        for ([identity, grant, scope], life) in shortest {
            let labels = [("identity", identity), ("grant", grant), ("scope", scope)];
            let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
            family.get_or_create(&labels.map(|(name, value)| (name, value.to_owned()))).set(seconds);
        }
    }

    /// The figures that belong to no app, model or endpoint.
    pub fn process(&self) -> &ProcessMetrics {
        &self.inner.process
    }

    /// Says which configuration is in force since when, and whether it is only the last good one.
    pub fn set_configuration(&self, hash: &str, loaded: SystemTime, degraded: bool) {
        let configuration = &self.inner.configuration;
        let mut current = configuration.hash.lock();

        if *current != hash {
            configuration.info.remove(&[("hash", current.clone())]);
            hash.clone_into(&mut current);
        }
        configuration.info.get_or_create(&[("hash", hash.to_owned())]).set(1);
        let seconds = loaded.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        configuration.loaded.set(i64::try_from(seconds).unwrap_or(i64::MAX));
        configuration.degraded.set(i64::from(degraded));
    }

    /// Takes over what runs out, as kind, name and days left, the soonest first; what is not among it any more is forgotten.
    pub fn set_runs_out<'a>(&self, endings: impl Iterator<Item = (&'static str, &'a str, i64)>) {
        let days = &self.inner.configuration.runs_out;
        days.clear();
        for (kind, name, left) in endings.take(MAX_NAMES) {
            days.get_or_create(&[("kind", kind.to_owned()), ("name", name.to_owned())]).set(left);
        }
    }

    /// Counts a configuration that was read and not taken.
    pub fn configuration_refused(&self) {
        self.inner.configuration.refused.inc();
    }

    /// Takes over how much of the disk below the audit log is used, in percent.
    pub fn set_disk_used(&self, percent: u8) {
        self.inner.audit.disk_used.set(percent.into());
    }

    /// Takes over how the audit log stands; called before [`Self::render`].
    pub fn set_audit(&self, status: &AuditStatus) {
        let audit = &self.inner.audit;
        raise(&audit.entries, status.entries);
        raise(&audit.errors, status.errors);
        raise(&audit.lost, status.lost);
        raise(&audit.actions_lost, status.actions_lost);
        raise(&audit.refusals_lost, status.refusals_lost);
        raise(&audit.passed, status.passed);
        raise(&audit.unrecorded, status.unrecorded);
        audit.waiting.set(i64::try_from(status.waiting_bytes).unwrap_or(i64::MAX));
        audit.open.set(i64::try_from(status.open).unwrap_or(i64::MAX));
        audit.failing.set(i64::from(status.failing));
        audit.signed.set(i64::try_from(status.signed).unwrap_or(i64::MAX));
        audit.checkpoint_failing.set(i64::from(status.checkpoint_failing));
        audit.witness.set(i64::from(status.witnessed.is_some()));
        audit.witnessed.set(i64::try_from(status.witnessed.unwrap_or(0)).unwrap_or(i64::MAX));
        audit.witness_failing.set(i64::from(status.witness_failing));
    }

    /// All figures as text, without exemplars.
    pub fn render(&self) -> String {
        let text = self.render_with_exemplars();
        text.lines().flat_map(|line| [without_exemplar(line), "\n"]).collect()
    }

    /// All figures as text, and behind the buckets of what callers wait for the trace of the latest request in each; the content
    /// type is [`CONTENT_TYPE`].
    pub fn render_with_exemplars(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.inner.registry).expect("a String takes every byte, and the labels are plain strings");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Lifts a counter to a total that is kept elsewhere; a counter never falls.
fn raise(counter: &Counter, total: u64) {
    let inner: &AtomicU64 = counter.inner();
    inner.fetch_max(total, Ordering::Relaxed);
}

fn latency() -> Histogram {
    Histogram::new(LATENCY_SECONDS)
}

fn traced_latency() -> TracedHistogram {
    TracedHistogram::new(LATENCY_SECONDS.into_iter())
}

/// A line without its exemplar, which stands behind a ` # `. Only a bucket has one, and no label of a bucket holds that.
fn without_exemplar(line: &str) -> &str {
    if line.starts_with('#') { line } else { line.split_once(" # {").map_or(line, |(sample, _)| sample) }
}

/// Registers a metric and gives it back.
fn add<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}

impl Families {
    fn register(to: &mut Registry) -> Self {
        Self {
            requests: add(to, "requests", "Requests that ended, by app, API and code", Family::default()),
            app_in_flight: add(to, "app_in_flight", "Requests of an app that are running", Family::default()),
            tokens: add(to, "tokens", "Tokens as settled, by model and direction", Family::default()),
            first_token: add(
                to,
                "first_token_seconds",
                "Time from the request's arrival to the first byte of the reply's body, by model",
                Family::new_with_constructor(traced_latency as fn() -> TracedHistogram),
            ),
            total: add(
                to,
                "request_seconds",
                "Time from the request's arrival to its end, by model",
                Family::new_with_constructor(traced_latency as fn() -> TracedHistogram),
            ),
            attempts: add(to, "attempts", "Attempts at an endpoint, by what happened", Family::default()),
            path_refusals: add(
                to,
                "path_refusals",
                "Attempts that failed by the path to an endpoint, by the code of the verdict",
                Family::default(),
            ),
            verdicts: add(
                to,
                "endpoint_verdict",
                "1 while an endpoint may not be used, by the code that says why",
                Family::default(),
            ),
            token_life: add(
                to,
                "token_life_seconds",
                "Seconds until the token ends by which the gateway identifies itself; 0 while there is none",
                Family::default(),
            ),
            stale: add(
                to,
                "endpoint_stale_seconds",
                "Seconds for which verified addresses have stood in for an answer, because no DNS server answers",
                Family::default(),
            ),
            attempt_seconds: add(
                to,
                "attempt_seconds",
                "Time that an attempt took, by endpoint",
                Family::new_with_constructor(latency as fn() -> Histogram),
            ),
            endpoint_in_flight: add(
                to,
                "endpoint_in_flight",
                "Attempts at an endpoint that are running",
                Family::default(),
            ),
            connections: add(to, "pool_connections", "Connections to an endpoint, by state", Family::default()),
            burst_open: add(
                to,
                "burst_open",
                "1 while own capacity of a model is saturated and requests go to targets that charge by the token",
                Family::default(),
            ),
            pressure: add(
                to,
                "pressure",
                "Part of a model's first-token time that its best own server uses up; 1 at saturation",
                Family::default(),
            ),
            waiting: add(to, "waiting", "Requests of a model that wait for a place", Family::default()),
            sessions: add(
                to,
                "sessions",
                "Answers to requests of a session, by model and whether they came from where the one before did",
                Family::default(),
            ),
            fallbacks: add(
                to,
                "fallbacks",
                "Answers by a model that stood in for the one that was asked for",
                Family::default(),
            ),
            cache_hits: add(
                to,
                "endpoint_session_cache_hits",
                "Part of the tokens of sessions that an endpoint was expected to have cached and reported so; NaN while unknown",
                Family::default(),
            ),
            place_drift: add(
                to,
                "place_drift",
                "Answers that say they were made where nothing was to be processed, and control planes that say so",
                Family::default(),
            ),
            place_checks: add(
                to,
                "place_checks",
                "What control planes told of where targets process: agrees, drift, or failed to tell",
                Family::default(),
            ),
            ejected: add(
                to,
                "endpoint_ejected",
                "Targets of an endpoint that are ejected as outliers",
                Family::default(),
            ),
        }
    }
}

impl Configuration {
    fn register(to: &mut Registry) -> Self {
        Self {
            info: add(to, "configuration_info", "The configuration in force, by hash; always 1", Family::default()),
            loaded: add(
                to,
                "configuration_loaded_timestamp_seconds",
                "When the configuration took effect",
                Gauge::default(),
            ),
            degraded: add(
                to,
                "configuration_degraded",
                "1 while the last good configuration is served because the one on disk is broken",
                Gauge::default(),
            ),
            refused: add(
                to,
                "configurations_refused",
                "Configurations that were read and not taken",
                Counter::default(),
            ),
            hash: Mutex::new(String::new()),
            runs_out: add(
                to,
                "runs_out_days",
                "Days until a fact or an exception among the policies runs out and less is permitted; 0 and less once it has",
                Family::default(),
            ),
        }
    }
}

impl Audit {
    fn register(to: &mut Registry) -> Self {
        Self {
            entries: add(to, "audit_entries", "Lines of this process's audit log", Counter::default()),
            errors: add(to, "audit_errors", "Writes to the audit log that failed", Counter::default()),
            lost: add(
                to,
                "audit_outcomes_lost",
                "Outcomes that were only counted because the backlog was full",
                Counter::default(),
            ),
            actions_lost: add(
                to,
                "audit_actions_lost",
                "Administrative actions that were only counted because too many of them, or refusals, waited for the audit log",
                Counter::default(),
            ),
            refusals_lost: add(
                to,
                "audit_refusals_lost",
                "Refusals that were only counted because too much waited for the audit log",
                Counter::default(),
            ),
            passed: add(
                to,
                "audit_passed",
                "Requests that were sent while the audit log took no lines, because their class may",
                Counter::default(),
            ),
            unrecorded: add(
                to,
                "audit_unrecorded",
                "Those of them that are only counted, because too many records waited",
                Counter::default(),
            ),
            waiting: add(
                to,
                "audit_waiting_bytes",
                "Bytes of audit lines that wait for the next write",
                Gauge::default(),
            ),
            open: add(to, "audit_open_records", "Intents whose outcome has not come", Gauge::default()),
            disk_used: add(
                to,
                "audit_disk_used_percent",
                "How much of the disk below the audit log is used: of its blocks or inodes, whichever is more",
                Gauge::default(),
            ),
            signed: add(to, "audit_signed_entries", "Entries that the latest checkpoint covers", Gauge::default()),
            checkpoint_failing: add(
                to,
                "audit_checkpoint_failing",
                "1 while no checkpoint can be made, so that what comes is not signed",
                Gauge::default(),
            ),
            witness: add(
                to,
                "audit_witness",
                "1 if there is a second place for checkpoints; without one nothing shows a log that was written anew",
                Gauge::default(),
            ),
            witnessed: add(
                to,
                "audit_witnessed_entries",
                "Entries that the latest copy in the second place covers",
                Gauge::default(),
            ),
            witness_failing: add(
                to,
                "audit_witness_failing",
                "1 while checkpoints cannot be copied to the second place",
                Gauge::default(),
            ),
            failing: add(
                to,
                "audit_failing",
                "1 while the audit log takes no lines and requests are refused",
                Gauge::default(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
