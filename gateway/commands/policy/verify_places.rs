//! `causeway policy verify-places`: what providers said of where they answered, held against what is declared of their places.
//!
//! Every answer is looked at as it comes, and the audit log keeps what it said. `--ask` asks each endpoint for its list of
//! models as well, which carries no content and costs nothing. A provider that says nothing is neither confirmed nor
//! contradicted, and the control planes of clouds (the type of an Azure deployment, the regions of a Bedrock profile) are not
//! read.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use egress::Inspect;
use policy::Countries;
use serde_json::{Value, json};
use server::configuration::{self, Compiled, LoadOptions, Secrets, TargetConfig};
use server::snapshot::{self, Specs};
use server::{load, outlook};
use telemetry::audit::read;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::commands::audit::{AuditCommandError, Span, fail};
use crate::commands::doctor::examine::only;
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
    /// Ask each endpoint for its list of models, with the gateway's credential, and hear what that answer says.
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
                && let Err(why) = ask(&compiled, &mut heard)
            {
                return super::not_found_out(why);
            }
            let looks: Vec<Look<'_>> = compiled.targets.iter().map(|target| Look::of(target, &heard)).collect();
            print(&looks, arguments.json);
            code(&looks)
        }
        Err(error) => fail(&error),
    }
}

/// By target: who says it, and what; how often, and when last.
type Heard = BTreeMap<String, BTreeMap<(String, String), (u64, String)>>;

fn heard(arguments: &Arguments, compiled: &Compiled) -> Result<Heard, AuditCommandError> {
    let folder = arguments.folder.clone().unwrap_or_else(|| server::run::audit_folder(compiled));
    let span = Span::parse(arguments.since.as_deref(), None)?;
    let mut heard = Heard::new();
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
        let (count, last) = words.entry((text(&said["by"]), text(&said["said"]))).or_default();
        *count += 1;
        if let Some(at) = at.filter(|at| *at > last.as_str()) {
            at.clone_into(last);
        }
    }
}

/// Asks every endpoint, side by side. One that does not answer says nothing, and standard error says why.
fn ask(compiled: &Compiled, heard: &mut Heard) -> Result<(), String> {
    let Specs { endpoints, resolvers } = snapshot::specs(compiled).map_err(|error| error.to_string())?;
    let runtime = super::containment::runtime().map_err(|error| error.to_string())?;
    let answers = runtime.block_on(async {
        let mut looks = Vec::new();
        for spec in endpoints {
            let resolvers = resolvers.clone();
            looks.push(tokio::spawn(async move {
                let inspect = Inspect { path: Some(spec.harmless_path()), with_credential: true, limit: STEP };
                let name = spec.name.to_string();
                let found = match only(spec, &resolvers) {
                    Ok(endpoint) => endpoint.inspect(&inspect).await,
                    Err(error) => return (name, Err(error.to_string())),
                };
                let why = || found.verdict.as_ref().map_or_else(|| "no answer".to_owned(), ToString::to_string);
                (name, found.answer.as_ref().ok_or_else(why).map(|answer| answer.headers.clone()))
            }));
        }
        let mut answers = Vec::new();
        for look in looks {
            answers.extend(look.await);
        }
        answers
    });
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    for (endpoint, answer) in answers {
        let headers = match answer {
            Ok(headers) => headers,
            Err(why) => {
                eprintln!("endpoint `{endpoint}` was asked and did not answer: {why}");
                continue;
            }
        };
        let Some((by, said)) = outlook::place_said(&headers) else { continue };
        // Elsewhere a header of that name is nobody's word of the place, as where requests are served.
        let of_endpoint = |target: &&TargetConfig| {
            let asked = &compiled.endpoints[target.endpoint];
            asked.name == endpoint && asked.in_azure()
        };
        for target in compiled.targets.iter().filter(of_endpoint) {
            let words = heard.entry(target.name.clone()).or_default();
            let (count, last) = words.entry((by.to_owned(), said.to_owned())).or_default();
            *count += 1;
            last.clone_from(&now);
        }
    }
    Ok(())
}

/// Time for each step of an asking.
const STEP: Duration = Duration::from_secs(5);

/// What was heard of one target.
struct Look<'a> {
    target: &'a TargetConfig,
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
    fn of(target: &'a TargetConfig, heard: &Heard) -> Self {
        let words = heard.get(&target.name).into_iter().flatten();
        let said = words.map(|((by, word), (count, last))| {
            let echo = outlook::echo(by, word);
            let drift = echo.and_then(|echo| configuration::pack().compare(&target.facts, echo).err());
            let drift = drift.map(|drift| drift.to_string());
            Said { by: by.clone(), word: word.clone(), count: *count, last: last.clone(), drift }
        });
        let mut said: Vec<Said> = said.collect();
        // What contradicts comes first.
        said.sort_by_key(|said| (said.drift.is_none(), std::cmp::Reverse(said.last.clone())));
        Self { target, said }
    }

    fn verdict(&self) -> &'static str {
        match self.said.first() {
            None => "silent",
            Some(said) if said.drift.is_some() => "drift",
            Some(_) => "agrees",
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
        json!({ "target": self.target.name, "declared": declared, "verdict": self.verdict(), "said": said })
    }
}

/// What it means.
const MEANING: &str = "A provider's own word is held against what is declared, from the answers in the audit log. One that says \
    nothing is neither confirmed nor contradicted. The type of an Azure deployment and the regions of a Bedrock profile are not \
    read from their control planes.";

fn print(looks: &[Look<'_>], as_json: bool) {
    if as_json {
        println!("{}", json!({ "targets": looks.iter().map(Look::value).collect::<Vec<_>>(), "meaning": MEANING }));
        return;
    }
    let width = looks.iter().map(|look| look.target.name.chars().count()).max().unwrap_or(0);
    for look in looks {
        println!("{:7} {:width$}  declared {}", look.verdict(), look.target.name, look.declared());
        for said in &look.said {
            let drift = said.drift.as_ref().map(|drift| format!("; {drift}")).unwrap_or_default();
            println!("        {} `{}` in {} answers, last {}{drift}", said.by, said.word, said.count, said.last);
        }
    }
    println!("\n{MEANING}");
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
