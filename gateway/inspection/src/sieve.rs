//! Where in a text a match can be at all.
//!
//! Most text is prose, and prose holds nothing that any recogniser could match: few digits, no at sign, none of the words
//! that secrets begin with. Those signs are looked for at the speed of memory, and only the surroundings of what is found
//! go through the regular expressions. A recogniser states in its [`Trigger`] what each of its matches holds; a property
//! test holds the sieve to that, by searching the same texts without it.
//!
//! A text is judged in blocks. One that holds [no sign of anything](is_quiet), as most blocks of prose, is left at once.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind, packed};

use crate::recogniser::{NEARBY, Recogniser, Trigger};

/// Bytes judged at once, in loops that the compiler turns into vector instructions.
const BLOCK: usize = 64;

/// A block and the two bytes behind it: a sign of three bytes may begin at the end of the block.
type Window = [u8; BLOCK + 2];

/// Fewest digits that a match has whose trigger is [`Trigger::Digits`].
const FEWEST_DIGITS: u32 = 6;

/// Hyphens of a hardware address that is written with them.
const HYPHENS: u32 = 5;

/// Finds the parts of a text that are worth searching.
///
/// Nearly all words hold a mark, something that prose seldom has, such as an underscore or two capital letters, and are
/// looked for around marks alone. What most of them begin is found with a digit only, so that text without digits is not
/// gone through for them at all.
pub(crate) struct Sieve {
    /// Of what may be found without a digit: looked for around capital letters within words, and around slashes.
    bare: Vocabulary,
    /// Words with a mark of what is found with a digit only: looked for around marks that are near a digit.
    marked: Vocabulary,
    /// The others of what is found with a digit only: looked for around digits.
    unmarked: Vocabulary,
}

/// Words that are looked for in the same places.
struct Vocabulary {
    words: Vec<Words>,
    /// How far from the sign that must be there such a word may begin or end, in bytes.
    reach: usize,
}

/// The search for some of the words.
struct Words {
    searcher: Searcher,
    /// By the number of the word: how far a match may reach before it and behind its beginning.
    reaches: Vec<(usize, usize)>,
}

/// The search by vector instructions, where the processor has them.
enum Searcher {
    Packed(Box<packed::Searcher>),
    Plain(Box<AhoCorasick>),
}

/// Most words that the vector search takes at once.
const MOST_WORDS: usize = 64;

/// A word, and how far a match may reach before it and behind its beginning.
type Word = (&'static str, (usize, usize));

impl Sieve {
    /// A sieve for these recognisers and the longest match of each.
    pub(crate) fn new(recognisers: &[(&Recogniser, usize)]) -> Result<Self, aho_corasick::BuildError> {
        let (mut bare, mut marked, mut unmarked): (Vec<Word>, Vec<Word>, Vec<Word>) = Default::default();
        // How far from such a sign a word can begin or end that belongs to the same match.
        let (mut from_capitals, mut from_digits) = (0, 0);
        for (recogniser, longest) in recognisers {
            let (within, near) = ((NEARBY, *longest), (longest + NEARBY, longest + 2 * NEARBY));
            let (list, reach, is_bare, distance) = match recogniser.trigger {
                Trigger::Words(list) => (list, within, false, *longest),
                Trigger::BareWords(list) => (list, within, true, 0),
                Trigger::Near(list) => (list, near, false, longest + NEARBY),
                Trigger::NearCapitals(list) => (list, near, true, longest + NEARBY),
                Trigger::Digits | Trigger::DottedDigits | Trigger::At | Trigger::Colons => continue,
            };
            let farthest = if is_bare { &mut from_capitals } else { &mut from_digits };
            for word in list {
                *farthest = (*farthest).max(distance + word.len());
                match (is_bare, is_marked(word)) {
                    (true, _) => bare.push((*word, reach)),
                    (false, true) => marked.push((*word, reach)),
                    (false, false) => unmarked.push((*word, reach)),
                }
            }
        }
        let longest = marked.iter().map(|(word, _)| word.len()).max().unwrap_or_default();
        Ok(Self {
            bare: Vocabulary::new(bare, from_capitals)?,
            marked: Vocabulary::new(marked, longest)?,
            unmarked: Vocabulary::new(unmarked, from_digits)?,
        })
    }

    /// Puts into `parts` the ranges of `text` in which matches can be, in order and without overlap.
    pub(crate) fn parts(&self, text: &[u8], parts: &mut Vec<Range<usize>>) {
        parts.clear();
        let mut around = Around::default();
        self.signs(text, parts, &mut around);
        let signs = parts.len();
        for place in &around.capitals {
            self.bare.add_to(parts, text, place);
        }
        for place in &around.digits {
            self.unmarked.add_to(parts, text, place);
        }
        let mut digits = around.digits.iter().peekable();
        for place in &around.marks {
            while digits.next_if(|digits| digits.end <= place.start).is_some() {}
            for near in digits.clone().take_while(|digits| digits.start < place.end) {
                self.marked.add_to(parts, text, &(place.start.max(near.start)..place.end.min(near.end)));
            }
        }
        if parts.len() > signs {
            parts.sort_unstable_by_key(|part| part.start);
        }
        join(parts);
        for part in parts.iter_mut() {
            part.end = part.end.min(text.len());
        }
    }

    /// Adds the surroundings of digits, at signs, colons and hyphens, block by block, and to `around` those of what words are
    /// looked for near.
    fn signs(&self, text: &[u8], parts: &mut Vec<Range<usize>>, around: &mut Around) {
        let (mut digits_before, mut hyphens_before) = (0, 0);
        let mut padded;
        let mut at = 0;
        while at < text.len() {
            let rest = text.get(at..).unwrap_or_default();
            let window = match rest.first_chunk() {
                Some(window) => window,
                None => {
                    padded = [b' '; BLOCK + 2];
                    if let Some(slots) = padded.get_mut(..rest.len()) {
                        slots.copy_from_slice(rest);
                    }
                    &padded
                }
            };
            if is_quiet(window) {
                (digits_before, hyphens_before) = (0, 0);
                at += BLOCK;
                continue;
            }
            let seen = Seen::of(window);
            if seen.digits > 0 {
                widen(&mut around.digits, at, self.unmarked.reach);
            }
            if seen.has_mark {
                widen(&mut around.marks, at, self.marked.reach);
            }
            if seen.has_capitals {
                widen(&mut around.capitals, at, self.bare.reach);
            }
            let place = seen.place(at, digits_before, hyphens_before);
            (digits_before, hyphens_before) = (seen.digits, seen.hyphens);
            at += BLOCK;
            if place.start < place.end {
                match parts.last_mut() {
                    Some(last) if last.end >= place.start && last.start <= place.start => {
                        last.end = last.end.max(place.end);
                    }
                    _ => parts.push(place),
                }
            }
        }
        // A part may begin before the one before it; `join` puts that right.
        if parts.windows(2).any(|pair| matches!(pair, [left, right] if left.start > right.start)) {
            parts.sort_unstable_by_key(|part| part.start);
        }
    }
}

/// Where words can be, in order and without overlap; it may go beyond the text.
#[derive(Default)]
struct Around {
    digits: Vec<Range<usize>>,
    marks: Vec<Range<usize>>,
    /// Around slashes as well.
    capitals: Vec<Range<usize>>,
}

/// Adds the block at `at` with `reach` bytes about it.
fn widen(places: &mut Vec<Range<usize>>, at: usize, reach: usize) {
    let (start, end) = (at.saturating_sub(reach), at + BLOCK + reach);
    match places.last_mut() {
        Some(last) if last.end >= start => last.end = end,
        _ => places.push(start..end),
    }
}

impl Vocabulary {
    /// The longer word first: of two that begin at the same place only one is reported.
    fn new(mut words: Vec<Word>, reach: usize) -> Result<Self, aho_corasick::BuildError> {
        words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        let groups = words.chunks(MOST_WORDS).map(|group| Words::new(group, &words));
        Ok(Self { words: groups.collect::<Result<_, _>>()?, reach })
    }

    /// Adds the surroundings of every word that lies within `place` of `text`.
    fn add_to(&self, parts: &mut Vec<Range<usize>>, text: &[u8], place: &Range<usize>) {
        for words in &self.words {
            words.add_to(parts, text, place.start..place.end.min(text.len()));
        }
    }
}

impl Words {
    fn new(group: &[Word], all: &[Word]) -> Result<Self, aho_corasick::BuildError> {
        let list = || group.iter().map(|(word, _)| *word);
        let packed =
            packed::Config::new().match_kind(packed::MatchKind::LeftmostFirst).builder().extend(list()).build();
        let searcher = match packed {
            Some(searcher) => Searcher::Packed(Box::new(searcher)),
            None => {
                let plain = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(list())?;
                Searcher::Plain(Box::new(plain))
            }
        };
        Ok(Self { searcher, reaches: list().map(|word| reach_of(word, all)).collect() })
    }

    /// Adds the surroundings of every word that lies within `place` of `text`.
    fn add_to(&self, parts: &mut Vec<Range<usize>>, text: &[u8], place: Range<usize>) {
        let begin = place.start;
        let text = text.get(place).unwrap_or_default();
        let mut add = |word: usize, at: usize| {
            let (before, behind) = self.reaches.get(word).copied().unwrap_or_default();
            parts.push((begin + at).saturating_sub(before)..begin + at + behind);
        };
        match &self.searcher {
            Searcher::Packed(searcher) => {
                searcher.find_iter(text).for_each(|found| add(found.pattern().as_usize(), found.start()));
            }
            Searcher::Plain(searcher) => {
                searcher.find_iter(text).for_each(|found| add(found.pattern().as_usize(), found.start()));
            }
        }
    }
}

/// The reach of a word and of all words that it could hide, because they overlap.
fn reach_of(word: &str, words: &[Word]) -> (usize, usize) {
    let related = words.iter().filter(|(other, _)| overlap(word, other));
    related.fold((0, 0), |(before, behind), (other, reach)| (before.max(reach.0), behind.max(reach.1 + other.len())))
}

/// Whether one of two words can begin within the other.
fn overlap(one: &str, other: &str) -> bool {
    let begins_within = |inner: &str, outer: &str| {
        (0..outer.len()).any(|at| {
            let rest = outer.get(at..).unwrap_or_default();
            rest.starts_with(inner) || inner.starts_with(rest)
        })
    };
    begins_within(one, other) || begins_within(other, one)
}

/// Whether a word holds a mark; then it is looked for only around marks.
fn is_marked(word: &str) -> bool {
    let nexts = word.bytes().skip(1).chain([b' ']);
    word.bytes().zip(nexts).any(|(byte, next)| is_sign(byte) || is_capital(byte, next))
}

/// Whether a byte is a mark by itself: a sign that prose seldom has. Without a branch, as all that is asked of each byte, so
/// that the loop over a block becomes vector instructions.
#[inline]
fn is_sign(byte: u8) -> bool {
    (byte == b'_') | (byte == b'-') | (byte == b'=') | (byte == b'~')
}

/// Whether a byte and the next are a capital letter behind a letter, or there is a slash.
#[inline]
fn is_capital(byte: u8, next: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    (is_letter & (next.wrapping_sub(b'A') < 26)) | (byte == b'/')
}

/// Whether a block holds nothing that anything could begin with or be told by: no digit, no colon, none of `-/=@_~`, and no
/// capital letter behind another letter; nor does a colon follow right behind it.
///
/// Some more bytes are taken for signs as well, because that takes fewer instructions.
fn is_quiet(window: &Window) -> bool {
    let is_loud = |byte: u8, next: u8| {
        // As signed numbers, bytes beyond ASCII are less than all others.
        let (signed, low) = (byte.cast_signed(), byte | 0x20);
        let digit_or_like = byte.wrapping_sub(b'/') <= b'=' - b'/';
        let bracket_or_like = (low.cast_signed() > b'z'.cast_signed()) | (low == b'`');
        let capital_within = (signed >= b'@'.cast_signed()) & ((next & 0xE0) == b'@');
        digit_or_like | (byte == b'-') | bracket_or_like | capital_within
    };
    let loud = (0..BLOCK).fold(false, |loud, at| loud | is_loud(window[at], window[at + 1]));
    !loud & (window[BLOCK] != b':')
}

/// What a block holds.
struct Seen {
    digits: u32,
    hyphens: u32,
    has_at: bool,
    has_dotted: bool,
    has_colons: bool,
    has_mark: bool,
    has_capitals: bool,
}

impl Seen {
    /// Looks at a block without a branch, so that it becomes vector instructions; the rarer signs only where there is a
    /// colon or a full stop among digits at all.
    fn of(window: &Window) -> Self {
        let (mut digits, mut hyphens, mut at_signs, mut colons, mut stops) = (0_u8, 0_u8, 0_u8, 0_u8, 0_u8);
        let (mut signs, mut capitals) = (0_u8, 0_u8);
        let [block @ .., _, _] = window;
        for &byte in block {
            // Wrapping, because a check for overflow would keep this from becoming vector instructions; 64 fit.
            digits = digits.wrapping_add(u8::from(byte.wrapping_sub(b'0') < 10));
            hyphens = hyphens.wrapping_add(u8::from(byte == b'-'));
            at_signs |= u8::from(byte == b'@');
            colons |= u8::from(byte == b':');
            stops |= u8::from(byte == b'.');
        }
        for at in 0..BLOCK {
            signs |= u8::from(is_sign(window[at]));
            capitals |= u8::from(is_capital(window[at], window[at + 1]));
        }
        let triples = || window.windows(3).filter_map(|three| <&[u8; 3]>::try_from(three).ok());
        let is_hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
        let ends_in_digit = window[BLOCK].is_ascii_digit() || window[BLOCK + 1].is_ascii_digit();
        let may_be_dotted = (digits > 0 || ends_in_digit) && (stops > 0 || window[BLOCK] == b'.');
        Self {
            digits: u32::from(digits),
            hyphens: u32::from(hyphens),
            has_at: at_signs > 0,
            has_dotted: may_be_dotted
                && triples().any(|[one, dot, two]| *dot == b'.' && one.is_ascii_digit() && two.is_ascii_digit()),
            has_colons: (colons > 0 || window[BLOCK] == b':')
                && triples().any(|[one, colon, two]| *colon == b':' && is_hex(*one) && is_hex(*two)),
            has_mark: (signs | capitals) > 0,
            has_capitals: capitals > 0,
        }
    }

    /// What is to be searched because of the block at `at`, with the digits and hyphens of the block before; empty where
    /// nothing is.
    fn place(&self, at: usize, digits_before: u32, hyphens_before: u32) -> Range<usize> {
        let (mut start, mut end) = (usize::MAX, 0);
        let mut widen = |before: usize, behind: usize| {
            start = start.min(at.saturating_sub(before));
            end = end.max(at + BLOCK + behind);
        };
        if self.digits + digits_before >= FEWEST_DIGITS {
            widen(if self.digits >= FEWEST_DIGITS { 16 } else { BLOCK + 16 }, BLOCK);
        }
        if self.hyphens + hyphens_before >= HYPHENS {
            widen(BLOCK + 2, 32);
        }
        if self.has_at {
            widen(NEARBY, 288);
        }
        if self.has_dotted {
            widen(4, 16);
        }
        if self.has_colons {
            widen(6, BLOCK);
        }
        start..end
    }
}

/// Makes one of those that touch; the list is in the order of their beginnings.
fn join(parts: &mut Vec<Range<usize>>) {
    parts.dedup_by(|next, last| {
        if next.start > last.end {
            return false;
        }
        last.end = last.end.max(next.end);
        true
    });
}

#[cfg(test)]
mod tests;
