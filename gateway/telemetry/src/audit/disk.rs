//! What the keeper does to the disk, and how many files are on their way there at once.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::files;

/// Most files that are on their way to the disk at once, each with a descriptor: as many as a checkpoint has at 1,600 requests
/// a second.
pub(super) const MOST_AT_ONCE: usize = 64;

/// Where bundles, tiles and checkpoints go. The second implementation is the one that fails on demand in the tests.
pub(super) trait Disk: Send + Sync {
    /// Opens a file that somebody else has written.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Writes a file anew, in the memory of the system.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<File>;
    /// Has the system begin to put a file on the disk, and waits for nothing: a hint that may come to nothing.
    ///
    /// Nothing may be appended to the file from now on.
    fn start(&self, file: &File);
    /// Waits until the disk has what is in a file.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Moves a file to its place, whose folder is made where it is missing.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Waits until the disk has the names in a folder.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The disk of this machine.
pub(super) struct Local;

impl Disk for Local {
    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<File> {
        files::write(path, bytes)
    }

    /// Files that are written and waited for one after the other cost a trip to the disk each, and a commit of the file
    /// system's journal. Those that have begun together share most of that, a quarter of the processor time.
    ///
    /// The advice to forget a file does it: Linux begins to write what is dirty, and then forgets what is not. An append
    /// behind a piece of a page that it forgot would have to read that first, on a request's thread.
    fn start(&self, file: &File) {
        let _ = fadvise(file, 0, None, Advice::DontNeed);
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        files::move_to(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        files::sync_folder(folder)
    }
}

/// A file that is made whole before it takes its place; where it does not, it is removed.
pub(super) struct Made {
    pub(super) file: File,
    scratch: Scratch,
}

struct Scratch(Option<PathBuf>);

impl Made {
    /// Writes it at `scratch`, which lies on the same disk as its place and outside the log.
    pub(super) fn at(scratch: PathBuf, bytes: &[u8], disk: &dyn Disk) -> io::Result<Self> {
        let written = disk.write(&scratch, bytes);
        // What could not be written whole is removed as well.
        let scratch = Scratch(Some(scratch));
        Ok(Self { file: written?, scratch })
    }

    /// Puts it in its place, once the disk has what is in it; its name is there when the folder was waited for as well.
    pub(super) fn place(mut self, to: &Path, disk: &dyn Disk) -> io::Result<()> {
        if let Some(scratch) = &self.scratch.0 {
            disk.rename(scratch, to)?;
        }
        self.scratch.0 = None;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What is left all the same is overwritten by the next try, or swept up by a later process.
            let _ = fs::remove_file(path);
        }
    }
}

/// As many of `wanted` as can be had, and no more than [`MOST_AT_ONCE`]; the first must be.
///
/// What cannot be had behind others ends them: it is the first of the next ones, and fails then if it still does. So a disk
/// takes what it has room for, and where descriptors are short fewer are on their way at once.
pub(super) fn as_many_as_go<T, U>(
    wanted: impl IntoIterator<Item = T>,
    get: impl FnMut(T) -> io::Result<U>,
) -> io::Result<Vec<U>> {
    let mut got = Vec::new();
    for one in wanted.into_iter().take(MOST_AT_ONCE).map(get) {
        match one {
            Ok(one) => got.push(one),
            Err(error) if got.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(got)
}
