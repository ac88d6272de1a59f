//! Patterns made into automata that take one step for each byte, whatever the pattern and whatever the text.
//!
//! A pattern whose automaton would be large is refused when it is read. Engines that build theirs during a search can
//! fall back to a slower way where a text asks for too many states; here nothing is left to be built.

use std::ops::Range;

use regex_automata::dfa::regex::Regex;
use regex_automata::dfa::{Automaton as _, OverlappingState, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, Input, MatchError, MatchKind, PatternSet};
use regex_syntax::hir::Hir;

use super::LARGEST;

/// Largest automaton of several patterns, in bytes; those beyond it begin another.
const LARGEST_GROUP: usize = 1 << 20;

/// Memory that the making of one may take, in bytes.
const MOST_MAKING: usize = 8 << 20;

/// Finds the matches of one pattern.
pub(super) struct Automaton {
    leftmost: Regex,
    /// Says where the matches that begin at a place end; only where not every match counts.
    ends: Option<dense::DFA<Vec<u32>>>,
}

impl Automaton {
    /// The automata of `shape`; none where one would be larger than [`LARGEST`].
    pub(super) fn of(shape: &Hir, has_conditions: bool) -> Option<Self> {
        let shapes = std::slice::from_ref(shape);
        let nfa = thompson::Config::new;
        let anchored = || dense::Config::new().start_kind(StartKind::Anchored).match_kind(MatchKind::All);
        let forward = make(shapes, nfa(), dense::Config::new().start_kind(StartKind::Unanchored))?;
        let backward = make(shapes, nfa().reverse(true), anchored())?;
        let ends = if has_conditions { Some(make(shapes, nfa(), anchored())?) } else { None };
        Some(Self { leftmost: Regex::builder().build_from_dfas(forward, backward), ends })
    }

    /// The first match in `text` that begins at or behind `from`.
    pub(super) fn next(&self, text: &[u8], from: usize) -> Result<Option<Range<usize>>, MatchError> {
        let found = self.leftmost.try_search(&Input::new(text).range(from.min(text.len())..))?;
        Ok(found.map(|found| found.range()))
    }

    /// Puts into `ends` where a match that begins where `first` does can end, in rising order.
    pub(super) fn ends(&self, text: &[u8], first: &Range<usize>, ends: &mut Vec<usize>) -> Result<(), MatchError> {
        ends.clear();
        let Some(automaton) = &self.ends else {
            ends.push(first.end);
            return Ok(());
        };
        let input = Input::new(text).range(first.start..).anchored(Anchored::Yes);
        let mut state = OverlappingState::start();
        loop {
            automaton.try_search_overlapping_fwd(&input, &mut state)?;
            match state.get_match() {
                Some(found) => ends.push(found.offset()),
                None => return Ok(()),
            }
        }
    }

    /// A placeholder that begins with `opening`, such as `[IBAN_`, and within which there is a match.
    ///
    /// Numbers are gone through up to the most values of one request, whatever stands before and behind.
    pub(super) fn placeholder_found(&self, opening: &str) -> Option<String> {
        const DIGITS: &[u8] = b"0123456789";
        const NUMBERS: [&[&[u8]]; 5] = [
            &[b"123456789"],
            &[b"123456789", DIGITS],
            &[b"123456789", DIGITS, DIGITS],
            &[b"123456789", DIGITS, DIGITS, DIGITS],
            &[b"1", b"0", b"0", b"0", b"0"],
        ];
        let automaton = self.leftmost.forward();
        for before in [None, Some(b' '), Some(b'a')] {
            let mut state =
                automaton.start_state(&start::Config::new().anchored(Anchored::No).look_behind(before)).ok()?;
            let mut is_met = false;
            for byte in opening.bytes() {
                state = automaton.next_state(state, byte);
                is_met |= automaton.is_match_state(state);
            }
            let number =
                if is_met { Some(1) } else { NUMBERS.iter().find_map(|digits| self.number_found(state, digits)) };
            if let Some(number) = number {
                return Some(format!("{opening}{number}]"));
            }
        }
        None
    }

    /// A number of these digits that comes to a match from `state` on, with a bracket behind it.
    fn number_found(&self, state: StateID, digits: &[&[u8]]) -> Option<u32> {
        let automaton = self.leftmost.forward();
        let mut ways = vec![(state, 0_u32)];
        for choice in digits {
            let step = |(state, number): (StateID, u32)| {
                choice
                    .iter()
                    .map(move |digit| (automaton.next_state(state, *digit), number * 10 + u32::from(digit - b'0')))
            };
            let mut next: Vec<(StateID, u32)> = ways.into_iter().flat_map(step).collect();
            if let Some((_, number)) = next.iter().find(|(state, _)| automaton.is_match_state(*state)) {
                return Some(*number);
            }
            // A state stands for all numbers that lead to it, so only one of them is followed.
            next.sort_unstable();
            next.dedup_by_key(|(state, _)| *state);
            ways = next;
        }
        // A match is known one byte behind its end.
        let is_met = |state: StateID| {
            let closed = automaton.next_state(state, b']');
            let behind = [automaton.next_state(closed, b' '), automaton.next_state(closed, b'a')];
            [closed, automaton.next_eoi_state(closed)]
                .into_iter()
                .chain(behind)
                .any(|state| automaton.is_match_state(state))
        };
        ways.into_iter().find(|(state, _)| is_met(*state)).map(|(_, number)| number)
    }

    pub(super) fn memory(&self) -> usize {
        let ends = self.ends.as_ref().map_or(0, dense::DFA::memory_usage);
        self.leftmost.forward().memory_usage() + self.leftmost.reverse().memory_usage() + ends
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
