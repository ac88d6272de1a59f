//! Finds that overlap, made one: every byte is replaced once, and what stands for it brings all of it back.

use std::ops::Range;

use crate::kind::TextKind;

/// Longest run of overlapping finds that becomes one, in bytes. One that goes on beyond it is something of its own from there:
/// an answer can repeat a placeholder, which must not stand for very much.
const LONGEST: usize = 1024;

/// One thing to be replaced, at one place for each string that it touches.
pub(super) struct Whole {
    pub(super) kind: TextKind,
    pub(super) places: Vec<Range<usize>>,
}

/// What was brought together.
pub(super) struct Together {
    pub(super) wholes: Vec<Whole>,
    /// For each of the places that nothing may cut, whether it is now a part of some whole.
    pub(super) is_taken: Vec<bool>,
}

/// Brings together what overlaps. Of the `uncut` places each is taken whole or not at all.
///
/// Of several kinds the one counts that begins first, and of those the longest.
pub(super) fn together(mut finds: Vec<(TextKind, Vec<Range<usize>>)>, uncut: &[Range<usize>]) -> Together {
    finds.sort_by_key(|(_, places)| {
        let length = places.iter().map(ExactSizeIterator::len).sum::<usize>();
        (places.first().map_or(0, |place| place.start), std::cmp::Reverse(length))
    });
    let found =
        finds.iter().enumerate().flat_map(|(at, (_, places))| places.iter().map(move |place| (place.clone(), at)));
    let kept = uncut.iter().enumerate().map(|(at, place)| (place.clone(), finds.len() + at));
    let mut parts: Vec<(Range<usize>, usize)> = found.chain(kept).collect();
    parts.sort_by_key(|(place, at)| (place.start, std::cmp::Reverse(place.end), *at));
    let mut roots = Roots((0..finds.len() + uncut.len()).collect());
    let mut merged: Vec<(Range<usize>, usize)> = Vec::with_capacity(parts.len());
    for (place, at) in parts {
        let Some((last, of)) = merged.last_mut().filter(|(last, _)| place.start < last.end) else {
            merged.push((place, at));
            continue;
        };
        let is_long = place.end > last.end && place.end - last.start > LONGEST;
        if is_long && at < finds.len() {
            let rest = last.end..place.end;
            merged.push((rest, at));
        } else {
            last.end = last.end.max(place.end);
            roots.join(*of, at);
        }
    }
    let is_taken = (0..uncut.len()).map(|at| roots.of(finds.len() + at) < finds.len()).collect();
    let mut wholes: Vec<Whole> = finds.iter().map(|(kind, _)| Whole { kind: *kind, places: Vec::new() }).collect();
    for (place, at) in merged {
        if let Some(whole) = wholes.get_mut(roots.of(at)) {
            whole.places.push(place);
        }
    }
    wholes.retain(|whole| !whole.places.is_empty());
    Together { wholes, is_taken }
}

/// Which things belong together: each leads to one that stands for all, the first of them.
struct Roots(Vec<usize>);

impl Roots {
    fn of(&mut self, at: usize) -> usize {
        let mut root = at;
        while let Some(next) = self.0.get(root).copied().filter(|next| *next != root) {
            root = next;
        }
        // The next question takes one step.
        let mut at = at;
        while let Some(slot) = self.0.get_mut(at).filter(|slot| **slot != root) {
            at = std::mem::replace(slot, root);
        }
        root
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        if let Some(slot) = self.0.get_mut(one.max(other)) {
            *slot = one.min(other);
        }
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a find has a list of places, and most have one")]
mod tests {
    use super::*;

    /// The kind of each whole and its places, and what is taken.
    type Shown = (Vec<(String, Vec<Range<usize>>)>, Vec<bool>);

    fn kind(name: &str) -> TextKind {
        TextKind::named(name)[0]
    }

    fn shown(finds: &[(&str, &[Range<usize>])], uncut: &[Range<usize>]) -> Shown {
        let finds = finds.iter().map(|(name, places)| (kind(name), places.to_vec())).collect();
        let Together { wholes, is_taken } = together(finds, uncut);
        (wholes.into_iter().map(|whole| (whole.kind.to_string(), whole.places)).collect(), is_taken)
    }

    #[test]
    fn what_overlaps_is_one_and_what_touches_is_two() {
        let (wholes, _) = shown(&[("iban", &[5..9]), ("card", &[2..6]), ("email", &[9..12]), ("phone", &[2..4])], &[]);

        assert_eq!(wholes, [("card".to_owned(), vec![2..9]), ("email".to_owned(), vec![9..12])]);
    }

    #[test]
    fn parts_in_several_strings_bring_together_what_each_of_them_overlaps() {
        let (wholes, _) = shown(&[("iban", &[5..9, 20..25]), ("card", &[24..30]), ("email", &[40..50, 60..61])], &[]);

        assert_eq!(wholes, [("iban".to_owned(), vec![5..9, 20..30]), ("email".to_owned(), vec![40..50, 60..61])]);
    }

    #[test]
    fn a_run_without_end_is_cut_and_covers_the_same() {
        let places: Vec<Range<usize>> = (0..1000).map(|n| n * 60..n * 60 + 100).collect();
        let finds: Vec<(TextKind, Vec<Range<usize>>)> =
            places.into_iter().map(|place| (kind("card"), vec![place])).collect();

        let wholes = together(finds, &[]).wholes;

        assert!(wholes.iter().all(|whole| whole.places.len() == 1 && whole.places[0].len() <= LONGEST));
        let ends = wholes.iter().map(|whole| whole.places[0].end);
        let starts = wholes.iter().skip(1).map(|whole| whole.places[0].start);
        assert!(ends.zip(starts).all(|(end, start)| end == start));
        assert_eq!(wholes.last().map(|whole| whole.places[0].end), Some(999 * 60 + 100));
    }

    #[test]
    fn a_place_that_nothing_may_cut_is_taken_whole_or_stays() {
        let (wholes, is_taken) = shown(&[("iban", &[5..9])], &[0..6, 8..20, 20..30]);

        assert_eq!((wholes, is_taken), (vec![("iban".to_owned(), vec![0..20])], vec![true, true, false]));
    }
}
