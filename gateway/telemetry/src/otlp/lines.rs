//! Log lines for a collector: the same events that go to standard error, which hold nothing that must not be shown.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::proto::{AnyValue, KeyValue, LogRecord, Value, number, text};
use super::{MOST_LINES, Queue};

/// Longest text of a line or of one of its fields, in bytes; the rest is cut off.
const LONGEST: usize = 2_048;
/// Most fields of a line.
const MOST_FIELDS: usize = 32;

/// Where log lines wait for a collector; nothing waits until it is opened.
#[derive(Clone, Debug)]
pub struct LogTap(Arc<Queue<LogRecord>>);

impl Default for LogTap {
    fn default() -> Self {
        Self(Arc::new(Queue::closed(MOST_LINES)))
    }
}

impl LogTap {
    /// What waits.
    #[must_use]
    pub fn queue(&self) -> &Queue<LogRecord> {
        &self.0
    }
}

impl<S: Subscriber> Layer<S> for LogTap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !self.0.is_open() {
            return;
        }
        let metadata = event.metadata();
        let mut line = Line { body: String::new(), attributes: vec![text("code.namespace", metadata.target())] };
        event.record(&mut line);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.0.put(vec![LogRecord {
            time_unix_nano: now,
            observed_time_unix_nano: now,
            severity_number: severity(*metadata.level()),
            severity_text: metadata.level().to_string(),
            body: Some(AnyValue { value: Some(Value::Text(line.body)) }),
            attributes: line.attributes,
        }]);
    }
}

/// The numbers of OpenTelemetry's data model for logs.
fn severity(level: Level) -> i32 {
    match level {
        Level::TRACE => 1,
        Level::DEBUG => 5,
        Level::INFO => 9,
        Level::WARN => 13,
        Level::ERROR => 17,
    }
}

struct Line {
    body: String,
    attributes: Vec<KeyValue>,
}

impl Line {
    fn add(&mut self, field: &Field, value: String) {
        let value = cut(value);
        if field.name() == "message" {
            self.body = value;
        } else if self.attributes.len() < MOST_FIELDS {
            self.attributes.push(text(field.name(), value));
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if self.attributes.len() < MOST_FIELDS {
            self.attributes.push(number(field.name(), value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if self.attributes.len() < MOST_FIELDS {
            self.attributes.push(number(field.name(), value));
        }
    }
}

fn cut(mut value: String) -> String {
    if value.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
        value.truncate(end);
    }
    value
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_line_waits_with_its_fields_and_is_cut_to_its_bound() {
        let tap = LogTap::default();
        let subscriber = tracing_subscriber::registry().with(tap.clone());
        tap.queue().set_open(true);

        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(endpoint = %"only", status = 503_u16, long = "é".repeat(4_000), "attempt {}", "failed");
        });

        let lines = tap.queue().take(9);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].severity_number, 13);
        assert_eq!(lines[0].body, Some(AnyValue { value: Some(Value::Text("attempt failed".to_owned())) }));
        assert!(lines[0].attributes.contains(&text("endpoint", "only")));
        assert!(lines[0].attributes.contains(&number("status", 503)));
        assert!(lines[0].attributes.contains(&text("long", "é".repeat(1_024))));
    }

    #[test]
    fn without_a_collector_nothing_waits() {
        let tap = LogTap::default();
        let subscriber = tracing_subscriber::registry().with(tap.clone());

        tracing::subscriber::with_default(subscriber, || tracing::warn!("nobody listens"));

        assert!(tap.queue().take(9).is_empty());
    }
}
