//! `causeway prices import | list`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use accounting::{Catalogue, Day, PROVIDERS, SHIPPED, import_litellm};
use clap::Subcommand;
use serde_json::json;

use super::{NO, UNKNOWN};

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a price catalogue from LiteLLM's price table, for `[prices] file`. Nothing is fetched.
    Import {
        /// LiteLLM's `model_prices_and_context_window.json`, or a catalogue of ours, which is checked.
        file: PathBuf,
        /// Where to write the catalogue; absent: to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The day on which the prices were taken, `2026-11-26`; absent: the day on which FILE was changed last.
        #[arg(long, value_name = "DAY")]
        taken: Option<String>,
        /// Where the table is from, for the catalogue's own line about that.
        #[arg(long, default_value = "LiteLLM, model_prices_and_context_window.json, MIT, Copyright (c) 2023 Berri AI")]
        source: String,
        /// Every provider, and not only those that are asked over private links or by contract.
        #[arg(long)]
        all: bool,
    },
    /// List the entries of a catalogue whose names hold a word.
    List {
        /// What the names hold; absent: all.
        word: Option<String>,
        /// The catalogue; absent: the shipped one.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Import { file, out, taken, source, all } => {
            let providers: &[&str] = if *all { &[] } else { &PROVIDERS };
            import(file, out.as_deref(), taken.as_deref(), (source, providers))
        }
        Command::List { word, file, json } => list(word.as_deref().unwrap_or_default(), file.as_deref(), *json),
    };
    done.unwrap_or_else(|(code, message)| {
        eprintln!("{message}");
        ExitCode::from(code)
    })
}

type Failed = (u8, String);

/// Largest table that is read, in bytes; `LiteLLM`'s has 3.2 MB.
const MOST_BYTES: u64 = 64 << 20;

fn read(path: &Path) -> Result<String, Failed> {
    let unread = |error: std::io::Error| (UNKNOWN, format!("{} cannot be read: {error}", path.display()));
    if std::fs::metadata(path).map_err(unread)?.len() > MOST_BYTES {
        return Err((UNKNOWN, format!("{} is larger than {MOST_BYTES} bytes", path.display())));
    }
    std::fs::read_to_string(path).map_err(unread)
}

/// The day of the last change of the file, UTC.
fn day_of(path: &Path) -> Option<Day> {
    let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    Some(Day::of_seconds(changed.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()))
}

fn import(
    file: &Path,
    out: Option<&Path>,
    taken: Option<&str>,
    (source, providers): (&str, &[&str]),
) -> Result<ExitCode, Failed> {
    let text = read(file)?;
    let refused = |fault: String| (NO, format!("{}: {fault}", file.display()));
    let (catalogue, left_out) = if text.starts_with("causeway-prices ") {
        (Catalogue::parse(&text).map_err(|error| refused(error.to_string()))?, String::new())
    } else {
        let day = match taken {
            Some(text) => {
                Day::parse(text).ok_or_else(|| (2, format!("`{text}` is no day; write it as `2026-11-26`")))?
            }
            None => day_of(file).ok_or_else(|| (2, "the file has no date; give `--taken 2026-11-26`".to_owned()))?,
        };
        let imported = import_litellm(&text, day, source, providers).map_err(|error| refused(error.to_string()))?;
        for name in &imported.unreadable {
            eprintln!("left out: the price of `{name}` cannot be read exactly");
        }
        let left_out = format!(
            "; left out: {} of other providers or kinds, {} without a price by the token, {} unreadable",
            imported.unwanted,
            imported.unpriced,
            imported.unreadable.len()
        );
        (imported.catalogue, left_out)
    };
    let written = catalogue.to_string();
    match out {
        None => print!("{written}"),
        Some(path) => std::fs::write(path, written)
            .map_err(|error| (UNKNOWN, format!("{} cannot be written: {error}", path.display())))?,
    }
    eprintln!("{} entries, taken {}{left_out}", catalogue.len(), catalogue.taken);
    Ok(ExitCode::SUCCESS)
}

fn list(word: &str, file: Option<&Path>, as_json: bool) -> Result<ExitCode, Failed> {
    let text = file.map_or_else(|| Ok(SHIPPED.to_owned()), read)?;
    let catalogue = Catalogue::parse(&text).map_err(|error| (NO, format!("the catalogue is at fault: {error}")))?;
    let mut rows = Vec::new();
    for name in catalogue.names().filter(|name| name.contains(word)) {
        let Some(price) = catalogue.price(name) else { continue };
        let base = price.standard.base;
        let figures = [base.input.to_string(), base.cached_input.to_string(), base.output.to_string()];
        rows.push((name, figures));
    }
    if as_json {
        let entry = |(name, [input, cached, output]): &(&str, [String; 3])| json!({ "name": name, "input": input, "cached_input": cached, "output": output });
        let entries: Vec<_> = rows.iter().map(entry).collect();
        println!(
            "{}",
            json!({ "taken": catalogue.taken.to_string(), "source": catalogue.source, "usd_per_million": entries })
        );
    } else {
        println!("dollars per million tokens, taken {} from {}", catalogue.taken, catalogue.source);
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        println!("{:width$}  {:>10}  {:>10}  {:>10}", "", "input", "cached", "output");
        for (name, [input, cached, output]) in &rows {
            println!("{name:width$}  {input:>10}  {cached:>10}  {output:>10}");
        }
    }
    Ok(if rows.is_empty() { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}
