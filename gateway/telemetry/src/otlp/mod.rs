//! Traces, metrics and log lines in the form of the OpenTelemetry protocol (OTLP), for a collector that the company has.
//!
//! **Promises.** Nothing here holds a prompt, a reply, a credential or the name of a user: a span has names that the
//! configuration defines, codes, numbers and times. What waits for a collector is bounded ([`MOST_SPANS`], [`MOST_LINES`]); beyond
//! that it is dropped and counted, and no request ever waits for it.
//!
//! **Does not do.** It sends nothing: `server` takes what waits and has `egress` send it.

mod context;
mod figures;
mod lines;
mod proto;
mod queue;
mod trace;

pub use context::TraceContext;
pub use lines::LogTap;
pub use proto::{KeyValue, LogRecord, Resource, Span, Told, logs, number, resource, text, traces};
pub use queue::Queue;
pub use trace::{AttemptSpan, Ended, RequestTrace};

/// Most spans that wait; some 5 MiB.
pub const MOST_SPANS: usize = 8_192;
/// Most log lines that wait; at most some 4 MiB.
pub const MOST_LINES: usize = 2_048;

/// The figures of `page`, which [`Metrics::render`](crate::metrics::Metrics::render) gave, as a request of OTLP.
pub fn metrics(page: &str, resource: Resource, (began, now): (u64, u64)) -> Vec<u8> {
    proto::metrics(figures::read(page, (began, now)), resource)
}
