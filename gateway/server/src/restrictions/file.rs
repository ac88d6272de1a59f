//! The file that restrictions are kept in: whole or not at all, with its format's version, changed by one process at a time.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{MOST_RESTRICTIONS, Restrictions};

/// The format that this release writes. It reads no newer one.
pub const FORMAT_VERSION: u32 = 1;

/// Why restrictions cannot be read, kept or added.
#[derive(Debug, thiserror::Error)]
pub enum RestrictionsError {
    /// A file operation failed.
    #[error("{}: what is held back cannot be {doing}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is torn, edited or not ours.
    #[error("{}: {what}; what it held back is not known, so nothing is served; put the file right, or remove it to hold nothing back", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A newer release wrote the file.
    #[error("{}: has format version {version}, and this release reads {FORMAT_VERSION}; it was written by a newer causeway", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// There are as many as there may be.
    #[error("{MOST_RESTRICTIONS} restrictions stand already; lift some, or change the configuration")]
    TooMany,
}

/// What a file looks like from outside.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Where restrictions are kept.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    /// The file as it was last read or written here.
    seen: Cell<Stamp>,
    /// What is in force has not been written.
    lags: Cell<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    restrictions: Restrictions,
}

impl Home {
    pub(super) fn at(state_folder: &Path) -> Self {
        let path = state_folder.join("restrictions").join("restrictions.json");
        Self { path, seen: Cell::new(None), lags: Cell::new(false) }
    }

    /// Whether the file looks otherwise than when it was last read or written.
    pub(super) fn has_changed(&self) -> bool {
        !self.lags.get() && stamp(&self.path) != self.seen.get()
    }

    /// Whether what is in force could not be written.
    pub(super) fn lags(&self) -> bool {
        self.lags.get()
    }

    /// What is in force could not be written.
    pub(super) fn lag(&self) {
        self.lags.set(true);
    }

    /// Reads the file and remembers what it looked like. No file holds nothing back.
    pub(super) fn read(&mut self) -> Result<Restrictions, RestrictionsError> {
        // Looked at first: a change between look and reading is then found at the next look.
        let seen = stamp(&self.path);
        let restrictions = self.peek()?;
        self.seen.set(seen);
        Ok(restrictions)
    }

    pub(super) fn peek(&self) -> Result<Restrictions, RestrictionsError> {
        let path = || self.path.clone();
        let damaged = |what: String| RestrictionsError::Damaged { path: path(), what };
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Restrictions::default()),
            Err(source) => return Err(RestrictionsError::Io { doing: "read", path: path(), source }),
        };
        let any: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(format!("is not whole: {error}")))?;
        // The version comes first: the rest of a newer file may look like anything.
        match any.get("format_version").and_then(serde_json::Value::as_u64) {
            Some(version) if version > u64::from(FORMAT_VERSION) => {
                return Err(RestrictionsError::Newer { path: path(), version });
            }
            Some(version) if version == u64::from(FORMAT_VERSION) => {}
            _ => return Err(damaged("has no known format version".to_owned())),
        }
        let stored: Stored = serde_json::from_value(any).map_err(|error| damaged(format!("is not whole: {error}")))?;
        Ok(stored.restrictions)
    }

    /// Replaces the file: the bytes are on the disk before the name points to them, and then the name is.
    pub(super) fn write(&self, restrictions: &Restrictions) -> Result<(), RestrictionsError> {
        let fail = |source| RestrictionsError::Io { doing: "kept", path: self.path.clone(), source };
        let stored = Stored { format_version: FORMAT_VERSION, restrictions: restrictions.clone() };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| fail(error.into()))?;
        let folder = self.folder().map_err(fail)?;
        let temporary = folder.join(format!(".restrictions.{}.tmp", std::process::id()));
        let replaced = replace(&temporary, &self.path, folder, &bytes);
        if replaced.is_err() {
            // The old file is untouched; a leftover would only puzzle somebody.
            let _ = fs::remove_file(&temporary);
        }
        replaced.map_err(fail)?;
        self.seen.set(stamp(&self.path));
        self.lags.set(false);
        Ok(())
    }

    /// Keeps other processes from changing the file until the lock is dropped.
    pub(super) fn alone(&self) -> Result<File, RestrictionsError> {
        let fail = |source| RestrictionsError::Io { doing: "locked", path: self.path.clone(), source };
        let path = self.folder().map_err(fail)?.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(fail)?;
        lock.lock().map_err(fail)?;
        Ok(lock)
    }

    fn folder(&self) -> io::Result<&Path> {
        let folder = self.path.parent().unwrap_or(&self.path);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(folder)
    }
}

fn replace(temporary: &Path, path: &Path, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    File::open(folder)?.sync_all()
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
