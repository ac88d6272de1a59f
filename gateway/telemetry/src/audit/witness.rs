//! Copies of the checkpoints in a second place, where the gateway's operator cannot write what stands there already.
//!
//! In a folder each is appended to `<folder>/<origin>/<epoch>.checkpoints`, so that a place which takes appends only is enough;
//! that happens on a thread of its own. Elsewhere each is a thing of its own, and whoever holds the log carries it there
//! ([`super::AuditLog::next_copy`]). Either way a place that hangs holds up nothing but the copies.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::copies;

/// After this time a copy that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Where checkpoints are copied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondPlace {
    /// A folder, best on another machine's disk.
    Folder(PathBuf),
    /// Wherever the holder of the log carries them.
    Elsewhere,
}

/// A copy that is to be carried elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The name that it has there; no other copy has it.
    pub name: String,
    /// Entries that it covers.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// The second place of an epoch's checkpoints.
#[derive(Debug)]
pub(super) struct Witness {
    way: Way,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum Way {
    /// The file that copies are appended to.
    Folder(PathBuf),
    /// Origin and epoch, and what wakes whoever carries the copies.
    Elsewhere { origin: String, epoch: String, news: Notify },
}

#[derive(Debug, Default)]
struct State {
    /// The latest checkpoint that is not copied: its size and its note.
    next: Option<(u64, String)>,
    copied: u64,
    error: Option<String>,
    ended: bool,
}

impl Witness {
    /// Begins the thread that copies to a folder; elsewhere somebody comes for the copies.
    pub(super) fn start(place: &SecondPlace, origin: &str, epoch: &str) -> io::Result<Arc<Self>> {
        let folder = match place {
            SecondPlace::Folder(folder) => folder,
            SecondPlace::Elsewhere => {
                let way = Way::Elsewhere { origin: origin.to_owned(), epoch: epoch.to_owned(), news: Notify::new() };
                return Ok(Arc::new(Self { way, state: Mutex::default(), changed: Condvar::new() }));
            }
        };
        let way = Way::Folder(copies::file(folder, origin, epoch));
        let witness = Arc::new(Self { way, state: Mutex::default(), changed: Condvar::new() });
        let weak = Arc::downgrade(&witness);
        std::thread::Builder::new().name("audit-witness".to_owned()).spawn(move || run(&weak))?;
        Ok(witness)
    }

    /// Has a checkpoint copied. One that was not copied before the next came need not be: the next says more.
    pub(super) fn hand(&self, size: u64, note: &str) {
        self.state.lock().next = Some((size, note.to_owned()));
        self.changed.notify_all();
        if let Way::Elsewhere { news, .. } = &self.way {
            news.notify_one();
        }
    }

    /// What is to be carried elsewhere, if something is.
    pub(super) fn waiting(&self) -> Option<Copy> {
        let Way::Elsewhere { origin, epoch, .. } = &self.way else { return None };
        let (size, note) = self.state.lock().next.clone()?;
        Some(Copy { name: copies::name(origin, epoch, size), size, note })
    }

    /// Waits for something to carry elsewhere; for ever where copies go to a folder.
    pub(super) async fn next(&self) -> Copy {
        let Way::Elsewhere { news, .. } = &self.way else { return std::future::pending().await };
        loop {
            let told = news.notified();
            if let Some(copy) = self.waiting() {
                return copy;
            }
            told.await;
        }
    }

    /// Waits until what was handed over is copied to a folder, at most `patience`. Whoever carries it elsewhere may be waiting
    /// for this very thread, so nothing is waited for there.
    pub(super) fn settle(&self, patience: Duration) {
        if let Way::Elsewhere { .. } = &self.way {
            return;
        }
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
        let (Some((size, note)), Way::Folder(file)) = (next, &self.way) else { return true };
        // A try that failed may have left a piece, which ends at a line's end.
        let apart = if self.state.lock().error.is_some() { "\n" } else { "" };
        let result = append(file, &format!("{apart}{note}"));
        self.told(size, &result.map_err(|error| format!("{}: {error}", file.display())));
        true
    }

    /// How the copy of `size` entries went.
    pub(super) fn told(&self, size: u64, result: &Result<(), String>) {
        let mut state = self.state.lock();
        match result {
            Ok(()) => {
                state.copied = state.copied.max(size);
                if state.error.take().is_some() {
                    tracing::warn!("checkpoints are copied to the second place again");
                }
                if state.next.as_ref().is_some_and(|(next, _)| *next == size) {
                    state.next = None;
                }
            }
            Err(error) => {
                if state.error.replace(error.clone()).is_none() {
                    tracing::error!(%error, "a checkpoint could not be copied to the second place");
                }
            }
        }
        drop(state);
        self.changed.notify_all();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_away_gets_the_latest_checkpoint_when_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let away = folder.path().join("away");
        std::fs::write(&away, "a file where the folder should be").unwrap();
        let witness = Witness::start(&SecondPlace::Folder(away.clone()), "gw-1", "0000000001").unwrap();

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

    #[tokio::test]
    async fn what_goes_elsewhere_waits_for_whoever_carries_it_and_only_the_latest_does() {
        let witness = Witness::start(&SecondPlace::Elsewhere, "gw-1", "0000000001").unwrap();

        witness.hand(1, "first\n");
        witness.hand(22, "second\n");
        let copy = witness.next().await;
        witness.told(copy.size, &Err("away".to_owned()));
        let failed = witness.status();
        let again = witness.next().await;
        witness.told(again.size, &Ok(()));

        assert_eq!(copy.name, "gw-1.0000000001.00000000000000000022.checkpoint");
        assert_eq!((copy.note.as_str(), failed, witness.status()), ("second\n", (0, true), (22, false)));
        assert_eq!((&again, witness.waiting()), (&copy, None));
        // Leaving is not held up by somebody who may be waiting for it.
        witness.hand(333, "third\n");
        witness.settle(Duration::from_secs(3_600));
    }
}
