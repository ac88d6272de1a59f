//! Where in a text a match can be at all.
//!
//! Most text is prose, and prose holds nothing that any recogniser could match: few digits, no at sign, none of the words
//! that secrets begin with. Those signs are looked for at the speed of memory, and only the surroundings of what is found
//! go through the regular expressions. A recogniser states in its [`Trigger`] what each of its matches holds; a property
//! test holds the sieve to that, by searching the same texts without it.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind, packed};

use crate::recogniser::{NEARBY, Recogniser, Trigger};

/// Bytes judged at once, in loops that the compiler turns into vector instructions.
const BLOCK: usize = 64;

/// Fewest digits that a match has whose trigger is [`Trigger::Digits`].
const FEWEST_DIGITS: u32 = 6;

/// Hyphens of a hardware address that is written with them.
const HYPHENS: u32 = 5;

/// Finds the parts of a text that are worth searching.
pub(crate) struct Sieve {
    words: Vec<Words>,
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

impl Sieve {
    /// A sieve for these recognisers and the longest match of each.
    pub(crate) fn new(recognisers: &[(&Recogniser, usize)]) -> Result<Self, aho_corasick::BuildError> {
        let mut words: Vec<(&str, (usize, usize))> = Vec::new();
        for (recogniser, longest) in recognisers {
            let (list, reach): (&[&str], _) = match recogniser.trigger {
                Trigger::Words(list) => (list, (NEARBY, *longest)),
                Trigger::Near(list) => (list, (longest + NEARBY, longest + 2 * NEARBY)),
                Trigger::Digits | Trigger::DottedDigits | Trigger::At | Trigger::Colons => continue,
            };
            words.extend(list.iter().map(|word| (*word, reach)));
        }
        // The longer word first: of two that begin at the same place only one is reported.
        words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        let groups = words.chunks(MOST_WORDS).map(|group| Words::new(group, &words));
        Ok(Self { words: groups.collect::<Result<_, _>>()? })
    }

    /// Puts into `parts` the ranges of `text` in which matches can be, in order and without overlap.
    pub(crate) fn parts(&self, text: &[u8], parts: &mut Vec<Range<usize>>) {
        parts.clear();
        signs(text, parts);
        let signs = parts.len();
        for words in &self.words {
            words.add_to(parts, text);
        }
        if parts.len() > signs {
            parts.sort_unstable_by_key(|part| part.start);
        }
        join(parts);
        for part in parts.iter_mut() {
            part.end = part.end.min(text.len());
        }
    }
}

impl Words {
    fn new(group: &[(&str, (usize, usize))], all: &[(&str, (usize, usize))]) -> Result<Self, aho_corasick::BuildError> {
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

    /// Adds the surroundings of every word of `text`.
    fn add_to(&self, parts: &mut Vec<Range<usize>>, text: &[u8]) {
        let mut add = |word: usize, at: usize| {
            let (before, behind) = self.reaches.get(word).copied().unwrap_or_default();
            parts.push(at.saturating_sub(before)..at + behind);
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
fn reach_of(word: &str, words: &[(&str, (usize, usize))]) -> (usize, usize) {
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

/// Adds the surroundings of digits, at signs, colons and hyphens, block by block.
fn signs(text: &[u8], parts: &mut Vec<Range<usize>>) {
    let mut digits_before = 0;
    let mut hyphens_before = 0;
    let mut window;
    let mut at = 0;
    while at < text.len() {
        // Two bytes more than a block: a sign of three bytes may begin at the end of it.
        let block = match text.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(block) => block,
            None => {
                window = [b' '; BLOCK + 2];
                for (slot, byte) in window.iter_mut().zip(text.iter().skip(at)) {
                    *slot = *byte;
                }
                &window
            }
        };
        let seen = Seen::of(block);
        let (mut start, mut end) = (usize::MAX, 0);
        let mut widen = |before: usize, behind: usize| {
            start = start.min(at.saturating_sub(before));
            end = end.max(at + BLOCK + behind);
        };
        if seen.digits + digits_before >= FEWEST_DIGITS {
            widen(if seen.digits >= FEWEST_DIGITS { 16 } else { BLOCK + 16 }, BLOCK);
        }
        if seen.hyphens + hyphens_before >= HYPHENS {
            widen(BLOCK + 2, 32);
        }
        if seen.has_at {
            widen(NEARBY, 288);
        }
        if seen.has_dotted {
            widen(4, 16);
        }
        if seen.has_colons {
            widen(6, BLOCK);
        }
        (digits_before, hyphens_before) = (seen.digits, seen.hyphens);
        at += BLOCK;
        if start < end {
            match parts.last_mut() {
                Some(last) if last.end >= start && last.start <= start => last.end = last.end.max(end),
                _ => parts.push(start..end),
            }
        }
    }
    // A part may begin before the one before it; `join` puts that right.
    if parts.windows(2).any(|pair| matches!(pair, [left, right] if left.start > right.start)) {
        parts.sort_unstable_by_key(|part| part.start);
    }
}

/// What a block holds.
struct Seen {
    digits: u32,
    hyphens: u32,
    has_at: bool,
    has_dotted: bool,
    has_colons: bool,
}

impl Seen {
    /// Looks at a block without a branch, so that it becomes vector instructions; the rarer signs only where there is a
    /// colon or a full stop among digits at all.
    fn of(window: &[u8; BLOCK + 2]) -> Self {
        let (mut digits, mut hyphens, mut at_signs, mut colons, mut stops) = (0_u8, 0_u8, 0_u8, 0_u8, 0_u8);
        let [block @ .., _, _] = window;
        for &byte in block {
            // Wrapping, because a check for overflow would keep this from becoming vector instructions; 64 fit.
            digits = digits.wrapping_add(u8::from(byte.wrapping_sub(b'0') < 10));
            hyphens = hyphens.wrapping_add(u8::from(byte == b'-'));
            at_signs |= u8::from(byte == b'@');
            colons |= u8::from(byte == b':');
            stops |= u8::from(byte == b'.');
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
        }
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
