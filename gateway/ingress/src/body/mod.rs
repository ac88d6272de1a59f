//! Reading a request body within bounds.
//!
//! [`read`] gives a body whole: the policy has to see all of it before any of it is sent on, and a
//! whole body can be sent again to the next endpoint. What it may cost is bounded three times: each
//! body by size, after unfolding; all bodies together by a [`BodyBudget`]; and each in time, by the
//! pace at which it has to come.

mod budget;
mod unfold;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use tokio::time::{Instant, sleep_until, timeout};

pub use budget::{BodyBudget, BodyPermit, Exhausted};
pub use unfold::Coding;

/// What a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Largest request body accepted, in bytes; default 33_554_432 (32 MiB).
    ///
    /// Counted as it comes, and again after decompression: a small compressed body can unfold into
    /// a very large one.
    pub bytes: usize,
    /// How long a caller may send nothing; default 30 s.
    pub idle: Duration,
    /// Fewest bytes per second, over the whole body and beyond its first `idle`; default 4_096.
    ///
    /// Without it a byte now and then keeps a body, and its share of the budget, for ever.
    pub bytes_per_second: u32,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { bytes: 32 << 20, idle: Duration::from_secs(30), bytes_per_second: 4_096 }
    }
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body is larger than the limit, as it came or unfolded: 413 `request_too_large`.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// All bodies together have no room for this one: 503 `overloaded`.
    #[error("too many request bodies are being held")]
    Overloaded(#[from] Exhausted),
    /// The caller sent nothing for too long, or too little over all: 408.
    #[error("the body came too slowly: {received} bytes after {after:?}")]
    Slow {
        /// Bytes that had come.
        received: usize,
        /// The time they took.
        after: Duration,
    },
    /// The caller went away, or its connection broke. There is nobody to answer.
    #[error("the caller went away within the body")]
    Disconnected(#[source] Box<dyn Error + Send + Sync>),
    /// The body is not what its `content-encoding` says: 400 `invalid_request`.
    #[error("the body is not a whole {coding} stream and nothing else")]
    BadEncoding {
        /// The coding it should have.
        coding: Coding,
        /// What the decoder met.
        #[source]
        source: io::Error,
    },
    /// `content-encoding` names a coding that is not known, or more than two: 415.
    #[error("content-encoding is none of gzip, deflate, br and zstd, or more than two of them")]
    UnsupportedEncoding,
}

/// A body that was read whole, and its share of the budget.
#[derive(Debug)]
#[must_use]
pub struct ReadBody {
    bytes: Bytes,
    permit: BodyPermit,
}

impl ReadBody {
    /// The body, unfolded.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The body and its share of the budget, which must be kept for as long as the bytes are.
    pub fn into_parts(self) -> (Bytes, BodyPermit) {
        (self.bytes, self.permit)
    }
}

/// Reads `body` whole, and unfolds it by the `content-encoding` in `headers`.
///
/// A body that declares its length takes its share of `budget` at once, or is refused before a
/// byte of it is read; one that does not takes it as it grows. A body that came in one piece is not
/// copied.
pub async fn read<B>(
    body: B,
    headers: &HeaderMap,
    limits: &BodyLimits,
    budget: &BodyBudget,
) -> Result<ReadBody, BodyError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let codings = unfold::codings(headers)?;
    let mut read = gather(body, limits, budget).await?;
    for coding in codings.into_iter().rev() {
        read = unfold::unfold(read, coding, limits.bytes, budget).await?;
    }
    Ok(read)
}

/// Reads and forgets what is left of a refused request's body, so that the caller can read the
/// answer and keep its connection. Says whether the body ended within `most` bytes and `within`.
///
/// A body that declares more is not touched: the connection ends instead.
pub async fn drain<B>(body: B, most: usize, within: Duration) -> bool
where
    B: Body<Data = Bytes>,
{
    if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return false;
    }
    let mut body = pin!(body);
    let rest = async {
        let mut received = 0;
        while let Some(frame) = next_frame(&mut body).await {
            let Ok(frame) = frame else { return false };
            received += frame.data_ref().map_or(0, Bytes::len);
            if received > most {
                return false;
            }
        }
        true
    };
    timeout(within, rest).await.unwrap_or(false)
}

async fn next_frame<B: Body>(body: &mut Pin<&mut B>) -> Option<Result<http_body::Frame<B::Data>, B::Error>> {
    poll_fn(|context| body.as_mut().poll_frame(context)).await
}

async fn gather<B>(body: B, limits: &BodyLimits, budget: &BodyBudget) -> Result<ReadBody, BodyError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let limit = limits.bytes;
    let declared = body.size_hint();
    if usize::try_from(declared.lower()).map_or(true, |declared| declared > limit) {
        return Err(BodyError::TooLarge { limit });
    }
    let declared = declared.exact().and_then(|length| length.try_into().ok());
    let mut gathered = Gathered::new(budget, limit);
    gathered.declared = declared.unwrap_or(0);
    let mut body = pin!(body);
    let mut pace = Pace::new(limits);
    // Made when the body first lets us wait: most bodies are there with their head, and cost no timer and no clock.
    let mut timer = pin!(None);
    loop {
        let frame = poll_fn(|context| {
            if let Poll::Ready(frame) = body.as_mut().poll_frame(context) {
                return Poll::Ready(Ok(frame));
            }
            let deadline = pace.deadline();
            if timer.is_none() {
                timer.set(Some(sleep_until(deadline)));
            }
            let mut timer = timer.as_mut().as_pin_mut().expect("it was made above");
            // The timer is moved only when it fires: a chunk only ever puts the deadline off.
            while timer.as_mut().poll(context).is_ready() {
                if deadline <= timer.deadline() {
                    return Poll::Ready(Err(pace.too_slow()));
                }
                timer.as_mut().reset(deadline);
            }
            Poll::Pending
        });
        let Some(frame) = frame.await? else {
            return Ok(gathered.finish());
        };
        let frame = frame.map_err(|error| BodyError::Disconnected(error.into()))?;
        if let Ok(chunk) = frame.into_data() {
            pace.has_received(chunk.len());
            gathered.push(chunk)?;
        }
    }
}

/// The share of a declared length that is taken ahead of what has come, in bytes: 64 KiB.
const SHARE: usize = 64 << 10;

/// How fast a body has to come. The clock is read only when it lets us wait.
struct Pace<'a> {
    limits: &'a BodyLimits,
    /// When it first let us wait.
    began: Option<Instant>,
    /// Since when it lets us wait now; `None` after bytes have come.
    waiting: Option<Instant>,
    received: usize,
}

impl<'a> Pace<'a> {
    fn new(limits: &'a BodyLimits) -> Self {
        Self { limits, began: None, waiting: None, received: 0 }
    }

    fn has_received(&mut self, bytes: usize) {
        self.waiting = None;
        self.received += bytes;
    }

    /// When the body, which lets us wait now, is too slow if nothing more comes.
    fn deadline(&mut self) -> Instant {
        let waiting = *self.waiting.get_or_insert_with(Instant::now);
        let began = *self.began.get_or_insert(waiting);
        let received = u32::try_from(self.received).unwrap_or(u32::MAX);
        let per_second = f64::from(self.limits.bytes_per_second.max(1));
        let earned = Duration::from_secs_f64(f64::from(received) / per_second);
        let by_pace = began + self.limits.idle + earned;
        by_pace.min(waiting + self.limits.idle)
    }

    fn too_slow(&self) -> BodyError {
        let after = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        BodyError::Slow { received: self.received, after }
    }
}

/// Bytes that are put together within a limit and a budget.
struct Gathered {
    limit: usize,
    permit: BodyPermit,
    /// The length that was declared. Room for it is reserved at once, which touches no memory; its share of the budget is
    /// taken as it comes, so that a caller that declares much and sends nothing holds nothing.
    declared: usize,
    /// The only piece so far, which may turn out to be the whole.
    first: Bytes,
    /// Everything, once there is more than one piece.
    all: BytesMut,
}

impl Gathered {
    fn new(budget: &BodyBudget, limit: usize) -> Self {
        Self { limit, permit: budget.hold(), declared: 0, first: Bytes::new(), all: BytesMut::new() }
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, piece: Bytes) -> Result<(), BodyError> {
        if piece.is_empty() {
            return Ok(());
        }
        if self.len() == 0 {
            self.check(piece.len())?;
            self.permit.grow_to(piece.len())?;
            self.first = piece;
            return Ok(());
        }
        self.extend(&piece)
    }

    /// Adds a copy of `piece`.
    fn extend(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        let length = self.len() + piece.len();
        self.check(length)?;
        if self.all.is_empty() || length > self.permit.bytes() {
            // Of a length that nobody declared, what is taken from the budget is the buffer as allocated, not as filled. One
            // that was declared has its room from the beginning, and is never moved.
            let doubled = (self.all.len() * 2).max(length).min(self.limit);
            let (share, room) = match length <= self.declared {
                true => ((length + SHARE).min(self.declared), self.declared),
                false => (doubled, doubled),
            };
            self.permit.grow_to(share)?;
            self.all.reserve(room - self.all.len());
        }
        let first = std::mem::take(&mut self.first);
        self.all.extend_from_slice(&first);
        self.all.extend_from_slice(piece);
        Ok(())
    }

    fn check(&self, length: usize) -> Result<(), BodyError> {
        let limit = self.limit;
        (length <= limit).then_some(()).ok_or(BodyError::TooLarge { limit })
    }

    fn finish(self) -> ReadBody {
        let bytes = match self.all.is_empty() {
            true => self.first,
            false => self.all.freeze(),
        };
        ReadBody { bytes, permit: self.permit }
    }
}
