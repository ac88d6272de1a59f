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

use regex_automata::MatchError;

use self::automaton::{Automaton, Group};
use self::words::Words;
use crate::checksum;
use crate::engine::{Effort, Hit};
use crate::kind::TextKind;
use crate::reading::reader::{self, Listener};
use crate::reading::unpacked::Unpacked;
use crate::recogniser::{BEHIND, Found};
use crate::redact::{meant, opening_of};

mod automaton;
mod shape;
mod words;

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

/// Ends of one match, with each of which it may be accepted, that count as one match more.
const ENDS_FOR_ONE: u32 = 8;

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
    /// The first would find what redaction writes for the second.
    #[error("`{0}` matches what redaction would write for `{1}`")]
    Placeholder(TextKind, TextKind),
}

/// Recognisers of one's own, compiled; none by default.
#[derive(Default)]
pub struct OwnRecognisers {
    list: Vec<Compiled>,
    groups: Vec<Group>,
}

/// One of them.
struct Compiled {
    written: OwnRecogniser,
    automaton: Automaton,
    words: Option<Words>,
}

impl fmt::Debug for OwnRecognisers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written: Vec<&OwnRecogniser> = self.list.iter().map(|one| &one.written).collect();
        f.debug_tuple("OwnRecognisers").field(&written).finish()
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
        let automaton = Automaton::of(&shape, self.has_conditions()).ok_or(ShapeError::TooLarge)?;
        if Group::all(std::slice::from_ref(&shape), 0).is_none() {
            return Err(ShapeError::TooLarge);
        }
        // What redaction writes must not be found again: it would never come to an end.
        let mut written = TextKind::all().chain([self.kind]).map(opening_of);
        let found = written.find_map(|opening| automaton.placeholder_found(&opening));
        found.map_or(Ok(()), |text| Err(ShapeError::Placeholder(text)))
    }

    /// Whether a match must have more than the shape.
    fn has_conditions(&self) -> bool {
        self.checksum.is_some() || !self.words.is_empty()
    }
}

impl Compiled {
    /// Where what begins with `first` ends: of all ends that a match can have there the last one with which it is accepted.
    fn end(&self, text: &[u8], first: &Range<usize>, ends: &mut Vec<usize>) -> Result<Judged, MatchError> {
        self.automaton.ends(text, first, ends)?;
        let at = |end: usize| Found { text, start: first.start, end };
        // What stands before is the same for all ends.
        let is_known = self.words.as_ref().is_none_or(|words| words.stand_in(at(first.start).shortly_before()));
        let behind = self.words.as_ref().filter(|words| !is_known && words.occur_in(behind_any(text, ends)));
        // Many ends of one match are more work than one, and each behind which a word is looked for is as much.
        let mut cost = 1 + ends.len() as u32 / ENDS_FOR_ONE;
        let mut accepts = |end: usize| {
            let in_context = is_known
                || behind.is_some_and(|words| {
                    cost += 1;
                    words.stand_in(at(end).right_behind())
                });
            in_context && self.written.checksum.is_none_or(|checksum| checksum.holds(&at(end)))
        };
        let end = ends.iter().rev().copied().find(|end| accepts(*end));
        Ok(Judged { end, cost })
    }
}

/// Where a match ends, if it is accepted, and how many matches it counts for.
struct Judged {
    end: Option<usize>,
    cost: u32,
}

/// All that stands right behind some of `ends`, which are in order, of a match.
fn behind_any<'a>(text: &'a [u8], ends: &[usize]) -> &'a [u8] {
    let (first, last) = (ends.first().copied().unwrap_or(0), ends.last().copied().unwrap_or(0));
    text.get(first..text.len().min(last + BEHIND)).unwrap_or_default()
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
        let mut own = Self::default();
        let mut shapes = Vec::new();
        for written in list {
            let Ok(shape) = shape::of(&written.pattern, LONGEST_MATCH) else { continue };
            let Some(automaton) = Automaton::of(&shape, written.has_conditions()) else { continue };
            let words = Words::of(&written.words);
            own.list.push(Compiled { written, automaton, words });
            shapes.push(shape);
        }
        if !shapes.is_empty() {
            own.groups = Group::all(&shapes, 0).ok_or(TogetherError::TooLarge)?;
        }
        if own.memory() > LARGEST_TOGETHER {
            return Err(TogetherError::TooLarge);
        }
        own.placeholders_are_safe().map(|()| own)
    }

    /// Whether none finds what redaction writes for another. Of its own and of the shipped ones each was asked before.
    fn placeholders_are_safe(&self) -> Result<(), TogetherError> {
        for (one, kind) in self.list.iter().flat_map(|one| self.all().map(move |kind| (one, kind))) {
            if one.automaton.placeholder_found(&opening_of(kind)).is_some() {
                return Err(TogetherError::Placeholder(one.written.kind, kind));
            }
        }
        Ok(())
    }

    /// What their automata take, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let groups = self.groups.iter().map(Group::memory).sum::<usize>();
        groups + self.list.iter().map(|one| one.automaton.memory()).sum::<usize>()
    }

    /// The kinds of those that are in force, in order.
    pub fn kinds(&self) -> impl Iterator<Item = TextKind> {
        self.list.iter().map(|one| &one.written).filter(|one| !one.is_tried).map(|one| one.kind)
    }

    /// The kinds of those that are only tried.
    pub fn tried(&self) -> impl Iterator<Item = TextKind> {
        self.list.iter().map(|one| &one.written).filter(|one| one.is_tried).map(|one| one.kind)
    }

    /// All kinds, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = TextKind> {
        self.list.iter().map(|one| one.written.kind)
    }

    /// Whether some of them need a word beside a match.
    pub(crate) fn have_words(&self) -> bool {
        self.list.iter().any(|one| one.words.is_some())
    }

    /// The part of `name`, the end of the name of a member, from the first to the last of the words that can say what a value
    /// under it is: of each of these the one that stands last.
    pub(crate) fn last_words_in(&self, name: &[u8]) -> Option<Range<usize>> {
        let places = self.list.iter().filter_map(|one| one.words.as_ref()?.last_in(name));
        places.reduce(|all, word| all.start.min(word.start)..all.end.max(word.end))
    }

    /// Among these the kind of the same name, which knows its group; `kind` itself where there is none.
    #[must_use]
    pub fn known(&self, kind: TextKind) -> TextKind {
        self.all().find(|own| *own == kind).unwrap_or(kind)
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
        let Some(one) = self.list.get(at) else { return };
        let left = if one.written.is_tried { &mut effort.tried } else { &mut effort.own };
        let mut ends = Vec::new();
        let mut from = 0;
        while *left > 0 {
            let next = one.automaton.next(text, from);
            let judged = next.and_then(|first| match first {
                Some(first) => Ok(Some((first.start, one.end(text, &first, &mut ends)?))),
                None => Ok(None),
            });
            let (start, Judged { end, cost }) = match judged {
                Ok(Some(judged)) => judged,
                Ok(None) => return,
                // It does not happen with these automata. If it did, the rest would be unread and not clean.
                Err(_) => return *left = 0,
            };
            *left = left.saturating_sub(cost);
            // What a rejected match covered is searched again from its second byte on.
            from = end.unwrap_or(start + 1);
            hits.extend(end.map(|end| Hit { kind: one.written.kind, place: start..end }));
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
            self.values.push(value(self.body, &places));
        }
    }

    fn found_packed(&mut self, unpacked: Unpacked<'_>) {
        for layer in unpacked.layers() {
            let of_kind = layer.finds.iter().filter(|find| find.kind == self.kind);
            self.values.extend(of_kind.map(|find| value(&layer.text, &find.places)));
        }
    }

    fn media(&mut self, _place: Range<usize>) {}

    fn user(&mut self, _place: Range<usize>) {}

    fn uninspected(&mut self, _at: usize) {}
}

/// What stands at these places of strings.
fn value(body: &[u8], places: &[Range<usize>]) -> String {
    let raw: Vec<&[u8]> = places.iter().filter_map(|place| body.get(place.clone())).collect();
    meant(&raw.concat())
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
