//! Findings replaced by placeholders before a request leaves.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use crate::engine::Hit;
use crate::kind::TextKind;
use crate::own::OwnRecognisers;
use crate::reading::media;
use crate::reading::reader::{self, Listener, Packed};
use crate::restore::Restorer;

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
    /// More values than are kept.
    #[error("the request holds more than {MOST_VALUES} different values to be replaced")]
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
        let mut editor =
            Editor { body: &current, kinds: &kinds, finds: Vec::new(), packed: Vec::new(), is_unread: false };
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

/// A string of base64 with finds in the text that it packs.
struct PackedFind {
    /// The base64, without what stands in front of it.
    place: Range<usize>,
    text: Vec<u8>,
    hits: Vec<Hit>,
}

/// Gathers what has to be replaced.
struct Editor<'a> {
    body: &'a [u8],
    kinds: &'a HashSet<TextKind>,
    finds: Vec<(TextKind, Vec<Range<usize>>)>,
    packed: Vec<PackedFind>,
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

    fn found_packed(&mut self, packed: &Packed<'_>, mut hits: Vec<Hit>) {
        hits.retain(|hit| self.kinds.contains(&hit.kind));
        hits.sort_by_key(|hit| (hit.place.start, std::cmp::Reverse(hit.place.end)));
        if !hits.is_empty() {
            let place = packed.place.start + packed.head..packed.place.end;
            self.packed.push(PackedFind { place, text: packed.text.to_vec(), hits });
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
        // Longest first where several overlap: a value across strings before what one of them looked like alone.
        self.finds.sort_by_key(|(_, places)| {
            (
                places.first().map_or(0, |place| place.start),
                std::cmp::Reverse(places.iter().map(ExactSizeIterator::len).sum::<usize>()),
            )
        });
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        for (kind, places) in &self.finds {
            let value: String =
                places.iter().map(|place| meant(self.body.get(place.clone()).unwrap_or_default())).collect();
            let mut text = restorer.placeholder(*kind, &value, self.body).ok_or(RedactError::TooMany)?;
            for place in places {
                let is_number = is_number(self.body, place);
                let written = std::mem::take(&mut text);
                edits.push((place.clone(), if is_number { format!("\"{written}\"") } else { written }));
            }
        }
        for PackedFind { place, text, hits } in &self.packed {
            let mut out = Vec::with_capacity(text.len());
            let mut from = 0;
            for hit in hits {
                // Recognisers of one's own may find what lies within another find; the rest of it goes with that.
                if hit.place.start < from {
                    from = from.max(hit.place.end);
                    continue;
                }
                let value = String::from_utf8_lossy(text.get(hit.place.clone()).unwrap_or_default()).into_owned();
                let placeholder = restorer.placeholder(hit.kind, &value, self.body).ok_or(RedactError::TooMany)?;
                out.extend_from_slice(text.get(from..hit.place.start).unwrap_or_default());
                out.extend_from_slice(placeholder.as_bytes());
                from = hit.place.end;
            }
            out.extend_from_slice(text.get(from..).unwrap_or_default());
            edits.push((place.clone(), media::pack(&out)));
        }
        edits.sort_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
        Ok(spliced(self.body, edits))
    }
}

/// The body with the edits made; of two that overlap, what the second one covers beyond the first is taken out as well.
fn spliced(body: &[u8], edits: Vec<(Range<usize>, String)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut from = 0;
    for (place, text) in edits {
        if place.start >= from {
            out.extend_from_slice(body.get(from..place.start).unwrap_or_default());
            out.extend_from_slice(text.as_bytes());
        }
        from = from.max(place.end);
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    out
}

/// Whether the place is a number of the JSON and not within a string: then what stands around it is no text.
fn is_number(body: &[u8], place: &Range<usize>) -> bool {
    let value = body.get(place.clone()).unwrap_or_default();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let ahead = body.get(..place.start).unwrap_or_default();
    let behind = body.get(place.end..).unwrap_or_default();
    let before = ahead.iter().rev().find(|byte| !byte.is_ascii_whitespace());
    let after = behind.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(before, Some(b':' | b',' | b'[')) || !matches!(after, Some(b',' | b']' | b'}')) {
        return false;
    }
    // Text can look like that too (`"a: 4111111111111111, b"`): only a walk over the strings can tell.
    !crate::reading::strings::Strings::new(body).take_while(|token| token.place.start <= place.start).any(|token| {
        token.role != crate::reading::strings::Role::Number
            && token.place.end >= place.end
            && token.place.start <= place.start
    })
}

/// What a piece of a JSON string means.
pub(crate) fn meant(raw: &[u8]) -> String {
    let quoted = [b"\"", raw, b"\""].concat();
    match serde_json::from_slice::<String>(&quoted) {
        Ok(text) => text,
        Err(_) => String::from_utf8_lossy(raw).into_owned(),
    }
}

/// A value and its placeholder, both ways.
#[derive(Default)]
pub(crate) struct Pairs {
    by_value: HashMap<(TextKind, String), usize>,
    /// Placeholder and value, in the order in which they were given out.
    pub(crate) list: Vec<(String, String)>,
    numbers: HashMap<TextKind, usize>,
}

impl Pairs {
    /// The placeholder of this value: the one it has, or a new one that does not stand in `body`.
    pub(crate) fn placeholder(&mut self, kind: TextKind, value: &str, body: &[u8]) -> Option<String> {
        if let Some(at) = self.by_value.get(&(kind, value.to_owned())) {
            return self.list.get(*at).map(|(placeholder, _)| placeholder.clone());
        }
        if self.list.len() >= MOST_VALUES {
            return None;
        }
        let number = self.numbers.entry(kind).or_insert_with(|| first_number(kind, body));
        *number += 1;
        let placeholder = placeholder_of(kind, *number);
        self.by_value.insert((kind, value.to_owned()), self.list.len());
        self.list.push((placeholder.clone(), value.to_owned()));
        Some(placeholder)
    }
}

/// What stands for the value of this number.
pub(crate) fn placeholder_of(kind: TextKind, number: usize) -> String {
    format!("[{}_{number}]", word_of(kind))
}

/// The kind as placeholders write it: `IBAN`, `CUSTOM_MATTER`.
fn word_of(kind: TextKind) -> String {
    kind.name().to_ascii_uppercase().replace(':', "_")
}

/// Where to begin to count so that no placeholder is one that the caller wrote.
fn first_number(kind: TextKind, body: &[u8]) -> usize {
    let opening = format!("[{}_", word_of(kind));
    let numbers = memchr::memmem::find_iter(body, opening.as_bytes()).filter_map(|at| {
        let digits = body.get(at + opening.len()..)?;
        let digits = digits.iter().take(9).take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
    });
    numbers.max().unwrap_or(0)
}
