//! `causeway policy check`: the policies alone, as a gateway would read them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use policy::{Fault, Names, Rules, Strictness};
use serde_json::json;
use server::{configuration, outlook};

use super::files::{Files, lines, names_without_configuration, values};
use super::never::Never;
use crate::commands::{Day, NO};

/// What is checked.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// A folder of `*.cedar` files. Absent: the shipped policies.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The configuration whose labels, apps, teams and endpoints the policies may name.
    #[arg(long, value_name = "PATH", requires = "folder")]
    config: Option<PathBuf>,
    /// The solver that is asked whether each policy can match anything, and each permit permits anything: the program `cvc5`,
    /// or a `python3` with the package `cvc5`. Absent: the first of these on the path, and no question where there is none.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "without_solver")]
    solver: Option<PathBuf>,
    /// Ask no solver.
    #[arg(long)]
    without_solver: bool,
    #[command(flatten)]
    day: Day,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let now = arguments.day.or_now();
    let names = match &arguments.config {
        None => names_without_configuration(),
        Some(path) => match super::compiled(path, now) {
            Ok(compiled) => outlook::names(&compiled),
            Err(code) => return code,
        },
    };
    let files = match Files::policies(arguments.folder.as_deref()) {
        Ok(files) => files,
        Err(error) => return super::not_found_out(error),
    };
    match files.rules(Strictness::Enforce, &names) {
        Ok((rules, remarks)) => {
            let never = match arguments.without_solver {
                true => Ok(Never::unasked()),
                false => Never::ask(&rules, arguments.solver.as_deref()),
            };
            match never {
                Ok(never) => {
                    let remarks = [remarks, never.remarks(&rules)].concat();
                    held(arguments, &Accepted { rules, remarks, files: files.0.len(), names, now, never })
                }
                Err(why) => super::not_found_out(why),
            }
        }
        Err(faults) => refuse(arguments, &faults),
    }
}

fn held(arguments: &Arguments, accepted: &Accepted) -> ExitCode {
    let faults = accepted.never.faults(&accepted.rules);
    if faults.is_empty() { accept(arguments, accepted) } else { refuse(arguments, &faults) }
}

struct Accepted {
    rules: Rules,
    remarks: Vec<Fault>,
    files: usize,
    names: Names,
    now: SystemTime,
    never: Never,
}

fn accept(arguments: &Arguments, accepted: &Accepted) -> ExitCode {
    let count = accepted.rules.policies().count();
    let due = configuration::due(&accepted.rules, accepted.now);
    let due: Vec<String> = due.into_iter().map(|(message, remedy)| format!("{message}; {remedy}")).collect();
    if arguments.json {
        let remarks = values(&accepted.remarks);
        println!(
            "{}",
            json!({ "ok": true, "policies": count, "faults": [], "remarks": remarks, "due": due, "never": accepted.never.value() })
        );
        return ExitCode::SUCCESS;
    }
    println!("fine: {count} policies in {} files", accepted.files);
    if !accepted.remarks.is_empty() {
        println!("{}", lines(&accepted.remarks));
    }
    due.iter().for_each(|line| println!("{line}"));
    if accepted.names.apps.is_none() {
        println!(
            "not checked without `--config`: that labels, apps, teams, endpoints, purposes and certificates that policies name exist"
        );
    }
    accepted.never.lines().iter().for_each(|line| println!("{line}"));
    ExitCode::SUCCESS
}

fn refuse(arguments: &Arguments, faults: &[Fault]) -> ExitCode {
    if arguments.json {
        println!("{}", json!({ "ok": false, "faults": values(faults) }));
    } else {
        eprintln!("{}\n{} mistakes", lines(faults), faults.len());
    }
    ExitCode::from(NO)
}
