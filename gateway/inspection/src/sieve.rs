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
///
/// Nearly all words hold something that prose seldom has, such as an underscore or two capital letters. They are looked for
/// only around such a mark; what is left of the words is few enough to be looked for everywhere.
pub(crate) struct Sieve {
    everywhere: Vec<Words>,
    around_marks: Vec<Words>,
    /// Bytes of the longest word.
    longest: usize,
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
        let longest = words.first().map_or(0, |(word, _)| word.len());
        let groups = |marked: bool| {
            let some: Vec<_> = words.iter().filter(|(word, _)| is_marked(word) == marked).copied().collect();
            some.chunks(MOST_WORDS).map(|group| Words::new(group, &words)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { everywhere: groups(false)?, around_marks: groups(true)?, longest })
    }

    /// Puts into `parts` the ranges of `text` in which matches can be, in order and without overlap.
    pub(crate) fn parts(&self, text: &[u8], parts: &mut Vec<Range<usize>>) {
        parts.clear();
        let mut marked = Vec::new();
        signs(text, parts, (&mut marked, self.longest));
        let signs = parts.len();
        for words in &self.everywhere {
            words.add_to(parts, text, 0..text.len());
        }
        for place in &marked {
            for words in &self.around_marks {
                words.add_to(parts, text, place.start..place.end.min(text.len()));
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

/// Whether a word holds a mark; then it is looked for only around marks.
fn is_marked(word: &str) -> bool {
    let nexts = word.bytes().skip(1).chain([b' ']);
    word.bytes().zip(nexts).any(|(byte, next)| is_mark(byte, next))
}

/// Whether a byte and the next make a mark: a sign that prose seldom has, a capital letter behind a letter, or what stands in
/// the few words that have neither. Without a branch, so that the loop over a block becomes vector instructions.
#[inline]
fn is_mark(byte: u8, next: u8) -> bool {
    let sign = (byte == b'_') | (byte == b'-') | (byte == b'=') | (byte == b'~') | (byte == b'/');
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let capital_within = is_letter & (next.wrapping_sub(b'A') < 26);
    let of_vault = ((byte == b'h') & (next == b'v')) | ((byte == b'v') & (next.wrapping_sub(b'0') < 10));
    sign | capital_within | of_vault
}

/// Adds the surroundings of digits, at signs, colons and hyphens, block by block, and to `marked` the blocks that hold a mark,
/// with as many bytes about each as the longest word has.
fn signs(text: &[u8], parts: &mut Vec<Range<usize>>, (marked, longest): (&mut Vec<Range<usize>>, usize)) {
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
        if seen.has_mark {
            let (start, end) = (at.saturating_sub(longest), at + BLOCK + longest);
            match marked.last_mut() {
                Some(last) if last.end >= start => last.end = end,
                _ => marked.push(start..end),
            }
        }
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
    has_mark: bool,
}

impl Seen {
    /// Looks at a block without a branch, so that it becomes vector instructions; the rarer signs only where there is a
    /// colon or a full stop among digits at all.
    fn of(window: &[u8; BLOCK + 2]) -> Self {
        let (mut digits, mut hyphens, mut at_signs, mut colons, mut stops) = (0_u8, 0_u8, 0_u8, 0_u8, 0_u8);
        let [block @ .., _, _] = window;
        let [_, nexts @ .., _] = window;
        let mut marks = 0_u8;
        for &byte in block {
            // Wrapping, because a check for overflow would keep this from becoming vector instructions; 64 fit.
            digits = digits.wrapping_add(u8::from(byte.wrapping_sub(b'0') < 10));
            hyphens = hyphens.wrapping_add(u8::from(byte == b'-'));
            at_signs |= u8::from(byte == b'@');
            colons |= u8::from(byte == b':');
            stops |= u8::from(byte == b'.');
        }
        for (&byte, &next) in block.iter().zip(nexts) {
            marks |= u8::from(is_mark(byte, next));
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
            has_mark: marks > 0,
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
