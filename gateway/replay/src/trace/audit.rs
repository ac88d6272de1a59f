//! Causeway's own records as a trace.
//!
//! An intent gives who asked for what and when, what the data was and what was found in it; its outcome gives what was
//! used. Where the usage was never reported, the estimate stands in for it, as it does on the bill.

use std::collections::HashMap;
use std::fmt::Write as _;

use policy::{Class, Finding, FindingKind, Findings, TextKind};
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
    api: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    estimate: Option<Usage>,
    #[serde(default)]
    features: Vec<Found>,
    #[serde(default)]
    findings: Vec<Found>,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Deserialize)]
struct Usage {
    input: u64,
    output: u64,
}

/// A feature or a finding. Where it stood, and how often, decides nothing.
#[derive(Deserialize)]
struct Found {
    kind: String,
}

#[derive(Deserialize)]
struct Data {
    labels: Vec<String>,
    #[serde(default)]
    class: Option<String>,
    /// Who says the class, where it is not the app's registration.
    #[serde(default)]
    class_from: Option<String>,
    #[serde(default)]
    purpose: Option<String>,
}

impl Data {
    /// The class that the request had from somebody else than its app's registration.
    fn raised(&self) -> Option<&str> {
        self.class_from.as_ref().and(self.class.as_deref())
    }
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    usage: Option<Usage>,
}

/// Reads the entries of an audit log, one a line, of one or more epochs one after the other, as `causeway audit export`
/// writes them.
///
/// Listings, refused requests and requests whose findings this version does not know are left out and counted.
///
/// # Errors
///
/// A [`TraceError`] for the first line that is no line of an audit log. A last line that is torn is read over.
pub fn read_audit(text: &str) -> Result<Trace, TraceError> {
    let mut reader = Reader::default();
    let lines: Vec<&str> = text.lines().collect();
    for (index, text) in lines.iter().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str(text) {
            Ok(line) => reader.take(&line),
            Err(_) if index + 1 == lines.len() => break,
            Err(error) => {
                return Err(TraceError { line: index + 1, what: format!("not a line of an audit log: {error}") });
            }
        }
    }
    Ok(reader.end())
}

#[derive(Default)]
struct Reader {
    trace: Trace,
    left_out: HashMap<String, u64>,
    /// Rows whose outcome is still to come, by their decision.
    open: HashMap<String, usize>,
    /// Profiles by everything that tells them apart.
    known: HashMap<String, u16>,
}

impl Reader {
    fn take(&mut self, line: &Line<'_>) {
        match line.kind {
            "intent" => match self.row(line) {
                Ok(row) => {
                    if let Some(decision) = line.decision {
                        self.open.insert(decision.to_owned(), self.trace.rows.len());
                    }
                    self.trace.rows.push(row);
                }
                Err(why) => self.leave_out(why),
            },
            "outcome" => {
                let row = line.decision.and_then(|decision| self.open.remove(decision));
                let usage = line.outcome.as_ref().and_then(|outcome| outcome.usage);
                if let (Some(row), Some(usage)) = (row.and_then(|row| self.trace.rows.get_mut(row)), usage) {
                    (row.prompt, row.output) = (tokens(usage.input), tokens(usage.output));
                }
            }
            "refused" => {
                let code = line.code.as_deref().unwrap_or("no code");
                self.leave_out(format!("refused when it was recorded: {code}"));
            }
            _ => {}
        }
    }

    fn leave_out(&mut self, why: String) {
        *self.left_out.entry(why).or_default() += 1;
    }

    /// The request of an intent, or why it is left out.
    fn row(&mut self, line: &Line<'_>) -> Result<Row, String> {
        let (Some(at), Some(app), Some(model)) = (line.at.and_then(seconds_of), &line.app, &line.model) else {
            return Err("without time, app or model".to_owned());
        };
        let Some(estimate) = line.estimate.filter(|estimate| estimate.input > 0) else {
            return Err("without a prompt".to_owned());
        };
        let key = key_of(line, app, model);
        let profile = match self.known.get(&key) {
            Some(known) => *known,
            None => self.new_profile(line, key, app, model)?,
        };
        Ok(Row { at, prompt: tokens(estimate.input), output: tokens(estimate.output), profile })
    }

    fn new_profile(&mut self, line: &Line<'_>, key: String, app: &str, model: &str) -> Result<u16, String> {
        let mut findings = Findings::none();
        for found in line.features.iter().chain(&line.findings) {
            let kind = kind_of(&found.kind).ok_or_else(|| format!("with a finding `{}`", found.kind))?;
            findings.push(Finding { kind, path: "$".to_owned() });
        }
        let class = match line.data.as_ref().and_then(Data::raised) {
            Some(name) => Some(Class::named(name).ok_or_else(|| format!("of a class `{name}`"))?),
            None => None,
        };
        let index = u16::try_from(self.trace.profiles.len()).unwrap_or(u16::MAX);
        if usize::from(index) >= MOST_PROFILES {
            return Err("with more kinds of requests than a replay keeps apart".to_owned());
        }
        self.trace.profiles.push(Profile {
            model: Some(model.into()),
            api: line.api.as_deref().map(Into::into),
            labels: line.data.iter().flat_map(|data| &data.labels).map(|label| label.as_str().into()).collect(),
            class,
            purpose: line.data.as_ref().and_then(|data| data.purpose.as_deref()).map(Into::into),
            findings,
            ..Profile::of_app(app)
        });
        self.known.insert(key, index);
        Ok(index)
    }

    fn end(mut self) -> Trace {
        self.trace.left_out = self.left_out.into_iter().collect();
        self.trace.left_out.sort();
        self.trace.begin_at_zero()
    }
}

/// Everything that tells one profile from another, as text. Names hold no line breaks.
fn key_of(line: &Line<'_>, app: &str, model: &str) -> String {
    let mut key = format!("{app}\n{model}\n{}\n", line.api.as_deref().unwrap_or_default());
    let data = line.data.as_ref();
    let labels = data.iter().flat_map(|data| &data.labels);
    for part in line.features.iter().chain(&line.findings).map(|found| &found.kind) {
        writeln!(key, "f{part}").expect("a string takes all that is written to it");
    }
    for part in labels {
        writeln!(key, "l{part}").expect("a string takes all that is written to it");
    }
    if let Some(class) = data.and_then(Data::raised) {
        writeln!(key, "c{class}").expect("a string takes all that is written to it");
    }
    key.push_str(data.and_then(|data| data.purpose.as_deref()).unwrap_or_default());
    key
}

fn kind_of(name: &str) -> Option<FindingKind> {
    match name {
        "stored_state" => Some(FindingKind::StoredState),
        "remote_url" => Some(FindingKind::RemoteUrl),
        "uninspected_media" => Some(FindingKind::UninspectedMedia),
        "uninspected" => Some(FindingKind::Uninspected),
        "user_identifier" => Some(FindingKind::UserIdentifier),
        name => match name.strip_prefix("hosted_tool:") {
            Some(tool) => Some(FindingKind::HostedTool(tool.into())),
            None => {
                let shipped = TextKind::all().find(|kind| kind.name() == name);
                shipped.or_else(|| TextKind::own_named(name)).map(FindingKind::Text)
            }
        },
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
            r#"{"seq":4,"kind":"refused","decision":"d3","app":"claims","code":"residency_denied"}"#,
            "\n",
            r#"{"seq":5,"kind":"inte"#,
        );

        let trace = read_audit(text).unwrap();

        assert_eq!(trace.rows[0], Row { at: 0.0, prompt: 90, output: 12, profile: 0 });
        assert_eq!(trace.rows[1], Row { at: 2.0, prompt: 7, output: 9, profile: 1 });
        assert_eq!(trace.profiles[0].findings.iter().count(), 1);
        assert_eq!(trace.left_out, [("refused when it was recorded: residency_denied".to_owned(), 1)]);
    }

    #[test]
    fn labels_purpose_and_findings_of_the_record_are_those_of_the_request() {
        let line = |data: &str| {
            format!(
                r#"{{"kind":"intent","decision":"d","at":"2026-03-01T10:00:00Z","app":"a","model":"m","api":"responses","estimate":{{"input":1,"output":1}},{data},"findings":[{{"kind":"iban","count":3}}]}}"#
            )
        };
        let labelled = line(r#""data":{"labels":["eu_personal","health"],"class":"internal","purpose":"claims"}"#);
        let plain = line(r#""data":{"labels":[],"class":"internal"}"#);

        let trace = read_audit(&format!("{labelled}\n{plain}\n{labelled}\n")).unwrap();

        let profile = &trace.profiles[0];
        assert_eq!(profile.labels.iter().map(|label| &**label).collect::<Vec<_>>(), ["eu_personal", "health"]);
        assert_eq!((profile.purpose.as_deref(), profile.api.as_deref()), (Some("claims"), Some("responses")));
        assert!(profile.findings.names().contains("iban"));
        assert_eq!(trace.rows.iter().map(|row| row.profile).collect::<Vec<_>>(), [0, 1, 0]);
    }

    #[test]
    fn a_class_that_claims_gave_is_the_request_s_and_that_of_its_app_is_not() {
        let line = |data: &str| {
            format!(
                r#"{{"kind":"intent","decision":"d","at":"2026-03-01T10:00:00Z","app":"a","model":"m","estimate":{{"input":1,"output":1}},"data":{{"labels":[],{data}}}}}"#
            )
        };
        let (plain, raised) = (line(r#""class":"internal""#), line(r#""class":"secret","class_from":"claims""#));
        let unknown = line(r#""class":"cosmic","class_from":"claims""#);

        let trace = read_audit(&format!("{plain}\n{raised}\n{unknown}\n{raised}\n")).unwrap();

        assert_eq!(trace.rows.iter().map(|row| row.profile).collect::<Vec<_>>(), [0, 1, 1]);
        let classes: Vec<Option<Class>> = trace.profiles.iter().map(|profile| profile.class).collect();
        assert_eq!(classes, [None, Class::named("secret")]);
        assert_eq!(trace.left_out, [("of a class `cosmic`".to_owned(), 1)]);
    }

    #[test]
    fn a_line_in_the_middle_that_is_none_is_named() {
        assert_eq!(read_audit("{}\n{\"kind\":\"seal\"}\n").unwrap_err().line, 1);
    }
}
