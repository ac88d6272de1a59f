//! `causeway policy diff`: whether a change permits more, less, both or the same.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use policy::{Names, Rules, Strictness};
use serde_json::{Value, json};
use server::outlook;

use super::WHAT_PROVED_MEANS;
use super::containment::{Side, Verdict, runtime, within};
use super::enumerate::{Differences, Found, World, differences};
use super::files::{Files, lines, names_without_configuration};
use super::prove::How;
use super::solver::Solver;
use crate::commands::words::paragraph;
use crate::commands::{Day, NO, UNKNOWN};

/// Which two sets are compared.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// The policies as they were: a folder of `*.cedar` files, or `shipped`.
    old: PathBuf,
    /// The policies as they are to be.
    new: PathBuf,
    /// Compare them for the apps, targets and purposes of this configuration, and not for every request there is.
    #[arg(long, value_name = "PATH", conflicts_with = "solver")]
    config: Option<PathBuf>,
    /// Exit 1 when anything is permitted that was not; 3 when that could not be found out, as without a solver and without
    /// `--enumerate` or `--config`.
    #[arg(long)]
    forbid_wider: bool,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    day: Day,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    compare(arguments).unwrap_or_else(|code| code)
}

fn compare(arguments: &Arguments) -> Result<ExitCode, ExitCode> {
    let now = arguments.day.or_now();
    let compiled = arguments.config.as_deref().map(|path| super::compiled(path, now)).transpose()?;
    let names = compiled.as_ref().map_or_else(names_without_configuration, outlook::names);
    let (old, new) = (rules(&arguments.old, &names)?, rules(&arguments.new, &names)?);
    let mut compared = Compared::default();
    if [old.beyond(&new), new.beyond(&old)].iter().all(|rules| rules.policies().next().is_none()) {
        compared.is_same = true;
    } else if let Some(solver) = solver(arguments)? {
        return Proven::of(&solver, old, new)?.report(arguments);
    } else {
        let world = match &compiled {
            Some(compiled) => World::of(compiled, &[&old, &new], now),
            None => World::of_pack(&[&old, &new], now),
        };
        compared.differences = differences(&world, &new, &old).map_err(super::not_found_out)?;
        compared.words = world.words;
    }
    compared.report(arguments.json);
    // A gate is not passed by a weaker answer than the one that was asked for.
    let is_weaker = !compared.is_same && !arguments.how.enumerate && arguments.config.is_none();
    Ok(match (arguments.forbid_wider, compared.differences.more.is_some()) {
        (true, true) => ExitCode::from(NO),
        (true, false) if is_weaker => super::not_found_out(
            "no solver was found, and what was gone through proves nothing: `pip install cvc5`, or be content with it by `--enumerate`",
        ),
        _ => ExitCode::SUCCESS,
    })
}

fn rules(path: &Path, names: &Names) -> Result<Rules, ExitCode> {
    let is_shipped = path.as_os_str() == "shipped";
    let files = Files::policies(Some(path).filter(|_| !is_shipped)).map_err(super::not_found_out)?;
    match files.rules(Strictness::Study, names) {
        Ok((rules, _)) => Ok(rules),
        Err(faults) => {
            super::not_found_out(lines(&faults));
            Err(ExitCode::from(NO))
        }
    }
}

/// The solver that was named, or one that is there. Where a configuration is to be gone through, none is asked.
fn solver(arguments: &Arguments) -> Result<Option<Solver>, ExitCode> {
    if arguments.how.enumerate || arguments.config.is_some() {
        return Ok(None);
    }
    let named = arguments.how.solver.as_deref();
    match runtime().map_err(super::not_found_out)?.block_on(Solver::find(named)) {
        Ok(solver) => Ok(Some(solver)),
        Err(reasons) if named.is_some() => {
            Err(super::not_found_out(format!("the solver does not work: {}", reasons.join("; "))))
        }
        Err(_) => Ok(None),
    }
}

/// What the solver says of both directions.
struct Proven {
    by: String,
    /// Whether the old set permits all that the new one does.
    wider: Verdict,
    /// Whether the new set permits all that the old one does.
    tighter: Verdict,
}

impl Proven {
    fn of(solver: &Solver, old: Rules, new: Rules) -> Result<Self, ExitCode> {
        let side = |rules: Rules| Side::of(Arc::new(rules)).map_err(super::not_found_out);
        let (old, new) = (side(old)?, side(new)?);
        let runtime = runtime().map_err(super::not_found_out)?;
        let (wider, tighter) =
            runtime.block_on(async { (within(solver, &new, &old).await, within(solver, &old, &new).await) });
        Ok(Self { by: solver.words(), wider, tighter })
    }

    fn verdict(&self) -> (&'static str, &'static str) {
        match (&self.wider, &self.tighter) {
            (Verdict::Unknown(_), _) | (_, Verdict::Unknown(_)) => ("unknown", "it could not be found out"),
            (Verdict::Proved, Verdict::Proved) => {
                ("equal", "both permit the same, for every request and every endpoint")
            }
            (Verdict::Proved, Verdict::Refuted(_)) => {
                ("tighter", "nothing new is permitted, and something is not any more")
            }
            (Verdict::Refuted(_), Verdict::Proved) => ("wider", "something is permitted that was not"),
            (Verdict::Refuted(_), Verdict::Refuted(_)) => {
                ("both", "something new is permitted, and something is not any more")
            }
        }
    }

    fn report(&self, arguments: &Arguments) -> Result<ExitCode, ExitCode> {
        let (word, meaning) = self.verdict();
        let sides = [("permitted now", &self.wider), ("permitted before", &self.tighter)];
        if arguments.json {
            let [now, before] = sides.map(|(_, verdict)| match verdict {
                Verdict::Refuted(found) => found.value(),
                Verdict::Unknown(why) => json!({ "unknown": why }),
                Verdict::Proved => Value::Null,
            });
            let by = &self.by;
            let answer = json!({
                "verdict": word, "permitted_now": now, "permitted_before": before, "proof": word != "unknown", "by": by,
            });
            println!("{answer}");
        } else {
            println!("{word}: {meaning}");
            for (heading, verdict) in sides {
                match verdict {
                    Verdict::Proved => {}
                    Verdict::Refuted(found) => println!("{heading}:\n{}", found.lines()),
                    Verdict::Unknown(why) => println!("{heading}: unknown: {why}"),
                }
            }
            print!("by {}\n\n{}", self.by, paragraph("", WHAT_PROVED_MEANS, 0));
        }
        let is_unknown = word == "unknown";
        let is_refused = arguments.forbid_wider && matches!(self.wider, Verdict::Refuted(_));
        Ok(match (is_refused, is_unknown) {
            (true, _) => ExitCode::from(NO),
            (false, true) => ExitCode::from(UNKNOWN),
            (false, false) => ExitCode::SUCCESS,
        })
    }
}

#[derive(Default)]
struct Compared {
    /// Both sets are the same policies, however they are written: nothing else needs to be looked at.
    is_same: bool,
    differences: Differences,
    words: String,
}

impl Compared {
    fn verdict(&self) -> (&'static str, &'static str) {
        let Differences { more, less, .. } = &self.differences;
        match (more.is_some(), less.is_some()) {
            (false, false) if self.is_same => ("equal", "both are the same policies"),
            (false, false) => ("equal", "no difference was found"),
            (false, true) => ("tighter", "nothing new is permitted, and something is not any more"),
            (true, false) => ("wider", "something is permitted that was not"),
            (true, true) => ("both", "something new is permitted, and something is not any more"),
        }
    }

    fn report(&self, as_json: bool) {
        let (word, meaning) = self.verdict();
        let Differences { more, less, decisions } = &self.differences;
        if as_json {
            let (now, before) = (more.as_deref().map(value), less.as_deref().map(value));
            let answer = json!({
                "verdict": word, "permitted_now": now, "permitted_before": before, "decisions": decisions,
                "world": self.words, "proof": self.is_same,
            });
            println!("{answer}");
            return;
        }
        println!("{word}: {meaning}");
        for (heading, [here, there], found) in
            [("permitted now", ["new", "old"], more), ("permitted before", ["old", "new"], less)]
        {
            if let Some(found) = found {
                let Found { request, target, permitted, otherwise } = &**found;
                println!("{heading}:\n  request  {request}\n  target   {target}");
                println!("  {here} set  {permitted}\n  {there} set  {otherwise}");
            }
        }
        if !self.is_same {
            println!("This went through {decisions} decisions of each set and is no proof: {}.", self.words);
        }
    }
}

fn value(found: &Found) -> Value {
    let Found { request, target, permitted, otherwise } = found;
    json!({ "request": request, "target": target, "permitted": permitted, "otherwise": otherwise })
}
