//! The placeholders that the caller wrote, so that none is given out that stands in the request already.

use std::collections::{HashMap, HashSet};

use super::opening_of;
use crate::kind::TextKind;

/// A request with the texts that its strings pack.
pub(crate) struct Written<'a> {
    body: &'a [u8],
    /// By what its placeholders begin with, the highest number of a kind in packed texts.
    packed: HashMap<Vec<u8>, usize>,
    /// Of those, in bytes.
    longest_opening: usize,
}

impl<'a> Written<'a> {
    /// Where placeholders of `kinds` are going to be given out.
    pub(super) fn new(body: &'a [u8], kinds: &HashSet<TextKind>) -> Self {
        let packed: HashMap<Vec<u8>, usize> = kinds.iter().map(|kind| (opening_of(*kind).into_bytes(), 0)).collect();
        let longest_opening = packed.keys().map(Vec::len).max().unwrap_or_default();
        Self { body, packed, longest_opening }
    }

    /// Adds a text that some string packs.
    pub(super) fn add(&mut self, text: &[u8]) {
        for at in memchr::memchr_iter(b'[', text) {
            let rest = text.get(at..).unwrap_or_default();
            let near = rest.get(..=self.longest_opening).unwrap_or(rest);
            // Up to where another one may begin: text is gone through once.
            let until = near.iter().skip(1).position(|byte| *byte == b'[').map_or(near.len(), |at| at + 1);
            let pairs = near.get(..until).unwrap_or_default().windows(2).enumerate();
            for (end, _) in pairs.filter(|(_, pair)| matches!(pair, [b'_', b'0'..=b'9'])) {
                let (opening, digits) = rest.split_at(end + 1);
                if let Some(highest) = self.packed.get_mut(opening) {
                    *highest = (*highest).max(number(digits));
                }
            }
        }
    }

    /// Where to begin to count so that no placeholder is one that the caller wrote.
    pub(super) fn first_number(&self, kind: TextKind) -> usize {
        let opening = opening_of(kind);
        let behind = memchr::memmem::find_iter(self.body, opening.as_bytes()).map(|at| at + opening.len());
        let in_body = behind.map(|at| number(self.body.get(at..).unwrap_or_default())).max();
        in_body.max(self.packed.get(opening.as_bytes()).copied()).unwrap_or(0)
    }
}

/// The number at the beginning of `text`, up to nine digits of it.
fn number(text: &[u8]) -> usize {
    let digits = text.iter().take(9).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
