//! What is signed of a tree: its name, its size and its root (C2SP tlog-checkpoint).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::note::{self, NoteError, SigningKey, VerifierKey};
use super::tree::Hash;

/// A statement about the first `size` entries of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// `origin/epoch`.
    pub(super) log: String,
    /// How many entries it covers.
    pub(super) size: u64,
    /// The root over them.
    pub(super) root: Hash,
}

impl Checkpoint {
    /// The name under which the epoch of a gateway is a log of its own.
    pub(super) fn log_name(origin: &str, epoch: &str) -> String {
        format!("{origin}/{epoch}")
    }

    /// The note, signed by each of `keys`.
    pub(super) fn sign<'k>(&self, keys: impl IntoIterator<Item = &'k SigningKey>) -> String {
        note::sign(&format!("{}\n{}\n{}\n", self.log, self.size, STANDARD.encode(self.root)), keys)
    }

    /// Reads a note that one of `keys` has signed.
    pub(super) fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, NoteError> {
        Self::parse(note::open(note, keys)?).ok_or(NoteError::Form)
    }

    /// Reads what a note claims, whoever signed it.
    pub(super) fn claimed(note: &str) -> Option<Self> {
        Self::parse(note::text_of(note)?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (log, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let number: u64 = size.parse().ok()?;
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        // One writing for each statement: no leading zeros, no sign, nothing behind it.
        let strict = number.to_string() == size && lines.next().is_none() && !log.is_empty();
        strict.then(|| Self { log: log.to_owned(), size: number, root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back_as_it_was_signed() {
        let key = SigningKey::new("gw-1", &[3; 32]).unwrap();
        let checkpoint = Checkpoint { log: "gw-1/0000000001".to_owned(), size: 12, root: [9; 32] };

        let note = checkpoint.sign([&key]);

        assert_eq!(Checkpoint::open(&note, &[key.public().clone()]), Ok(checkpoint.clone()));
        assert_eq!(Checkpoint::claimed(&note), Some(checkpoint));
    }

    #[test]
    fn a_checkpoint_has_one_writing_only() {
        let root = STANDARD.encode([9; 32]);
        assert!(Checkpoint::parse(&format!("a/1\n12\n{root}\n")).is_some());

        for (size, more) in [("012", ""), ("+12", ""), ("-1", ""), ("12", "more\n"), ("", "")] {
            assert_eq!(Checkpoint::parse(&format!("a/1\n{size}\n{root}\n{more}")), None, "{size} {more}");
        }
        assert_eq!(Checkpoint::parse("a/1\n12\nAAAA\n"), None);
    }
}
