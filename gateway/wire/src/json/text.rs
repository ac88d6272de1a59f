//! Strings: found fast, unescaped only when somebody asks.

use std::borrow::Cow;

use super::{JsonError, JsonFault};

/// Where a string lies, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text {
    // 32 bits each: the keys of all open objects are held, and a hostile body can have millions.
    start: u32,
    end: u32,
    escaped: bool,
}

impl Text {
    fn new(start: usize, end: usize, escaped: bool) -> Self {
        // INVARIANT: `Scanner::new` refuses what 32 bits cannot count.
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end), escaped }
    }

    /// Offset of the first byte behind the opening quote.
    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    /// Offset of the closing quote.
    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    /// Length as written, in bytes.
    pub(crate) fn len(self) -> usize {
        self.end() - self.start()
    }

    /// The bytes as written, escapes and all.
    pub(crate) fn raw(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start()..self.end()).unwrap_or_default()
    }

    /// Whether two strings of one document mean the same text.
    pub(crate) fn means_same(self, other: Self, bytes: &[u8]) -> bool {
        if self.escaped || other.escaped {
            return self.unescaped(bytes) == other.unescaped(bytes);
        }
        self.raw(bytes) == other.raw(bytes)
    }

    /// The text that is meant.
    pub(crate) fn unescaped(self, bytes: &[u8]) -> Cow<'_, str> {
        if self.escaped {
            return Cow::Owned(unescape(self.raw(bytes)));
        }
        match std::str::from_utf8(self.raw(bytes)) {
            Ok(text) => Cow::Borrowed(text),
            // The scanner has checked the whole body, so this arm is never taken; a lossy text is harmless in it.
            Err(_) => String::from_utf8_lossy(self.raw(bytes)).into_owned().into(),
        }
    }

    /// The bytes that are meant.
    pub(crate) fn unescaped_bytes(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        if self.escaped {
            return Cow::Owned(unescape(self.raw(bytes)).into_bytes());
        }
        Cow::Borrowed(self.raw(bytes))
    }

    /// The bytes that are meant, unescaped one by one, for a look at the beginning of a long text.
    pub(crate) fn meant(self, bytes: &[u8]) -> impl Iterator<Item = u8> {
        let mut rest = self.raw(bytes);
        let mut pending = [0; 4].into_iter().take(0);
        std::iter::from_fn(move || {
            if let Some(byte) = pending.next() {
                return Some(byte);
            }
            let (&first, behind) = rest.split_first()?;
            if first != b'\\' {
                rest = behind;
                return Some(first);
            }
            let (meant, length) = one_escape(rest);
            rest = rest.get(length..).unwrap_or_default();
            let mut buffer = [0; 4];
            let width = meant.encode_utf8(&mut buffer).len();
            pending = buffer.into_iter().take(width);
            pending.next()
        })
    }
}

/// Finds the end of the string whose content begins at `start`.
pub(super) fn scan(bytes: &[u8], start: usize) -> Result<Text, JsonError> {
    let mut at = start;
    let mut escaped = false;
    loop {
        at = special(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(Text::new(start, at, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = escape(bytes, at)?;
            }
            Some(_) => return Err(JsonError { at, fault: JsonFault::Control }),
            None => return Err(JsonError { at: bytes.len(), fault: JsonFault::EndsEarly }),
        }
    }
}

/// Offset of the first quote, backslash or control character at or after `at`; the length where there is none.
///
/// Eight bytes at a time, and 32 at a time once a string has shown itself long: the fold over a fixed block becomes
/// vector instructions, without a line of `unsafe`.
fn special(bytes: &[u8], mut at: usize) -> usize {
    let mut plain_words = 0_u32;
    loop {
        if plain_words >= 4 {
            while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<32>()) {
                if has_special(block) {
                    break;
                }
                at += 32;
            }
        }
        let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            let rest = bytes.get(at..).unwrap_or_default();
            let found = rest.iter().position(|&byte| is_special(byte));
            return at + found.unwrap_or(rest.len());
        };
        let mask = special_mask(u64::from_le_bytes(*word));
        if mask != 0 {
            return at + (mask.trailing_zeros() / 8) as usize;
        }
        at += 8;
        plain_words += 1;
    }
}

const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn has_special(block: &[u8; 32]) -> bool {
    block.iter().fold(false, |found, &byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

/// A word whose lowest set bit lies in the first special byte of `word`.
///
/// The usual zero-byte test; a borrow can mark bytes above a true one, never below it, and only the lowest counts.
const fn special_mask(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}

/// Checks the escape at `at` and returns the offset behind it; surrogates must come in pairs.
fn escape(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let wrong = |fault| Err(JsonError { at, fault });
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(bytes, at + 2) {
            Some(0xDC00..=0xDFFF) | None => wrong(JsonFault::Escape),
            Some(0xD800..=0xDBFF) => {
                let second = bytes.get(at + 6..at + 8) == Some(b"\\u");
                match hex4(bytes, at + 8) {
                    Some(0xDC00..=0xDFFF) if second => Ok(at + 12),
                    _ => wrong(JsonFault::Escape),
                }
            }
            Some(_) => Ok(at + 6),
        },
        Some(_) => wrong(JsonFault::Escape),
        None => Err(JsonError { at: bytes.len(), fault: JsonFault::EndsEarly }),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |value, &byte| {
        let digit = char::from(byte).to_digit(16)?;
        Some(value * 16 + digit)
    })
}

/// Undoes the escapes of a string that `scan` has accepted.
fn unescape(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        let (meant, length) = one_escape(from);
        let mut buffer = [0; 4];
        out.extend_from_slice(meant.encode_utf8(&mut buffer).as_bytes());
        rest = from.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The character that the escape at the front of `from` means, and the escape's length.
fn one_escape(from: &[u8]) -> (char, usize) {
    match from.get(1) {
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'u') => {
            let first = hex4(from, 2).unwrap_or(0xFFFD);
            if !(0xD800..=0xDBFF).contains(&first) {
                return (char::from_u32(first).unwrap_or('\u{FFFD}'), 6);
            }
            let second = hex4(from, 8).unwrap_or(0xDC00);
            let joined = 0x1_0000 + ((first - 0xD800) << 10) + (second.wrapping_sub(0xDC00) & 0x3FF);
            (char::from_u32(joined).unwrap_or('\u{FFFD}'), 12)
        }
        Some(&byte) => (char::from(byte), 2),
        None => ('\\', 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_lies() {
        for length in 0..80 {
            for at in 0..length {
                for byte in [b'"', b'\\', 0x00, 0x1f, b'\n'] {
                    let mut bytes = vec![0xC3_u8; length];
                    bytes[at] = byte;
                    assert_eq!(special(&bytes, 0), at, "{byte} at {at} of {length}");
                }
            }
            assert_eq!(special(&vec![b'!'; length], 0), length);
        }
    }

    #[test]
    fn every_byte_is_judged_alike_by_word_and_alone() {
        for byte in 0..=u8::MAX {
            let word = u64::from_le_bytes([b'a', b'b', byte, b'd', 0xFF, 0x80, b'g', b'h']);
            let alone = is_special(byte);
            assert_eq!(special_mask(word) != 0, alone, "{byte}");
            let mut block = [b'a'; 32];
            block[17] = byte;
            assert_eq!(has_special(&block), alone, "{byte}");
        }
    }

    #[test]
    fn escapes_mean_what_json_says() {
        let body = br#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#;

        let text = scan(body, 1).expect("the string is well formed");

        assert_eq!(text.unescaped(body), "a\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1F600}z");
        assert_eq!(text.end(), body.len() - 1);
    }

    #[test]
    fn a_text_is_unescaped_one_by_one_as_it_is_as_a_whole() {
        let body = "\"a\\u0068\u{e9}\\ud83d\\ude00\\n\\\\z\"".as_bytes();
        let text = scan(body, 1).expect("the string is well formed");

        let one_by_one: Vec<u8> = text.meant(body).collect();

        assert_eq!(one_by_one, "ah\u{e9}\u{1F600}\n\\z".as_bytes());
        assert_eq!(one_by_one, text.unescaped(body).as_bytes());
    }
}
