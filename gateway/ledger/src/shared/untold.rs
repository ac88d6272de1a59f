//! What the store is yet to be told of what the ledger knows.

use std::collections::VecDeque;

use super::Known;

/// One list, told from its front. Another list may take its place while some of it is on its way to the store.
#[derive(Debug, Default)]
pub(super) struct Untold {
    waits: VecDeque<Known>,
    /// How many lists there were before this one.
    list: u64,
}

/// The front of a list.
pub(super) struct Front {
    pub(super) known: Vec<Known>,
    list: u64,
}

impl Untold {
    /// All that is to be told from now on.
    pub(super) fn replace(&mut self, known: Vec<Known>) {
        self.waits = known.into();
        self.list += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// What comes next, `most` of it. It stays to be told.
    pub(super) fn front(&self, most: usize) -> Front {
        Front { known: self.waits.iter().take(most).cloned().collect(), list: self.list }
    }

    /// This was told. Nothing of a list that took the place of its own was.
    pub(super) fn is_told(&mut self, front: &Front) {
        if front.list == self.list {
            self.waits.drain(..front.known.len().min(self.waits.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn of(months: std::ops::Range<u32>) -> Vec<Known> {
        months
            .map(|month| Known { account: "a".into(), month, spent: vec![(Arc::from("A"), accounting::Money(7))] })
            .collect()
    }

    #[test]
    fn what_was_told_is_gone_and_what_was_not_stays_in_its_order() {
        let mut untold = Untold::default();
        untold.replace(of(0..5));

        untold.is_told(&untold.front(2));

        assert_eq!(untold.front(9).known, of(2..5));
        untold.is_told(&untold.front(3));
        assert!(untold.is_empty());
    }

    #[test]
    fn a_list_that_came_while_another_was_on_its_way_is_told_whole_though_it_says_the_same() {
        let mut untold = Untold::default();
        untold.replace(of(0..3));
        let on_its_way = untold.front(3);

        untold.replace(of(0..3));
        untold.is_told(&on_its_way);

        assert_eq!(untold.front(9).known, of(0..3));
    }
}
