//! The two bodies: the request's, which is bytes at hand, and the reply's, which holds what the request holds.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::connection::{Incoming, Lease};
use crate::endpoint::Permit;
use crate::error::BodyError;

/// The body of a request, in parts.
///
/// Its exact length is known and all parts are ready at once, so head and body leave in one write.
pub(crate) struct UpstreamBody {
    parts: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl UpstreamBody {
    pub(crate) fn new(parts: Vec<Bytes>) -> Self {
        let left = parts.iter().map(|part| part.len() as u64).sum();
        Self { parts: parts.into_iter(), left }
    }

    /// The parts that are to be sent.
    pub(crate) fn parts(&self) -> &[Bytes] {
        self.parts.as_slice()
    }

    /// The sum of their lengths, in bytes.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.by_ref().find(|part| !part.is_empty());
        if let Some(part) = &part {
            self.left -= part.len() as u64;
        }
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body of a reply.
///
/// It holds the in-flight permit and the connection. When it ends cleanly, the connection is kept for the next request.
/// Dropping it before is how a call is cancelled: the upstream is told at once.
#[derive(Debug)]
pub struct ReplyBody {
    incoming: Option<Incoming>,
    held: Option<Held>,
    limits: Limits,
    /// Since when the reader has been waiting; `None` when it was last given something.
    waiting_since: Option<Instant>,
    /// When the reader was last told to wait.
    told_to_wait: Instant,
    /// Armed when the reader first waits, and moved only when it fires: most chunks never touch the timer wheel.
    timer: Option<Alarm>,
}

/// What a request holds until its reply has ended.
pub(crate) struct Held {
    pub(crate) lease: Lease,
    pub(crate) permit: Permit,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("proof", &self.lease.facts().proof).finish_non_exhaustive()
    }
}

/// How long a reply may take.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) endpoint: Arc<str>,
    pub(crate) idle: Duration,
    pub(crate) total: Duration,
    pub(crate) total_at: Instant,
}

impl ReplyBody {
    pub(crate) fn new(incoming: Incoming, held: Held, limits: Limits) -> Self {
        let (incoming, held, told_to_wait) = (Some(incoming), Some(held), Instant::now());
        let mut body = Self { incoming, held, limits, waiting_since: None, told_to_wait, timer: None };
        // A reply without a body may never be polled.
        body.release_at_end();
        body
    }

    /// When it last let its reader wait: for a reader who has just been told so, the time of day without another look at the clock.
    #[must_use]
    pub fn told_to_wait(&self) -> Instant {
        self.told_to_wait
    }

    /// Gives connection and permit back if nothing more will come.
    fn release_at_end(&mut self) {
        if self.is_end_stream()
            && let Some(held) = self.held.take()
        {
            held.permit.endpoint().give_back(held.lease);
        }
    }

    /// Ends the reply before its end: the connection or the stream is closed.
    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.incoming = None;
        if let Some(held) = self.held.take() {
            held.permit.endpoint().note_broken_body(&error);
        }
        Poll::Ready(Some(Err(error)))
    }

    /// Ready with the error of the limit that was reached.
    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        let Limits { endpoint, idle, total, total_at } = &self.limits;
        let mut now = Instant::now();
        self.told_to_wait = now;
        let since = *self.waiting_since.get_or_insert(now);
        // INVARIANT: never earlier than what the timer is armed for, because `since` only moves on.
        let due = (since + *idle).min(*total_at);
        let timer = self.timer.get_or_insert_with(|| Alarm::at(due));
        loop {
            ready!(timer.poll_at(now, context));
            now = Instant::now();
            if now >= *total_at {
                return Poll::Ready(BodyError::Total { endpoint: Arc::clone(endpoint), after: *total });
            }
            if now >= due {
                return Poll::Ready(BodyError::Idle { endpoint: Arc::clone(endpoint), after: *idle });
            }
            timer.set(due);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { incoming: Some(incoming), held: Some(held), .. } = &mut *self else { return Poll::Ready(None) };
        match held.lease.poll_frame(incoming, context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting_since = None;
                self.release_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(source))) => {
                let endpoint = Arc::clone(&self.limits.endpoint);
                self.fail(BodyError::Broken { endpoint, source })
            }
            Poll::Ready(None) => {
                self.incoming = None;
                self.release_at_end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let error = ready!(self.poll_limits(context));
                self.fail(error)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match (&self.incoming, &self.held) {
            (Some(incoming), Some(held)) => held.lease.is_over(incoming),
            _ => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.incoming, &self.held) {
            (Some(incoming), Some(held)) => held.lease.size_hint(incoming),
            _ => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.release_at_end();
        if let Some(held) = &self.held {
            held.permit.endpoint().note_cancelled();
        }
    }
}
