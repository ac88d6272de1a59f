//! Entries whose time is over: whole bundles go, their hashes stay, and an entry says so.
//!
//! The tree keeps its root, so what is left is verified as before. The entry that says what went is signed first;
//! verification takes a bundle that is gone without one for damage.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::bundle::{Entries, entries_path, partial, tile_path};
use super::entry::Seldom;
use super::epoch::{DIGITS, read_tile};
use super::read::Line;
use super::shared::Shared;
use super::tree::{Hash, TILE, leaf};
use super::{AuditError, AuditLog, files, read, stamp};

/// What goes from one epoch: its oldest bundles that are there.
struct Going {
    path: PathBuf,
    bundles: Vec<PathBuf>,
    statement: Statement,
}

/// What the log says of entries that went.
#[derive(Serialize)]
struct Statement {
    #[serde(serialize_with = "stamp::serialize")]
    at: SystemTime,
    epoch: String,
    /// The first of them.
    from: u64,
    /// One past the last of them.
    to: u64,
    /// Whether the epoch has none left.
    whole: bool,
    /// The time of the newest of them.
    newest: String,
}

/// How long entries are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// All of them.
    pub all: Duration,
    /// Those of requests whose data is of these classes, where that is longer.
    ///
    /// A log goes from its oldest end only, so that whatever came after an entry that is kept is there to be read with it, the
    /// outcome of a request above all. So such an entry also keeps what came after it in its epoch.
    pub classes: Vec<(String, Duration)>,
}

/// The times before which entries are over.
struct Limits {
    all: String,
    classes: Vec<(String, String)>,
}

impl Limits {
    fn of(retention: &Retention, now: SystemTime) -> Self {
        // Before everything there is, nothing is over.
        let before = |kept: Duration| {
            let before = now.checked_sub(kept);
            before.map_or_else(String::new, |before| String::from_utf8_lossy(&stamp::digits(before)).into_owned())
        };
        let class = |(class, kept): &(String, Duration)| (class.clone(), before(retention.all.max(*kept)));
        Self { all: before(retention.all), classes: retention.classes.iter().map(class).collect() }
    }

    fn is_over(&self, line: &Line<'_>) -> bool {
        let of_class = line.class().and_then(|class| self.classes.iter().find(|(known, _)| known == class));
        let before = of_class.map_or(&self.all, |(_, before)| before);
        line.time().is_none_or(|time| time < before.as_str())
    }
}

impl AuditLog {
    /// Removes the entries of this origin that are kept long enough, whole bundles only; returns how many went.
    ///
    /// It reads and removes files: call it where that holds nobody up.
    ///
    /// # Errors
    /// [`AuditError`]; what had gone by then is stated.
    pub fn retire(&self, retention: &Retention, now: SystemTime) -> Result<u64, AuditError> {
        let folder = |source| AuditError::Folder { path: self.folder().to_owned(), source };
        let limits = Limits::of(retention, now);
        let mut gone = 0;
        for going in self.shared.find_going(&limits, now).map_err(folder)? {
            self.shared.append_here("retired", &Seldom(&going.statement))?;
            self.checkpoint()?;
            going.bundles.iter().try_for_each(|bundle| remove(&going.path, bundle)).map_err(folder)?;
            gone += going.statement.to - going.statement.from;
        }
        Ok(gone)
    }
}

impl Shared {
    fn find_going(&self, limits: &Limits, now: SystemTime) -> io::Result<Vec<Going>> {
        let home = self.folder.parent().unwrap_or(&self.folder);
        let mut found = Vec::new();
        for entry in fs::read_dir(home)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit()) {
                let most = if name == self.epoch {
                    self.keeper.as_ref().map_or(0, |keeper| keeper.signed())
                } else {
                    u64::MAX
                };
                found.extend(self.going_of(&home.join(&name), (&name, most), (limits, now))?);
            }
        }
        found.sort_by(|a: &Going, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The oldest bundles of an epoch that are over; of its first `most` entries only.
    fn going_of(
        &self,
        path: &Path,
        (epoch, most): (&str, u64),
        (limits, now): (&Limits, SystemTime),
    ) -> io::Result<Option<Going>> {
        let Some(last) = read::last_bundle(path)? else { return Ok(None) };
        let mut bundles = Vec::new();
        let statement =
            Statement { at: now, epoch: epoch.to_owned(), from: 0, to: 0, whole: false, newest: String::new() };
        let mut going = Going { path: path.to_owned(), bundles: Vec::new(), statement };
        for number in 0..=last {
            let Some((file, bytes)) = find(path, number)? else { continue };
            let entries: Vec<&[u8]> = Entries::new(&bytes).map_while(Result::ok).collect();
            let count = entries.len() as u64;
            let lines: Vec<Line<'_>> = entries.iter().filter_map(|entry| Line::parse(entry)).collect();
            let newest = lines.iter().filter_map(|line| line.time().map(str::to_owned)).max();
            let over = newest.is_some() && lines.iter().all(|line| limits.is_over(line));
            // Bytes that are no entry are evidence of a crash and have no hash; they stay.
            let whole = entries.iter().map(|entry| entry.len() + 2).sum::<usize>() == bytes.len();
            // The bundle that this process writes is open, and what goes on in it would go with it.
            let is_open = epoch == self.epoch && count < TILE;
            if !over || !whole || is_open || number * TILE + count > most {
                break;
            }
            let hashes: Vec<Hash> = entries.iter().map(|entry| leaf(entry)).collect();
            self.keep_hashes(path, number, &hashes)?;
            if number == 0 {
                files::put(&self.scratch(), &path.join(read::OPENING), entries.first().copied().unwrap_or_default())?;
            }
            if bundles.is_empty() {
                going.statement.from = number * TILE;
            }
            going.statement.to = number * TILE + count;
            going.statement.whole = number == last && epoch != self.epoch;
            going.statement.newest = newest.unwrap_or_default().max(going.statement.newest);
            bundles.push(file);
        }
        going.bundles = bundles;
        Ok(Some(going).filter(|going| !going.bundles.is_empty()))
    }

    /// An epoch that was not sealed has no tile for its last bundle.
    fn keep_hashes(&self, epoch: &Path, number: u64, hashes: &[Hash]) -> io::Result<()> {
        let full = hashes.len() as u64 == TILE;
        if full && read_tile(epoch, 0, number)?.is_some() {
            return Ok(());
        }
        let path = tile_path(epoch, 0, number);
        let path = if full { path } else { partial(&path, hashes.len() as u64) };
        files::put(&self.scratch(), &path, &hashes.concat())
    }

    /// Where a file is made before it takes its place; another one than the keeper's.
    fn scratch(&self) -> PathBuf {
        let own =
            self.keeper.as_ref().map_or_else(|| self.folder.join("scratch"), |keeper| keeper.scratch().to_owned());
        own.with_added_extension("retire")
    }
}

/// A bundle with its file.
fn find(epoch: &Path, number: u64) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    let plain = entries_path(epoch, number);
    let partials = (1..TILE).map(|width| partial(&plain, width));
    for path in std::iter::once(plain.clone()).chain(partials) {
        match fs::read(&path) {
            Ok(bytes) => return Ok(Some((path, bytes))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Removes a file, and the folders above it that are empty then.
fn remove(epoch: &Path, file: &Path) -> io::Result<()> {
    fs::remove_file(file)?;
    for folder in file.ancestors().skip(1).take_while(|folder| *folder != epoch) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::read::{Trust, Verdict, verify};
    use super::super::tests::{intent, now, outcome, settings};
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn log_at(state: &Path, at: SystemTime, requests: usize) -> AuditLog {
        let log = AuditLog::open(settings(state, "gw-1"), at).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for number in 0..requests {
            let decision = format!("d-{number}");
            let intent = super::super::Intent { at, ..intent(&decision) };
            runtime.block_on(log.intent(&intent)).unwrap().close(super::super::Outcome { at, ..outcome() });
        }
        log.flush().unwrap();
        log.checkpoint().unwrap();
        log
    }

    fn days(days: u32) -> Retention {
        Retention { all: days * DAY, classes: Vec::new() }
    }

    fn judge(state: &Path) -> read::Report {
        let keys = [super::super::SigningKey::new("gw-1", &[1; 32]).unwrap().public().clone()];
        verify(&state.join("audit"), &Trust { keys: &keys, witness: None, fleet: None }).unwrap()
    }

    #[test]
    fn what_is_over_goes_by_whole_bundles_and_what_is_left_verifies_as_before() {
        let state = tempfile::tempdir().unwrap();
        // The first epoch was killed; its last bundle is not full.
        drop(log_at(state.path(), now(), 300));
        let later = now() + 200 * DAY;
        let log = log_at(state.path(), later, 10);

        let gone = log.retire(&days(183), later).unwrap();
        log.flush().unwrap();
        log.checkpoint().unwrap();

        assert_eq!(gone, 601);
        let report = judge(state.path());
        assert_eq!(report.verdict(), Verdict::Unwitnessed, "{report:?}");
        assert_eq!((report.retired, report.entries), (601, 22));
        assert_eq!(log.retire(&days(183), later).unwrap(), 0, "nothing goes twice");
        assert!(!state.path().join("audit/gw-1/0000000001/tile/entries").exists());
    }

    #[test]
    fn nothing_that_is_younger_goes_and_a_running_epoch_keeps_its_last_bundle() {
        let state = tempfile::tempdir().unwrap();
        let log = log_at(state.path(), now(), 300);

        assert_eq!(log.retire(&days(0), now()).unwrap(), 0);
        let gone = log.retire(&days(1), now() + 2 * DAY).unwrap();
        log.checkpoint().unwrap();

        assert_eq!(gone, 512);
        drop(log);
        let next = log_at(state.path(), now() + 3 * DAY, 1);
        let report = judge(state.path());
        assert_eq!(report.verdict(), Verdict::Unwitnessed, "{report:?}");
        assert_eq!((report.retired, report.entries), (512, 90 + 3));
        drop(next);
    }

    #[test]
    fn a_class_that_is_kept_longer_keeps_its_bundle_and_what_came_after_and_no_other_epoch() {
        let state = tempfile::tempdir().unwrap();
        let labels: [std::sync::Arc<str>; 0] = [];
        let data = |class| super::super::DataNote {
            labels: &labels,
            from: &[],
            class,
            class_from: None,
            purpose: None,
            purpose_from: None,
        };
        drop(log_at(state.path(), now(), 300));
        let log = AuditLog::open(settings(state.path(), "gw-1"), now()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for number in 0..600 {
            let decision = format!("d-{number}");
            let class = if number == 200 { "secret" } else { "internal" };
            let intent = super::super::Intent { at: now(), data: Some(data(class)), ..intent(&decision) };
            runtime.block_on(log.intent(&intent)).unwrap().close(super::super::Outcome { at: now(), ..outcome() });
        }
        log.flush().unwrap();
        drop(log);
        let later = now() + 200 * DAY;
        let log = log_at(state.path(), later, 1);

        let kept = Retention { all: 183 * DAY, classes: vec![("secret".to_owned(), 365 * DAY)] };
        let first = log.retire(&kept, later).unwrap();
        log.checkpoint().unwrap();
        let report = judge(state.path());
        let year = later + 200 * DAY;
        let rest = log.retire(&kept, year).unwrap();

        // The first epoch whole; of the second its first bundle, before the secret one.
        assert_eq!(
            (first, report.retired, report.verdict()),
            (601 + 256, 601 + 256, Verdict::Unwitnessed),
            "{report:?}"
        );
        assert_eq!(rest, 1 + 1_200 - 256);
        // A class that is said to be kept for less is kept as all are.
        let shorter = Retention { all: 400 * DAY, classes: vec![("internal".to_owned(), DAY)] };
        assert_eq!(log.retire(&shorter, year).unwrap(), 0);
    }

    #[test]
    fn a_bundle_that_went_without_a_word_is_damage() {
        let state = tempfile::tempdir().unwrap();
        let log = log_at(state.path(), now(), 300);
        fs::remove_file(entries_path(log.folder(), 0)).unwrap();

        let report = judge(state.path());

        assert_eq!(report.verdict(), Verdict::Damaged);
    }
}
