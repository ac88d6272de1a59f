//! `causeway audit exposure`.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use telemetry::audit::read::{self, Exposure, Question};

use super::places::{self, Change};
use super::{AuditCommandError, Where, times};

/// What is asked.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    #[command(flatten)]
    at: Where,
    /// Requests from this time on, `2026-11-26` or `2026-11-26T08:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Requests before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Those that may have reached this endpoint.
    #[arg(long, value_name = "NAME", conflicts_with = "place_changed")]
    endpoint: Option<String>,
    /// Those that may have reached an endpoint of which something else is known now: a TOML file of `[fact.ROW]` sections,
    /// which are added to those of the configuration.
    #[arg(long, value_name = "FACTS", requires = "config")]
    place_changed: Option<PathBuf>,
    /// Those that were asked with this key, by its name in the configuration.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, AuditCommandError> {
    let log = arguments.at.log()?;
    let span = times::Span::parse(Some(&arguments.since), arguments.until.as_deref())?;
    let changes = match (&arguments.place_changed, &log.compiled) {
        (Some(facts), Some(before)) => Some(places::changed(&arguments.at, before, facts)?),
        _ => None,
    };
    let named = arguments.endpoint.iter().cloned().collect();
    let of_places = changes.as_ref().map(|changes| changes.iter().map(|change| change.endpoint.clone()).collect());
    let question = Question {
        since: span.since,
        until: span.until,
        endpoints: of_places.or(arguments.endpoint.is_some().then_some(named)),
        key: arguments.key.clone(),
    };
    let exposure = read::exposure(&log.folder, &question)
        .map_err(|source| AuditCommandError::Read { path: log.folder.clone(), source })?;
    let changes = changes.unwrap_or_default();
    if arguments.json {
        print_json(&exposure, &changes);
    } else {
        changes.iter().for_each(|change| println!("{change}"));
        print(&exposure);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(exposure: &Exposure) {
    println!("{} requests of {} apps, from {} entries", exposure.requests(), exposure.apps.len(), exposure.entries);
    if exposure.unrecorded > 0 {
        println!(
            "{} requests of that time left no record, because the log took no entries: any of them may belong here",
            exposure.unrecorded
        );
    }
    for (app, touched) in &exposure.apps {
        println!();
        println!("{app} (team {})", touched.team);
        println!("  requests  {}, from {} to {}", touched.requests, touched.first, touched.last);
        if touched.unknown > 0 {
            println!("  of these  {} have no outcome and may have been sent", touched.unknown);
        }
        let list = |items: Vec<String>| if items.is_empty() { "none recorded".to_owned() } else { items.join(", ") };
        println!("  keys      {}", list(touched.keys.iter().cloned().collect()));
        let counted = |(name, count): (&String, &u64)| format!("{name} ({count})");
        println!("  places    {}", list(touched.places.iter().map(counted).collect()));
        println!("  labels    {}", list(touched.labels.iter().map(counted).collect()));
        println!("  users     {}", list(touched.users.iter().map(counted).collect()));
    }
    println!();
    println!("This is what the log says; `causeway audit verify` says whether the log is whole.");
}

fn print_json(exposure: &Exposure, changes: &[Change]) {
    let apps: serde_json::Map<_, _> = exposure
        .apps
        .iter()
        .map(|(app, touched)| {
            let value = json!({
                "team": touched.team, "requests": touched.requests, "unknown": touched.unknown, "keys": touched.keys,
                "places": touched.places, "labels": touched.labels, "users": touched.users, "first": touched.first, "last": touched.last,
            });
            (app.clone(), value)
        })
        .collect();
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    println!(
        "{}",
        json!({ "requests": exposure.requests(), "unrecorded": exposure.unrecorded, "entries": exposure.entries, "apps": apps, "changed": changes })
    );
}
