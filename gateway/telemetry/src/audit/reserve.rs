//! Room that is kept back, so that a process can leave in order when the disk is full.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// How much is kept back: 16 MiB, some 16,000 entries.
pub const RESERVE_BYTES: usize = 16 * 1024 * 1024;

/// Most bytes of waiting entries that are written into it: 12 MiB, so that what belongs to them has room as well, the closing
/// entry, their tiles of hashes and the checkpoint. Of those beyond it only the number is written.
pub(super) const END_BYTES: usize = RESERVE_BYTES / 4 * 3;

/// A file that holds nothing but its place on the disk.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: usize,
}

impl Reserve {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, bytes: RESERVE_BYTES }
    }

    /// Fills it, if it is not full. The bytes are written: a file with holes keeps nothing back.
    pub(super) fn fill(&self) -> io::Result<()> {
        let there = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        if there >= self.bytes as u64 {
            return Ok(());
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        let piece = vec![0xA5; 64 * 1024];
        for _ in 0..self.bytes / piece.len() {
            file.write_all(&piece)?;
        }
        file.sync_data()
    }

    /// Gives the room back.
    pub(super) fn release(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::bundle::Entries;
    use super::super::pen::Sink;
    use super::super::tests::{intent, now, outcome};
    use super::super::{AuditLog, Durability};
    use super::*;

    /// A disk that is full for as long as the reserve is there.
    struct Full(PathBuf, PathBuf);

    impl Sink for Full {
        fn begin(&mut self, _bundle: u64) -> io::Result<()> {
            Ok(())
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.exists() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let mut file = OpenOptions::new().append(true).create(true).open(&self.1)?;
            file.write(bytes)
        }

        fn truncate(&mut self, _length: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_reserve_takes_its_place_and_is_filled_once() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::at(folder.path().join("reserve"));

        reserve.fill().unwrap();
        let first = fs::metadata(&reserve.path).unwrap();
        reserve.fill().unwrap();

        assert_eq!(first.len(), RESERVE_BYTES as u64);
        assert!(first.blocks() * 512 >= RESERVE_BYTES as u64, "a file with holes keeps nothing back");
        assert_eq!(fs::metadata(&reserve.path).unwrap().mtime_nsec(), first.mtime_nsec());
    }

    /// A log on such a disk that writes at most so many bytes into the reserve; the reserve, which is not there yet, and what is
    /// written.
    fn log_on_a_full_disk(folder: &Path, end_bytes: usize) -> (AuditLog, PathBuf, PathBuf) {
        let (path, written) = (folder.join("reserve"), folder.join("written"));
        let sink = Box::new(Full(path.clone(), written.clone()));
        let mut log = AuditLog::over(sink, Durability::Os, None, (folder, "0000000001"));
        let shared = std::sync::Arc::get_mut(&mut log.shared).unwrap();
        (shared.reserve, shared.end_bytes) = (Some(Reserve::at(path.clone())), end_bytes);
        (log, path, written)
    }

    fn entries(written: &Path) -> Vec<serde_json::Value> {
        let bytes = fs::read(written).unwrap();
        Entries::new(&bytes).map(|entry| serde_json::from_slice(entry.unwrap()).unwrap()).collect()
    }

    #[tokio::test]
    async fn on_a_full_disk_a_log_in_which_nothing_waits_is_sealed_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (log, path, written) = log_on_a_full_disk(folder.path(), END_BYTES);
        fs::write(&path, "kept back").unwrap();
        assert!(log.intent(&intent("d-1")).await.is_err());

        log.seal("drained", now()).await.unwrap();

        assert_eq!(entries(&written).len(), 1);
        assert_eq!(entries(&written)[0]["kind"], "seal");
    }

    #[tokio::test]
    async fn what_has_no_room_in_the_reserve_is_counted_and_the_log_is_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let (log, path, written) = log_on_a_full_disk(folder.path(), 600);
        let mut records = Vec::new();
        for decision in ["d-1", "d-2", "d-3"] {
            records.push(log.intent(&intent(decision)).await.unwrap());
        }
        fs::write(&path, "kept back").unwrap();
        records.into_iter().for_each(|record| record.close(outcome()));

        log.seal("drained", now()).await.unwrap();

        let lines = entries(&written);
        let outcomes = lines.iter().filter(|line| line["kind"] == "outcome").count() as u64;
        let [.., lost, seal] = lines.as_slice() else { panic!("{lines:?}") };
        assert!((1..3).contains(&outcomes), "{lines:?}");
        assert_eq!((&lost["kind"], &lost["count"]), (&"lost".into(), &(3 - outcomes).into()));
        assert_eq!((&seal["kind"], &seal["lost"], &seal["open"]), (&"seal".into(), &(3 - outcomes).into(), &0.into()));
    }

    #[tokio::test]
    async fn on_a_full_disk_a_leaving_process_still_writes_its_outcomes_and_its_seal() {
        let folder = tempfile::tempdir().unwrap();
        let (log, path, written) = log_on_a_full_disk(folder.path(), END_BYTES);
        let record = log.intent(&intent("d-1")).await.unwrap();
        fs::write(&path, "kept back").unwrap();
        record.close(outcome());
        assert!(log.intent(&intent("d-2")).await.is_err(), "the room is not for new requests");

        log.seal("drained", now()).await.unwrap();

        assert!(!path.exists());
        let kinds: Vec<_> = entries(&written).iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, ["intent", "outcome", "seal"]);
    }
}
