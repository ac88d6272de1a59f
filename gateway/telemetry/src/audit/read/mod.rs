//! The log as an auditor reads it: checked from the bytes up, with nothing of the gateway running.
//!
//! **For.** [`verify`] finds every change, deletion, reordering or truncation and says where; [`show`] gives a record with
//! a proof that can be checked alone; [`scan`] goes through the entries for exports and counts.
//!
//! **Promises.** Every byte of every file below the folder is either accounted for or reported. Nothing is written.
//!
//! **Does not do.** It cannot see a log that its operator has rewritten whole and signed anew. Copies of checkpoints in a
//! second place show that; without them [`Report::verdict`] is at best [`Verdict::Unwitnessed`].

mod epoch;
mod exposure;
mod line;
mod place;
mod reach;
mod scan;
mod show;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;
use super::copies::Copies;
use super::epoch::{DIGITS, Predecessor, is_origin};
use super::note::VerifierKey;
use super::tree::TILE;

pub(super) use epoch::OPENING;
pub use exposure::{Exposure, Question, Touched, exposure};
pub use line::Line;
pub use place::meant;
pub use reach::COPIED_WITHIN;
pub(super) use scan::last_bundle;
pub use scan::{Stand, scan};
pub(super) use show::proof_text;
pub use show::{Shown, ShownError, show};

use epoch::{EpochCheck, Task};
use reach::Reach;

#[cfg(test)]
mod tests;

/// What an auditor trusts.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The public keys that checkpoints may be signed with.
    pub keys: &'a [VerifierKey],
    /// The second place, where checkpoints were copied to.
    pub witness: Option<&'a Path>,
    /// The origins that there must be, exactly these.
    pub fleet: Option<&'a [String]>,
}

/// Something that was found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file below the folder, and the entry or byte in it.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.what)
    }
}

/// How a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was changed, and the second place agrees: only what was written within [`COPIED_WITHIN`] of the end of the
    /// log of a process that did not close it is in no copy.
    Whole,
    /// It agrees with itself. Nothing outside says that it was not rewritten, or from some entry on.
    Unwitnessed,
    /// Something could not be read, so it is not known.
    Unreadable,
    /// Something was changed.
    Damaged,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Origins that were looked at.
    pub origins: usize,
    /// Epochs that were looked at.
    pub epochs: usize,
    /// Entries that were read.
    pub entries: u64,
    /// Entries that were removed after their time; their hashes are there.
    pub retired: u64,
    /// Entries behind the last signature of their epoch.
    pub unsigned: u64,
    /// Entries that a copy in the second place vouches for, by itself or through a later epoch's opening.
    pub vouched: u64,
    /// By kind, how many entries were read.
    pub kinds: BTreeMap<String, u64>,
    /// What was changed.
    pub damage: Vec<Finding>,
    /// What could not be read.
    pub unreadable: Vec<Finding>,
    /// What the second place does not vouch for.
    pub unwitnessed: Vec<Finding>,
    /// What an auditor wants to know and is no damage: how processes ended, torn entries that were owned up to.
    pub notes: Vec<Finding>,
}

impl Report {
    /// The answer in one word.
    pub fn verdict(&self) -> Verdict {
        match self {
            report if !report.damage.is_empty() => Verdict::Damaged,
            report if !report.unreadable.is_empty() => Verdict::Unreadable,
            report if !report.unwitnessed.is_empty() => Verdict::Unwitnessed,
            _ => Verdict::Whole,
        }
    }
}

/// Checks all logs below `folder`.
///
/// # Errors
/// When the folder itself cannot be listed. Everything else is in the report.
pub fn verify(folder: &Path, trust: &Trust<'_>) -> io::Result<Report> {
    let mut report = Report::default();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_origin(&name) && entry.file_type()?.is_dir() {
            found.push(name);
        } else {
            report.damage.push(finding(&name, "is not part of any log"));
        }
    }
    found.sort();
    let copies = trust.witness.map(Copies::below).transpose().unwrap_or_else(|error| {
        let place = trust.witness.map(|folder| folder.display().to_string()).unwrap_or_default();
        report.cannot_read(&place, &error);
        None
    });
    let copies = copies.unwrap_or_default();
    for missing in trust.fleet.unwrap_or_default().iter().filter(|origin| !found.contains(origin)) {
        report.damage.push(finding(missing, "the log of this origin is missing"));
    }
    for gone in copies.origins().into_iter().filter(|origin| !found.iter().any(|there| there == origin)) {
        judge_gone(gone, trust, &copies, &mut report);
    }
    if found.is_empty() && trust.fleet.is_none_or(<[String]>::is_empty) {
        report.unreadable.push(finding(".", "there is no log here"));
    }
    for origin in found {
        if trust.fleet.is_some_and(|fleet| !fleet.contains(&origin)) {
            report.damage.push(finding(&origin, "this origin is not one of the fleet"));
        }
        verify_origin((&folder.join(&origin), &origin), (trust, &copies), &mut report);
        report.origins += 1;
    }
    Ok(report)
}

/// An origin without a log here, of which the second place has copies.
///
/// Several gateways may share a second place, and an auditor may look at one of them: whose key was given is expected.
fn judge_gone(origin: &str, trust: &Trust<'_>, copies: &Copies, report: &mut Report) {
    if trust.fleet.is_some_and(|fleet| fleet.iter().any(|member| member == origin)) {
        // Told already, as one of the fleet.
        return;
    }
    let is_signed = copies.epochs(origin).any(|epoch| {
        let log = Checkpoint::log_name(origin, epoch);
        let texts = copies.of(origin, epoch).iter().filter_map(|file| std::fs::read(file).ok());
        let notes = texts.flat_map(|text| super::copies::notes(&String::from_utf8_lossy(&text)).0);
        notes.into_iter().any(|note| Checkpoint::open(&note, trust.keys).is_ok_and(|copy| copy.log == log))
    });
    if is_signed {
        let what = "the log of this origin is missing, and the second place has copies of its checkpoints";
        report.damage.push(finding(origin, what));
    } else {
        let what = "the second place has copies of its checkpoints; neither its log is here nor was its key given";
        report.notes.push(finding(origin, what));
    }
}

/// One origin: its epochs in order, and what each says of the one before.
fn verify_origin((home, origin): (&Path, &str), (trust, copies): (&Trust<'_>, &Copies), report: &mut Report) {
    let epochs = match list_epochs(home, origin, report) {
        Ok(epochs) => epochs,
        Err(error) => return report.cannot_read(origin, &error),
    };
    for gone in copies.epochs(origin) {
        if !epochs.iter().any(|epoch| epoch == gone) {
            let what = "this epoch is missing, and the second place has copies of its checkpoints";
            report.damage.push(finding(&format!("{origin}/{gone}"), what));
        }
    }
    let mut keys = trust.keys.to_vec();
    let mut retired = Vec::new();
    let mut missing = Vec::new();
    let mut reaches: Vec<(&str, Reach)> = Vec::new();
    for (at, name) in epochs.iter().enumerate() {
        let path = home.join(name);
        // What the next epoch says of this one; its own signature is checked in its turn.
        let successor = epochs.get(at + 1);
        let claim = successor.and_then(|next| epoch::opening_of(&home.join(next))).map(|opening| opening.predecessor);
        let task = Task {
            origin,
            name,
            path: &path,
            claim: claim.as_ref().and_then(|claim| claim.as_ref()),
            before: at.checked_sub(1).and_then(|before| epochs.get(before)).map(String::as_str),
            copies: copies.of(origin, name),
        };
        let checked = EpochCheck::new(task, report).run(&keys);
        keys.extend(checked.keys);
        retired.extend(checked.retired);
        missing.extend(checked.missing.into_iter().map(|bundle| (name.clone(), bundle)));
        reaches.push((name, checked.reach));
        report.epochs += 1;
    }
    for (epoch, bundle) in missing {
        let (first, last) = (bundle * TILE, bundle * TILE + TILE - 1);
        let is_stated = retired.iter().any(|stated: &line::Retired| {
            stated.epoch == epoch && stated.from <= first && (stated.to > last || stated.whole)
        });
        if !is_stated {
            let place = format!("{origin}/{epoch} entries {first} to {last}");
            report.damage.push(finding(&place, "are gone, and no entry says that their time was over"));
        }
    }
    reach::judge(origin, &reaches, trust.witness.is_some(), report);
}

/// The epochs of an origin, oldest first; a gap in their numbers is damage.
fn list_epochs(home: &Path, origin: &str, report: &mut Report) -> io::Result<Vec<String>> {
    let mut epochs = Vec::new();
    for entry in std::fs::read_dir(home)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit()) && entry.file_type()?.is_dir() {
            epochs.push(name);
        } else {
            report.damage.push(finding(&format!("{origin}/{name}"), "is not part of the log"));
        }
    }
    epochs.sort();
    let mut expected = 1;
    for epoch in &epochs {
        let number: u64 = epoch.parse().unwrap_or(expected);
        while expected < number {
            let place = format!("{origin}/{expected:0DIGITS$}");
            report.damage.push(finding(&place, "this epoch is missing"));
            expected += 1;
            // A far number is one gap for a reader, not a billion.
            if number - expected > 16 {
                expected = number;
            }
        }
        expected = number + 1;
    }
    Ok(epochs)
}

impl Report {
    fn cannot_read(&mut self, place: &str, error: &io::Error) {
        let list =
            if matches!(error.kind(), ErrorKind::PermissionDenied) { &mut self.unreadable } else { &mut self.damage };
        list.push(finding(place, &format!("cannot be read: {error}")));
    }
}

fn finding(place: &str, what: &str) -> Finding {
    Finding { place: place.to_owned(), what: what.to_owned() }
}

/// Every file below `folder`, sorted; folders themselves are not listed, empty ones are.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let before = (files.len(), folders.len());
        for entry in std::fs::read_dir(&next)? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut folders } else { &mut files };
            list.push(entry.path());
        }
        if next != folder && before == (files.len(), folders.len()) {
            files.push(next);
        }
    }
    files.sort();
    Ok(files)
}

/// What one epoch says of the one before; `None` inside where it says that there was none.
pub(super) struct OpeningClaim {
    predecessor: Option<Predecessor>,
}
