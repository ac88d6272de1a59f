//! `causeway audit show`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::process::ExitCode;

use serde_json::Value;
use telemetry::audit::read;

use super::super::NO;
use super::{AuditCommandError, Where};

/// Which record.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// The decision, as the answer carries it in `x-causeway-decision`.
    #[arg(value_name = "DECISION")]
    decision: String,
    #[command(flatten)]
    at: Where,
    /// As JSON, with the proof of each entry: what `audit verify --shown` checks.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, AuditCommandError> {
    let log = arguments.at.log()?;
    let shown = read::show(&log.folder, &arguments.decision)
        .map_err(|source| AuditCommandError::Read { path: log.folder.clone(), source })?;
    if shown.is_empty() {
        eprintln!("no entry belongs to the decision `{}`", arguments.decision);
        return Ok(ExitCode::from(NO));
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&shown).unwrap_or_default());
        return Ok(ExitCode::SUCCESS);
    }
    for entry in shown {
        println!("{}/{} entry {}", entry.origin, entry.epoch, entry.index);
        let value: Value = serde_json::from_str(&entry.entry).unwrap_or_default();
        println!("{}", serde_json::to_string_pretty(&value).unwrap_or(entry.entry));
        match entry.proof {
            Some(proof) => println!("\n{proof}"),
            None => println!("\nno checkpoint covers it yet\n"),
        }
    }
    Ok(ExitCode::SUCCESS)
}
