//! Strings: found fast, unescaped only when somebody asks.

use std::borrow::Cow;

use super::survey::first_control;
use super::{JsonError, JsonFault};

/// Where a string lies, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text {
    // Two offsets of 32 bits: the keys of all open objects are held, and a hostile body can have millions. The larger
    // one stands first where the text has escapes, which no empty text has. One word and not three fields, because
    // fields that are written one by one and then read as a whole make the processor wait.
    offsets: u64,
}

impl Text {
    fn new(start: usize, end: usize, escaped: bool) -> Self {
        // INVARIANT: `Scanner::new` refuses what 32 bits cannot count.
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        let (first, second) = if escaped { (end, start) } else { (start, end) };
        Self { offsets: (u64::from(narrow(first)) << 32) | u64::from(narrow(second)) }
    }

    /// The two offsets in the order in which they are held.
    const fn held(self) -> (u32, u32) {
        ((self.offsets >> 32) as u32, self.offsets as u32)
    }

    fn is_escaped(self) -> bool {
        let (first, second) = self.held();
        first > second
    }

    /// Offset of the first byte behind the opening quote.
    pub(crate) fn start(self) -> usize {
        let (first, second) = self.held();
        first.min(second) as usize
    }

    /// Offset of the closing quote.
    pub(crate) fn end(self) -> usize {
        let (first, second) = self.held();
        first.max(second) as usize
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
        if self.is_escaped() || other.is_escaped() {
            return self.unescaped(bytes) == other.unescaped(bytes);
        }
        self.raw(bytes) == other.raw(bytes)
    }

    /// The text that is meant.
    pub(crate) fn unescaped(self, bytes: &[u8]) -> Cow<'_, str> {
        if self.is_escaped() {
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
        if self.is_escaped() {
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

/// Bytes of a string that are read word by word before it counts as long.
const SHORT: usize = 32;

/// Bytes of a long string that are judged at once.
const BLOCK: usize = 64;

/// Finds the end of the string whose content begins at `start`.
///
/// Raw control characters are looked for only with `CONTROL`: most bodies have none at all.
///
/// Three gaits, because each is slow where another is fast: word by word in short strings, by blocks in prose with its
/// escaped quotes and line breaks, and with the processor's widest search through what has no escape for long.
pub(super) fn scan<const CONTROL: bool>(bytes: &[u8], start: usize) -> Result<Text, JsonError> {
    let mut at = start;
    let mut escaped = false;
    let mut patience = 4;
    // The offset up to which the string is read word by word.
    let mut watched = start + SHORT;
    loop {
        at = special::<CONTROL>(bytes, at, watched);
        match bytes.get(at) {
            Some(b'"') => return Ok(Text::new(start, at, escaped)),
            Some(b'\\') => {
                escaped = true;
                // Text in `\u` escapes has one after the other.
                while bytes.get(at) == Some(&b'\\') {
                    at = escape(bytes, at)?;
                }
            }
            Some(&byte) if CONTROL && byte < 0x20 => return Err(JsonError { at, fault: JsonFault::Control }),
            Some(_) => {}
            None => return Err(JsonError { at: bytes.len(), fault: JsonFault::EndsEarly }),
        }
        if at >= watched {
            if escaped {
                at = harmless::<CONTROL>(bytes, at, &mut patience);
            } else {
                at += leap::<CONTROL>(bytes, at);
            }
            watched = at + BLOCK;
        }
    }
}

/// Offset of the first quote, backslash or control character at or after `at`, or of some byte from `until` on where none
/// comes before it.
fn special<const CONTROL: bool>(bytes: &[u8], mut at: usize, until: usize) -> usize {
    while at < until {
        let Some(pair) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) else {
            let rest = bytes.get(at..).unwrap_or_default();
            let found = rest.iter().position(|&byte| is_special::<CONTROL>(byte));
            return at + found.unwrap_or(rest.len());
        };
        // Two words at once: whether a key is shorter than eight letters would be one more branch to guess.
        let pair = u128::from_le_bytes(*pair);
        let first = special_mask::<CONTROL>(pair as u64);
        let second = special_mask::<CONTROL>((pair >> 64) as u64);
        if first | second != 0 {
            let mask = (u128::from(second) << 64) | u128::from(first);
            return at + (mask.trailing_zeros() / 8) as usize;
        }
        at += 16;
    }
    at
}

const fn is_special<const CONTROL: bool>(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\') || (CONTROL && byte < 0x20)
}

/// A word whose lowest set bit lies in the first special byte of `word`.
///
/// The usual zero-byte test; a borrow can mark bytes above a true one, never below it, and only the lowest counts.
const fn special_mask<const CONTROL: bool>(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = if CONTROL { word.wrapping_sub(ONES * 0x20) & !word } else { 0 };
    (quote | backslash | control) & HIGHS
}

/// Bytes from `at` up to the next quote, backslash or control character, or to the end.
fn leap<const CONTROL: bool>(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let far = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    if CONTROL { first_control(rest.get(..far).unwrap_or_default()).unwrap_or(far) } else { far }
}

/// Passes blocks that hold nothing but text and the commonest escapes, and stops before any other block.
///
/// Whether an escape is in a block or not changes no branch here: guessing that wrong would cost more than the look.
fn harmless<const CONTROL: bool>(bytes: &[u8], mut at: usize, patience: &mut usize) -> usize {
    // INVARIANT: a backslash right before `at` escapes what is at `at`. It holds from here on, because a block with two
    // backslashes in a row is not harmless.
    if is_behind_backslash(bytes, at) {
        return at;
    }
    let mut blocks = 0;
    while let Some(window) = at.checked_sub(1).and_then(|before| bytes.get(before..)?.first_chunk())
        && is_harmless::<CONTROL>(window)
    {
        at += BLOCK;
        blocks += 1;
        if blocks == *patience && !is_behind_backslash(bytes, at) {
            let far = leap::<CONTROL>(bytes, at);
            at += far;
            // Where escapes are close together, the question is asked ever less often.
            *patience = if far < 4 * BLOCK { *patience * 2 } else { 4 };
            blocks = 0;
        }
    }
    if is_behind_backslash(bytes, at) { at - 1 } else { at }
}

fn is_behind_backslash(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'\\')
}

/// Whether a block, shown with the byte before it, neither ends the string nor holds an escape that needs a look.
fn is_harmless<const CONTROL: bool>(window: &[u8; BLOCK + 1]) -> bool {
    let mut harm = false;
    // An inclusive range would not become vector instructions.
    for at in 0..BLOCK {
        let (before, byte) = (window[at], window[at + 1]);
        let is_escaped = before == b'\\';
        let is_quote = byte == b'"';
        let is_common = is_quote | (byte == b'n') | (byte == b't') | (byte == b'r');
        harm |= (is_quote & !is_escaped) | (is_escaped & !is_common) | (CONTROL & (byte < 0x20));
    }
    !harm
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
    let [first, second, third, fourth] = bytes.get(at..)?.first_chunk::<4>()?.map(|byte| HEX[usize::from(byte)]);
    let is_hex = (first | second | third | fourth) != NO_HEX;
    is_hex.then(|| u32::from_be_bytes([0, 0, (first << 4) | second, (third << 4) | fourth]))
}

/// What `HEX` says of a byte that is no hexadecimal digit; joined with any other it stays what it is.
const NO_HEX: u8 = 0xFF;

/// The value of every hexadecimal digit.
const HEX: [u8; 256] = {
    let mut values = [NO_HEX; 256];
    let digits = b"0123456789abcdefABCDEF";
    let mut at = 0;
    while at < digits.len() {
        values[digits[at] as usize] = if at < 16 { at as u8 } else { at as u8 - 6 };
        at += 1;
    }
    values
};

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

    /// The end of the string, found one byte at a time.
    fn plainly<const CONTROL: bool>(bytes: &[u8], start: usize) -> Result<Text, JsonError> {
        let mut at = start;
        let mut escaped = false;
        loop {
            match bytes.get(at) {
                Some(b'"') => return Ok(Text::new(start, at, escaped)),
                Some(b'\\') => {
                    escaped = true;
                    at = escape(bytes, at)?;
                }
                Some(&byte) if CONTROL && byte < 0x20 => return Err(JsonError { at, fault: JsonFault::Control }),
                Some(_) => at += 1,
                None => return Err(JsonError { at: bytes.len(), fault: JsonFault::EndsEarly }),
            }
        }
    }

    #[test]
    fn a_string_ends_at_the_same_place_in_every_gait() {
        let pieces: [&[u8]; 20] = [
            b"\n",
            b"\x1f",
            b"\\\x01",
            b"\"",
            b"\\",
            b"\\\"",
            b"\\\\",
            b"\\\\\"",
            b"\\\\\\\"",
            b"\\\\n",
            b"\\n",
            b"\\t\\r\\n",
            b"\\/",
            b"\\x",
            b"\\u00e9",
            b"\\u00\"",
            b"\\ud83d\\ude00",
            b"\\ud83d\"",
            b"\xc3\xa9",
            b"n",
        ];
        let fillings: [&[u8]; 5] = [b"a", b"say \\\"hello\\\" to all\\n", b"\\u00e9", b"\\\\", b"\\n"];
        for filling in fillings {
            let filling = filling.repeat(420 / filling.len());
            for at in 0..filling.len() {
                for piece in pieces {
                    let (before, behind) = filling.split_at(at);
                    let body = [b"\"", before, piece, behind, b"\""].concat();
                    let open = body.get(..1 + at + piece.len()).unwrap_or_default();
                    for text in [&body, open] {
                        let shown = String::from_utf8_lossy(text);
                        assert_eq!(scan::<false>(text, 1), plainly::<false>(text, 1), "{shown}");
                        assert_eq!(scan::<true>(text, 1), plainly::<true>(text, 1), "{shown}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_byte_is_judged_alike_by_word_and_alone() {
        for byte in 0..=u8::MAX {
            let word = u64::from_le_bytes([b'a', b'b', byte, b'd', 0xFF, 0x80, b'g', b'h']);
            assert_eq!(special_mask::<false>(word) != 0, is_special::<false>(byte), "{byte}");
            assert_eq!(special_mask::<true>(word) != 0, is_special::<true>(byte), "{byte}");
        }
    }

    #[test]
    fn escapes_mean_what_json_says() {
        let body = br#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#;

        let text = scan::<true>(body, 1).expect("the string is well formed");

        assert_eq!(text.unescaped(body), "a\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1F600}z");
        assert_eq!(text.end(), body.len() - 1);
    }

    #[test]
    fn a_text_is_unescaped_one_by_one_as_it_is_as_a_whole() {
        let body = "\"a\\u0068\u{e9}\\ud83d\\ude00\\n\\\\z\"".as_bytes();
        let text = scan::<true>(body, 1).expect("the string is well formed");

        let one_by_one: Vec<u8> = text.meant(body).collect();

        assert_eq!(one_by_one, "ah\u{e9}\u{1F600}\n\\z".as_bytes());
        assert_eq!(one_by_one, text.unescaped(body).as_bytes());
    }
}
