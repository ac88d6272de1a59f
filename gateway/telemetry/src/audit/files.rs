//! Folders and files of the log: made for this user only, put in place whole, and kept through a loss of power.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How old a file is that no process makes any more: one takes milliseconds from its making to its place.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Makes a folder that nobody else can read, and those above it.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Does what needs a folder, and makes it only where it is missing: it nearly always is there.
pub(super) fn in_folder<T>(folder: &Path, mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match act() {
        Err(error) if error.kind() == ErrorKind::NotFound => make_folder(folder).and_then(|()| act()),
        done => done,
    }
}

/// Makes a folder that must not exist yet.
pub(super) fn claim_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Puts the names in `folder`, and in those above it up to `top`, on the disk.
pub(super) fn sync_up_to(folder: &Path, top: &Path) -> io::Result<()> {
    for folder in folder.ancestors() {
        sync_folder(folder)?;
        if folder == top {
            break;
        }
    }
    Ok(())
}

/// Puts the names in `folder` on the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Puts a whole file in its place: a crash leaves the one before or the new one, and never half of it.
///
/// It is written at `scratch` first, which lies on the same disk and outside the log.
pub(super) fn put(scratch: &Path, to: &Path, bytes: &[u8]) -> io::Result<()> {
    write(scratch, bytes)?.sync_data()?;
    rename(scratch, to)
}

/// Writes a file anew; it is in the system's memory then, and not on the disk.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Moves a file to its place and puts its name there on the disk.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    move_to(from, to)?;
    sync_folder(folder_of(to))
}

/// Moves a file to its place, in a folder that is made where it is missing. Its name is on the disk only when that folder is.
pub(super) fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    in_folder(folder_of(to), || fs::rename(from, to))
}

/// The folder that a file lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Removes the files in `scratch` that a process which died had no time to put in their place.
///
/// Others may be making theirs there, so only what has lain long enough goes. What cannot be removed waits for the next time.
pub(super) fn sweep(scratch: &Path, now: SystemTime) {
    for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
        let is_left = entry.metadata().is_ok_and(|file| {
            let age = file.modified().ok().and_then(|modified| now.duration_since(modified).ok());
            file.is_file() && age.is_some_and(|age| age > LEFT_BEHIND)
        });
        if is_left {
            let _ = fs::remove_file(entry.path());
        }
    }
}
