//! Brings spans, figures and log lines to the collector that the configuration names.
//!
//! **Promises.** A collector that is down, slow or lying costs no request: requests only put their spans into a queue that is
//! bounded. A delivery has [`LIMIT`]; one that the collector may take later is tried [`TRIES`] times, then dropped and counted.
//! What the collector answers is read up to [`LONGEST_ANSWER`] and believed only as a count of what it did not take.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, Bytes, BytesMut};
use egress::ControlHost;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use telemetry::otlp::{self, LogTap, MOST_SPANS, Queue, Resource, Span, Told};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::admin;
use crate::configuration::OtlpProtocol;
use crate::gateway::Gateway;

/// Time for one delivery.
const LIMIT: Duration = Duration::from_secs(10);
/// Tries of one delivery, and the time before the second; doubled before the third.
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_secs(1);
/// How often spans and log lines are looked after.
const EVERY: Duration = Duration::from_secs(1);
/// Most spans or lines of one delivery.
const BATCH: usize = 512;
/// Most bytes of an answer.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Time for what is left when the process leaves.
const AT_LAST: Duration = Duration::from_secs(2);

/// What waits for a collector.
#[derive(Debug)]
pub struct Export {
    spans: Arc<Queue<Span>>,
    tap: OnceLock<LogTap>,
    began: SystemTime,
    /// Tells apart the processes of one machine.
    instance: String,
}

impl Default for Export {
    fn default() -> Self {
        Self {
            spans: Arc::new(Queue::closed(MOST_SPANS)),
            tap: OnceLock::new(),
            began: SystemTime::now(),
            instance: format!("{}-{:08x}", std::process::id(), rand::random::<u32>()),
        }
    }
}

impl Export {
    /// Takes log lines from here on; the first one stays.
    pub fn attach(&self, tap: LogTap) {
        let _ = self.tap.set(tap);
    }

    pub(crate) fn spans(&self) -> &Queue<Span> {
        &self.spans
    }

    fn resource(&self) -> Resource {
        otlp::resource(vec![
            otlp::text("service.name", "causeway"),
            otlp::text("service.version", env!("CARGO_PKG_VERSION")),
            otlp::text("service.instance.id", self.instance.as_str()),
        ])
    }
}

/// Who gets it.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    pub(crate) host: ControlHost,
    pub(crate) protocol: OtlpProtocol,
    pub(crate) base_path: String,
    pub(crate) traces: bool,
    pub(crate) metrics: bool,
    pub(crate) logs: bool,
    pub(crate) sample_percent: u8,
    pub(crate) users: bool,
    pub(crate) metrics_every: Duration,
}

/// What goes.
#[derive(Clone, Copy, Debug)]
enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    fn path(self, collector: &Collector) -> String {
        match collector.protocol {
            OtlpProtocol::Http => format!("{}/v1/{}", collector.base_path, self.name()),
            OtlpProtocol::Grpc => {
                let (package, service) = match self {
                    Self::Traces => ("trace", "TraceService"),
                    Self::Metrics => ("metrics", "MetricsService"),
                    Self::Logs => ("logs", "LogsService"),
                };
                format!("/opentelemetry.proto.collector.{package}.v1.{service}/Export")
            }
        }
    }
}

/// Why a delivery came to nothing.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    /// It may be taken later.
    #[error("{0}")]
    Later(String),
    /// It will never be.
    #[error("{0}")]
    Never(String),
}

/// Runs until it is dropped.
pub(crate) async fn run(gateway: &Gateway) {
    tokio::join!(ship(gateway, Signal::Traces), ship(gateway, Signal::Logs), figures(gateway),);
}

/// Takes over what was dropped, before the figures are rendered.
pub(crate) fn gauge(gateway: &Gateway) {
    gateway.metrics.set_export_dropped(Signal::Traces.name(), gateway.export.spans.dropped());
    if let Some(tap) = gateway.export.tap.get() {
        gateway.metrics.set_export_dropped(Signal::Logs.name(), tap.queue().dropped());
    }
}

/// What is left when the process leaves, as far as it goes quickly.
pub(crate) async fn last(gateway: &Gateway) {
    let left = async {
        for signal in [Signal::Traces, Signal::Logs] {
            if let Some(collector) = gateway.snapshot().collector.clone() {
                let (batch, count) = batch(gateway, signal);
                if count > 0 {
                    let _ = deliver(&collector, signal, batch).await;
                }
            }
        }
    };
    let _ = timeout(AT_LAST, left).await;
}

async fn ship(gateway: &Gateway, signal: Signal) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = fills(gateway, signal) => {}
        }
        let collector = gateway.snapshot().collector.clone();
        open(gateway, signal, collector.as_ref());
        let Some(collector) = collector else { continue };
        loop {
            let (batch, count) = batch(gateway, signal);
            if count == 0 {
                break;
            }
            push(gateway, (&collector, signal), (batch, count), &mut failing).await;
        }
    }
}

async fn fills(gateway: &Gateway, signal: Signal) {
    match (signal, gateway.export.tap.get()) {
        (Signal::Traces, _) => gateway.export.spans.fills().await,
        (Signal::Logs, Some(tap)) => tap.queue().fills().await,
        (Signal::Logs, None) | (Signal::Metrics, _) => std::future::pending().await,
    }
}

fn open(gateway: &Gateway, signal: Signal, collector: Option<&Collector>) {
    match signal {
        Signal::Traces => {
            let open = collector.is_some_and(|collector| collector.traces);
            if gateway.export.spans.is_open() != open {
                gateway.export.spans.set_open(open);
            }
        }
        Signal::Logs => {
            let Some(tap) = gateway.export.tap.get() else { return };
            let open = collector.is_some_and(|collector| collector.logs);
            if tap.queue().is_open() != open {
                tap.queue().set_open(open);
            }
        }
        Signal::Metrics => {}
    }
}

/// What waits, as much as goes into one delivery, and how many those are.
fn batch(gateway: &Gateway, signal: Signal) -> (Vec<u8>, usize) {
    let resource = gateway.export.resource();
    match (signal, gateway.export.tap.get()) {
        (Signal::Traces, _) => {
            let spans = gateway.export.spans.take(BATCH);
            let count = spans.len();
            (otlp::traces(spans, resource), count)
        }
        (Signal::Logs, Some(tap)) => {
            let lines = tap.queue().take(BATCH);
            let count = lines.len();
            (otlp::logs(lines, resource), count)
        }
        (Signal::Logs, None) | (Signal::Metrics, _) => (Vec::new(), 0),
    }
}

async fn figures(gateway: &Gateway) {
    let mut failing = false;
    loop {
        let collector = gateway.snapshot().collector.clone();
        let collector = collector.filter(|collector| collector.metrics);
        sleep(collector.as_ref().map_or(EVERY, |collector| collector.metrics_every)).await;
        let Some(collector) = collector else { continue };
        admin::gauge(gateway);
        let time = (nanos(gateway.export.began), nanos(SystemTime::now()));
        let page = otlp::metrics(&gateway.metrics.render(), gateway.export.resource(), time);
        push(gateway, (&collector, Signal::Metrics), (page, 1), &mut failing).await;
    }
}

/// Delivers, or drops and counts. What fails is said once.
async fn push(
    gateway: &Gateway,
    (collector, signal): (&Collector, Signal),
    (batch, count): (Vec<u8>, usize),
    failing: &mut bool,
) {
    let batch = match collector.protocol {
        OtlpProtocol::Http => Bytes::from(batch),
        OtlpProtocol::Grpc => framed(&batch),
    };
    let mut wait = AGAIN;
    for tried in 1..=TRIES {
        let why = match attempt(collector, signal, batch.clone()).await {
            Ok(rejected) => {
                *failing = false;
                gateway.metrics.exported(signal.name(), (count as u64).saturating_sub(rejected));
                return;
            }
            Err(why) => why,
        };
        gateway.metrics.export_failed(signal.name());
        let later = matches!(why, Undelivered::Later(_)) && tried < TRIES;
        if !std::mem::replace(failing, true) {
            tracing::warn!(signal = signal.name(), %why, "the collector takes nothing; what does not fit is dropped");
        }
        if !later {
            break;
        }
        sleep(wait).await;
        wait *= 2;
    }
    match (signal, gateway.export.tap.get()) {
        (Signal::Traces, _) => gateway.export.spans.drop_counted(count),
        (Signal::Logs, Some(tap)) => tap.queue().drop_counted(count),
        // The next page says all that this one said.
        (Signal::Metrics | Signal::Logs, _) => {}
    }
}

async fn deliver(collector: &Collector, signal: Signal, batch: Vec<u8>) -> Result<u64, Undelivered> {
    let batch = match collector.protocol {
        OtlpProtocol::Http => Bytes::from(batch),
        OtlpProtocol::Grpc => framed(&batch),
    };
    attempt(collector, signal, batch).await
}

/// One message of gRPC: not compressed, and its length.
fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

async fn attempt(collector: &Collector, signal: Signal, batch: Bytes) -> Result<u64, Undelivered> {
    let path = signal.path(collector);
    let asked = collector.host.post(&path, headers(collector.protocol), batch, LONGEST_ANSWER);
    let answer = match timeout(LIMIT, asked).await {
        Ok(answer) => answer.map_err(|error| Undelivered::Later(error.to_string()))?,
        Err(_) => return Err(Undelivered::Later(format!("there was no answer within {} s", LIMIT.as_secs()))),
    };
    let status = answer.status.as_u16();
    match status {
        200 => {}
        429 | 502..=504 => return Err(Undelivered::Later(format!("it answers {status}"))),
        _ => return Err(Undelivered::Never(format!("it answers {status}"))),
    }
    let message = match collector.protocol {
        OtlpProtocol::Http => answer.body.as_ref(),
        OtlpProtocol::Grpc => {
            grpc_status(&answer.headers, &answer.trailers)?;
            answer.body.get(5..).unwrap_or_default()
        }
    };
    Told::rejected(message).ok_or_else(|| Undelivered::Never("its answer is none of OTLP".to_owned()))
}

/// An answer that is only a head has its status there.
fn grpc_status(head: &HeaderMap, trailers: &HeaderMap) -> Result<(), Undelivered> {
    let status = trailers.get("grpc-status").or_else(|| head.get("grpc-status"));
    let code: Option<u16> = status.and_then(|status| status.to_str().ok()).and_then(|status| status.parse().ok());
    match code {
        Some(0) => Ok(()),
        // Those that the protocol of OTLP has tried again: cancelled, deadline, exhausted, aborted, out of range,
        // unavailable, data loss.
        Some(code @ (1 | 4 | 8 | 10 | 11 | 14 | 15)) => {
            Err(Undelivered::Later(format!("it answers gRPC status {code}")))
        }
        Some(code) => Err(Undelivered::Never(format!("it answers gRPC status {code}"))),
        None => Err(Undelivered::Later("its answer has no gRPC status".to_owned())),
    }
}

fn headers(protocol: OtlpProtocol) -> HeaderMap {
    const GRPC: [(HeaderName, HeaderValue); 2] =
        [(CONTENT_TYPE, HeaderValue::from_static("application/grpc")), (TE, HeaderValue::from_static("trailers"))];
    match protocol {
        OtlpProtocol::Grpc => HeaderMap::from_iter(GRPC),
        OtlpProtocol::Http => {
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))])
        }
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    u64::try_from(since).unwrap_or(u64::MAX)
}
