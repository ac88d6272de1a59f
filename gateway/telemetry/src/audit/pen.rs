//! The end of the log: bundles of entries on the disk, and what happens when the disk does not take them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::bundle::{bundle_of, entries_path};
use super::files;
use super::queue::Batch;
use super::tree::{Growth, TILE, leaf_in_place};

/// Where bundles go. The second implementation is the disk that fails on demand in the tests.
pub(super) trait Sink: Send {
    /// Begins the bundle with this number; what came before is whole.
    fn begin(&mut self, bundle: u64) -> io::Result<()>;
    /// One `write(2)` at the end of the bundle; it may take less than it was given.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the bundle to `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Waits until the bundle is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The bundles of an epoch in its folder.
pub(super) struct BundleFiles {
    epoch: PathBuf,
    /// Whether a new file's name must be on the disk as well before anything in it counts.
    sync_names: bool,
    file: Option<File>,
}

impl BundleFiles {
    pub(super) fn new(epoch: &Path, sync_names: bool) -> Self {
        Self { epoch: epoch.to_owned(), sync_names, file: None }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Sink for BundleFiles {
    fn begin(&mut self, bundle: u64) -> io::Result<()> {
        let path = entries_path(&self.epoch, bundle);
        let folder = path.parent().unwrap_or(&self.epoch);
        let file = files::in_folder(folder, || begun(&path))?;
        if self.sync_names {
            files::sync_up_to(folder, &self.epoch)?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(self.file()?, bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file()?.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file()?.sync_data()
    }
}

/// An empty file, opened for appending, so that a write after a cut goes to the new end.
///
/// A file is cut only where an earlier, failed try left one: ext4 puts a file that was cut on the disk when it is closed, which
/// held up a request for each bundle.
fn begun(path: &Path) -> io::Result<File> {
    let mut appending = OpenOptions::new();
    appending.append(true).mode(0o600);
    match appending.clone().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let file = appending.open(path)?;
            file.set_len(0)?;
            Ok(file)
        }
        opened => opened,
    }
}

/// What is committed: the entries in the files, and the tree over them.
pub(super) struct Pen {
    sink: Box<dyn Sink>,
    /// Whether an entry counts only when the disk has it.
    sync: bool,
    /// The tree over the entries in the files.
    pub(super) growth: Growth,
    /// The bundle that is open, if one is.
    bundle: Option<u64>,
    /// Length of the open bundle up to its last whole entry.
    good: u64,
    /// Whether bytes of half an entry may lie behind `good`, because the cut failed too.
    torn: bool,
    /// Memory of a batch that is done.
    pub(super) spare: Batch,
    /// Intents in the files.
    pub(super) intents: u64,
}

impl Pen {
    pub(super) fn new(sink: Box<dyn Sink>, sync: bool) -> Self {
        Self {
            sink,
            sync,
            growth: Growth::default(),
            bundle: None,
            good: 0,
            torn: false,
            spare: Batch::default(),
            intents: 0,
        }
    }

    /// Writes a batch in as few writes as the sink takes. Who waits for an entry learns that it is in the file.
    ///
    /// After a failure the bundle ends with a whole entry: those that went out whole are kept (with `sync`: those that
    /// the disk has), half an entry is cut off. What is left in `batch` was not written.
    pub(super) fn write(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.cut_what_is_torn()?;
        while !batch.is_empty() {
            let bundle = bundle_of(self.growth.size());
            if self.bundle != Some(bundle) {
                self.bundle = None;
                self.sink.begin(bundle)?;
                (self.bundle, self.good) = (Some(bundle), 0);
            }
            let head = batch.head(TILE - self.growth.size() % TILE);
            let (mut written, mut result) = write_all(&mut *self.sink, head);
            let asked = head.len();
            if self.sync
                && written > 0
                && let Err(error) = self.sink.sync()
            {
                // What the kernel could not put on the disk it may forget; none of it counts.
                result = Err(error);
                written = self.cut_back(written);
            }
            let whole = self.commit(batch, written);
            if written > whole {
                // INVARIANT: nothing is ever appended behind half an entry.
                self.torn = self.sink.truncate(self.good).is_err();
            }
            debug_assert!(result.is_err() || whole == asked);
            result?;
        }
        Ok(())
    }

    /// Forgets `written` bytes behind the good ones.
    fn cut_back(&mut self, written: usize) -> usize {
        self.torn = written > 0 && self.sink.truncate(self.good).is_err();
        0
    }

    /// Half an entry that could not be cut off when it was written.
    pub(super) fn cut_what_is_torn(&mut self) -> io::Result<()> {
        if self.torn {
            self.sink.truncate(self.good)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Takes over the entries that lie whole in the first `written` bytes; returns how many bytes that is.
    fn commit(&mut self, batch: &mut Batch, written: usize) -> usize {
        let mut whole = 0;
        while let Some((entry, item)) = batch.first().filter(|(_, item)| whole + item.length <= written) {
            // The file has the entry with its length by now, so the last byte of that is room.
            self.growth.push(leaf_in_place(entry));
            self.intents += u64::from(item.opens);
            self.good += item.length as u64;
            whole += item.length;
            batch.written();
        }
        whole
    }

    /// Waits until the open bundle is on the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.bundle.is_some() { self.sink.sync() } else { Ok(()) }
    }
}

impl fmt::Debug for Pen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pen").field("size", &self.growth.size()).field("good", &self.good).finish_non_exhaustive()
    }
}

/// How many bytes went out, and whether that was all.
fn write_all(sink: &mut dyn Sink, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match sink.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }

    (written, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_begun_empty_whatever_stands_in_its_place_and_grows_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let epoch = folder.path().join("epoch");
        let mut files = BundleFiles::new(&epoch, true);
        for bundle in [0, 999, 1000] {
            let path = entries_path(&epoch, bundle);
            for left in ["", "of an earlier try"] {
                files.begin(bundle).unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), b"", "{bundle} {left}");
                assert_eq!(files.write(b"one").unwrap(), 3);
                files.truncate(1).unwrap();
                assert_eq!(files.write(b"two").unwrap(), 3);
                assert_eq!(std::fs::read(&path).unwrap(), b"otwo", "{bundle} {left}");
                std::fs::write(&path, "of an earlier try").unwrap();
            }
        }

        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").unwrap();
        let refused = BundleFiles::new(&file, false).begin(0).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotADirectory);
    }
}
