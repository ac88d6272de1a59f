//! Folders and files of the log: made for this user only, put in place whole, and kept through a loss of power.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

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
        File::open(folder)?.sync_all()?;
        if folder == top {
            break;
        }
    }
    Ok(())
}

/// Puts a whole file in its place: a crash leaves the one before or the new one, and never half of it.
///
/// It is written at `scratch` first, which lies on the same disk and outside the log.
pub(super) fn put(scratch: &Path, to: &Path, bytes: &[u8]) -> io::Result<()> {
    place(scratch, to, bytes)?;
    sync_folder_of(to)
}

/// The same, but for its name: that is on the disk only when its folder is, see [`sync_up_to`].
pub(super) fn place(scratch: &Path, to: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(scratch)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    drop(file);
    move_to(scratch, to)
}

/// Moves a file to its place and puts its name there on the disk.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    move_to(from, to)?;
    sync_folder_of(to)
}

fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    in_folder(folder_of(to), || fs::rename(from, to))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder that a file lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}
