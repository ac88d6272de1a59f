//! A stream on its way down: frames as they came, comments while it is silent, and an honest end.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use egress::{Alarm, BodyError};
use http_body::Body as _;
use inspection::StreamRestorer;
use tokio::time::Instant;
use wire::{Api, Frame, OnDisconnect, RelayOptions, Relayed, StreamEnd, StreamRelay, TimeoutKind};

use super::books::{Books, End};
use super::examine::EventStream;

/// An SSE comment and the blank line that ends it; clients ignore it.
const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// The upstream broke off.
const BROKEN: StreamEnd<'static> =
    StreamEnd::Failed { code: "upstream_unavailable", message: "the upstream broke off in the middle of the answer" };

/// The upstream fell silent.
const SILENT: StreamEnd<'static> = StreamEnd::Failed {
    code: "upstream_timeout",
    message: "the upstream was silent for longer than `idle_ms` in the middle of the answer",
};

/// The upstream took too long in all.
const TOO_LONG: StreamEnd<'static> =
    StreamEnd::Failed { code: "upstream_timeout", message: "the answer took longer than `total_ms`" };

/// The gateway itself failed.
const FAULT: StreamEnd<'static> = StreamEnd::Failed {
    code: "internal_error",
    message: "the gateway failed at this answer; its operator's log says more under the id of this decision",
};

/// Passes one stream on, reads its usage, and closes the books when it ends, fails or is dropped.
pub(super) struct Relay {
    stream: Box<EventStream>,
    relay: StreamRelay,
    books: Box<Books>,
    /// Re-armed when it fires and not at every frame, which would cost a timer operation a token.
    keep_alive: Alarm,
    every: Duration,
    /// Since when nothing went down; `None` when something has since the upstream was last waited for.
    silent_since: Option<Instant>,
    state: State,
    /// The upstream's end did not come with its last word, and the alarm is set for when it is given up. A timer that becomes the
    /// earliest of its runtime costs a turn of its loop, and nearly every end comes with the last word.
    trails: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// The last word has come; only the upstream's own end is waited for, so that its connection can be kept.
    Trailing,
    Ended,
}

/// How long an upstream may take to end after its last word; then its connection is closed.
const TRAIL: Duration = Duration::from_secs(1);

impl Relay {
    pub(super) fn new(stream: Box<EventStream>, books: Box<Books>) -> Self {
        let now = Instant::now();
        // Every stream of these APIs is asked for its usage; where the caller did not ask, the extra chunk goes no further.
        let options = RelayOptions { usage_asked: stream.usage_asked, injected_usage: !stream.usage_asked };
        let relay = StreamRelay::new(stream.api, options);
        let every = books.snapshot().stream_comment;
        Self {
            stream,
            relay,
            books,
            keep_alive: Alarm::at(now + every),
            every,
            silent_since: Some(now),
            state: State::Running,
            trails: false,
        }
    }

    /// The next bytes for the caller; nothing when the stream has ended.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while self.state != State::Ended {
            if self.state == State::Running {
                if let Some(bytes) = self.next_ready() {
                    self.silent_since = None;
                    self.books.first_byte();
                    self.books.part();
                    return Poll::Ready(Some(bytes));
                }
                if self.state == State::Ended {
                    break;
                }
            }
            match self.poll_upstream(cx) {
                Poll::Ready(Some(last)) => return Poll::Ready(Some(last)),
                Poll::Ready(None) => {}
                Poll::Pending if self.state == State::Trailing => {
                    if !self.trails {
                        self.trails = true;
                        self.keep_alive.set(Instant::now() + TRAIL);
                    }
                    match self.keep_alive.poll(cx) {
                        Poll::Ready(()) => self.end(End::Complete),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Poll::Pending => return self.poll_keep_alive(cx).map(Some),
            }
        }
        Poll::Ready(None)
    }

    /// What the framer holds, until it holds nothing that goes down.
    fn next_ready(&mut self) -> Option<Bytes> {
        loop {
            let frame = match self.stream.held.pop_front() {
                Some(frame) => frame,
                None => match self.stream.framer.next_frame() {
                    Ok(frame) => frame?,
                    Err(error) => {
                        tracing::warn!(decision = %self.books.decision(), %error, "the stream cannot be read on");
                        return self.close(BROKEN, End::Truncated);
                    }
                },
            };
            match self.relayed(frame) {
                Relayed::Forward(bytes) => {
                    self.books.going_down(&bytes);
                    if self.relay.saw_terminal() {
                        self.state = State::Trailing;
                    }
                    return Some(bytes);
                }
                Relayed::Drop => {}
                Relayed::Error(error) => {
                    // The upstream's own error event is passed on, and is the last thing that is.
                    self.books.going_down(&error.raw);
                    self.end(End::UpstreamError);
                    return Some(error.raw);
                }
            }
        }
    }

    /// What becomes of a frame, with placeholders put right where the request was redacted.
    fn relayed(&mut self, frame: Frame) -> Relayed {
        let Some(restorer) = &mut self.stream.restorer else { return self.relay.frame(frame) };
        let event = frame.clone();
        match self.relay.frame(frame) {
            Relayed::Forward(bytes) if event.is_comment() => Relayed::Forward(bytes),
            Relayed::Forward(bytes) => Relayed::Forward(restorer.event(&bytes, &event.data()).into()),
            Relayed::Drop => Relayed::Drop,
            Relayed::Error(mut error) => {
                let mut raw = restorer.flush();
                raw.extend_from_slice(&error.raw);
                error.raw = raw.into();
                Relayed::Error(error)
            }
        }
    }

    /// Reads on; gives the stream's last bytes when the upstream ended and there are some.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let end = match self.stream.ended.take() {
            Some(end) => end,
            None => match Pin::new(&mut self.stream.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                // Whatever follows the last word goes no further.
                Poll::Ready(Some(Ok(_))) if self.state == State::Trailing => return Poll::Ready(None),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.stream.framer.push(data);
                    }
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => Err(error),
                Poll::Ready(None) => Ok(()),
            },
        };
        Poll::Ready(self.finish(&end))
    }

    fn finish(&mut self, end: &Result<(), BodyError>) -> Option<Bytes> {
        if self.state == State::Trailing {
            self.end(End::Complete);
            return None;
        }
        let mut last = Vec::new();
        if let Some(frame) = self.stream.framer.finish() {
            match self.relayed(frame) {
                Relayed::Forward(bytes) => last.extend_from_slice(&bytes),
                Relayed::Error(error) => last.extend_from_slice(&error.raw),
                Relayed::Drop => {}
            }
            self.books.going_down(&last);
        }
        if let Err(error) = end {
            tracing::warn!(decision = %self.books.decision(), %error, "the stream broke off");
        }
        let (how, failed) = match end {
            Ok(()) => (StreamEnd::Clean, End::Truncated),
            Err(BodyError::Idle { .. }) => (SILENT, End::TimedOut(TimeoutKind::Idle)),
            Err(BodyError::Total { .. }) => (TOO_LONG, End::TimedOut(TimeoutKind::Total)),
            Err(BodyError::Broken { .. }) => (BROKEN, End::Truncated),
        };
        if let Some(bytes) = self.close(how, failed) {
            last.extend_from_slice(&bytes);
        }
        (!last.is_empty()).then(|| Bytes::from(last))
    }

    /// Ends the stream: complete when its last word has come, else as `failed`, which the last bytes say.
    fn close(&mut self, how: StreamEnd<'_>, failed: End) -> Option<Bytes> {
        let waiting = self.stream.restorer.as_mut().map(StreamRestorer::flush).unwrap_or_default();
        let last = match self.relay.finish(how) {
            Some(last) if !waiting.is_empty() => Some([&waiting[..], &last].concat().into()),
            Some(last) => Some(last),
            None => (!waiting.is_empty()).then(|| waiting.into()),
        };
        let end = if self.relay.saw_terminal() { End::Complete } else { failed };
        if let Some(last) = &last {
            self.books.going_down(last);
        }
        self.end(end);
        last
    }

    fn end(&mut self, end: End) {
        self.state = State::Ended;
        // A stream of the Messages API begins with a count that only its end corrects, so a part of it is not known.
        let whole = self.relay.saw_terminal() || matches!(self.stream.api, Api::Chat | Api::Completions);
        self.books.close_stream(end, self.relay.usage().filter(|_| whole));
    }

    /// The last bytes after a panic in the middle of the stream, whose own state says nothing reliable any more.
    pub(super) fn give_up(&mut self) -> Option<Bytes> {
        let ended = self.state == State::Ended;
        self.state = State::Ended;
        tracing::error!(decision = %self.books.decision(), "a fault of the gateway: the answer is cut off");
        self.books.gateway().metrics.process().panics().inc();
        self.books.close_stream(End::Fault, None);
        let api = self.stream.api;
        (!ended).then(|| StreamRelay::new(api, RelayOptions::default()).finish(FAULT)).flatten()
    }

    /// How long the upstream is read on after the caller left, by the billing contract of its dialect; nothing when it is
    /// cancelled at once, or has ended.
    pub(super) fn drained_for(&self) -> Option<Duration> {
        match self.stream.on_disconnect {
            OnDisconnect::Drain { at_most } if self.state == State::Running => Some(at_most),
            OnDisconnect::Drain { .. } | OnDisconnect::Cancel => None,
        }
    }

    /// Reads on to the usage that the upstream will bill, for nobody; the books close with it or at the bound.
    pub(super) async fn drain(mut self, at_most: Duration) {
        let read_on = poll_fn(|cx| {
            while let Poll::Ready(bytes) = self.poll_next(cx) {
                if bytes.is_none() {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        });
        // At the bound the relay is dropped, which cancels the upstream and closes the books.
        let _ = tokio::time::timeout(at_most, read_on).await;
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let mut now = self.stream.body.told_to_wait();
        let due = *self.silent_since.get_or_insert(now) + self.every;
        loop {
            if self.keep_alive.poll_at(now, cx).is_pending() {
                return Poll::Pending;
            }
            now = Instant::now();
            if now >= due {
                self.silent_since = Some(now);
                self.keep_alive.set(now + self.every);
                return Poll::Ready(COMMENT);
            }
            self.keep_alive.set(due);
        }
    }
}

/// A caller that goes away cancels the upstream at once, because the reply body is dropped with this; the books are
/// closed with the usage that was seen by then.
impl Drop for Relay {
    fn drop(&mut self) {
        match self.state {
            State::Running => self.end(End::Disconnected),
            State::Trailing => self.end(End::Complete),
            State::Ended => {}
        }
    }
}
