//! A request's body that does not wake its connection for nothing.
//!
//! Whoever takes a piece of a body from hyper wakes the connection, so that it reads the next one. hyper does so for the last
//! piece as well, although the connection has by then seen the end of the body: nearly every body is one piece that came with
//! its head, and each such request had its connection asked once more for nothing.
//!
//! **Promises.** Any other wake arrives: those that are held back are those that hyper makes while it hands over a piece, on the
//! same thread, and they are dropped only where the body has ended with that piece.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};

thread_local! {
    /// What happens to wakes of connections on this thread.
    static HELD: Cell<Held> = const { Cell::new(Held::Nothing) };
}

/// Whether wakes are held back, and which one was.
#[derive(Default)]
enum Held {
    /// They go on to the task.
    #[default]
    Nothing,
    /// The next one is kept.
    Next,
    /// This one was kept.
    Kept(Arc<Quiet>),
}

/// Wakes the task of a connection. It is what hyper is given in the place of the task's own waker.
pub(super) struct Quiet(Waker);

impl Quiet {
    /// A waker for hyper that wakes as `task` does.
    pub(super) fn waker(task: &Waker) -> Waker {
        Arc::new(Self(task.clone())).into()
    }
}

impl Wake for Quiet {
    fn wake(self: Arc<Self>) {
        HELD.with(|held| match held.take() {
            Held::Nothing => self.0.wake_by_ref(),
            Held::Next => held.set(Held::Kept(self)),
            Held::Kept(other) => {
                held.set(Held::Kept(other));
                self.0.wake_by_ref();
            }
        });
    }
}

/// A request's body, unread.
#[derive(Debug)]
pub struct RequestBody {
    body: hyper::body::Incoming,
    /// With HTTP/2 the connection must hear of each piece that was taken, since it tells the peer how much more it may send.
    is_http1: bool,
}

impl RequestBody {
    pub(super) fn new(body: hyper::body::Incoming, version: Version) -> Self {
        Self { body, is_http1: version <= Version::HTTP_11 }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if !self.is_http1 {
            return Pin::new(&mut self.body).poll_frame(context);
        }
        let hold = Hold::begin();
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Some(quiet) = hold.end()
            && !self.body.is_end_stream()
        {
            quiet.0.wake_by_ref();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// While it is there, a wake is held back.
struct Hold;

impl Hold {
    fn begin() -> Self {
        HELD.set(Held::Next);
        Self
    }

    /// The wake that was held back.
    fn end(self) -> Option<Arc<Quiet>> {
        match HELD.take() {
            Held::Kept(quiet) => Some(quiet),
            Held::Nothing | Held::Next => None,
        }
    }
}

impl Drop for Hold {
    /// Also where hyper panics: the next wake of this thread is somebody else's.
    fn drop(&mut self) {
        HELD.set(Held::Nothing);
    }
}
