//! The journal's files: what this process appends, and what processes that died have left.
//!
//! Each process writes files of its own, `journal-<process>-<number>.log`, and holds a lock on the one it writes, so that
//! whoever reads the folder knows which files nobody writes any more. The system lets go of the lock when a process dies.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entry::{Closing, Entry, Open, Opening};
use crate::keeper::LedgerError;
use crate::line::{self, HEAD, Line};
use crate::texts::Texts;

/// A journal that grew to this many bytes is replaced by a new one, which begins with what is still open.
pub(crate) const ROTATED_AT: u64 = 16 << 20;

/// Most bytes of closings that wait in memory for the next write.
pub(crate) const MOST_WAITING: usize = 16 << 20;

/// Closings are written at once when more than this waits.
const FLUSHED_AT: usize = 64 << 10;

/// The file that this process appends to.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: PathBuf,
    process: String,
    number: u64,
    path: PathBuf,
    file: File,
    /// Bytes of whole lines in the file.
    length: u64,
    /// Bytes of it that the database has taken.
    pub(crate) taken: u64,
    /// Lines that the next write takes along.
    waiting: Vec<u8>,
    /// A write failed in a way that may have left a part of a line behind `length`.
    torn: bool,
    /// Closings that found no room.
    pub(crate) lost: u64,
}

impl Writer {
    pub(crate) fn create(folder: &Path, process: &str) -> std::io::Result<Self> {
        let (path, file) = create(folder, process, 0)?;
        Ok(Self {
            folder: folder.to_owned(),
            process: process.to_owned(),
            number: 0,
            path,
            file,
            length: HEAD.len() as u64,
            taken: 0,
            waiting: Vec::new(),
            torn: false,
            lost: 0,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that wait in memory.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// As if so many bytes stood in the file.
    #[cfg(test)]
    pub(crate) fn pretend(&mut self, length: u64) {
        self.length = length;
    }

    /// As if this were the file; gives the other one.
    #[cfg(test)]
    pub(crate) fn write_to(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// Bytes that the database has not taken, in the file and in memory.
    pub(crate) fn behind(&self) -> u64 {
        self.length.saturating_sub(self.taken) + self.waiting.len() as u64
    }

    /// Appends an opening; it is in the file when this returns `Ok`, and no part of it otherwise.
    pub(crate) fn open(&mut self, opening: &Opening) -> std::io::Result<()> {
        let before = self.waiting.len();
        line::write_opening(&mut self.waiting, opening);
        self.flush().inspect_err(|_| self.waiting.truncate(before))
    }

    /// Appends a closing with the next write. Where there is no room it is counted: its request then pays what it held.
    pub(crate) fn close(&mut self, closing: &Closing) {
        if self.waiting.len() >= MOST_WAITING {
            self.lost += 1;
            return;
        }
        line::write_closing(&mut self.waiting, closing);
        if self.waiting.len() >= FLUSHED_AT {
            // It waits on; the keeper's next round says why.
            let _ = self.flush();
        }
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            keep_room(&self.file);
            self.torn = false;
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.torn = true;
        self.file.write_all(&self.waiting)?;
        self.torn = false;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Goes on in a new file, which begins with what is open; gives the old one, which stays locked while it is held.
    pub(crate) fn rotate<'a>(&mut self, open: impl Iterator<Item = &'a Opening>) -> std::io::Result<Old> {
        // A number is used once: what stands in the way of one does not stand in the way of the next.
        self.number += 1;
        let (path, mut file) = create(&self.folder, &self.process, self.number)?;
        let mut kept = Vec::new();
        open.for_each(|opening| line::write_opening(&mut kept, opening));
        // It is forced to the disk before the old file is removed, and not here: requests wait for this.
        let written = file.write_all(&kept).and_then(|()| file.try_clone());
        let successor = written.inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        // Nothing counts as taken until what was read of the old file is.
        (self.length, self.taken) = ((HEAD.len() + kept.len()) as u64, 0);
        let (path, file) = (std::mem::replace(&mut self.path, path), std::mem::replace(&mut self.file, file));
        Ok(Old { path, successor, _locked: file })
    }
}

/// A file that this process writes no more. INVARIANT: it is locked until it is removed, so that no other process settles
/// what is open in it.
#[derive(Debug)]
pub(crate) struct Old {
    path: PathBuf,
    /// The file that goes on from it, and holds what is open.
    successor: File,
    _locked: File,
}

impl Old {
    /// Removes it, once what goes on in its successor is on the disk.
    pub(crate) fn remove(&self) -> Result<(), LedgerError> {
        let removed = self.successor.sync_data().and_then(|()| std::fs::remove_file(&self.path));
        removed.map_err(|source| LedgerError::Folder { path: self.path.clone(), source })
    }
}

fn create(folder: &Path, process: &str, number: u64) -> std::io::Result<(PathBuf, File)> {
    let path = folder.join(format!("journal-{process}-{number}.log"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let locked = file.try_lock().map_err(|error| match error {
        TryLockError::Error(error) => error,
        TryLockError::WouldBlock => std::io::ErrorKind::WouldBlock.into(),
    });
    // What cannot be begun is not left behind.
    locked.and_then(|()| file.write_all(HEAD.as_bytes())).inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    keep_room(&file);
    Ok((path, file))
}

/// Takes the room of a whole file on the disk beforehand, without a change to its length: on a disk that is full the journal
/// goes on for some 50,000 requests, so that those are counted which may be sent without a record, and those that run.
fn keep_room(file: &File) {
    let kept = rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, ROTATED_AT + KEPT_BEYOND);
    if let Err(error) = kept {
        tracing::debug!(%error, "the file system keeps no room back for the journal; a full disk stops it at once");
    }
}

/// What is open when a journal is replaced stands at the beginning of the next, and a write may pass its bound by one batch.
const KEPT_BEYOND: u64 = 1 << 20;

/// Most bytes that are carried over in one go.
pub(crate) const MOST_READ: u64 = 4 << 20;

/// Most bytes of room that are kept for what is read next: what is given back each second is asked for again each second.
const KEPT_ROOM: usize = 1 << 20;

/// Reads whole lines as they come, and keeps what is open.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    offset: u64,
    pub(crate) open: Open,
    texts: Texts,
    /// Room for what is read; it holds nothing in between.
    room: Vec<u8>,
}

/// What was read: entries that are complete, and lines that nobody can read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) entries: Vec<Entry>,
    pub(crate) damaged: u64,
}

impl Reader {
    /// From here on the lines are those of another file.
    pub(crate) fn follow(&mut self, length: u64) {
        self.offset = length;
    }

    /// How far the file is read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds what follows up to `until`, which is the end of a line; at most [`MOST_READ`] bytes of it.
    pub(crate) fn read(&mut self, path: &Path, until: u64, read: &mut Read) -> std::io::Result<()> {
        if until <= self.offset {
            return Ok(());
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = std::mem::take(&mut self.room);
        let most = (until - self.offset).min(MOST_READ);
        bytes.reserve(most as usize);
        file.take(most).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        bytes.truncate(whole);
        self.take(&bytes, read);
        self.offset += bytes.len() as u64;
        bytes.clear();
        bytes.shrink_to(KEPT_ROOM);
        self.room = bytes;
        Ok(())
    }

    /// Lines, the last of which may be torn: then it was never acted upon.
    pub(crate) fn take(&mut self, bytes: &[u8], read: &mut Read) {
        let head = HEAD.trim_end().as_bytes();
        for line in lines(bytes).filter(|line| *line != head) {
            let line = std::str::from_utf8(line).ok();
            match line.and_then(|line| line::read(line, &mut self.texts, &self.open)) {
                Some(Line::Opening(opening)) => {
                    self.open.insert(Arc::clone(&opening.request), opening);
                }
                Some(Line::Closing(closing)) => match self.open.remove(&closing.request) {
                    Some(opening) => read.entries.push(Entry { opening, closing, recovered: false }),
                    None => read.damaged += 1,
                },
                None => read.damaged += 1,
            }
        }
    }
}

/// The lines of a journal without their ends, but for a last one that has none.
fn lines(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let rest = bytes;
        // The quick search for a byte that the standard library has only there; reading from memory does not fail.
        let length = bytes.skip_until(b'\n').ok()?;
        rest.get(..length)?.strip_suffix(b"\n")
    })
}

/// What processes that died have left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Files that nobody writes any more, locked for the time of reading.
    pub(crate) files: Vec<(PathBuf, File)>,
    /// Settled requests.
    pub(crate) settled: Vec<Entry>,
    /// Requests that nobody settled.
    pub(crate) unsettled: Vec<Opening>,
    /// Lines that nobody can read.
    pub(crate) damaged: u64,
}

impl Left {
    /// Reads the files in `folder` that no process holds.
    pub(crate) fn find(folder: &Path) -> std::io::Result<Self> {
        let mut left = Self::default();
        let mut readers: HashMap<String, Reader> = HashMap::new();
        for (process, path) in in_order(folder)? {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            if file.try_lock().is_err() {
                continue;
            }
            let mut bytes = Vec::new();
            (&file).read_to_end(&mut bytes)?;
            let mut read = Read::default();
            readers.entry(process).or_default().take(&bytes, &mut read);
            left.settled.append(&mut read.entries);
            left.damaged += read.damaged;
            left.files.push((path, file));
        }
        left.unsettled = readers.into_values().flat_map(|reader| reader.open.into_values()).collect();
        Ok(left)
    }
}

/// The journals in a folder, each with its process. A process writes its files one after the other, and their numbers say in what
/// order.
pub(crate) fn in_order(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let paths = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut journals: Vec<_> = paths.filter_map(|path| Some((process_of(&path)?, path))).collect();
    journals.sort_by_cached_key(|(process, path)| (process.clone(), number_of(path)));
    Ok(journals)
}

/// The process in `journal-<process>-<number>.log`.
fn process_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (process, _) = name.strip_prefix("journal-")?.strip_suffix(".log")?.rsplit_once('-')?;
    Some(process.to_owned())
}

fn number_of(path: &Path) -> u64 {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::line::tests::{closing_of, opening_of};

    /// Texts that come again, those that stand in a line as something else, and those too long to be kept.
    const TEXTS: [&str; 10] = ["", "a", "b", "%", "%25", "a\tb", "a%09b", "ü", "\u{7f}", "claims.keys[0]"];

    fn text(number: usize) -> Arc<str> {
        TEXTS.get(number).map_or_else(|| "m".repeat(240 + number).into(), |text| (*text).into())
    }

    /// What each line says by itself, put together.
    fn read_one_by_one(journal: &[u8]) -> (Vec<Entry>, HashMap<Arc<str>, Opening>, u64) {
        let (mut entries, mut open, mut damaged) = (Vec::new(), HashMap::new(), 0);
        for line in std::str::from_utf8(journal).expect("it was written as text").split_terminator('\n') {
            match line::read_alone(line) {
                Some(Line::Opening(opening)) => drop(open.insert(Arc::clone(&opening.request), opening)),
                Some(Line::Closing(closing)) => match open.remove(&closing.request) {
                    Some(opening) => entries.push(Entry { opening, closing, recovered: false }),
                    None => damaged += 1,
                },
                None => damaged += 1,
            }
        }
        (entries, open, damaged)
    }

    proptest! {
        #[test]
        fn lines_that_share_their_texts_say_what_each_of_them_says_by_itself(
            requests in proptest::collection::vec((0..20_usize, proptest::array::uniform7(0..24_usize), any::<bool>(), any::<u64>()), 0..60),
            cut: prop::sample::Index,
        ) {
            let mut journal = Vec::new();
            for (number, [app, team, key, model, user, target, price], opens, money) in requests {
                // Also ids that the gateway would not give.
                let request = text(number);
                if opens {
                    let user = Some(text(user)).filter(|_| user % 3 > 0);
                    let (app, team, key, model) = (text(app), text(team), text(key), text(model));
                    line::write_opening(&mut journal, &Opening { app, team, key, model, user, ..opening_of(&request, money) });
                } else {
                    let [target, price] = [target, price].map(|number| Some(text(number)).filter(|text| !text.is_empty()));
                    line::write_closing(&mut journal, &Closing { target, price, ..closing_of(&request, money) });
                }
            }
            let ends: Vec<_> = (0..=journal.len()).filter(|end| *end == 0 || journal[end - 1] == b'\n').collect();
            let (first, second) = journal.split_at(*cut.get(&ends));
            let (mut reader, mut read) = (Reader::default(), Read::default());

            reader.take(first, &mut read);
            reader.take(second, &mut read);

            let open = reader.open.into_iter().collect();
            prop_assert_eq!(&(read.entries, open, read.damaged), &read_one_by_one(&journal));
        }
    }

    #[test]
    fn requests_of_one_app_share_their_texts_and_the_two_lines_of_a_request_its_id() {
        let mut journal = Vec::new();
        for request in ["cwd_1", "cwd_2"] {
            line::write_opening(&mut journal, &opening_of(request, 900));
            line::write_closing(&mut journal, &closing_of(request, 70));
        }
        // Three texts may have the same two places, in one memory of a thousand.
        let shares_all = |_| {
            let mut read = Read::default();
            Reader::default().take(&journal, &mut read);
            let [first, second] = <[Entry; 2]>::try_from(read.entries).expect("both are settled");
            assert!(Arc::ptr_eq(&first.opening.request, &first.closing.request));
            assert_eq!((&*first.opening.request, &*second.opening.request), ("cwd_1", "cwd_2"));
            let texts = |entry: Entry| {
                let Opening { app, team, key, model, .. } = entry.opening;
                [app, team, key, model, entry.closing.target.expect("it was answered")]
            };
            std::iter::zip(texts(first), texts(second)).all(|(first, second)| Arc::ptr_eq(&first, &second))
        };

        assert!((0..10).any(shares_all));
    }

    #[test]
    fn a_settlement_that_a_newer_release_wrote_in_another_way_leaves_its_request_open() {
        let mut journal = Vec::new();
        line::write_opening(&mut journal, &opening_of("cwd_1", 900));
        let body = "C\tcwd_1\t1798761601000\tgpu-01/llama\tin a new way";
        journal.extend(format!("{:08x} {body}\n", crc32fast::hash(body.as_bytes())).into_bytes());
        let (mut reader, mut read) = (Reader::default(), Read::default());

        reader.take(&journal, &mut read);

        assert_eq!((read.entries.len(), read.damaged, reader.open.len()), (0, 1, 1));
    }
}
