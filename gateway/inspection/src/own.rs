//! Recognisers that a configuration brings along, beside those that are shipped.
//!
//! What one finds is `custom:NAME`, so that it can never be taken for a shipped kind. Each is compiled and held against its
//! own examples before it is used; [`OwnRecognisers`] holds them all, compiled as one search.
//!
//! They differ from the shipped ones in three things. No list of words or signs says where a search is worth while, so the whole
//! text is gone through; no pattern can make that slow, whoever wrote it, since it is an automaton of bounded size that takes one
//! step for each byte; and one never hides another: where several fit the same text, each has found something.

use std::fmt;
use std::ops::Range;

use self::automaton::{Automaton, Group};
use crate::checksum;
use crate::engine::{Effort, Hit};
use crate::kind::TextKind;
use crate::reading::reader::{self, Listener, Packed};
use crate::recogniser::Found;
use crate::redact::{meant, placeholder_of};

mod automaton;
mod shape;

pub use shape::ShapeError;

/// Most recognisers of one's own.
pub const MOST_OWN: usize = 64;

/// Longest pattern of one, in bytes as it is written.
pub const LONGEST_PATTERN: usize = 512;

/// Longest match of one, in bytes.
pub const LONGEST_MATCH: usize = 128;

/// Shortest match of one, in bytes.
pub const SHORTEST_MATCH: usize = 3;

/// Longest match of one with a checksum, in bytes: a checksum is built over at most forty digits.
pub const LONGEST_CHECKED: usize = 40;

/// Most words of one.
pub const MOST_WORDS: usize = 32;

/// Largest automaton of one pattern, in bytes.
const LARGEST: usize = 256 << 10;

/// The automata of all of them together, in bytes.
const LARGEST_TOGETHER: usize = 16 << 20;

/// Most matches of own patterns that are looked at in one request; what comes behind is `uninspected`.
pub(crate) const MOST_CANDIDATES: u32 = 250_000;

/// The check digits that a number can be built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// Luhn's formula over the digits, ISO/IEC 7812-1.
    Luhn,
    /// ISO 7064 MOD 11,10 over the digits.
    Mod11And10,
    /// ISO 7064 MOD 97-10 over letters and digits, letters counting from A = 10: the remainder is 1.
    Mod97,
    /// Verhoeff's formula over the digits.
    Verhoeff,
    /// EAN-13 over thirteen digits.
    Ean13,
}

impl Checksum {
    fn holds(self, found: &Found<'_>) -> bool {
        match self {
            Self::Luhn => checksum::luhn(&found.digits()),
            Self::Mod11And10 => checksum::mod_11_10(&found.digits()),
            Self::Mod97 => checksum::mod_97(found.value().iter().copied()) == 1,
            Self::Verhoeff => checksum::verhoeff(&found.digits()),
            Self::Ean13 => checksum::ean_13(&found.digits()),
        }
    }
}

/// A recogniser of one's own, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRecogniser {
    /// Its kind, made with [`TextKind::own`].
    pub kind: TextKind,
    /// The shape, as a regular expression.
    pub pattern: String,
    /// Words in lower case of which one must stand nearby; none where the shape is enough.
    pub words: Vec<String>,
    /// The check digits that a match must have.
    pub checksum: Option<Checksum>,
    /// It is only tried: what it finds is told, and neither replaced by redaction nor allowed to use up the bound of others.
    pub is_tried: bool,
}

/// Why recognisers that are fine one by one cannot be used together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TogetherError {
    /// More of them than are taken.
    #[error("there are {0}, and may be {MOST_OWN}")]
    TooMany(usize),
    /// Together they are too large.
    #[error("together they need more than {} MiB of memory", LARGEST_TOGETHER >> 20)]
    TooLarge,
}

/// Recognisers of one's own, compiled; none by default.
#[derive(Default)]
pub struct OwnRecognisers {
    list: Vec<OwnRecogniser>,
    /// One for each of the list.
    automata: Vec<Automaton>,
    groups: Vec<Group>,
}

impl fmt::Debug for OwnRecognisers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnRecognisers").field(&self.list).finish()
    }
}

impl OwnRecogniser {
    /// Whether it can be used, by itself.
    ///
    /// # Errors
    ///
    /// [`ShapeError`], where its pattern cannot.
    pub fn check(&self) -> Result<(), ShapeError> {
        let longest = if self.checksum.is_some() { LONGEST_CHECKED } else { LONGEST_MATCH };
        let shape = shape::of(&self.pattern, longest)?;
        let automaton = Automaton::of(&shape).ok_or(ShapeError::TooLarge)?;
        if Group::all(std::slice::from_ref(&shape), 0).is_none() {
            return Err(ShapeError::TooLarge);
        }
        // What redaction writes must not be found again: it would never come to an end.
        let mut taken =
            TextKind::all().chain([self.kind]).flat_map(|kind| [1, 23, 456, 7890].map(|n| placeholder_of(kind, n)));
        let is_found = |text: &String| !matches!(automaton.next(text.as_bytes(), 0), Ok(None));
        taken.find(is_found).map_or(Ok(()), |text| Err(ShapeError::Placeholder(text)))
    }

    fn accepts(&self, found: &Found<'_>) -> bool {
        let in_context = self.words.is_empty() || found.has_word(&self.words);
        in_context && self.checksum.is_none_or(|checksum| checksum.holds(found))
    }
}

impl OwnRecognisers {
    /// Compiles recognisers of which each has passed its own [`OwnRecogniser::check`]; one that has not is left out.
    ///
    /// # Errors
    ///
    /// [`TogetherError`], where they are too many or too large together.
    pub fn new(list: Vec<OwnRecogniser>) -> Result<Self, TogetherError> {
        if list.len() > MOST_OWN {
            return Err(TogetherError::TooMany(list.len()));
        }
        let usable = |one: OwnRecogniser| {
            let shape = shape::of(&one.pattern, LONGEST_MATCH).ok()?;
            Some((Automaton::of(&shape)?, one, shape))
        };
        let mut own = Self::default();
        let mut shapes = Vec::new();
        for (automaton, one, shape) in list.into_iter().filter_map(usable) {
            own.automata.push(automaton);
            own.list.push(one);
            shapes.push(shape);
        }
        if !shapes.is_empty() {
            own.groups = Group::all(&shapes, 0).ok_or(TogetherError::TooLarge)?;
        }
        if own.memory() > LARGEST_TOGETHER { Err(TogetherError::TooLarge) } else { Ok(own) }
    }

    /// What their automata take, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let groups = self.groups.iter().map(Group::memory).sum::<usize>();
        groups + self.automata.iter().map(Automaton::memory).sum::<usize>()
    }

    /// The kinds of those that are in force, in order.
    pub fn kinds(&self) -> impl Iterator<Item = TextKind> {
        self.list.iter().filter(|one| !one.is_tried).map(|one| one.kind)
    }

    /// The kinds of those that are only tried.
    pub fn tried(&self) -> impl Iterator<Item = TextKind> {
        self.list.iter().filter(|one| one.is_tried).map(|one| one.kind)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The kinds that `name` means among the shipped ones and those of these that are in force.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<TextKind> {
        let mut kinds = TextKind::named(name);
        kinds.extend(self.kinds().filter(|kind| kind.goes_by(name)));
        kinds
    }

    /// What these find of `kind` in a text, as a request would hold it.
    #[must_use]
    pub fn values_in(&self, text: &str, kind: TextKind) -> Vec<String> {
        let body = serde_json::json!({ "": text }).to_string();
        let mut seen = Seen { body: body.as_bytes(), kind, values: Vec::new() };
        reader::read(body.as_bytes(), self, &mut seen);
        seen.values
    }

    /// Hands every hit in `text` to `found`, in the order of their beginnings. Those of different kinds may overlap.
    pub(crate) fn search(&self, text: &[u8], effort: &mut Effort, mut found: impl FnMut(Hit)) {
        let mut hits = Vec::new();
        for at in self.groups.iter().flat_map(|group| group.occurring(text)) {
            self.hits_of(at, text, effort, &mut hits);
        }
        hits.sort_by_key(|hit: &Hit| (hit.place.start, hit.place.end));
        hits.into_iter().for_each(&mut found);
    }

    /// What one of them finds; matches of the same one do not overlap.
    fn hits_of(&self, at: usize, text: &[u8], effort: &mut Effort, hits: &mut Vec<Hit>) {
        let (Some(one), Some(automaton)) = (self.list.get(at), self.automata.get(at)) else { return };
        let left = if one.is_tried { &mut effort.tried } else { &mut effort.own };
        let mut from = 0;
        while *left > 0 {
            let place = match automaton.next(text, from) {
                Ok(Some(place)) => place,
                Ok(None) => return,
                // It does not happen with these automata. If it did, the rest would be unread and not clean.
                Err(_) => return *left = 0,
            };
            *left -= 1;
            if one.accepts(&Found { text, start: place.start, end: place.end }) {
                from = place.end;
                hits.push(Hit { kind: one.kind, place });
            } else {
                // What a rejected match covered is searched again from its second byte on.
                from = place.start + 1;
            }
        }
    }
}

/// Collects the values of one kind.
struct Seen<'a> {
    body: &'a [u8],
    kind: TextKind,
    values: Vec<String>,
}

impl Listener for Seen<'_> {
    fn wants_place(&self, kind: TextKind) -> bool {
        kind == self.kind
    }

    fn found(&mut self, kind: TextKind, places: Vec<Range<usize>>) {
        if kind == self.kind {
            let raw: Vec<&[u8]> = places.into_iter().filter_map(|place| self.body.get(place)).collect();
            self.values.push(meant(&raw.concat()));
        }
    }

    fn found_packed(&mut self, packed: &Packed<'_>, hits: Vec<Hit>) {
        let of_kind = hits.into_iter().filter(|hit| hit.kind == self.kind);
        let texts = of_kind.filter_map(|hit| packed.text.get(hit.place));
        self.values.extend(texts.map(|text| String::from_utf8_lossy(text).into_owned()));
    }

    fn media(&mut self, _place: Range<usize>) {}

    fn user(&mut self, _place: Range<usize>) {}

    fn uninspected(&mut self, _at: usize) {}
}

#[cfg(test)]
mod tests;
