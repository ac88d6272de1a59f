//! Patterns made into automata that take one step for each byte, whatever the pattern and whatever the text.
//!
//! A pattern whose automaton would be large is refused when it is read. Engines that build theirs during a search can
//! fall back to a slower way where a text asks for too many states; here nothing is left to be built.

use std::ops::Range;

use regex_automata::dfa::regex::Regex;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Input, MatchError, MatchKind, PatternSet};
use regex_syntax::hir::Hir;

use super::LARGEST;

/// Largest automaton of several patterns, in bytes; those beyond it begin another.
const LARGEST_GROUP: usize = 1 << 20;

/// Memory that the making of one may take, in bytes.
const MOST_MAKING: usize = 8 << 20;

/// Finds the matches of one pattern.
pub(super) struct Automaton(Regex);

impl Automaton {
    /// The automaton of `shape`; none where it would be larger than [`LARGEST`].
    pub(super) fn of(shape: &Hir) -> Option<Self> {
        let shapes = std::slice::from_ref(shape);
        let forward = make(shapes, thompson::Config::new(), dense::Config::new().start_kind(StartKind::Unanchored))?;
        let backward = dense::Config::new().start_kind(StartKind::Anchored).match_kind(MatchKind::All);
        let backward = make(shapes, thompson::Config::new().reverse(true), backward)?;
        Some(Self(Regex::builder().build_from_dfas(forward, backward)))
    }

    /// The first match in `text` that begins at or behind `from`.
    pub(super) fn next(&self, text: &[u8], from: usize) -> Result<Option<Range<usize>>, MatchError> {
        let found = self.0.try_search(&Input::new(text).range(from.min(text.len())..))?;
        Ok(found.map(|found| found.range()))
    }

    pub(super) fn memory(&self) -> usize {
        self.0.forward().memory_usage() + self.0.reverse().memory_usage()
    }
}

/// Says in one pass which of several patterns occur.
pub(super) struct Group {
    /// The patterns, by their places among all.
    members: Range<usize>,
    any: dense::DFA<Vec<u32>>,
}

impl Group {
    /// As few groups as hold all `shapes`, the first of which stands at `at` among all.
    pub(super) fn all(shapes: &[Hir], at: usize) -> Option<Vec<Self>> {
        let largest = if shapes.len() == 1 { LARGEST } else { LARGEST_GROUP };
        let config = dense::Config::new().start_kind(StartKind::Unanchored).match_kind(MatchKind::All);
        match make_within(shapes, thompson::Config::new(), config, largest) {
            Some(any) => Some(vec![Self { members: at..at + shapes.len(), any }]),
            None if shapes.len() < 2 => None,
            None => {
                let (first, second) = shapes.split_at(shapes.len() / 2);
                let mut groups = Self::all(first, at)?;
                groups.extend(Self::all(second, at + first.len())?);
                Some(groups)
            }
        }
    }

    /// Those that occur in `text`, by their places among all.
    pub(super) fn occurring(&self, text: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let mut seen = PatternSet::new(self.members.len());
        // Where the pass could not be ended, each has to look for itself.
        let is_unknown = self.any.try_which_overlapping_matches(&Input::new(text), &mut seen).is_err();
        let members = self.members.clone();
        members.clone().filter(move |member| {
            let place = regex_automata::PatternID::new(member - members.start);
            is_unknown || place.is_ok_and(|place| seen.contains(place))
        })
    }

    pub(super) fn memory(&self) -> usize {
        self.any.memory_usage()
    }
}

fn make(shapes: &[Hir], nfa: thompson::Config, dfa: dense::Config) -> Option<dense::DFA<Vec<u32>>> {
    make_within(shapes, nfa, dfa, LARGEST)
}

fn make_within(
    shapes: &[Hir],
    nfa: thompson::Config,
    dfa: dense::Config,
    largest: usize,
) -> Option<dense::DFA<Vec<u32>>> {
    let nfa = nfa.utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(largest));
    let nfa = thompson::Compiler::new().configure(nfa).build_many_from_hir(shapes).ok()?;
    let dfa = dfa.dfa_size_limit(Some(largest)).determinize_size_limit(Some(MOST_MAKING));
    dense::Builder::new().configure(dfa).build_from_nfa(&nfa).ok()
}
