//! Folders of policies, and the shipped ones where none is named.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use policy::{Fault, Names, PolicyFile, ReadOptions, Rules, SHIPPED, Strictness};
use serde_json::{Value, json};
use server::configuration;

/// Largest file that is read, in bytes: as large as the gateway takes.
const LARGEST_FILE: u64 = 4 << 20;

/// Texts of files by name.
pub(super) struct Files(pub(super) Vec<(String, String)>);

impl Files {
    /// The files of a folder with one of these extensions, by name; or one file, whatever its name.
    pub(super) fn read(path: &Path, extensions: &[&str]) -> io::Result<Self> {
        let said =
            |error: io::Error| io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display()));
        if path.is_file() {
            return Ok(Self(vec![(path.display().to_string(), read_bounded(path).map_err(said)?)]));
        }
        let mut entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(said)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut files = Vec::new();
        for file in entries.into_iter().map(|entry| entry.path()) {
            let is_hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let extension = file.extension().and_then(|found| found.to_str()).unwrap_or_default();
            if !is_hidden && extensions.contains(&extension) {
                files.push((file.display().to_string(), read_bounded(&file).map_err(said)?));
            }
        }
        if files.is_empty() {
            let message = format!("{} holds no file `*.{}`", path.display(), extensions.join("`, `*."));
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(Self(files))
    }

    /// The policies of `folder`, or the shipped ones.
    pub(super) fn policies(folder: Option<&Path>) -> io::Result<Self> {
        match folder {
            Some(folder) => Self::read(folder, &["cedar"]),
            None => Ok(Self(SHIPPED.iter().map(|file| (file.name.to_owned(), file.text.to_owned())).collect())),
        }
    }

    pub(super) fn as_policy_files(&self) -> Vec<PolicyFile<'_>> {
        self.0.iter().map(|(name, text)| PolicyFile { name, text }).collect()
    }

    pub(super) fn rules(&self, strictness: Strictness, names: &Names) -> Result<(Rules, Vec<Fault>), Vec<Fault>> {
        let options = ReadOptions { strictness, off: &BTreeMap::new(), names };
        Rules::read(&self.as_policy_files(), &options)
    }
}

/// The names that hold without a configuration. Labels and recognisers of one's own stand in a configuration, so
/// none is wrong here.
pub(super) fn names_without_configuration() -> Names {
    let known = Names::of_pack(configuration::pack().groups().keys().cloned());
    Names { labels: None, ..known.with_findings(["custom".to_owned()]) }
}

fn read_bounded(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > LARGEST_FILE {
        return Err(io::Error::other(format!("{} is larger than {LARGEST_FILE} bytes", file.display())));
    }
    fs::read_to_string(file)
}

/// Every fault on a line of its own.
pub(super) fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Faults for programs.
pub(super) fn values(faults: &[Fault]) -> Vec<Value> {
    let value = |fault: &Fault| {
        json!({
            "file": fault.file, "line": fault.line, "column": fault.column, "message": fault.message, "remedy": fault.remedy,
        })
    };
    faults.iter().map(value).collect()
}
