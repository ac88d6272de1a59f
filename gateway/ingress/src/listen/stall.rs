//! A caller that takes nothing of one answer on HTTP/2.
//!
//! On HTTP/1.1 the connection is the answer, and its [`Pulse`](super::pulse::Pulse) sees that writing is blocked. An HTTP/2
//! caller can stop one stream alone, by never widening its window, while the connection answers pings and goes on: hyper then
//! has a piece of the body and does not ask for the next, and asks for no timer either. So each stream's task is wrapped here.
//! The body says when it gave a piece and was not asked again, which is once 64 KiB wait; when that lasts for the write timeout
//! the stream is reset, and with it go the request, its seat and its connection upstream. The other streams of the connection
//! are not touched.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

tokio::task_local! {
    /// The stream whose task is running.
    static STREAM: Taken;
}

/// Since when a piece of the stream's answer waits for the caller; nothing on HTTP/1.1, where the pulse sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken(Option<Arc<Mutex<Option<Instant>>>>);

impl Taken {
    fn of_stream() -> Self {
        Self(Some(Arc::default()))
    }

    /// That of the stream whose task is running.
    pub(super) fn current() -> Self {
        STREAM.try_with(Self::clone).unwrap_or_default()
    }

    /// The next piece is asked for: what was given has been taken.
    pub(super) fn asked(&self) {
        if let Some(since) = &self.0 {
            *since.lock() = None;
        }
    }

    /// A piece was given.
    pub(super) fn gave(&self) {
        if let Some(since) = &self.0 {
            *since.lock() = Some(Instant::now());
        }
    }

    fn waits_since(&self) -> Option<Instant> {
        self.0.as_ref().and_then(|since| *since.lock())
    }
}

/// Runs the streams of HTTP/2 connections, each until the caller takes nothing of it for `limit`.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) limit: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let taken = Taken::of_stream();
        let stream = STREAM.scope(taken.clone(), stream);
        tokio::spawn(UntilStalled { stream, taken, limit: self.limit, timer: None });
    }
}

pin_project! {
    /// A stream's task, which ends when the caller takes nothing for too long.
    struct UntilStalled<F> {
        #[pin]
        stream: F,
        taken: Taken,
        limit: Duration,
        // Armed when a piece first waits, and moved only when it fires.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for UntilStalled<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(context).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(since) = this.taken.waits_since() else { return Poll::Pending };
            let due = since + *this.limit;
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            // INVARIANT: never later than what is due, because `since` only moves on.
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}
