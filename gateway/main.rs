//! `causeway`, the private-endpoint AI gateway: reads the command line and runs one command.
//!
//! Exit codes: 0 fine, 1 the answer is no, 2 wrong usage, 3 it could not be found out.

mod commands;

use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;

use clap::Parser as _;

/// Exit code of a command whose reader left: nobody heard the answer.
const UNHEARD: i32 = 3;

fn main() -> ExitCode {
    leave_when_nobody_reads();
    // Every builder in this tree is given its provider; this is for libraries that would look for a default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    commands::run(commands::Cli::parse())
}

/// A reader that has seen enough, as `head` has, ends a command, and is no fault to report. `println!` knows no other way to
/// say so than a panic; a signal would say it as well, and would end the gateway at each socket that a peer has closed.
#[expect(clippy::disallowed_methods, reason = "only commands print: what serves has nothing to lose here")]
fn leave_when_nobody_reads() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if is_unheard(info) {
            std::process::exit(UNHEARD);
        }
        usual(info);
    }));
}

/// Whether it is the panic of a print to a pipe whose other end is closed.
fn is_unheard(info: &PanicHookInfo<'_>) -> bool {
    let said = info.payload_as_str().unwrap_or_default();
    said.starts_with("failed printing to std") && said.contains("Broken pipe")
}
