//! Unfolding a compressed body.
//!
//! A body has to be one stream of its coding and nothing else. Streams behind one another, which
//! gzip and zstd allow, are refused: a body of a million empty ones costs seconds and gives nothing.

use std::fmt;
use std::io::{self, Cursor, Read};

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use bytes::Bytes;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use tokio::task::{spawn_blocking, yield_now};
use zstd::stream::read::Decoder as ZstdDecoder;

use super::{BodyBudget, BodyError, BodyPermit, Gathered, ReadBody};

/// Most codings of one body.
const MOST_CODINGS: usize = 2;

/// Largest window of a zstd stream, as a power of two: 8 MiB, which is what RFC 9659 allows.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Bytes that are unfolded at once.
const STEP: usize = 64 * 1024;

/// Folded bytes above which the work is not done on a thread that serves requests.
const INLINE: usize = 64 * 1024;

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` or `x-gzip`.
    Gzip,
    /// `deflate`, which is the zlib format.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        })
    }
}

/// The codings of a body, in the order in which they were applied.
pub(super) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, BodyError> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii().to_ascii_lowercase();
            codings.push(match name.as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Coding::Gzip,
                b"deflate" => Coding::Deflate,
                b"br" => Coding::Brotli,
                b"zstd" => Coding::Zstd,
                _ => return Err(BodyError::UnsupportedEncoding),
            });
            if codings.len() > MOST_CODINGS {
                return Err(BodyError::UnsupportedEncoding);
            }
        }
    }
    Ok(codings)
}

/// Unfolds one coding, within the limit and the budget.
pub(super) async fn unfold(
    folded: ReadBody,
    coding: Coding,
    limit: usize,
    budget: &BodyBudget,
) -> Result<ReadBody, BodyError> {
    let large = folded.bytes().len() > INLINE;
    let mut work = Unfolding::new(folded, coding, Gathered::new(budget, limit))?;
    if large {
        let worked = spawn_blocking(move || {
            while work.step()? {}
            Ok(work.unfolded.finish())
        });
        worked.await.map_err(|error| bad_encoding(coding, io::Error::other(error)))?
    } else {
        while work.step()? {
            yield_now().await;
        }
        Ok(work.unfolded.finish())
    }
}

struct Unfolding {
    coding: Coding,
    decoder: Decoder,
    /// INVARIANT: the folded bytes stay in the budget for as long as the decoder holds them, also
    /// when whoever asked for them has gone and the work goes on elsewhere.
    _folded: BodyPermit,
    chunk: Vec<u8>,
    unfolded: Gathered,
}

impl Unfolding {
    fn new(folded: ReadBody, coding: Coding, unfolded: Gathered) -> Result<Self, BodyError> {
        let (bytes, permit) = folded.into_parts();
        let decoder = Decoder::new(coding, bytes).map_err(|error| bad_encoding(coding, error))?;
        Ok(Self { coding, decoder, _folded: permit, chunk: vec![0; STEP], unfolded })
    }

    /// Unfolds a little; false when that was all.
    fn step(&mut self) -> Result<bool, BodyError> {
        let coding = self.coding;
        let read = self.decoder.read(&mut self.chunk);
        let read = read.map_err(|error| bad_encoding(coding, error))?;
        if read == 0 {
            if self.decoder.has_more_behind() {
                let behind = io::Error::new(io::ErrorKind::InvalidData, "bytes behind the stream");
                return Err(bad_encoding(coding, behind));
            }
            return Ok(false);
        }
        self.unfolded.extend(&self.chunk[..read])?;
        Ok(true)
    }
}

fn bad_encoding(coding: Coding, source: io::Error) -> BodyError {
    BodyError::BadEncoding { coding, source }
}

type Folded = Cursor<Bytes>;

enum Decoder {
    Gzip(GzDecoder<Folded>),
    Deflate(ZlibDecoder<Folded>),
    Brotli(Box<BrotliDecoder>),
    Zstd(ZstdDecoder<'static, Folded>),
}

impl Decoder {
    fn new(coding: Coding, folded: Bytes) -> io::Result<Self> {
        let folded = Cursor::new(folded);
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzDecoder::new(folded)),
            Coding::Deflate => Self::Deflate(ZlibDecoder::new(folded)),
            Coding::Brotli => Self::Brotli(Box::new(BrotliDecoder::new(folded))),
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(folded)?.single_frame();
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(decoder)
            }
        })
    }

    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(chunk),
            Self::Deflate(decoder) => decoder.read(chunk),
            Self::Brotli(decoder) => decoder.read(chunk),
            Self::Zstd(decoder) => decoder.read(chunk),
        }
    }

    /// Whether bytes are left behind the stream that was read to its end.
    fn has_more_behind(&self) -> bool {
        let folded = match self {
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Deflate(decoder) => decoder.get_ref(),
            Self::Brotli(decoder) => &decoder.folded,
            Self::Zstd(decoder) => decoder.get_ref(),
        };
        folded.position() < u64::try_from(folded.get_ref().len()).unwrap_or(u64::MAX)
    }
}

/// The brotli crate's own reader reads past the end of a stream, and allows the window of a gigabyte
/// that RFC 7932 does not know. This one does neither.
struct BrotliDecoder {
    folded: Folded,
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
}

impl BrotliDecoder {
    fn new(folded: Folded) -> Self {
        let allocator = StandardAlloc::default;
        Self { folded, state: BrotliState::new_strict(allocator(), allocator(), allocator()) }
    }

    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let input = self.folded.get_ref();
        let mut taken = usize::try_from(self.folded.position()).map_err(io::Error::other)?;
        let (mut left, mut room) = (input.len() - taken, chunk.len());
        let (mut written, mut total) = (0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            input,
            &mut room,
            &mut written,
            chunk,
            &mut total,
            &mut self.state,
        );
        self.folded.set_position(taken as u64);
        match result {
            BrotliResult::ResultSuccess | BrotliResult::NeedsMoreOutput => Ok(written),
            BrotliResult::NeedsMoreInput => Err(io::ErrorKind::UnexpectedEof.into()),
            BrotliResult::ResultFailure => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
