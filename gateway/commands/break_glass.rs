//! `causeway break-glass key | sign | open | close`: grants for an emergency.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use server::configuration::Grant;
use telemetry::audit::{SigningKey, load_or_make, sign_note};

use super::operator::Change;
use super::{NO, UNKNOWN};

/// What to do with grants.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a key that approves grants, where the file is not there yet, and print its public half for
    /// `policy.break_glass.approved_by`.
    Key {
        /// Who approves: 1 to 64 of a-z, 0-9, `-`, `_` and `.`.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The private key's file; keep it away from the gateway.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Approve a grant: print its text with a signature, for a file `*.grant` in the folder of grants.
    Sign {
        /// The private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The text of the grant.
        #[arg(value_name = "FILE")]
        grant: PathBuf,
    },
    /// Ask for a grant to be opened. The second administrator who asks opens it.
    Open(Asked),
    /// Close a grant before its time.
    Close(Asked),
}

/// Which grant, and why.
#[derive(clap::Args)]
pub(super) struct Asked {
    /// The grant's name.
    name: String,
    #[command(flatten)]
    change: Change,
}

pub(super) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Key { name, file } => key(name, file),
        Command::Sign { key, grant } => sign(key, grant),
        Command::Open(asked) => ask(asked, "/api/break-glass/open"),
        Command::Close(asked) => ask(asked, "/api/break-glass/close"),
    }
}

fn key(name: &str, file: &Path) -> ExitCode {
    // A file without a folder lies here.
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    match load_or_make(&file, name) {
        Ok(key) => {
            println!("{}", key.public());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(UNKNOWN)
        }
    }
}

fn sign(key: &Path, grant: &Path) -> ExitCode {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let (key, text) = match (read(key), read(grant)) {
        (Ok(key), Ok(text)) => (key, text),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("{error}");
            return ExitCode::from(UNKNOWN);
        }
    };
    let key = match SigningKey::parse(&key) {
        Ok(key) => key,
        Err(error) => {
            eprintln!("the key is {error}");
            return ExitCode::from(2);
        }
    };
    let text = format!("{}\n", text.trim_end());
    match Grant::parse(&text) {
        Ok(_) => {
            print!("{}", sign_note(&text, [&key]));
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("{} is no grant: {fault}", grant.display());
            ExitCode::from(NO)
        }
    }
}

fn ask(asked: &Asked, path: &str) -> ExitCode {
    asked.change.order(path, json!({ "grant": asked.name }), |body| {
        if asked.change.json {
            println!("{body}");
        } else {
            let state = body["state"].as_str().unwrap_or_default();
            let until = body["until"].as_i64().and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
            let until = until.map_or_else(String::new, |until| format!(", until {until}"));
            println!("grant `{}`: {state}{until}", asked.name);
        }
        ExitCode::SUCCESS
    })
}
