//! `causeway schema`: the configuration, for editors and for the book, and the data pack.

#![expect(clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use server::configuration;

use super::UNKNOWN;

/// In which form.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The book's reference page instead of the JSON Schema.
    #[arg(long)]
    markdown: bool,
    /// The schema of the data pack's files (`policies/data/`) instead of the configuration's.
    #[arg(long, conflicts_with = "markdown")]
    data_pack: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let text = match arguments {
        Arguments { markdown: true, .. } => configuration::reference(),
        Arguments { data_pack: true, .. } => format!("{:#}\n", policy::pack_schema()),
        Arguments { .. } => format!("{:#}\n", configuration::schema()),
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough, as `head` has.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the schema could not be written: {error}");
            ExitCode::from(UNKNOWN)
        }
    }
}
