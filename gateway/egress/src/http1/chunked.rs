//! The chunked coding of a reply's body (RFC 9112 section 7.1), taken apart where it lies.
//!
//! Lines end with CRLF and nothing else. Extensions are skipped and trailers are dropped; both are bounded.

use bytes::{Buf as _, Bytes, BytesMut};

use super::Fault;

/// Longest line that names a chunk's size, its extensions included, in bytes.
const MOST_LINE: usize = 4096;

/// Longest trailer section, in bytes.
const MOST_TRAILERS: usize = 16 << 10;

/// Where in the coding the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    /// Before a line with a size.
    Size,
    /// Within a chunk, with so many bytes to come.
    Data(u64),
    /// Before the line end behind a chunk.
    Behind,
    /// Within the trailers, after so many bytes of them.
    Trailers(usize),
    /// After the end.
    Over,
}

impl Chunked {
    /// The next bytes of the body, where `input` holds some. What stands between the chunks is taken out as far as it has come,
    /// so that an end that came with the last bytes is known with them.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
        self.advance(input)?;
        let Self::Data(left) = self else { return Ok(None) };
        if input.is_empty() {
            return Ok(None);
        }
        let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
        *left -= here as u64;
        let data = input.split_to(here).freeze();
        if *left == 0 {
            *self = Self::Behind;
            self.advance(input)?;
        }
        Ok(Some(data))
    }

    /// Takes out whatever is no data and has come whole.
    fn advance(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        loop {
            *self = match *self {
                Self::Data(_) | Self::Over => return Ok(()),
                Self::Size => match line(input, MOST_LINE)? {
                    None => return Ok(()),
                    Some(length) => {
                        let size = size(&input[..length])?;
                        input.advance(length + 2);
                        if size == 0 { Self::Trailers(0) } else { Self::Data(size) }
                    }
                },
                Self::Behind => match input.get(..2) {
                    None => return Ok(()),
                    Some(b"\r\n") => {
                        input.advance(2);
                        Self::Size
                    }
                    Some(_) => return Err(Fault::Chunk("a chunk is longer than its size")),
                },
                Self::Trailers(seen) => match line(input, MOST_TRAILERS.saturating_sub(seen))? {
                    None => return Ok(()),
                    Some(length) => {
                        input.advance(length + 2);
                        if length == 0 { Self::Over } else { Self::Trailers(seen + length + 2) }
                    }
                },
            }
        }
    }
}

/// The data of a chunk, where `read` is that chunk and nothing else.
pub(super) fn lone(read: &[u8]) -> Option<&[u8]> {
    let (line, behind) = read.split_at(memchr::memchr(b'\n', read)?);
    let size = size(line.strip_suffix(b"\r")?).ok()?;
    let data = behind.get(1..)?.strip_suffix(b"\r\n")?;
    (line.len() <= MOST_LINE && data.len() as u64 == size).then_some(data)
}

/// The length of the line that `input` begins with, without its end; `None` until it has come whole.
fn line(input: &BytesMut, most: usize) -> Result<Option<usize>, Fault> {
    match memchr::memchr(b'\n', input) {
        Some(end) if end > most => Err(Fault::Chunk("a line is too long")),
        Some(end) if end > 0 && input[end - 1] == b'\r' => Ok(Some(end - 1)),
        Some(_) => Err(Fault::Chunk("a line does not end with CRLF")),
        None if input.len() > most => Err(Fault::Chunk("a line is too long")),
        None => Ok(None),
    }
}

/// The size that a line names: hexadecimal digits, and whatever stands behind them in an extension.
fn size(line: &[u8]) -> Result<u64, Fault> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let behind = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    // A server before this one may end a line at a CR alone, and would read another coding.
    let is_extension = matches!(behind, None | Some(b';')) && !rest.contains(&b'\r');
    if digits.is_empty() || digits.len() > 16 || !is_extension {
        return Err(Fault::Chunk("a size is no hexadecimal number of 64 bits"));
    }
    let value = |digit: &u8| u64::from(char::from(*digit).to_digit(16).unwrap_or_default());
    Ok(digits.iter().fold(0, |size, digit| size << 4 | value(digit)))
}
