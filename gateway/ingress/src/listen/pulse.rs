//! What a connection is doing, watched from its bytes and its requests.
//!
//! hyper can limit the time for a head, but it counts the quiet before the head as well, so it
//! cannot tell a slow caller from an idle one. The [`Pulse`] can: bytes go through [`Watched`], and
//! a request in flight holds a [`Flight`]. It only stores times; the connection looks at them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::stall::Taken;

/// No such time.
const NEVER: u64 = u64::MAX;
/// Since the last look; the next one gives it its time.
const JUST_NOW: u64 = u64::MAX - 1;

/// The protocol of a connection, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Protocol {
    Unknown = 0,
    Http1 = 1,
    Http2 = 2,
}

/// Times of a connection, in milliseconds since it was opened.
#[derive(Debug)]
pub(super) struct Pulse {
    opened: Instant,
    protocol: AtomicU8,
    draining: AtomicBool,
    /// Whether a request has come.
    asked: AtomicBool,
    in_flight: AtomicUsize,
    /// Whether a request has come whose answer is not written whole.
    owes: AtomicBool,
    /// How often the connection's task was woken.
    turn: AtomicU64,
    /// When the last request in flight ended, and its answer was taken by the peer.
    quiet_since: AtomicU64,
    /// When the first byte of a head came that is not whole yet. Nearly all heads come whole, so
    /// the clock is read for the others alone, by [`Pulse::settle`].
    head_since: AtomicU64,
    /// Since when the peer takes nothing of what is written.
    blocked_since: AtomicU64,
}

impl Pulse {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            opened: Instant::now(),
            protocol: AtomicU8::new(protocol as u8),
            draining: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            owes: AtomicBool::new(false),
            turn: AtomicU64::new(0),
            quiet_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            blocked_since: AtomicU64::new(NEVER),
        }
    }

    /// The connection's task was woken. It alone says so, which makes the two steps as good as one.
    pub(super) fn begin_turn(&self) {
        self.turn.store(self.turn.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(super) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Times what came since the last look. Before the pulse is looked at, this must be called.
    pub(super) fn settle(&self) {
        if self.head_since.load(Ordering::Relaxed) == JUST_NOW {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether a request has come whose answer is not written whole. On HTTP/1.1, what hyper writes while it owes nothing is its
    /// own answer to a head that it cannot read.
    pub(super) fn owes(&self) -> bool {
        self.owes.load(Ordering::Relaxed)
    }

    /// All that hyper had was written. A request leaves the flight when hyper has the last of its answer, so until here it is owed.
    pub(super) fn has_flushed(&self) {
        if self.owes() && !self.is_in_flight() {
            self.owes.store(false, Ordering::Relaxed);
        }
    }

    /// Whether a request is in flight and nothing else is to be said: no limit of a connection holds.
    pub(super) fn is_at_work(&self) -> bool {
        self.is_in_flight() && self.blocked_since.load(Ordering::Relaxed) == NEVER
    }

    pub(super) fn is_http2(&self) -> bool {
        self.protocol.load(Ordering::Relaxed) == Protocol::Http2 as u8
    }

    /// Whether a request has come, be it answered or not.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether a request is in flight, or its answer still on its way.
    pub(super) fn is_busy(&self) -> bool {
        self.is_in_flight() || self.blocked_since().is_some()
    }

    fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// Since when the connection is not busy; only to be believed while it is not.
    pub(super) fn quiet_since(&self) -> Instant {
        self.at(self.quiet_since.load(Ordering::Relaxed))
    }

    /// When the first byte came of a head that is not whole yet. `None` between requests, and on
    /// HTTP/2, where frames that belong to no request come at any time.
    pub(super) fn head_since(&self) -> Option<Instant> {
        let since = self.head_since.load(Ordering::Relaxed);
        (since != NEVER && !self.is_http2()).then(|| self.at(since))
    }

    /// When the connection was opened, as long as not a byte of HTTP came.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        let silent = self.head_since.load(Ordering::Relaxed) == NEVER;
        (silent && !self.was_asked() && !self.is_http2()).then_some(self.opened)
    }

    pub(super) fn blocked_since(&self) -> Option<Instant> {
        let since = self.blocked_since.load(Ordering::Relaxed);
        (since != NEVER).then(|| self.at(since))
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.opened + Duration::from_millis(milliseconds)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(JUST_NOW - 1)
    }

    fn has_read(&self, bytes: &[u8]) {
        if self.is_in_flight() {
            return;
        }
        if self.protocol.load(Ordering::Relaxed) == Protocol::Unknown as u8 {
            // Only HTTP/2's preface begins like this. A preface cut shorter is found out with the
            // first request; until then the stricter limit for heads holds.
            let http2 = bytes.starts_with(b"PRI ");
            let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
            self.protocol.store(protocol as u8, Ordering::Relaxed);
        }
        if self.head_since.load(Ordering::Relaxed) == NEVER {
            self.head_since.store(JUST_NOW, Ordering::Relaxed);
        }
    }

    fn has_tried_to_write<T>(&self, written: &Poll<io::Result<T>>) {
        let blocked = self.blocked_since.load(Ordering::Relaxed) != NEVER;
        if written.is_pending() && !blocked {
            self.blocked_since.store(self.now(), Ordering::Relaxed);
        } else if written.is_ready() && blocked {
            self.blocked_since.store(NEVER, Ordering::Relaxed);
            // A request ends when hyper has the last of its answer. The peer may take that long
            // after, and only then the connection is quiet.
            self.quiet_since.store(self.now(), Ordering::Relaxed);
        }
    }
}

/// A request in flight: from its head being whole to the end of its answer, however it ends.
#[derive(Debug)]
pub(super) struct Flight {
    pulse: Arc<Pulse>,
}

impl Flight {
    pub(super) fn begin(pulse: &Arc<Pulse>, version: http::Version) -> Self {
        let protocol = match version {
            http::Version::HTTP_2 => Protocol::Http2,
            _ => Protocol::Http1,
        };
        pulse.protocol.store(protocol as u8, Ordering::Relaxed);
        pulse.asked.store(true, Ordering::Relaxed);
        pulse.in_flight.fetch_add(1, Ordering::AcqRel);
        pulse.owes.store(true, Ordering::Relaxed);
        pulse.head_since.store(NEVER, Ordering::Relaxed);
        Self { pulse: Arc::clone(pulse) }
    }

    /// The turn of the connection; `None` on HTTP/2, where each stream has a task of its own.
    fn turn(&self) -> Option<u64> {
        (!self.pulse.is_http2()).then(|| self.pulse.turn.load(Ordering::Relaxed))
    }

    /// Whether the answer has to say that the connection ends with it. HTTP/2 says so itself.
    pub(super) fn is_last(&self) -> bool {
        self.pulse.draining.load(Ordering::Relaxed) && !self.pulse.is_http2()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // INVARIANT: the time is stored before the count falls, so whoever sees no request in
        // flight sees since when.
        self.pulse.quiet_since.store(self.pulse.now(), Ordering::Relaxed);
        self.pulse.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Most bytes of an answer that hyper is given at once on HTTP/1.1. It puts together what it has to write, up to the bound on heads
/// ([`ListenSettings::max_header_bytes`](super::ListenSettings::max_header_bytes)) and one such piece beyond it, and a connection
/// keeps that room; given whole, a large answer would lie in memory twice.
const PIECE: usize = 32 << 10;

pin_project! {
    /// The body of an answer, which keeps its request in flight.
    pub(super) struct InFlight<B> {
        #[pin]
        body: B,
        // What hyper was not given yet of a large piece.
        rest: Bytes,
        // The turn of the connection in which the body let its reader wait. hyper asks again after it has written, in the
        // same turn: what came meanwhile brings the next one.
        waits: Option<u64>,
        taken: Taken,
        flight: Flight,
    }
}

impl<B> InFlight<B> {
    pub(super) fn new(body: B, flight: Flight) -> Self {
        Self { body, rest: Bytes::new(), waits: None, taken: Taken::current(), flight }
    }
}

impl<B: Body<Data = Bytes>> Body for InFlight<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if !this.rest.is_empty() {
            let piece = this.rest.split_to(PIECE.min(this.rest.len()));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        // INVARIANT: a body that lets its reader wait has been told whom to wake, and in one turn that is the same task.
        let turn = this.flight.turn();
        if turn.is_some() && *this.waits == turn {
            return Poll::Pending;
        }
        this.taken.asked();
        let mut frame = this.body.poll_frame(context);
        match &mut frame {
            Poll::Pending => *this.waits = turn,
            Poll::Ready(given) => {
                this.taken.gave();
                // HTTP/2 is given what its window takes, and cuts it itself.
                if turn.is_some()
                    && let Some(Ok(given)) = given
                    && let Some(data) = given.data_mut()
                    && data.len() > PIECE
                {
                    *this.rest = data.split_off(PIECE);
                }
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // INVARIANT: hyper asks before it has been given anything, so that nothing is left of a piece.
        self.body.size_hint()
    }
}

/// A byte stream that tells its [`Pulse`] what passes.
#[derive(Debug)]
pub(super) struct Watched<I> {
    io: I,
    pulse: Arc<Pulse>,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, pulse: Arc<Pulse>) -> Self {
        Self { io, pulse }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            self.pulse.has_read(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.pulse.has_tried_to_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        self.pulse.has_tried_to_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.pulse.has_tried_to_write(&flushed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.pulse.has_tried_to_write(&shut);
        shut
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::Waker;

    use http::Version;

    use super::*;

    /// Never has anything, and counts how often it is asked.
    #[derive(Default)]
    struct Silent(usize);

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0 += 1;
            Poll::Pending
        }
    }

    /// Answers whole with one piece of this many bytes.
    struct Large(Option<Bytes>);

    impl Body for Large {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_none()
        }
    }

    fn answer<B>(body: B, version: Version) -> (Arc<Pulse>, InFlight<B>) {
        let pulse = Arc::new(Pulse::new(Protocol::Unknown));
        let flight = Flight::begin(&pulse, version);
        (pulse, InFlight::new(body, flight))
    }

    #[tokio::test]
    async fn a_body_that_waits_is_asked_once_in_a_turn_of_its_connection() {
        let asked = |version, turns: &[usize]| {
            let (pulse, mut answer) = answer(Silent::default(), version);
            for polls in turns {
                pulse.begin_turn();
                for _ in 0..*polls {
                    assert!(Pin::new(&mut answer).poll_frame(&mut Context::from_waker(Waker::noop())).is_pending());
                }
            }
            answer.body.0
        };

        assert_eq!(asked(Version::HTTP_11, &[2, 1, 3]), 3);
        // Each stream has a task there, whose turns are not the connection's.
        assert_eq!(asked(Version::HTTP_2, &[2, 1, 3]), 6);
    }

    #[tokio::test]
    async fn hyper_is_given_a_large_piece_in_parts_and_all_of_it() {
        let parts = |version, length: usize| {
            let whole: Bytes = (0..length).map(|at| (at % 251) as u8).collect();
            let (pulse, mut answer) = answer(Large(Some(whole.clone())), version);
            pulse.begin_turn();
            let (mut parts, mut seen) = (Vec::new(), Vec::new());
            while !answer.is_end_stream() {
                let frame = Pin::new(&mut answer).poll_frame(&mut Context::from_waker(Waker::noop()));
                let Poll::Ready(Some(Ok(frame))) = frame else { panic!("it ended before its end") };
                let data = frame.into_data().expect("there are no trailers");
                parts.push(data.len());
                seen.extend_from_slice(&data);
            }
            assert_eq!(seen, whole);
            parts
        };

        assert_eq!(parts(Version::HTTP_11, PIECE), [PIECE]);
        assert_eq!(parts(Version::HTTP_11, PIECE + 1), [PIECE, 1]);
        assert_eq!(parts(Version::HTTP_11, 3 * PIECE), [PIECE, PIECE, PIECE]);
        assert_eq!(parts(Version::HTTP_2, 3 * PIECE), [3 * PIECE]);
    }
}
