//! `causeway policy`: the tools of the people who write policies. Nothing here changes what a gateway enforces.

#![expect(clippy::print_stderr, reason = "a command's answer goes to the terminal")]

mod cases;
mod check;
mod containment;
mod counterexample;
mod decided;
mod diff;
mod enumerate;
mod files;
mod format;
mod matrix;
mod never;
mod prove;
mod simpler;
mod solver;
mod table;
mod usual;
mod verify_places;

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;
use server::configuration::{self, Compiled, Grant, LoadOptions, Secrets};
use server::{load, outlook};

use super::{NO, UNKNOWN, explain};

/// What is to be done with policies.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Read a folder of policies and say every mistake, with line and column.
    Check(check::Arguments),
    /// Write policies in the one form that diffs well.
    Format(format::Arguments),
    /// Write the shipped policies, their schema, goals and decision tables into a new folder, to begin with.
    Export(format::Export),
    /// Hold policies against decision tables: one row, one expected decision.
    Test(table::Arguments),
    /// Prove goals for every request and every endpoint, or refute them with a request that is permitted.
    Prove(prove::Arguments),
    /// Say why each target of a model is in or out for an app; the same as `causeway explain`.
    Explain(explain::Arguments),
    /// Print every label against every target, for every app.
    Matrix(matrix::Arguments),
    /// Say whether a change permits more, less, both or the same.
    Diff(diff::Arguments),
    /// Hold what providers said of where they answered against what is declared of their places.
    VerifyPlaces(verify_places::Arguments),
}

pub(super) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Format(arguments) => format::run(arguments),
        Command::Export(arguments) => format::export(arguments),
        Command::Test(arguments) => table::run(arguments),
        Command::Prove(arguments) => prove::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Matrix(arguments) => matrix::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::VerifyPlaces(arguments) => verify_places::run(arguments),
    }
}

/// What every table of decisions says of its verdicts.
const WHAT_A_TABLE_MEANS: &str = "A verdict holds for labels as they are given and facts as they are dated. Text inspection does not find \
    names or free-text health data. Whether a provider does what its pages say, and what the law asks for beyond these policies, is \
    not looked at. No verdict here is PROVED: that is said by `policy prove`, of the text of the policies alone.";

/// What a table says as well that has rows for other requests.
const WHAT_A_VARIANT_MEANS: &str = ", of the app's own class and its first purpose, but for the one action, class, purpose or finding \
    that a row names. Such a row has the verdicts of its label that become others, and stands where there are any. Two of them \
    together may decide otherwise than each alone: `causeway explain` and `policy test` take any request";

/// A configuration for a tool that asks about policies: keys are of no matter to them.
fn compiled(path: &Path, now: SystemTime) -> Result<Compiled, ExitCode> {
    let options = LoadOptions { secrets: Secrets::Skip, ..load::options(now) };
    configuration::load(path, &options).map_err(|mistakes| {
        eprintln!("{mistakes}");
        ExitCode::from(NO)
    })
}

/// Says why it could not be found out.
fn not_found_out(why: impl std::fmt::Display) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(UNKNOWN)
}

/// What every report that says PROVED says as well.
const WHAT_PROVED_MEANS: &str = "PROVED is a statement about the text of the policies: no request and no endpoint \
    whatever meets them and breaks the goal. It says nothing of whether facts are true, labels are right, or the law asks \
    for more. Grants of break glass permit beside the policies while two people hold them open, and are no part of it.";

/// What permits beside the policies of this configuration, which no proof and no table of them covers; nothing where nothing does.
fn outside(compiled: &Compiled) -> Option<String> {
    compiled.document.policy.as_ref()?.break_glass.as_ref()?;
    let config = &compiled.break_glass;
    let grant = |grant: &Grant| {
        let (apps, endpoints) = (grant.apps.join(", "), grant.endpoints.join(", "));
        format!("`{}` (apps {apps}; endpoints {endpoints}; until {})", grant.name, outlook::day(grant.until))
    };
    let grants = match config.grants.as_slice() {
        [] => "no grant lies there now".to_owned(),
        grants => grants.iter().map(grant).collect::<Vec<_>>().join(", "),
    };
    let class = config.never_from.map(|class| format!("class {} and above", outlook::class(class).name()));
    let never: Vec<String> = config.never_labels.iter().map(|label| format!("label {label}")).chain(class).collect();
    let never = if never.is_empty() { "nothing".to_owned() } else { never.join(", ") };
    Some(format!(
        "Outside of this lie the break-glass grants of the configuration, each of which permits, while it is open, what its policies \
         deny: {grants}. Kept from all of them by `no_break_glass`: {never}."
    ))
}
