//! Copies of the checkpoints in a second place, where the gateway's operator cannot write what stands there already.
//!
//! Each is appended to `<folder>/<origin>/<epoch>.checkpoints`, so that a place which takes appends only is enough. It
//! happens on a thread of its own: a place that hangs holds up nothing but the copies.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// After this time a copy that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The second place of an epoch's checkpoints.
#[derive(Debug)]
pub(super) struct Witness {
    file: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The latest checkpoint that is not copied: its size and its note.
    next: Option<(u64, String)>,
    copied: u64,
    error: Option<String>,
    ended: bool,
}

/// The file that holds the copies of an epoch's checkpoints.
pub(super) fn file(folder: &Path, origin: &str, epoch: &str) -> PathBuf {
    folder.join(origin).join(format!("{epoch}.checkpoints"))
}

impl Witness {
    /// Begins the thread that copies.
    pub(super) fn start(folder: &Path, origin: &str, epoch: &str) -> io::Result<Arc<Self>> {
        let file = file(folder, origin, epoch);
        let witness = Arc::new(Self { file, state: Mutex::default(), changed: Condvar::new() });
        let weak = Arc::downgrade(&witness);
        std::thread::Builder::new().name("audit-witness".to_owned()).spawn(move || run(&weak))?;
        Ok(witness)
    }

    /// Has a checkpoint copied. One that was not copied before the next came need not be: the next says more.
    pub(super) fn hand(&self, size: u64, note: &str) {
        self.state.lock().next = Some((size, note.to_owned()));
        self.changed.notify_all();
    }

    /// Waits until what was handed over is copied, at most `patience`.
    pub(super) fn settle(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        while state.next.is_some() && !self.changed.wait_until(&mut state, until).timed_out() {}
    }

    /// How many entries the latest copy covers, and why the latest try failed, if it did.
    pub(super) fn status(&self) -> (u64, bool) {
        let state = self.state.lock();
        (state.copied, state.error.is_some())
    }

    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }

    /// Copies the next one; false when there is nothing more to do.
    fn step(&self) -> bool {
        let next = {
            let mut state = self.state.lock();
            while state.next.is_none() || state.error.is_some() {
                if state.ended {
                    return false;
                }
                let failed = state.error.is_some();
                if self.changed.wait_for(&mut state, RETRY).timed_out() && failed {
                    break;
                }
                if state.next.is_none() && !failed {
                    // Looked at now and then, so that a log that was dropped takes its thread along.
                    return true;
                }
            }
            state.next.clone()
        };
        let Some((size, note)) = next else { return true };
        // A try that failed may have left a piece, which ends at a line's end.
        let apart = if self.state.lock().error.is_some() { "\n" } else { "" };
        let result = append(&self.file, &format!("{apart}{note}"));
        let mut state = self.state.lock();
        match result {
            Ok(()) => {
                state.copied = size;
                if state.error.take().is_some() {
                    tracing::warn!(file = %self.file.display(), "checkpoints are copied to the second place again");
                }
                if state.next.as_ref().is_some_and(|(next, _)| *next == size) {
                    state.next = None;
                }
            }
            Err(error) => {
                if state.error.replace(error.to_string()).is_none() {
                    tracing::error!(file = %self.file.display(), %error, "a checkpoint could not be copied to the second place");
                }
            }
        }
        self.changed.notify_all();
        true
    }
}

fn run(witness: &Weak<Witness>) {
    while let Some(witness) = witness.upgrade() {
        if !witness.step() {
            return;
        }
    }
}

fn append(file: &Path, note: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut copies = OpenOptions::new().append(true).create(true).mode(0o640).open(file)?;
    copies.write_all(note.as_bytes())?;
    copies.sync_data()
}

/// The notes in a file of copies, and how many pieces in it are none: a copy that failed half-way leaves its piece.
pub(super) fn notes(text: &str) -> (Vec<String>, usize) {
    let mut notes = Vec::new();
    let mut pieces = 0;
    let mut rest = text;
    while let Some((before, _)) = rest.split_once("\n— ") {
        let signatures = rest.get(before.len() + 1..).unwrap_or_default();
        let length: usize =
            signatures.split_inclusive('\n').take_while(|line| line.starts_with("— ")).map(str::len).sum();
        // A checkpoint has three lines; what stands before them is a piece.
        let lines: Vec<&str> = before.split_inclusive('\n').collect();
        let (piece, body) = lines.split_at(lines.len().saturating_sub(3));
        pieces += usize::from(piece.iter().any(|line| *line != "\n"));
        let signatures = signatures.get(..length).unwrap_or_default();
        notes.push(format!("{}\n{signatures}", body.concat()));
        rest = rest.get(before.len() + 1 + length..).unwrap_or_default();
    }
    (notes, pieces + usize::from(!rest.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::Checkpoint;
    use super::super::note::SigningKey;
    use super::*;

    #[test]
    fn every_copy_is_found_again_also_behind_one_that_was_torn() {
        let key = SigningKey::new("gw-1", &[1; 32]).unwrap();
        let note = |size| Checkpoint { log: "gw-1/0000000001".to_owned(), size, root: [size as u8; 32] }.sign([&key]);
        let (first, second, third) = (note(1), note(22), note(333));

        for cut in 0..second.len() - 1 {
            let torn = second.get(..second.floor_char_boundary(cut)).unwrap();
            let text = format!("{first}{torn}\n{third}");
            let (found, pieces) = notes(&text);

            let keys = [key.public().clone()];
            let sizes: Vec<u64> =
                found.iter().filter_map(|note| Checkpoint::open(note, &keys).ok()).map(|read| read.size).collect();
            assert_eq!(sizes, [1, 333], "cut at {cut}");
            assert!(cut == 0 || pieces > 0 || found.len() > 2, "cut at {cut}");
        }
        assert_eq!(notes(&format!("{first}{second}")), (vec![first, second], 0));
    }

    #[test]
    fn a_place_that_is_away_gets_the_latest_checkpoint_when_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let away = folder.path().join("away");
        std::fs::write(&away, "a file where the folder should be").unwrap();
        let witness = Witness::start(&away, "gw-1", "0000000001").unwrap();

        witness.hand(1, "first\n");
        while !witness.status().1 {
            std::thread::yield_now();
        }
        std::fs::remove_file(&away).unwrap();
        witness.hand(2, "second\n");
        witness.settle(Duration::from_secs(30));

        assert_eq!(witness.status(), (2, false));
        assert_eq!(std::fs::read_to_string(away.join("gw-1/0000000001.checkpoints")).unwrap(), "\nsecond\n");
    }
}
