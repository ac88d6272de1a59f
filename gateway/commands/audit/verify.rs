//! `causeway audit verify`.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use telemetry::audit::VerifierKey;
use telemetry::audit::read::{self, Finding, Report, Shown, Trust, Verdict};

use super::super::{NO, UNKNOWN};
use super::{AuditCommandError, Where, keys};

/// What to check.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    #[command(flatten)]
    at: Where,
    /// A public key, `NAME+ID+KEY`, or a file that holds one a line; may be given more than once. By default the one
    /// beside the gateway's private key, which is only as good as the machine that it lies on.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// The second place, where checkpoints were copied to; by default what the configuration says.
    #[arg(long, value_name = "DIR")]
    witness: Option<PathBuf>,
    /// Expect the logs of `[audit] origins`, all of them and no others.
    #[arg(long, requires = "config")]
    fleet: bool,
    /// Expect the log of this gateway; may be given more than once, and then all of them and no others: what an auditor has
    /// who has no configuration.
    #[arg(long, value_name = "NAME", conflicts_with = "fleet")]
    origin: Vec<String>,
    /// Check what `audit show --json` printed, and nothing else.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "folder", "witness", "fleet", "origin"])]
    shown: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, AuditCommandError> {
    if let Some(file) = &arguments.shown {
        return shown(file, &keys(&arguments.key, None)?, arguments.json);
    }
    let log = arguments.at.log()?;
    let compiled = log.compiled.as_deref();
    let keys = keys(&arguments.key, compiled)?;
    let configured = compiled.and_then(|compiled| compiled.audit.witness.as_deref());
    let fleet = compiled.map(|compiled| compiled.audit.origins.as_slice()).filter(|_| arguments.fleet);
    if fleet.is_some_and(<[String]>::is_empty) {
        return Err(AuditCommandError::NoFleet);
    }
    let fleet = fleet.or(Some(arguments.origin.as_slice()).filter(|named| !named.is_empty()));
    let trust = Trust { keys: &keys, witness: arguments.witness.as_deref().or(configured), fleet };
    let report = read::verify(&log.folder, &trust)
        .map_err(|source| AuditCommandError::Read { path: log.folder.clone(), source })?;
    if arguments.json {
        println!("{}", as_json(&report));
    } else {
        print(&report);
        let elsewhere = compiled.and_then(|compiled| compiled.audit.witness_http.as_ref());
        if let Some(place) = elsewhere.filter(|_| trust.witness.is_none()) {
            println!("checkpoints are put at {}: download them, and name the folder with --witness", place.host);
        }
    }
    Ok(match report.verdict() {
        Verdict::Whole => ExitCode::SUCCESS,
        Verdict::Damaged => ExitCode::from(NO),
        Verdict::Unwitnessed | Verdict::Unreadable => ExitCode::from(UNKNOWN),
    })
}

/// The answer in words.
fn words(report: &Report) -> &'static str {
    match report.verdict() {
        Verdict::Whole => "whole: nothing was changed, and the second place agrees",
        Verdict::Unwitnessed => "self-consistent, not witnessed",
        Verdict::Unreadable => "it could not be found out",
        Verdict::Damaged => "DAMAGED",
    }
}

fn print(report: &Report) {
    println!("{}", words(report));
    println!("{} entries in {} epochs of {} logs", report.entries, report.epochs, report.origins);
    println!("the second place vouches for {} of {} entries", report.vouched, report.entries + report.retired);
    let kinds: Vec<String> = report.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    println!("  {}", kinds.join(", "));
    if report.retired > 0 {
        println!("{} entries were removed after their time; their hashes are there", report.retired);
    }
    if report.unsigned > 0 {
        println!("{} entries came after the last checkpoint and are not signed yet", report.unsigned);
    }
    for (title, findings) in [
        ("damage", &report.damage),
        ("could not be read", &report.unreadable),
        ("not witnessed", &report.unwitnessed),
        ("notes", &report.notes),
    ] {
        if !findings.is_empty() {
            println!("{title}:");
            findings.iter().for_each(|finding| println!("  {finding}"));
        }
    }
}

fn as_json(report: &Report) -> Value {
    let list = |findings: &[Finding]| -> Value {
        findings.iter().map(|finding| json!({ "place": finding.place, "what": finding.what })).collect()
    };
    json!({
        "verdict": format!("{:?}", report.verdict()).to_lowercase(),
        "origins": report.origins,
        "epochs": report.epochs,
        "entries": report.entries,
        "kinds": report.kinds,
        "retired": report.retired,
        "unsigned": report.unsigned,
        "vouched": report.vouched,
        "damage": list(&report.damage),
        "unreadable": list(&report.unreadable),
        "unwitnessed": list(&report.unwitnessed),
        "notes": list(&report.notes),
    })
}

fn shown(file: &Path, keys: &[VerifierKey], as_json: bool) -> Result<ExitCode, AuditCommandError> {
    let text = std::fs::read(file).map_err(|source| AuditCommandError::Read { path: file.to_owned(), source })?;
    let entries: Vec<Shown> = serde_json::from_slice(&text)
        .map_err(|error| AuditCommandError::Shown(format!("not what `audit show --json` prints: {error}")))?;
    let answers: Vec<(&Shown, Option<String>)> =
        entries.iter().map(|shown| (shown, shown.verify(keys).err().map(|error| error.to_string()))).collect();
    let holds = !answers.is_empty() && answers.iter().all(|(_, fault)| fault.is_none());
    if as_json {
        let each = |(shown, fault): &(&Shown, Option<String>)| json!({ "origin": shown.origin, "epoch": shown.epoch, "index": shown.index, "fault": fault });
        println!("{}", json!({ "holds": holds, "entries": answers.iter().map(each).collect::<Vec<_>>() }));
    } else {
        for (shown, fault) in &answers {
            let place = format!("{}/{} entry {}", shown.origin, shown.epoch, shown.index);
            println!("{place}: {}", fault.as_deref().unwrap_or("the signed tree holds it"));
        }
        println!("{}", if holds { "holds" } else { "does not hold" });
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}
