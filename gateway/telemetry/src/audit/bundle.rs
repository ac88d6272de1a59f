//! Files of an epoch: where each lies, and how entries stand in a bundle (C2SP tlog-tiles).
//!
//! A bundle holds up to 256 entries, each behind its length as two bytes, big end first. An entry is a JSON object and
//! a line feed, so that `grep -a` finds a line where somebody has nothing but a shell.

use std::path::{Path, PathBuf};

use super::tree::TILE;

/// Longest entry: its length has two bytes.
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// The latest signed checkpoint of an epoch.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// A tile's number as folders of three digits: 1234067 is `x001/x234/067`.
pub(super) fn numbered(number: u64) -> PathBuf {
    let mut parts = vec![format!("{:03}", number % 1000)];
    let mut rest = number / 1000;
    while rest > 0 {
        parts.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    parts.iter().rev().collect()
}

/// The file of a bundle, full or still growing.
pub(super) fn entries_path(epoch: &Path, number: u64) -> PathBuf {
    epoch.join("tile/entries").join(numbered(number))
}

/// The file of a full tile of hashes.
pub(super) fn tile_path(epoch: &Path, level: u8, number: u64) -> PathBuf {
    epoch.join("tile").join(level.to_string()).join(numbered(number))
}

/// `path` for a tile or bundle that a sealed epoch ends with before it is full.
pub(super) fn partial(path: &Path, width: u64) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".p");
    path.with_file_name(name).join(width.to_string())
}

/// The number of the bundle that entry `index` stands in.
pub(super) fn bundle_of(index: u64) -> u64 {
    index / TILE
}

/// The entries of a bundle, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A bundle's bytes from here on are not a whole entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) at: usize,
}

impl<'a> Entries<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next entry begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<&'a [u8], Torn>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let entry = rest.split_first_chunk::<2>().and_then(|(length, rest)| {
            let entry = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
            (entry.starts_with(b"{") && entry.ends_with(b"}\n")).then_some(entry)
        });
        let Some(entry) = entry else {
            let torn = Torn { at: self.at };
            self.at = self.bytes.len();
            return Some(Err(torn));
        };
        self.at += 2 + entry.len();
        Some(Ok(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_folders_of_three_digits_as_the_specification_shows_them() {
        assert_eq!(numbered(0), Path::new("000"));
        assert_eq!(numbered(999), Path::new("999"));
        assert_eq!(numbered(1000), Path::new("x001/000"));
        assert_eq!(numbered(1_234_067), Path::new("x001/x234/067"));
        assert_eq!(partial(Path::new("tile/0/x001/067"), 7), Path::new("tile/0/x001/067.p/7"));
    }

    #[test]
    fn a_bundle_cut_at_any_byte_gives_its_whole_entries_and_where_the_tear_is() {
        let mut bytes = Vec::new();
        for entry in ["{}\n", "{\"a\":1}\n"] {
            bytes.extend_from_slice(&(entry.len() as u16).to_be_bytes());
            bytes.extend_from_slice(entry.as_bytes());
        }

        for length in 0..=bytes.len() {
            let read: Vec<_> = Entries::new(&bytes[..length]).collect();
            let whole = [5, 15].iter().filter(|end| **end <= length).count();
            assert_eq!(read.iter().filter(|entry| entry.is_ok()).count(), whole, "cut at {length}");
            let torn = ![0, 5, 15].contains(&length);
            assert_eq!(read.last().is_some_and(|entry| entry.is_err()), torn, "cut at {length}");
            if torn {
                assert_eq!(read.last(), Some(&Err(Torn { at: if length < 5 { 0 } else { 5 } })));
            }
        }
    }
}
