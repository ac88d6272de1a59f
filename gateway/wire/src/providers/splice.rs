//! The splices: a few bytes replaced or put in, the rest passed on as it came.

use std::ops::Range;

use bytes::Bytes;

use super::{EncodeTarget, EncodedBody};
use crate::decode::{BOUNDS, Controls, StoreValue, StreamOptions, bounds_of};
use crate::{Api, Call};

/// The caller's body for one target.
///
/// - `model` becomes the upstream's name, and is put in where the body has none (the path named it).
/// - A chat or completions stream asks for usage. `include_usage: false` becomes true; the chunk is then taken out again.
/// - A Responses call without `store` says `"store":false`, because that API keeps what it is not told to forget; where
///   policy grants no state, a `store` that asks to keep is overruled, should such a call ever get here.
/// - Where the output is bounded, what the caller asks for beyond that becomes the bound, and the bound is put in where the
///   caller has written none. What asks for less stays, and holds also where the caller wrote no number beside it.
pub(super) fn encode(call: &Call, target: &EncodeTarget<'_>, bounds_chats_by: &str) -> EncodedBody {
    let controls = call.controls();
    let mut edits = Edits::new(controls);
    let injected_usage = ask_for_usage(call, &mut edits);
    forget(call, target, &mut edits);
    if let Some(most) = target.most_output {
        bound(call, most, bounds_chats_by, &mut edits);
    }
    edits.model(call, target.upstream_model);
    edits.apply(call.body(), injected_usage)
}

fn ask_for_usage(call: &Call, edits: &mut Edits) -> bool {
    if !call.stream() || !matches!(call.api(), Api::Chat | Api::Completions) {
        return false;
    }
    match &call.controls().stream_options {
        StreamOptions::Asked => return false,
        StreamOptions::Absent => edits.lead("\"stream_options\":{\"include_usage\":true}"),
        StreamOptions::Null(place) => edits.replace(place.clone(), "{\"include_usage\":true}"),
        StreamOptions::Declined(place) => edits.replace(place.clone(), "true"),
        StreamOptions::Silent { open, empty } => {
            let text = if *empty { "\"include_usage\":true" } else { "\"include_usage\":true," };
            edits.replace(open + 1..open + 1, text);
        }
    }
    true
}

fn forget(call: &Call, target: &EncodeTarget<'_>, edits: &mut Edits) {
    if target.keep_state || !matches!(call.api(), Api::Responses | Api::Chat) {
        return;
    }
    let silent_means_keep = call.api() == Api::Responses;
    match &call.controls().store {
        None if silent_means_keep => edits.lead("\"store\":false"),
        Some(store) => match store.value {
            StoreValue::Keep => edits.replace(store.place.clone(), "false"),
            StoreValue::Null if silent_means_keep => edits.replace(store.place.clone(), "false"),
            StoreValue::Null | StoreValue::False => {}
        },
        None => {}
    }
}

fn bound(call: &Call, most: u64, bounds_chats_by: &str, edits: &mut Edits) {
    let heeded = bounds_of(call.api());
    let Some(&usual) = heeded.first() else { return };
    let named = BOUNDS.into_iter().zip(&call.controls().bounds).filter(|(name, _)| heeded.contains(name));
    let written: Vec<(Range<usize>, Option<f64>)> = named
        .filter_map(|(_, place)| place.clone())
        .map(|place| (place.clone(), number_at(call.body(), place)))
        .collect();
    if written.is_empty() {
        let name = if call.api() == Api::Chat { bounds_chats_by } else { usual };
        edits.lead(&format!("\"{name}\":{most}"));
        return;
    }
    let is_within = |asked: f64| asked <= most as f64;
    let numbers = written.iter().filter_map(|(place, asked)| Some((place, (*asked)?)));
    let tightest = numbers.filter(|(_, asked)| is_within(*asked)).min_by(|(_, one), (_, other)| one.total_cmp(other));
    // Some servers read the one name and some the other: where no number stands, the caller's own bound holds as well.
    let tightest = tightest.map(|(place, _)| call.body().slice(place.clone()));
    for (place, asked) in written {
        let text = match asked {
            Some(asked) if is_within(asked) => continue,
            Some(_) => None,
            None => tightest.clone(),
        };
        edits.list.push(Edit { place, text: text.unwrap_or_else(|| Bytes::from(most.to_string())) });
    }
}

/// The bound that is written there; none where it is no number, or one below zero: `null` and `-1` mean no bound to some
/// servers.
fn number_at(body: &Bytes, place: Range<usize>) -> Option<f64> {
    let written = std::str::from_utf8(body.get(place)?).ok()?;
    written.parse::<f64>().ok().filter(|number| *number >= 0.0)
}

/// `text` as a string of JSON. Models' names hold nothing to escape.
fn in_json(text: &str) -> String {
    if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        return serde_json::to_string(text).expect("a string always has a JSON form");
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    quoted.push_str(text);
    quoted.push('"');
    quoted
}

struct Edit {
    place: Range<usize>,
    text: Bytes,
}

/// The changes to one body, gathered before any is made.
struct Edits {
    list: Vec<Edit>,
    /// New members, each to stand before the first of the caller's.
    lead: Vec<u8>,
    open: usize,
    empty: bool,
}

impl Edits {
    fn new(controls: &Controls) -> Self {
        Self { list: Vec::with_capacity(4), lead: Vec::new(), open: controls.open, empty: controls.empty }
    }

    fn replace(&mut self, place: Range<usize>, text: &'static str) {
        self.list.push(Edit { place, text: Bytes::from_static(text.as_bytes()) });
    }

    fn lead(&mut self, member: &str) {
        if !self.lead.is_empty() {
            self.lead.push(b',');
        }
        self.lead.extend_from_slice(member.as_bytes());
    }

    fn model(&mut self, call: &Call, upstream: &str) {
        let name = in_json(upstream);
        match call.controls().model.clone() {
            None => self.lead(&["\"model\":", &name].concat()),
            Some(place) => {
                if call.body().get(place.clone()) != Some(name.as_bytes()) {
                    self.list.push(Edit { place, text: Bytes::from(name) });
                }
            }
        }
    }

    fn apply(mut self, body: &Bytes, injected_usage: bool) -> EncodedBody {
        if !self.lead.is_empty() {
            if !self.empty {
                self.lead.push(b',');
            }
            let place = self.open + 1..self.open + 1;
            self.list.push(Edit { place, text: Bytes::from(self.lead) });
        }
        self.list.sort_by_key(|edit| edit.place.start);
        let mut parts = Vec::with_capacity(self.list.len() * 2 + 1);
        let mut copied = 0;
        for edit in self.list {
            parts.push(body.slice(copied..edit.place.start));
            parts.push(edit.text);
            copied = edit.place.end;
        }
        parts.push(body.slice(copied..));
        parts.retain(|part| !part.is_empty());
        let len = parts.iter().map(Bytes::len).sum();
        EncodedBody { parts, len, injected_usage }
    }
}
