//! What follows the entries: tiles of hashes, and the checkpoints that are signed over them.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::bundle::{CHECKPOINT, bundle_of, entries_path, partial, tile_path};
use super::checkpoint::Checkpoint;
use super::disk::{Disk, Local, Made, as_many_as_go};
use super::files;
use super::note::SigningKey;
use super::tree::{Hash, TILE, Tile};
use super::witness::Witness;

/// How often a checkpoint is made while entries come. A host that dies loses at most twice this time's signatures.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// Most full tiles that wait for a disk that does not take them: 8 MiB, a quarter of a million entries.
pub(super) const MOST_TILES_BEHIND: usize = 1024;

/// How long leaving waits for the last copy in the second place.
const LAST_COPY: Duration = Duration::from_secs(5);

/// Makes the checkpoints of one epoch.
pub(super) struct Keeper {
    epoch: PathBuf,
    scratch: PathBuf,
    /// The log's name in checkpoints.
    log: String,
    /// Whether bundles are on the disk already when their entries count.
    synced: bool,
    disk: Box<dyn Disk>,
    witness: Option<Arc<Witness>>,
    state: Mutex<State>,
    /// Entries that the latest checkpoint covers.
    signed: AtomicU64,
    /// Full tiles that are not on the disk.
    behind: AtomicUsize,
}

struct State {
    keys: Vec<SigningKey>,
    behind: VecDeque<Tile>,
    /// Folders with names, of bundles, of tiles or of folders, that may not be on the disk.
    unsynced: BTreeSet<PathBuf>,
}

/// The tree as it stands, and its full tiles since the last time.
pub(super) struct Stand {
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) full: Vec<Tile>,
}

/// Where an epoch lies, and what it is called.
pub(super) struct Place<'a> {
    pub(super) epoch: &'a Path,
    pub(super) scratch: PathBuf,
    pub(super) log: String,
    pub(super) synced: bool,
}

impl Keeper {
    pub(super) fn new(place: Place<'_>, key: SigningKey, witness: Option<Arc<Witness>>) -> Self {
        let Place { epoch, scratch, log, synced } = place;
        let state = Mutex::new(State { keys: vec![key], behind: VecDeque::new(), unsynced: BTreeSet::new() });
        let (signed, behind) = (AtomicU64::new(0), AtomicUsize::new(0));
        let (epoch, disk) = (epoch.to_owned(), Box::new(Local));
        Self { epoch, scratch, log, synced, disk, witness, state, signed, behind }
    }

    /// Signs what is there, unless it is signed already. `stand` is asked for once, when nothing else runs here.
    ///
    /// First the bundles are put on the disk, then the tiles, then the names of both, then the checkpoint: it never promises
    /// what is not there.
    pub(super) fn checkpoint(&self, stand: impl FnOnce() -> Stand) -> io::Result<()> {
        let mut state = self.state.lock();
        let Stand { size, root, full } = stand();
        state.behind.extend(full);
        self.behind.store(state.behind.len(), Ordering::Relaxed);
        let signed = self.signed();
        if size > signed {
            if !self.synced {
                self.sync_bundles(&mut state, signed, size)?;
            }
            self.put_tiles(&mut state)?;
            self.sync_names(&mut state)?;
            self.sign(&state, size, root)?;
        }
        Ok(())
    }

    /// Puts the bundles since the latest checkpoint on the disk, but for their names.
    fn sync_bundles(&self, state: &mut State, signed: u64, size: u64) -> io::Result<()> {
        let (mut next, last) = (bundle_of(signed), bundle_of(size - 1));
        while next <= last {
            let opened = as_many_as_go(next..=last, |bundle| {
                let file = self.disk.open(&entries_path(&self.epoch, bundle))?;
                // INVARIANT: only what is full. The last one grows, and is waited for beside the others.
                if bundle < last {
                    self.disk.start(&file);
                }
                Ok(file)
            })?;
            for file in &opened {
                self.disk.sync(file)?;
            }
            next += opened.len() as u64;
        }
        // The checkpoint before has the name of a bundle that it covers a part of.
        for bundle in signed.div_ceil(TILE)..=last {
            self.has_name(state, &entries_path(&self.epoch, bundle));
        }
        Ok(())
    }

    /// Puts the full tiles in their places, each once the disk has all of it, but for their names.
    fn put_tiles(&self, state: &mut State) -> io::Result<()> {
        while !state.behind.is_empty() {
            let made = as_many_as_go(state.behind.iter().enumerate(), |(number, tile)| {
                let scratch = self.scratch.with_added_extension(number.to_string());
                let made = Made::at(scratch, &tile.bytes(), &*self.disk)?;
                self.disk.start(&made.file);
                Ok(made)
            })?;
            for made in &made {
                self.disk.sync(&made.file)?;
            }
            for made in made {
                let Some(tile) = state.behind.front() else { break };
                let path = tile_path(&self.epoch, tile.level, tile.index);
                made.place(&path, &*self.disk)?;
                self.has_name(state, &path);
                state.behind.pop_front();
                self.behind.store(state.behind.len(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Notes that a file has its name, and perhaps the folders above it theirs, since these were last put on the disk.
    fn has_name(&self, state: &mut State, path: &Path) {
        let above = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.epoch));
        state.unsynced.extend(above.map(Path::to_owned));
    }

    /// Puts the names on the disk, each folder once, since one costs the disk as much as a file.
    fn sync_names(&self, state: &mut State) -> io::Result<()> {
        while let Some(folder) = state.unsynced.first() {
            self.disk.sync_folder(folder)?;
            state.unsynced.pop_first();
        }
        Ok(())
    }

    fn sign(&self, state: &State, size: u64, root: Hash) -> io::Result<()> {
        let note = Checkpoint { log: self.log.clone(), size, root }.sign(&state.keys);
        let made = Made::at(self.scratch.clone(), note.as_bytes(), &*self.disk)?;
        self.disk.sync(&made.file)?;
        made.place(&self.epoch.join(CHECKPOINT), &*self.disk)?;
        self.disk.sync_folder(&self.epoch)?;
        self.signed.store(size, Ordering::Relaxed);
        if let Some(witness) = &self.witness {
            witness.hand(size, &note);
        }
        Ok(())
    }

    /// Gives the last bundle and the last tiles the names of partial ones: nothing grows any more.
    pub(super) fn finish(&self, size: u64, levels: &[Vec<Hash>]) -> io::Result<()> {
        let _one_at_a_time = self.state.lock();
        for (level, hashes) in levels.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            let level = level as u8;
            let index = size / TILE.pow(u32::from(level) + 1);
            let path = partial(&tile_path(&self.epoch, level, index), hashes.len() as u64);
            files::put(&self.scratch, &path, &hashes.concat())?;
        }
        if !size.is_multiple_of(TILE) {
            let path = entries_path(&self.epoch, bundle_of(size));
            files::rename(&path, &partial(&path, size % TILE))?;
        }
        if let Some(witness) = &self.witness {
            witness.settle(LAST_COPY);
        }
        Ok(())
    }

    /// From now on checkpoints bear the signature of `key` as well.
    pub(super) fn rotate(&self, key: SigningKey) {
        self.state.lock().keys.push(key);
    }

    /// Where this log's files are made before they take their place.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Whether `key` signs.
    pub(super) fn signs_with(&self, key: &SigningKey) -> bool {
        self.state.lock().keys.iter().any(|known| known.public() == key.public())
    }

    /// How many entries are signed.
    pub(super) fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// How many full tiles the disk has not taken.
    pub(super) fn behind(&self) -> usize {
        self.behind.load(Ordering::Relaxed)
    }

    pub(super) fn witness(&self) -> Option<&Witness> {
        self.witness.as_deref()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(witness) = &self.witness {
            witness.end();
        }
    }
}

#[cfg(test)]
mod tests;
