//! `causeway policy test`: decision tables held against the policies, and what no row would notice.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use policy::{
    Candidate, Class, Data, Finding, FindingKind, Findings, Judge, Operation, Question, Rules, Ruling, Strictness,
    TextKind, decide,
};
use serde_json::json;
use server::configuration::Compiled;
use server::outlook;

use super::cases::{self, Case};
use super::files::{Files, lines};
use crate::commands::{ConfigPath, Day, NO};

/// Which tables are held against which configuration.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    #[command(flatten)]
    at: ConfigPath,
    /// Policies instead of those of the configuration: a folder of `*.cedar` files.
    #[arg(long, value_name = "FOLDER")]
    policies: Option<PathBuf>,
    /// A table, or a folder of tables: `*.csv` with the columns
    /// `app,action,labels,class,purpose,findings,target,expected,policy`, or `*.toml` with `[[case]]`.
    tables: PathBuf,
    /// Exit 1 when a policy decides no row, or could be left out without any row noticing.
    #[arg(long)]
    cover: bool,
    #[command(flatten)]
    day: Day,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match test(arguments) {
        Ok(outcome) => outcome.conclude(arguments),
        Err(code) => code,
    }
}

fn test(arguments: &Arguments) -> Result<Outcome, ExitCode> {
    let now = arguments.day.or_now();
    let compiled = super::compiled(&arguments.at.config, now)?;
    let rules = match &arguments.policies {
        None => Arc::clone(&compiled.policy.rules),
        Some(folder) => {
            let files = Files::policies(Some(folder)).map_err(super::not_found_out)?;
            let read = files.rules(Strictness::Enforce, &outlook::names(&compiled));
            let (rules, _) = read.map_err(|faults| {
                super::not_found_out(lines(&faults));
                ExitCode::from(NO)
            })?;
            Arc::new(rules)
        }
    };
    let files = Files::read(&arguments.tables, &["csv", "toml"]).map_err(super::not_found_out)?;
    let judge = outlook::judge_with(&compiled, &rules).map_err(super::not_found_out)?;
    let mut outcome = Outcome::default();
    let mut asked = Vec::new();
    for (name, text) in &files.0 {
        let (cases, faults) = cases::read(name, text);
        outcome.rows += cases.len() + faults.len();
        outcome.faults.extend(faults);
        for case in &cases {
            match Asked::of(&compiled, judge.rules(), (case, now)) {
                Ok(one) => asked.push(one),
                Err(faults) => outcome.faults.extend(faults.iter().map(|fault| format!("{}: {fault}", case.place))),
            }
        }
    }
    let asking = Asking { compiled: &compiled, judge: &judge, now };
    outcome.hold(&asking, &asked);
    Ok(outcome)
}

/// A row whose names are all known.
struct Asked {
    place: String,
    app: String,
    operation: Operation,
    labels: Arc<[Arc<str>]>,
    class: Class,
    purpose: Option<String>,
    findings: Findings,
    /// Kinds that the row names and the app's policies do not see.
    suppressed: Vec<TextKind>,
    candidate: Candidate,
    expected: Expected,
    policies: Vec<String>,
}

enum Expected {
    Allow,
    Deny,
    /// These kinds are replaced; whichever, where the row does not say.
    Redact(Option<BTreeSet<String>>),
}

impl Asked {
    /// Every name of the row that nobody has.
    fn of(compiled: &Compiled, rules: &Rules, (case, now): (&Case, SystemTime)) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let app = compiled.apps.iter().find(|app| app.name == case.app);
        if app.is_none() {
            faults.push(format!("`{}` is no app", case.app));
        }
        let target = compiled.targets.iter().position(|target| target.name == case.target);
        if target.is_none() {
            faults.push(format!("`{}` is no target; write `endpoint/upstream-model`", case.target));
        }
        for label in case.labels.iter().filter(|label| !compiled.policy.labels.contains(label.as_str())) {
            faults.push(format!("`{label}` is no label"));
        }
        let own: Vec<TextKind> = compiled.recognisers.kinds().collect();
        let is_suppressed = |kind| app.is_some_and(|app| app.data.suppression(kind, now).is_some());
        let found = case.findings.iter().map(|name| kind_but(name, &own, is_suppressed)).collect();
        let mut findings = keep(&mut faults, found).unwrap_or_default();
        let operation = keep(&mut faults, operation(&case.action, &mut findings));
        let own = app.map(|app| outlook::class(app.class)).unwrap_or_default();
        let class = match case.class.as_str() {
            "" => Some(own),
            name => keep(&mut faults, Class::named(name).ok_or_else(|| format!("`{name}` is no class"))),
        };
        let expected = keep(&mut faults, expected(&case.expected));
        let stray = |id: &&String| !rules.policies().any(|about| *about.id == ***id);
        faults.extend(case.policies.iter().filter(stray).map(|id| format!("`{id}` is no policy")));
        let (Some(app), Some(target), Some(operation), Some(class), Some(expected)) =
            (app, target, operation, class, expected)
        else {
            return Err(faults);
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let labels: Vec<&String> = app.labels.iter().chain(&case.labels).collect();
        let all: Findings = findings.into_iter().map(|kind| Finding { kind, path: "$".to_owned() }).collect();
        let text = all.iter().filter_map(|finding| match finding.kind {
            FindingKind::Text(kind) => Some(kind),
            _ => None,
        });
        Ok(Self {
            place: case.place.clone(),
            app: case.app.clone(),
            operation,
            labels: outlook::labels(&labels),
            class: class.max(own),
            purpose: Some(case.purpose.clone()).filter(|purpose| !purpose.is_empty()),
            suppressed: text.filter(|kind| is_suppressed(*kind)).collect(),
            findings: all.without(is_suppressed),
            candidate: outlook::candidate(compiled, target),
            expected,
            policies: case.policies.clone(),
        })
    }

    fn ruling(&self, judge: &Judge, now: SystemTime) -> Ruling {
        let Self { labels, class, purpose, .. } = self;
        let data = Data { labels, labelled: true, class: *class, purpose: purpose.as_deref() };
        let candidates = std::slice::from_ref(&self.candidate);
        let about = Question::about(&self.app, "", candidates);
        let question = Question { operation: self.operation, data, findings: &self.findings, now, ..about };
        let first = |verdicts: &[policy::Verdict]| verdicts.first().map(|verdict| verdict.ruling.clone());
        let ruling = match decide(judge, &question) {
            Ok(permit) => first(permit.verdicts()),
            Err(denial) => first(denial.verdicts()),
        };
        ruling.unwrap_or(Ruling::NotPermitted)
    }

    /// What is wrong with this ruling, if anything.
    fn against(&self, ruling: &Ruling) -> Option<String> {
        let Self { app, candidate, .. } = self;
        let met = match (&self.expected, ruling) {
            (Expected::Allow, Ruling::In { obligations, .. }) => obligations.is_empty(),
            (Expected::Deny, Ruling::In { .. }) => false,
            (Expected::Deny, _) => true,
            (Expected::Redact(kinds), Ruling::In { obligations, .. }) => {
                let redacted: BTreeSet<String> = obligations.redact().map(str::to_owned).collect();
                !redacted.is_empty() && kinds.as_ref().is_none_or(|kinds| *kinds == redacted)
            }
            (Expected::Allow | Expected::Redact(_), _) => false,
        };
        if !met {
            let (expected, hidden) = (&self.expected, self.hidden());
            return Some(format!("app `{app}` at `{}` was to be {expected}, and is {ruling}{hidden}", candidate.name));
        }
        let decided = |id: &&String| ruling.policies().is_some_and(|by| by.iter().any(|one| one == **id));
        let absent = self.policies.iter().find(|id| !decided(id))?;
        Some(format!("`{absent}` was to decide for app `{app}` at `{}`: {ruling}{}", candidate.name, self.hidden()))
    }

    /// What of the row no policy saw, in words.
    fn hidden(&self) -> String {
        let names: Vec<String> = self.suppressed.iter().map(|kind| format!("`{}`", kind.name())).collect();
        if names.is_empty() { String::new() } else { format!("; suppressed for this app: {}", names.join(", ")) }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allow => f.write_str("allowed as it is"),
            Self::Deny => f.write_str("denied"),
            Self::Redact(None) => f.write_str("allowed with something redacted"),
            Self::Redact(Some(kinds)) => {
                write!(f, "allowed with {} redacted", kinds.iter().cloned().collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The value, or its fault among the others.
fn keep<T>(faults: &mut Vec<String>, found: Result<T, String>) -> Option<T> {
    found.map_err(|fault| faults.push(fault)).ok()
}

/// An operation by name. A feature is a chat that needs it.
pub(super) fn operation(name: &str, findings: &mut Vec<FindingKind>) -> Result<Operation, String> {
    let feature = match name {
        "" => return Ok(Operation::Chat),
        "keep_state" => FindingKind::StoredState,
        "fetch_remote" => FindingKind::RemoteUrl,
        "use_hosted_tool" => FindingKind::HostedTool("any".to_owned()),
        name => return Operation::named(name).ok_or_else(|| format!("`{name}` is no action")),
    };
    findings.push(feature);
    Ok(Operation::Chat)
}

fn expected(written: &str) -> Result<Expected, String> {
    match (written, written.strip_prefix("redact:")) {
        ("allow", _) => Ok(Expected::Allow),
        ("deny", _) => Ok(Expected::Deny),
        ("redact", _) => Ok(Expected::Redact(None)),
        (_, Some(kinds)) => Ok(Expected::Redact(Some(
            kinds.split([',', ' ']).filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
        ))),
        _ => Err(format!("`{written}` is nothing to expect; write `allow`, `deny`, `redact` or `redact:card`")),
    }
}

/// A kind of finding by the name that policies use. Of a group the first kind stands for all.
///
/// Recognisers of one's own are `own`; where there are none, it is not known which there are.
pub(super) fn kind(name: &str, own: &[TextKind]) -> Result<FindingKind, String> {
    let unknown = || TextKind::own_named(name).map(FindingKind::Text);
    kind_but(name, own, |_| false).or_else(|error| unknown().ok_or(error))
}

/// The same for an app some kinds of which are suppressed: a group is hidden only where all its kinds are.
pub(super) fn kind_but(
    name: &str,
    own: &[TextKind],
    is_suppressed: impl Fn(TextKind) -> bool,
) -> Result<FindingKind, String> {
    let mut kinds = TextKind::named(name);
    kinds.extend(own.iter().filter(|kind| kind.goes_by(name)));
    let standing_for_all = kinds.iter().find(|kind| !is_suppressed(**kind)).or(kinds.first());
    Ok(match name {
        "remote_url" => FindingKind::RemoteUrl,
        "stored_state" => FindingKind::StoredState,
        "uninspected" => FindingKind::Uninspected,
        "uninspected_media" => FindingKind::UninspectedMedia,
        "user_identifier" => FindingKind::UserIdentifier,
        _ => match (name.strip_prefix("hosted_tool:"), standing_for_all) {
            (Some(tool), _) => FindingKind::HostedTool(tool.to_owned()),
            (None, Some(kind)) => FindingKind::Text(*kind),
            (None, None) => return Err(format!("`{name}` is no kind of finding")),
        },
    })
}

/// What rulings are asked of.
struct Asking<'a> {
    compiled: &'a Compiled,
    judge: &'a Judge,
    now: SystemTime,
}

/// What came of the tables.
#[derive(Default)]
struct Outcome {
    rows: usize,
    /// Rows that are wrong or cannot be asked, each with its place.
    faults: Vec<String>,
    policies: usize,
    /// Policies that decide no row.
    unmet: Vec<String>,
    /// Policies that decide a row, and whose absence no row notices.
    unnoticed: Vec<String>,
}

impl Outcome {
    fn hold(&mut self, asking: &Asking<'_>, asked: &[Asked]) {
        let mut met: BTreeSet<String> = BTreeSet::new();
        for one in asked {
            let ruling = one.ruling(asking.judge, asking.now);
            met.extend(ruling.policies().into_iter().flat_map(|by| by.iter().map(str::to_owned)));
            self.faults.extend(one.against(&ruling).map(|fault| format!("{}: {fault}", one.place)));
        }
        for about in asking.judge.rules().policies() {
            self.policies += 1;
            if !met.contains(&*about.id) {
                self.unmet.push(about.id.to_string());
            } else if self.faults.is_empty() && !is_noticed(asking, asked, &about.id) {
                self.unnoticed.push(about.id.to_string());
            }
        }
    }

    fn conclude(&self, arguments: &Arguments) -> ExitCode {
        if arguments.json {
            let ok = self.faults.is_empty() && self.rows > 0;
            println!(
                "{}",
                json!({
                    "ok": ok, "rows": self.rows, "wrong": self.faults, "policies": self.policies,
                    "decide_no_row": self.unmet, "missed_by_no_row": self.unnoticed,
                })
            );
        } else {
            self.faults.iter().for_each(|fault| println!("{fault}"));
            let met = self.policies - self.unmet.len();
            println!(
                "{} rows, {} wrong; {met} of {} policies decide a row",
                self.rows,
                self.faults.len(),
                self.policies
            );
            if !self.unmet.is_empty() {
                println!("decide no row: {}", self.unmet.join(", "));
            }
            if !self.unnoticed.is_empty() {
                println!("could be left out without a row noticing: {}", self.unnoticed.join(", "));
            }
        }
        let uncovered = arguments.cover && !(self.unmet.is_empty() && self.unnoticed.is_empty());
        match (self.rows, self.faults.is_empty() && !uncovered) {
            (0, _) => super::not_found_out("the tables have no row"),
            (_, true) => ExitCode::SUCCESS,
            (_, false) => ExitCode::from(NO),
        }
    }
}

/// Whether a row turns out wrong without the policy of this id: the table would see that it is gone.
fn is_noticed(asking: &Asking<'_>, asked: &[Asked], id: &str) -> bool {
    let rules = Arc::new(asking.judge.rules().without(id));
    let Ok(judge) = outlook::judge_with(asking.compiled, &rules) else { return true };
    asked.iter().any(|one| one.against(&one.ruling(&judge, asking.now)).is_some())
}
