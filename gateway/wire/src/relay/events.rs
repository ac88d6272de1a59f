//! What single events say.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::Api;
use crate::sse::Frame;
use crate::usage::{self, Usage};

/// An error that an upstream reports as an event in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamErrorEvent {
    /// The event as it may be sent to the caller.
    pub raw: Bytes,
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// The `type` or `code` that the upstream gave, cut to 64 bytes; never its message, which may quote a prompt.
    pub label: Option<String>,
}

/// The kinds of errors in streams, as far as failover tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The upstream has too much to do.
    Overloaded,
    /// A rate limit or a quota.
    RateLimited,
    /// The upstream's own fault.
    Server,
    /// The endpoint's credential was not accepted. That is between the gateway and the upstream: it is not passed on.
    Credential,
    /// The request's fault: no other endpoint would take it either.
    Invalid,
    /// It does not say; taken for the upstream's fault.
    Unknown,
}

impl ErrorKind {
    /// Whether another endpoint might do better.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Overloaded | Self::RateLimited | Self::Server | Self::Unknown => true,
            Self::Credential | Self::Invalid => false,
        }
    }
}

/// What an event of the Responses or Messages API is, as far as the relay cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ResponseEnded,
    ResponseFailed,
    MessageStart,
    MessageDelta,
    MessageStop,
    Error,
    /// A part of the answer begins or goes on.
    Part,
    Done,
    Other,
}

/// The event's kind, by its `event:` line where there is one, else by `type` in its data.
pub(super) fn kind(frame: &Frame) -> Kind {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Cow<'a, str>>,
        error: Option<IgnoredAny>,
    }
    if let Some(name) = frame.event() {
        return kind_of(name);
    }
    let data = frame.data();
    if data.starts_with(b"[DONE]") {
        return Kind::Done;
    }
    match serde_json::from_slice::<Typed<'_>>(&data) {
        Ok(Typed { kind: Some(kind), .. }) => kind_of(kind.as_bytes()),
        Ok(Typed { error: Some(_), .. }) => Kind::Error,
        _ if frame.field(b"error").is_some() => Kind::Error,
        _ => Kind::Other,
    }
}

fn kind_of(name: &[u8]) -> Kind {
    match name {
        b"response.completed" | b"response.incomplete" | b"response.cancelled" => Kind::ResponseEnded,
        b"response.failed" => Kind::ResponseFailed,
        b"message_start" => Kind::MessageStart,
        b"message_delta" => Kind::MessageDelta,
        b"message_stop" => Kind::MessageStop,
        b"error" => Kind::Error,
        b"content_block_start" | b"content_block_delta" => Kind::Part,
        _ if name.starts_with(b"response.") && name.ends_with(b".delta") => Kind::Part,
        _ => Kind::Other,
    }
}

/// The usage in the last event of a Responses stream.
pub(super) fn response_usage(frame: &Frame) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Ended<'a> {
        #[serde(borrow)]
        response: Response<'a>,
    }
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    let data = frame.data();
    let ended: Ended<'_> = serde_json::from_slice(&data).ok()?;
    usage::from_raw(Api::Responses, ended.response.usage?.get().as_bytes())
}

/// The part of the usage that `message_start` or `message_delta` reports.
pub(super) fn message_usage(frame: &Frame) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        message: Option<Message<'a>>,
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    let data = frame.data();
    let event: Event<'_> = serde_json::from_slice(&data).ok()?;
    let raw = event.usage.or_else(|| event.message?.usage)?;
    Some(raw.get().as_bytes().to_vec())
}

/// Whether a last event without its blank line is whole all the same.
pub(super) fn is_whole(frame: &Frame) -> bool {
    let data = frame.data();
    data.trim_ascii() == b"[DONE]" || serde_json::from_slice::<IgnoredAny>(&data).is_ok()
}

/// One chunk of a chat or completions stream, as far as the relay reads it.
#[derive(Deserialize)]
pub(super) struct ChatChunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

impl<'a> ChatChunk<'a> {
    pub(super) fn read(data: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(data).ok()
    }

    /// The usage that it reports whole.
    pub(super) fn usage(&self, api: Api) -> Option<Usage> {
        usage::from_raw(api, self.usage?.get().as_bytes())
    }

    /// Whether it reports usage, whole or in part.
    pub(super) fn has_usage(&self) -> bool {
        self.usage.is_some_and(|raw| usage::is_usage(raw.get().as_bytes()))
    }

    pub(super) fn has_no_choice(&self) -> bool {
        self.choices.as_ref().is_none_or(Vec::is_empty)
    }

    /// Index of each choice, and whether this chunk finishes it.
    pub(super) fn choices(&self) -> impl Iterator<Item = (u64, bool)> {
        self.choices.iter().flatten().map(|choice| {
            // Some servers write an empty reason into every chunk but the last.
            let finished = choice.finish_reason.is_some_and(|reason| !matches!(reason.get(), "\"\"" | "null"));
            (choice.index.unwrap_or_default(), finished)
        })
    }
}

/// What a glance at a chunk shows without parsing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight {
    usage: bool,
    finished: bool,
    pub(super) error: bool,
}

impl Sight {
    pub(super) fn shows_usage(self) -> bool {
        self.usage
    }

    pub(super) fn worth_parsing(self) -> bool {
        self.usage || self.finished
    }
}

/// Looks for the words that matter. A quote within a JSON string is escaped, so text cannot show these by chance.
///
/// One pass from colon to colon: a search for each of the words by itself was a twelfth of what a chunk costs.
pub(super) fn glance(data: &[u8], many_choices: &mut bool) -> Sight {
    let mut sight = Sight { usage: false, finished: false, error: false };
    for colon in memchr::memchr_iter(b':', data) {
        let (before, behind) = data.split_at(colon);
        let key = before.trim_ascii_end();
        let value = || behind.get(1..).unwrap_or_default().trim_ascii_start().first().copied();
        match key {
            [.., b'g', b'e', b'"'] if key.ends_with(b"\"usage\"") => sight.usage |= value() == Some(b'{'),
            [.., b'o', b'n', b'"'] if key.ends_with(b"\"finish_reason\"") => sight.finished |= value() == Some(b'"'),
            [.., b'o', b'r', b'"'] if key.ends_with(b"\"error\"") => {
                sight.error |= matches!(value(), Some(b'{' | b'"'));
            }
            [.., b'e', b'x', b'"'] if key.ends_with(b"\"index\"") => {
                *many_choices |= matches!(value(), Some(b'1'..=b'9'));
            }
            _ => {}
        }
    }
    sight
}

impl Frame {
    /// Whether the frame speaks of an error outside its data: `event: error`, or llama.cpp's field of that name.
    pub(super) fn names_error(&self) -> bool {
        self.event() == Some(b"error") || self.field(b"error").is_some()
    }
}

/// The error that this frame reports, if it is one, in any of the forms that servers have.
pub(crate) fn error_of(api: Api, frame: &Frame) -> Option<UpstreamErrorEvent> {
    let event_name = frame.event();
    let named = event_name == Some(b"error");
    // The first event of a response repeats the whole request; where its line says what it is, it is not parsed.
    let other = event_name.map(kind_of).is_some_and(|kind| !matches!(kind, Kind::Error | Kind::ResponseFailed));
    if other && matches!(api, Api::Responses | Api::Messages | Api::CountTokens) {
        return None;
    }
    let data = frame.data();
    // llama.cpp has sent a field `error:` instead of data. No client reads that, so it is written anew.
    if let Some(error) = frame.field(b"error").filter(|_| data.is_empty()) {
        let details: Details = serde_json::from_slice(error).unwrap_or_default();
        let raw = [b"data: {\"error\":", error, b"}\n\n"].concat().into();
        return Some(details.into_event(raw));
    }
    let event: Option<Event> = serde_json::from_slice(&data).ok();
    let details = event.and_then(|event| event.error(api));
    if details.is_none() && !named {
        return None;
    }
    let raw = if frame.is_terminated() { frame.raw.clone() } else { [&frame.raw[..], b"\n\n"].concat().into() };
    Some(details.unwrap_or_default().into_event(raw))
}

/// The places in which an event may report an error.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    error: Option<Reported>,
    #[serde(default)]
    code: Option<Label>,
    #[serde(default)]
    response: Option<FailedResponse>,
}

#[derive(Deserialize)]
struct FailedResponse {
    #[serde(default)]
    error: Option<Reported>,
}

/// An error object; some servers write a bare string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reported {
    Object(Details),
    Text(String),
    Other(IgnoredAny),
}

#[derive(Deserialize, Default)]
struct Details {
    #[serde(rename = "type", default)]
    kind: Option<Label>,
    #[serde(default)]
    code: Option<Label>,
}

/// A code as a word or, from llama.cpp and vLLM, as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Word(String),
    Number(i64),
    Other(IgnoredAny),
}

impl Event {
    fn error(self, api: Api) -> Option<Details> {
        let reported = |reported| match reported {
            Reported::Object(details) => details,
            // A bare string is a message, unless it is one of the words.
            Reported::Text(word) if kind_of_word(&word) == ErrorKind::Credential => {
                Details { kind: None, code: Some(Label::Word(word)) }
            }
            Reported::Text(_) => Details::default(),
            Reported::Other(IgnoredAny) => Details::default(),
        };
        if let Some(error) = self.error {
            let details = reported(error);
            return Some(Details { code: details.code.or(self.code), ..details });
        }
        match (api, self.kind.as_deref()) {
            (Api::Responses, Some("response.failed")) => {
                Some(self.response.and_then(|response| response.error).map(reported).unwrap_or_default())
            }
            (Api::Responses, Some("error")) => Some(Details { kind: None, code: self.code }),
            (_, Some("error")) => Some(Details::default()),
            _ => None,
        }
    }
}

impl Details {
    fn into_event(self, raw: Bytes) -> UpstreamErrorEvent {
        let labels = [self.code, self.kind];
        let mut kinds = labels.iter().flatten().map(Label::kind).filter(|kind| *kind != ErrorKind::Unknown);
        let mut kind = kinds.next().unwrap_or(ErrorKind::Unknown);
        // Whichever of the two says so: `{"code": 400, "type": "authentication_error"}` must not be passed on.
        if kinds.any(|other| other == ErrorKind::Credential) {
            kind = ErrorKind::Credential;
        }
        let label = labels.into_iter().flatten().find_map(Label::shown);
        UpstreamErrorEvent { raw, kind, label }
    }
}

impl Label {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Word(word) => kind_of_word(word),
            Self::Number(429) => ErrorKind::RateLimited,
            Self::Number(503 | 529) => ErrorKind::Overloaded,
            Self::Number(408 | 500..=599) => ErrorKind::Server,
            Self::Number(401 | 403) => ErrorKind::Credential,
            Self::Number(400..=499) => ErrorKind::Invalid,
            Self::Number(_) | Self::Other(IgnoredAny) => ErrorKind::Unknown,
        }
    }

    fn shown(self) -> Option<String> {
        match self {
            Self::Word(mut word) => {
                word.truncate(word.floor_char_boundary(64));
                Some(word)
            }
            Self::Number(number) => Some(number.to_string()),
            Self::Other(IgnoredAny) => None,
        }
    }
}

/// What the words mean that OpenAI, Azure, Anthropic, llama.cpp and vLLM use as `type` and `code`.
fn kind_of_word(word: &str) -> ErrorKind {
    match word {
        "overloaded_error"
        | "overloaded"
        | "server_overloaded"
        | "engine_overloaded"
        | "slow_down"
        | "unavailable_error"
        | "service_unavailable"
        | "ServiceUnavailableError" => ErrorKind::Overloaded,
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "too_many_requests"
        | "tokens"
        | "requests"
        | "insufficient_quota"
        | "RateLimitReached"
        | "RateLimitError"
        | "429" => ErrorKind::RateLimited,
        "server_error"
        | "api_error"
        | "internal_error"
        | "internal_server_error"
        | "InternalServerError"
        | "timeout"
        | "timeout_error"
        | "InternalServerException" => ErrorKind::Server,
        "authentication_error"
        | "permission_error"
        | "invalid_api_key"
        | "invalid_authentication"
        | "permission_denied"
        | "access_denied"
        | "unauthorized"
        | "unauthenticated"
        | "forbidden"
        | "AuthenticationError"
        | "PermissionDeniedError"
        | "PermissionDenied"
        | "AccessDenied"
        | "Unauthorized"
        | "Forbidden"
        | "UNAUTHENTICATED"
        | "PERMISSION_DENIED" => ErrorKind::Credential,
        "invalid_request_error"
        | "invalid_request"
        | "not_found_error"
        | "request_too_large"
        | "billing_error"
        | "context_length_exceeded"
        | "exceed_context_size_error"
        | "content_filter"
        | "content_policy_violation"
        | "invalid_prompt"
        | "model_not_found"
        | "BadRequestError"
        | "not_supported_error" => ErrorKind::Invalid,
        _ => match word.parse() {
            Ok(number) => Label::Number(number).kind(),
            Err(_) => ErrorKind::Unknown,
        },
    }
}
