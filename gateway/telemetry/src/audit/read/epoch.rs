//! One epoch: every entry hashed again, every file held against what it must be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::super::bundle::{CHECKPOINT, Entries, entries_path, partial, tile_path};
use super::super::checkpoint::Checkpoint;
use super::super::copies;
use super::super::epoch::{FORMAT_VERSION, Predecessor, read_bundle};
use super::super::note::{NoteError, VerifierKey};
use super::super::tree::{Growth, Hash, TILE, Tile, hex, leaf, sha256};
use super::line::{Line, NewKey, Opening, Retired, Seal};
use super::reach::Reach;
use super::{Finding, OpeningClaim, Report, files_below, finding};

/// The file that keeps an opening entry when the bundle that held it has been retired.
pub(in super::super) const OPENING: &str = "opening";

/// Which epoch, and what is known of it from elsewhere.
pub(super) struct Task<'a> {
    pub(super) origin: &'a str,
    pub(super) name: &'a str,
    pub(super) path: &'a Path,
    /// What the next epoch found here when it began.
    pub(super) claim: Option<&'a Predecessor>,
    /// The epoch before, which the opening must name.
    pub(super) before: Option<&'a str>,
    /// The files of copies in the second place.
    pub(super) copies: &'a [PathBuf],
}

/// What an epoch says that matters for the others.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) keys: Vec<VerifierKey>,
    pub(super) retired: Vec<Retired>,
    /// Bundles that are not there although their hashes are.
    pub(super) missing: Vec<u64>,
    /// How far it is vouched for from outside.
    pub(super) reach: Reach,
}

/// A statement about the first `size` entries.
struct Goal {
    size: u64,
    root: Hash,
    who: Voucher,
    met: bool,
}

/// Who makes a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voucher {
    Next,
    Checkpoint,
    Copy,
}

impl Voucher {
    fn words(self) -> &'static str {
        match self {
            Self::Next => "the next epoch's opening",
            Self::Checkpoint => "the checkpoint",
            Self::Copy => "a copy in the second place",
        }
    }
}

/// The check of one epoch.
pub(super) struct EpochCheck<'a> {
    task: Task<'a>,
    report: &'a mut Report,
    growth: Growth,
    goals: Vec<Goal>,
    tiles: Vec<Tile>,
    expected: BTreeSet<PathBuf>,
    checked: Checked,
    sealed: bool,
    torn: Option<(PathBuf, u64, Vec<u8>)>,
    signed: u64,
    /// Entries whose hashes alone are there.
    retired: u64,
    /// When the entry before was written.
    written: Option<OffsetDateTime>,
}

/// What an epoch's first entry says of the one before; `None` where it cannot be read.
pub(super) fn opening_of(path: &Path) -> Option<OpeningClaim> {
    let kept = std::fs::read(path.join(OPENING)).ok();
    let bundle = kept.is_none().then(|| read_bundle(path, 0).ok().flatten()).flatten();
    let entry = match (&kept, &bundle) {
        (Some(entry), _) => Some(entry.as_slice()),
        (None, Some(bundle)) => Entries::new(bundle).next()?.ok(),
        (None, None) => None,
    };
    let opening: Opening = serde_json::from_slice(entry?).ok()?;
    Some(OpeningClaim { predecessor: opening.predecessor })
}

impl<'a> EpochCheck<'a> {
    pub(super) fn new(task: Task<'a>, report: &'a mut Report) -> Self {
        Self {
            task,
            report,
            growth: Growth::default(),
            goals: Vec::new(),
            tiles: Vec::new(),
            expected: BTreeSet::new(),
            checked: Checked::default(),
            sealed: false,
            torn: None,
            signed: 0,
            retired: 0,
            written: None,
        }
    }

    pub(super) fn run(mut self, keys: &[VerifierKey]) -> Checked {
        let damage = self.report.damage.len();
        self.read_claim();
        self.read_checkpoint(keys);
        self.read_copies(keys);
        self.read_entries();
        self.judge_goals();
        self.judge_tail();
        self.judge_tiles();
        self.judge_files();
        if self.report.damage.len() > damage {
            // What a damaged epoch says of keys and of removed entries is no reason to believe anything.
            (self.checked.keys, self.checked.retired) = (Vec::new(), Vec::new());
        }
        self.checked
    }

    // ---- what is said of the tree

    fn read_claim(&mut self) {
        let Some(claim) = self.task.claim else { return };
        if claim.epoch != self.task.name {
            self.damage("", &format!("the next epoch names `{}` as the one before it", claim.epoch));
            return;
        }
        match from_hex(&claim.root) {
            Some(root) => self.goal(claim.size, root, Voucher::Next),
            None => self.damage("", "the next epoch's opening gives no root for it"),
        }
    }

    fn read_checkpoint(&mut self, keys: &[VerifierKey]) {
        self.expected.insert(CHECKPOINT.into());
        let path = self.task.path.join(CHECKPOINT);
        let note = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // A process that dies as it begins has had no time to sign.
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && self.task.claim.is_some_and(|c| c.size <= 1) =>
            {
                return self.note("", "its process died before it signed anything");
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.damage(CHECKPOINT, "is missing");
            }
            Err(error) => return self.report.cannot_read(&self.place(CHECKPOINT), &error),
        };
        let opened =
            String::from_utf8(note).map_err(|_| NoteError::Form).and_then(|note| Checkpoint::open(&note, keys));
        match opened {
            Ok(checkpoint) if checkpoint.log != self.log() => {
                self.damage(CHECKPOINT, &format!("it is of another log, `{}`", checkpoint.log));
            }
            Ok(checkpoint) => {
                self.signed = checkpoint.size;
                self.goal(checkpoint.size, checkpoint.root, Voucher::Checkpoint);
            }
            Err(error) => self.damage(CHECKPOINT, &error.to_string()),
        }
    }

    fn read_copies(&mut self, keys: &[VerifierKey]) {
        for file in self.task.copies {
            match std::fs::read(file) {
                Ok(bytes) => self.read_copies_of(file, &String::from_utf8_lossy(&bytes), keys),
                Err(error) => self.report.cannot_read(&file.display().to_string(), &error),
            }
        }
    }

    fn read_copies_of(&mut self, file: &Path, text: &str, keys: &[VerifierKey]) {
        let place = file.display().to_string();
        let (notes, pieces) = copies::notes(text);
        if pieces > 0 {
            self.report.notes.push(finding(&place, &format!("{pieces} copies are not whole")));
        }
        for note in notes {
            match Checkpoint::open(&note, keys) {
                Ok(checkpoint) if checkpoint.log == self.log() => {
                    self.goal(checkpoint.size, checkpoint.root, Voucher::Copy);
                }
                Ok(checkpoint) => {
                    self.report
                        .damage
                        .push(finding(&place, &format!("a copy is of another log, `{}`", checkpoint.log)));
                }
                Err(error) => self.report.notes.push(finding(&place, &format!("a copy does not count: {error}"))),
            }
        }
    }

    fn goal(&mut self, size: u64, root: Hash, who: Voucher) {
        self.goals.push(Goal { size, root, who, met: false });
    }

    // ---- the entries

    fn read_entries(&mut self) {
        self.meet_goals();
        for number in 0.. {
            let path = entries_path(Path::new(""), number);
            let Some((path, bytes, width)) = self.find_bundle(&path) else {
                if self.read_hashes(number) {
                    continue;
                }
                break;
            };
            self.expected.insert(path.clone());
            let before = self.growth.size();
            self.read_bundle(&path, &bytes);
            let read = self.growth.size() - before;
            if width.is_some_and(|width| width != read) {
                self.damage_at(&path, &format!("holds {read} entries, and its name says otherwise"));
            }
            if read < TILE {
                if self.task.path.join(entries_path(Path::new(""), number + 1)).exists() {
                    self.damage_at(&path, &format!("holds only {read} entries, and another bundle follows"));
                }
                break;
            }
        }
        self.report.entries += self.growth.size() - self.retired;
        self.report.retired += self.retired;
    }

    /// The bundle at `path`, with the number of entries that a partial one is named for.
    fn find_bundle(&mut self, path: &Path) -> Option<(PathBuf, Vec<u8>, Option<u64>)> {
        let widths = (1..TILE).map(|width| (partial(path, width), Some(width)));
        for (path, width) in std::iter::once((path.to_owned(), None)).chain(widths) {
            match std::fs::read(self.task.path.join(&path)) {
                Ok(bytes) => return Some((path, bytes, width)),
                Err(error)
                    if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
                {
                    // Without the folder of partial bundles there is nothing to look for in it.
                    if width.is_none() && !self.task.path.join(partial(&path, 1)).parent().is_some_and(Path::exists) {
                        return None;
                    }
                }
                Err(error) => {
                    let place = self.place(&path.display().to_string());
                    self.report.cannot_read(&place, &error);
                    return None;
                }
            }
        }
        None
    }

    /// Takes the hashes of a bundle whose entries are gone; false where there are none either.
    fn read_hashes(&mut self, number: u64) -> bool {
        let path = tile_path(Path::new(""), 0, number);
        let widths = (1..TILE).rev().map(|width| partial(&path, width));
        let found = std::iter::once(path.clone()).chain(widths).find_map(|path| {
            let bytes = std::fs::read(self.task.path.join(&path)).ok()?;
            bytes.as_chunks::<32>().1.is_empty().then_some(bytes)
        });
        let Some(bytes) = found else { return false };
        if number == 0 {
            self.expected.insert(OPENING.into());
            let kept = std::fs::read(self.task.path.join(OPENING)).unwrap_or_default();
            match bytes.first_chunk::<32>() {
                Some(first) if leaf(&kept) == *first => self.read_opening(&kept, OPENING),
                _ => self.damage(OPENING, "is missing, or is not the entry that was signed"),
            }
        }
        self.checked.missing.push(number);
        for hash in bytes.as_chunks::<32>().0 {
            self.push(*hash, None);
            self.retired += 1;
        }
        bytes.len() as u64 == 32 * TILE
    }

    fn read_bundle(&mut self, path: &Path, bytes: &[u8]) {
        let mut entries = Entries::new(bytes);
        loop {
            let at = entries.at();
            match entries.next() {
                None => return,
                Some(Ok(entry)) if !self.growth.size().is_multiple_of(TILE) || at == 0 => {
                    self.read_entry(entry, path, at);
                    self.push(leaf(entry), self.written);
                }
                Some(Ok(_)) => return self.damage_at(path, &format!("byte {at}: holds more than {TILE} entries")),
                Some(Err(torn)) => {
                    let rest = bytes.get(torn.at..).unwrap_or_default().to_owned();
                    self.torn = Some((path.to_owned(), torn.at as u64, rest));
                    return;
                }
            }
        }
    }

    fn push(&mut self, hash: Hash, written: Option<OffsetDateTime>) {
        self.growth.push(hash);
        self.checked.reach.grow(written);
        self.tiles.extend(self.growth.take_full());
        self.meet_goals();
    }

    fn read_entry(&mut self, entry: &[u8], path: &Path, at: usize) {
        let index = self.growth.size();
        let place = || format!("{} entry {index} (byte {at})", path.display());
        let Some(line) = Line::parse(entry) else {
            return self.damage(&place(), "is not JSON");
        };
        // One that bears no time came behind the one before it.
        self.written = line.written().or(self.written);
        if self.sealed {
            self.damage(&place(), "stands behind the closing entry");
        }
        match &*line.kind {
            "open" if index == 0 => self.read_opening(entry, &place()),
            "open" => self.damage(&place(), "is a second opening entry"),
            _ if index == 0 => self.damage(&place(), "is not an opening entry, and stands first"),
            "seal" => {
                self.sealed = true;
                self.checked.reach.seal();
                let count = serde_json::from_slice(entry).map_or(0, |seal: Seal| seal.count);
                if count != index + 1 {
                    self.damage(&place(), &format!("counts {count} entries where there are {}", index + 1));
                }
            }
            "key" => {
                let key = serde_json::from_slice(entry).ok().and_then(|key: NewKey| VerifierKey::parse(&key.key).ok());
                self.checked.keys.extend(key);
            }
            "retired" => self.checked.retired.extend(serde_json::from_slice::<Retired>(entry)),
            _ => {}
        }
        *self.report.kinds.entry(line.kind.into_owned()).or_default() += 1;
    }

    fn read_opening(&mut self, entry: &[u8], place: &str) {
        let Ok(opening) = serde_json::from_slice::<Opening>(entry) else {
            return self.damage(place, "is no opening entry");
        };
        if opening.format_version > FORMAT_VERSION {
            let what = format!("is of format {}, newer than this program knows", opening.format_version);
            self.report.unreadable.push(finding(&self.place(place), &what));
        }
        if (opening.origin.as_str(), opening.epoch.as_str()) != (self.task.origin, self.task.name) {
            self.damage(place, &format!("belongs to {}/{}", opening.origin, opening.epoch));
        }
        let named = opening.predecessor.as_ref().map(|before| before.epoch.as_str());
        if named != self.task.before && (named.is_some() || self.task.before.is_some()) {
            let named = named.unwrap_or("none");
            self.damage(place, &format!("names {named} as the epoch before, and that is not the one that is there"));
        }
    }

    // ---- what follows from it

    fn meet_goals(&mut self) {
        let size = self.growth.size();
        if self.goals.iter().all(|goal| goal.met || goal.size != size) {
            return;
        }
        let root = self.growth.root();
        let mut wrong = Vec::new();
        for goal in self.goals.iter_mut().filter(|goal| goal.size == size && !goal.met) {
            goal.met = true;
            match goal.who {
                who if goal.root != root => {
                    wrong.push(format!("the first {size} entries are not those that {} vouches for", who.words()));
                }
                Voucher::Next => self.checked.reach.is_claimed(),
                Voucher::Copy => self.checked.reach.is_copied(),
                // Whoever changes the log with its key signs it anew.
                Voucher::Checkpoint => {}
            }
        }
        wrong.iter().for_each(|what| self.damage("tile/entries", what));
    }

    fn judge_goals(&mut self) {
        let size = self.growth.size();
        let lacking: Vec<String> = (self.goals.iter().filter(|goal| !goal.met))
            .map(|goal| format!("has {size} entries where {} vouches for {}", goal.who.words(), goal.size))
            .collect();
        lacking.iter().for_each(|what| self.damage("tile/entries", what));
        if size == 0 && self.task.claim.is_none_or(|claim| claim.size > 0) {
            self.damage("", "there is no entry in it");
        }
    }

    fn judge_tail(&mut self) {
        if let Some((path, at, bytes)) = self.torn.take() {
            let stated = self.task.claim.is_some_and(|claim| {
                claim.size == self.growth.size()
                    && claim.torn_bytes == bytes.len() as u64
                    && claim.torn_sha256.as_deref() == Some(&hex(&sha256(&bytes)))
            });
            let place = format!("{} byte {at}", path.display());
            if stated {
                let what = format!(
                    "its process died while it wrote; {} bytes are half an entry, as the next epoch said",
                    bytes.len()
                );
                self.note(&place, &what);
            } else {
                self.damage(&place, &format!("{} bytes are not an entry", bytes.len()));
            }
        } else if !self.sealed && self.growth.size() > 0 {
            let how = if self.task.claim.is_some() {
                "its process died before it could close it"
            } else {
                "is not closed: its process runs or died"
            };
            self.note("", how);
        }
        let vouched = self.goals.iter().filter(|goal| goal.met).map(|goal| goal.size).max().unwrap_or(0);
        let unsigned = self.growth.size().saturating_sub(vouched);
        self.report.unsigned += unsigned;
        if unsigned > 0 && self.sealed {
            self.note("", &format!("{unsigned} entries came after the last checkpoint"));
        }
    }

    fn judge_tiles(&mut self) {
        for tile in std::mem::take(&mut self.tiles) {
            let path = tile_path(Path::new(""), tile.level, tile.index);
            let end = (tile.index + 1).saturating_mul(TILE.saturating_pow(u32::from(tile.level) + 1));
            self.judge_tile(&path, &tile.bytes(), end <= self.signed);
        }
        for (level, hashes) in self.growth.partial().to_vec().into_iter().enumerate() {
            let index = self.growth.size() / TILE.saturating_pow(level as u32 + 1);
            if !hashes.is_empty() {
                let path = partial(&tile_path(Path::new(""), level as u8, index), hashes.len() as u64);
                self.judge_tile(&path, &hashes.concat(), false);
            }
        }
    }

    fn judge_tile(&mut self, path: &Path, bytes: &[u8], required: bool) {
        self.expected.insert(path.to_owned());
        match std::fs::read(self.task.path.join(path)) {
            Ok(found) if found == bytes => {}
            Ok(found) => {
                let at = found.iter().zip(bytes).position(|(a, b)| a != b).unwrap_or(found.len().min(bytes.len()));
                self.damage_at(path, &format!("byte {at}: the hashes are not those of the entries"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if required {
                    self.damage_at(path, "is missing");
                }
            }
            Err(error) => self.report.cannot_read(&self.place(&path.display().to_string()), &error),
        }
    }

    fn judge_files(&mut self) {
        let files = match files_below(self.task.path) {
            Ok(files) => files,
            Err(error) => return self.report.cannot_read(&self.place(""), &error),
        };
        for file in files {
            let path = file.strip_prefix(self.task.path).unwrap_or(&file).to_owned();
            if !self.expected.contains(&path) {
                self.damage_at(&path, "is not part of the log");
            }
        }
    }

    // ---- words

    fn log(&self) -> String {
        Checkpoint::log_name(self.task.origin, self.task.name)
    }

    fn place(&self, inside: &str) -> String {
        let name = self.log();
        if inside.is_empty() { name } else { format!("{name}/{inside}") }
    }

    fn damage(&mut self, inside: &str, what: &str) {
        let found = finding(&self.place(inside), what);
        // A log with a million wrong entries is told in a screenful.
        if self.report.damage.len() < MOST_FINDINGS {
            self.report.damage.push(found);
        }
    }

    fn damage_at(&mut self, path: &Path, what: &str) {
        self.damage(&path.display().to_string(), what);
    }

    fn note(&mut self, inside: &str, what: &str) {
        let note = Finding { place: self.place(inside), what: what.to_owned() };
        self.report.notes.push(note);
    }
}

/// Most damages that are told one by one.
const MOST_FINDINGS: usize = 1000;

fn from_hex(text: &str) -> Option<Hash> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut hash = [0; 32];
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
