//! `causeway audit export`: the entries as JSON lines, as they are or as events of OCSF.

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use clap::ValueEnum;
use telemetry::audit::read::{self, Line};

use super::{AuditCommandError, Where, ocsf, times};

/// Which entries, and in which form.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    #[command(flatten)]
    at: Where,
    /// Only entries from this time on, `2026-11-26` or `2026-11-26T08:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only entries before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// In which form.
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
}

/// The form of an export.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// The entries themselves, byte for byte.
    Jsonl,
    /// Events of the Open Cybersecurity Schema Framework, class API Activity.
    Ocsf,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, AuditCommandError> {
    let log = arguments.at.log()?;
    let span = times::Span::parse(arguments.since.as_deref(), arguments.until.as_deref())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = read::scan(
        &log.folder,
        |_| true,
        |stand, entry| {
            let holds = span.is_everything() || Line::parse(entry).is_some_and(|line| span.holds(line.time()));
            match arguments.format {
                _ if !holds => Ok(()),
                Format::Jsonl => out.write_all(entry),
                Format::Ocsf => match ocsf::event(stand, entry) {
                    Some(event) => writeln!(out, "{event}"),
                    None => Ok(()),
                },
            }
        },
    );
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(source) => Err(AuditCommandError::Read { path: log.folder.clone(), source }),
    }
}
