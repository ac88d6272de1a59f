//! A record with a proof that stands alone (C2SP tlog-proof).

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::super::bundle::{CHECKPOINT, Entries};
use super::super::checkpoint::Checkpoint;
use super::super::epoch::{read_bundle, read_tile};
use super::super::note::{NoteError, VerifierKey};
use super::super::tree::{Growth, Hash, TILE, inclusion, is_included, leaf};
use super::line::Line;
use super::scan::scan;

/// The first line of a proof.
const HEAD: &str = "c2sp.org/tlog-proof@v1";

/// One entry of a record, and why it is to be believed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// The gateway that wrote it.
    pub origin: String,
    /// The epoch.
    pub epoch: String,
    /// Its place in the epoch, from 0.
    pub index: u64,
    /// The entry, byte for byte.
    pub entry: String,
    /// That the signed tree holds it; none where no checkpoint covers it yet.
    pub proof: Option<String>,
}

/// Why a shown entry is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum ShownError {
    /// There is no proof.
    #[error("no checkpoint covered it yet when it was shown")]
    Unsigned,
    /// The proof is no proof.
    #[error("the proof is not in the form of c2sp.org/tlog-proof")]
    Form,
    /// The checkpoint does not hold.
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(#[from] NoteError),
    /// The checkpoint is of another log.
    #[error("the checkpoint is of another log, `{0}`")]
    Log(String),
    /// The tree does not hold this entry at this place.
    #[error("the signed tree does not hold this entry at this place")]
    NotIncluded,
}

impl Shown {
    /// Checks it with nothing but public keys.
    ///
    /// # Errors
    /// [`ShownError`]: it is not to be believed.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<(), ShownError> {
        let proof = self.proof.as_deref().ok_or(ShownError::Unsigned)?;
        let (head, note) = proof.split_once("\n\n").ok_or(ShownError::Form)?;
        let mut lines = head.lines();
        let index = format!("index {}", self.index);
        if lines.next() != Some(HEAD) || lines.next() != Some(&index) {
            return Err(ShownError::Form);
        }
        let hashes = lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok());
        let hashes = hashes.collect::<Option<Vec<Hash>>>().ok_or(ShownError::Form)?;
        let checkpoint = Checkpoint::open(note, keys)?;
        if checkpoint.log != Checkpoint::log_name(&self.origin, &self.epoch) {
            return Err(ShownError::Log(checkpoint.log));
        }
        let held = is_included(&leaf(self.entry.as_bytes()), (self.index, checkpoint.size), &hashes, &checkpoint.root);
        if held { Ok(()) } else { Err(ShownError::NotIncluded) }
    }
}

/// Every entry that belongs to `decision`.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn show(folder: &Path, decision: &str) -> io::Result<Vec<Shown>> {
    let finder = memmem::Finder::new(decision.as_bytes());
    let mut found = Vec::new();
    scan(
        folder,
        |bundle| finder.find(bundle).is_some(),
        |stand, entry| {
            let is_its = Line::parse(entry).is_some_and(|line| line.decision.as_deref() == Some(decision));
            if is_its {
                let path = folder.join(stand.origin).join(stand.epoch);
                found.push(Shown {
                    origin: stand.origin.to_owned(),
                    epoch: stand.epoch.to_owned(),
                    index: stand.index,
                    entry: String::from_utf8_lossy(entry).into_owned(),
                    proof: prove(&path, stand.index),
                });
            }
            Ok(())
        },
    )?;
    Ok(found)
}

/// The proof of an entry against its epoch's checkpoint.
fn prove(epoch: &Path, index: u64) -> Option<String> {
    let note = std::fs::read_to_string(epoch.join(CHECKPOINT)).ok()?;
    let size = Checkpoint::claimed(&note)?.size;
    if index >= size {
        return None;
    }
    let source = Source { epoch: epoch.to_owned() };
    let hashes = inclusion(index, size, &|level, tile| source.hashes(level, tile))?;
    Some(proof_text(index, &hashes, &note))
}

/// The proof as text: the way to the root that the note signs.
pub(in super::super) fn proof_text(index: u64, hashes: &[Hash], note: &str) -> String {
    let mut proof = format!("{HEAD}\nindex {index}\n");
    hashes.iter().for_each(|hash| {
        let _ = writeln!(proof, "{}", STANDARD.encode(hash));
    });
    format!("{proof}\n{note}")
}

/// Tiles from the disk, and where one is not written yet, from the entries.
struct Source {
    epoch: PathBuf,
}

impl Source {
    fn hashes(&self, level: u8, index: u64) -> Option<Vec<Hash>> {
        if let Some(hashes) = read_tile(&self.epoch, level, index).ok()? {
            return Some(hashes);
        }
        let Some(below) = level.checked_sub(1) else {
            let bytes = read_bundle(&self.epoch, index).ok()??;
            return Some(Entries::new(&bytes).map_while(Result::ok).map(leaf).collect());
        };
        let mut hashes = Vec::new();
        while (hashes.len() as u64) < TILE {
            let Some(children) = self.hashes(below, index * TILE + hashes.len() as u64) else { break };
            if (children.len() as u64) < TILE {
                break;
            }
            let mut whole = Growth::default();
            children.iter().for_each(|hash| whole.push(*hash));
            hashes.push(whole.root());
        }
        Some(hashes)
    }
}
