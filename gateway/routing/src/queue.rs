//! Where requests wait for a place: bounded, the earliest deadline first within a priority, fair between apps.
//!
//! Each entry is ordered by its deadline, put back by the work that its own app already has waiting. An app that floods
//! the queue delays itself: another app's request, with the same deadline and nothing before it, goes first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::Bound;
use std::time::{Duration, Instant};

use accounting::Tokens;

use crate::ask::Priority;

/// What waits, in the order in which it is to go. `A` names an app, `T` is what waits.
#[derive(Debug)]
pub struct Queue<A, T> {
    bounds: Bounds,
    waiting: BTreeMap<Place, Entry<A, T>>,
    /// The same entries by the time at which they must go.
    latest: BTreeSet<(Instant, Place)>,
    apps: HashMap<A, Held>,
    next: u64,
}

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests in all.
    pub requests: usize,
    /// Requests of one app.
    pub of_one_app: usize,
}

impl Default for Bounds {
    /// 1,024 requests, at most 256 of one app.
    fn default() -> Self {
        Self { requests: 1_024, of_one_app: 256 }
    }
}

/// A place in the queue; it takes its entry out again. Places compare in the order of going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    priority: Priority,
    turn: Instant,
    number: u64,
}

/// A request that is to wait.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<A> {
    /// Whose it is.
    pub app: A,
    /// Who goes first.
    pub priority: Priority,
    /// When it must go at the latest, wherever that may be.
    pub latest: Instant,
    /// The work that it is.
    pub work: Tokens,
}

/// Why a request may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The queue is at its bound.
    #[error("{0} requests wait already, which is the most that may")]
    Queue(usize),
    /// The app is at its bound.
    #[error("{0} requests of this app wait already, which is the most that may")]
    App(usize),
}

#[derive(Debug)]
struct Entry<A, T> {
    app: A,
    latest: Instant,
    work: u64,
    item: T,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    requests: usize,
    work: u64,
}

/// Tokens of its own app's waiting work that put a request's turn back by a second.
const TOKENS_PER_SECOND: u64 = 8_000;

/// The furthest that an app's own work puts a turn back.
const MOST_DELAY: Duration = Duration::from_secs(3_600);

impl<A: Clone + Eq + Hash, T> Queue<A, T> {
    /// An empty queue.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: BTreeMap::new(), latest: BTreeSet::new(), apps: HashMap::new(), next: 0 }
    }

    /// Puts a request into the queue.
    ///
    /// # Errors
    ///
    /// [`Full`], and the item back, when the queue or the app is at its bound.
    pub fn push(&mut self, request: Waiting<A>, item: T) -> Result<Place, (Full, T)> {
        if self.waiting.len() >= self.bounds.requests {
            return Err((Full::Queue(self.bounds.requests), item));
        }
        let held = self.apps.get(&request.app).copied().unwrap_or_default();
        if held.requests >= self.bounds.of_one_app {
            return Err((Full::App(self.bounds.of_one_app), item));
        }
        let work = request.work.bounded().0;
        let delay = Duration::from_millis(held.work.saturating_mul(1_000) / TOKENS_PER_SECOND).min(MOST_DELAY);
        let place = Place { priority: request.priority, turn: request.latest + delay, number: self.next };
        self.next += 1;
        self.latest.insert((request.latest, place));
        let held = self.apps.entry(request.app.clone()).or_default();
        held.requests += 1;
        held.work = held.work.saturating_add(work);
        self.waiting.insert(place, Entry { app: request.app, latest: request.latest, work, item });
        Ok(place)
    }

    /// The request whose turn it is.
    #[must_use]
    pub fn first(&self) -> Option<(Place, &T)> {
        self.waiting.first_key_value().map(|(place, entry)| (*place, &entry.item))
    }

    /// The request whose turn comes after that place, also when the place was given up meanwhile.
    #[must_use]
    pub fn after(&self, place: Place) -> Option<(Place, &T)> {
        let mut behind = self.waiting.range((Bound::Excluded(place), Bound::Unbounded));
        behind.next().map(|(place, entry)| (*place, &entry.item))
    }

    /// All that wait, in the order of their turns.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &T)> {
        self.waiting.iter().map(|(place, entry)| (*place, &entry.item))
    }

    /// The request that must go next, and when.
    #[must_use]
    pub fn most_urgent(&self) -> Option<(Instant, Place)> {
        self.latest.first().copied()
    }

    /// Takes a request out: its turn came, its time is over, or its caller left.
    pub fn take(&mut self, place: Place) -> Option<T> {
        let entry = self.waiting.remove(&place)?;
        self.latest.remove(&(entry.latest, place));
        if let Some(held) = self.apps.get_mut(&entry.app) {
            held.requests = held.requests.saturating_sub(1);
            held.work = held.work.saturating_sub(entry.work);
            // INVARIANT: an app is in the map while something of it waits, so the map is no larger than the queue.
            if held.requests == 0 {
                self.apps.remove(&entry.app);
            }
        }
        Some(entry.item)
    }

    /// Requests that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { requests: 40, of_one_app: 30 };

    fn waiting(app: char, latest: Instant) -> Waiting<char> {
        Waiting { app, priority: Priority::Normal, latest, work: Tokens(800) }
    }

    fn drain(queue: &mut Queue<char, char>) -> String {
        std::iter::from_fn(|| queue.first().map(|(place, _)| place).and_then(|place| queue.take(place))).collect()
    }

    #[test]
    fn an_app_that_floods_the_queue_takes_turns_with_one_that_does_not() {
        let now = Instant::now();
        let mut queue = Queue::new(BOUNDS);
        for _ in 0..20 {
            queue.push(waiting('a', now), 'a').unwrap();
        }
        for _ in 0..3 {
            queue.push(waiting('b', now), 'b').unwrap();
        }

        let order = drain(&mut queue);

        assert_eq!(order.get(..6), Some("ababab"));
    }

    #[test]
    fn the_earliest_deadline_goes_first_and_a_higher_priority_before_it() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut queue = Queue::new(BOUNDS);
        queue.push(waiting('a', at(30)), 'c').unwrap();
        queue.push(waiting('b', at(10)), 'b').unwrap();
        queue.push(Waiting { priority: Priority::High, ..waiting('c', at(60)) }, 'a').unwrap();
        queue.push(Waiting { priority: Priority::Low, ..waiting('d', at(1)) }, 'd').unwrap();

        assert_eq!(queue.most_urgent().map(|(latest, _)| latest), Some(at(1)));
        assert_eq!(drain(&mut queue), "abcd");
    }

    #[test]
    fn neither_the_queue_nor_an_app_exceeds_its_bound() {
        let now = Instant::now();
        let mut queue = Queue::new(BOUNDS);
        for _ in 0..30 {
            queue.push(waiting('a', now), 'a').unwrap();
        }

        assert_eq!(queue.push(waiting('a', now), 'x'), Err((Full::App(30), 'x')));
        for _ in 0..10 {
            queue.push(waiting('b', now), 'b').unwrap();
        }
        assert_eq!(queue.push(waiting('c', now), 'y'), Err((Full::Queue(40), 'y')));

        let place = queue.first().unwrap().0;
        assert!(queue.take(place).is_some());
        assert!(queue.push(waiting('c', now), 'z').is_ok(), "a place that was taken out is free");
    }

    #[test]
    fn a_request_that_left_is_gone_from_every_order() {
        let now = Instant::now();
        let mut queue = Queue::new(BOUNDS);
        let place = queue.push(waiting('a', now), 'a').unwrap();
        let behind = queue.push(waiting('b', now), 'b').unwrap();

        assert_eq!((queue.after(place).map(|(_, item)| *item), queue.after(behind)), (Some('b'), None));
        assert_eq!(queue.take(place), Some('a'));
        assert_eq!(queue.after(place).map(|(place, _)| place), Some(behind));
        queue.take(behind);

        assert_eq!(queue.take(place), None);
        assert!(queue.is_empty() && queue.most_urgent().is_none() && queue.apps.is_empty());
    }
}
