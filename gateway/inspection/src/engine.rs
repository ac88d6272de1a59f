//! The search itself: all patterns at once, then the check of each that fits.

use std::ops::Range;
use std::sync::LazyLock;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};

use crate::kind::{Group, TextKind};
use crate::own;
use crate::recogniser::{Context, Found, LONGEST, Recogniser};
use crate::recognisers::{LIST, ipv6_address, phone};
use crate::sieve::Sieve;

/// The compiled recognisers; made once, on first use.
pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::new);

/// Most matches of patterns that are looked at in one request.
///
/// Each costs about half a microsecond. Work is counted and not timed, so that the same body gets the same answer on a fast
/// machine and on a busy one.
pub(crate) const MOST_CANDIDATES: u32 = 1_000_000;

/// One thing found, with its place in the text that was searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) kind: TextKind,
    pub(crate) place: Range<usize>,
}

/// The e-mail address, the first of the list.
const ADDRESS: PatternID = PatternID::ZERO;

/// What was found before a place of a text, and may go on there: what is found does not depend on it, but for parts of it.
#[derive(Default)]
struct SoFar {
    /// Where the numbers end that [take in their parts](TextKind::takes_in_its_parts).
    number: usize,
    /// By recogniser, where its last find of another kind ends: within an address begin others, which are the same one.
    ends: Vec<usize>,
}

impl SoFar {
    fn end_of(&self, pattern: PatternID) -> usize {
        self.ends.get(pattern.as_usize()).copied().unwrap_or_default()
    }

    fn ends_at(&mut self, pattern: PatternID, end: usize) {
        self.ends.resize(LIST.len(), 0);
        if let Some(slot) = self.ends.get_mut(pattern.as_usize()) {
            *slot = end;
        }
    }
}

/// What one request may still cost, and the memory that a search needs.
pub(crate) struct Effort {
    candidates: u32,
    /// The same of recognisers of one's own, so that they cannot use up what the shipped ones need.
    pub(crate) own: u32,
    /// The same of those that are only tried, which then find no more.
    pub(crate) tried: u32,
    parts: Vec<Range<usize>>,
    /// Of the text that is being searched.
    so_far: SoFar,
    /// None until something was found that some pattern may match, as it never is in most requests.
    fitting: Option<PatternSet>,
}

impl Effort {
    pub(crate) fn new() -> Self {
        Self {
            candidates: MOST_CANDIDATES,
            own: own::MOST_CANDIDATES,
            tried: own::MOST_CANDIDATES,
            parts: Vec::new(),
            so_far: SoFar::default(),
            fitting: None,
        }
    }

    /// How many matches of shipped patterns may still be looked at.
    #[cfg(test)]
    pub(crate) fn candidates(&self) -> u32 {
        self.candidates
    }

    /// Whether the bound was hit: what comes behind was not searched.
    pub(crate) fn is_spent(&self) -> bool {
        self.candidates == 0 || self.own == 0
    }
}

/// All patterns, compiled.
pub(crate) struct Engine {
    /// Finds where the leftmost match of any pattern begins, and where the match of one pattern at a place ends.
    leftmost: Regex,
    /// Finds the same but for addresses.
    but_addresses: Regex,
    /// Says which patterns match at a place.
    all: Regex,
    sieve: Sieve,
}

impl Engine {
    fn new() -> Self {
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let config = Regex::config().utf8_empty(false).hybrid_cache_capacity(4 << 20).nfa_size_limit(Some(64 << 20));
        let patterns: Vec<&str> = LIST.iter().map(|recogniser| recogniser.pattern).collect();
        let (_, but_addresses) = patterns.split_at(ADDRESS.as_usize() + 1);
        let build = |config: &regex_automata::meta::Config, patterns: &[&str]| {
            let mut builder = Regex::builder();
            builder.syntax(syntax).configure(config.clone());
            builder.build_many(patterns).expect("the patterns are constants, and a test compiles them")
        };
        let longest = LIST.iter().map(|recogniser| (*recogniser, longest(recogniser.pattern, &syntax)));
        let longest: Vec<(&Recogniser, usize)> = longest.collect();
        Self {
            leftmost: build(&config, &patterns),
            but_addresses: build(&config, but_addresses),
            all: build(&config.clone().match_kind(MatchKind::All), &patterns),
            sieve: Sieve::new(&longest).expect("the words are constants, and a test searches for them"),
        }
    }

    /// Hands every hit in `text` to `found`, in the order of their beginnings. They may overlap: an address may hold a card number,
    /// and nothing but [what takes in its parts](TextKind::takes_in_its_parts) hides what begins within it.
    pub(crate) fn search(&self, text: &[u8], effort: &mut Effort, mut found: impl FnMut(Hit)) {
        #[cfg(test)]
        if WITHOUT_SIEVE.get() {
            return self.search_all(text, effort, found);
        }
        let mut parts = std::mem::take(&mut effort.parts);
        self.sieve.parts(text, &mut parts);
        effort.so_far = SoFar::default();
        for part in &parts {
            self.search_part(text, part.clone(), effort, &mut found);
        }
        effort.parts = parts;
    }

    /// The same without the sieve, which may change nothing but the time it takes.
    #[cfg(test)]
    pub(crate) fn search_all(&self, text: &[u8], effort: &mut Effort, mut found: impl FnMut(Hit)) {
        effort.so_far = SoFar::default();
        self.search_part(text, 0..text.len(), effort, &mut found);
    }

    /// Searches `part` of `text`.
    ///
    /// What a match covered is searched again from its second byte on, whether it was accepted or not. Each place at which some
    /// pattern matches counts, so that this is bounded; but for addresses, within which nearly every letter begins another one.
    fn search_part(&self, text: &[u8], part: Range<usize>, effort: &mut Effort, found: &mut impl FnMut(Hit)) {
        let mut at = part.start;
        while at < part.end && !effort.is_spent() {
            let address = effort.so_far.end_of(ADDRESS);
            let is_within = at < address;
            // INVARIANT: what begins within an address ends before this, and no more is gone through for each address.
            let until = if is_within { part.end.min(address + LONGEST) } else { part.end };
            let regex = if is_within { &self.but_addresses } else { &self.leftmost };
            let first = regex.find(Input::new(text).range(at..until)).map(|first| first.start());
            at = match first.filter(|start| !is_within || *start < address) {
                Some(start) => {
                    self.judge(text, start..part.end, effort, found);
                    start + 1
                }
                None if is_within => address,
                None => break,
            };
        }
    }

    /// Hands over what each recogniser whose match at the beginning of `place` passes its check finds, but for what was found
    /// [as a part of something else](SoFar).
    ///
    /// Up to one in nine of the numbers that have the check digits of one country has those of another as well, and nothing tells which is
    /// meant: a policy that names one of the two must not miss it. A secret says by its first letters whose it is, so of several
    /// that begin at one place the first in the order of the list is meant.
    fn judge(&self, text: &[u8], place: Range<usize>, effort: &mut Effort, found: &mut impl FnMut(Hit)) {
        let input = Input::new(text).range(place.clone()).anchored(Anchored::Yes);
        let mut fitting = effort.fitting.take().unwrap_or_else(|| PatternSet::new(LIST.len()));
        fitting.clear();
        self.all.which_overlapping_matches(&input, &mut fitting);
        let (mut number, mut has_secret) = (effort.so_far.number, false);
        let is_within = place.start < number;
        for pattern in fitting.iter() {
            let kind = LIST.get(pattern.as_usize()).map(|one| one.kind);
            // Nothing stands beside an address of this sort, so none begins within another; but most of its places match.
            if kind == Some(ipv6_address::KIND) && place.start < effort.so_far.end_of(pattern) {
                continue;
            }
            let is_secret = kind.is_some_and(|kind| kind.group() == Some(Group::Secret));
            effort.candidates = effort.candidates.saturating_sub(1);
            if is_secret && has_secret || place.start < effort.so_far.end_of(pattern) {
                continue;
            }
            let Some(hit) = self.check(pattern, text, &input) else { continue };
            has_secret |= is_secret;
            if hit.place.end <= effort.so_far.number {
                continue;
            }
            // The digits of a number and those behind it are no telephone number: `DE43 5001 0517 0012 3456 78 1.250,00 EUR`.
            if is_within && hit.kind == phone::KIND {
                continue;
            }
            let takes_in_its_parts = hit.kind.takes_in_its_parts();
            if takes_in_its_parts && !is_within {
                // One that begins within another hides nothing: the check digits of a card may fit the end of one and what follows.
                number = number.max(hit.place.end);
            }
            if !takes_in_its_parts || hit.kind == ipv6_address::KIND {
                effort.so_far.ends_at(pattern, hit.place.end);
            }
            found(hit);
        }
        effort.so_far.number = number;
        effort.fitting = Some(fitting);
    }

    fn check(&self, pattern: PatternID, text: &[u8], input: &Input<'_>) -> Option<Hit> {
        let recogniser = LIST.get(pattern.as_usize())?;
        let place = self.leftmost.find(input.clone().anchored(Anchored::Pattern(pattern)))?;
        let found = Found { text, start: place.start(), end: place.end() };
        let in_context = match recogniser.context {
            Context::Free => true,
            Context::Needed(words) => found.has_word(words),
        };
        let is_one = in_context && (recogniser.check)(&found);
        is_one.then(|| Hit { kind: recogniser.kind, place: place.start()..(recogniser.end)(&found) })
    }
}

#[cfg(test)]
thread_local! {
    /// Whether this thread searches without the sieve: what a test holds its answers against.
    pub(crate) static WITHOUT_SIEVE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The longest match that a pattern can have.
fn longest(pattern: &str, syntax: &syntax::Config) -> usize {
    let parsed = syntax::parse_with(pattern, syntax).expect("the patterns are constants, and a test compiles them");
    parsed.properties().maximum_len().unwrap_or(LONGEST)
}
