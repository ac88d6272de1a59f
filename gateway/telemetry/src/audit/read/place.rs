//! The folder that somebody meant who named another one beside it.

use std::path::{Path, PathBuf};

use super::super::bundle::CHECKPOINT;
use super::super::epoch::DIGITS;

/// The folder of the log where `folder` is not it: the one inside it, where it is a state folder, or one above, where it is the
/// log of one gateway or an epoch of that. None where it is a log, or nothing that is known here.
///
/// What lies in a log is never taken for one, so that nothing that was added to it hides what is wrong with it.
#[must_use]
pub fn meant(folder: &Path) -> Option<PathBuf> {
    if is_log(folder) {
        return None;
    }
    if is_home(folder) {
        return above(folder, 1);
    }
    if is_epoch(folder) {
        return above(folder, 2);
    }
    Some(folder.join("audit")).filter(|inside| is_log(inside))
}

fn is_log(folder: &Path) -> bool {
    folders_in(folder).any(|inside| is_home(&inside))
}

/// Whether epochs lie in it.
fn is_home(folder: &Path) -> bool {
    let is_number = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit())
    };
    folders_in(folder).any(|inside| is_number(&inside) && is_epoch(&inside))
}

fn is_epoch(folder: &Path) -> bool {
    folder.join("tile/entries").is_dir() || folder.join(CHECKPOINT).is_file()
}

fn folders_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

fn above(folder: &Path, levels: usize) -> Option<PathBuf> {
    let whole = folder.canonicalize().ok()?;
    whole.ancestors().nth(levels).map(Path::to_owned)
}
