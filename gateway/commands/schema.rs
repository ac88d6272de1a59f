//! `causeway schema`: the configuration, for editors and for the book.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

use std::process::ExitCode;

use server::configuration;

/// In which form.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The book's reference page instead of the JSON Schema.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.markdown {
        print!("{}", configuration::reference());
    } else {
        println!("{:#}", configuration::schema());
    }
    ExitCode::SUCCESS
}
