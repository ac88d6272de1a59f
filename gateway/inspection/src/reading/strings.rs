//! Every string of a JSON body, keys included, and every long number; found fast and not parsed.
//!
//! `wire` has checked the body before. Here nothing relies on that: what is no JSON is walked all the same, and the walk says
//! that it went wrong.

use std::ops::Range;

/// Deepest nesting that is walked; `wire` refuses bodies beyond 127 levels.
pub(crate) const MAX_DEPTH: usize = 1024;

/// Fewest digits of a number that is looked at as text.
const LONG_NUMBER: usize = 8;

/// Fewest digits of a number that recognisers of one's own look at: what is shorter none of them matches.
const SHORT_NUMBER: usize = 3;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Key,
    Value,
    /// A number below the top level with at least eight digits.
    Number,
    /// One with fewer, where such are wanted.
    ShortNumber,
}

/// A string without its quotes, or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) role: Role,
    pub(crate) place: Range<usize>,
    /// How many containers are open around it.
    pub(crate) depth: usize,
    /// The name of the member of the top level that it belongs to; its own for a key of the top level.
    pub(crate) top: Range<usize>,
    /// The last name before it.
    pub(crate) key: Range<usize>,
    /// Counts up where an element of a list of the top level ends: parts of one message have the same number.
    pub(crate) message: u32,
}

/// The walk.
pub(crate) struct Strings<'a> {
    body: &'a [u8],
    at: usize,
    depth: usize,
    top: Range<usize>,
    key: Range<usize>,
    message: u32,
    /// Fewest digits of a number that is wanted.
    fewest: usize,
    /// The body ended within a string, or was nested too deeply: what comes behind was not read.
    pub(crate) is_broken: bool,
}

impl<'a> Strings<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0, depth: 0, top: 0..0, key: 0..0, message: 0, fewest: LONG_NUMBER, is_broken: false }
    }

    /// The walk that stops at short numbers as well, where `wants_short` says so.
    pub(crate) fn and_short_numbers(self, wants_short: bool) -> Self {
        Self { fewest: if wants_short { SHORT_NUMBER } else { LONG_NUMBER }, ..self }
    }

    fn token(&self, role: Role, place: Range<usize>) -> Token {
        let (top, key) = (self.top.clone(), self.key.clone());
        Token { role, place, depth: self.depth, top, key, message: self.message }
    }

    fn string(&mut self) -> Option<Token> {
        let start = self.at + 1;
        let Some(end) = closing_quote(self.body, start) else {
            self.is_broken = true;
            self.at = self.body.len();
            return Some(self.token(Role::Value, start..self.body.len())).filter(|token| !token.place.is_empty());
        };
        self.at = end + 1;
        let behind = self.body.get(self.at..).unwrap_or_default();
        let is_key = behind.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if !is_key {
            return Some(self.token(Role::Value, start..end));
        }
        self.key = start..end;
        if self.depth == 1 {
            self.top = start..end;
            self.message += 1;
        }
        Some(self.token(Role::Key, start..end))
    }

    fn comma(&mut self) {
        let is_one_message = || self.body.get(self.top.clone()) == Some(b"system");
        if self.depth == 2 && !is_one_message() {
            self.message += 1;
        }
    }
}

impl Iterator for Strings<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        while let Some(byte) = self.body.get(self.at) {
            match byte {
                b'"' => return self.string(),
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        self.is_broken = true;
                        return None;
                    }
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b',' => self.comma(),
                b'0'..=b'9' => {
                    let rest = self.body.get(self.at..).unwrap_or_default();
                    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let place = self.at..self.at + count;
                    self.at += count;
                    let is_whole = !matches!(rest.get(count), Some(b'.' | b'e' | b'E'));
                    if count >= self.fewest && self.depth > 1 && is_whole {
                        if count >= LONG_NUMBER {
                            return Some(self.token(Role::Number, place));
                        }
                        if begins_a_number(self.body, place.start) {
                            return Some(self.token(Role::ShortNumber, place));
                        }
                    }
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        None
    }
}

/// Whether the digits at `at` are not those of a fraction or an exponent.
fn begins_a_number(body: &[u8], at: usize) -> bool {
    !matches!(body.get(..at), Some([.., b'.' | b'e' | b'E' | b'+'] | [.., b'e' | b'E', b'-']))
}

/// The whole number of the JSON around the digits at `place`, with its sign, fraction and exponent.
pub(crate) fn whole_number(body: &[u8], place: &Range<usize>) -> Range<usize> {
    let belongs = |byte: &&u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let ahead = body.get(..place.start).unwrap_or_default().iter().rev().take_while(belongs).count();
    let behind = body.get(place.end..).unwrap_or_default().iter().take_while(belongs).count();
    place.start - ahead..place.end + behind
}

/// Where the string ends whose content begins at `start`.
pub(super) fn closing_quote(body: &[u8], start: usize) -> Option<usize> {
    let mut from = start;
    loop {
        let at = from + quote(body.get(from..)?)?;
        let slashes = body.get(start..at)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        if slashes.is_multiple_of(2) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Bytes within which a quote is looked for one by one: most strings of a body are names, and a search by vector instructions
/// takes longer to begin.
const NAME: usize = 16;

fn quote(bytes: &[u8]) -> Option<usize> {
    let (near, far) = bytes.split_at(bytes.len().min(NAME));
    let quote = near.iter().position(|byte| *byte == b'"');
    quote.or_else(|| Some(near.len() + memchr::memchr(b'"', far)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(body: &str) -> Vec<(Role, &str, u32)> {
        let tokens = Strings::new(body.as_bytes());
        tokens
            .map(|token| (token.role, body.get(token.place).expect("a token lies within the body"), token.message))
            .collect()
    }

    #[test]
    fn keys_values_and_long_numbers_are_told_apart() {
        let body = r#"{"a" : "x\\", "b":["y\"z", 12345678, 1234567, 12345678.5], "n": 123456789}"#;

        let expected = [
            (Role::Key, "a", 1),
            (Role::Value, r"x\\", 1),
            (Role::Key, "b", 2),
            (Role::Value, r#"y\"z"#, 2),
            (Role::Number, "12345678", 3),
            (Role::Key, "n", 6),
        ];
        assert_eq!(tokens(body), expected);
    }

    #[test]
    fn the_parts_of_one_message_have_one_number() {
        let body = r#"{"messages":[{"content":["a","b"]},{"content":"c"}],"system":[{"text":"d"},{"text":"e"}]}"#;

        let numbers: Vec<u32> =
            tokens(body).into_iter().filter(|(role, ..)| *role == Role::Value).map(|(.., message)| message).collect();

        assert_eq!(numbers, [1, 1, 2, 3, 3]);
    }

    #[test]
    fn what_is_no_json_is_walked_and_said_to_be_broken() {
        for body in ["{\"a\":\"open", &"[".repeat(2000)] {
            let mut walk = Strings::new(body.as_bytes());
            assert!(walk.by_ref().count() <= 2);
            assert!(walk.is_broken, "{body}");
        }
        assert_eq!(tokens("]]}} \"x\" ,,"), [(Role::Value, "x", 0)]);
    }
}
