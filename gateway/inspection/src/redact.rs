//! Findings replaced by placeholders before a request leaves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::{Bound, Range};

use crate::kind::TextKind;
use crate::own::OwnRecognisers;
use crate::reading::letters::{self, Reading};
use crate::reading::packing;
use crate::reading::reader::{self, Listener};
use crate::reading::strings::{self, Role, Strings};
use crate::reading::unpacked::Unpacked;
use crate::restore::{LONGEST_VALUE, Restorer};

use self::together::{Together, together};
pub(crate) use self::written::Written;

mod together;
mod written;

/// Most different values that are replaced in one request.
pub const MOST_VALUES: usize = 10_000;

/// The proof that no finding of some kinds is left in a body, with that body and what puts the answer right.
///
/// Made by [`redact`] and by nothing else.
pub struct Redacted {
    body: Vec<u8>,
    restorer: Restorer,
    kinds: HashSet<TextKind>,
    /// Kinds of one's own that there are, replaced or not.
    own: Vec<TextKind>,
}

impl Redacted {
    /// Whether every finding of the kind or group `name` was replaced; never for a name that nothing recognises.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let mut kinds = TextKind::named(name);
        kinds.extend(self.own.iter().filter(|kind| kind.goes_by(name)));
        !kinds.is_empty() && kinds.iter().all(|kind| self.kinds.contains(kind))
    }

    /// The body with placeholders, and what knows which of them stands for what.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Restorer) {
        (self.body, self.restorer)
    }
}

/// Shows nothing of the body.
impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redacted").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Why a body was not redacted. It must then not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedactError {
    /// A part of the body was not read, so what it holds cannot be replaced.
    #[error("a part of the request was not inspected")]
    Uninspected,
    /// More values than are kept, or one that is longer than any.
    #[error("the request holds more than {MOST_VALUES} different values to be replaced, or one that is too long")]
    TooMany,
    /// What was replaced could be recognised again in the redacted body: a fault of the gateway.
    #[error("a value was left after all were replaced")]
    Left,
}

/// Replaces every finding of the kinds or groups `names` by a placeholder, such as `[IBAN_1]`; equal values get the same one.
///
/// The body stays JSON. A value that was split across strings is replaced where it begins and taken out of the others; a
/// number becomes a string; text that was packed as base64 is packed again.
///
/// # Errors
///
/// [`RedactError`], where not everything could be read or kept.
pub fn redact<'n>(body: &[u8], names: impl IntoIterator<Item = &'n str>) -> Result<Redacted, RedactError> {
    redact_with(body, names, &OwnRecognisers::default())
}

/// As [`redact`], with recognisers of one's own beside the shipped ones.
///
/// # Errors
///
/// [`RedactError`], where not everything could be read or kept.
pub fn redact_with<'n>(
    body: &[u8],
    names: impl IntoIterator<Item = &'n str>,
    own: &OwnRecognisers,
) -> Result<Redacted, RedactError> {
    let kinds: HashSet<TextKind> = names.into_iter().flat_map(|name| own.named(name)).collect();
    let mut restorer = Restorer::default();
    let mut current = body.to_vec();
    // What is taken out may bring together what was apart; a second pass finds it, and a third must find nothing.
    for _ in 0..3 {
        let (finds, packed, is_unread) = (Vec::new(), Vec::new(), false);
        let written = Written::new(&current, &kinds);
        let mut editor = Editor { body: &current, own, kinds: &kinds, finds, packed, written, is_unread };
        reader::read(&current, own, &mut editor);
        if editor.is_unread {
            return Err(RedactError::Uninspected);
        }
        if editor.finds.is_empty() && editor.packed.is_empty() {
            return Ok(Redacted { body: current, restorer, kinds, own: own.kinds().collect() });
        }
        current = editor.apply(&mut restorer)?;
    }
    Err(RedactError::Left)
}

/// Gathers what has to be replaced.
struct Editor<'a> {
    body: &'a [u8],
    own: &'a OwnRecognisers,
    kinds: &'a HashSet<TextKind>,
    finds: Vec<(TextKind, Vec<Range<usize>>)>,
    packed: Vec<Unpacked<'static>>,
    written: Written<'a>,
    is_unread: bool,
}

impl Listener for Editor<'_> {
    fn wants_place(&self, kind: TextKind) -> bool {
        self.kinds.contains(&kind)
    }

    fn found(&mut self, kind: TextKind, places: Vec<Range<usize>>) {
        if self.kinds.contains(&kind) && !places.is_empty() {
            self.finds.push((kind, places));
        }
    }

    fn found_packed(&mut self, mut unpacked: Unpacked<'_>) {
        for layer in unpacked.layers() {
            self.written.add(&layer.text);
        }
        if unpacked.keep(self.kinds) {
            self.packed.push(unpacked.into_owned());
        }
    }

    // What is no text holds no finding of a text kind; whether it may leave is for policy to say by its own finding.
    fn media(&mut self, _place: Range<usize>) {}

    fn user(&mut self, _place: Range<usize>) {}

    fn uninspected(&mut self, _at: usize) {
        self.is_unread = true;
    }
}

impl Editor<'_> {
    fn apply(mut self, restorer: &mut Restorer) -> Result<Vec<u8>, RedactError> {
        let numbers = self.numbers();
        for place in self.finds.iter_mut().flat_map(|(_, places)| places) {
            if let Some(number) = around(&numbers, place) {
                place.clone_from(number);
            }
        }
        let whole = Text { raw: self.body, finds: self.finds, packed: &self.packed, numbers: &numbers };
        whole.redacted(restorer, &self.written)
    }

    /// The numbers of the JSON that were read, whole: of one that holds a find nothing can stay, since what stands for the find
    /// is a string.
    fn numbers(&self) -> Vec<Range<usize>> {
        let tokens = Strings::new(self.body).and_short_numbers(!self.own.is_empty());
        let numbers = tokens.filter(|token| matches!(token.role, Role::Number | Role::ShortNumber));
        let mut whole: Vec<Range<usize>> = Vec::new();
        for token in numbers {
            // Of a fraction both sides may be looked at.
            if whole.last().is_none_or(|last| last.end < token.place.end) {
                whole.push(strings::whole_number(self.body, &token.place));
            }
        }
        whole
    }
}

/// The body, or the text that one of its strings packs, with what has to be replaced in it.
struct Text<'a> {
    raw: &'a [u8],
    finds: Vec<(TextKind, Vec<Range<usize>>)>,
    packed: &'a [Unpacked<'static>],
    numbers: &'a [Range<usize>],
}

impl Text<'_> {
    /// The same with placeholders.
    fn redacted(self, restorer: &mut Restorer, written: &Written<'_>) -> Result<Vec<u8>, RedactError> {
        let packed = self.packed.iter().map(|packed| packed.place.clone());
        let placeholders: Vec<Range<usize>> = restorer.placeholders_in(self.raw).collect();
        let uncut: Vec<Range<usize>> = packed.chain(placeholders.iter().cloned()).collect();
        let Together { wholes, is_taken } = together(self.finds, &uncut);
        let mut edits: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
        let values = wholes.into_iter().flat_map(|whole| {
            let kind = whole.kind;
            let pieces = bounded(self.raw, whole.places, &placeholders, self.numbers);
            pieces.into_iter().map(move |places| (kind, places))
        });
        for (kind, places) in values {
            let parts = places.iter().map(|place| self.raw.get(place.clone()).unwrap_or_default());
            let value: String = parts.map(meant).collect();
            let mut text = restorer.placeholder(kind, &value, written).ok_or(RedactError::TooMany)?;
            for place in &places {
                let text = std::mem::take(&mut text);
                let is_number = around(self.numbers, place).is_some();
                let text = if is_number { format!("\"{text}\"") } else { text };
                edits.push((place.clone(), text.into_bytes()));
            }
        }
        for (packed, _) in self.packed.iter().zip(is_taken).filter(|(_, is_taken)| !is_taken) {
            let like = self.raw.get(packed.place.clone()).unwrap_or_default();
            edits.push((packed.place.clone(), packed_again(like, packed, restorer, written)?));
        }
        edits.sort_by_key(|(place, _)| place.start);
        Ok(spliced(self.raw, edits))
    }
}

/// The places of one value, where a placeholder may stand for so much; else pieces that are values of their own, in which no
/// placeholder is cut. A packed text is so long in which something was found as it stands, which is taken whole, or what it packs
/// would be cut; and a value with very much between its letters that is left out. A number is as well, but two strings cannot
/// stand for one: it stays whole, and nothing is made of it.
fn bounded(
    raw: &[u8],
    places: Vec<Range<usize>>,
    placeholders: &[Range<usize>],
    numbers: &[Range<usize>],
) -> Vec<Vec<Range<usize>>> {
    if places.iter().map(ExactSizeIterator::len).sum::<usize>() <= LONGEST_VALUE {
        return vec![places];
    }
    let mut pieces = Vec::new();
    for place in places {
        if around(numbers, &place).is_some() {
            pieces.push(place);
            continue;
        }
        let (mut from, mut at) = (place.start, place.start);
        while at < place.end {
            let letter = letters::letter(raw.get(at..place.end).unwrap_or_default(), Reading::Literal);
            if at + letter.written - from > LONGEST_VALUE {
                let within = around(placeholders, &(at..at + 1)).map(|placeholder| placeholder.start);
                let cut = within.filter(|begin| *begin > from).unwrap_or(at);
                pieces.push(from..cut);
                from = cut;
            }
            at += letter.written;
        }
        pieces.push(from..place.end);
    }
    pieces.into_iter().map(|piece| Vec::from([piece])).collect()
}

/// A text that a string packs, with placeholders, written as that string is.
fn packed_again(
    like: &[u8],
    unpacked: &Unpacked<'_>,
    restorer: &mut Restorer,
    written: &Written<'_>,
) -> Result<Vec<u8>, RedactError> {
    let finds = unpacked.finds.iter().map(|find| (find.kind, find.places.clone())).collect();
    let text = Text { raw: &unpacked.text, finds, packed: &unpacked.within, numbers: &[] };
    let text = text.redacted(restorer, written)?;
    let text = in_json(&text).ok_or(RedactError::Left)?;
    packing::pack_like(like, text.as_bytes()).ok_or(RedactError::Left)
}

/// The one of `wholes`, in rising order, that holds `place`.
fn around<'w>(wholes: &'w [Range<usize>], place: &Range<usize>) -> Option<&'w Range<usize>> {
    let at = wholes.partition_point(|whole| whole.start <= place.start).checked_sub(1)?;
    wholes.get(at).filter(|whole| place.end <= whole.end)
}

/// The text with the edits made, which are in order and do not overlap.
fn spliced(text: &[u8], edits: Vec<(Range<usize>, Vec<u8>)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for (place, edit) in edits {
        out.extend_from_slice(text.get(from..place.start).unwrap_or_default());
        out.extend_from_slice(&edit);
        from = place.end;
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out
}

/// What a piece of a JSON string means.
pub(crate) fn meant(raw: &[u8]) -> String {
    in_json(raw).unwrap_or_else(|| String::from_utf8_lossy(raw).into_owned())
}

/// The same, where it is whole.
fn in_json(raw: &[u8]) -> Option<String> {
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).ok()
}

/// A value and its placeholder, both ways.
#[derive(Default)]
pub(crate) struct Pairs {
    by_value: HashMap<(TextKind, String), usize>,
    /// Placeholder and value, in the order in which they were given out.
    pub(crate) list: Vec<(String, String)>,
    /// By the placeholder, its place in the list.
    by_placeholder: BTreeMap<String, usize>,
    numbers: HashMap<TextKind, usize>,
}

impl Pairs {
    /// The placeholder of this value: the one it has, or a new one that is not `written` already.
    pub(crate) fn placeholder(&mut self, kind: TextKind, value: &str, written: &Written<'_>) -> Option<String> {
        if let Some(at) = self.by_value.get(&(kind, value.to_owned())) {
            return self.list.get(*at).map(|(placeholder, _)| placeholder.clone());
        }
        if self.list.len() >= MOST_VALUES {
            return None;
        }
        let number = self.numbers.entry(kind).or_insert_with(|| written.first_number(kind));
        *number += 1;
        let placeholder = format!("{}{number}]", opening_of(kind));
        self.by_value.insert((kind, value.to_owned()), self.list.len());
        self.by_placeholder.insert(placeholder.clone(), self.list.len());
        self.list.push((placeholder.clone(), value.to_owned()));
        Some(placeholder)
    }

    /// The placeholder and its value, where `text` is one.
    pub(crate) fn known(&self, text: &str) -> Option<(&str, &str)> {
        let (placeholder, value) = self.list.get(*self.by_placeholder.get(text)?)?;
        Some((placeholder, value))
    }

    /// Whether some placeholder goes on behind `text`.
    pub(crate) fn goes_on(&self, text: &str) -> bool {
        let behind: (Bound<&str>, Bound<&str>) = (Bound::Excluded(text), Bound::Unbounded);
        self.by_placeholder.range::<str, _>(behind).next().is_some_and(|(placeholder, _)| placeholder.starts_with(text))
    }
}

/// What the placeholders of a kind begin with: `[IBAN_`, `[CUSTOM_MATTER_`.
pub(crate) fn opening_of(kind: TextKind) -> String {
    format!("[{}_", kind.name().to_ascii_uppercase().replace(':', "_"))
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a value has a list of places, and most have one")]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_between_letters_and_not_within_a_placeholder() {
        let raw = "é".repeat(LONGEST_VALUE);
        let (odd, all) = (vec![1..raw.len()], raw.len());

        let bounds = |placeholders: &[Range<usize>]| {
            let pieces = bounded(raw.as_bytes(), vec![0..all], placeholders, &[]);
            pieces.into_iter().flatten().map(|piece| piece.end).collect::<Vec<_>>()
        };

        assert_eq!(bounds(&[]), [LONGEST_VALUE, all]);
        assert_eq!(bounds(&[LONGEST_VALUE..LONGEST_VALUE + 10]), [LONGEST_VALUE, all]);
        let early = LONGEST_VALUE - 4;
        assert_eq!(bounds(&[0..10, early..early + 10]), [early, early + LONGEST_VALUE, all]);
        assert_eq!(bounded(raw.as_bytes(), odd.clone(), &[], &odd), [odd], "nor is a number cut");
    }
}
