//! Texts that strings of base64 pack, gathered to be read as the strings of a body of their own.
//!
//! Such a text is read as any other string is, under the name of the member that it was packed for: escapes in it are undone,
//! digits of all scripts are digits, and where it is base64 itself it is unpacked again, [`LAYERS`] times in all.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::reader::Listener;
use super::sheet::FULL;
use super::strings::{Role, Token};
use super::twofold::Find;
use crate::kind::TextKind;

/// How often a text may be packed to be read; one that was packed once more is media.
pub(crate) const LAYERS: u8 = 3;

/// The text that a string packs, and what was found in it.
pub(crate) struct Unpacked<'a> {
    /// The base64, without what stands in front of it, in the body or text that holds the string.
    pub(crate) place: Range<usize>,
    /// Escaped as within a JSON string.
    pub(crate) text: Cow<'a, [u8]>,
    /// With places in `text`.
    pub(crate) finds: Vec<Find>,
    /// The text that this text packs.
    pub(crate) within: Vec<Unpacked<'static>>,
}

impl Unpacked<'_> {
    /// It and the texts within it.
    pub(crate) fn layers(&self) -> Vec<&Unpacked<'_>> {
        let within = self.within.iter().flat_map(|within| within.layers());
        std::iter::once(self).chain(within).collect()
    }

    /// Keeps only finds of these kinds, and texts within that have some; says whether anything is left.
    pub(crate) fn keep(&mut self, kinds: &HashSet<TextKind>) -> bool {
        self.finds.retain(|find| kinds.contains(&find.kind));
        self.within.retain_mut(|within| within.keep(kinds));
        !self.finds.is_empty() || !self.within.is_empty()
    }

    pub(crate) fn into_owned(self) -> Unpacked<'static> {
        let Self { place, text, finds, within } = self;
        Unpacked { place, text: Cow::Owned(text.into_owned()), finds, within }
    }
}

/// One of the texts that were gathered.
pub(super) struct Entry {
    /// The base64 in the body that holds it.
    pub(super) place: Range<usize>,
    /// The end of the name of its member.
    pub(super) name: Range<usize>,
    pub(super) text: Range<usize>,
}

impl Entry {
    /// The text as the value of a member.
    pub(super) fn token(&self) -> Token {
        let (key, place) = (self.name.clone(), self.text.clone());
        Token { role: Role::Value, place, depth: 0, top: 0..0, key, message: 0 }
    }
}

/// Texts that were gathered, one behind the other.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) body: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl Gathered {
    /// Adds the text that the base64 at `place` packs, under the end of a name.
    pub(super) fn add(&mut self, place: Range<usize>, name: &[u8], text: &[u8]) {
        // The strings of a list have one name, which may be many times as long as each of them.
        let last = self.entries.last().map(|last| last.name.clone());
        let name = last.filter(|last| self.body.get(last.clone()) == Some(name)).unwrap_or_else(|| {
            let begin = self.body.len();
            self.body.extend_from_slice(name);
            begin..self.body.len()
        });
        let from = self.body.len();
        escape(text, &mut self.body);
        self.entries.push(Entry { place, name, text: from..self.body.len() });
    }

    pub(super) fn is_full(&self) -> bool {
        self.body.len() >= FULL
    }

    /// Tells `listener` of each text, with what was found `inside`.
    pub(super) fn tell(&self, inside: Inside, listener: &mut impl Listener) {
        let Inside { mut finds, mut packed, mut media } = inside;
        finds.sort_by_key(Find::start);
        packed.sort_by_key(|unpacked| unpacked.place.start);
        media.sort_unstable();
        let (mut finds, mut packed) = (finds.into_iter().peekable(), packed.into_iter().peekable());
        let mut media = media.into_iter().peekable();
        for Entry { place, text, .. } in &self.entries {
            let rebased = |place: Range<usize>| place.start - text.start..place.end - text.start;
            let mut of_it = Vec::new();
            while let Some(mut find) = finds.next_if(|find| find.start() < text.end) {
                find.places.retain(|place| text.start <= place.start && place.end <= text.end);
                find.places.iter_mut().for_each(|place| *place = rebased(place.clone()));
                of_it.extend(Some(find).filter(|find| !find.places.is_empty()));
            }
            let mut layers = Vec::new();
            while let Some(unpacked) = packed.next_if(|unpacked| unpacked.place.start < text.end) {
                layers.push(Unpacked { place: rebased(unpacked.place.clone()), ..unpacked });
            }
            while media.next_if(|at| *at < text.end).is_some() {
                listener.media(place.clone());
            }
            let text = Cow::Borrowed(self.body.get(text.clone()).unwrap_or_default());
            listener.found_packed(Unpacked { place: place.clone(), text, finds: of_it, within: layers });
        }
    }
}

/// What was found in texts that were gathered, by its places in them.
#[derive(Default)]
pub(super) struct Inside {
    finds: Vec<Find>,
    packed: Vec<Unpacked<'static>>,
    media: Vec<usize>,
}

impl Listener for Inside {
    /// The place says which of the texts it is.
    fn wants_place(&self, _kind: TextKind) -> bool {
        true
    }

    fn found(&mut self, kind: TextKind, places: Vec<Range<usize>>) {
        self.finds.push(Find { kind, places });
    }

    fn found_packed(&mut self, unpacked: Unpacked<'_>) {
        self.packed.push(unpacked.into_owned());
    }

    fn media(&mut self, place: Range<usize>) {
        self.media.push(place.start);
    }

    fn user(&mut self, _place: Range<usize>) {}

    // Whoever reads the body says so: the effort is the same.
    fn uninspected(&mut self, _at: usize) {}
}

/// Adds `text` as it stands within a JSON string.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len());
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b'\n' => out.extend(*b"\\n"),
            b'\r' => out.extend(*b"\\r"),
            b'\t' => out.extend(*b"\\t"),
            0..=0x1F | 0x7F => {
                let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
                out.extend([b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xF)]);
            }
            _ => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_each_letter_of_ascii_is_the_same_within_a_string() {
        let text: String = ('\0'..='\u{ff}').collect();
        let mut escaped = Vec::new();

        escape(text.as_bytes(), &mut escaped);

        assert!(!escaped.iter().any(|byte| *byte < b' ' || *byte == 0x7F), "{escaped:?}");
        let string = [b"\"", &*escaped, b"\""].concat();
        assert_eq!(serde_json::from_slice::<String>(&string).expect("it is a string"), text);
    }
}
