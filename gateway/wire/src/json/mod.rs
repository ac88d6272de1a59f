//! A strict JSON scanner that finds things and builds nothing.
//!
//! It accepts what `serde_json` accepts as a `Value` (nesting at most 127 levels deep, numbers within the range of
//! `f64`, surrogates paired), with one difference on purpose: a key that comes twice in one object is an error at every
//! depth, with escaped keys compared unescaped. Two parsers may take a different one of the two, and what one of them
//! judged would then not be what the other one runs.
//!
//! Further stated bounds: a document of at most 4 GiB, and at most 262 144 members in one object.

mod keys;
mod number;
mod survey;
pub(crate) mod text;

pub(crate) use keys::ObjectKeys;
pub(crate) use text::Text;

use keys::Keys;
use survey::Survey;

/// Deepest nesting of arrays and objects; the same bound as `serde_json`.
pub const MAX_DEPTH: usize = 127;

/// Largest number of members in one object.
pub const MAX_MEMBERS: usize = 262_144;

/// Why a body is not acceptable JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (at byte {at} of the body)")]
pub struct JsonError {
    /// Offset of the byte that is wrong, from 0.
    pub at: usize,
    /// What is wrong there.
    pub fault: JsonFault,
}

/// The ways in which a body can fail to be acceptable JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The document is longer than the scanner counts.
    #[error("the body is larger than 4 GiB; send less")]
    TooLarge,
    /// A byte sequence that is no UTF-8.
    #[error("the body is not UTF-8; encode it as UTF-8")]
    NotUtf8,
    /// The text ended within a value.
    #[error("the JSON ends too early; send the whole body")]
    EndsEarly,
    /// Something other than a value stood where a value must be.
    #[error("a JSON value was expected; check for a missing value or a trailing comma")]
    NoValue,
    /// An object's key is not a string.
    #[error("a key in double quotes was expected; check for a trailing comma or an unquoted key")]
    NoKey,
    /// No `:` between a key and its value.
    #[error("`:` was expected after a key")]
    NoColon,
    /// Neither `,` nor the closing bracket followed a value.
    #[error("`,` or the closing bracket was expected after a value")]
    NoComma,
    /// More text after the document.
    #[error("something follows the end of the JSON; send one document only")]
    Trailing,
    /// A control character stands unescaped in a string.
    #[error("a string holds a raw control character; escape it, for example a line break as \\n")]
    Control,
    /// An escape that JSON does not have, or half of a surrogate pair.
    #[error("a string holds an escape that JSON does not have, or half of a surrogate pair")]
    Escape,
    /// A number in a form that JSON does not have.
    #[error("a number is not written as JSON writes numbers")]
    Number,
    /// A number too large for a double.
    #[error("a number is out of range")]
    Range,
    /// A key came twice in one object.
    #[error("a key comes twice in one object; keep one of them")]
    Duplicate,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the JSON is nested deeper than 127 levels")]
    TooDeep,
    /// More members in one object than [`MAX_MEMBERS`].
    #[error("an object has more than 262144 members")]
    TooWide,
}

/// Checks that `body` is one acceptable JSON document.
///
/// # Errors
///
/// The first fault met, with its byte offset.
pub fn check(body: &[u8]) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(body)?;
    scanner.skip_value()?;
    scanner.end()
}

/// A value that is not an array, an object or a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    Null,
    True,
    False,
    Number,
}

/// A place in a JSON text, and the means to move on from it.
///
/// INVARIANT: `bytes` is UTF-8 (checked once in `new`), so that every string found in it is text.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    pos: usize,
    depth: usize,
    /// Strings have to be searched for raw control characters.
    has_control: bool,
    keys: Keys,
    /// Bytes of string values met while skipping; `data:` URLs are not counted.
    pub(crate) text_bytes: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(JsonError { at: 0, fault: JsonFault::TooLarge });
        }
        match survey::survey(bytes) {
            Ok(Survey { has_control }) => {
                Ok(Self { bytes, pos: 0, depth: 0, has_control, keys: Keys::new(), text_bytes: 0 })
            }
            Err(at) => Err(JsonError { at, fault: JsonFault::NotUtf8 }),
        }
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn position(&self) -> usize {
        self.pos
    }

    /// The next byte that is not white space, which is not consumed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.pos)?;
        if byte > b' ' { Some(byte) } else { self.peek_behind_space() }
    }

    /// Eight spaces at a time: a body that was written for people is a third indentation.
    fn peek_behind_space(&mut self) -> Option<u8> {
        loop {
            while self.bytes.get(self.pos..).is_some_and(|rest| rest.starts_with(b"        ")) {
                self.pos += 8;
            }
            let byte = *self.bytes.get(self.pos)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.pos += 1;
        }
    }

    /// Fails unless only white space is left.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault(JsonFault::Trailing)),
        }
    }

    /// Reads a string; the opening quote has been peeked.
    pub(crate) fn string(&mut self) -> Result<Text, JsonError> {
        let start = self.pos + 1;
        let text = match self.has_control {
            false => text::scan::<false>(self.bytes, start)?,
            true => text::scan::<true>(self.bytes, start)?,
        };
        self.pos = text.end() + 1;
        Ok(text)
    }

    /// Reads null, true, false or a number.
    pub(crate) fn plain(&mut self) -> Result<Plain, JsonError> {
        match self.peek() {
            Some(b'n') => self.word(b"null", Plain::Null),
            Some(b't') => self.word(b"true", Plain::True),
            Some(b'f') => self.word(b"false", Plain::False),
            Some(b'-' | b'0'..=b'9') => {
                self.pos = number::scan(self.bytes, self.pos)?;
                Ok(Plain::Number)
            }
            Some(_) => Err(self.fault(JsonFault::NoValue)),
            None => Err(self.fault(JsonFault::EndsEarly)),
        }
    }

    fn word(&mut self, word: &[u8], plain: Plain) -> Result<Plain, JsonError> {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        if rest.starts_with(word) {
            self.pos += word.len();
            return Ok(plain);
        }
        let fault = if word.starts_with(rest) { JsonFault::EndsEarly } else { JsonFault::NoValue };
        Err(self.fault(fault))
    }

    /// Enters an object or an array; its opening bracket has been peeked.
    pub(crate) fn enter(&mut self) -> Result<(), JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(JsonFault::TooDeep));
        }
        self.depth += 1;
        self.pos += 1;
        Ok(())
    }

    /// Begins to watch the keys of an object that was entered.
    pub(crate) fn object_keys(&self) -> ObjectKeys {
        self.keys.open()
    }

    /// The next key of the object, or `None` once it is closed. What follows is the member's value.
    pub(crate) fn key(&mut self, object: &mut ObjectKeys) -> Result<Option<Text>, JsonError> {
        let first = object.is_empty();
        if self.closes(b'}', first)? {
            self.keys.close(self.bytes, object)?;
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.early_or(JsonFault::NoKey));
        }
        let key = self.string()?;
        self.keys.add(self.bytes, object, key)?;
        if self.peek() != Some(b':') {
            return Err(self.early_or(JsonFault::NoColon));
        }
        self.pos += 1;
        Ok(Some(key))
    }

    /// Whether the array goes on; `first` says that no element was read yet.
    pub(crate) fn element(&mut self, first: bool) -> Result<bool, JsonError> {
        Ok(!self.closes(b']', first)?)
    }

    /// Consumes the closing bracket, or the comma that must stand before everything but the first.
    fn closes(&mut self, bracket: u8, first: bool) -> Result<bool, JsonError> {
        match self.peek() {
            Some(byte) if byte == bracket => {
                self.pos += 1;
                self.depth -= 1;
                Ok(true)
            }
            Some(b',') if !first => {
                self.pos += 1;
                Ok(false)
            }
            Some(_) if first => Ok(false),
            _ => Err(self.early_or(JsonFault::NoComma)),
        }
    }

    /// Skips one value of any kind, checking all of it.
    pub(crate) fn skip_value(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                self.count(text);
                Ok(())
            }
            Some(b'{') => {
                self.enter()?;
                let mut object = self.object_keys();
                while self.key(&mut object)?.is_some() {
                    self.skip_value()?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.enter()?;
                let mut first = true;
                while self.element(first)? {
                    first = false;
                    self.skip_value()?;
                }
                Ok(())
            }
            _ => self.plain().map(drop),
        }
    }

    /// Adds a string value to the size of the text, unless it is a `data:` URL.
    pub(crate) fn count(&mut self, text: Text) {
        if !text.raw(self.bytes).starts_with(b"data:") {
            self.text_bytes += text.len();
        }
    }

    pub(crate) fn fault(&self, fault: JsonFault) -> JsonError {
        JsonError { at: self.pos, fault }
    }

    fn early_or(&self, fault: JsonFault) -> JsonError {
        let ended = self.pos >= self.bytes.len();
        self.fault(if ended { JsonFault::EndsEarly } else { fault })
    }
}

#[cfg(test)]
mod tests;
