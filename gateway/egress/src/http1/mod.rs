//! HTTP/1.1 towards an endpoint: one request at a time, written from its parts, and a reply read where it lies.
//!
//! A connection has no task of its own: whoever waits for its reply drives it, and that poll reads the socket. A piece of a
//! reply is a slice of what was read; nothing is handed through a channel, and nobody else is woken.
//!
//! A connection that lies idle is driven by nobody. The news that its server closed it waits until somebody looks: the next
//! request that would use it, or the pool's sweep.
//!
//! It keeps to RFC 9112 and is strict where a doubt could make one reply pass for another: a body ends by one rule that
//! both sides know, and a connection that has more to say than was asked, or whose request was not read whole, is
//! closed and never used again.

mod chunked;
#[cfg(any(test, feature = "lies"))]
pub(crate) mod fuzz;
mod head;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;
use tokio_util::io::poll_read_buf;

use crate::body::UpstreamBody;
use chunked::Chunked;

/// Room for the first read of a reply, in bytes; it doubles with each read that fills it, and from then on the connection has its own.
const LEAST_ROOM: usize = 8 << 10;

/// Most room for one read, in bytes.
const MOST_ROOM: usize = 256 << 10;

/// Pieces that leave in one system call.
const SLICES: usize = 16;

/// Most bytes of head and body that are put together. One piece is written in half a microsecond less than two, and this many are copied
/// in a tenth of that.
const TOGETHER: usize = 4 << 10;

thread_local! {
    /// Where a reply is read whose connection holds nothing yet. All connections of a thread read here in turn, so it lies in the
    /// processor's nearest cache, and none keeps room for what may not come for long.
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; LEAST_ROOM]);
}

/// What a connection broke by.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server closed it without a word.
    #[error("it was closed before an answer came")]
    Closed,
    /// The server closed it within a reply.
    #[error("it was closed in the middle of the answer")]
    CutShort,
    /// What came is no head of HTTP/1.
    #[error("the head of the answer is no HTTP/1: {0}")]
    Head(httparse::Error),
    /// The head is larger than is read.
    #[error("the head of the answer is larger than {} KiB", head::MOST_HEAD >> 10)]
    HeadTooLarge,
    /// A length that is none, or two that differ.
    #[error("the answer's `content-length` is no number, or says two")]
    Length,
    /// A coding that nobody asked for.
    #[error("the answer's `transfer-encoding` is not `chunked` alone, or the answer is HTTP/1.0")]
    TransferEncoding,
    /// It switches to another protocol.
    #[error("the answer switches to a protocol that was not asked for")]
    Unasked,
    /// The chunked coding is broken.
    #[error("the answer's chunks are broken: {0}")]
    Chunk(&'static str),
    /// What the system said.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked(Chunked),
    /// By the end of the connection.
    ToTheEnd,
}

impl Framing {
    /// The next bytes of the body, where `input` holds some.
    fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::Chunked(chunked) => chunked.take(input),
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= here as u64;
                Ok((here > 0).then(|| input.split_to(here).freeze()))
            }
            Self::ToTheEnd => Ok((!input.is_empty()).then(|| input.split().freeze())),
        }
    }

    /// All of `read`, where that is one piece of the body and nothing else, as nearly every read of a stream is.
    fn whole(&mut self, read: &[u8]) -> Option<Bytes> {
        let piece = match self {
            Self::Chunked(Chunked::Size) => chunked::lone(read)?,
            Self::Chunked(_) => return None,
            Self::Length(left) => {
                *left = left.checked_sub(read.len() as u64)?;
                read
            }
            Self::ToTheEnd => read,
        };
        (!piece.is_empty()).then(|| Bytes::copy_from_slice(piece))
    }

    fn is_over(self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked::Over))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It takes a request.
    Ready,
    /// A request was taken, and the head of its reply has not come.
    Asked { to_head: bool },
    /// A body is on its way; `keeps` when the connection may be used again after it.
    Body { framing: Framing, keeps: bool },
    /// It takes no request any more.
    Closed,
}

/// What a read gave.
enum Got {
    /// A piece of the body, taken already.
    Piece(Bytes),
    /// So many bytes, which stand in `input`; none at the end.
    More(usize),
}

/// A connection. Whoever holds it is its only user, and drives it.
pub(crate) struct Connection<S: AsyncRead + AsyncWrite + Unpin> {
    io: S,
    /// What was read and belongs to no piece yet.
    input: BytesMut,
    /// Room for the next read.
    room: usize,
    output: Output,
    /// How far the head that is waited for was looked at.
    looked: head::Looked,
    state: State,
    /// TLS is spoken: it says goodbye, so that its peer can tell an end from a cut, and may have sent a part of what it says
    /// that it could not write.
    is_encrypted: bool,
}

/// What is still to be written.
#[derive(Default)]
struct Output {
    /// The head, and of the body what is put together with it. The buffer is kept from request to request.
    head: Vec<u8>,
    /// Bytes of those that have left.
    begun: usize,
    /// Something may have left all the same.
    is_doubtful: bool,
    parts: Vec<Bytes>,
    /// Parts that have left.
    done: usize,
    /// It may still lie in a buffer of TLS.
    is_unflushed: bool,
    /// Nothing can be written any more.
    failed: Option<io::Error>,
}

impl Output {
    fn begin(&mut self) {
        self.head.clear();
        self.parts.clear();
        (self.begun, self.is_doubtful, self.done, self.is_unflushed, self.failed) = (0, false, 0, false, None);
    }

    /// Nothing of the request has left.
    fn is_untouched(&self) -> bool {
        self.begun == 0 && !self.is_doubtful
    }

    fn is_empty(&self) -> bool {
        self.begun == self.head.len() && self.done == self.parts.len() && !self.is_unflushed
    }

    /// The next pieces, and how many they are.
    fn next<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let head = self.head.get(self.begun..).filter(|head| !head.is_empty());
        let parts = self.parts.iter().skip(self.done).map(|part| &part[..]);
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(head.into_iter().chain(parts)) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// Takes a part of the body.
    fn take(&mut self, part: &Bytes) {
        if self.parts.is_empty() && self.head.len() + part.len() <= TOGETHER {
            self.head.extend_from_slice(part);
        } else if !part.is_empty() {
            self.parts.push(part.clone());
        }
    }

    fn advance(&mut self, mut written: usize) {
        let of_head = written.min(self.head.len() - self.begun);
        self.begun += of_head;
        written -= of_head;
        while let Some(part) = self.parts.get_mut(self.done) {
            let of_part = written.min(part.len());
            part.advance(of_part);
            written -= of_part;
            if !part.is_empty() {
                break;
            }
            // What has left is not held until the reply has ended.
            *part = Bytes::new();
            self.done += 1;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(io: S, is_encrypted: bool) -> Self {
        let (input, output, looked) = (BytesMut::new(), Output::default(), head::Looked::default());
        Self { io, input, room: LEAST_ROOM, output, looked, state: State::Ready, is_encrypted }
    }

    /// Whether it takes a request, by all that is known now.
    ///
    /// Many connections may be looked at in one poll of a caller's task. A look is not charged to that task: when tokio's
    /// budget of it is used up, a socket says that nothing is there, and a dead connection would pass for an open one.
    pub(crate) fn is_ready(&mut self) -> bool {
        if self.state != State::Ready {
            return false;
        }
        let looking = pin!(unconstrained(poll_fn(|context| Poll::Ready(self.poll_read(context).is_pending()))));
        // Bytes that nobody asked for are as bad as an end: whose reply would they be?
        let is_silent = matches!(looking.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(true));
        if !is_silent {
            self.state = State::Closed;
        }
        is_silent
    }

    /// Whether the last reply left it ready, without a look at what came since.
    pub(crate) fn may_be_kept(&self) -> bool {
        self.state == State::Ready
    }

    /// Takes a request, whose writing begins with the first [`Self::poll_head`].
    ///
    /// INVARIANT: it is ready, or the request comes back with the first poll.
    pub(crate) fn ask(&mut self, request: &Request<UpstreamBody>) {
        self.output.begin();
        self.looked = head::Looked::default();
        if !self.is_ready() {
            return;
        }
        let body = request.body();
        head::write(request, body.left(), &mut self.output.head);
        body.parts().iter().for_each(|part| self.output.take(part));
        self.state = State::Asked { to_head: *request.method() == Method::HEAD };
    }

    /// Whether nothing of the last request has left: after a fault it may be sent elsewhere.
    pub(crate) fn is_untouched(&self) -> bool {
        self.output.is_untouched()
    }

    /// Writes on, and reads on to the head of the reply.
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(StatusCode, HeaderMap), Fault>> {
        let State::Asked { to_head } = self.state else {
            return Poll::Ready(Err(self.closed_by(Fault::Closed)));
        };
        self.write_on(context);
        if self.output.is_untouched()
            && let Some(failed) = self.output.failed.take()
        {
            return Poll::Ready(Err(self.closed_by(failed.into())));
        }
        loop {
            match head::take(&mut self.input, &mut self.looked, to_head) {
                // It says that the reply is yet to come.
                Ok(Some(head)) if head.status.is_informational() => {}
                Ok(Some(head)) => {
                    self.state = State::Body { framing: head.framing, keeps: head.keeps };
                    self.note_end();
                    return Poll::Ready(Ok((head.status, head.headers)));
                }
                Ok(None) => match ready!(self.poll_read(context)) {
                    Ok(Got::More(0)) => {
                        // Where writing failed, that says more than the end that followed.
                        let failed = self.output.failed.take().map_or(Fault::Closed, Fault::Io);
                        return Poll::Ready(Err(self.closed_by(failed)));
                    }
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(self.closed_by(error.into()))),
                },
                Err(fault) => return Poll::Ready(Err(self.closed_by(fault))),
            }
        }
    }

    /// The next piece of the reply's body, read from the socket by this very poll.
    pub(crate) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        self.write_on(context);
        loop {
            let State::Body { framing, .. } = &mut self.state else { return Poll::Ready(None) };
            match framing.take(&mut self.input) {
                Ok(Some(piece)) => {
                    if self.input.is_empty() {
                        // The piece alone holds its bytes, which are free for the next one of any connection when it has gone.
                        self.input = BytesMut::new();
                    }
                    self.note_end();
                    return Poll::Ready(Some(Ok(piece)));
                }
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Some(Err(self.closed_by(fault)))),
            }
            let ends_by_closing = *framing == Framing::ToTheEnd;
            if self.note_end() {
                return Poll::Ready(None);
            }
            match ready!(self.poll_read(context)) {
                Ok(Got::Piece(piece)) => {
                    self.note_end();
                    return Poll::Ready(Some(Ok(piece)));
                }
                Ok(Got::More(0)) if ends_by_closing => {
                    self.state = State::Closed;
                    return Poll::Ready(None);
                }
                Ok(Got::More(0)) => return Poll::Ready(Some(Err(self.closed_by(Fault::CutShort)))),
                Ok(Got::More(_)) => {}
                Err(error) => return Poll::Ready(Some(Err(self.closed_by(error.into())))),
            }
        }
    }

    /// Whether nothing more of a reply will come.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state, State::Asked { .. } | State::Body { .. })
    }

    /// Bytes of the body that are to come, where the reply says it.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.state {
            State::Body { framing: Framing::Length(left), .. } => Some(left),
            State::Body { .. } => None,
            State::Ready | State::Asked { .. } | State::Closed => Some(0),
        }
    }

    /// Takes note of the end of a reply: the connection is ready again, unless there is a doubt about it.
    fn note_end(&mut self) -> bool {
        let State::Body { framing, keeps } = self.state else { return true };
        if !framing.is_over() {
            return false;
        }
        let is_clean = keeps && self.output.is_empty() && self.output.failed.is_none() && self.input.is_empty();
        self.state = if is_clean { State::Ready } else { State::Closed };
        (self.room, self.input) = (LEAST_ROOM, BytesMut::new());
        true
    }

    fn closed_by(&mut self, fault: Fault) -> Fault {
        self.state = State::Closed;
        fault
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Got>> {
        if self.input.is_empty() && self.room == LEAST_ROOM {
            return self.poll_read_little(context);
        }
        if self.input.capacity() - self.input.len() < self.room / 2 {
            self.input.reserve(self.room);
        }
        let spare = self.input.capacity() - self.input.len();
        let read = ready!(poll_read_buf(Pin::new(&mut self.io), context, &mut self.input))?;
        if read >= spare {
            self.room = (self.room * 2).min(MOST_ROOM);
        }
        Poll::Ready(Ok(Got::More(read)))
    }

    /// Reads where all read, and keeps no more than came.
    fn poll_read_little(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Got>> {
        let Self { io, state, input, room, .. } = self;
        ROOM.with_borrow_mut(|common| {
            let mut read = ReadBuf::new(common);
            ready!(Pin::new(io).poll_read(context, &mut read))?;
            if read.remaining() == 0 {
                *room *= 2;
            }
            if let State::Body { framing, .. } = state
                && let Some(piece) = framing.whole(read.filled())
            {
                return Poll::Ready(Ok(Got::Piece(piece)));
            }
            *input = BytesMut::from(read.filled());
            Poll::Ready(Ok(Got::More(input.len())))
        })
    }

    /// Writes as much of the request as will go. What it fails by is kept: the reply may have come all the same.
    fn write_on(&mut self, context: &mut Context<'_>) {
        if !self.output.is_empty()
            && self.output.failed.is_none()
            && let Poll::Ready(Err(error)) = self.poll_write(context)
        {
            self.output.is_doubtful |= self.is_encrypted;
            self.output.failed = Some(error);
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, output, .. } = self;
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = output.next(&mut slices);
            let Some(slices) = slices.get(..count).filter(|slices| !slices.is_empty()) else { break };
            let io = Pin::new(&mut *io);
            let written = ready!(match slices {
                [piece] => io.poll_write(context, piece),
                pieces => io.poll_write_vectored(context, pieces),
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
            output.is_unflushed = true;
        }
        ready!(Pin::new(io).poll_flush(context))?;
        output.is_unflushed = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Connection<S> {
    fn drop(&mut self) {
        if !self.is_encrypted {
            return;
        }
        let leaving = pin!(unconstrained(poll_fn(|context| {
            Poll::Ready(Pin::new(&mut self.io).poll_shutdown(context).is_ready())
        })));
        // What does not go out at once is not worth waiting for.
        let _ = leaving.poll(&mut Context::from_waker(Waker::noop()));
    }
}
