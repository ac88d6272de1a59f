//! Log lines for a person or a collector, to standard error.
//!
//! **Secrets.** Whatever can end up in a line must be safe to show, so:
//! - Secrets live in types whose `Debug` prints a placeholder, and that have no `Display`.
//! - A field is named and typed (`endpoint = %name, status`), never a whole request, header map or body with `?`.
//! - An error message holds names, addresses and limits, never a prompt, a key or a token.
//! - `hyper`, `h2` and `rustls` can print headers and bytes at `debug` and `trace`; the filters here keep them at `warn` at most,
//!   whatever the given filter says in general, unless it names them.
//!
//! - What a panic says is not shown: its words may be made of a request. Where it happened is.
//!
//! Control characters in a value are escaped in both formats: a caller cannot write a second line or move the
//! reader's cursor.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::otlp::LogTap;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line, for a collector.
    Json,
    /// Time, level, message, fields: for a person.
    #[default]
    Line,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The filter is not in the form `info,egress=debug`.
    #[error("log filter `{filter}` is not of the form `info,egress=debug`")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is there already.
    #[error("logging was set up before")]
    Twice(#[from] TryInitError),
}

/// Libraries that show headers or bytes when they are asked for detail.
const TALKATIVE: [&str; 5] = ["hyper", "hyper_util", "h2", "rustls", "hickory_proto"];

/// Sends the log lines of the process to standard error, those about panics included, and gives the tap by which a collector
/// gets them as well. An empty `filter` means `info`.
///
/// # Errors
/// [`LogError::Filter`] for a filter that cannot be read, [`LogError::Twice`] when called again.
pub fn init(format: Format, filter: &str) -> Result<LogTap, LogError> {
    let colour = io::stderr().is_terminal();
    let tap = LogTap::default();
    subscriber(format, filter, colour, io::stderr)?.with(tap.clone()).try_init()?;
    std::panic::set_hook(Box::new(announce));

    Ok(tap)
}

/// Says where a panic happened, on which thread, and its words only where they stand so in the source.
///
/// The standard hook prints the words, and those of an `expect` or an index out of range are made of values.
fn announce(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let words = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("not shown");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(location, thread = thread.name(), words, backtrace, "a fault of the gateway: a panic");
}

/// The subscriber behind [`init`], towards any writer.
fn subscriber<W>(
    format: Format,
    filter: &str,
    colour: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter_of(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);

    Ok(match format {
        Format::Json => {
            Box::new(builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish())
        }
        Format::Line => Box::new(builder.with_ansi(colour).finish()),
    })
}

fn filter_of(text: &str) -> Result<EnvFilter, LogError> {
    let text = if text.trim().is_empty() { "info" } else { text };
    let mut whole = String::new();
    for library in TALKATIVE {
        // A directive of the operator's own comes later in the list and wins.
        whole.push_str(library);
        whole.push_str("=warn,");
    }
    whole.push_str(text);

    EnvFilter::builder().parse(&whole).map_err(|source| LogError::Filter { filter: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format, filter: &str, act: impl FnOnce()) -> String {
        let page = Page::default();
        let target = page.clone();
        let subscriber = subscriber(format, filter, false, move || target.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, act);

        let text = page.0.lock().clone();
        String::from_utf8(text).unwrap()
    }

    proptest! {
        #[test]
        fn a_value_from_outside_stays_within_its_json_line(value in any::<String>()) {
            let text = written(Format::Json, "info", || tracing::info!(value, "seen"));

            let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
            prop_assert_eq!(line["value"].as_str(), Some(value.as_str()));
            prop_assert_eq!(text.matches('\n').count(), 1);
        }
    }

    #[test]
    fn a_value_from_outside_cannot_start_a_line_or_move_the_cursor_of_a_reader() {
        let text = written(Format::Line, "info", || tracing::info!(value = "a\nERROR forged\u{1b}[2J", "seen"));

        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_talkative_library_stays_quiet_until_it_is_named() {
        let act = || tracing::debug!(target: "hyper::proto", "authorization: …");

        assert_eq!(written(Format::Line, "debug", act), "");
        assert_ne!(written(Format::Line, "debug,hyper=debug", act), "");
    }

    #[test]
    fn an_empty_filter_means_info() {
        let text = written(Format::Line, "", || {
            tracing::info!("shown");
            tracing::debug!("hidden");
        });

        assert!(text.contains("shown") && !text.contains("hidden"));
    }

    #[test]
    fn a_panic_says_where_it_happened_and_shows_nothing_of_the_values_in_its_words() {
        let text = written(Format::Json, "", || {
            std::panic::set_hook(Box::new(announce));
            for value in ["my IBAN is", "DE89 3704"] {
                let _ = std::panic::catch_unwind(|| panic!("index out of range in {value}"));
            }
            let _ = std::panic::catch_unwind(|| panic!("no value at all"));
            drop(std::panic::take_hook());
        });

        assert!(!text.contains("IBAN") && !text.contains("DE89"), "{text}");
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line["location"].as_str().unwrap().contains("src/log.rs:")), "{text}");
        assert_eq!(lines[2]["words"], "no value at all");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = init(Format::Line, "egress=loud").unwrap_err();

        assert!(error.to_string().contains("`egress=loud`"), "{error}");
    }
}
