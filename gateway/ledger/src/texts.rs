//! Texts that lines of the journal have had of late, so that the next line that says the same shares them.
//!
//! Apps, teams, keys, models and targets are few, and each line names five of them: copied, they were half of what reading a line
//! took.
//!
//! **Does not do.** It forgets: a text that comes again is shared or is made anew, and is the same text either way.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// How many are kept at most.
const MOST_KEPT: usize = 256;

/// The longest that is kept, in bytes: users and models have the names that callers give them.
const LONGEST_KEPT: usize = 256;

/// Each has two places, by a hash that is keyed at random: the second is for what the next that has the same drives from the first,
/// so that no two that come in turn drive each other out.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    hash: RandomState,
    kept: Vec<Option<Arc<str>>>,
}

impl Texts {
    /// This text, shared with a line before where that had it. `make` makes it of the field, which need not be the text itself.
    pub(crate) fn share(&mut self, field: &str, make: impl FnOnce(&str) -> Option<Arc<str>>) -> Option<Arc<str>> {
        if field.len() > LONGEST_KEPT {
            return make(field);
        }
        if self.kept.is_empty() {
            self.kept.resize(MOST_KEPT, None);
        }
        let first = 2 * (self.hash.hash_one(field.as_bytes()) as usize % (MOST_KEPT / 2));
        let places = self.kept.get_mut(first..first + 2)?;
        if let Some(kept) = places.iter().flatten().find(|kept| ***kept == *field) {
            return Some(Arc::clone(kept));
        }
        let made = make(field)?;
        // INVARIANT: what is kept stands in its field as it is, so that the same field is the same text.
        if *made == *field {
            places.swap(0, 1);
            places[0] = Some(Arc::clone(&made));
        }
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(field: &str) -> Option<Arc<str>> {
        Some(field.into())
    }

    #[test]
    fn a_text_is_shared_up_to_its_longest_and_longer_ones_are_made_anew() {
        let mut texts = Texts::default();
        let mut is_shared = |length: usize| {
            let text = "m".repeat(length);
            let [first, second] = [texts.share(&text, plain), texts.share(&text, plain)].map(Option::unwrap);
            assert_eq!((&*first, &*second), (&*text, &*text));
            Arc::ptr_eq(&first, &second)
        };

        assert_eq!([0, 1, LONGEST_KEPT].map(&mut is_shared), [true; 3]);
        assert!(!is_shared(LONGEST_KEPT + 1));
    }

    #[test]
    fn of_more_texts_than_there_are_places_each_is_itself() {
        let mut texts = Texts::default();

        for number in (0..2_000).chain(0..2_000) {
            let text = format!("app {number}");
            assert_eq!(texts.share(&text, plain).as_deref(), Some(&*text));
        }

        assert_eq!(texts.kept.len(), MOST_KEPT);
    }

    #[test]
    fn a_text_that_its_field_only_stands_for_is_not_what_the_same_field_is_without_it() {
        let mut texts = Texts::default();

        let percent = texts.share("%25", |_| Some("%".into()));
        let damaged = texts.share("%", |_| None);

        assert_eq!((percent.as_deref(), damaged), (Some("%"), None));
    }
}
