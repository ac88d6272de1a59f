//! `causeway explain`: why each target of a model is in or out for an app, in words that need no knowledge of policies, and
//! in which order the permitted ones would be tried.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

mod elsewhere;
mod objections;
mod order;
mod said;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::ValueEnum;
use policy::{
    Candidate, Class, Countries, Data, Facts, FindingKind, Findings, Judge, Question, Reach, Ruling, TextKind, Verdict,
    Why, decide, why,
};
use serde_json::{Value, json};
use server::configuration::{self, AppConfig, Compiled, LoadOptions, ModelConfig, Secrets};
use server::outlook::ReadRequest;
use server::snapshot::{Idle, SnapshotError};
use server::{load, outlook};

use super::words::{countries, country, days, join, paragraph};
use super::{ConfigPath, Day, NO, UNKNOWN, USAGE};
use elsewhere::elsewhere;
use objections::{because, change, objection, of_policy, remedy};
use order::Order;
use said::{class, purpose};

/// What is asked.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: ConfigPath,
    /// The app that asks.
    #[arg(long)]
    app: String,
    /// The model that it names.
    #[arg(long)]
    model: String,
    /// A label that the request adds; may be given more than once.
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// The class that the request names; of this, the app's and the model's the highest counts.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// The purpose that the request names. Absent: what `--request` names, or the app's first.
    #[arg(long)]
    purpose: Option<String>,
    /// A request as an app would send it, in JSON: what inspection finds in it counts.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The API that it is sent to.
    #[arg(long, value_enum, default_value = "chat")]
    api: Api,
    #[command(flatten)]
    day: Day,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Api {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Rerank,
    Messages,
}

impl Api {
    const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Messages => "messages",
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let now = arguments.day.or_now();
    let options = LoadOptions { secrets: Secrets::Skip, ..load::options(now) };
    let compiled = match configuration::load(&arguments.at.config, &options) {
        Ok(compiled) => compiled,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(UNKNOWN);
        }
    };
    match explain(arguments, &compiled, now) {
        Ok(answer) => {
            if arguments.json {
                println!("{}", answer.value());
            } else {
                print!("{}", answer.text());
            }
            if answer.is_permitted() { ExitCode::SUCCESS } else { ExitCode::from(NO) }
        }
        Err((code, fault)) => {
            eprintln!("{fault}");
            ExitCode::from(code)
        }
    }
}

type Failed = (u8, String);

fn explain<'a>(arguments: &Arguments, compiled: &'a Compiled, now: SystemTime) -> Result<Answer<'a>, Failed> {
    let wrong = |fault: String| (USAGE, fault);
    let app = compiled.apps.iter().find(|app| app.name == arguments.app);
    let app = app.ok_or_else(|| wrong(format!("there is no app `{}`", arguments.app)))?;
    let model = compiled.models.iter().find(|model| model.name == arguments.model);
    let model = model.ok_or_else(|| wrong(format!("there is no model `{}`", arguments.model)))?;
    let read = match &arguments.request {
        None => ReadRequest { operation: outlook::operation_named(arguments.api.name()), ..Default::default() },
        Some(file) => {
            outlook::read_request(arguments.api.name(), text_of(file)?, &compiled.recognisers).map_err(wrong)?
        }
    };
    let mut labels: Vec<&str> = app.labels.iter().chain(&model.labels).map(String::as_str).collect();
    labels.extend(arguments.labels.iter().chain(&read.labels).map(String::as_str));
    if let Some(stray) = labels.iter().find(|label| !compiled.policy.labels.contains(**label)) {
        let all: Vec<&str> = compiled.policy.labels.iter().map(|label| &**label).collect();
        return Err(wrong(format!("`{stray}` is no label; the labels are {}", all.join(", "))));
    }
    let class = class(app, model, arguments.class.iter().chain(&read.classes)).map_err(wrong)?;
    let purpose = purpose(app, arguments.purpose.iter(), &read.purposes).map_err(wrong)?;
    let judge = outlook::judge(compiled).map_err(|error| (UNKNOWN, error.to_string()))?;
    let asked = Asked {
        app,
        model,
        labels: outlook::labels(&labels),
        class,
        purpose,
        api: arguments.api.name(),
        suppressed: suppressed(compiled, app, (&read.findings, now)),
        findings: read.findings.without(|kind| app.data.suppression(kind, now).is_some() || is_tried(compiled, kind)),
        request: read,
        now,
    };
    Answer::of(compiled, &judge, asked).map_err(|error| (UNKNOWN, error.to_string()))
}

/// What was found and policies do not see for now.
fn suppressed(compiled: &Compiled, app: &AppConfig, (findings, now): (&Findings, SystemTime)) -> Vec<String> {
    let mut all = Vec::new();
    for (kind, count) in findings.counts() {
        let FindingKind::Text(text) = kind else { continue };
        if let Some(one) = app.data.suppression(*text, now) {
            let until = outlook::day(one.until);
            all.push(format!("{kind} ({count}) until {until}, because {}, says {}", one.because, one.owner));
        } else if is_tried(compiled, *text) {
            all.push(format!("{kind} ({count}), which is only tried"));
        }
    }
    all
}

/// Whether a recogniser of one's own finds this that is not in force.
fn is_tried(compiled: &Compiled, kind: TextKind) -> bool {
    compiled.recognisers.tried().any(|tried| tried == kind)
}

fn text_of(file: &Path) -> Result<Vec<u8>, Failed> {
    std::fs::read(file).map_err(|error| (UNKNOWN, format!("{} cannot be read: {error}", file.display())))
}

/// The request that is asked about.
struct Asked<'a> {
    app: &'a AppConfig,
    model: &'a ModelConfig,
    labels: Arc<[Arc<str>]>,
    class: Class,
    purpose: Option<String>,
    api: &'static str,
    request: ReadRequest,
    /// What policies see of what was found in it.
    findings: Findings,
    /// What was found and policies do not see, each with who says so.
    suppressed: Vec<String>,
    now: SystemTime,
}

impl Asked<'_> {
    fn question<'b>(&'b self, candidates: &'b [Candidate]) -> Question<'b> {
        self.question_of(&self.model.name, candidates)
    }

    fn question_of<'b>(&'b self, model: &'b str, candidates: &'b [Candidate]) -> Question<'b> {
        let data = Data { labels: &self.labels, labelled: true, class: self.class, purpose: self.purpose.as_deref() };
        let about = Question::about(&self.app.name, model, candidates);
        Question { operation: self.request.operation, data, findings: &self.findings, now: self.now, ..about }
    }
}

/// One target with all that is to be said of it.
struct Explained {
    verdict: Verdict,
    facts: Facts,
    reach: Reach,
    whys: Vec<Why>,
}

/// A model that stands in.
struct Behind<'a> {
    model: &'a str,
    /// Whether the app may use it: only then it falls back to it.
    is_usable: bool,
    targets: Vec<Explained>,
    order: Option<Order>,
}

struct Answer<'a> {
    asked: Asked<'a>,
    targets: Vec<Explained>,
    /// In which order those that are permitted would be tried.
    order: Option<Order>,
    fallbacks: Vec<Behind<'a>>,
    /// Where the same request would be permitted, each with the models that lead there.
    elsewhere: Vec<(String, Vec<String>)>,
    /// How the policies are known: shipped, or a folder; and what is switched off.
    policies: String,
}

/// A model that stands in is asked for with the labels and the class of its own route as well.
fn labels_of(asked: &Asked<'_>, model: &ModelConfig) -> Arc<[Arc<str>]> {
    let own = model.labels.iter().map(String::as_str);
    outlook::labels(&asked.labels.iter().map(|label| &**label).chain(own).collect::<Vec<_>>())
}

fn on_route<'a>(question: Question<'a>, labels: &'a [Arc<str>], model: &ModelConfig) -> Question<'a> {
    let class = model.class.map_or(question.data.class, |class| outlook::class(class).max(question.data.class));
    Question { data: Data { labels, class, ..question.data }, ..question }
}

/// The targets of a model, each with all that is to be said of it.
fn explained(
    compiled: &Compiled,
    judge: &Judge,
    asked: &Asked<'_>,
    model: &ModelConfig,
) -> Result<Vec<Explained>, policy::WorldError> {
    let candidates: Vec<Candidate> = model.targets.iter().map(|target| outlook::candidate(compiled, *target)).collect();
    let asker = outlook::asker(asked.app);
    let zones = &compiled.policy.zones;
    let labels = labels_of(asked, model);
    let question = on_route(asked.question_of(&model.name, &candidates), &labels, model);
    let mut targets = Vec::new();
    for (verdict, candidate) in verdicts(judge, &question).into_iter().zip(&candidates) {
        let ids: Vec<&str> = match &verdict.ruling {
            Ruling::Forbidden(by) | Ruling::NotGranted { by, .. } => by.iter().collect(),
            _ => Vec::new(),
        };
        let facts = candidate.facts.at(asked.now);
        let candidate = Candidate { facts: Arc::new(facts.clone()), ..candidate.clone() };
        let whys = why(judge.rules(), (zones, &asker), &question, &candidate, &ids)?;
        targets.push(Explained { verdict, facts, reach: candidate.reach, whys });
    }
    Ok(targets)
}

impl<'a> Answer<'a> {
    fn of(compiled: &'a Compiled, judge: &Judge, asked: Asked<'a>) -> Result<Self, SnapshotError> {
        let targets = explained(compiled, judge, &asked, asked.model)?;
        let idle = Idle::build(compiled)?;
        let order = Order::of((compiled, &idle), judge, &asked, (asked.model, &[]));
        // What a model before has as well is tried there and not again.
        let mut before = asked.model.targets.clone();
        let fallbacks =
            asked.model.routing.fallbacks.iter().filter_map(|index| Some((index, compiled.models.get(*index)?)));
        let behind = |(index, model): (&usize, &'a ModelConfig)| {
            let is_usable = asked.app.models.contains(index);
            let targets = explained(compiled, judge, &asked, model)?;
            let is_asked = is_usable && order.is_some();
            let order = is_asked.then(|| Order::of((compiled, &idle), judge, &asked, (model, &before))).flatten();
            if is_usable {
                before.extend(&model.targets);
            }
            Ok(Behind { model: &model.name, is_usable, targets, order })
        };
        let fallbacks = fallbacks.map(behind).collect::<Result<_, policy::WorldError>>()?;
        let is_permitted = targets.iter().any(|target| target.verdict.ruling.is_in());
        let elsewhere = if is_permitted { Vec::new() } else { elsewhere(compiled, judge, &asked) };
        let policies = format!("{}{}", policies_of(compiled), run_out(compiled, asked.now));
        Ok(Self { asked, targets, order, fallbacks, elsewhere, policies })
    }

    fn is_permitted(&self) -> bool {
        self.targets.iter().any(|target| target.verdict.ruling.is_in())
    }

    fn text(&self) -> String {
        let Asked { app, model, labels, class, purpose, now, .. } = &self.asked;
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        let labels = match labels.as_slice() {
            [] => "no label".to_owned(),
            [only] => format!("the label {only}"),
            several => format!("the labels {}", join(several)),
        };
        let purpose = purpose.as_ref().map(|purpose| format!(", for the purpose {purpose}")).unwrap_or_default();
        let found: Vec<String> =
            self.asked.findings.counts().map(|(kind, count)| format!("{kind} ({count})")).collect();
        let found = if found.is_empty() { String::new() } else { format!(" Inspection found {}.", join(&found)) };
        let hidden = match self.asked.suppressed.as_slice() {
            [] => String::new(),
            hidden => format!(" Suppressed for this app: {}.", join(hidden)),
        };
        let mut text = paragraph(
            "",
            &format!(
                "App {} of team {} asks for model {} on {}. Its data carries {labels} and is {}{purpose}.{found}{hidden} {}",
                app.name,
                app.team,
                model.name,
                outlook::day(*now),
                class.name(),
                self.policies,
            ),
            0,
        );
        for target in &self.targets {
            text.push('\n');
            text.push_str(&target.text());
        }
        if !self.is_permitted() {
            text.push('\n');
            text.push_str(&paragraph("", &self.way_out(), 0));
        }
        if let Some(order) = &self.order {
            text.push('\n');
            text.push_str(&order.text());
        }
        for behind in &self.fallbacks {
            text.push('\n');
            text.push_str(&paragraph("", &behind.heading(self.is_permitted()), 0));
            for target in behind.targets.iter().filter(|_| behind.is_usable) {
                text.push('\n');
                text.push_str(&target.text());
            }
            if let Some(order) = &behind.order {
                text.push('\n');
                text.push_str(&order.text_behind(behind.model));
            }
        }
        text.push('\n');
        text.push_str(&paragraph("", WHAT_IT_MEANS, 0));
        text
    }

    fn way_out(&self) -> String {
        if self.elsewhere.is_empty() {
            let nearest = self.targets.iter().min_by_key(|target| target.distance());
            let nearest = nearest.filter(|target| target.distance() < usize::MAX).map(|target| {
                let objects = if target.whys.len() == 1 { "objects" } else { "object" };
                let (name, policies) = (&target.verdict.name, policies(target.whys.len()));
                format!(" Nearest to it is {name}, to which {policies} {objects}.")
            });
            let nearest = nearest.unwrap_or_default();
            return format!("No target of this configuration could take this request.{nearest}");
        }
        let one = |(target, models): &(String, Vec<String>)| match models.as_slice() {
            [] => format!("{target} (no model leads there)"),
            models => format!("{target} (model {})", join(models)),
        };
        let targets: Vec<String> = self.elsewhere.iter().map(one).collect();
        format!("The same request would be permitted at {}.", join(&targets))
    }

    fn value(&self) -> Value {
        let Asked { app, model, labels, class, purpose, .. } = &self.asked;
        let labels: Vec<&str> = labels.iter().map(|label| &**label).collect();
        json!({
            "app": app.name,
            "model": model.name,
            "labels": labels,
            "class": class.name(),
            "purpose": purpose,
            "findings": self.asked.findings.names(),
            "suppressed": self.asked.suppressed,
            "permitted": self.is_permitted(),
            "targets": self.targets.iter().map(Explained::value).collect::<Vec<_>>(),
            "order": self.order.as_ref().map(Order::value),
            "fallbacks": self.fallbacks.iter().map(Behind::value).collect::<Vec<_>>(),
            "permitted_elsewhere": self.elsewhere.iter().map(|(target, models)| json!({ "target": target, "models": models })).collect::<Vec<_>>(),
            "meaning": WHAT_IT_MEANS,
        })
    }
}

impl Behind<'_> {
    fn heading(&self, is_permitted: bool) -> String {
        let Self { model, is_usable, .. } = self;
        match (is_usable, is_permitted) {
            (false, _) => format!("Model {model} would stand in if all of these fail, but the app may not use it."),
            (true, false) => format!("Model {model} stands in for failures and not for a denial, so it is not asked."),
            (true, true) => format!("If all of these fail, model {model} is asked, within what policy permits of it:"),
        }
    }

    fn value(&self) -> Value {
        json!({
            "model": self.model,
            "usable": self.is_usable,
            "targets": self.targets.iter().map(Explained::value).collect::<Vec<_>>(),
            "order": self.order.as_ref().map(Order::value),
        })
    }
}

/// What an explanation can say and cannot.
pub(super) const WHAT_IT_MEANS: &str = "This holds for labels as they are given and facts as they are dated. Text inspection does not \
    find names or free-text health data. Whether a provider does what its pages say, and what the law asks for beyond these \
    policies, is not looked at.";

fn policies(count: usize) -> String {
    if count == 1 { "1 policy".to_owned() } else { format!("{count} policies") }
}

/// The groups of countries that policies ask about and that nobody knows any more.
fn run_out(compiled: &Compiled, now: SystemTime) -> String {
    let ended = outlook::groups_that_end(compiled).into_iter().filter(|(_, end)| *end <= now);
    let names: Vec<String> = ended.map(|(name, _)| name.to_owned()).collect();
    match names.as_slice() {
        [] => String::new(),
        [only] => format!(
            " The group of countries {only} has run out: a policy that asks about it cannot be evaluated, which denies."
        ),
        several => format!(
            " The groups of countries {} have run out: a policy that asks about one cannot be evaluated, which denies.",
            join(several)
        ),
    }
}

fn policies_of(compiled: &Compiled) -> String {
    let folder = compiled.document.policy.as_ref().and_then(|policy| policy.folder.as_deref());
    let off: Vec<String> =
        compiled.policy.rules.off().iter().map(|(id, because)| format!("{id} ({because})")).collect();
    let from = folder.map_or_else(
        || "The policies that ship with the gateway decide.".to_owned(),
        |folder| format!("The policies in {folder} decide."),
    );
    if off.is_empty() { from } else { format!("{from} Switched off: {}.", join(&off)) }
}

fn verdicts(judge: &Judge, question: &Question<'_>) -> Vec<Verdict> {
    match decide(judge, question) {
        Ok(permit) => permit.verdicts().to_vec(),
        Err(denial) => denial.verdicts().to_vec(),
    }
}

/// Columns before what is said.
const INDENT: usize = 18;

impl Explained {
    /// How many policies object; a target that no policy permits is farthest.
    fn distance(&self) -> usize {
        if self.whys.is_empty() { usize::MAX } else { self.whys.len() }
    }

    fn text(&self) -> String {
        let Self { verdict, facts, .. } = self;
        let word = if verdict.ruling.is_in() { "permitted" } else { "denied" };
        let mut text = format!("{}: {word}\n", verdict.name);
        let mut say = |head: &str, words: &str| text.push_str(&paragraph(head, words, INDENT));
        say("  The place", &format!("{}, {}.", facts.provenance.words, self.reached()));
        say("  Processed", &format!("Prompts may be processed in {}.", countries(&facts.processing)));
        say("  Kept", &kept(facts));
        say("  Read by people", &format!("People may read prompts from {}.", countries(&facts.access)));
        say("  Law", &law(facts));
        say("  Training", if facts.training { "Prompts may train models." } else { "Prompts do not train models." });
        for doubt in &facts.provenance.doubts {
            say("  In doubt", &format!("{doubt} (taken at its worst)"));
        }
        for statement in &facts.provenance.statements {
            say("  Stated", statement);
        }
        if !facts.provenance.sources.is_empty() {
            say("  Sources", &facts.provenance.sources.join("; "));
        }
        say("  Decision", &self.decision());
        for why in &self.whys {
            text.push_str(&of_policy(why));
        }
        text
    }

    fn reached(&self) -> &'static str {
        match self.reach {
            Reach::Local => "reached on one's own network",
            Reach::PrivateLink => "reached over a private link",
            Reach::Public => "reached over the internet",
        }
    }

    fn decision(&self) -> String {
        match &self.verdict.ruling {
            Ruling::Forbidden(by) => format!("Denied: {} forbid it.", policies(by.iter().count()))
                .replace("1 policy forbid", "1 policy forbids"),
            Ruling::NotApproved => {
                "Denied: nobody has approved the endpoint. It would have to stand under `[policy] approve`, \
                                    which is for the security team to write."
                    .to_owned()
            }
            Ruling::NotPermitted => "Denied: no policy permits it.".to_owned(),
            Ruling::In { .. }
            | Ruling::Failed(_)
            | Ruling::NotGranted { .. }
            | Ruling::Withheld(_)
            | Ruling::Repeated => {
                let words = self.verdict.ruling.to_string().replace('`', "");
                let mut letters = words.chars();
                let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
                format!("{first}{}.", letters.as_str())
            }
        }
    }

    fn value(&self) -> Value {
        let codes = |countries: &Countries| countries.0.iter().map(|one| one.code().to_owned()).collect::<Vec<_>>();
        let of_why = |why: &Why| {
            json!({
                "policy": why.about.id.to_string(),
                "basis": why.about.basis,
                "owner": why.about.owner,
                "because": why.because.iter().map(because).collect::<Vec<_>>(),
                "objects_to": why.objections.iter().map(objection).collect::<Vec<_>>(),
                "one_of_these_would_be_enough": why.remedies.iter().map(remedy).collect::<Vec<_>>(),
                "would_have_to_change": why.objections.iter().map(change).collect::<Vec<_>>(),
            })
        };
        let Self { verdict, facts, reach, whys } = self;
        json!({
            "target": verdict.name.to_string(),
            "permitted": verdict.ruling.is_in(),
            "ruling": verdict.ruling.to_string(),
            "policies": verdict.ruling.policies().map(|by| by.iter().map(str::to_owned).collect::<Vec<_>>()),
            "place": facts.provenance.words,
            "reach": reach.name(),
            "processing": codes(&facts.processing),
            "at_rest": codes(&facts.at_rest),
            "access": codes(&facts.access),
            "operator": facts.operator.code(),
            "operator_parent": facts.operator_parent.code(),
            "retention_days": facts.retention_days,
            "training": facts.training,
            "rows": facts.provenance.rows,
            "why": whys.iter().map(of_why).collect::<Vec<_>>(),
        })
    }
}

fn kept(facts: &Facts) -> String {
    match facts.retention_days {
        0 => format!("Prompts are not kept; what is kept for a moment lies in {}.", countries(&facts.at_rest)),
        known => format!("Prompts may be kept in {}, {}.", countries(&facts.at_rest), days(known)),
    }
}

fn law(facts: &Facts) -> String {
    let (operator, parent) = (country(facts.operator), country(facts.operator_parent));
    if operator == parent {
        format!("The operator and its parent company answer to the law of {operator}.")
    } else {
        format!("The operator answers to the law of {operator}, its parent company to that of {parent}.")
    }
}
