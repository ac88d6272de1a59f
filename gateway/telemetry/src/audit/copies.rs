//! Copies of checkpoints as an auditor has them: of a folder, or downloaded from where they were sent.
//!
//! `<origin>/<epoch>.checkpoints` holds many, one behind the other; `<origin>.<epoch>.<size>.checkpoint` holds one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::epoch::DIGITS;

/// Digits of a size in the name of a copy, so that order by name is order by size.
const SIZE_DIGITS: usize = 20;

/// The file that holds the copies of an epoch's checkpoints.
pub(super) fn file(folder: &Path, origin: &str, epoch: &str) -> PathBuf {
    folder.join(origin).join(format!("{epoch}.checkpoints"))
}

/// The name under which one copy is sent elsewhere.
pub(super) fn name(origin: &str, epoch: &str, size: u64) -> String {
    format!("{origin}.{epoch}.{size:0SIZE_DIGITS$}.checkpoint")
}

/// The origin and the epoch in the name of one copy.
fn of_name(name: &str) -> Option<(&str, &str)> {
    let (rest, size) = name.strip_suffix(".checkpoint")?.rsplit_once('.')?;
    let (origin, epoch) = rest.rsplit_once('.')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(size, SIZE_DIGITS) && digits(epoch, DIGITS)).then_some((origin, epoch))
}

/// The copies of a second place, by origin and epoch.
#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<(String, String), Vec<PathBuf>>);

impl Copies {
    /// Looks for them in a folder. One that is not there holds none.
    pub(super) fn below(folder: &Path) -> io::Result<Self> {
        let mut copies = Self::default();
        for entry in listed(folder)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                for entry in listed(&entry.path())? {
                    let file = entry.file_name().to_string_lossy().into_owned();
                    if let Some(epoch) = file.strip_suffix(".checkpoints") {
                        copies.0.entry((name.clone(), epoch.to_owned())).or_default().push(entry.path());
                    }
                }
            } else if let Some((origin, epoch)) = of_name(&name) {
                copies.0.entry((origin.to_owned(), epoch.to_owned())).or_default().push(entry.path());
            }
        }
        copies.0.values_mut().for_each(|files| files.sort());
        Ok(copies)
    }

    /// The files that hold copies of an epoch's checkpoints.
    pub(super) fn of(&self, origin: &str, epoch: &str) -> &[PathBuf] {
        self.0.get(&(origin.to_owned(), epoch.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The origins that there are copies of, each once.
    pub(super) fn origins(&self) -> BTreeSet<&str> {
        self.0.keys().map(|(origin, _)| origin.as_str()).collect()
    }

    /// The epochs of `origin` that there are copies of.
    pub(super) fn epochs(&self, origin: &str) -> impl Iterator<Item = &str> {
        self.0.keys().filter(move |(of, _)| of == origin).map(|(_, epoch)| epoch.as_str())
    }
}

fn listed(folder: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The notes in a file of copies, and how many pieces in it are none: a copy that failed half-way leaves its piece.
pub(super) fn notes(text: &str) -> (Vec<String>, usize) {
    let mut notes = Vec::new();
    let mut pieces = 0;
    let mut rest = text;
    while let Some((before, _)) = rest.split_once("\n— ") {
        let signatures = rest.get(before.len() + 1..).unwrap_or_default();
        let length: usize =
            signatures.split_inclusive('\n').take_while(|line| line.starts_with("— ")).map(str::len).sum();
        // A checkpoint has three lines; what stands before them is a piece.
        let lines: Vec<&str> = before.split_inclusive('\n').collect();
        let (piece, body) = lines.split_at(lines.len().saturating_sub(3));
        pieces += usize::from(piece.iter().any(|line| *line != "\n"));
        let signatures = signatures.get(..length).unwrap_or_default();
        notes.push(format!("{}\n{signatures}", body.concat()));
        rest = rest.get(before.len() + 1 + length..).unwrap_or_default();
    }
    (notes, pieces + usize::from(!rest.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::Checkpoint;
    use super::super::note::SigningKey;
    use super::*;

    #[test]
    fn every_copy_is_found_again_also_behind_one_that_was_torn() {
        let key = SigningKey::new("gw-1", &[1; 32]).unwrap();
        let note = |size| Checkpoint { log: "gw-1/0000000001".to_owned(), size, root: [size as u8; 32] }.sign([&key]);
        let (first, second, third) = (note(1), note(22), note(333));

        for cut in 0..second.len() - 1 {
            let torn = second.get(..second.floor_char_boundary(cut)).unwrap();
            let text = format!("{first}{torn}\n{third}");
            let (found, pieces) = notes(&text);

            let keys = [key.public().clone()];
            let sizes: Vec<u64> =
                found.iter().filter_map(|note| Checkpoint::open(note, &keys).ok()).map(|read| read.size).collect();
            assert_eq!(sizes, [1, 333], "cut at {cut}");
            assert!(cut == 0 || pieces > 0 || found.len() > 2, "cut at {cut}");
        }
        assert_eq!(notes(&format!("{first}{second}")), (vec![first, second], 0));
    }

    #[test]
    fn copies_are_found_in_both_forms_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        put("gw.a-1/0000000001.checkpoints");
        put(&name("gw.a-1", "0000000001", 7));
        put(&name("gw.a-1", "0000000002", u64::MAX));
        for other in ["gw.a-1.0000000003.7.checkpoint", "gw.0000000001.checkpoint", "gw.a-1/notes.txt", "readme"] {
            put(other);
        }

        let copies = Copies::below(folder.path()).unwrap();

        assert_eq!(copies.of("gw.a-1", "0000000001").len(), 2);
        assert_eq!(copies.epochs("gw.a-1").collect::<Vec<_>>(), ["0000000001", "0000000002"]);
        assert_eq!(copies.0.len(), 2, "{copies:?}");
        assert!(Copies::below(&folder.path().join("nowhere")).unwrap().0.is_empty());
    }
}
