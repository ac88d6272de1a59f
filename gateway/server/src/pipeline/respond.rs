//! Stage 13: the reply as the caller's bytes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};
use ingress::body::BodyPermit;

use super::attempt::{Answered, Reply};
use super::books::Held;
use super::guard;
use super::headers;
use super::relay::Relay;

/// A whole reply, or a stream of events. It never fails: an upstream failure mid-stream is an event, after which the
/// body ends cleanly.
pub struct ReplyBody(Inner);

enum Inner {
    Whole(Option<Bytes>),
    /// Taken only by the drop.
    Stream(Option<Box<Relay>>),
}

impl ReplyBody {
    /// A body that is known whole.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole((!bytes.is_empty()).then_some(bytes)))
    }

    /// What the caller gets when the next step of its stream panics.
    #[cfg(test)]
    pub(super) fn after_a_panic(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Inner::Stream(Some(relay)) => relay.give_up(),
            Inner::Stream(None) | Inner::Whole(_) => None,
        }
    }
}

/// A caller that leaves cancels the upstream, unless its provider bills the whole answer anyway: then the rest is read for
/// its usage, within a bound.
impl Drop for ReplyBody {
    fn drop(&mut self) {
        if let Inner::Stream(relay) = &mut self.0
            && let Some(relay) = relay.take()
            && let Some(at_most) = relay.drained_for()
        {
            tokio::spawn(relay.drain(at_most));
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Stream(Some(relay)) => {
                let next = guard::caught_step(|| relay.poll_next(cx));
                let next = next.unwrap_or_else(|| Poll::Ready(relay.give_up()));
                next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Inner::Stream(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Stream(_) => SizeHint::default(),
        }
    }
}

/// A reply above this many bytes keeps its place in flight until the last piece of it is handed over, which is when the others
/// have left; a smaller one is such a piece.
const KEPT_FROM: usize = 64 << 10;

/// A large reply with what it holds: a caller that does not read it holds its place, not only the memory.
fn kept(body: Bytes, held: (Held, Option<BodyPermit>)) -> Bytes {
    if body.len() <= KEPT_FROM { body } else { Bytes::from_owner(Kept { body, _held: held }) }
}

struct Kept {
    body: Bytes,
    _held: (Held, Option<BodyPermit>),
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

pub(super) fn respond(answered: Answered) -> Response<ReplyBody> {
    let Answered { mut books, endpoint, status, mut headers, reply } = answered;
    let body = match reply {
        Reply::Whole { body, usage, failed, share } => {
            books.going_down(&body);
            let (exchange, held) = books.close_whole(status, usage.as_ref(), failed);
            headers::name_decision(&mut headers, &exchange, Some(&endpoint));
            ReplyBody::whole(kept(body, (held, share)))
        }
        Reply::Stream(stream) => {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            headers::name_decision(&mut headers, books.exchange(), Some(&endpoint));
            books.forget_the_head();
            ReplyBody(Inner::Stream(Some(Box::new(Relay::new(stream, books)))))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
