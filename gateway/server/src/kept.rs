//! A small file of what must outlive the process: whole or not at all, with its format's version, changed by one process at a
//! time. A file that is damaged or of a newer version is an error and never an empty one.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The format that this release writes. It reads no newer one.
pub const FORMAT_VERSION: u32 = 1;

/// The longest that a change waits for one of another process: that one may have been stopped in the middle of it.
const ALONE_IN: Duration = Duration::from_secs(2);

/// Why a file cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// A file operation failed.
    #[error("{}: it cannot be {doing}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is torn, edited or not ours.
    #[error("{}: it {what}; what it said is not known, so nothing is served; put the file right, or remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// Another process changed the file after it was looked at.
    #[error("{}: another process changed it meanwhile; look again, and ask again", .0.display())]
    Changed(PathBuf),
    /// A newer release wrote the file.
    #[error("{}: has format version {version}, and this release reads {FORMAT_VERSION}; it was written by a newer causeway", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
}

/// What a file looks like from outside.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Where a `T` is kept.
#[derive(Debug)]
pub(crate) struct Home<T> {
    path: PathBuf,
    /// The member of the file that holds it.
    member: &'static str,
    /// The file as it was last read or written here.
    seen: Cell<Stamp>,
    kept: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned + Default> Home<T> {
    /// In a folder of its own name below the state folder.
    pub(crate) fn at(state_folder: &Path, member: &'static str) -> Self {
        let path = state_folder.join(member).join(format!("{member}.json"));
        Self { path, member, seen: Cell::new(None), kept: PhantomData }
    }

    /// Whether the file looks otherwise than when it was last read or written.
    pub(crate) fn has_changed(&self) -> bool {
        stamp(&self.path) != self.seen.get()
    }

    /// Whether the file was read or written here, and is gone.
    pub(crate) fn has_vanished(&self) -> bool {
        self.seen.get().is_some()
            && fs::metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Reads the file and remembers what it looked like. Where there is no file it is the empty one.
    pub(crate) fn read(&mut self) -> Result<T, KeptError> {
        Ok(self.read_found()?.unwrap_or_default())
    }

    /// Reads the file and remembers what it looked like; none where there is no file.
    pub(crate) fn read_found(&mut self) -> Result<Option<T>, KeptError> {
        // Looked at first: a change between look and reading is then found at the next look.
        let seen = stamp(&self.path);
        let found = self.found()?;
        if found.is_some() {
            self.seen.set(seen);
        }
        Ok(found)
    }

    /// What the file holds; none where there is no file.
    pub(crate) fn found(&self) -> Result<Option<T>, KeptError> {
        let path = || self.path.clone();
        let damaged = |what: String| KeptError::Damaged { path: path(), what };
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeptError::Io { doing: "read", path: path(), source }),
        };
        let any: Value = serde_json::from_slice(&bytes).map_err(|error| damaged(format!("is not whole: {error}")))?;
        // The version comes first: the rest of a newer file may look like anything.
        match any.get("format_version").and_then(Value::as_u64) {
            Some(version) if version > u64::from(FORMAT_VERSION) => {
                return Err(KeptError::Newer { path: path(), version });
            }
            Some(version) if version == u64::from(FORMAT_VERSION) => {}
            _ => return Err(damaged("has no known format version".to_owned())),
        }
        let kept = any.get(self.member).cloned().unwrap_or_default();
        serde_json::from_value(kept).map(Some).map_err(|error| damaged(format!("is not whole: {error}")))
    }

    /// Replaces the file: the bytes are on the disk before the name points to them, and then the name is.
    pub(crate) fn write(&self, kept: &T) -> Result<(), KeptError> {
        let fail = |source| KeptError::Io { doing: "kept", path: self.path.clone(), source };
        let value = serde_json::to_value(kept).map_err(|error| fail(error.into()))?;
        let stored = json!({ "format_version": FORMAT_VERSION, self.member: value });
        let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| fail(error.into()))?;
        let folder = self.folder().map_err(fail)?;
        let temporary = folder.join(format!(".{}.{}.tmp", self.member, std::process::id()));
        let replaced = replace(&temporary, &self.path, folder, &bytes);
        if replaced.is_err() {
            // The old file is untouched; a leftover would only puzzle somebody.
            let _ = fs::remove_file(&temporary);
        }
        replaced.map_err(fail)?;
        self.seen.set(stamp(&self.path));
        Ok(())
    }

    /// As [`Self::write`], where the file is still as it was last read or written here; asked [alone](Self::alone). One that was
    /// removed by hand says the empty `T`, which `before` has to be then.
    pub(crate) fn write_over(&self, before: &T, kept: &T) -> Result<(), KeptError>
    where
        T: PartialEq,
    {
        let is_same = if self.has_vanished() { *before == T::default() } else { !self.has_changed() };
        if is_same { self.write(kept) } else { Err(KeptError::Changed(self.path.clone())) }
    }

    /// Keeps other processes from changing the file until the lock is dropped. It blocks its thread, for [`ALONE_IN`] at most.
    pub(crate) fn alone(&self) -> Result<File, KeptError> {
        self.alone_within(ALONE_IN)
    }

    fn alone_within(&self, within: Duration) -> Result<File, KeptError> {
        let fail = |source| KeptError::Io { doing: "locked", path: self.path.clone(), source };
        ledger::turn(&self.folder().map_err(fail)?.join("lock"), within).map_err(fail)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_that_hangs_in_a_change_is_waited_for_no_longer_than_said() {
        let folder = tempfile::tempdir().unwrap();
        let home = || Home::<Vec<u32>>::at(folder.path(), "numbers");
        let hangs = home().alone().unwrap();

        let refused = home().alone_within(Duration::from_millis(20)).unwrap_err().to_string();
        drop(hangs);

        assert!(refused.contains("numbers/lock") && refused.contains("see whether one hangs"), "{refused}");
        assert!(home().alone_within(Duration::ZERO).is_ok());
    }
}
