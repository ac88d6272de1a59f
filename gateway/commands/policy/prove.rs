//! `causeway policy prove`: goals as Cedar, "everything permitted lies inside this", for every request and every endpoint.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use policy::{Names, PolicyFile, Rules, SHIPPED_GOALS, Strictness};
use serde_json::{Value, json};
use server::outlook;

use super::WHAT_PROVED_MEANS;
use super::counterexample::Counterexample;
use super::files::{Files, lines, names_without_configuration};
use super::simpler::Simplifier;
use super::solver::{Answer, Formulas, Solver};
use super::usual;
use crate::commands::{NO, UNKNOWN};

/// What is proved of what.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// A folder of `*.cedar` files. Absent: the shipped policies.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The policies that this configuration puts in force, without those that it switches off.
    #[arg(long, value_name = "PATH", conflicts_with = "folder")]
    config: Option<PathBuf>,
    /// A folder of goals, one `*.cedar` file each, or one goal. Absent: `FOLDER/goals` where it exists, else the shipped
    /// goals.
    #[arg(long, value_name = "PATH")]
    goals: Option<PathBuf>,
    /// The solver: the program `cvc5`, or a `python3` with the package `cvc5`. Absent: the first of these on the path.
    #[arg(long, value_name = "PROGRAM")]
    solver: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What was found out of one goal.
enum Verdict {
    /// For every request and every endpoint.
    Proved,
    /// The goal excludes nothing, so it holds whatever the policies say.
    Empty,
    /// This request breaks it.
    Refuted(Counterexample),
    /// It could not be found out.
    Unknown(String),
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    prove(arguments).unwrap_or_else(|code| code)
}

fn prove(arguments: &Arguments) -> Result<ExitCode, ExitCode> {
    let (rules, names) = rules(arguments)?;
    let goals = goals(arguments)?;
    let runtime = runtime().map_err(super::not_found_out)?;
    let solver = runtime.block_on(Solver::find(arguments.solver.as_deref()));
    let solver = solver.map_err(|reasons| {
        super::not_found_out(format!("no solver works, so nothing can be proved: {}", reasons.join("; ")))
    })?;
    if !arguments.json {
        println!("by {}", solver.words());
    }
    let inner = Side::of(rules);
    let mut found = Vec::new();
    for (name, text) in &goals.0 {
        let verdict = match Files(vec![(name.clone(), text.clone())]).rules(Strictness::Study, &names) {
            Err(faults) => Verdict::Unknown(lines(&faults)),
            Ok((goal, _)) => runtime.block_on(within(&solver, &inner, &Side::of(Arc::new(goal)))),
        };
        if !arguments.json {
            println!("{}", in_words(short(name), &verdict));
        }
        found.push((short(name), verdict));
    }
    if arguments.json {
        let goals: Vec<Value> = found.iter().map(|(goal, verdict)| value(goal, verdict)).collect();
        println!("{}", json!({ "by": solver.words(), "goals": goals, "meaning": WHAT_PROVED_MEANS }));
    } else {
        println!("\n{}\n\n{WHAT_PROVED_MEANS}", tally(&found));
    }
    Ok(code_of(&found))
}

/// The policies in question, without what the house would ask of them before they are enforced: that is `policy check`'s.
fn rules(arguments: &Arguments) -> Result<(Arc<Rules>, Names), ExitCode> {
    if let Some(config) = &arguments.config {
        let compiled = super::compiled(config, SystemTime::now())?;
        return Ok((Arc::clone(&compiled.policy.rules), outlook::names(&compiled)));
    }
    let names = names_without_configuration();
    let files = Files::policies(arguments.folder.as_deref()).map_err(super::not_found_out)?;
    let (rules, remarks) = files.rules(Strictness::Study, &names).map_err(|faults| {
        super::not_found_out(lines(&faults));
        ExitCode::from(NO)
    })?;
    if !remarks.is_empty() {
        eprintln!("{}", lines(&remarks));
    }
    Ok((Arc::new(rules), names))
}

fn goals(arguments: &Arguments) -> Result<Files, ExitCode> {
    let beside = arguments.folder.as_ref().map(|folder| folder.join("goals")).filter(|goals| goals.is_dir());
    if let Some(goals) = arguments.goals.as_ref().or(beside.as_ref()) {
        return Files::read(goals, &["cedar"]).map_err(super::not_found_out);
    }
    let text = |file: &PolicyFile<'_>| (file.name.to_owned(), file.text.to_owned());
    Ok(Files(SHIPPED_GOALS.iter().map(text).collect()))
}

/// Formulas are deep; the threads that build them have room.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(32 << 20).build()
}

/// Policies on one side of "everything permitted here is permitted there".
struct Side {
    rules: Arc<Rules>,
    formulas: Formulas,
}

impl Side {
    fn of(rules: Arc<Rules>) -> Self {
        Self { formulas: Formulas::of(rules.set()), rules }
    }
}

/// Whether everything that `inner` permits is permitted by `outer`.
async fn within(solver: &Solver, inner: &Side, outer: &Side) -> Verdict {
    let found = match solver.implies(&inner.formulas, &outer.formulas).await {
        Answer::Unknown(why) => return Verdict::Unknown(why),
        Answer::Proved => {
            // Where the goal excludes nothing, the policies were not asked about.
            let Some(everything) = everything() else { return Verdict::Proved };
            let is_empty = matches!(solver.implies(&everything, &outer.formulas).await, Answer::Proved);
            return if is_empty { Verdict::Empty } else { Verdict::Proved };
        }
        Answer::Refuted(found) => found,
    };
    let usual = match usual::only(&inner.rules, &outer.rules) {
        Some(usual) => solver.implies(&Formulas::of(&usual), &outer.formulas).await,
        None => Answer::Proved,
    };
    let (found, is_usual) = match usual {
        Answer::Refuted(usual) => {
            (Simplifier { inner: inner.rules.set(), outer: outer.rules.set() }.simpler(usual), true)
        }
        Answer::Proved | Answer::Unknown(_) => (found, false),
    };
    match Counterexample::replay(&found, &inner.rules, &outer.rules, is_usual) {
        Ok(counterexample) => Verdict::Refuted(counterexample),
        Err(why) => Verdict::Unknown(format!("a counterexample does not replay: {why}")),
    }
}

/// Policies that permit everything.
fn everything() -> Option<Formulas> {
    Some(Formulas::of(&"permit (principal, action, resource);".parse().ok()?))
}

fn short(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.strip_suffix(".cedar").unwrap_or(name)
}

/// REFUTED is the answer no; anything else that is no proof could not be found out.
fn code_of(found: &[(&str, Verdict)]) -> ExitCode {
    let any = |test: fn(&Verdict) -> bool| found.iter().any(|(_, verdict)| test(verdict));
    if any(|verdict| matches!(verdict, Verdict::Refuted(_))) {
        ExitCode::from(NO)
    } else if any(|verdict| matches!(verdict, Verdict::Unknown(_) | Verdict::Empty)) {
        ExitCode::from(UNKNOWN)
    } else {
        ExitCode::SUCCESS
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Proved => "PROVED",
        Verdict::Refuted(_) => "REFUTED",
        Verdict::Unknown(_) | Verdict::Empty => "UNKNOWN",
    }
}

fn in_words(goal: &str, verdict: &Verdict) -> String {
    let head = format!("{:8} {goal}", word(verdict));
    match verdict {
        Verdict::Proved => head,
        Verdict::Empty => format!("{head}: the goal excludes no request, so it would hold of any policies"),
        Verdict::Unknown(why) => format!("{head}: {why}"),
        Verdict::Refuted(found) => format!("{head}\n  this is permitted, and the goal excludes it:\n{}", found.lines()),
    }
}

fn value(goal: &str, verdict: &Verdict) -> Value {
    let mut value = json!({ "goal": goal, "verdict": word(verdict) });
    match verdict {
        Verdict::Proved => {}
        Verdict::Empty => value["why"] = json!("the goal excludes no request"),
        Verdict::Unknown(why) => value["why"] = json!(why),
        Verdict::Refuted(found) => value["counterexample"] = found.value(),
    }
    value
}

fn tally(found: &[(&str, Verdict)]) -> String {
    let count = |what: &str| found.iter().filter(|(_, verdict)| word(verdict) == what).count();
    let words = ["PROVED", "REFUTED", "UNKNOWN"];
    let parts = words.into_iter().filter(|what| count(what) > 0).map(|what| format!("{} {what}", count(what)));
    format!("{} goals: {}", found.len(), parts.collect::<Vec<_>>().join(", "))
}
