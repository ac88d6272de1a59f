//! `causeway cost breakeven | report`.

mod breakeven;

use std::process::ExitCode;

use clap::Subcommand;

/// What to find out.
#[derive(Subcommand)]
pub(super) enum Command {
    /// From how many hours on own hardware is cheaper than the cloud.
    Breakeven(breakeven::Arguments),
}

pub(super) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Breakeven(arguments) => breakeven::run(arguments),
    }
}
