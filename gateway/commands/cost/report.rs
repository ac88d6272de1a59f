//! `causeway cost report`: what was spent, by whom, where, and what it was compared with what it could have been.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use accounting::{Day, Money};
use clap::ValueEnum;
use ledger::Home;
use serde_json::{Value, json};
use server::configuration::{self, Secrets};
use server::load;

use super::books::{Books, Row, Table};
use super::html;
use crate::commands::{ConfigPath, NO, UNKNOWN};

/// Which time, and in which form.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    #[command(flatten)]
    at: ConfigPath,
    /// The first day, UTC, such as 2026-11-01; absent: the first day of this month.
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<Day>,
    /// The day after the last, UTC; absent: now.
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<Day>,
    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    form: Form,
    /// Where to write it; absent: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The form of a report.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For a terminal.
    Table,
    /// Every row of every table on a line.
    Csv,
    /// For programs.
    Json,
    /// One page with plots, which needs nothing beside it.
    Html,
}

fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "write a day as 2026-11-26".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mut options = load::options(SystemTime::now());
    options.secrets = Secrets::ReadOfLedger;
    let compiled = match configuration::load(&arguments.at.config, &options) {
        Ok(compiled) => compiled,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(NO);
        }
    };
    let period = period(arguments);
    let mut books = Books::new(&compiled);
    let folder = compiled.state_folder.join("ledger");
    let home = match server::snapshot::home(&compiled) {
        Ok(home) => home,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(UNKNOWN);
        }
    };
    match ledger::read_in(&folder, &home, period, |entry| books.add(&entry, &compiled)) {
        Ok(unsettled) => books.leave_open(&unsettled),
        Err(error) => {
            let place = match home {
                Home::Folder => folder.display().to_string(),
                Home::Postgres(_) => "PostgreSQL".to_owned(),
            };
            eprintln!("the ledger in {place} cannot be read: {error}");
            return ExitCode::from(UNKNOWN);
        }
    }
    if books.damaged > 0 {
        let (lines, folder) = (books.damaged, folder.display());
        eprintln!(
            "{lines} lines of the journals in {folder} cannot be read, and what they say is missing in this report"
        );
    }
    let report = Report { books: &books, period, prices: compiled.prices.name() };
    let text = match arguments.form {
        Form::Table => report.table(),
        Form::Csv => report.csv(),
        Form::Json => format!("{:#}\n", report.json()),
        Form::Html => html::page(&report),
    };
    match &arguments.out {
        None => print!("{text}"),
        Some(path) => {
            if let Err(error) = std::fs::write(path, text) {
                eprintln!("{} cannot be written: {error}", path.display());
                return ExitCode::from(UNKNOWN);
            }
        }
    }
    ExitCode::SUCCESS
}

/// In milliseconds since 1970.
fn period(arguments: &Arguments) -> (u64, u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let begin = |day: Day| day.days().unsigned_abs() * 86_400_000;
    let this_month = Day::first_of(Day::of_seconds(now.as_secs()).month());
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    (begin(arguments.from.unwrap_or(this_month)), arguments.to.map_or(now_ms + 1, begin))
}

/// The books and what they are of.
pub(super) struct Report<'a> {
    pub(super) books: &'a Books,
    pub(super) period: (u64, u64),
    pub(super) prices: String,
}

/// What own servers cost in the period, idle or not.
pub(super) struct OwnCost {
    pub(super) all: Money,
    pub(super) idle: Money,
    /// What would have served everything: the cost of so many times the own servers as the fullest hour needed.
    pub(super) all_local: Option<Money>,
}

impl Report<'_> {
    pub(super) fn own(&self) -> OwnCost {
        let (from, to) = self.period;
        let (all, idle) = self.books.own_cost(to.saturating_sub(from));
        let all_local = self.books.fleets().map(|fleets| Money(all.0.saturating_mul(fleets)));
        OwnCost { all, idle, all_local }
    }

    /// Label, amount and what it means, for the lines that are no table.
    pub(super) fn figures(&self) -> Vec<(&'static str, String, &'static str)> {
        let own = self.own();
        let books = self.books;
        let all_local = own.all_local.map_or("unknown".to_owned(), |cost| cost.to_string());
        let all_cloud = if books.without_cloud == 0 {
            books.all_cloud.to_string()
        } else {
            format!("{} and {} requests without a cloud", books.all_cloud, books.without_cloud)
        };
        vec![
            ("charged", books.total.money.to_string(), "what requests were charged with"),
            ("of that flagged", books.total.flagged.to_string(), "no upstream or no price confirms it"),
            ("still held", books.held.to_string(), "by requests that run, or whose process died; in no other figure"),
            ("own servers", own.all.to_string(), "paid by the hour in this period, used or not"),
            ("of that idle", own.idle.to_string(), "while no request was there"),
            (
                "avoidable burst",
                books.avoidable.to_string(),
                "charged although permitted own capacity would have met the time",
            ),
            (
                "residency premium",
                books.premium.to_string(),
                "above the list price of the same model without a promise of place",
            ),
            (
                "all in the cloud",
                all_cloud,
                "the same tokens at the cheapest target of each model that charges by the token",
            ),
            (
                "all on own servers",
                all_local,
                "so many times the own servers as the fullest hour needed, by their best hour",
            ),
        ]
    }

    fn table(&self) -> String {
        let (from, to) = self.period;
        let day = |ms: u64| Day::of_seconds(ms / 1_000);
        let mut text = format!("{} to {}, UTC; dollars; prices of {}\n\n", day(from), day(to), self.prices);
        for (label, amount, meaning) in self.figures() {
            let _ = writeln!(text, "{label:20}{amount:>20}  {meaning}");
        }
        for (name, table) in &self.books.by {
            let _ = writeln!(text, "\n{}", table_text(name, table));
        }
        if self.books.recovered > 0 {
            let _ = writeln!(
                text,
                "{} requests were settled at what they held, because their process died",
                self.books.recovered
            );
        }
        text
    }

    fn csv(&self) -> String {
        let mut text = String::from("table,name,requests,input_tokens,output_tokens,usd,flagged_usd\n");
        for (name, table) in &self.books.by {
            for (row_name, row) in table {
                let Row { requests, input, output, money, flagged } = row;
                let _ = writeln!(text, "{name},{},{requests},{input},{output},{money},{flagged}", quoted(row_name));
            }
        }
        for (day, money) in &self.books.by_day {
            let _ = writeln!(text, "day,{day},,,,{money},");
        }
        for (label, amount, _) in self.figures() {
            let _ = writeln!(text, "figure,{},,,,{},", quoted(label), quoted(&amount));
        }
        text
    }

    fn json(&self) -> Value {
        let own = self.own();
        let books = self.books;
        let row = |row: &Row| {
            json!({ "requests": row.requests, "input_tokens": row.input, "output_tokens": row.output,
                    "usd": row.money.to_string(), "flagged_usd": row.flagged.to_string() })
        };
        let table = |table: &Table| Value::Object(table.iter().map(|(name, line)| (name.clone(), row(line))).collect());
        let tables = books.by.iter().map(|(name, lines)| (format!("by_{name}"), table(lines)));
        let mut report = json!({
            "from_ms": self.period.0,
            "to_ms": self.period.1,
            "prices": self.prices,
            "total": row(&books.total),
            "recovered": books.recovered,
            "open": books.open,
            "held_usd": books.held.to_string(),
            "own_usd": own.all.to_string(),
            "idle_usd": own.idle.to_string(),
            "avoidable_usd": books.avoidable.to_string(),
            "residency_premium_usd": books.premium.to_string(),
            "all_cloud_usd": books.all_cloud.to_string(),
            "without_cloud": books.without_cloud,
            "all_local_usd": own.all_local.map(|cost| cost.to_string()),
        });
        if let Some(fields) = report.as_object_mut() {
            fields.extend(tables);
        }
        report
    }
}

fn table_text(name: &str, table: &Table) -> String {
    let width = table.keys().map(String::len).chain([name.len()]).max().unwrap_or(0);
    let mut text = format!(
        "{name:width$}  {:>9}  {:>13}  {:>13}  {:>16}  {:>16}\n",
        "requests", "input", "output", "usd", "flagged usd"
    );
    for (name, row) in table {
        let (money, flagged) = (row.money.to_string(), row.flagged.to_string());
        let _ = writeln!(
            text,
            "{name:width$}  {:>9}  {:>13}  {:>13}  {money:>16}  {flagged:>16}",
            row.requests, row.input, row.output
        );
    }
    text
}

/// A field of a CSV line (RFC 4180). A name that begins like a formula is kept from being one.
fn quoted(field: &str) -> String {
    let plain = !field.contains([',', '"', '\n', '\r']) && !field.starts_with(['=', '+', '-', '@']);
    if plain {
        field.to_owned()
    } else {
        format!(
            "\"{}\"",
            field.replace('"', "\"\"").replace(['\n', '\r'], " ").trim_start_matches(['=', '+', '-', '@'])
        )
    }
}
