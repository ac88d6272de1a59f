//! The last good keys of an issuer, on disk, so that a restart while the issuer is down refuses nobody.
//!
//! A file that is damaged, of another format or of another issuer is as good as none: the keys are fetched anew.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::fetch::LONGEST_KEYS;

/// The format that this release writes.
const FORMAT: u32 = 1;
/// Longest file that is read: the keys, escaped, and a little.
const LONGEST: u64 = 4 * LONGEST_KEYS as u64;

/// What was fetched, and from where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) issuer: String,
    pub(super) source: String,
    pub(super) fetched: SystemTime,
    pub(super) keys: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    issuer: String,
    source: String,
    fetched_unix_s: u64,
    keys: String,
}

impl Kept {
    pub(super) fn read(folder: &Path, name: &str) -> Option<Self> {
        let mut text = Vec::new();
        fs::File::open(file(folder, name)).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
        let written: Written = serde_json::from_slice(&text).ok()?;
        let fetched = UNIX_EPOCH.checked_add(Duration::from_secs(written.fetched_unix_s))?;
        let Written { format, issuer, source, keys, .. } = written;
        (format == FORMAT).then_some(Self { issuer, source, fetched, keys })
    }

    pub(super) fn write(self, folder: &Path, name: &str) -> io::Result<()> {
        let fetched_unix_s = self.fetched.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let Self { issuer, source, keys, .. } = self;
        let written = Written { format: FORMAT, issuer, source, fetched_unix_s, keys };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let (path, next) = (file(folder, name), folder.join(format!("{name}.new")));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(&serde_json::to_vec(&written)?)?;
        file.sync_all()?;
        fs::rename(next, path)
    }
}

/// Names of issuers are plain: the configuration takes no other.
fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let fetched = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Kept { issuer: "https://a".into(), source: "https://a/keys".into(), fetched, keys: "{}".into() }
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("issuers");

        kept().write(&below, "entra").unwrap();

        assert_eq!(Kept::read(&below, "entra"), Some(kept()));
        assert_eq!(Kept::read(&below, "other"), None);
    }

    #[test]
    fn a_file_cut_anywhere_or_of_another_format_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        kept().write(folder.path(), "entra").unwrap();
        let path = file(folder.path(), "entra");
        let whole = fs::read_to_string(&path).unwrap();

        for end in 0..whole.len() {
            fs::write(&path, &whole.as_bytes()[..end]).unwrap();
            assert_eq!(Kept::read(folder.path(), "entra"), None, "{end}");
        }
        fs::write(&path, whole.replace("\"format\":1", "\"format\":2")).unwrap();
        assert_eq!(Kept::read(folder.path(), "entra"), None);
    }
}
