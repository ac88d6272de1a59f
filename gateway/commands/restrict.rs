//! `causeway revoke | quarantine | local-only`: what is held back at three in the morning.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::NO;
use super::operator::Change;

/// Whose credentials are refused.
#[derive(Args)]
pub(super) struct Revoke {
    /// One credential, or all of an app.
    #[arg(value_enum)]
    kind: Credential,
    /// The app; or the key by its name in the configuration, or by its digest, `sha256:…`.
    name: String,
    /// Accept it again. Takes the role `security`.
    #[arg(long)]
    lift: bool,
    #[command(flatten)]
    change: Change,
}

/// What is sent nothing.
#[derive(Args)]
pub(super) struct Quarantine {
    /// An endpoint, or a model by the name that callers ask for.
    #[arg(value_enum)]
    kind: Place,
    /// Its name in the configuration.
    name: String,
    /// Use it again. Takes the role `security`.
    #[arg(long)]
    lift: bool,
    #[command(flatten)]
    change: Change,
}

/// Whether only own sites are used.
#[derive(Args)]
pub(super) struct LocalOnly {
    /// `on` takes the role `operator`, `off` the role `security`.
    #[arg(value_enum)]
    to: Switch,
    #[command(flatten)]
    change: Change,
}

#[derive(Clone, Copy, ValueEnum)]
enum Credential {
    Key,
    App,
}

#[derive(Clone, Copy, ValueEnum)]
enum Place {
    Endpoint,
    Model,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub(super) fn revoke(arguments: &Revoke) -> ExitCode {
    let kind = match arguments.kind {
        Credential::Key => "key",
        Credential::App => "app",
    };
    let path = if arguments.lift { "/api/reinstate" } else { "/api/revoke" };
    ask(&arguments.change, path, json!({ kind: arguments.name }))
}

pub(super) fn quarantine(arguments: &Quarantine) -> ExitCode {
    let kind = match arguments.kind {
        Place::Endpoint => "endpoint",
        Place::Model => "model",
    };
    let path = if arguments.lift { "/api/release" } else { "/api/quarantine" };
    ask(&arguments.change, path, json!({ kind: arguments.name }))
}

pub(super) fn local_only(arguments: &LocalOnly) -> ExitCode {
    let path = if arguments.to == Switch::On { "/api/local-only/on" } else { "/api/local-only/off" };
    ask(&arguments.change, path, json!({}))
}

fn ask(change: &Change, path: &str, subject: Value) -> ExitCode {
    change.order(path, subject, |body| tell(body, change.json))
}

/// Done, but perhaps not all of it: what is not kept is gone with the process, and what is not recorded is not proved.
fn tell(body: &Value, as_json: bool) -> ExitCode {
    let whole = |field: &str| body[field] == true;
    let already = whole("already");
    let short = !(already || whole("kept") && whole("recorded"));
    if as_json {
        println!("{body}");
    } else {
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        let state = if already { "was so already" } else { "in force" };
        println!("{}: {} {state}", text("action"), text("subject"));
        if !already && !whole("kept") {
            eprintln!("NOT KEPT: a restart undoes it: {}", text("problem"));
        }
        if !already && !whole("recorded") {
            eprintln!("NOT RECORDED: the audit log takes no entry; write down what you did");
        }
    }
    if short { ExitCode::from(NO) } else { ExitCode::SUCCESS }
}
