//! `causeway audit verify | show | export | exposure`: the audit log, read offline.

mod export;
mod exposure;
mod ocsf;
mod places;
mod show;
mod times;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;
use server::configuration::{self, Compiled, Mistakes, Secrets};
use server::{load, run};
use telemetry::audit::{KeyError, VerifierKey, read};

use super::UNKNOWN;
pub(super) use times::Span;

/// What to do with the log.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Check every byte of the log. Exit 0: whole and witnessed; 1: something was changed, and where; 3: unchanged as far
    /// as the log itself can show, but nothing outside vouches for it, or it could not be read.
    Verify(verify::Arguments),
    /// Print the record of a decision, with a proof that can be checked alone.
    Show(show::Arguments),
    /// Print the entries for other programs.
    Export(export::Arguments),
    /// Say which apps' requests may have reached an endpoint, or were asked with a key: for a notice to an authority.
    Exposure(exposure::Arguments),
}

/// Where the log is.
#[derive(clap::Args)]
pub(super) struct Where {
    /// The configuration of the gateway: it says where the log, the second place and the public key are.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The folder of the log, `audit` in the state folder, or a copy of it.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    folder: Option<PathBuf>,
}

/// The log, and what its configuration says of it.
pub(super) struct Log {
    pub(super) folder: PathBuf,
    compiled: Option<Box<Compiled>>,
}

/// Why a command does not get as far as the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuditCommandError {
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    #[error("`{}` cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{source}: {text}")]
    Key { text: String, source: KeyError },
    #[error("there is no audit log at `{}`: no gateway has served with it yet, or it lies elsewhere", .0.display())]
    Absent(PathBuf),
    #[error("`{}` is no audit log; the log is `{}`", .0.display(), .1.display())]
    Beside(PathBuf, PathBuf),
    #[error("no log: name its folder with --folder, or the gateway's configuration with --config")]
    NoLog,
    #[error("no public key: name one with --key, or the configuration with --config")]
    NoKey,
    #[error("no fleet: name the logs of all gateways in `[audit] origins`")]
    NoFleet,
    #[error("{0}")]
    Shown(String),
    #[error("`{}` changes nothing that is known of any target; give what is known now, as `[fact.ROW]` sections", .0.display())]
    NothingChanged(PathBuf),
    #[error("{0} is no time: write 2026-11-26 or 2026-11-26T08:00:00Z")]
    Time(String),
}

impl Where {
    pub(super) fn log(&self) -> Result<Log, AuditCommandError> {
        let log = self.named()?;
        if let Some(meant) = read::meant(&log.folder) {
            return Err(AuditCommandError::Beside(log.folder, meant));
        }
        match std::fs::metadata(&log.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(AuditCommandError::Absent(log.folder)),
            _ => Ok(log),
        }
    }

    /// The log, whether it is there or not.
    fn named(&self) -> Result<Log, AuditCommandError> {
        if let Some(folder) = &self.folder {
            return Ok(Log { folder: folder.clone(), compiled: None });
        }
        let mut options = load::options(SystemTime::now());
        // Whoever verifies need not hold the gateway's credentials.
        options.secrets = Secrets::Skip;
        let config = self.config.as_deref().ok_or(AuditCommandError::NoLog)?;
        let compiled = configuration::load(config, &options)?;
        Ok(Log { folder: run::audit_folder(&compiled), compiled: Some(Box::new(compiled)) })
    }
}

/// The public keys that were named, each as its text or as the file that holds one a line; else the configuration's own.
fn keys(named: &[String], compiled: Option<&Compiled>) -> Result<Vec<VerifierKey>, AuditCommandError> {
    let mut keys = Vec::new();
    for text in named {
        match VerifierKey::parse(text) {
            Ok(key) => keys.push(key),
            Err(source) if text.contains('+') && !PathBuf::from(text).exists() => {
                return Err(AuditCommandError::Key { text: text.clone(), source });
            }
            Err(_) => keys.extend(keys_of(text.into())?),
        }
    }
    if let Some(compiled) = compiled.filter(|_| keys.is_empty()) {
        keys.extend(keys_of(run::signing_key(compiled).with_added_extension("pub"))?);
    }
    if keys.is_empty() { Err(AuditCommandError::NoKey) } else { Ok(keys) }
}

fn keys_of(path: PathBuf) -> Result<Vec<VerifierKey>, AuditCommandError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(AuditCommandError::Read { path, source }),
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            VerifierKey::parse(line)
                .map_err(|source| AuditCommandError::Key { text: path.display().to_string(), source })
        })
        .collect()
}

pub(super) fn run(command: &Command) -> ExitCode {
    let outcome = match command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Exposure(arguments) => exposure::run(arguments),
    };
    outcome.unwrap_or_else(|error| fail(&error))
}

#[expect(clippy::print_stderr, reason = "a command's answer goes to the terminal")]
pub(super) fn fail(error: &AuditCommandError) -> ExitCode {
    eprintln!("{error}");
    match error {
        AuditCommandError::Mistakes(_) | AuditCommandError::Read { .. } | AuditCommandError::Absent(_) => {
            ExitCode::from(UNKNOWN)
        }
        _ => ExitCode::from(2),
    }
}
