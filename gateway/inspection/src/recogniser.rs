//! What a recogniser is made of: everything that one file below `recognisers/` states.

use std::ops::Range;

use crate::kind::TextKind;

/// How one kind of text is recognised.
///
/// A finding needs the pattern, the check (a checksum, a date, a list of countries), and where it says so a word nearby
/// that names what the number is.
pub(crate) struct Recogniser {
    pub(crate) kind: TextKind,
    /// What it finds, for the reference page.
    pub(crate) what: &'static str,
    /// Where the format is described.
    pub(crate) source: &'static str,
    /// The shape, as a regular expression over bytes without Unicode classes and with bounded repeats only.
    ///
    /// INVARIANT: a match is at most [`LONGEST`] bytes long, and holds what `trigger` says.
    pub(crate) pattern: &'static str,
    pub(crate) trigger: Trigger,
    pub(crate) check: fn(&Found<'_>) -> bool,
    pub(crate) context: Context,
    /// Where what was found ends: nearly always where the match does.
    pub(crate) end: fn(&Found<'_>) -> usize,
    /// Texts in which a test finds what stands between `«` and `»`, and nothing else of its kind.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "stands beside the pattern for whoever reads it, and is run by a test")
    )]
    pub(crate) examples: &'static [&'static str],
    /// Texts in which a test finds nothing of this kind.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "stands beside the pattern for whoever reads it, and is run by a test")
    )]
    pub(crate) others: &'static [&'static str],
}

/// Longest match of any pattern, in bytes.
pub(crate) const LONGEST: usize = 512;

/// What every match of a pattern holds, so that text without it need not be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// At least six digits; the match is at most 64 bytes long, and the first digit comes within 16 bytes.
    Digits,
    /// A digit, a full stop and a digit within the first 5 bytes.
    DottedDigits,
    /// An at sign; the match begins at most 64 bytes before it and ends at most 256 behind.
    At,
    /// Within the first 6 bytes a colon with a colon or a hexadecimal digit on either side; or five hyphens.
    Colons,
    /// One of these words, at least three bytes long, within the first 64 bytes; and what passes the check holds a digit.
    Words(&'static [&'static str]),
    /// One of these words, each with a slash or a capital letter behind a letter, within the first 64 bytes.
    BareWords(&'static [&'static str]),
    /// One of these words at most 64 bytes before its beginning or 32 bytes behind its end; and what passes the check holds a
    /// digit.
    Near(&'static [&'static str]),
    /// One of these words, as near; and it holds a capital letter behind a letter.
    NearCapitals(&'static [&'static str]),
}

/// Whether a word nearby must say what a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// The shape and its check are enough.
    Free,
    /// One of these words, in lower case, must stand shortly before, right behind, or in the name of the JSON member.
    Needed(&'static [&'static str]),
}

/// One match of a pattern, with the text around it.
pub(crate) struct Found<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl<'a> Found<'a> {
    /// The bytes that matched.
    pub(crate) fn value(&self) -> &'a [u8] {
        self.text.get(self.start..self.end).unwrap_or_default()
    }

    /// The text before the match.
    pub(crate) fn before(&self) -> &'a [u8] {
        self.text.get(..self.start).unwrap_or_default()
    }

    /// The text behind the match.
    pub(crate) fn behind(&self) -> &'a [u8] {
        self.text.get(self.end..).unwrap_or_default()
    }

    /// Whether one of `words`, in lower case, stands as a word of its own shortly before, right behind, or as the name of
    /// the JSON member whose value this is.
    pub(crate) fn has_word(&self, words: &[&str]) -> bool {
        let (ahead, behind) = (self.shortly_before(), self.right_behind());
        words.iter().any(|word| is_word_of(ahead, word.as_bytes()) || is_word_of(behind, word.as_bytes()))
    }

    /// The text before the match in which a word may say what it is, with the name of its JSON member where that is near.
    pub(crate) fn shortly_before(&self) -> &'a [u8] {
        let ahead = self.before();
        let from = ahead.len().saturating_sub(NEARBY);
        let from = ahead.iter().skip(from).rposition(|byte| *byte == VALUE_END).map_or(from, |at| from + at + 1);
        ahead.get(from..).unwrap_or_default()
    }

    /// The text behind the match in which such a word may stand.
    pub(crate) fn right_behind(&self) -> &'a [u8] {
        let behind = self.behind();
        let until = behind.iter().take(BEHIND).position(|byte| *byte < b'\t').unwrap_or(behind.len().min(BEHIND));
        behind.get(..until).unwrap_or_default()
    }

    /// Whether the text right before the match, but for a space or a punctuation mark, ends with one of `words`.
    pub(crate) fn follows(&self, words: &[&str]) -> bool {
        let ahead = self.before();
        let trimmed =
            ahead.len() - ahead.iter().rev().take_while(|byte| matches!(byte, b' ' | b':' | b'=' | b'"')).count();
        let ahead = ahead.get(..trimmed).unwrap_or_default();
        words.iter().any(|word| {
            let tail = ahead.len().checked_sub(word.len()).and_then(|from| ahead.get(from..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(word.as_bytes()))
        })
    }

    /// The digits of the match, without what stands between them.
    pub(crate) fn digits(&self) -> Digits {
        Digits::of(self.value())
    }

    /// Whether a longer number goes on at one of the ends, over a separator: then this is a part of something else.
    pub(crate) fn is_cut_out(&self) -> bool {
        let ahead = self.before();
        let cut_before = joins(ahead.last()) && ahead.iter().rev().nth(1).is_some_and(u8::is_ascii_alphanumeric);
        cut_before || self.is_cut_behind()
    }

    /// The same, but for a step of a path, as in `pay/4111111111111111`, which nothing but a letter and a slash stand before.
    pub(crate) fn is_cut_out_of_no_path(&self) -> bool {
        match self.before() {
            [.., letter, b'/'] if letter.is_ascii_alphabetic() => self.is_cut_behind(),
            _ => self.is_cut_out(),
        }
    }

    fn is_cut_behind(&self) -> bool {
        let behind = self.behind();
        joins(behind.first()) && behind.get(1).is_some_and(u8::is_ascii_digit)
    }
}

/// Whether numbers go on over this.
fn joins(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'-' | b'.' | b'/' | b'_'))
}

/// What stands behind the value of a member in the text that is searched.
pub(crate) const VALUE_END: u8 = 0;

/// What stands behind the name of a member; its value follows.
pub(crate) const KEY_END: u8 = 1;

/// How far before a match a word may stand that says what it is.
pub(crate) const NEARBY: usize = 64;

/// How far behind a match such a word may stand.
pub(crate) const BEHIND: usize = 24;

/// Whether `word`, in lower case, stands in `text` as a word; in `userBsn` and `bsn_number`, `bsn` is one.
fn is_word_of(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len())
        .enumerate()
        .any(|(at, here)| here.eq_ignore_ascii_case(word) && stands_alone(text, at..at + word.len()))
}

/// Whether what stands at `place` of `text` is a word of its own there, however it is written.
pub(crate) fn stands_alone(text: &[u8], place: Range<usize>) -> bool {
    let here = text.get(place.clone()).unwrap_or_default();
    let ahead = place.start.checked_sub(1).and_then(|before| text.get(before));
    let behind = text.get(place.end);
    let begins = ahead.is_none_or(|byte| {
        !byte.is_ascii_alphabetic() || (byte.is_ascii_lowercase() && here.first().is_some_and(u8::is_ascii_uppercase))
    });
    let ends = behind.is_none_or(|byte| {
        !byte.is_ascii_alphabetic() || (byte.is_ascii_uppercase() && here.last().is_some_and(u8::is_ascii_lowercase))
    });
    begins && ends
}

/// Whether a secret looks drawn by lot: at least eight different characters, a digit and a letter among them.
///
/// What manuals write in a secret's place (`sk-xxxxxxxx`, `ghp_your_token_here`) does not.
pub(crate) fn is_random(found: &Found<'_>) -> bool {
    let value = found.value();
    let mut seen = [false; 256];
    for byte in value {
        seen[usize::from(*byte)] = true;
    }
    let different = seen.iter().filter(|seen| **seen).count();
    different >= 8 && value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic)
}

/// The whole match is what was found.
pub(crate) fn whole(found: &Found<'_>) -> usize {
    found.end
}

/// Accepts every match: the shape alone is enough.
pub(crate) fn any(_: &Found<'_>) -> bool {
    true
}

/// The digits of a number, at most forty of them.
#[derive(Clone, Copy)]
pub(crate) struct Digits {
    values: [u8; Self::MOST],
    count: usize,
}

impl Digits {
    const MOST: usize = 40;

    /// The decimal digits among `bytes`, in order; those beyond the fortieth are left out.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut digits = Self { values: [0; Self::MOST], count: 0 };
        for (slot, byte) in digits.values.iter_mut().zip(bytes.iter().filter(|byte| byte.is_ascii_digit())) {
            *slot = byte - b'0';
            digits.count += 1;
        }
        digits
    }

    /// These values, each from 0 to 9, as digits.
    pub(crate) fn from_values(values: &[u8]) -> Self {
        let mut digits = Self { values: [0; Self::MOST], count: values.len().min(Self::MOST) };
        for (slot, value) in digits.values.iter_mut().zip(values) {
            *slot = *value;
        }
        digits
    }

    /// The digits as numbers from 0 to 9.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.values.get(..self.count).unwrap_or_default()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The digit at this place from the left, 0 where there is none.
    pub(crate) fn at(&self, place: usize) -> u32 {
        self.as_slice().get(place).copied().map_or(0, u32::from)
    }

    /// The number that `length` digits from `from` on make.
    pub(crate) fn number(&self, from: usize, length: usize) -> u64 {
        let digits = self.as_slice().get(from..from + length).unwrap_or_default();
        digits.iter().fold(0, |number, digit| number * 10 + u64::from(*digit))
    }

    /// Whether all digits are the same one, as in a number that was made up.
    pub(crate) fn is_one_digit(&self) -> bool {
        self.as_slice().windows(2).all(|pair| matches!(pair, [left, right] if left == right))
    }
}
