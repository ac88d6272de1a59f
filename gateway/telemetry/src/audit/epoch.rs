//! The folder of an epoch: how it is made, and what the one before it looks like.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{AuditError, stamp};

/// Version of the file format, in the opening entry of every epoch.
pub const FORMAT_VERSION: u32 = 1;

const FILE_NAME: &str = "records.jsonl";

/// Digits of an epoch's name, so that order by name is order by number.
const DIGITS: usize = 10;

/// How far back the last line of the epoch before is looked for.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;

/// A new epoch.
pub(super) struct Opened {
    pub(super) epoch: String,
    pub(super) path: PathBuf,
    pub(super) file: File,
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
    pub(super) pid: u32,
    pub(super) version: &'a str,
    #[serde(serialize_with = "stamp::serialize")]
    pub(super) at: SystemTime,
}

/// The epoch before, as it was found.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Predecessor {
    pub(super) epoch: String,
    pub(super) end: Tail,
    /// Length of its file when it was looked at; it grows while the other process still runs.
    pub(super) bytes: u64,
    /// Bytes behind the last whole line.
    pub(super) torn_bytes: u64,
}

/// How an epoch's file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tail {
    /// With its closing entry.
    Sealed,
    /// With a whole line: its process still runs, or died between two lines.
    Open,
    /// In the middle of a line: its process died while writing, or is just writing.
    Torn,
    /// With a whole line that is not an entry.
    Unreadable,
    /// Nothing was written, or there is no file.
    Empty,
}

/// Makes the next epoch of `origin` below `folder`.
pub(super) fn create(folder: &Path, origin: &str) -> Result<Opened, AuditError> {
    if !is_origin(origin) {
        return Err(AuditError::Origin(origin.to_owned()));
    }
    let home = folder.join(origin);
    private_folder(true).create(&home).map_err(at(&home))?;

    loop {
        let latest = latest_epoch(&home)?;
        let epoch = format!("{:0DIGITS$}", latest.as_ref().map_or(0, |(number, _)| *number) + 1);
        let own = home.join(&epoch);
        match private_folder(false).create(&own) {
            Ok(()) => {}
            // Another process took the number between our look and our try; it is our predecessor now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(source) => return Err(AuditError::Folder { path: own, source }),
        }

        let path = own.join(FILE_NAME);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path).map_err(at(&path))?;
        let predecessor = latest.map(|(_, name)| look_at(&home, name)).transpose()?;
        return Ok(Opened { epoch, path, file, predecessor });
    }
}

fn private_folder(parents: bool) -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(parents).mode(0o700);
    builder
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

/// Reads how the epoch before ends; nothing in it is changed.
fn look_at(home: &Path, epoch: String) -> Result<Predecessor, AuditError> {
    let path = home.join(&epoch).join(FILE_NAME);
    let tail = match File::open(&path) {
        Ok(mut file) => last_bytes(&mut file).map_err(at(&path))?,
        Err(error) if error.kind() == ErrorKind::NotFound => (0, Vec::new()),
        Err(source) => return Err(AuditError::Folder { path, source }),
    };

    Ok(predecessor(epoch, tail.0, &tail.1))
}

/// The file's length and its last bytes.
fn last_bytes(file: &mut File) -> io::Result<(u64, Vec<u8>)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(length - from).read_to_end(&mut bytes)?;

    Ok((length, bytes))
}

/// Judges an epoch by the last bytes of its file.
pub(super) fn predecessor(epoch: String, length: u64, bytes: &[u8]) -> Predecessor {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let torn_bytes = (bytes.len() - whole) as u64;
    let end = if bytes.is_empty() {
        Tail::Empty
    } else if torn_bytes > 0 {
        Tail::Torn
    } else {
        last_line(bytes)
    };

    Predecessor { epoch, end, bytes: length, torn_bytes }
}

fn last_line(bytes: &[u8]) -> Tail {
    #[derive(Deserialize)]
    struct Kind<'a> {
        kind: &'a str,
    }

    let line = bytes.split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty()).unwrap_or_default();
    match serde_json::from_slice::<Kind<'_>>(line) {
        Ok(Kind { kind: "seal" }) => Tail::Sealed,
        Ok(_) => Tail::Open,
        Err(_) => Tail::Unreadable,
    }
}

/// A folder name that cannot leave its parent and is the same on every file system.
fn is_origin(origin: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = origin.bytes().next().is_some_and(plain);
    first && origin.len() <= 64 && origin.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

fn at(path: &Path) -> impl Fn(io::Error) -> AuditError + use<> {
    let path = path.to_owned();
    move |source| AuditError::Folder { path: path.clone(), source }
}
