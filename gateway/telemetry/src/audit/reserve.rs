//! Room that is kept back, so that a process can leave in order when the disk is full.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// How much is kept back: 16 MiB, some 16,000 entries.
pub const RESERVE_BYTES: usize = 16 * 1024 * 1024;

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

    #[tokio::test]
    async fn on_a_full_disk_a_leaving_process_still_writes_its_outcomes_and_its_seal() {
        let folder = tempfile::tempdir().unwrap();
        let (path, written) = (folder.path().join("reserve"), folder.path().join("written"));
        let sink = Box::new(Full(path.clone(), written.clone()));
        let mut log = AuditLog::over(sink, Durability::Os, None, (folder.path(), "0000000001"));
        std::sync::Arc::get_mut(&mut log.shared).unwrap().reserve = Some(Reserve::at(path.clone()));
        let record = log.intent(&intent("d-1")).await.unwrap();
        fs::write(&path, "kept back").unwrap();
        record.close(outcome());
        assert!(log.intent(&intent("d-2")).await.is_err(), "the room is not for new requests");

        log.seal("drained", now()).await.unwrap();

        let text = String::from_utf8_lossy(&fs::read(&written).unwrap()).into_owned();
        assert!(!path.exists());
        assert!(text.contains("\"kind\":\"outcome\"") && text.contains("\"kind\":\"seal\""), "{text}");
    }
}
