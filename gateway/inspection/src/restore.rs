//! Placeholders in an answer, replaced by what they stand for.
//!
//! A whole answer is JSON, in which each string is put right. A stream comes in events, and a placeholder can be cut anywhere:
//! the end of a piece of text that may be the beginning of one waits for the next piece of the same text. What is put right
//! is written anew, as the same JSON; an event or an answer without a placeholder goes on as the bytes it came as.
//!
//! Left as it is: a placeholder that the model changed; one that stands in JSON within a JSON string (the arguments of a tool
//! call) but not inside a string of that inner JSON; one that was cut and not finished.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde_json::Value;

use crate::kind::{MOST_OWN_NAME, TextKind};
use crate::redact::{Pairs, Written};

/// Longest placeholder, in bytes: that of the longest name of one's own and a number of ten digits.
const LONGEST_PLACEHOLDER: usize = "[CUSTOM__]".len() + MOST_OWN_NAME + 10;

/// Longest value of which a placeholder is made, in bytes: an answer may repeat it, and each time the value comes back.
pub(crate) const LONGEST_VALUE: usize = 64 << 10;

/// What one call replaced. It lives as long as the call and shows nothing of the values.
#[derive(Default)]
pub struct Restorer {
    pairs: Pairs,
}

impl fmt::Debug for Restorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restorer").field("values", &self.pairs.list.len()).finish_non_exhaustive()
    }
}

/// Where a text stands in JSON, as far as putting a value in is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Inner {
    /// The text is itself JSON.
    is_json: bool,
    in_string: bool,
    after_backslash: bool,
}

impl Inner {
    fn of_member(name: &str) -> Self {
        Self { is_json: matches!(name, "arguments" | "partial_json"), ..Self::default() }
    }

    fn step(&mut self, letter: char) {
        if !self.is_json {
            return;
        }
        let escaped = std::mem::take(&mut self.after_backslash);
        match letter {
            '\\' if self.in_string && !escaped => self.after_backslash = true,
            '"' if !escaped => self.in_string = !self.in_string,
            _ => {}
        }
    }
}

impl Restorer {
    /// Whether nothing was replaced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.list.is_empty()
    }

    /// How many different values were replaced.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.list.len()
    }

    /// What stands for this value, in which placeholders may stand already: it is kept with what they stand for.
    pub(crate) fn placeholder(&mut self, kind: TextKind, value: &str, written: &Written<'_>) -> Option<String> {
        let value = self.text(value, &mut Inner::default());
        if value.len() > LONGEST_VALUE {
            return None;
        }
        self.pairs.placeholder(kind, &value, written)
    }

    /// Where in a body or another text placeholders stand that were given out.
    pub(crate) fn placeholders_in<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
        let openings = memchr::memchr_iter(b'[', text).filter(|_| !self.is_empty());
        openings.filter_map(|at| {
            let candidate = text.get(at..text.len().min(at + LONGEST_PLACEHOLDER))?;
            let candidate = candidate.get(..=memchr::memchr(b']', candidate)?)?;
            self.pairs.known(std::str::from_utf8(candidate).ok()?)?;
            Some(at..at + candidate.len())
        })
    }

    /// A whole answer with its placeholders replaced; the same bytes where it has none or is no JSON.
    #[must_use]
    pub fn whole(&self, body: &[u8]) -> Vec<u8> {
        if !self.is_empty()
            && let Ok(mut answer) = serde_json::from_slice::<Value>(body)
            && self.in_value(&mut answer, "", false)
            && let Ok(bytes) = serde_json::to_vec(&answer)
        {
            return bytes;
        }
        body.to_vec()
    }

    /// Puts all strings below `value` right but those that a stream adds to; says whether there was anything to do.
    fn in_value(&self, value: &mut Value, name: &str, is_stream: bool) -> bool {
        match value {
            Value::String(text) => {
                let restored = self.text(text, &mut Inner::of_member(name));
                let changed = restored != *text;
                *text = restored;
                changed
            }
            Value::Array(items) => {
                items.iter_mut().fold(false, |changed, item| self.in_value(item, name, is_stream) | changed)
            }
            Value::Object(members) => members.iter_mut().fold(false, |changed, (member, value)| {
                let added_to = is_stream && is_added_to(member, name);
                (!added_to && self.in_value(value, member, is_stream)) | changed
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// `text` with every placeholder replaced that can be; `inner` goes on behind it.
    fn text(&self, text: &str, inner: &mut Inner) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if letter == '['
                && let Some((placeholder, value)) = self.at(rest)
            {
                match (inner.is_json, inner.in_string) {
                    (false, _) => out.push_str(value),
                    (true, true) => out.push_str(escaped(value).as_str()),
                    (true, false) => out.push_str(placeholder),
                }
                rest = rest.get(placeholder.len()..).unwrap_or_default();
                continue;
            }
            inner.step(letter);
            out.push(letter);
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        }
        out
    }

    /// The placeholder that `text` begins with.
    fn at(&self, text: &str) -> Option<(&str, &str)> {
        let near = text.get(..text.floor_char_boundary(LONGEST_PLACEHOLDER)).unwrap_or(text);
        self.pairs.known(near.get(..=near.find(']')?)?)
    }

    /// How many bytes at the end of `text` may be the beginning of a placeholder.
    fn open_end(&self, text: &str) -> usize {
        let Some(at) = text.rfind('[') else { return 0 };
        let tail = text.get(at..).unwrap_or_default();
        if self.pairs.goes_on(tail) { tail.len() } else { 0 }
    }
}

/// A value as the inside of a JSON string.
fn escaped(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

/// Whether a member of an event is a piece of a text that other events go on with.
fn is_added_to(member: &str, list: &str) -> bool {
    member == "delta" || (member == "text" && list == "choices")
}

/// Puts the events of one stream right.
///
/// The end of a text that may be the beginning of a placeholder waits, and goes on in front of the next piece of the same
/// text; where none comes, in an event of its own.
#[derive(Debug)]
pub struct StreamRestorer {
    restorer: Restorer,
    texts: HashMap<String, Text>,
}

/// One of the texts that a stream adds to.
#[derive(Debug, Default)]
struct Text {
    inner: Inner,
    waiting: String,
    /// The last event of this text, and where in its data the piece stood.
    last: Option<(Vec<u8>, Value, String)>,
}

/// Most texts of one stream that are followed; those beyond are passed on as they are.
const MOST_TEXTS: usize = 1024;

impl StreamRestorer {
    /// A restorer of one stream.
    #[must_use]
    pub fn new(restorer: Restorer) -> Self {
        Self { restorer, texts: HashMap::new() }
    }

    /// Takes the next event, as its bytes and its data, and gives what goes on in its place.
    pub fn event(&mut self, raw: &[u8], data: &[u8]) -> Vec<u8> {
        let Ok(mut value) = serde_json::from_slice::<Value>(data) else {
            // `[DONE]`, or no JSON at all: no text goes on behind it.
            let mut out = self.flush();
            out.extend_from_slice(raw);
            return out;
        };
        let mut pieces = Vec::new();
        find_pieces(&value, &mut String::new(), &mut scope(&value), &mut pieces);
        let mut out = if pieces.is_empty() && value["type"] != "ping" { self.flush() } else { Vec::new() };
        let mut changed = self.restorer.in_value(&mut value, "", true);
        let mut waits = Vec::new();
        for (pointer, key) in pieces {
            if self.texts.len() >= MOST_TEXTS && !self.texts.contains_key(&key) {
                continue;
            }
            let Some(Value::String(piece)) = value.pointer_mut(&pointer) else { continue };
            let name = pointer.rsplit('/').next().unwrap_or_default();
            let is_json = matches!(name, "arguments" | "partial_json") || key.contains("arguments");
            let text = self
                .texts
                .entry(key.clone())
                .or_insert_with(|| Text { inner: Inner { is_json, ..Inner::default() }, ..Text::default() });
            let whole = std::mem::take(&mut text.waiting) + piece;
            let open = self.restorer.open_end(&whole);
            let (ready, waiting) = whole.split_at(whole.len() - open);
            let restored = self.restorer.text(ready, &mut text.inner);
            waiting.clone_into(&mut text.waiting);
            changed |= restored != *piece;
            *piece = restored;
            if open > 0 {
                waits.push((key, pointer));
            }
        }
        for (key, pointer) in waits {
            if let Some(text) = self.texts.get_mut(&key) {
                text.last = Some((raw.to_vec(), value.clone(), pointer));
            }
        }
        if changed {
            out.extend_from_slice(&rewritten(raw, &value));
        } else {
            out.extend_from_slice(raw);
        }
        out
    }

    /// What still waits, at the end of a text or of the stream: it was no placeholder, or was not finished.
    pub fn flush(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for text in self.texts.values_mut().filter(|text| !text.waiting.is_empty()) {
            let waiting = std::mem::take(&mut text.waiting);
            if let Some((raw, mut value, pointer)) = text.last.take()
                && let Some(piece) = value.pointer_mut(&pointer)
            {
                *piece = Value::from(waiting);
                out.extend_from_slice(&rewritten(&raw, &value));
            }
        }
        out
    }
}

/// What tells the texts of one stream apart beside their place in an event.
fn scope(event: &Value) -> String {
    ["output_index", "content_index", "summary_index", "index", "item_id"]
        .iter()
        .map(|name| format!("{}/", event[*name]))
        .collect::<String>()
        + event["type"].as_str().unwrap_or_default()
}

/// The strings of an event that other events go on with: a pointer to each, and the key of its text.
fn find_pieces(value: &Value, pointer: &mut String, key: &mut String, pieces: &mut Vec<(String, String)>) {
    let (pointer_length, key_length) = (pointer.len(), key.len());
    let is_within = pointer.split('/').any(|step| step == "delta") || is_choice_text(pointer);
    match value {
        Value::String(_) if is_within => pieces.push((pointer.clone(), key.clone())),
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                let index = item["index"].as_u64().unwrap_or(place as u64);
                pointer.push_str(&format!("/{place}"));
                key.push_str(&format!("/{index}"));
                find_pieces(item, pointer, key, pieces);
                pointer.truncate(pointer_length);
                key.truncate(key_length);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                key.push('/');
                key.push_str(name);
                find_pieces(member, pointer, key, pieces);
                pointer.truncate(pointer_length);
                key.truncate(key_length);
            }
        }
        _ => {}
    }
}

/// Whether the pointer is that of `choices[n].text`.
fn is_choice_text(pointer: &str) -> bool {
    let mut steps = pointer.split('/').skip(1);
    steps.next() == Some("choices") && steps.next().is_some() && steps.next() == Some("text") && steps.next().is_none()
}

/// The event with other data: its other fields, then the data in one line.
fn rewritten(raw: &[u8], value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 64);
    for line in raw.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if !line.is_empty() && !line.starts_with(b"data") {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(value.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
    out
}

#[cfg(test)]
mod tests;
