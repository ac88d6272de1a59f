//! Who is there of the processes of one state folder, by files that each of them holds locked while it lives.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What the names of marks end in.
const MARK: &str = "here";

/// And before they have them.
const UNNAMED: &str = "new";

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

    /// One process comes or goes at a time.
    pub(super) fn turn(&self) -> io::Result<File> {
        let path = self.folder.join("turn");
        let turn = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        turn.lock()?;
        Ok(turn)
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
    pub(super) fn others(&self, me: &str) -> io::Result<BTreeSet<String>> {
        let mut others = BTreeSet::new();
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
            let mark = match File::open(&path) {
                Ok(mark) => mark,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match mark.try_lock() {
                Ok(()) => {
                    let _ = std::fs::remove_file(&path);
                }
                Err(TryLockError::WouldBlock) => {
                    others.insert(name.to_owned());
                }
                Err(TryLockError::Error(error)) => return Err(error),
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
