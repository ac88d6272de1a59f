//! `causeway policy verify-places`: what providers said of where they answered, held against what is declared of their places.
//!
//! Every answer is looked at as it comes, and the audit log keeps what it said. `--ask` asks the control planes that the
//! configuration names as well, and each endpoint of Azure for its list of models ([`ask`]). Neither carries content or costs
//! anything. A provider that says nothing is neither confirmed nor contradicted.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

mod ask;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use policy::Countries;
use serde_json::{Value, json};
use server::configuration::{self, Compiled, LoadOptions, Secrets, TargetConfig};
use server::control_planes::{Question, Told};
use server::{load, outlook};
use telemetry::audit::read;

use crate::commands::audit::{AuditCommandError, Span, fail};
use crate::commands::words::paragraph;
use crate::commands::{NO, UNKNOWN};

/// Which answers are looked at.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// A TOML file, or a folder of `*.toml` files: it says what is declared.
    #[arg(long, value_name = "PATH")]
    config: PathBuf,
    /// The folder of the audit log. Absent: the one of the configuration.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Answers from this time on, `2026-11-26` or `2026-11-26T08:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Ask the control planes, and each endpoint of Azure for its list of models, with the gateway's credentials.
    #[arg(long)]
    ask: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let secrets = if arguments.ask { Secrets::Read } else { Secrets::Skip };
    let options = LoadOptions { secrets, ..load::options(SystemTime::now()) };
    let compiled = match configuration::load(&arguments.config, &options) {
        Ok(compiled) => compiled,
        Err(mistakes) => return super::not_found_out(mistakes),
    };
    match heard(arguments, &compiled) {
        Ok(mut heard) => {
            if arguments.ask
                && let Err(why) = ask::ask(&compiled, &mut heard)
            {
                return super::not_found_out(why);
            }
            let look = |target| Look::of(&compiled, target, &heard);
            let looks: Vec<Look<'_>> = compiled.targets.iter().map(look).collect();
            print(&looks, arguments.json);
            code(&looks)
        }
        Err(error) => fail(&error),
    }
}

/// By target: who says it, and what.
type Heard = BTreeMap<String, BTreeMap<(String, String), Word>>;

/// How often something was said, and when last.
#[derive(Default)]
struct Word {
    count: u64,
    last: String,
    /// What a control plane told, which is more than a word.
    told: Option<Told>,
}

fn heard(arguments: &Arguments, compiled: &Compiled) -> Result<Heard, AuditCommandError> {
    let folder = arguments.folder.clone().unwrap_or_else(|| server::run::audit_folder(compiled));
    let span = Span::parse(arguments.since.as_deref(), None)?;
    let mut heard = Heard::new();
    // A gateway that has never served has heard nothing, which is no reason to ask nobody.
    if !folder.exists() {
        eprintln!("there is no audit log at `{}` yet: no answer was heard", folder.display());
        return Ok(heard);
    }
    let read = read::scan(
        &folder,
        |_| true,
        |_, bytes| {
            let Ok(entry) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
            let at = entry["outcome"]["at"].as_str();
            if span.is_everything() || span.holds(at) {
                entry["attempts"].as_array().into_iter().flatten().for_each(|attempt| note(&mut heard, attempt, at));
            }
            Ok(())
        },
    );
    read.map_err(|source| AuditCommandError::Read { path: folder, source })?;
    Ok(heard)
}

fn note(heard: &mut Heard, attempt: &Value, at: Option<&str>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for said in attempt["place_said"].as_array().into_iter().flatten() {
        let words = heard.entry(text(&attempt["target"])).or_default();
        let word = words.entry((text(&said["by"]), text(&said["said"]))).or_default();
        word.count += 1;
        if let Some(at) = at.filter(|at| *at > word.last.as_str()) {
            at.clone_into(&mut word.last);
        }
    }
}

/// What was heard of one target.
struct Look<'a> {
    target: &'a TargetConfig,
    /// Whether an answer or a control plane could say anything at all.
    may_say: bool,
    said: Vec<Said>,
}

/// One word of a provider's.
struct Said {
    by: String,
    word: String,
    count: u64,
    last: String,
    /// Why it contradicts what is declared, where it does.
    drift: Option<String>,
}

impl<'a> Look<'a> {
    fn of(compiled: &'a Compiled, target: &'a TargetConfig, heard: &Heard) -> Self {
        let known = (&*compiled.policy.pack, &compiled.policy.adjustments);
        let words = heard.get(&target.name).into_iter().flatten();
        let said = words.map(|((by, word), Word { count, last, told })| {
            let drift = match told {
                Some(told) => told.compare(&target.facts, &target.upstream_model, known).err(),
                None => outlook::compare(compiled, target, (by, word)).err(),
            };
            let drift = drift.map(|drift| drift.to_string());
            Said { by: by.clone(), word: word.clone(), count: *count, last: last.clone(), drift }
        });
        let mut said: Vec<Said> = said.collect();
        // What contradicts comes first.
        said.sort_by_key(|said| (said.drift.is_none(), std::cmp::Reverse(said.last.clone())));
        Self { target, may_say: may_say(compiled, target), said }
    }

    fn verdict(&self) -> &'static str {
        match self.said.first() {
            None => "silent",
            Some(said) if said.drift.is_some() => "drift",
            Some(_) => "agrees",
        }
    }

    /// Why nobody said anything, where that is known.
    fn silence(&self) -> Option<&'static str> {
        match (self.said.is_empty(), self.may_say) {
            (false, _) => None,
            (true, true) => Some("nothing heard yet"),
            (true, false) => Some("nobody there says where"),
        }
    }

    fn declared(&self) -> &Countries {
        &self.target.facts.processing
    }

    fn value(&self) -> Value {
        let said: Vec<Value> = self
            .said
            .iter()
            .map(|said| {
                json!({ "by": said.by, "said": said.word, "answers": said.count, "last": said.last, "drift": said.drift })
            })
            .collect();
        let declared: Vec<&str> = self.declared().0.iter().map(|country| country.code()).collect();
        let (verdict, silence) = (self.verdict(), self.silence());
        json!({
            "target": self.target.name, "declared": declared, "verdict": verdict, "silence": silence, "said": said,
        })
    }
}

/// Azure and Anthropic say it in their answers, and whoever has a control plane that can be asked about the target.
fn may_say(compiled: &Compiled, target: &TargetConfig) -> bool {
    let endpoint = &compiled.endpoints[target.endpoint];
    let is_asked = compiled.targets.iter().position(|other| other.name == target.name);
    endpoint.in_azure()
        || endpoint.provider == "anthropic"
        || is_asked.is_some_and(|index| Question::about(compiled, index).is_some())
}

/// What it means.
const MEANING: &str = "A provider's own word is held against what is declared: from the answers in the audit log, and with --ask \
    from the control planes that the configuration names. One that says nothing is neither confirmed nor contradicted.";

fn print(looks: &[Look<'_>], as_json: bool) {
    if as_json {
        println!("{}", json!({ "targets": looks.iter().map(Look::value).collect::<Vec<_>>(), "meaning": MEANING }));
        return;
    }
    let width = looks.iter().map(|look| look.target.name.chars().count()).max().unwrap_or(0);
    for look in looks {
        let silent = look.silence().map(|why| format!("; {why}")).unwrap_or_default();
        println!("{:7} {:width$}  declared {}{silent}", look.verdict(), look.target.name, look.declared());
        for said in &look.said {
            let drift = said.drift.as_ref().map(|drift| format!("; {drift}")).unwrap_or_default();
            println!("        {} `{}` in {} answers, last {}{drift}", said.by, said.word, said.count, said.last);
        }
    }
    print!("\n{}", paragraph("", MEANING, 0));
}

/// A contradiction is the answer no; where nobody said anything, it could not be found out.
fn code(looks: &[Look<'_>]) -> ExitCode {
    let any = |verdict: &str| looks.iter().any(|look| look.verdict() == verdict);
    if any("drift") {
        ExitCode::from(NO)
    } else if any("agrees") {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNKNOWN)
    }
}
