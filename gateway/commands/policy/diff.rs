//! `causeway policy diff`: whether a change permits more, less, both or the same.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use policy::{Names, Rules, Strictness};
use serde_json::{Value, json};
use server::outlook;

use super::enumerate::{Differences, Found, World, differences};
use super::files::{Files, lines, names_without_configuration};
use crate::commands::{Day, NO};

/// Which two sets are compared.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// The policies as they were: a folder of `*.cedar` files, or `shipped`.
    old: PathBuf,
    /// The policies as they are to be.
    new: PathBuf,
    /// Compare them for the apps, targets and purposes of this configuration, and not for places of the data pack.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Exit 1 when anything is permitted that was not.
    #[arg(long)]
    forbid_wider: bool,
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
    } else {
        let world = match &compiled {
            Some(compiled) => World::of(compiled, &[&old, &new], now),
            None => World::of_pack(&[&old, &new], now),
        };
        compared.differences = differences(&world, &new, &old).map_err(super::not_found_out)?;
        compared.words = world.words;
    }
    compared.report(arguments.json);
    let is_wider = compared.differences.more.is_some();
    Ok(if arguments.forbid_wider && is_wider { ExitCode::from(NO) } else { ExitCode::SUCCESS })
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

#[derive(Default)]
struct Compared {
    /// Both sets are the same policies, however they are written: nothing else needs to be looked at.
    is_same: bool,
    differences: Differences,
    words: &'static str,
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
        for (heading, found) in [("permitted now", more), ("permitted before", less)] {
            if let Some(found) = found {
                let Found { request, target, permitted, otherwise } = &**found;
                println!("{heading}:\n  request  {request}\n  target   {target}\n  here     {permitted}");
                println!("  there    {otherwise}");
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
