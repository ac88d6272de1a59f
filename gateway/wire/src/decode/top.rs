//! The members of the top level: what the gateway reads and may splice.

use std::ops::Range;

use super::DecodeError;
use super::address::Check;
use super::feature::FeatureKind;
use super::tables;
use super::users;
use super::walk::{Seen, Walker, Zone};
use crate::Api;
use crate::json::Text;

/// Longest model name accepted, in bytes.
pub(super) const MAX_MODEL: usize = 512;

/// What bounds the output of an answer, in the one API or the other.
pub(crate) const BOUNDS: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

/// Which of [`BOUNDS`] an API heeds, the usual one first; the others are to it members like any that it does not know.
pub(crate) const fn bounds_of(api: Api) -> &'static [&'static str] {
    match api {
        Api::Chat => &["max_tokens", "max_completion_tokens"],
        Api::Completions | Api::Messages => &["max_tokens"],
        Api::Responses => &["max_output_tokens"],
        Api::CountTokens | Api::Embeddings | Api::Rerank => &[],
    }
}

/// What the top level says, with the places where it may be spliced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Controls {
    /// Offset of the opening brace.
    pub(crate) open: usize,
    /// The object has no member at all.
    pub(crate) empty: bool,
    /// The value of `model`, quotes included.
    pub(crate) model: Option<Range<usize>>,
    pub(super) model_text: Option<String>,
    pub(crate) stream: bool,
    pub(crate) stream_options: StreamOptions,
    pub(crate) store: Option<Store>,
    /// The largest of those that the API heeds.
    pub(super) max_output: Option<u64>,
    /// The values of [`BOUNDS`], as they were written.
    pub(crate) bounds: [Option<Range<usize>>; 3],
    /// `prompt_cache_key`, where it is a text.
    pub(super) cache_key: Option<Text>,
    /// From the first message to the first of a user, both included.
    pub(super) opening: Option<Range<usize>>,
    pub(super) choices: Option<u64>,
    pub(super) service_tier: ServiceTier,
    /// The value of `metadata`, where it is an object.
    pub(crate) metadata: Option<Range<usize>>,
    /// The value of `safety_identifier`, or else of `user`, where it is a text.
    pub(super) user: Option<Text>,
    pub(super) user_is_safety_identifier: bool,
    /// Whatever stands where the name of a user belongs.
    pub(super) users: Vec<Range<usize>>,
}

/// `service_tier`: how soon the answer is wanted, which providers charge for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ServiceTier {
    /// Nothing was said, or a word that is not one of the others.
    #[default]
    Default,
    /// `flex`: cheaper and later.
    Flex,
    /// `priority`: dearer and sooner.
    Priority,
}

/// `stream_options`, as far as usage is concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum StreamOptions {
    #[default]
    Absent,
    /// `null`, at this place.
    Null(Range<usize>),
    /// An object without `include_usage`, opened at this offset.
    Silent { open: usize, empty: bool },
    /// An object whose `include_usage` is other than true, at this place.
    Declined(Range<usize>),
    /// `include_usage` is true.
    Asked,
}

/// `store`, which the Responses API takes for true where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Store {
    pub(crate) place: Range<usize>,
    pub(crate) value: StoreValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreValue {
    Null,
    False,
    /// True, or anything that a lenient server might take for true.
    Keep,
}

pub(super) fn member(walker: &mut Walker<'_>, controls: &mut Controls, key: Text) -> Result<(), DecodeError> {
    let name = key.unescaped_bytes(walker.scan.bytes());
    let folded = tables::folded(&name);
    if *folded != *name
        && let Some(expected) = tables::READ.iter().find(|read| read.as_bytes() == &*folded)
    {
        return Err(DecodeError::LookAlike { expected });
    }
    if tables::names_a_place(&folded) {
        return Err(DecodeError::PlaceNamed);
    }
    match &*name {
        b"model" => model(walker, controls),
        b"stream" => stream(walker, controls),
        b"stream_options" => stream_options(walker, controls),
        b"store" => store(walker, controls),
        b"max_tokens" => bound(walker, controls, 0),
        b"max_completion_tokens" => bound(walker, controls, 1),
        b"max_output_tokens" => bound(walker, controls, 2),
        b"n" | b"best_of" => larger(walker, &mut controls.choices).map(drop),
        b"service_tier" => service_tier(walker, controls),
        b"background" | b"previous_response_id" | b"conversation" | b"container" => {
            state(walker, Zone::Content(Check::No), |_, value| !matches!(value, Seen::Null | Seen::False))
        }
        b"prompt" if walker.api == Api::Responses => {
            state(walker, Zone::Content(Check::No), |_, value| *value != Seen::Null)
        }
        b"prompt_cache_retention" => state(walker, Zone::Opaque, |walker, value| {
            let in_memory = walker.is_text(value, "in_memory") || walker.is_text(value, "in-memory");
            value.says_something() && !in_memory
        }),
        b"input" if walker.api == Api::Responses => conversation(walker, controls, Zone::Items),
        b"messages" => conversation(walker, controls, Zone::Content(Check::No)),
        b"prompt_cache_key" => {
            if let Seen::Text(text) = walker.value(Zone::Content(Check::No))? {
                controls.cache_key = Some(text);
            }
            Ok(())
        }
        b"input" | b"prompt" => walker.value(Zone::Tokens).map(drop),
        b"tools" => walker.value(Zone::Tools).map(drop),
        b"metadata" if walker.scan.peek() == Some(b'{') => {
            controls.metadata = Some(users::metadata(walker, controls)?);
            Ok(())
        }
        name @ (b"user" | b"safety_identifier") => {
            let is_safety_identifier = name == b"safety_identifier";
            let (value, place) = walker.spanned(Zone::Content(tables::check_of(&folded)))?;
            users::note(controls, &value, place);
            // What names the user for the provider's safety checks is the newer member, and wins wherever it stands.
            if let Seen::Text(text) = value
                && (is_safety_identifier || !controls.user_is_safety_identifier)
            {
                controls.user = Some(text);
                controls.user_is_safety_identifier = is_safety_identifier;
            }
            Ok(())
        }
        _ if users::names_a_user(&folded) => {
            let (value, place) = walker.spanned(Zone::Content(tables::check_of(&folded)))?;
            users::note(controls, &value, place);
            Ok(())
        }
        name if tables::opaque_at_top(name) => Ok(walker.scan.skip_value()?),
        _ => other(walker, controls, &folded),
    }
}

/// The conversation so far. Its turns are sent again with each request, so that its beginning tells it from others.
fn conversation(walker: &mut Walker<'_>, controls: &mut Controls, zone: Zone) -> Result<(), DecodeError> {
    if walker.scan.peek() != Some(b'[') {
        let (seen, place) = walker.spanned(zone)?;
        controls.opening = matches!(seen, Seen::Text(_)).then_some(place);
        return Ok(());
    }
    let start = walker.scan.position();
    let (mut end, mut is_found) = (start, false);
    walker.elements(zone, |seen, at| {
        if !is_found {
            end = at;
            is_found = matches!(seen, Seen::Object(object) if object.is_users);
        }
    })?;
    controls.opening = is_found.then_some(start..end);
    Ok(())
}

/// A member that the gateway does not read: content like any other, for who knows which server reads it.
fn other(walker: &mut Walker<'_>, controls: &mut Controls, folded: &[u8]) -> Result<(), DecodeError> {
    if tables::extends_top(folded) && walker.scan.peek() == Some(b'{') {
        return walker.members(|walker, key| extended(walker, controls, key)).map(drop);
    }
    let value = walker.value(Zone::Content(tables::check_of(folded)))?;
    if tables::is_state(folded) && value.says_something() {
        return walker.found(FeatureKind::KeepState);
    }
    let id = matches!(folded, b"file_id" | b"file_ids").then_some("file_id");
    match id.or_else(|| tables::hosted_member(folded)) {
        // An empty object still asks for it: `web_search_options: {}` turns the search on.
        Some(kind) if value.says_something() || matches!(value, Seen::Object(_)) => {
            walker.found(FeatureKind::hosted(kind))
        }
        _ => Ok(()),
    }
}

/// A member of an object that some server merges into the top level.
fn extended(walker: &mut Walker<'_>, controls: &mut Controls, key: Text) -> Result<(), DecodeError> {
    let name = key.unescaped_bytes(walker.scan.bytes());
    let folded = tables::folded(&name);
    if tables::names_a_place(&folded) {
        return Err(DecodeError::PlaceNamed);
    }
    match &*folded {
        b"tools" => walker.value(Zone::Tools).map(drop),
        b"input" if walker.api == Api::Responses => walker.value(Zone::Items).map(drop),
        b"store" | b"background" | b"previous_response_id" | b"conversation" | b"container" => {
            state(walker, Zone::Content(Check::No), |_, value| !matches!(value, Seen::Null | Seen::False))
        }
        b"metadata" if walker.scan.peek() == Some(b'{') => users::metadata(walker, controls).map(drop),
        _ if users::names_a_user(&folded) => {
            let (value, place) = walker.spanned(Zone::Content(tables::check_of(&folded)))?;
            users::note(controls, &value, place);
            Ok(())
        }
        _ if tables::opaque_at_top(&name) => Ok(walker.scan.skip_value()?),
        _ => other(walker, controls, &folded),
    }
}

fn model(walker: &mut Walker<'_>, controls: &mut Controls) -> Result<(), DecodeError> {
    let text_before = walker.scan.text_bytes;
    let (value, place) = walker.spanned(Zone::Opaque)?;
    walker.scan.text_bytes = text_before; // The model does not read its own name.
    match value {
        Seen::Text(text) if text.len() > MAX_MODEL * 6 => return Err(DecodeError::ModelTooLong),
        Seen::Text(text) => {
            let model = text.unescaped(walker.scan.bytes()).into_owned();
            controls.model_text = Some(model).filter(|model| !model.is_empty());
        }
        Seen::Null => {}
        _ => return Err(DecodeError::ModelNotText),
    }
    controls.model = Some(place);
    Ok(())
}

fn stream(walker: &mut Walker<'_>, controls: &mut Controls) -> Result<(), DecodeError> {
    match walker.value(Zone::Opaque)? {
        Seen::True => controls.stream = true,
        Seen::False | Seen::Null => controls.stream = false,
        _ => return Err(DecodeError::StreamNotBool),
    }
    Ok(())
}

fn stream_options(walker: &mut Walker<'_>, controls: &mut Controls) -> Result<(), DecodeError> {
    match walker.scan.peek() {
        Some(b'{') => {}
        Some(b'n') => {
            let (_, place) = walker.spanned(Zone::Opaque)?;
            controls.stream_options = StreamOptions::Null(place);
            return Ok(());
        }
        _ => {
            walker.value(Zone::Opaque)?;
            return Err(DecodeError::StreamOptionsNotObject);
        }
    }
    let open = walker.scan.position();
    let mut asked = None;
    walker.scan.enter()?;
    let mut keys = walker.scan.object_keys();
    while let Some(key) = walker.scan.key(&mut keys)? {
        let (value, place) = walker.spanned(Zone::Opaque)?;
        if *key.unescaped_bytes(walker.scan.bytes()) == *b"include_usage" {
            asked = Some((value == Seen::True, place));
        }
    }
    controls.stream_options = match asked {
        Some((true, _)) => StreamOptions::Asked,
        Some((false, place)) => StreamOptions::Declined(place),
        None => StreamOptions::Silent { open, empty: keys.is_empty() },
    };
    Ok(())
}

fn store(walker: &mut Walker<'_>, controls: &mut Controls) -> Result<(), DecodeError> {
    let (value, place) = walker.spanned(Zone::Opaque)?;
    let value = match value {
        Seen::Null => StoreValue::Null,
        Seen::False => StoreValue::False,
        _ => StoreValue::Keep,
    };
    if value == StoreValue::Keep {
        walker.found(FeatureKind::KeepState)?;
    }
    controls.store = Some(Store { place, value });
    Ok(())
}

fn service_tier(walker: &mut Walker<'_>, controls: &mut Controls) -> Result<(), DecodeError> {
    let value = walker.value(Zone::Content(Check::No))?;
    controls.service_tier = if walker.is_text(&value, "flex") {
        ServiceTier::Flex
    } else if walker.is_text(&value, "priority") {
        ServiceTier::Priority
    } else {
        ServiceTier::Default
    };
    Ok(())
}

fn bound(walker: &mut Walker<'_>, controls: &mut Controls, index: usize) -> Result<(), DecodeError> {
    // A bound that the API does not heed bounds nothing, and must not make the reservation smaller.
    let mut unheeded = None;
    let heeds = bounds_of(walker.api).contains(&BOUNDS[index]);
    let most = if heeds { &mut controls.max_output } else { &mut unheeded };
    controls.bounds[index] = Some(larger(walker, most)?);
    Ok(())
}

/// The largest of the numbers given, and where this one stands; what is no whole number is the upstream's to refuse.
fn larger(walker: &mut Walker<'_>, most: &mut Option<u64>) -> Result<Range<usize>, DecodeError> {
    let (_, place) = walker.spanned(Zone::Opaque)?;
    let number = walker.scan.bytes().get(place.clone()).and_then(|digits| std::str::from_utf8(digits).ok());
    let number = number.and_then(|digits| digits.parse::<u64>().ok());
    *most = (*most).max(number);
    Ok(place)
}

fn state(
    walker: &mut Walker<'_>,
    zone: Zone,
    kept: impl FnOnce(&Walker<'_>, &Seen) -> bool,
) -> Result<(), DecodeError> {
    let value = walker.value(zone)?;
    if kept(walker, &value) {
        walker.found(FeatureKind::KeepState)?;
    }
    Ok(())
}
