//! A trace: who asked for what, when, and how long the answer was.

use std::sync::Arc;

use policy::{Class, Findings};
use serde::Deserialize;

mod audit;

pub use audit::read_audit;

/// One request of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Seconds since the first request of the trace.
    pub at: f64,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Tokens of the answer.
    pub output: u32,
    /// Index of its [`Profile`].
    pub profile: u16,
}

/// What requests have in common as far as policy is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The app that asks.
    pub app: Arc<str>,
    /// The model that it names; none where the trace does not say, which stands for the scenario's first.
    pub model: Option<Arc<str>>,
    /// The API that it uses, in the word of the configuration; none where the trace does not say.
    pub api: Option<Arc<str>>,
    /// Labels of its data, each once; those of its app as well where the trace says them.
    pub labels: Vec<Arc<str>>,
    /// The class that something else than its app's registration gave it, where that is higher; none where nothing did.
    pub class: Option<Class>,
    /// The purpose that it names.
    pub purpose: Option<Arc<str>>,
    /// What inspection found.
    pub findings: Findings,
}

impl Profile {
    /// Requests of which nothing is known but who asks.
    #[must_use]
    pub fn of_app(app: &str) -> Self {
        let findings = Findings::none();
        Self { app: app.into(), model: None, api: None, labels: Vec::new(), class: None, purpose: None, findings }
    }
}

/// Requests in the order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The requests.
    pub rows: Vec<Row>,
    /// What they have in common.
    pub profiles: Vec<Profile>,
    /// Requests that could not be taken over, each kind with its number: what a replay does not answer for.
    pub left_out: Vec<(String, u64)>,
}

/// A line of a trace that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TraceError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

/// The most profiles that a trace may have.
const MOST_PROFILES: usize = u16::MAX as usize;

impl Trace {
    /// How long it lasts, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.rows.last().map_or(0.0, |row| row.at)
    }

    /// This trace and another one, on the same clock.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        let offset = u16::try_from(self.profiles.len()).unwrap_or(u16::MAX);
        self.profiles.extend(other.profiles);
        self.rows.extend(other.rows.into_iter().map(|row| Row { profile: row.profile.saturating_add(offset), ..row }));
        self.left_out.extend(other.left_out);
        self.rows.sort_by(|a, b| a.at.total_cmp(&b.at));
        self
    }

    /// The same requests, `load` times as fast.
    #[must_use]
    pub fn at_load(&self, load: f64) -> Self {
        let mut faster = self.clone();
        for row in &mut faster.rows {
            row.at /= load;
        }
        faster
    }

    /// The first part of it: at least one request, at most all.
    #[must_use]
    pub fn first_part(&self, part: f64) -> Self {
        let mut first = self.clone();
        let until = self.seconds() * part;
        first.rows.retain(|row| row.at <= until);
        first
    }

    fn begin_at_zero(mut self) -> Self {
        self.rows.sort_by(|a, b| a.at.total_cmp(&b.at));
        let first = self.rows.first().map_or(0.0, |row| row.at);
        for row in &mut self.rows {
            row.at -= first;
        }
        self
    }

    fn of_app(app: &str) -> Self {
        Self { profiles: vec![Profile::of_app(app)], ..Self::default() }
    }
}

/// Reads a trace in the format of the Azure LLM inference traces: `TIMESTAMP,ContextTokens,GeneratedTokens`.
///
/// # Errors
///
/// A [`TraceError`] for the first line that is not of that form.
pub fn read_azure(text: &str, app: &str) -> Result<Trace, TraceError> {
    let mut trace = Trace::of_app(app);
    for (index, line) in text.lines().enumerate() {
        if index == 0 && line.starts_with("TIMESTAMP") || line.trim().is_empty() {
            continue;
        }
        let wrong = || TraceError {
            line: index + 1,
            what: "expected `TIMESTAMP,ContextTokens,GeneratedTokens`, such as `2023-11-16 18:17:03.97,4808,10`"
                .to_owned(),
        };
        let mut fields = line.trim().split(',');
        let (Some(time), Some(prompt), Some(output), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(wrong());
        };
        let at = seconds_of(time).ok_or_else(wrong)?;
        let (prompt, output) = (prompt.parse().map_err(|_| wrong())?, output.parse().map_err(|_| wrong())?);
        trace.rows.push(Row { at, prompt, output, profile: 0 });
    }
    Ok(trace.begin_at_zero())
}

/// Seconds since some midnight, of `2023-11-16 18:17:03.9799600` or `2023-11-16T18:17:03.97Z`.
fn seconds_of(time: &str) -> Option<f64> {
    let (date, clock) = time.split_once([' ', 'T'])?;
    let mut date = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let clock = clock.trim_end_matches('Z');
    let clock = clock.split_once('+').map_or(clock, |(clock, _)| clock);
    let mut clock = clock.split(':');
    let (hour, minute) = (clock.next()?.parse::<u32>().ok()?, clock.next()?.parse::<u32>().ok()?);
    let second = clock.next()?.parse::<f64>().ok()?;
    Some(days(year, month, day) as f64 * 86_400.0 + f64::from(hour * 3_600 + minute * 60) + second)
}

/// Days since 1970-01-01 in the Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Reads a trace in the format of Mooncake's: one JSON object a line with `timestamp` (milliseconds), `input_length` and
/// `output_length`. Its `hash_ids` are read over: the server model has no prefix cache.
///
/// # Errors
///
/// A [`TraceError`] for the first line that is not of that form.
pub fn read_mooncake(text: &str, app: &str) -> Result<Trace, TraceError> {
    #[derive(Deserialize)]
    struct Line {
        timestamp: f64,
        input_length: u32,
        output_length: u32,
    }
    let mut trace = Trace::of_app(app);
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(line).map_err(|error| TraceError {
            line: index + 1,
            what: format!("not a line of a Mooncake trace: {error}"),
        })?;
        let at = line.timestamp / 1_000.0;
        trace.rows.push(Row { at, prompt: line.input_length, output: line.output_length, profile: 0 });
    }
    Ok(trace.begin_at_zero())
}

/// Reads a trace in whichever of the three formats it is: by its first line.
///
/// # Errors
///
/// A [`TraceError`] when it is none of them, or when a line is wrong.
pub fn read_any(text: &str, app: &str) -> Result<Trace, TraceError> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if first.starts_with('{') {
        return if first.contains("\"input_length\"") { read_mooncake(text, app) } else { read_audit(text) };
    }
    read_azure(text, app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_azure_trace_begins_at_its_first_request_and_is_in_the_order_of_time() {
        let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-17 00:00:00.5000000,374,44\n2023-11-16 23:59:59.2500000,4808,10\n";

        let trace = read_azure(text, "conv").unwrap();

        let row = |at, prompt, output| Row { at, prompt, output, profile: 0 };
        assert_eq!(trace.rows, [row(0.0, 4_808, 10), row(1.25, 374, 44)]);
        assert_eq!(&*trace.profiles[0].app, "conv");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error =
            read_azure("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,1,x\n", "conv").unwrap_err();

        assert_eq!(error.line, 2);
        assert_eq!(read_any("hello\n", "conv").unwrap_err().line, 1);
    }

    #[test]
    fn a_mooncake_trace_counts_milliseconds() {
        let text = r#"{"timestamp": 3000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 27482, "input_length": 10, "output_length": 5, "hash_ids": []}"#;

        let trace = read_any(text, "mooncake").unwrap();

        assert_eq!((trace.rows[0].prompt, trace.rows[1].at), (6_758, 24.482));
    }

    #[test]
    fn two_traces_keep_their_apps_when_they_are_merged() {
        let one = read_azure("2023-11-16 18:00:00,1,1\n2023-11-16 18:00:09,2,1\n", "conv").unwrap();
        let other = read_azure("2023-11-16 18:00:00,3,1\n2023-11-16 18:00:05,4,1\n", "code").unwrap();

        let both = one.merged(other);

        let apps: Vec<&str> = both.rows.iter().map(|row| &*both.profiles[usize::from(row.profile)].app).collect();
        assert_eq!(apps, ["conv", "code", "code", "conv"]);
        assert_eq!(both.at_load(2.0).seconds(), 4.5);
    }
}
