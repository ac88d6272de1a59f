//! A turn that one process of a folder has at a time: the lock of a file.
//!
//! **Promises.** Whoever waits for it waits for a bounded time: a process that was stopped while it had the turn stops no other one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often it is asked for again.
const ASKED_EVERY: Duration = Duration::from_millis(5);

/// The turn that this file stands for, until it is dropped; the file is made where there is none, for this user alone. It blocks
/// its thread.
///
/// # Errors
///
/// When the file cannot be used, and [`io::ErrorKind::TimedOut`] where another process has the turn for all of `within`.
pub fn turn(path: &Path, within: Duration) -> io::Result<File> {
    try_turn(path, within)?.ok_or_else(|| {
        let path = path.display();
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "another process has `{path}` locked for longer than {within:?}; see whether one hangs, and end it"
            ),
        )
    })
}

/// The same; nothing where another process has it.
pub(crate) fn try_turn(path: &Path, within: Duration) -> io::Result<Option<File>> {
    let begun = Instant::now();
    // Also to be read: over NFS a lock for oneself needs a file that may be written, and one for several a file that may be read.
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = open.map_err(at(path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(at(path)(error)),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= within => return Ok(None),
            Err(TryLockError::WouldBlock) => pause(ASKED_EVERY),
        }
    }
}

/// An error with the file that it is about.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "it stops a thread that serves nobody")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_another_has_is_waited_for_no_longer_than_said_and_the_file_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("turn");
        let held = turn(&path, Duration::ZERO).expect("nobody has it");

        let refused = turn(&path, Duration::from_millis(20)).expect_err("it is held");
        drop(held);
        let next = turn(&path, Duration::ZERO);
        let nowhere = turn(&folder.path().join("none/turn"), Duration::ZERO).expect_err("there is no such folder");

        assert_eq!((refused.kind(), nowhere.kind()), (io::ErrorKind::TimedOut, io::ErrorKind::NotFound));
        assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
        assert!(nowhere.to_string().contains("none/turn"), "{nowhere}");
        assert!(next.is_ok());
    }
}
