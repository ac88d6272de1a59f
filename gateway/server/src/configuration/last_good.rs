//! The last good document, kept in the state folder, so that a restart with a broken one can still serve.
//!
//! It holds the texts of the files, of the policies and of the data pack with their hashes, and no key: keys stand in the environment or in
//! files, and are read anew when it is loaded, from the places that it names. The hashes find a torn or edited copy; they are
//! no signature, so the state folder must be writable by the gateway alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::sources::{Source, Sources, hash_of};
use super::stamps::Stamps;

/// The format that this release writes. It reads no newer one.
///
/// Version 1 held no policies and version 2 no data pack; they are read, and what they do not hold is read from the folder that
/// they name.
pub const FORMAT_VERSION: u32 = 3;

/// A document that was once checked and served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// Its files. `load_sources` compiles them.
    pub sources: Sources,
    /// Its hash, as in [`Sources::hash`].
    pub hash: String,
    /// When it was saved, to the second.
    pub saved_at: SystemTime,
}

/// Why the last good document cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// A file operation failed.
    #[error("{path}: cannot {doing} the last good configuration: {source}", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file is torn, edited or not ours.
    #[error("{path}: {what}; remove it once a good configuration is in place", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A newer release wrote the file.
    #[error("{path}: has format version {version}, and this release reads {FORMAT_VERSION} and below; it was written by a newer causeway", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
}

/// The file as it lies on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    /// Seconds since 1970.
    saved_at: u64,
    hash: String,
    root: PathBuf,
    is_folder: bool,
    files: Vec<StoredFile>,
    /// The policies of `[policy] folder`; none where the shipped ones were in force. Version 1 says nothing of them.
    #[serde(default)]
    policies: Option<Vec<StoredPolicy>>,
    /// The data pack of `[policy] data`; none where the shipped one was in force.
    #[serde(default)]
    data: Option<Vec<StoredPolicy>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPolicy {
    name: String,
    hash: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFile {
    path: PathBuf,
    base: PathBuf,
    hash: String,
    text: String,
}

/// Names and texts of files.
type Texts = [(String, String)];

/// Where the last good document lies in a state folder.
fn location(state_folder: &Path) -> PathBuf {
    state_folder.join("last-good").join("configuration.json")
}

/// Keeps `sources`, and the policies and the data pack that were read with them, as the last good document: whole or not at all, readable by
/// the gateway alone.
///
/// # Errors
///
/// Where the file cannot be written; the one before it is then still there.
pub fn save(
    state_folder: &Path,
    sources: &Sources,
    (policies, data): (&Texts, &Texts),
    now: SystemTime,
) -> Result<(), LastGoodError> {
    let path = location(state_folder);
    let folder = path.parent().unwrap_or(state_folder).to_owned();
    let fail = |source| LastGoodError::Io { doing: "write", path: path.clone(), source };
    let file = |file: &Source| StoredFile {
        path: file.path.clone(),
        base: file.base.clone(),
        hash: file.hash(),
        text: file.text.clone(),
    };
    let stored = Stored {
        format_version: FORMAT_VERSION,
        saved_at: now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
        hash: sources.hash(),
        root: std::path::absolute(&sources.root).unwrap_or_else(|_| sources.root.clone()),
        is_folder: sources.is_folder,
        files: sources.files.iter().map(file).collect(),
        policies: Some(policies.iter().map(stored_policy).collect()),
        data: (!data.is_empty()).then(|| data.iter().map(stored_policy).collect()),
    };
    let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| fail(error.into()))?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(fail)?;
    let temporary = folder.join(format!(".configuration.{}.tmp", std::process::id()));
    let written = replace(&temporary, &path, &folder, &bytes);
    if written.is_err() {
        // The old file is untouched; a leftover would only puzzle somebody.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(fail)
}

fn stored_policy((name, text): &(String, String)) -> StoredPolicy {
    StoredPolicy { name: name.clone(), hash: hash_of(text), text: text.clone() }
}

/// Power may go at any moment: the bytes are on disk before the name points to them, and then the name is.
fn replace(temporary: &Path, path: &Path, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Reads the last good document back; `None` where there has never been one.
///
/// # Errors
///
/// Where the file cannot be read, does not fit its hashes, or was written by a newer release.
pub fn read(state_folder: &Path) -> Result<Option<LastGood>, LastGoodError> {
    let path = location(state_folder);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LastGoodError::Io { doing: "read", path, source }),
    };
    let damaged = |what: String| LastGoodError::Damaged { path: path.clone(), what };
    let any: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(format!("is not whole: {error}")))?;
    // The version comes first: the rest of a newer file may look like anything.
    match any.get("format_version").and_then(serde_json::Value::as_u64) {
        Some(version) if version > u64::from(FORMAT_VERSION) => return Err(LastGoodError::Newer { path, version }),
        Some(1..=3) => {}
        _ => return Err(damaged("has no known format version".to_owned())),
    }
    let stored: Stored = serde_json::from_value(any).map_err(|error| damaged(format!("is not whole: {error}")))?;
    restore(stored).map(Some).map_err(damaged)
}

fn restored_policy(policy: StoredPolicy) -> Result<(String, String), String> {
    if hash_of(&policy.text) != policy.hash {
        return Err(format!("the text of `{}` does not fit its hash", policy.name));
    }
    Ok((policy.name, policy.text))
}

fn restore(stored: Stored) -> Result<LastGood, String> {
    let mut files = Vec::new();
    for file in stored.files {
        let source = Source { path: file.path, base: file.base, text: file.text };
        if source.hash() != file.hash {
            return Err(format!("the text of `{}` does not fit its hash", source.path.display()));
        }
        files.push(source);
    }
    let texts = |all: Option<Vec<StoredPolicy>>| {
        all.map(|all| all.into_iter().map(restored_policy).collect::<Result<Vec<_>, _>>()).transpose()
    };
    let (policies, data) = (texts(stored.policies)?, texts(stored.data)?);
    let sources =
        Sources { root: stored.root, is_folder: stored.is_folder, files, policies, data, stamps: Stamps::default() };
    if sources.hash() != stored.hash {
        return Err("the files do not fit the hash of the whole".to_owned());
    }
    let saved_at = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(stored.saved_at))
        .ok_or_else(|| "the date it was saved lies beyond all time".to_owned())?;
    Ok(LastGood { sources, hash: stored.hash, saved_at })
}
