//! `causeway policy format` and `export`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cedar_policy_formatter::{Config, policies_str_to_pretty};
use policy::{PolicyFile, Rules, SHIPPED, SHIPPED_GOALS, SHIPPED_SCHEMA, SHIPPED_TESTS};

use super::files::{Files, lines};
use crate::commands::NO;

/// What is formatted.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// A folder of `*.cedar` files, or one file.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Change nothing; exit 1 when a file is not in the one form.
    #[arg(long)]
    check: bool,
}

/// Where the shipped files go.
#[derive(clap::Args)]
pub(in crate::commands) struct Export {
    /// A folder that does not exist yet.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let files = match Files::read(&arguments.path, &["cedar"]) {
        Ok(files) => files,
        Err(error) => return super::not_found_out(error),
    };
    let faults = Rules::syntax(&files.as_policy_files());
    if !faults.is_empty() {
        eprintln!("{}", lines(&faults));
        return ExitCode::from(NO);
    }
    match changed(arguments, &files) {
        Ok(changed) => {
            changed.iter().for_each(|file| println!("{file}"));
            if arguments.check && !changed.is_empty() { ExitCode::from(NO) } else { ExitCode::SUCCESS }
        }
        Err(error) => super::not_found_out(error),
    }
}

/// The files that were not in the one form; now they are, unless they are only looked at.
fn changed(arguments: &Arguments, files: &Files) -> io::Result<Vec<String>> {
    let mut changed = Vec::new();
    for (name, text) in &files.0 {
        let pretty = pretty(text).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        if pretty != *text {
            if !arguments.check {
                replace(Path::new(name), &pretty)?;
            }
            changed.push(name.clone());
        }
    }
    Ok(changed)
}

/// The one form: 120 columns, two spaces, comments kept.
fn pretty(text: &str) -> Result<String, String> {
    let config = Config { line_width: 120, indent_width: 2 };
    let mut pretty = policies_str_to_pretty(text, &config).map_err(|error| error.to_string())?;
    pretty.truncate(pretty.trim_end().len());
    pretty.push('\n');
    Ok(pretty)
}

/// A gateway that reads the folder meanwhile sees the old text or the new one, never a half.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = file.with_file_name(format!(".{name}.formatted"));
    fs::write(&beside, text)?;
    fs::set_permissions(&beside, fs::metadata(file)?.permissions())?;
    fs::rename(&beside, file)
}

pub(super) fn export(arguments: &Export) -> ExitCode {
    match write_all(&arguments.folder) {
        Ok(count) => {
            println!("{count} files in {}", arguments.folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => super::not_found_out(format!("{}: {error}", arguments.folder.display())),
    }
}

/// Never over what is there: a policy that somebody wrote is not to be lost.
fn write_all(folder: &Path) -> io::Result<usize> {
    fs::create_dir(folder)?;
    fs::create_dir(folder.join("goals"))?;
    fs::create_dir(folder.join("tests"))?;
    let all: Vec<&PolicyFile<'_>> =
        SHIPPED.iter().chain(SHIPPED_GOALS).chain(SHIPPED_TESTS).chain([&SHIPPED_SCHEMA]).collect();
    for file in &all {
        fs::write(folder.join(file.name), file.text)?;
    }
    Ok(all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_is_in_the_one_form() {
        for file in SHIPPED.iter().chain(SHIPPED_GOALS) {
            assert_eq!(pretty(file.text).unwrap(), file.text, "{}", file.name);
        }
    }
}
