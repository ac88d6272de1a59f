//! `causeway policy prove`: goals as Cedar, "everything permitted lies inside this", for every request and every endpoint.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use policy::{Names, PolicyFile, Rules, SHIPPED_GOALS, Strictness};
use serde_json::{Value, json};
use server::configuration::Compiled;
use server::outlook;

use super::WHAT_PROVED_MEANS;
use super::containment::{Side, Verdict, runtime, within};
use super::enumerate::{Found, World, outside};
use super::files::{Files, lines, names_without_configuration};
use super::solver::Solver;
use crate::commands::words::paragraph;
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
    #[command(flatten)]
    how: How,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// How it is found out.
#[derive(clap::Args)]
pub(super) struct How {
    /// The solver: the program `cvc5`, or a `python3` with the package `cvc5`. Absent: the first of these on the path.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "enumerate")]
    pub(super) solver: Option<PathBuf>,
    /// Ask no solver: go through a finite number of requests instead, which proves nothing of the others.
    #[arg(long)]
    pub(super) enumerate: bool,
}

/// What was found out of one goal.
enum Finding {
    /// By the solver, for every request and every endpoint.
    Solved(Verdict),
    /// The goal excludes nothing, so it holds whatever the policies say.
    Empty,
    /// Without a solver: no counterexample in a finite world, which is a weaker statement.
    NoneFound,
    /// Without a solver: this request breaks it.
    Seen(Box<Found>),
}

/// What was found out of all goals, and how.
struct Report {
    by: String,
    /// The weaker question was the one that was asked.
    is_weaker_asked: bool,
    found: Vec<(String, Finding)>,
    /// What it means.
    meaning: String,
    /// What permits beside the policies that it is about.
    outside: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    prove(arguments).unwrap_or_else(|code| code)
}

fn prove(arguments: &Arguments) -> Result<ExitCode, ExitCode> {
    let compiled = arguments.config.as_deref().map(|config| super::compiled(config, SystemTime::now())).transpose()?;
    let names = compiled.as_ref().map_or_else(names_without_configuration, outlook::names);
    let rules = match &compiled {
        Some(compiled) => Arc::clone(&compiled.policy.rules),
        None => rules(arguments, &names)?,
    };
    let goals: Vec<(String, Result<Arc<Rules>, String>)> =
        goals(arguments)?.0.into_iter().map(|file| (short(&file.0), goal(file, &names))).collect();
    let runtime = runtime().map_err(super::not_found_out)?;
    let solver = match arguments.how.enumerate {
        true => Err("as asked for".to_owned()),
        false => runtime.block_on(Solver::find(arguments.how.solver.as_deref())).map_err(|reasons| reasons.join("; ")),
    };
    let mut report = match solver {
        Ok(solver) => runtime.block_on(by_solver(&solver, rules, goals, arguments.json))?,
        Err(why) if arguments.how.solver.is_some() => {
            return Err(super::not_found_out(format!("no solver works, so nothing can be proved: {why}")));
        }
        Err(why) => Report {
            is_weaker_asked: arguments.how.enumerate,
            ..by_enumeration(&rules, goals, compiled.as_ref(), &why)?
        },
    };
    report.outside = compiled.as_ref().and_then(super::outside);
    report.print(arguments.json);
    Ok(report.code())
}

/// Each goal is said when it is known: together they take a while.
async fn by_solver(
    solver: &Solver,
    rules: Arc<Rules>,
    goals: Vec<(String, Result<Arc<Rules>, String>)>,
    is_quiet: bool,
) -> Result<Report, ExitCode> {
    let inner = Side::of(rules).map_err(super::not_found_out)?;
    let by = solver.words();
    if !is_quiet {
        println!("by {by}");
    }
    let mut found = Vec::new();
    for (name, goal) in goals {
        let finding = match goal.and_then(Side::of) {
            Err(why) => Finding::Solved(Verdict::Unknown(why)),
            Ok(goal) => match within(solver, &inner, &goal).await {
                Verdict::Proved if goal.permits_everything(solver).await => Finding::Empty,
                verdict => Finding::Solved(verdict),
            },
        };
        if !is_quiet {
            println!("{}", finding.in_words(&name));
        }
        found.push((name, finding));
    }
    Ok(Report { by, is_weaker_asked: false, found, meaning: WHAT_PROVED_MEANS.to_owned(), outside: None })
}

/// The weaker question, where there is no solver: it says something of the requests that were gone through and no others.
fn by_enumeration(
    rules: &Rules,
    goals: Vec<(String, Result<Arc<Rules>, String>)>,
    compiled: Option<&Compiled>,
    why: &str,
) -> Result<Report, ExitCode> {
    let readable: Vec<&Rules> = goals.iter().filter_map(|(_, goal)| goal.as_deref().ok()).collect();
    let sets: Vec<&Rules> = [rules].into_iter().chain(readable.iter().copied()).collect();
    let world = match compiled {
        Some(compiled) => World::of(compiled, &sets, SystemTime::now()),
        None => World::of_pack(&sets, SystemTime::now()),
    };
    let (seen, decisions) = outside(&world, rules, &readable).map_err(super::not_found_out)?;
    let mut seen = seen.into_iter();
    let mut finding = |goal: Result<Arc<Rules>, String>| match goal {
        Err(why) => Finding::Solved(Verdict::Unknown(why)),
        Ok(_) => seen.next().flatten().map_or(Finding::NoneFound, Finding::Seen),
    };
    Ok(Report {
        by: format!("no solver ({why})"),
        is_weaker_asked: false,
        found: goals.into_iter().map(|(name, goal)| (name, finding(goal))).collect(),
        meaning: format!(
            "This went through {decisions} decisions and is no proof: {}. A solver would prove it of all: \
             `pip install cvc5`, and name that Python with --solver.",
            world.words
        ),
        outside: None,
    })
}

fn goal(file: (String, String), names: &Names) -> Result<Arc<Rules>, String> {
    let read = Files(vec![file]).rules(Strictness::Study, names);
    read.map(|(goal, _)| Arc::new(goal)).map_err(|faults| lines(&faults))
}

/// The policies in question, without what the house would ask of them before they are enforced: that is `policy check`'s.
fn rules(arguments: &Arguments, names: &Names) -> Result<Arc<Rules>, ExitCode> {
    let files = Files::policies(arguments.folder.as_deref()).map_err(super::not_found_out)?;
    let (rules, remarks) = files.rules(Strictness::Study, names).map_err(|faults| {
        super::not_found_out(lines(&faults));
        ExitCode::from(NO)
    })?;
    if !remarks.is_empty() {
        eprintln!("{}", lines(&remarks));
    }
    Ok(Arc::new(rules))
}

fn goals(arguments: &Arguments) -> Result<Files, ExitCode> {
    let beside = arguments.folder.as_ref().map(|folder| folder.join("goals")).filter(|goals| goals.is_dir());
    if let Some(goals) = arguments.goals.as_ref().or(beside.as_ref()) {
        return Files::read(goals, &["cedar"]).map_err(super::not_found_out);
    }
    let text = |file: &PolicyFile<'_>| (file.name.to_owned(), file.text.to_owned());
    Ok(Files(SHIPPED_GOALS.iter().map(text).collect()))
}

fn short(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.strip_suffix(".cedar").unwrap_or(name).to_owned()
}

impl Finding {
    fn word(&self) -> &'static str {
        match self {
            Self::Solved(Verdict::Proved) => "PROVED",
            Self::NoneFound => "NOT REFUTED",
            Self::Solved(Verdict::Refuted(_)) | Self::Seen(_) => "REFUTED",
            Self::Solved(Verdict::Unknown(_)) | Self::Empty => "UNKNOWN",
        }
    }

    fn in_words(&self, goal: &str) -> String {
        const BROKEN: &str = "this is permitted, and the goal excludes it:";
        let head = format!("{:8} {goal}", self.word());
        match self {
            Self::Solved(Verdict::Proved) | Self::NoneFound => head,
            Self::Empty => format!("{head}: the goal excludes no request, so it would hold of any policies"),
            Self::Solved(Verdict::Unknown(why)) => format!("{head}: {why}"),
            Self::Solved(Verdict::Refuted(found)) => format!("{head}\n  {BROKEN}\n{}", found.lines()),
            Self::Seen(found) => format!(
                "{head}\n  {BROKEN}\n    request  {}\n    target   {}\n  {}",
                found.request, found.target, found.permitted
            ),
        }
    }

    fn value(&self, goal: &str) -> Value {
        let mut value = json!({ "goal": goal, "verdict": self.word() });
        match self {
            Self::Solved(Verdict::Proved) | Self::NoneFound => {}
            Self::Empty => value["why"] = json!("the goal excludes no request"),
            Self::Solved(Verdict::Unknown(why)) => value["why"] = json!(why),
            Self::Solved(Verdict::Refuted(found)) => value["counterexample"] = found.value(),
            Self::Seen(found) => {
                value["counterexample"] =
                    json!({ "request": found.request, "target": found.target, "permitted": found.permitted });
            }
        }
        value
    }
}

impl Report {
    /// REFUTED is the answer no; what is UNKNOWN could not be found out. NOT REFUTED is good enough for whoever asked the
    /// weaker question, and not for whoever wanted a proof and had no solver.
    fn code(&self) -> ExitCode {
        let any = |word: &str| self.found.iter().any(|(_, finding)| finding.word() == word);
        if any("REFUTED") {
            ExitCode::from(NO)
        } else if any("UNKNOWN") || any("NOT REFUTED") && !self.is_weaker_asked {
            ExitCode::from(UNKNOWN)
        } else {
            ExitCode::SUCCESS
        }
    }

    fn print(&self, as_json: bool) {
        let Self { by, found, meaning, outside, .. } = self;
        if as_json {
            let goals: Vec<Value> = found.iter().map(|(goal, finding)| finding.value(goal)).collect();
            println!("{}", json!({ "by": by, "goals": goals, "meaning": meaning, "outside": outside }));
            return;
        }
        if found.iter().any(|(_, finding)| matches!(finding, Finding::NoneFound | Finding::Seen(_))) {
            println!("by {by}");
            found.iter().for_each(|(goal, finding)| println!("{}", finding.in_words(goal)));
        }
        print!("\n{}\n\n{}", self.tally(), paragraph("", meaning, 0));
        if let Some(outside) = outside {
            print!("\n{}", paragraph("", outside, 0));
        }
    }

    fn tally(&self) -> String {
        let count = |word: &str| self.found.iter().filter(|(_, finding)| finding.word() == word).count();
        let words = ["PROVED", "NOT REFUTED", "REFUTED", "UNKNOWN"];
        let parts = words.into_iter().filter(|word| count(word) > 0).map(|word| format!("{} {word}", count(word)));
        format!("{} goals: {}", self.found.len(), parts.collect::<Vec<_>>().join(", "))
    }
}
