//! Who is there of the processes of one state folder, by files that each of them holds locked while it lives.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::stillness::Stamp;
use crate::turn::{at, try_turn, turn};

/// What the names of marks end in.
const MARK: &str = "here";

/// And before they have them.
const UNNAMED: &str = "new";

/// Whose marks were found. Of whoever had one before and is in neither, somebody has removed it.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// They hold theirs.
    pub(super) there: BTreeSet<String>,
    /// They hold theirs no longer.
    pub(super) dead: BTreeSet<String>,
}

/// The folder of the marks, below the state folder.
pub(super) struct Marks {
    folder: PathBuf,
}

impl Marks {
    pub(super) fn below(state_folder: &Path) -> Self {
        Self { folder: state_folder.join("beside") }
    }

    /// The database that lies beside them.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("leases.sqlite")
    }

    pub(super) fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    /// What the folder looks like: another way whenever a mark was made or removed since, or given its name.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        Stamp::of(&self.folder).ok()
    }

    /// One process comes or goes at a time.
    pub(super) fn turn(&self, within: Duration) -> io::Result<File> {
        turn(&self.folder.join("turn"), within)
    }

    /// The same for whoever must not wait; nothing where another process has it.
    pub(super) fn turn_if_free(&self) -> io::Result<Option<File>> {
        try_turn(&self.folder.join("turn"), Duration::ZERO)
    }

    /// The turn to take over what the ledger says; nothing where another process has it for all of `within`.
    pub(super) fn reads(&self, within: Duration) -> io::Result<Option<File>> {
        try_turn(&self.folder.join("reads"), within)
    }

    /// Locked before it has its name, so that nobody takes it for that of a dead process. It is called in the turn of the folder.
    pub(super) fn make(&self, owner: &str) -> io::Result<File> {
        self.remove_unnamed()?;
        let unnamed = self.folder.join(format!("{owner}.{UNNAMED}"));
        let mark = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unnamed)?;
        mark.lock()?;
        std::fs::rename(&unnamed, self.of(owner))?;
        Ok(mark)
    }

    pub(super) fn has(&self, owner: &str) -> bool {
        self.of(owner).exists()
    }

    pub(super) fn remove(&self, owner: &str) {
        let _ = std::fs::remove_file(self.of(owner));
    }

    /// The processes that are there beside `me`. The marks of those that died are removed.
    pub(super) fn others(&self, me: &str) -> io::Result<Others> {
        let mut others = Others::default();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let (Some(name), Some(MARK)) =
                (path.file_stem().and_then(|name| name.to_str()), path.extension().and_then(|end| end.to_str()))
            else {
                continue;
            };
            if name == me {
                continue;
            }
            // Over NFS nothing can be locked that may not be written.
            let mark = match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(mark) => mark,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at(&path)(error)),
            };
            match mark.try_lock() {
                Ok(()) => {
                    let _ = std::fs::remove_file(&path);
                    others.dead.insert(name.to_owned());
                }
                Err(TryLockError::WouldBlock) => {
                    others.there.insert(name.to_owned());
                }
                Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
            }
        }
        Ok(others)
    }

    fn of(&self, owner: &str) -> PathBuf {
        self.folder.join(format!("{owner}.{MARK}"))
    }

    /// What somebody left that died before its mark had a name. It is called in the turn of the folder.
    fn remove_unnamed(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == UNNAMED) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}
