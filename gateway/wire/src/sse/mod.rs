//! Server-sent events, framed on raw bytes.
//!
//! The framer finds where one event ends and the next begins, and hands out exactly the bytes that came. It decodes
//! nothing, so a character split between two chunks is no matter. Lines end with CR, LF or CRLF, mixed at will. A frame
//! that lies within one chunk is a slice of that chunk; only one that spans chunks is copied together.

mod frame;

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

pub use frame::Frame;

/// Largest frame accepted where nothing else is said, in bytes: 16 MiB.
///
/// A Responses stream ends with the whole response in one event, images included.
pub const DEFAULT_MAX_FRAME: usize = 16 * 1024 * 1024;

/// The byte order mark that may open a stream.
const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// A stream that cannot be framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event is larger than the bound.
    #[error("the upstream sent an event of more than {limit} bytes")]
    FrameTooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
}

/// Cuts a byte stream into [`Frame`]s.
///
/// ```
/// use bytes::Bytes;
/// use wire::SseFramer;
///
/// let mut framer = SseFramer::new();
/// framer.push(Bytes::from_static(b"data: one\n\nda"));
/// let frame = framer.next_frame()?.expect("one event is whole");
/// assert_eq!(&frame.data()[..], b"one");
/// assert!(framer.next_frame()?.is_none());
/// # Ok::<(), wire::SseError>(())
/// ```
#[derive(Debug)]
pub struct SseFramer {
    max_frame: usize,
    /// What came before `input` of the frame that is being read.
    head: BytesMut,
    input: Bytes,
    /// Bytes of `input` that were looked at and belong to the frame being read.
    scanned: usize,
    waiting: VecDeque<Bytes>,
    /// Bytes of the byte order mark met so far; 3 when that question is settled.
    bom: usize,
    line_is_blank: bool,
    after_cr: bool,
    /// Lines of the frame being read that ended and are not blank.
    lines: usize,
    is_first: bool,
}

impl Default for SseFramer {
    fn default() -> Self {
        Self::new()
    }
}

impl SseFramer {
    /// A framer with the default bound.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_frame(DEFAULT_MAX_FRAME)
    }

    /// A framer that refuses frames of more than `max_frame` bytes.
    #[must_use]
    pub fn with_max_frame(max_frame: usize) -> Self {
        Self {
            max_frame,
            head: BytesMut::new(),
            input: Bytes::new(),
            scanned: 0,
            waiting: VecDeque::new(),
            bom: 0,
            line_is_blank: true,
            after_cr: false,
            lines: 0,
            is_first: true,
        }
    }

    /// Adds the next chunk. Take all frames out before the next one, or chunks pile up.
    pub fn push(&mut self, chunk: Bytes) {
        if self.input.is_empty() {
            self.input = chunk;
        } else {
            self.waiting.push_back(chunk);
        }
    }

    /// The next whole frame, or `None` until more bytes come.
    ///
    /// # Errors
    ///
    /// When a frame grows beyond the bound; the stream is then lost, and every later call says the same.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, SseError> {
        loop {
            // Everything was handed out, as after nearly every frame of a stream that comes a token at a time.
            if self.input.is_empty() && self.waiting.is_empty() {
                return Ok(None);
            }
            if let Some(end) = self.scan() {
                let raw = self.take(end)?;
                return Ok(Some(self.frame(raw, true)));
            }
            self.check_bound(self.head.len() + self.input.len())?;
            self.head.extend_from_slice(&self.input);
            self.scanned = 0;
            match self.waiting.pop_front() {
                Some(chunk) => self.input = chunk,
                None => {
                    self.input = Bytes::new();
                    return Ok(None);
                }
            }
        }
    }

    /// What is left when the stream has ended: an event that was not ended by a blank line, or blank lines.
    pub fn finish(&mut self) -> Option<Frame> {
        self.head.extend_from_slice(&self.input);
        for chunk in std::mem::take(&mut self.waiting) {
            self.head.extend_from_slice(&chunk);
        }
        self.input = Bytes::new();
        self.scanned = 0;
        let raw = self.head.split().freeze();
        (!raw.is_empty()).then(|| self.frame(raw, false))
    }

    fn frame(&mut self, raw: Bytes, terminated: bool) -> Frame {
        let first = std::mem::replace(&mut self.is_first, false);
        let bom = first && raw.starts_with(&BOM);
        Frame::new(raw, terminated, bom, std::mem::take(&mut self.lines))
    }

    /// Looks on in `input` and returns where the frame ends in it. Without an end, all of `input` was looked at.
    fn scan(&mut self) -> Option<usize> {
        loop {
            let first = *self.input.get(self.scanned)?;
            // The LF of a CRLF that was split, or that ended the frame before: in both cases no line of its own.
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                self.scanned += 1;
                continue;
            }
            if self.bom < BOM.len() && self.skip_bom(first) {
                continue;
            }
            let rest = self.input.get(self.scanned..)?;
            let is_empty = matches!(first, b'\n' | b'\r');
            let Some(length) = (if is_empty { Some(0) } else { memchr::memchr2(b'\n', b'\r', rest) }) else {
                self.line_is_blank = false;
                self.scanned = self.input.len();
                return None;
            };
            let is_cr = rest.get(length) == Some(&b'\r');
            let next = rest.get(length + 1);
            self.scanned += length + 1;
            if is_cr && next == Some(&b'\n') {
                self.scanned += 1;
            }
            // The frame is not held back for an LF that may never come; should it come, it opens the next.
            self.after_cr = is_cr && next.is_none();
            let blank = self.line_is_blank && length == 0;
            self.line_is_blank = true;
            if !blank {
                self.lines += 1;
            } else if self.lines > 0 {
                return Some(self.scanned);
            }
        }
    }

    /// Steps over one byte of the mark at the very start; a mark that breaks off was content.
    fn skip_bom(&mut self, byte: u8) -> bool {
        if BOM.get(self.bom) == Some(&byte) {
            self.bom += 1;
            self.scanned += 1;
            return true;
        }
        if self.bom > 0 {
            self.line_is_blank = false;
        }
        self.bom = BOM.len();
        false
    }

    fn take(&mut self, end: usize) -> Result<Bytes, SseError> {
        self.check_bound(self.head.len() + end)?;
        self.scanned = 0;
        if self.head.is_empty() {
            return Ok(self.input.split_to(end));
        }
        self.head.extend_from_slice(self.input.get(..end).unwrap_or_default());
        self.input.advance(end);
        Ok(self.head.split().freeze())
    }

    fn check_bound(&self, length: usize) -> Result<(), SseError> {
        if length > self.max_frame {
            return Err(SseError::FrameTooLarge { limit: self.max_frame });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
