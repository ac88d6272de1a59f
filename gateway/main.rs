//! `causeway`, the private-endpoint AI gateway: reads the command line and runs one command.
//!
//! Exit codes: 0 fine, 1 the answer is no, 2 wrong usage, 3 it could not be found out.

mod commands;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Every builder in this tree is given its provider; this is for libraries that would look for a default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    commands::run(commands::Cli::parse())
}
