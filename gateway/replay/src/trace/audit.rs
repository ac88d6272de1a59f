//! Causeway's own records as a trace.
//!
//! An intent gives who asked for what and when, its outcome what was used. Where the usage was never reported, the
//! estimate stands in for it, as it does on the bill.

use std::collections::HashMap;

use policy::{Finding, FindingKind, Findings};
use serde::Deserialize;

use super::{MOST_PROFILES, Profile, Row, Trace, TraceError, seconds_of};

#[derive(Deserialize)]
struct Line<'a> {
    kind: &'a str,
    #[serde(default)]
    decision: Option<&'a str>,
    #[serde(default)]
    at: Option<&'a str>,
    #[serde(default)]
    app: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    estimate: Option<Usage>,
    #[serde(default)]
    features: Vec<Feature>,
    #[serde(default)]
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Deserialize)]
struct Usage {
    input: u64,
    output: u64,
}

#[derive(Deserialize)]
struct Feature {
    kind: String,
    path: String,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    usage: Option<Usage>,
}

/// Reads the lines of an audit log, `records.jsonl`, of one or more epochs one after the other.
///
/// Listings, refused requests and requests whose findings this version does not know are left out and counted.
///
/// # Errors
///
/// A [`TraceError`] for the first line that is no line of an audit log. A last line that is torn is read over.
pub fn read_audit(text: &str) -> Result<Trace, TraceError> {
    let mut trace = Trace::default();
    let mut left_out: HashMap<String, u64> = HashMap::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    let lines: Vec<&str> = text.lines().collect();
    for (index, text) in lines.iter().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Line<'_> = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(_) if index + 1 == lines.len() => break,
            Err(error) => {
                return Err(TraceError { line: index + 1, what: format!("not a line of an audit log: {error}") });
            }
        };
        match line.kind {
            "intent" => match taken(&line, &mut trace) {
                Ok(row) => {
                    if let Some(decision) = line.decision {
                        open.insert(decision, trace.rows.len());
                    }
                    trace.rows.push(row);
                }
                Err(why) => *left_out.entry(why).or_default() += 1,
            },
            "outcome" => {
                let row = line.decision.and_then(|decision| open.remove(decision));
                let usage = line.outcome.and_then(|outcome| outcome.usage);
                if let (Some(row), Some(usage)) = (row.and_then(|row| trace.rows.get_mut(row)), usage) {
                    (row.prompt, row.output) = (tokens(usage.input), tokens(usage.output));
                }
            }
            "refused" => *left_out.entry("refused when it was recorded".to_owned()).or_default() += 1,
            _ => {}
        }
    }
    trace.left_out = left_out.into_iter().collect();
    trace.left_out.sort();
    Ok(trace.begin_at_zero())
}

/// The request of an intent, or why it is left out.
fn taken(line: &Line<'_>, trace: &mut Trace) -> Result<Row, String> {
    let (Some(at), Some(app), Some(model)) = (line.at.and_then(seconds_of), &line.app, &line.model) else {
        return Err("without time, app or model".to_owned());
    };
    let Some(estimate) = line.estimate.filter(|estimate| estimate.input > 0) else {
        return Err("without a prompt".to_owned());
    };
    let mut findings = Findings::none();
    for feature in &line.features {
        let kind = kind_of(&feature.kind).ok_or_else(|| format!("with a finding `{}`", feature.kind))?;
        findings.push(Finding { kind, path: feature.path.clone() });
    }
    let profile = Profile { app: app.as_str().into(), model: Some(model.as_str().into()), findings };
    let known = trace.profiles.iter().position(|known| *known == profile);
    let profile = match known {
        Some(index) => index,
        None if trace.profiles.len() < MOST_PROFILES => {
            trace.profiles.push(profile);
            trace.profiles.len() - 1
        }
        None => return Err("with more kinds of requests than a replay keeps apart".to_owned()),
    };
    let profile = u16::try_from(profile).unwrap_or(u16::MAX);
    Ok(Row { at, prompt: tokens(estimate.input), output: tokens(estimate.output), profile })
}

fn kind_of(name: &str) -> Option<FindingKind> {
    match name {
        "stored_state" => Some(FindingKind::StoredState),
        "remote_url" => Some(FindingKind::RemoteUrl),
        name => name.strip_prefix("hosted_tool:").map(|tool| FindingKind::HostedTool(tool.into())),
    }
}

fn tokens(tokens: u64) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_becomes_a_request_with_the_usage_of_its_outcome() {
        let text = concat!(
            r#"{"seq":0,"kind":"open","format":1}"#,
            "\n",
            r#"{"seq":1,"kind":"intent","decision":"d1","at":"2026-03-01T10:00:00.500000Z","app":"claims","model":"chat","estimate":{"input":100,"output":1024},"features":[{"kind":"remote_url","path":"$.messages[0]"}]}"#,
            "\n",
            r#"{"seq":2,"kind":"intent","decision":"d2","at":"2026-03-01T10:00:02.500000Z","app":"claims","model":"chat","estimate":{"input":7,"output":9}}"#,
            "\n",
            r#"{"seq":3,"kind":"outcome","decision":"d1","outcome":{"usage":{"input":90,"output":12}},"attempts":[]}"#,
            "\n",
            r#"{"seq":4,"kind":"refused","decision":"d3","app":"claims"}"#,
            "\n",
            r#"{"seq":5,"kind":"inte"#,
        );

        let trace = read_audit(text).unwrap();

        assert_eq!(trace.rows[0], Row { at: 0.0, prompt: 90, output: 12, profile: 0 });
        assert_eq!(trace.rows[1], Row { at: 2.0, prompt: 7, output: 9, profile: 1 });
        assert_eq!(trace.profiles[0].findings.iter().count(), 1);
        assert_eq!(trace.left_out, [("refused when it was recorded".to_owned(), 1)]);
    }

    #[test]
    fn a_line_in_the_middle_that_is_none_is_named() {
        assert_eq!(read_audit("{}\n{\"kind\":\"seal\"}\n").unwrap_err().line, 1);
    }
}
