//! A head that hyper cannot read, answered in words.
//!
//! hyper answers such a head by itself, with a status and no body, of which a caller's library shows nothing. [`Telling`] stands
//! between hyper and the connection, and has the [`Handler`] answer in its place. What hyper writes while it owes no answer to
//! any request ([`Pulse::owes`]) can be nothing else on HTTP/1.1, so nothing is guessed from what is written. HTTP/2 writes frames
//! at any time, and no frame begins as a status line does.
//!
//! The one such answer that is left as it is comes behind another: where a head was sent right behind the body of a request whose
//! answer the peer has not taken yet, hyper writes both together.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::pulse::Pulse;
use super::{Handler, ListenSettings};

/// What hyper's status line begins with. No frame of HTTP/2 does: it would be of 4,740,180 bytes, and none is that long.
const STATUS_LINE: &[u8] = b"HTTP/1.";

/// Most bytes of a refused request that are read and thrown away, so that the answer arrives: a system that closes a connection on
/// bytes which nobody has read takes back what it has sent.
const DRAINED: usize = 1 << 20;

/// How long that may take.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// Why the head of a request could not be read. No [`Handler`] has seen the request, and its connection ends with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Its bytes or its fields are more than the listener's bounds: 431.
    #[error(
        "the head of the request is larger than {bytes} bytes or has more than {fields} fields; \
         send fewer or shorter header fields, and a shorter path"
    )]
    TooLarge {
        /// [`ListenSettings::max_header_bytes`].
        bytes: usize,
        /// [`ListenSettings::max_headers`].
        fields: usize,
    },
    /// It is not HTTP/1.1, or says in two ways how long its body is: 400.
    #[error(
        "the head of the request is not HTTP/1.1: send a first line such as `POST /v1/chat/completions HTTP/1.1` without spaces \
         in the path, then fields as `name: value` without a space before the colon, and among them one `content-length` or \
         `transfer-encoding: chunked`, not both"
    )]
    Malformed,
}

impl Unreadable {
    /// The status that it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Malformed => StatusCode::BAD_REQUEST,
        }
    }

    /// What hyper says with the answer that these bytes are, where it refuses a head of itself.
    fn of(answer: &[u8], bounds: Bounds) -> Option<Self> {
        let Bounds { bytes, fields } = bounds;
        match answer.strip_prefix(STATUS_LINE)?.get(2..5)? {
            b"400" => Some(Self::Malformed),
            // 414 is a path of 65,535 bytes, and shorter ones are beyond the bound of a head as well.
            b"414" | b"431" => Some(Self::TooLarge { bytes, fields }),
            _ => None,
        }
    }
}

/// How large a head may be.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    bytes: usize,
    fields: usize,
}

impl Bounds {
    pub(super) fn of(settings: &ListenSettings) -> Self {
        Self { bytes: settings.max_header_bytes, fields: settings.max_headers }
    }
}

/// A byte stream that says in words what hyper says by a status alone.
pub(super) struct Telling<I, H> {
    io: I,
    pulse: Arc<Pulse>,
    bounds: Bounds,
    handler: Arc<H>,
    /// The answer to a head that could not be read, once there is one.
    last: Option<Box<Last>>,
}

impl<I, H: Handler> Telling<I, H> {
    pub(super) fn new(io: I, pulse: Arc<Pulse>, bounds: Bounds, handler: Arc<H>) -> Self {
        Self { io, pulse, bounds, handler, last: None }
    }

    /// Writes an answer in words in the place of `answer`, where hyper refuses a head with that; nothing where it does not.
    #[cold]
    fn poll_in_place_of(&mut self, answer: &[u8], context: &mut Context<'_>) -> Option<Poll<io::Result<usize>>>
    where
        I: AsyncWrite + Unpin,
    {
        // hyper gives the same bytes again until they are taken, so the answer in words is made once.
        if self.last.is_none() {
            let unreadable = Unreadable::of(answer, self.bounds)?;
            self.last = Some(Box::new(Last::of(&self.handler.unreadable(&unreadable), answer)));
        }
        let last = self.last.as_mut()?;
        Some(last.poll_write(&mut self.io, context).map_ok(|()| answer.len()))
    }
}

/// The last answer of a connection.
struct Last {
    unwritten: Bytes,
    is_shut: bool,
    /// How much is still read and thrown away.
    room: usize,
    until: Option<Pin<Box<Sleep>>>,
}

impl Last {
    fn of(response: &Response<Bytes>, hypers: &[u8]) -> Self {
        Self { unwritten: written(response, hypers).into(), is_shut: false, room: DRAINED, until: None }
    }

    fn poll_write<I: AsyncWrite + Unpin>(&mut self, io: &mut I, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unwritten.has_remaining() {
            match ready!(Pin::new(&mut *io).poll_write(context, &self.unwritten))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.unwritten.advance(taken),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes, and lets the peer finish what it was sending, within bounds.
    fn poll_end<I>(&mut self, io: &mut I, context: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.is_shut {
            ready!(Pin::new(&mut *io).poll_shutdown(context))?;
            self.is_shut = true;
        }
        let mut piece = [0; 4 << 10];
        while self.room > 0 {
            let mut read = ReadBuf::new(&mut piece);
            match Pin::new(&mut *io).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    self.room = self.room.saturating_sub(read.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    let until = self.until.get_or_insert_with(|| Box::pin(sleep(DRAINED_WITHIN)));
                    return until.as_mut().poll(context).map(Ok);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// As it goes over the connection, with the date of hyper's own answer.
fn written(response: &Response<Bytes>, hypers: &[u8]) -> Vec<u8> {
    let (status, body) = (response.status(), response.body());
    let mut text =
        format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default()).into_bytes();
    for (name, value) in response.headers() {
        text.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let mut lines = hypers.split(|byte| *byte == b'\n');
    let date = lines.find(|line| line.starts_with(b"date: ")).map(|line| [line, b"\n"].concat()).unwrap_or_default();
    text.extend_from_slice(&date);
    text.extend_from_slice(format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()).as_bytes());
    text.extend_from_slice(body);
    text
}

impl<I: AsyncRead + Unpin, H: Handler> AsyncRead for Telling<I, H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin, H: Handler> AsyncWrite for Telling<I, H> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.pulse.owes()
            && let Some(told) = self.poll_in_place_of(bytes, context)
        {
            return told;
        }
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // HTTP/2 alone writes so, and what hyper refuses on HTTP/1.1 comes in one piece.
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        if flushed.is_ready() {
            self.pulse.has_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.last {
            Some(last) => last.poll_end(&mut this.io, context),
            None => Pin::new(&mut this.io).poll_shutdown(context),
        }
    }
}
