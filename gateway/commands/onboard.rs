//! `causeway onboard report`: per app, what its requests were and what policies said of them, from the audit log.
//!
//! It reads what is recorded and nothing else: kinds and numbers of findings, never a value, and no prompt.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};
use telemetry::audit::read;

use super::audit::{AuditCommandError, Span, Where, fail};

/// What is to be said of apps.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Say per app what it uses, what was refused and why, what the candidate policies would change, and which findings are so
    /// frequent that somebody should look whether they are false.
    Report(Arguments),
}

/// Which requests are looked at.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: Where,
    /// Requests from this time on, `2026-11-26` or `2026-11-26T08:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Requests before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// This app alone.
    #[arg(long)]
    app: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Report(arguments) = command;
    report(arguments).unwrap_or_else(|error| fail(&error))
}

fn report(arguments: &Arguments) -> Result<ExitCode, AuditCommandError> {
    let log = arguments.at.log()?;
    let span = Span::parse(arguments.since.as_deref(), arguments.until.as_deref())?;
    let mut apps: BTreeMap<String, App> = BTreeMap::new();
    let read = read::scan(
        &log.folder,
        |_| true,
        |_, bytes| {
            let Ok(entry) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
            let asked = matches!(entry["kind"].as_str(), Some("intent" | "refused"));
            let app = entry["app"].as_str().unwrap_or_default();
            let is_wanted = arguments.app.as_deref().is_none_or(|wanted| wanted == app);
            if asked && is_wanted && (span.is_everything() || span.holds(entry["at"].as_str())) {
                apps.entry(app.to_owned()).or_default().count(&entry);
            }
            Ok(())
        },
    );
    read.map_err(|source| AuditCommandError::Read { path: log.folder, source })?;
    if arguments.json {
        let apps: serde_json::Map<String, Value> = apps.iter().map(|(name, app)| (name.clone(), app.value())).collect();
        println!("{}", json!({ "apps": apps }));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} apps", apps.len());
    for (name, app) in &apps {
        app.print(name);
    }
    println!();
    println!(
        "Refused requests are written up to a bound per app and second, so refusals may be more than are counted here."
    );
    Ok(ExitCode::SUCCESS)
}

type Counts = BTreeMap<String, u64>;

/// What the log has of one app.
#[derive(Default)]
struct App {
    team: String,
    requests: u64,
    first: String,
    last: String,
    models: Counts,
    apis: Counts,
    labels: Counts,
    classes: Counts,
    /// Requests by kind of finding.
    findings: Counts,
    /// Those of them that policies did not see, because they are suppressed.
    suppressed: Counts,
    features: Counts,
    /// Requests by code.
    refused: Counts,
    /// Requests that had a target kept out, by reason.
    kept_out: Counts,
    /// Requests for which the candidate policies say something else of a target.
    proposed: Counts,
}

impl App {
    fn count(&mut self, entry: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.team = text(&entry["team"]);
        self.requests += 1;
        let at = text(&entry["at"]);
        if self.first.is_empty() || at < self.first {
            self.first.clone_from(&at);
        }
        if at > self.last {
            self.last = at;
        }
        let each = |list: &Value, name: &str| -> Vec<String> {
            let named = |item: &Value| if name.is_empty() { text(item) } else { text(&item[name]) };
            let mut all: Vec<String> = list.as_array().into_iter().flatten().map(named).collect();
            all.retain(|one| !one.is_empty());
            all.sort();
            all.dedup();
            all
        };
        let outs = entry["candidates"].as_array().into_iter().flatten().filter(|note| note["verdict"] == "out");
        let outs = Value::Array(outs.cloned().collect());
        let hidden = entry["findings"].as_array().into_iter().flatten().filter(|note| note["suppressed"] == true);
        let hidden = Value::Array(hidden.cloned().collect());
        for (counts, found) in [
            (&mut self.models, vec![text(&entry["model"])]),
            (&mut self.apis, vec![text(&entry["api"])]),
            (&mut self.labels, each(&entry["data"]["labels"], "")),
            (&mut self.classes, vec![text(&entry["data"]["class"])]),
            (&mut self.findings, each(&entry["findings"], "kind")),
            (&mut self.suppressed, each(&hidden, "kind")),
            (&mut self.features, each(&entry["features"], "kind")),
            (&mut self.refused, vec![text(&entry["code"])]),
            (&mut self.kept_out, each(&outs, "why")),
            (&mut self.proposed, each(&entry["candidates"], "proposed")),
        ] {
            for name in found.into_iter().filter(|name| !name.is_empty()) {
                *counts.entry(name).or_default() += 1;
            }
        }
    }

    /// Kinds of finding in more than a third of at least twenty requests: what the app is about, or a false alarm.
    fn frequent(&self) -> Vec<String> {
        const FEWEST: u64 = 20;
        let often = |(_, count): &(&String, &u64)| self.requests >= FEWEST && **count * 3 > self.requests;
        let said = |(kind, count): (&String, &u64)| format!("{kind}: in {count} of {} requests", self.requests);
        self.findings.iter().filter(often).map(said).collect()
    }

    fn print(&self, name: &str) {
        println!();
        println!("{name} (team {})", self.team);
        println!("  requests       {}, from {} to {}", self.requests, self.first, self.last);
        for (head, counts) in [
            ("models", &self.models),
            ("apis", &self.apis),
            ("labels", &self.labels),
            ("classes", &self.classes),
            ("findings", &self.findings),
            ("suppressed", &self.suppressed),
            ("features", &self.features),
            ("refused", &self.refused),
        ] {
            let all: Vec<String> = counts.iter().map(|(name, count)| format!("{name} ({count})")).collect();
            println!("  {head:<13}  {}", if all.is_empty() { "none".to_owned() } else { all.join(", ") });
        }
        for (head, counts) in [("kept out", &self.kept_out), ("would change", &self.proposed)] {
            for (why, count) in counts {
                println!("  {head:<13}  {count} requests: {why}");
            }
        }
        for line in self.frequent() {
            println!("  perhaps false  {line}; look at some before a policy acts on it");
        }
    }

    fn value(&self) -> Value {
        json!({
            "team": self.team, "requests": self.requests, "first": self.first, "last": self.last, "models": self.models,
            "apis": self.apis, "labels": self.labels, "classes": self.classes, "findings": self.findings,
            "suppressed": self.suppressed, "features": self.features, "refused": self.refused, "kept_out": self.kept_out,
            "would_change": self.proposed, "perhaps_false": self.frequent(),
        })
    }
}
