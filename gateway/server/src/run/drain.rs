//! Counts the connections that are being served, so that a process that was told to leave leaves when the last ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The connections being served. Cloning gives another hold of the same count.
#[derive(Clone, Default)]
pub struct InFlight {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    count: AtomicUsize,
    empty: Notify,
}

impl InFlight {
    /// Counts one more until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> InFlightGuard {
        self.shared.count.fetch_add(1, Ordering::AcqRel);
        InFlightGuard { shared: Arc::clone(&self.shared) }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.count.load(Ordering::Acquire)
    }

    /// Returns when there are none.
    pub async fn empty(&self) {
        loop {
            let woken = self.shared.empty.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            woken.await;
        }
    }
}

/// One connection being served.
pub struct InFlightGuard {
    shared: Arc<Shared>,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.shared.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_the_last_connection_does() {
        let in_flight = InFlight::default();
        let (first, second) = (in_flight.enter(), in_flight.enter());
        let waiting = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.empty().await }
        });

        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);

        waiting.await.unwrap();
        assert_eq!(in_flight.count(), 0);
    }

    #[tokio::test]
    async fn waiting_for_none_returns_at_once() {
        InFlight::default().empty().await;
    }
}
