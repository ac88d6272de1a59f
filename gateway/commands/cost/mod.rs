//! `causeway cost breakeven | report | tokens`.

mod books;
mod breakeven;
mod html;
mod report;
mod tokens;

use std::process::ExitCode;

use clap::Subcommand;

/// What to find out.
#[derive(Subcommand)]
pub(super) enum Command {
    /// From how many hours on own hardware is cheaper than the cloud.
    Breakeven(breakeven::Arguments),
    /// What was spent, by the ledger, and what it could have been.
    Report(report::Arguments),
    /// How many tokens a text has, counted by a tokenizer, and what it was estimated at.
    Tokens(tokens::Arguments),
}

pub(super) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Breakeven(arguments) => breakeven::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Tokens(arguments) => tokens::run(arguments),
    }
}
