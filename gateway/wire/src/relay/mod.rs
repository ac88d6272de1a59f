//! Passing a stream on, event by event, without rewriting it.
//!
//! A frame goes through as the bytes it came as. The relay only looks: it searches a frame for the few words that matter
//! (`"usage"`, `"finish_reason"`, `"error"`) and parses it only when one of them carries a value.
//!
//! # When a stream is complete
//!
//! - Chat and completions: `[DONE]`; or, where a server forgets that, a clean end after a `finish_reason` for every choice
//!   that was begun, or after the chunk of usage that follows the last choice. The missing `[DONE]` is then added.
//! - Responses: `response.completed`, `response.incomplete` or `response.failed`. A `[DONE]` is not part of that API.
//! - Messages: `message_stop`.
//!
//! Anything else is a truncated stream: it ends with an error event in the caller's dialect and without `[DONE]`. A
//! stream that broke, instead of ending, is complete only if the last word of its dialect had come.
//!
//! # What is not passed on
//!
//! The usage chunk that only the gateway asked for; whatever follows an error event; the broken-off last event of a cut
//! stream, unless it is whole but for its blank line; an upstream's complaint about the gateway's own credential, which may
//! quote it, and in whose place a neutral error event is sent. Comments pass: they keep connections alive.

mod events;
mod shape;

use bytes::Bytes;

pub(crate) use events::error_of;
pub use events::{ErrorKind, UpstreamErrorEvent};

use crate::answer;
use crate::errors::numbered_error_event;
use crate::sse::Frame;
use crate::usage::{self, Usage};
use crate::{Api, Code};
use events::{ChatChunk, Kind};
use shape::Shape;

/// What a relay must know of the call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayOptions {
    /// The caller asked for a usage chunk ([`crate::Call::usage_asked`]).
    pub usage_asked: bool,
    /// The gateway asked for one ([`crate::EncodedBody::injected_usage`]).
    pub injected_usage: bool,
}

/// What becomes of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relayed {
    /// Send these bytes.
    Forward(Bytes),
    /// Send nothing.
    Drop,
    /// The upstream reports an error. Its event is in the caller's dialect and may be sent as it is, unless the call is
    /// tried elsewhere; an error of [`ErrorKind::Credential`] holds the gateway's own event instead of the upstream's.
    /// Nothing more will be forwarded.
    Error(UpstreamErrorEvent),
}

/// How the upstream's bytes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd<'a> {
    /// The body ended as HTTP ends a body.
    Clean,
    /// It broke, stalled or was given up.
    Failed {
        /// The code for the caller, for example `upstream_timeout`.
        code: &'a str,
        /// The message for the caller.
        message: &'a str,
    },
}

/// Follows one stream from its first frame to its end.
#[derive(Debug)]
pub struct StreamRelay {
    api: Api,
    options: RelayOptions,
    usage: Option<Usage>,
    /// The parts of the usage of a messages stream, as one object; it may not be whole yet.
    parts: Option<Vec<u8>>,
    /// The last word of the dialect has come.
    done: bool,
    failed: bool,
    /// Something that a model wrote has passed; until then each event is read for it.
    wrote: bool,
    usage_chunk_seen: bool,
    choices: Choices,
    shape: Shape,
    frames: u64,
}

impl StreamRelay {
    /// A relay for one stream of `api`.
    #[must_use]
    pub fn new(api: Api, options: RelayOptions) -> Self {
        Self {
            api,
            options,
            usage: None,
            parts: None,
            done: false,
            failed: false,
            wrote: false,
            usage_chunk_seen: false,
            choices: Choices::default(),
            shape: Shape::default(),
            frames: 0,
        }
    }

    /// Takes the next frame.
    pub fn frame(&mut self, frame: Frame) -> Relayed {
        if self.failed {
            return Relayed::Drop;
        }
        self.frames += 1;
        if frame.is_comment() {
            return forwarded(frame);
        }
        if !frame.is_terminated() && !events::is_whole(&frame) {
            return Relayed::Drop;
        }
        let decision = match self.api {
            Api::Responses => self.responses(&frame),
            Api::Messages | Api::CountTokens => self.messages(&frame),
            Api::Chat | Api::Completions | Api::Embeddings | Api::Rerank => self.chat(&frame),
        };
        match decision {
            Decision::Pass => forwarded(frame),
            Decision::Withhold => Relayed::Drop,
            Decision::Fail(error) => self.fail(error),
        }
    }

    /// The usage reported so far; the last report wins.
    #[must_use]
    pub fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// Whether the stream's last word has come: `[DONE]`, or the terminal event of its dialect.
    #[must_use]
    pub fn saw_terminal(&self) -> bool {
        self.done
    }

    /// Whether an error event has come.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// What to send last, once the framer's `finish` was relayed as well; `None` where nothing is missing.
    ///
    /// A forgotten `[DONE]`, or an error event for a stream that is not complete.
    pub fn finish(&mut self, end: StreamEnd<'_>) -> Option<Bytes> {
        if self.done || self.failed {
            return None;
        }
        let (code, message) = match end {
            StreamEnd::Clean if self.is_answered() => {
                self.done = true;
                return Some(Bytes::from_static(b"data: [DONE]\n\n"));
            }
            StreamEnd::Clean => {
                (Code::UpstreamUnavailable.as_str(), "the upstream ended the stream before the answer was complete")
            }
            StreamEnd::Failed { code, message } => (code, message),
        };
        self.failed = true;
        Some(numbered_error_event(self.api, code, message, self.frames))
    }

    /// Ends the stream; where the upstream does not accept the gateway's credential, the caller gets our own words.
    #[cold]
    fn fail(&mut self, mut error: UpstreamErrorEvent) -> Relayed {
        self.failed = true;
        if error.kind == ErrorKind::Credential {
            let code = Code::UpstreamUnavailable.as_str();
            let message = "the upstream did not accept the gateway's request";
            error.raw = numbered_error_event(self.api, code, message, self.frames.saturating_sub(1));
        }
        Relayed::Error(error)
    }

    /// Whether a chat or completions stream has all of its answer, `[DONE]` or not.
    fn is_answered(&self) -> bool {
        let has_done = matches!(self.api, Api::Chat | Api::Completions);
        has_done && (self.usage_chunk_seen || self.choices.all_finished())
    }

    fn chat(&mut self, frame: &Frame) -> Decision {
        if self.shape.fits(frame) {
            return Decision::Pass;
        }
        let data = frame.data();
        if data.trim_ascii_start().starts_with(b"[DONE]") {
            self.done = true;
            return Decision::Pass;
        }
        self.read(|| answer::is_in_chunk(&data));
        let sight = events::glance(&data, &mut self.choices.many);
        let may_be_error = sight.error || frame.names_error();
        if may_be_error && let Some(error) = error_of(self.api, frame) {
            if sight.shows_usage()
                && let Some(reported) = ChatChunk::read(&data).and_then(|chunk| chunk.usage(self.api))
            {
                self.report(reported);
            }
            return Decision::Fail(error);
        }
        if !sight.worth_parsing() && !self.choices.many {
            if self.wrote && !may_be_error {
                self.shape.learn(frame);
            }
            return Decision::Pass;
        }
        let Some(chunk) = ChatChunk::read(&data) else {
            return Decision::Pass;
        };
        self.choices.note(&chunk);
        if let Some(reported) = chunk.usage(self.api) {
            self.report(reported);
        }
        if !chunk.has_no_choice() || !chunk.has_usage() {
            return Decision::Pass;
        }
        self.usage_chunk_seen = self.choices.any_finished();
        if self.options.injected_usage && !self.options.usage_asked {
            return Decision::Withhold;
        }
        Decision::Pass
    }

    fn responses(&mut self, frame: &Frame) -> Decision {
        match events::kind(frame) {
            Kind::ResponseEnded => self.end_response(frame),
            Kind::ResponseFailed => {
                self.end_response(frame);
                return decided(error_of(self.api, frame));
            }
            Kind::Error => return decided(error_of(self.api, frame)),
            Kind::Part => self.read(|| answer::is_in_event(&frame.data())),
            Kind::MessageStart | Kind::MessageDelta | Kind::MessageStop | Kind::Done | Kind::Other => {}
        }
        Decision::Pass
    }

    fn end_response(&mut self, frame: &Frame) {
        self.done = true;
        if let Some(usage) = events::response_usage(frame) {
            // It repeats the whole answer, which matters only where it states that there is none.
            self.read(|| usage.output == 0 && answer::is_in_ended(&frame.data()));
            self.report(usage);
        }
    }

    fn messages(&mut self, frame: &Frame) -> Decision {
        match events::kind(frame) {
            Kind::MessageStart | Kind::MessageDelta => self.merge_usage(frame),
            Kind::MessageStop => self.done = true,
            Kind::Error => {
                self.merge_usage(frame);
                return decided(error_of(self.api, frame));
            }
            Kind::Part => self.read(|| answer::is_in_event(&frame.data())),
            Kind::ResponseEnded | Kind::ResponseFailed | Kind::Done | Kind::Other => {}
        }
        Decision::Pass
    }

    /// A messages stream reports its input first and its output last, each part standing until a later one replaces it.
    fn merge_usage(&mut self, frame: &Frame) {
        let Some(part) = events::message_usage(frame) else {
            return;
        };
        let earlier = self.parts.as_deref().unwrap_or(b"{}");
        let Some(whole) = usage::merged(earlier, &part) else {
            return;
        };
        if let Some(usage) = usage::from_raw(self.api, &whole) {
            self.report(usage);
        }
        self.parts = Some(whole);
    }

    /// Keeps what the upstream states, beside what passed so far.
    fn report(&mut self, mut usage: Usage) {
        usage.is_beside(|| self.wrote);
        self.usage = Some(usage);
    }

    /// Notes whether this event holds something that was written, until one has.
    fn read(&mut self, written: impl FnOnce() -> bool) {
        if self.wrote || !written() {
            return;
        }
        self.wrote = true;
        if let Some(usage) = &mut self.usage {
            usage.is_beside(|| true);
        }
    }
}

/// What the relay does with one frame.
enum Decision {
    Pass,
    Withhold,
    Fail(UpstreamErrorEvent),
}

fn decided(error: Option<UpstreamErrorEvent>) -> Decision {
    error.map_or(Decision::Pass, Decision::Fail)
}

/// The frame's bytes; a last event that lacked its blank line gets one, or no client would take notice of it.
fn forwarded(frame: Frame) -> Relayed {
    if frame.is_terminated() || frame.is_comment() {
        return Relayed::Forward(frame.raw);
    }
    Relayed::Forward([&frame.raw[..], b"\n\n"].concat().into())
}

/// Which choices were begun and which are finished.
///
/// Nearly all streams have choice 0 alone, and their chunks need not be parsed to know that. Only once another index
/// shows itself is each chunk parsed.
#[derive(Debug, Default)]
struct Choices {
    many: bool,
    begun: u128,
    finished: u128,
}

impl Choices {
    fn note(&mut self, chunk: &ChatChunk<'_>) {
        if self.many {
            self.begun |= 1; // Choice 0 was begun before the others showed themselves.
        }
        for (index, finished) in chunk.choices() {
            let bit = 1_u128 << index.min(127);
            self.begun |= bit;
            if finished {
                self.finished |= bit;
            }
        }
    }

    fn any_finished(&self) -> bool {
        self.finished != 0
    }

    fn all_finished(&self) -> bool {
        self.any_finished() && self.begun & !self.finished == 0
    }
}

#[cfg(test)]
mod tests;
