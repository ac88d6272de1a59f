//! `causeway check`: reads and compiles everything offline.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::process::ExitCode;

use serde_json::json;
use server::configuration::{self, Compiled, Mistakes, Secrets};
use server::load;

use super::{ConfigPath, Day, NO};

/// What to check.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: ConfigPath,
    /// Do not look for the secrets that the configuration names, for checks on a machine that must not hold them.
    #[arg(long)]
    without_secrets: bool,
    #[command(flatten)]
    day: Day,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mut options = load::options(arguments.day.or_now());
    if arguments.without_secrets {
        options.secrets = Secrets::Skip;
    }
    match configuration::load(&arguments.at.config, &options) {
        Ok(compiled) => accept(&compiled, arguments.json),
        Err(mistakes) => refuse(&mistakes, arguments.json),
    }
}

fn accept(compiled: &Compiled, as_json: bool) -> ExitCode {
    let notes: Vec<String> = compiled.notes.iter().map(ToString::to_string).collect();
    let pack = &compiled.policy.pack;
    if as_json {
        let data_pack = json!({ "version": pack.version, "hash": pack.hash(), "is_own": pack.is_own() });
        println!("{}", json!({ "ok": true, "hash": compiled.hash, "data_pack": data_pack, "notes": notes }));
        return ExitCode::SUCCESS;
    }
    println!(
        "fine: {} endpoints, {} models, {} apps, {} keys; hash {}",
        compiled.endpoints.len(),
        compiled.models.len(),
        compiled.apps.len(),
        compiled.keys.len(),
        compiled.hash
    );
    if pack.is_own() {
        println!("data pack {} of `[policy] data`; hash {}", pack.version, pack.hash());
    }
    for note in notes {
        println!("{note}");
    }
    ExitCode::SUCCESS
}

fn refuse(mistakes: &Mistakes, as_json: bool) -> ExitCode {
    if as_json {
        println!("{}", json!({ "ok": false, "mistakes": mistakes }));
    } else {
        eprintln!("{mistakes}");
    }
    ExitCode::from(NO)
}
