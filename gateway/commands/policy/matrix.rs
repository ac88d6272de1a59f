//! `causeway policy matrix`: every label against every target, for every app; in an order that does not change by itself, so
//! that a change of policy shows in a review as the cells that changed.
//!
//! Actions, classes, purposes and findings decide as well. A row for each would bury the others, so `--by` adds those that change a
//! verdict, below the row that they change, and without it the table says how many it leaves out.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

mod appendix;
mod variants;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::ValueEnum;
use policy::{Candidate, Data, Judge, Question, Ruling, TextKind, Verdict, decide};
use replay::page::{escaped, opened};
use server::configuration::{AppConfig, Compiled};
use server::outlook;

use self::variants::{By, Variant};
use super::{WHAT_A_TABLE_MEANS, WHAT_A_VARIANT_MEANS};
use crate::commands::words::paragraph;
use crate::commands::{ConfigPath, Day};

/// What the table is of.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    #[command(flatten)]
    at: ConfigPath,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// Rows as well for requests that differ in one of these from a chat in which nothing is found, where that changes a verdict.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    by: Vec<By>,
    #[command(flatten)]
    day: Day,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// For spreadsheets and reviews.
    Csv,
    /// One page without outside parts, for an auditor.
    Html,
}

/// What holds for one app.
struct Sheet<'a> {
    app: &'a AppConfig,
    /// `endpoint/upstream-model` of each column, sorted.
    targets: Vec<&'a str>,
    rows: Vec<Row<'a>>,
    /// How many rows are left out that change a verdict, by what they differ in.
    left_out: BTreeMap<By, usize>,
}

/// What holds for one label beside the app's own, and one way to ask.
struct Row<'a> {
    /// `(own)` for the app's labels as they are, else `+` and the label that a request adds.
    label: String,
    asked: Variant<'a>,
    cells: Vec<Cell>,
}

struct Cell {
    /// `allow`, `redact` or `deny`.
    verdict: &'static str,
    /// What is replaced before the request leaves.
    redacted: Vec<String>,
    why: String,
    /// It is to be shown: in a row that names what it differs in, only what is another there.
    is_shown: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let now = arguments.day.or_now();
    let compiled = match super::compiled(&arguments.at.config, now) {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    let judge = match outlook::judge(&compiled) {
        Ok(judge) => judge,
        Err(error) => return super::not_found_out(error),
    };
    let sheet = |app| Sheet::of((&compiled, &judge), app, (&arguments.by, now));
    let sheets: Vec<Sheet<'_>> = compiled.apps.iter().map(sheet).collect();
    let meaning = [Some(meaning(&sheets, &arguments.by)), super::outside(&compiled)];
    let meaning = meaning.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let written = Written { meaning, has_variants: !arguments.by.is_empty(), sheets };
    let text = match arguments.format {
        Form::Table => Ok(written.table()),
        Form::Csv => written.csv(),
        Form::Html => Ok(written.html(&compiled, now)),
    };
    match text {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => super::not_found_out(error),
    }
}

/// What the verdicts are about, and what is not shown.
fn meaning(sheets: &[Sheet<'_>], by: &[By]) -> String {
    let mut left_out: BTreeMap<By, usize> = BTreeMap::new();
    for (what, rows) in sheets.iter().flat_map(|sheet| &sheet.left_out) {
        *left_out.entry(*what).or_default() += rows;
    }
    let about = if by.is_empty() { "" } else { WHAT_A_VARIANT_MEANS };
    let mut text = format!(
        "(own) is the app's own labels alone, and + one that a request adds to them. Each verdict is for a chat in which inspection \
         finds nothing{about}. {WHAT_A_TABLE_MEANS}"
    );
    if !left_out.is_empty() {
        let name = |what: &By| what.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let rows: Vec<String> = left_out.iter().map(|(what, rows)| format!("{rows} by {}", name(what))).collect();
        let names: Vec<String> = left_out.keys().map(name).collect();
        let _ = write!(
            text,
            " Not shown: rows of other requests of these apps, in which a verdict is another ({}); `--by {}` shows them.",
            rows.join(", "),
            names.join(",")
        );
    }
    text
}

impl<'a> Sheet<'a> {
    fn of((compiled, judge): (&'a Compiled, &Judge), app: &'a AppConfig, (by, now): (&[By], SystemTime)) -> Self {
        let mut targets: Vec<usize> = app
            .models
            .iter()
            .filter_map(|model| compiled.models.get(*model))
            .flat_map(|model| &model.targets)
            .copied()
            .collect();
        targets.sort_unstable_by(|one, other| compiled.targets[*one].name.cmp(&compiled.targets[*other].name));
        targets.dedup();
        let candidates: Vec<Candidate> = targets.iter().map(|target| outlook::candidate(compiled, *target)).collect();
        let asking = Asking { judge, app, candidates: &candidates, now };
        let own: Vec<TextKind> = compiled.recognisers.kinds().collect();
        let variants = Variant::all((app, &own), &compiled.policy.rules, now);
        let added = compiled.policy.labels.iter().filter(|label| !app.labels.iter().any(|own| **own == ***label));
        let (mut rows, mut left_out) = (Vec::new(), BTreeMap::new());
        for label in std::iter::once(None).chain(added.map(Some)) {
            let usual = asking.row(label, Variant::usual(app));
            let others = variants.iter().filter_map(|asked| asking.row(label, asked.clone()).beside(&usual));
            let others: Vec<Row<'a>> = others.collect();
            rows.push(usual);
            for row in others {
                match row.asked.by {
                    Some(what) if !by.contains(&what) => *left_out.entry(what).or_default() += 1,
                    _ => rows.push(row),
                }
            }
        }
        let targets = targets.iter().map(|target| compiled.targets[*target].name.as_str()).collect();
        Self { app, targets, rows, left_out }
    }

    /// What its data is, in words.
    fn about(&self) -> String {
        let labels = match self.app.labels.as_slice() {
            [] => "no label".to_owned(),
            [only] => format!("label {only}"),
            several => format!("labels {}", several.join(", ")),
        };
        let class = outlook::class(self.app.class).name();
        let purpose = self.app.purposes.first().map(|purpose| format!(", purpose {purpose}")).unwrap_or_default();
        format!("{labels}; class {class}{purpose}")
    }
}

/// What rows are asked of.
struct Asking<'a, 'b> {
    judge: &'b Judge,
    app: &'a AppConfig,
    candidates: &'b [Candidate],
    now: SystemTime,
}

impl<'a> Asking<'a, '_> {
    fn row(&self, label: Option<&Arc<str>>, asked: Variant<'a>) -> Row<'a> {
        let mut labels: Vec<&str> = self.app.labels.iter().map(String::as_str).collect();
        labels.extend(label.map(|label| &**label));
        let labels = outlook::labels(&labels);
        let data = Data { labels: &labels, labelled: true, class: asked.class, purpose: asked.purpose };
        let about = Question::about(&self.app.name, "", self.candidates);
        let question = Question { data, operation: asked.operation, findings: &asked.findings, now: self.now, ..about };
        let verdicts = match decide(self.judge, &question) {
            Ok(permit) => permit.verdicts().to_vec(),
            Err(denial) => denial.verdicts().to_vec(),
        };
        let label = label.map_or_else(|| "(own)".to_owned(), |label| format!("+{label}"));
        Row { label, asked, cells: verdicts.iter().map(Cell::of).collect() }
    }
}

impl<'a> Row<'a> {
    /// What is another than in the usual row, where anything is; another reason for the same verdict is none.
    fn beside(mut self, usual: &Self) -> Option<Self> {
        for (cell, usual) in self.cells.iter_mut().zip(&usual.cells) {
            cell.is_shown = cell.verdict != usual.verdict || cell.redacted != usual.redacted;
        }
        self.cells.iter().any(|cell| cell.is_shown).then_some(self)
    }

    /// What is to be shown, with the names of its targets.
    fn shown<'b>(&'b self, targets: &'b [&'a str]) -> impl Iterator<Item = (&'a str, &'b Cell)> {
        targets.iter().copied().zip(&self.cells).filter(|(_, cell)| cell.is_shown)
    }
}

impl Cell {
    fn of(verdict: &Verdict) -> Self {
        let word = match &verdict.ruling {
            Ruling::In { obligations, .. } if !obligations.is_empty() => "redact",
            Ruling::In { .. } => "allow",
            _ => "deny",
        };
        let redacted = match &verdict.ruling {
            Ruling::In { obligations, .. } => obligations.redact().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Self { verdict: word, redacted, why: verdict.ruling.to_string().replace('`', ""), is_shown: true }
    }
}

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem;color:#111;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.scroll{overflow-x:auto}\
table{border-collapse:collapse;font-size:.85rem}td,th{border:1px solid #999;padding:.3rem .5rem;text-align:left;vertical-align:top}\
th{background:#eee}.allow{background:#dff3df}.redact{background:#fff3cd}.deny{background:#fbdede}\
.why{display:block;color:#333;font-size:.75rem}@media print{.scroll{overflow:visible}}";

/// A table to be written down.
struct Written<'a> {
    sheets: Vec<Sheet<'a>>,
    /// Rows say in what they differ.
    has_variants: bool,
    meaning: String,
}

impl Written<'_> {
    fn table(&self) -> String {
        let mut text = String::new();
        for sheet in &self.sheets {
            let _ = writeln!(text, "app {} ({})", sheet.app.name, sheet.about());
            let width = |of: &dyn Fn(&Row<'_>) -> String| sheet.rows.iter().map(|row| of(row).chars().count()).max();
            let label = width(&|row| row.label.clone()).unwrap_or(0);
            let asked = width(&|row| row.asked.words()).filter(|_| self.has_variants).map_or(0, |width| width + 2);
            let target = sheet.targets.iter().map(|target| target.chars().count()).max().unwrap_or(0);
            for row in &sheet.rows {
                for (name, cell) in row.shown(&sheet.targets) {
                    let words = row.asked.words();
                    let line = format!(
                        "  {:label$}  {words:asked$}{name:target$}  {:6}  {}",
                        row.label, cell.verdict, cell.why
                    );
                    let _ = writeln!(text, "{}", line.trim_end());
                }
            }
            text.push('\n');
        }
        text.push_str(&paragraph("", &self.meaning, 0));
        text
    }

    fn csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let asked: &[&str] = if self.has_variants { &["action", "class", "purpose", "finding"] } else { &[] };
        writer.write_record([&["app", "label"], asked, &["target", "verdict", "why"]].concat())?;
        for sheet in &self.sheets {
            for row in &sheet.rows {
                let Variant { action, class, purpose, finding, .. } = &row.asked;
                let asked = [*action, class.name(), purpose.unwrap_or_default(), *finding];
                let asked: &[&str] = if self.has_variants { &asked } else { &[] };
                for (target, cell) in row.shown(&sheet.targets) {
                    let head: &[&str] = &[&sheet.app.name, &row.label];
                    writer.write_record([head, asked, &[target, cell.verdict, &cell.why]].concat())?;
                }
            }
        }
        // A table that is passed on keeps its caveat; `policy test` and spreadsheets pass over the line or show it.
        let bytes = writer.into_inner().map_err(|error| error.into_error())?;
        Ok(format!("{}# {}\n", String::from_utf8_lossy(&bytes), self.meaning))
    }

    fn html(&self, compiled: &Compiled, now: SystemTime) -> String {
        let mut text = opened("Where data may go", STYLE);
        let _ = writeln!(
            text,
            "<p>As of {}, configuration {}, data pack {}. {}</p>",
            outlook::day(now),
            escaped(&compiled.hash),
            escaped(&compiled.policy.pack.version),
            escaped(&self.meaning),
        );
        for sheet in &self.sheets {
            let _ = write!(
                text,
                "<h2>App {}</h2>\n<p>Team {}. Its data: {}.</p>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">label</th>",
                escaped(&sheet.app.name),
                escaped(&sheet.app.team),
                escaped(&sheet.about())
            );
            for target in &sheet.targets {
                let _ = write!(text, "<th scope=\"col\">{}</th>", escaped(target));
            }
            text.push_str("</tr></thead>\n<tbody>\n");
            for row in &sheet.rows {
                let _ = write!(text, "<tr><th scope=\"row\">{}{}</th>", escaped(&row.label), asked_otherwise(row));
                for cell in &row.cells {
                    if !cell.is_shown {
                        text.push_str("<td>as for the label</td>");
                        continue;
                    }
                    let (verdict, why) = (cell.verdict, escaped(&cell.why));
                    let _ = write!(text, "<td class=\"{verdict}\">{verdict}<span class=\"why\">{why}</span></td>");
                }
                text.push_str("</tr>\n");
            }
            text.push_str("</tbody>\n</table></div>\n");
        }
        let shown = self.sheets.iter().flat_map(|sheet| sheet.targets.iter().copied()).collect();
        text.push_str(&appendix::html(compiled, &shown));
        text.push_str("</body>\n</html>\n");
        text
    }
}

/// In what a row differs, below its label.
fn asked_otherwise(row: &Row<'_>) -> String {
    match row.asked.words() {
        words if words.is_empty() => words,
        words => format!("<span class=\"why\">{}</span>", escaped(&words)),
    }
}
