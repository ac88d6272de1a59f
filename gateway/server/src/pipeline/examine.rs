//! Judges an upstream's reply before a byte of it goes downstream: the status, a whole body, or a stream's first event.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use egress::{BodyError, ReplyBody};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use ingress::body::{BodyBudget, BodyPermit, Exhausted};
use inspection::StreamRestorer;
use wire::{
    Api, Call, Frame, OnDisconnect, Outcome, RelayOptions, SseError, SseFramer, StreamRelay, TimeoutKind, Usage,
};

use super::attempt::{Met, Reply, Tried};
use crate::snapshot::Target;

/// Largest reply that is not a stream, in bytes: 64 MiB. A batch of 2,048 embeddings of 3,072 floats as text is about
/// 60 MB; anything larger is an upstream that does not end.
const LARGEST_REPLY: usize = 64 << 20;

/// Largest error body that is kept to be passed on, in bytes: 256 KiB.
const LARGEST_ERROR: usize = 256 << 10;

/// How long a stream's first event is waited for after its head, before the head goes to the caller without it.
/// Servers send the head when they start to answer; a longer silence is a long prefill, and the caller's own timeout
/// is fed with comments from then on.
const FIRST_EVENT: Duration = Duration::from_secs(10);

/// Largest event of a stream, in bytes. An event of the Responses API repeats the whole answer, images included; an event
/// of the others holds a token or a tool call.
fn largest_event(api: Api) -> usize {
    match api {
        Api::Responses => 16 << 20,
        Api::Chat | Api::Completions | Api::Embeddings | Api::Rerank | Api::Messages | Api::CountTokens => 1 << 20,
    }
}

/// A stream whose first event was seen, or waited for long enough.
pub(super) struct EventStream {
    pub(super) body: ReplyBody,
    pub(super) framer: SseFramer,
    /// What came before the framer's next frame: comments, and the first event behind them.
    pub(super) held: VecDeque<Frame>,
    pub(super) api: Api,
    /// The caller asked for the chunk of usage itself.
    pub(super) usage_asked: bool,
    /// What becomes of it when the caller leaves.
    pub(super) on_disconnect: OnDisconnect,
    /// Puts placeholders right, where the request was redacted.
    pub(super) restorer: Option<StreamRestorer>,
    /// The upstream has ended already.
    pub(super) ended: Option<Result<(), BodyError>>,
}

pub(super) async fn examine(reply: egress::Reply, call: &Call, target: &Target, budget: &BodyBudget) -> Tried {
    let egress::Reply { status, headers, body, .. } = reply;
    if !status.is_success() {
        return refused(status, &headers, body, call.api()).await;
    }
    if is_encoded(&headers) {
        tracing::error!(target = %target.name, "the endpoint sent a compressed answer that was not asked for");
        return Tried::Failed(Met::new(Outcome::BrokenBody));
    }
    let forwarded = wire::forward_response_headers(&headers);
    if is_event_stream(&headers) {
        return first_event((status, forwarded), body, call, target).await;
    }
    match collect(body, LARGEST_REPLY, Some(budget)).await {
        Ok((body, share)) => {
            let usage = wire::usage_of_reply(call.api(), &body);
            Tried::Answered { status, headers: forwarded, reply: Reply::Whole { body, usage, failed: false, share } }
        }
        Err(error) => {
            tracing::warn!(target = %target.name, %error, "the reply broke off");
            Tried::Failed(Met::new(error.outcome()))
        }
    }
}

async fn refused(status: StatusCode, headers: &HeaderMap, body: ReplyBody, api: Api) -> Tried {
    // Neither is an answer to a POST. Passed on, a 101 could turn a proxy's connection into a tunnel.
    if status.is_informational() || status == StatusCode::NOT_MODIFIED {
        return Tried::Failed(Met::new(Outcome::BrokenHead));
    }
    let outcome = wire::outcome(status, None, api);
    let forwarded = wire::forward_response_headers(headers);
    let bytes = collect(body, LARGEST_ERROR, None).await.map(|(bytes, _)| bytes).unwrap_or_default();
    let retry_after = wire::retry_after(headers, SystemTime::now());
    let usage = wire::usage_of_reply(api, &bytes);
    Tried::Failed(Met { said: Some((status, forwarded, bytes)), usage, retry_after, ..Met::new(outcome) })
}

/// Upstreams are asked for plain answers only; a compressed one could be neither read for usage nor framed.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().starts_with("text/event-stream"))
}

/// Reads up to the first event, so that an error event can still go to the next target.
async fn first_event(head: (StatusCode, HeaderMap), mut body: ReplyBody, call: &Call, target: &Target) -> Tried {
    let (status, headers) = head;
    let mut framer = SseFramer::with_max_frame(largest_event(call.api()));
    let mut held = VecDeque::new();
    let mut first = None;
    let mut ended = None;
    let deadline = tokio::time::sleep(FIRST_EVENT);
    tokio::pin!(deadline);
    while first.is_none() && ended.is_none() {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = &mut deadline => break,
        };
        match frame {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    framer.push(data);
                }
            }
            Some(Err(error)) => ended = Some(Err(error)),
            None => ended = Some(Ok(())),
        }
        match next_event(&mut framer, &mut held) {
            Ok(event) => first = event,
            Err(error) => {
                tracing::warn!(%error, "the stream cannot be read");
                return Tried::Failed(Met::new(Outcome::BrokenBody));
            }
        }
    }
    if let Some(error) = ended.as_ref().and_then(|end| end.as_ref().err())
        && first.is_none()
    {
        return Tried::Failed(Met::new(outcome_of(error)));
    }
    let outcome = wire::outcome(status, first.as_ref(), call.api());
    if outcome != Outcome::Success {
        // An upstream that does not accept our credential is not quoted: the caller can do nothing about it.
        let ours = matches!(outcome, Outcome::Status(_));
        let usage = first.clone().and_then(|frame| usage_of_event(call.api(), frame));
        let said = first.filter(|_| !ours).map(|frame| (status, headers, frame.raw));
        return Tried::Failed(Met { said, usage, ..Met::new(outcome) });
    }
    held.extend(first);
    let stream = EventStream {
        body,
        framer,
        held,
        api: call.api(),
        usage_asked: call.usage_asked(),
        on_disconnect: target.dialect.on_disconnect(),
        restorer: None,
        ended,
    };
    Tried::Answered { status, headers, reply: Reply::Stream(Box::new(stream)) }
}

/// What a stream whose first event is its end says that it used, as a response that failed does.
fn usage_of_event(api: Api, event: Frame) -> Option<Usage> {
    let mut relay = StreamRelay::new(api, RelayOptions::default());
    relay.frame(event);
    relay.usage().cloned()
}

/// Most comments that are kept while the first event is waited for; a caller misses nothing with the rest.
const MOST_COMMENTS: usize = 16;

/// The next frame that is no comment; the comments before it are kept for the caller.
fn next_event(framer: &mut SseFramer, comments: &mut VecDeque<Frame>) -> Result<Option<Frame>, SseError> {
    while let Some(frame) = framer.next_frame()? {
        if !frame.is_comment() {
            return Ok(Some(frame));
        }
        if comments.len() < MOST_COMMENTS {
            comments.push_back(frame);
        }
    }
    Ok(None)
}

/// A reply above this many bytes takes its share of the bytes that all requests together may hold.
const COUNTED_FROM: usize = 256 << 10;

/// The whole body, at most `limit` bytes, and its share of the budget; a body of one chunk is not copied.
async fn collect(
    mut body: ReplyBody,
    limit: usize,
    budget: Option<&BodyBudget>,
) -> Result<(Bytes, Option<BodyPermit>), CollectError> {
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    let mut share: Option<BodyPermit> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let length = joined.len() + whole.len() + data.len();
        if length > limit {
            return Err(CollectError::TooLarge { limit });
        }
        if length > COUNTED_FROM
            && let Some(budget) = budget
        {
            match &mut share {
                Some(share) => share.grow_to(length)?,
                None => share = Some(budget.take(length)?),
            }
        }
        if joined.is_empty() && whole.is_empty() {
            whole = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&std::mem::take(&mut whole));
            }
            joined.extend_from_slice(&data);
        }
    }
    Ok((if joined.is_empty() { whole } else { joined.freeze() }, share))
}

/// Why a reply could not be read whole.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error("the reply is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the gateway holds as many bytes as it may: {0}")]
    Full(#[from] Exhausted),
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl CollectError {
    fn outcome(&self) -> Outcome {
        match self {
            // The upstream has done the work, so this is charged, whoever is to blame.
            Self::Full(_) | Self::TooLarge { .. } => Outcome::BrokenBody,
            Self::Body(error) => outcome_of(error),
        }
    }
}

fn outcome_of(error: &BodyError) -> Outcome {
    match error {
        BodyError::Idle { .. } => Outcome::Timeout(TimeoutKind::Idle),
        BodyError::Total { .. } => Outcome::Timeout(TimeoutKind::Total),
        BodyError::Broken { .. } => Outcome::BrokenBody,
    }
}
