//! The search itself: all patterns at once, then the check of each that fits.

use std::ops::Range;
use std::sync::LazyLock;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};

use crate::kind::{Group, TextKind};
use crate::own;
use crate::recogniser::{Context, Found, LONGEST, Recogniser};
use crate::recognisers::LIST;
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

/// What one request may still cost, and the memory that a search needs.
pub(crate) struct Effort {
    candidates: u32,
    /// The same of recognisers of one's own, so that they cannot use up what the shipped ones need.
    pub(crate) own: u32,
    /// The same of those that are only tried, which then find no more.
    pub(crate) tried: u32,
    parts: Vec<Range<usize>>,
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
            fitting: None,
        }
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
    /// Says which patterns match at a place.
    all: Regex,
    sieve: Sieve,
}

impl Engine {
    fn new() -> Self {
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let config = Regex::config().utf8_empty(false).hybrid_cache_capacity(4 << 20).nfa_size_limit(Some(64 << 20));
        let patterns: Vec<&str> = LIST.iter().map(|recogniser| recogniser.pattern).collect();
        let build = |config: &regex_automata::meta::Config, patterns: &[&str]| {
            let mut builder = Regex::builder();
            builder.syntax(syntax).configure(config.clone());
            builder.build_many(patterns).expect("the patterns are constants, and a test compiles them")
        };
        let longest = LIST.iter().map(|recogniser| (*recogniser, longest(recogniser.pattern, &syntax)));
        let longest: Vec<(&Recogniser, usize)> = longest.collect();
        Self {
            leftmost: build(&config, &patterns),
            all: build(&config.clone().match_kind(MatchKind::All), &patterns),
            sieve: Sieve::new(&longest).expect("the words are constants, and a test searches for them"),
        }
    }

    /// Hands every hit in `text` to `found`, in the order of their beginnings. Those that begin at the same place are of different
    /// kinds, and the search goes on behind the first of them: another may begin within a longer one.
    pub(crate) fn search(&self, text: &[u8], effort: &mut Effort, mut found: impl FnMut(Hit)) {
        #[cfg(test)]
        if WITHOUT_SIEVE.get() {
            return self.search_all(text, effort, found);
        }
        let mut parts = std::mem::take(&mut effort.parts);
        self.sieve.parts(text, &mut parts);
        let mut from = 0;
        for part in &parts {
            from = self.search_part(text, from.max(part.start)..part.end, effort, &mut found);
        }
        effort.parts = parts;
    }

    /// The same without the sieve, which may change nothing but the time it takes.
    #[cfg(test)]
    pub(crate) fn search_all(&self, text: &[u8], effort: &mut Effort, mut found: impl FnMut(Hit)) {
        self.search_part(text, 0..text.len(), effort, &mut found);
    }

    /// Searches `part` of `text`; gives where the search may go on behind the last hit.
    fn search_part(&self, text: &[u8], part: Range<usize>, effort: &mut Effort, found: &mut impl FnMut(Hit)) -> usize {
        let mut at = part.start;
        while at < part.end && !effort.is_spent() {
            let Some(start) = self.leftmost.find(Input::new(text).range(at..part.end)).map(|first| first.start())
            else {
                break;
            };
            // What a rejected match covered is searched again from its second byte on.
            at = self.judge(text, start..part.end, effort, found).unwrap_or(start + 1);
        }
        at
    }

    /// Hands over what each recogniser whose match at the beginning of `place` passes its check finds; gives where the first of
    /// them in the order of the list ends.
    ///
    /// Up to one in nine of the numbers that have the check digits of one country has those of another as well, and nothing tells which is
    /// meant: a policy that names one of the two must not miss it. A secret says by its first letters whose it is, so of several
    /// the first in the order of the list is meant.
    fn judge(
        &self,
        text: &[u8],
        place: Range<usize>,
        effort: &mut Effort,
        found: &mut impl FnMut(Hit),
    ) -> Option<usize> {
        let input = Input::new(text).range(place.clone()).anchored(Anchored::Yes);
        let mut fitting = effort.fitting.take().unwrap_or_else(|| PatternSet::new(LIST.len()));
        fitting.clear();
        self.all.which_overlapping_matches(&input, &mut fitting);
        let (mut end, mut has_secret) = (None, false);
        for pattern in fitting.iter() {
            let is_secret = LIST.get(pattern.as_usize()).is_some_and(|one| one.kind.group() == Some(Group::Secret));
            if is_secret && has_secret {
                continue;
            }
            effort.candidates = effort.candidates.saturating_sub(1);
            if let Some(hit) = self.check(pattern, text, &input) {
                has_secret |= is_secret;
                end.get_or_insert(hit.place.end);
                found(hit);
            }
        }
        effort.fitting = Some(fitting);
        end
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
