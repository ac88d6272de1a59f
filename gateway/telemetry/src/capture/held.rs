//! What callers got so far of answers that are to be kept: in memory, until each is sealed.
//!
//! **Promises.** One holds at most [`MOST_ANSWER`] bytes, and all together at most [`MOST_HELD`], the room that they have
//! reserved included. What has no room is cut off, the rest of that answer with it, and nothing waits or fails for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Figures, MOST_ANSWER};

/// Most bytes that are held of all running answers together.
pub const MOST_HELD: usize = 256 << 20;

/// The first room that an answer reserves: many have enough of it.
const FIRST: usize = 4 << 10;

/// The beginning of a running answer. Its room is given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    figures: Arc<Figures>,
    text: Vec<u8>,
    /// INVARIANT: what this one has taken of the sum; `text` is never longer and reserves no more.
    taken: usize,
    cut: Option<Cut>,
}

/// Why only the beginning of an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is longer than [`MOST_ANSWER`].
    Long,
    /// All that were running held [`MOST_HELD`].
    Memory,
}

impl Cut {
    /// The reason in one word, for records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Memory => "memory",
        }
    }
}

impl Held {
    pub(super) fn new(figures: Arc<Figures>) -> Self {
        Self { figures, text: Vec::new(), taken: 0, cut: None }
    }

    /// Adds what the caller gets next. After a cut nothing is added: what is kept is a beginning, and has no gaps.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.cut.is_some() || bytes.is_empty() {
            return;
        }
        let fitting = bytes.get(..MOST_ANSWER - self.text.len()).unwrap_or(bytes);
        let room = self.room_for(fitting.len());
        self.text.extend_from_slice(fitting.get(..room).unwrap_or(fitting));
        let cut = if room < fitting.len() {
            Cut::Memory
        } else if fitting.len() < bytes.len() {
            Cut::Long
        } else {
            return;
        };
        self.cut = Some(cut);
        self.figures.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// How many of `more` bytes there is room for, which is reserved where there is some.
    fn room_for(&mut self, more: usize) -> usize {
        let needed = self.text.len() + more;
        if needed > self.taken {
            // Twice as much each time, so that a long answer is not copied for each of its pieces.
            let next = needed.max(self.taken * 2).clamp(FIRST, MOST_ANSWER);
            self.taken += self.figures.take(next - self.taken);
            self.text.reserve_exact(self.taken - self.text.len());
        }
        more.min(self.taken - self.text.len())
    }

    /// Why it is only a beginning, where it is.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Whether nothing was answered so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.cut.is_none()
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.figures.held.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

impl Figures {
    /// Takes up to `wanted` bytes of the sum; gives what there was.
    fn take(&self, wanted: usize) -> usize {
        let grant = |held: usize| wanted.min(MOST_HELD.saturating_sub(held));
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held + grant(held)));
        taken.map_or(0, grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(held: usize) -> Arc<Figures> {
        let figures = Figures::default();
        figures.held.store(held, Ordering::Relaxed);
        Arc::new(figures)
    }

    fn held(figures: &Arc<Figures>) -> usize {
        figures.held.load(Ordering::Relaxed)
    }

    #[test]
    fn the_last_byte_of_the_sum_is_held_and_the_next_one_is_cut_off_with_all_behind_it() {
        let figures = figures(MOST_HELD - 10);
        let (mut whole, mut late) = (Held::new(Arc::clone(&figures)), Held::new(Arc::clone(&figures)));

        whole.push(b"0123456789");
        late.push(b"x");
        let full = held(&figures);
        drop(whole);
        let mut cut = Held::new(Arc::clone(&figures));
        cut.push(b"0123");
        cut.push(b"4567890");
        drop(late);
        cut.push(b"more");

        assert_eq!(full, MOST_HELD);
        assert_eq!((cut.text(), cut.cut()), (&b"0123456789"[..], Some(Cut::Memory)));
        assert_eq!(figures.cut.load(Ordering::Relaxed), 2);
        drop(cut);
        assert_eq!(held(&figures), MOST_HELD - 10, "all that was taken is given back");
    }

    #[test]
    fn one_that_finds_no_room_at_all_is_cut_and_not_empty() {
        let figures = figures(MOST_HELD);
        let mut answer = Held::new(Arc::clone(&figures));
        let nothing = answer.is_empty();

        answer.push(b"x");

        assert!(nothing && !answer.is_empty());
        assert_eq!((answer.text(), answer.cut()), (&b""[..], Some(Cut::Memory)));
    }

    #[test]
    fn an_answer_is_held_up_to_its_own_bound_and_reserves_no_more() {
        let figures = figures(0);
        let mut answer = Held::new(Arc::clone(&figures));

        for _ in 0..MOST_ANSWER / 1_000 {
            answer.push(&[b'x'; 1_000]);
            assert!(answer.text.capacity() <= answer.taken && answer.taken == held(&figures));
        }
        answer.push(&vec![b'x'; MOST_ANSWER % 1_000]);
        let uncut = answer.cut();
        answer.push(b"y");

        assert_eq!((uncut, answer.cut()), (None, Some(Cut::Long)));
        assert_eq!((answer.text().len(), answer.text().last()), (MOST_ANSWER, Some(&b'x')));
        assert_eq!(held(&figures), MOST_ANSWER);
    }

    #[test]
    fn many_threads_together_hold_no_more_than_the_sum() {
        let figures = figures(MOST_HELD - (1 << 20));
        let each = || {
            let mut answer = Held::new(Arc::clone(&figures));
            (0..400).for_each(|_| answer.push(&[b'x'; 1_000]));
            answer
        };

        let answers: Vec<Held> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(each)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        let bytes: usize = answers.iter().map(|answer| answer.text().len()).sum();
        assert_eq!(held(&figures), MOST_HELD);
        assert!(bytes <= 1 << 20 && answers.iter().any(|answer| answer.cut().is_some()), "{bytes}");
        drop(answers);
        assert_eq!(held(&figures), MOST_HELD - (1 << 20));
    }
}
