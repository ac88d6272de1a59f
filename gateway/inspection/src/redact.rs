//! Findings replaced by placeholders before a request leaves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::{Bound, Range};

use crate::engine::Hit;
use crate::kind::TextKind;
use crate::own::OwnRecognisers;
use crate::reading::media;
use crate::reading::reader::{self, Listener, Packed};
use crate::reading::strings::{self, Role, Strings};
use crate::restore::Restorer;

use self::together::{Together, together};

mod together;

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
        let mut editor = Editor { body: &current, own, kinds: &kinds, finds, packed, is_unread };
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
    own: &'a OwnRecognisers,
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
        let numbers = self.numbers();
        for place in self.finds.iter_mut().flat_map(|(_, places)| places) {
            if let Some(number) = around(&numbers, place) {
                place.clone_from(number);
            }
        }
        let packed = self.packed.iter().map(|packed| packed.place.clone());
        let uncut: Vec<Range<usize>> = packed.chain(restorer.placeholders_in(self.body)).collect();
        let Together { wholes, is_taken } = together(std::mem::take(&mut self.finds), &uncut);
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        for whole in &wholes {
            let raw = whole.places.iter().map(|place| self.body.get(place.clone()).unwrap_or_default());
            let value: String = raw.map(meant).collect();
            let mut text = restorer.placeholder(whole.kind, &value, self.body).ok_or(RedactError::TooMany)?;
            for place in &whole.places {
                let written = std::mem::take(&mut text);
                let is_number = around(&numbers, place).is_some();
                edits.push((place.clone(), if is_number { format!("\"{written}\"") } else { written }));
            }
        }
        let packed = self.packed.iter().zip(is_taken).filter(|(_, is_taken)| !is_taken);
        for (packed, _) in packed {
            edits.push((packed.place.clone(), packed.redacted(restorer, self.body)?));
        }
        edits.sort_by_key(|(place, _)| place.start);
        Ok(spliced(self.body, edits))
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

impl PackedFind {
    /// The text with placeholders, packed again.
    fn redacted(&self, restorer: &mut Restorer, body: &[u8]) -> Result<String, RedactError> {
        let finds = self.hits.iter().map(|hit| (hit.kind, vec![hit.place.clone()])).collect();
        let uncut: Vec<Range<usize>> = restorer.placeholders_in(&self.text).collect();
        let mut edits = Vec::new();
        for whole in together(finds, &uncut).wholes {
            for place in whole.places {
                let value = String::from_utf8_lossy(self.text.get(place.clone()).unwrap_or_default());
                let placeholder = restorer.placeholder(whole.kind, &value, body).ok_or(RedactError::TooMany)?;
                edits.push((place, placeholder));
            }
        }
        Ok(media::pack(&spliced(&self.text, edits)))
    }
}

/// The one of `numbers`, in rising order, that holds `place`.
fn around<'n>(numbers: &'n [Range<usize>], place: &Range<usize>) -> Option<&'n Range<usize>> {
    let at = numbers.partition_point(|number| number.start <= place.start).checked_sub(1)?;
    numbers.get(at).filter(|number| place.end <= number.end)
}

/// The text with the edits made, which are in order and do not overlap.
fn spliced(text: &[u8], edits: Vec<(Range<usize>, String)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for (place, edit) in edits {
        out.extend_from_slice(text.get(from..place.start).unwrap_or_default());
        out.extend_from_slice(edit.as_bytes());
        from = place.end;
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out
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
    /// By the placeholder, its place in the list.
    by_placeholder: BTreeMap<String, usize>,
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

/// Where to begin to count so that no placeholder is one that the caller wrote.
fn first_number(kind: TextKind, body: &[u8]) -> usize {
    let opening = opening_of(kind);
    let numbers = memchr::memmem::find_iter(body, opening.as_bytes()).filter_map(|at| {
        let digits = body.get(at + opening.len()..)?;
        let digits = digits.iter().take(9).take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
    });
    numbers.max().unwrap_or(0)
}
