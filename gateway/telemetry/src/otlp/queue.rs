//! What waits for a collector, in bounded space.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A queue that drops what does not fit and never makes anybody wait.
#[derive(Debug)]
pub struct Queue<T> {
    waiting: Mutex<VecDeque<T>>,
    most: usize,
    dropped: AtomicU64,
    /// Nobody takes what would be put in.
    closed: AtomicBool,
    full: Notify,
}

impl<T> Queue<T> {
    /// One for so many, closed.
    #[must_use]
    pub fn closed(most: usize) -> Self {
        let closed = AtomicBool::new(true);
        Self { waiting: Mutex::default(), most, dropped: AtomicU64::new(0), closed, full: Notify::new() }
    }

    /// Opens it, or closes it and forgets what waits.
    pub fn set_open(&self, open: bool) {
        self.closed.store(!open, Ordering::Relaxed);
        if !open {
            *self.waiting.lock() = VecDeque::new();
        }
    }

    /// Whether somebody takes what is put in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    /// Puts all of these in, or drops all of them.
    pub fn put(&self, items: Vec<T>) {
        if !self.is_open() || items.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        if waiting.len() + items.len() > self.most {
            drop(waiting);
            self.drop_counted(items.len());
            return;
        }
        waiting.extend(items);
        let half = waiting.len() * 2 > self.most;
        drop(waiting);
        if half {
            self.full.notify_one();
        }
    }

    /// Takes at most so many, the oldest first.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<T> {
        let mut waiting = self.waiting.lock();
        let count = most.min(waiting.len());
        waiting.drain(..count).collect()
    }

    /// Waits until it is half full.
    pub async fn fills(&self) {
        self.full.notified().await;
    }

    /// Counts what was taken and could not be delivered.
    pub fn drop_counted(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How many were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let queue = Queue::closed(3);
        queue.put(vec![0]);
        queue.set_open(true);

        queue.put(vec![1, 2]);
        queue.put(vec![3, 4]);
        queue.put(vec![5]);

        assert_eq!((queue.take(2), queue.take(9), queue.take(1)), (vec![1, 2], vec![5], vec![]));
        assert_eq!(queue.dropped(), 2);
    }

    #[test]
    fn a_closed_queue_holds_nothing() {
        let queue = Queue::closed(3);
        queue.set_open(true);
        queue.put(vec![1]);

        queue.set_open(false);

        assert_eq!((queue.take(9), queue.dropped()), (vec![], 0));
    }
}
