//! The folder of an epoch: how it is made, and what the one before it looks like.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::bundle::{Entries, entries_path, partial, tile_path};
use super::tree::{Growth, Hash, TILE, hex, leaf, sha256};
use super::{AuditError, files, stamp};

/// Version of the file format, in the opening entry of every epoch.
pub const FORMAT_VERSION: u32 = 2;

/// Digits of an epoch's name, so that order by name is order by number.
pub(super) const DIGITS: usize = 10;

/// A new epoch.
pub(super) struct Opened {
    pub(super) epoch: String,
    pub(super) folder: PathBuf,
    pub(super) predecessor: Option<Predecessor>,
}

/// The opening entry.
#[derive(Serialize)]
pub(super) struct Opening<'a> {
    pub(super) format_version: u32,
    pub(super) origin: &'a str,
    pub(super) epoch: &'a str,
    /// Null for the first epoch of an origin: written out, so that its absence is a statement.
    pub(super) predecessor: Option<&'a Predecessor>,
    /// The public key whose signatures this epoch's checkpoints bear.
    pub(super) key: &'a str,
    pub(super) pid: u32,
    pub(super) version: &'a str,
    #[serde(serialize_with = "stamp::serialize")]
    pub(super) at: SystemTime,
}

/// The closing entry.
#[derive(Serialize)]
pub(super) struct Seal<'a> {
    #[serde(serialize_with = "stamp::serialize")]
    pub(super) at: SystemTime,
    pub(super) reason: &'a str,
    pub(super) count: u64,
    pub(super) open: u64,
    /// Outcomes; the name is from when nothing else could be lost.
    pub(super) lost: u64,
    pub(super) lost_actions: u64,
    pub(super) lost_refusals: u64,
}

/// The epoch before, as it was found. It is part of an entry, so this epoch's checkpoints vouch for that one as well,
/// its last entries included, which a killed process had no time to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Predecessor {
    pub(super) epoch: String,
    pub(super) end: Tail,
    /// Whole entries when it was looked at; there are more later if the other process still runs.
    pub(super) size: u64,
    /// The root over them, in hex.
    pub(super) root: String,
    /// Bytes behind the last whole entry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) torn_bytes: u64,
    /// SHA-256 of those bytes, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) torn_sha256: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How an epoch's files end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tail {
    /// With its closing entry.
    Sealed,
    /// With a whole entry: its process still runs, or died between two entries.
    Open,
    /// In the middle of an entry: its process died while writing, or is just writing.
    Torn,
    /// Nothing was written, or there is no file.
    Empty,
}

/// Makes the next epoch of `origin` below `folder`.
pub(super) fn create(folder: &Path, origin: &str) -> Result<Opened, AuditError> {
    if !is_origin(origin) {
        return Err(AuditError::Origin(origin.to_owned()));
    }
    let home = folder.join(origin);
    files::make_folder(&home).map_err(at(&home))?;

    loop {
        let latest = latest_epoch(&home)?;
        let epoch = format!("{:0DIGITS$}", latest.as_ref().map_or(0, |(number, _)| *number) + 1);
        let own = home.join(&epoch);
        match files::claim_folder(&own) {
            Ok(()) => {}
            // Another process took the number between our look and our try; it is our predecessor now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(source) => return Err(AuditError::Folder { path: own, source }),
        }
        files::sync_up_to(&home, folder).map_err(at(&home))?;

        let predecessor = latest.map(|(_, name)| {
            let path = home.join(&name);
            survey(&path).map(|survey| survey.predecessor(name)).map_err(at(&path))
        });
        return Ok(Opened { epoch, folder: own, predecessor: predecessor.transpose()? });
    }
}

/// The highest epoch of an origin. Names that are not numbers are not ours and are left alone.
fn latest_epoch(home: &Path) -> Result<Option<(u64, String)>, AuditError> {
    let mut latest = None;
    for entry in fs::read_dir(home).map_err(at(home))? {
        let name = entry.map_err(at(home))?.file_name();
        let Some(name) = name.to_str().filter(|name| name.len() == DIGITS) else { continue };
        let Ok(number) = name.parse::<u64>() else { continue };
        latest = latest.max(Some((number, name.to_owned())));
    }

    Ok(latest)
}

/// What an epoch's files hold; nothing in them is changed or checked.
pub(super) struct Survey {
    /// The tree over the whole entries.
    pub(super) growth: Growth,
    /// Bytes behind the last whole entry.
    torn: Vec<u8>,
    sealed: bool,
}

impl Survey {
    pub(super) fn predecessor(&self, epoch: String) -> Predecessor {
        let end = match (self.torn.is_empty(), self.growth.size()) {
            (false, _) => Tail::Torn,
            (true, 0) => Tail::Empty,
            (true, _) if self.sealed => Tail::Sealed,
            (true, _) => Tail::Open,
        };
        Predecessor {
            epoch,
            end,
            size: self.growth.size(),
            root: hex(&self.growth.root()),
            torn_bytes: self.torn.len() as u64,
            torn_sha256: Some(hex(&sha256(&self.torn))).filter(|_| !self.torn.is_empty()),
        }
    }
}

/// Reads an epoch's hashes where there are full tiles of them, and its entries behind those.
pub(super) fn survey(epoch: &Path) -> io::Result<Survey> {
    let mut growth = Growth::default();
    for level in (0..8_u8).rev() {
        let span = TILE.pow(level.into()).saturating_mul(TILE);
        while let Some(hashes) = read_tile(epoch, level, growth.size() / span)? {
            hashes.iter().for_each(|hash| growth.push_subtree(level, *hash));
            growth.take_full();
        }
    }
    let mut survey = Survey { growth, torn: Vec::new(), sealed: false };
    if survey.growth.size() > 0
        && let Some(bytes) = read_bundle(epoch, survey.growth.size() / TILE - 1)?
    {
        survey.sealed = Entries::new(&bytes).last().is_some_and(|entry| entry.is_ok_and(is_seal));
    }
    while let Some(bytes) = read_bundle(epoch, survey.growth.size() / TILE)? {
        for entry in Entries::new(&bytes) {
            match entry {
                Ok(entry) => {
                    survey.growth.push(leaf(entry));
                    survey.sealed = is_seal(entry);
                }
                Err(torn) => survey.torn = bytes.get(torn.at..).unwrap_or_default().to_owned(),
            }
        }
        survey.growth.take_full();
        if !survey.torn.is_empty() || !survey.growth.size().is_multiple_of(TILE) || bytes.is_empty() {
            break;
        }
    }
    Ok(survey)
}

/// The hashes of a full tile.
pub(super) fn read_tile(epoch: &Path, level: u8, index: u64) -> io::Result<Option<Vec<Hash>>> {
    let Some(bytes) = read_if_there(&tile_path(epoch, level, index))? else { return Ok(None) };
    let (hashes, rest) = bytes.as_chunks::<32>();
    Ok((rest.is_empty() && hashes.len() as u64 == TILE).then(|| hashes.to_vec()))
}

/// A bundle, whether it is full, still grows, or is the partial one of a sealed epoch.
pub(super) fn read_bundle(epoch: &Path, number: u64) -> io::Result<Option<Vec<u8>>> {
    let path = entries_path(epoch, number);
    if let Some(bytes) = read_if_there(&path)? {
        return Ok(Some(bytes));
    }
    for width in 1..TILE {
        if let Some(bytes) = read_if_there(&partial(&path, width))? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn is_seal(entry: &[u8]) -> bool {
    entry.starts_with(b"{\"kind\":\"seal\"")
}

/// A folder name that cannot leave its parent and is the same on every file system.
pub fn is_origin(origin: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = origin.bytes().next().is_some_and(plain);
    first && origin.len() <= 64 && origin.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

fn at(path: &Path) -> impl Fn(io::Error) -> AuditError + use<> {
    let path = path.to_owned();
    move |source| AuditError::Folder { path: path.clone(), source }
}
