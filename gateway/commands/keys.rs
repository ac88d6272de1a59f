//! `causeway keys new | hash`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use telemetry::pseudonym::{PseudonymKey, Realm};

use super::UNKNOWN;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a key of 256 random bits. It is shown once; only its digest goes into the configuration.
    New {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a key of pseudonyms, for `audit.pseudonyms.key`. Whoever has it can find a person again.
    Pseudonym,
    /// Print the pseudonym that the audit log has for the user of an app whose identifier is read from standard input: for a
    /// person who asks what is kept about them.
    PseudonymOf {
        /// The key's file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The app.
        #[arg(long, value_name = "NAME")]
        app: String,
    },
    /// Print the digest of a key that is read from standard input, so that it stays out of the shell's history.
    Hash,
}

pub(super) fn run(command: &Command) -> ExitCode {
    match command {
        Command::New { json } => new(*json),
        Command::Pseudonym => pseudonym_key(),
        Command::PseudonymOf { key, app } => pseudonym_of(key, app),
        Command::Hash => hash(),
    }
}

fn pseudonym_key() -> ExitCode {
    println!("{}", PseudonymKey::text(&rand::random()));
    ExitCode::SUCCESS
}

fn pseudonym_of(path: &Path, app: &str) -> ExitCode {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(UNKNOWN);
        }
    };
    let key = match PseudonymKey::parse(&text) {
        Ok(key) => key,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    let mut identifier = String::new();
    if let Err(error) = std::io::stdin().take(8192).read_to_string(&mut identifier) {
        eprintln!("the identifier could not be read from standard input: {error}");
        return ExitCode::from(UNKNOWN);
    }
    println!("{}", key.pseudonym(Realm::Audit, app, identifier.trim_end_matches(['\r', '\n'])));
    ExitCode::SUCCESS
}

fn new(as_json: bool) -> ExitCode {
    let (key, digest) = ingress::auth::new_key(&rand::random());
    if as_json {
        println!("{}", json!({ "key": key, "digest": format!("sha256:{digest}") }));
    } else {
        println!("key     {key}");
        println!("digest  sha256:{digest}");
        println!();
        println!("Give the key to the application; it is not stored and cannot be shown again.");
        println!("Put the digest into its section of the configuration:");
        println!();
        println!("    [app.NAME]");
        println!("    keys = [\"sha256:{digest}\"]");
    }
    ExitCode::SUCCESS
}

fn hash() -> ExitCode {
    let mut key = String::new();
    if let Err(error) = std::io::stdin().take(8192).read_to_string(&mut key) {
        eprintln!("the key could not be read from standard input: {error}");
        return ExitCode::from(UNKNOWN);
    }
    let key = key.trim();
    if key.is_empty() {
        eprintln!("no key on standard input; pipe it in, for example: causeway keys hash < key-file");
        return ExitCode::from(2);
    }
    println!("sha256:{}", ingress::auth::hex_of(&ingress::auth::digest_of(key)));
    ExitCode::SUCCESS
}
