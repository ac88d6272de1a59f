//! What two readings of one text find, brought together so that nothing is counted twice.
//!
//! A backslash that is a letter of the text may be one (`C:\new`) or begin an escape of JSON within the string. Nothing tells
//! for certain, so both readings are searched, and whatever either finds counts. What lies within a number of the other
//! reading is a part of it, as it would be in one text: a piece of an IBAN is no telephone number because somebody may have
//! meant the backslash before it. Where both find the same kind at the same place, that is one find, up to where the longer of the two ends; where it begins depends
//! on the letter behind the backslash:
//!
//! | behind the backslash | is taken for | because |
//! |---|---|---|
//! | `n`, `t`, `u`, `"`, `/` | an escape | line breaks in quoted code and logs are far more common than such names |
//! | `r`, `b`, `f` | a letter of the value, as in `C:\Users\bob@…` | before anything else than `\n` hardly anyone writes these escapes |
//!
//! A control character is a line break in one reading and nothing in the other, a tag its letter and nothing. It may end a field
//! as well as stand within a number, so where one stands in a find of either reading, what the other one finds there counts as
//! well: a card number in front of another that it would be a part of.
//!
//! The two are not mixed within one value: one that needs a backslash read in one way at its beginning and in the other in its
//! middle is not found.

use std::ops::Range;

use super::letters::{self, Reading};
use crate::kind::TextKind;

/// One find and where it was written: one place for each string that it touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Find {
    pub(crate) kind: TextKind,
    pub(crate) places: Vec<Range<usize>>,
}

impl Find {
    pub(crate) fn start(&self) -> usize {
        self.places.first().map_or(0, |place| place.start)
    }

    fn end(&self) -> usize {
        self.places.first().map_or(0, |place| place.end)
    }

    /// Whether `other` is a part of this, as in [one text](TextKind::takes_in_its_parts). What begins at the same place is none: there
    /// both are found as well, but for secrets, of which both count that two readings give.
    fn holds(&self, other: &Self) -> bool {
        let is_within = self.start() < other.start() && other.end() <= self.end();
        self.kind.takes_in_its_parts() && is_within && self.places.len() == 1 && other.places.len() == 1
    }

    /// Whether a control character or a tag stands in it.
    fn has_unseen(&self, body: &[u8]) -> bool {
        self.places.iter().any(|place| {
            let mut rest = body.get(place.clone()).unwrap_or_default();
            loop {
                rest = rest.get(letters::plain_run(rest)..).unwrap_or_default();
                if rest.is_empty() {
                    return false;
                }
                let letter = letters::letter(rest, Reading::Literal);
                if letter.is_unseen {
                    return true;
                }
                rest = rest.get(letter.written..).unwrap_or_default();
            }
        })
    }

    /// Whether both are the same thing, read in two ways.
    fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.places.len() == other.places.len()
            && self.start() < other.end()
            && other.start() < self.end()
    }

    /// Makes one of this and what is the same in the literal reading.
    fn take_in(&mut self, literal: &Self, body: &[u8]) {
        let begins_earlier = begins_with_no_escape(body, literal, self);
        for (place, other) in self.places.iter_mut().zip(&literal.places) {
            if place.start < other.end && other.start < place.end {
                place.start = if begins_earlier { place.start.min(other.start) } else { place.start };
                place.end = place.end.max(other.end);
            }
        }
    }
}

/// Most finds that begin before the end of another and are compared with it. Within one reading few overlap: those of several kinds
/// at one place or within an address, and those that are split across strings. Beyond the bound one may be counted twice.
const MOST_COMPARED: usize = 16;

/// The finds of both readings of some text of `body`, each thing once, in the order of the document.
pub(crate) fn once(body: &[u8], literal: Vec<Find>, mut unfolded: Vec<Find>) -> Vec<Find> {
    unfolded.sort_by_key(Find::start);
    let unfolded_are_one = are_one(body, &unfolded);
    let mut are_in_both = vec![false; unfolded.len()];
    let mut rest = Vec::new();
    for find in literal {
        let near = near(&unfolded, &find);
        let others = || near.clone().filter_map(|at| Some((at, unfolded.get(at)?, *unfolded_are_one.get(at)?)));
        let equal = others().find(|(_, other, _)| **other == find);
        // What a control character may have parted is not known to be one: all of it counts.
        let same = equal.or_else(|| others().find(|(_, other, is_one)| *is_one && other.is_same(&find)));
        let is_part = others().any(|(_, other, is_one)| is_one && other.holds(&find));
        match same.map(|(at, ..)| at).and_then(|at| Some((unfolded.get_mut(at)?, are_in_both.get_mut(at)?))) {
            Some((same, is_in_both)) => {
                *is_in_both = true;
                same.take_in(&find, body);
            }
            None if !is_part => rest.push(find),
            None => {}
        }
    }
    rest.sort_by_key(Find::start);
    let rest_are_one = are_one(body, &rest);
    let mut are_in_both = are_in_both.into_iter();
    unfolded.retain(|find| {
        let near = near(&rest, find);
        let others = rest.get(near.clone()).unwrap_or_default();
        let are_one = rest_are_one.get(near).unwrap_or_default();
        let is_in_both = are_in_both.next().unwrap_or_default();
        is_in_both || !others.iter().zip(are_one).any(|(other, is_one)| *is_one && other.holds(find))
    });
    unfolded.extend(rest);
    unfolded.sort_by_key(Find::start);
    unfolded
}

/// Which of `finds` no control character and no tag stands in: once for each, since many finds of the other reading may lie within
/// a long one.
fn are_one(body: &[u8], finds: &[Find]) -> Vec<bool> {
    finds.iter().map(|find| !find.has_unseen(body)).collect()
}

/// Which of `finds`, in the order of their beginnings, can overlap `find`.
fn near(finds: &[Find], find: &Find) -> Range<usize> {
    let behind = finds.partition_point(|other| other.start() < find.end());
    behind.saturating_sub(MOST_COMPARED)..behind
}

/// Whether what is taken for an escape by `unfolded` is rather the first letter of `literal`.
fn begins_with_no_escape(body: &[u8], literal: &Find, unfolded: &Find) -> bool {
    let first = || letters::letter(body.get(literal.start()..literal.end()).unwrap_or_default(), Reading::Literal);
    literal.start() < unfolded.start() && matches!(first().bytes(), b"r" | b"b" | b"f")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(kind: &str, place: Range<usize>) -> Find {
        Find { kind: TextKind::named(kind)[0], places: vec![place] }
    }

    #[test]
    fn what_both_find_is_one_find_and_what_one_finds_counts_as_well() {
        let (email, iban, both) = (find("email", 2..9), find("iban", 30..40), find("card", 50..60));
        let literal = vec![email.clone(), find("iban", 29..35), both.clone()];

        let merged = once(b"", literal, vec![iban.clone(), both.clone(), find("email", 50..60)]);

        assert_eq!(merged, [email, iban, both, find("email", 50..60)]);
    }

    #[test]
    fn the_letter_behind_the_backslash_says_which_place_it_is() {
        for (letter, is_part_of_it) in [("n", false), ("t", false), ("r", true), ("b", true), ("f", true)] {
            let body = format!(r"C:\\{letter}ob@example.org");
            let literal = find("email", 4..body.len());

            let merged = once(body.as_bytes(), vec![literal.clone()], vec![find("email", 5..body.len())]);

            assert_eq!(merged == [literal], is_part_of_it, "{letter}: {merged:?}");
            assert_eq!(merged.len(), 1);
        }
    }

    #[test]
    fn a_part_of_what_the_other_reading_finds_is_no_find_of_its_own() {
        let (iban, phone) = (find("iban", 2..30), find("phone", 12..30));
        let (url, email) = (find("basic_auth_url", 0..20), find("email", 10..30));

        assert_eq!(once(b"", vec![phone.clone()], vec![iban.clone()]), std::slice::from_ref(&iban));
        assert_eq!(once(b"", vec![iban.clone()], vec![phone]), [iban]);
        assert_eq!(once(b"", vec![email.clone()], vec![url.clone()]), [url, email], "each goes beyond the other");
    }

    #[test]
    fn of_what_begins_at_one_place_each_reading_counts() {
        let (ssn, phone) = (find("us_ssn", 6..17), find("phone", 6..20));
        let both = [ssn.clone(), phone.clone()];

        for (literal, unfolded) in [
            (both.to_vec(), vec![ssn.clone()]),
            (vec![ssn.clone()], both.to_vec()),
            (both.to_vec(), vec![phone.clone()]),
        ] {
            let mut merged = once(b"", literal, unfolded);
            merged.sort_by_key(Find::end);
            assert_eq!(merged, both);
        }
    }

    #[test]
    fn what_both_find_stays_whatever_one_of_them_finds_around_it() {
        let (iban, phone) = (find("iban", 2..30), find("phone", 12..30));

        let merged = once(b"", vec![iban.clone(), phone.clone()], vec![phone.clone()]);

        assert_eq!(merged, [iban, phone]);
    }

    #[test]
    fn what_goes_by_its_shape_holds_nothing_of_the_other_reading() {
        let (email, card) = (find("email", 2..30), find("card", 8..24));

        assert_eq!(once(b"", vec![email.clone()], vec![card.clone()]), [email.clone(), card.clone()]);
        assert_eq!(once(b"", vec![card.clone()], vec![email.clone()]), [email, card]);
    }

    /// Nobody sees the tag, so nothing tells whether what it stands in is one.
    #[test]
    fn what_a_tag_stands_in_holds_nothing_of_the_other_reading() {
        let body = "\u{e0044}\u{e0045}89 3704 0044 0532 0130 00".as_bytes();
        let (iban, phone) = (find("iban", 0..body.len()), find("phone", 16..body.len()));

        assert_eq!(once(body, vec![iban.clone()], vec![phone.clone()]), [iban.clone(), phone.clone()]);
        assert_eq!(once(body, vec![phone.clone()], vec![iban.clone()]), [iban, phone]);
    }

    #[test]
    fn what_both_find_reaches_to_where_the_longer_of_the_two_ends() {
        let body = br"see FILE-17\\north\\nadia end";
        let (long, short, later) = (find("email", 4..26), find("email", 4..11), find("email", 20..24));

        assert_eq!(once(body, vec![long.clone()], vec![short.clone()]), std::slice::from_ref(&long));
        assert_eq!(once(body, vec![short.clone()], vec![long.clone()]), std::slice::from_ref(&long));
        // What stands between two parts of a long one belongs to it as well.
        assert_eq!(once(body, vec![long.clone()], vec![short, later.clone()]), [long, later]);
    }

    #[test]
    fn a_split_value_is_not_the_same_as_a_part_of_it() {
        let split = Find { places: vec![2..9, 20..22], ..find("email", 0..0) };

        let merged = once(b"", vec![split.clone()], vec![find("email", 2..9)]);

        assert_eq!(merged.len(), 2, "{merged:?}");
        assert_eq!(once(b"", vec![split.clone()], vec![split.clone()]), [split]);
    }
}
