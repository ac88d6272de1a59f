//! `causeway policy matrix`: every label against every target, for every app; in an order that does not change by itself, so
//! that a change of policy shows in a review as the cells that changed.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::ValueEnum;
use policy::{Candidate, Data, Judge, Question, Ruling, Verdict, decide};
use replay::page::{escaped, opened};
use server::configuration::{AppConfig, Compiled};
use server::outlook;

use super::WHAT_A_TABLE_MEANS;
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
    rows: Vec<Row>,
}

/// What holds for one label beside the app's own.
struct Row {
    /// `(own)` for the app's labels as they are, else `+` and the label that a request adds.
    label: String,
    cells: Vec<Cell>,
}

struct Cell {
    /// `allow`, `redact` or `deny`.
    verdict: &'static str,
    why: String,
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
    let sheets: Vec<Sheet<'_>> = compiled.apps.iter().map(|app| Sheet::of(&compiled, &judge, app, now)).collect();
    let text = match arguments.format {
        Form::Table => Ok(table(&sheets)),
        Form::Csv => csv(&sheets),
        Form::Html => Ok(html(&compiled, &sheets, now)),
    };
    match text {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => super::not_found_out(error),
    }
}

impl<'a> Sheet<'a> {
    fn of(compiled: &'a Compiled, judge: &Judge, app: &'a AppConfig, now: SystemTime) -> Self {
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
        let added = compiled.policy.labels.iter().filter(|label| !app.labels.iter().any(|own| **own == ***label));
        let rows =
            std::iter::once(None).chain(added.map(Some)).map(|label| Row::of(judge, app, label, (&candidates, now)));
        let rows = rows.collect();
        Self { app, targets: targets.iter().map(|target| compiled.targets[*target].name.as_str()).collect(), rows }
    }

    /// What its data is, in words.
    fn about(&self) -> String {
        let labels = if self.app.labels.is_empty() { "no label".to_owned() } else { self.app.labels.join(", ") };
        let class = outlook::class(self.app.class).name();
        let purpose = self.app.purposes.first().map(|purpose| format!(", purpose {purpose}")).unwrap_or_default();
        format!("{labels}; {class}{purpose}")
    }
}

impl Row {
    fn of(judge: &Judge, app: &AppConfig, label: Option<&Arc<str>>, asked: (&[Candidate], SystemTime)) -> Self {
        let (candidates, now) = asked;
        let mut labels: Vec<&str> = app.labels.iter().map(String::as_str).collect();
        labels.extend(label.map(|label| &**label));
        let labels = outlook::labels(&labels);
        let purpose = app.purposes.first().map(String::as_str);
        let data = Data { labels: &labels, labelled: true, class: outlook::class(app.class), purpose };
        let verdicts = match decide(judge, &Question { data, now, ..Question::about(&app.name, "", candidates) }) {
            Ok(permit) => permit.verdicts().to_vec(),
            Err(denial) => denial.verdicts().to_vec(),
        };
        let label = label.map_or_else(|| "(own)".to_owned(), |label| format!("+{label}"));
        Self { label, cells: verdicts.iter().map(Cell::of).collect() }
    }
}

impl Cell {
    fn of(verdict: &Verdict) -> Self {
        let word = match &verdict.ruling {
            Ruling::In { obligations, .. } if !obligations.is_empty() => "redact",
            Ruling::In { .. } => "allow",
            _ => "deny",
        };
        Self { verdict: word, why: verdict.ruling.to_string().replace('`', "") }
    }
}

fn table(sheets: &[Sheet<'_>]) -> String {
    let mut text = String::new();
    for sheet in sheets {
        let _ = writeln!(text, "app {} ({})", sheet.app.name, sheet.about());
        let label = sheet.rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        let target = sheet.targets.iter().map(|target| target.chars().count()).max().unwrap_or(0);
        for row in &sheet.rows {
            for (name, cell) in sheet.targets.iter().zip(&row.cells) {
                let line = format!("  {:label$}  {name:target$}  {:6}  {}", row.label, cell.verdict, cell.why);
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        text.push('\n');
    }
    text.push_str(&paragraph("", WHAT_A_TABLE_MEANS, 0));
    text
}

fn csv(sheets: &[Sheet<'_>]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["app", "label", "target", "verdict", "why"])?;
    for sheet in sheets {
        for row in &sheet.rows {
            for (target, cell) in sheet.targets.iter().zip(&row.cells) {
                writer.write_record([&sheet.app.name, &row.label, *target, cell.verdict, &cell.why])?;
            }
        }
    }
    // A table that is passed on keeps its caveat; `policy test` and spreadsheets pass over the line or show it.
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(format!("{}# {WHAT_A_TABLE_MEANS}\n", String::from_utf8_lossy(&bytes)))
}

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem;color:#111;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.scroll{overflow-x:auto}\
table{border-collapse:collapse;font-size:.85rem}td,th{border:1px solid #999;padding:.3rem .5rem;text-align:left;vertical-align:top}\
th{background:#eee}.allow{background:#dff3df}.redact{background:#fff3cd}.deny{background:#fbdede}\
.why{display:block;color:#333;font-size:.75rem}@media print{.scroll{overflow:visible}}";

fn html(compiled: &Compiled, sheets: &[Sheet<'_>], now: SystemTime) -> String {
    let mut text = opened("Where data may go", STYLE);
    let _ = writeln!(
        text,
        "<p>As of {}, configuration {}, data pack {}. {}</p>",
        outlook::day(now),
        escaped(&compiled.hash),
        escaped(&server::configuration::pack().version),
        escaped(WHAT_A_TABLE_MEANS),
    );
    for sheet in sheets {
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
            let _ = write!(text, "<tr><th scope=\"row\">{}</th>", escaped(&row.label));
            for cell in &row.cells {
                let (verdict, why) = (cell.verdict, escaped(&cell.why));
                let _ = write!(text, "<td class=\"{verdict}\">{verdict}<span class=\"why\">{why}</span></td>");
            }
            text.push_str("</tr>\n");
        }
        text.push_str("</tbody>\n</table></div>\n");
    }
    text.push_str("</body>\n</html>\n");
    text
}
