//! How many bytes all request bodies may hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all request bodies may hold together; default 1_073_741_824 (1 GiB).
///
/// Cloning it gives another handle to the same budget.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    most: AtomicUsize,
    held: AtomicUsize,
}

/// The budget has no room left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the budget of {most} bytes for request bodies is used up")]
pub struct Exhausted {
    /// The whole budget in bytes.
    pub most: usize,
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self::new(1 << 30)
    }
}

impl BodyBudget {
    /// A budget of `most` bytes.
    pub fn new(most: usize) -> Self {
        let shared = Arc::new(Shared { most: AtomicUsize::new(most), held: AtomicUsize::new(0) });
        Self { shared }
    }

    /// Changes the budget, for a reload. Bodies that are held stay held.
    pub fn resize(&self, most: usize) {
        self.shared.most.store(most, Ordering::Relaxed);
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// A share of `bytes` for something else that a request makes the gateway hold, such as a whole reply.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] when the budget has no such room.
    pub fn take(&self, bytes: usize) -> Result<BodyPermit, Exhausted> {
        let mut permit = self.hold();
        permit.grow_to(bytes)?;
        Ok(permit)
    }

    /// A share of nothing, which can grow.
    pub(super) fn hold(&self) -> BodyPermit {
        BodyPermit { shared: Arc::clone(&self.shared), bytes: 0 }
    }
}

/// A share of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct BodyPermit {
    shared: Arc<Shared>,
    bytes: usize,
}

impl BodyPermit {
    /// The size of the share.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the share at least `bytes`, or leaves it as it was.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] when the budget has no such room.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let most = self.shared.most.load(Ordering::Relaxed);
        let within = |held: usize| held.checked_add(more).filter(|held| *held <= most);
        self.shared.held.fetch_update(Ordering::AcqRel, Ordering::Relaxed, within).map_err(|_| Exhausted { most })?;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::{BodyBudget, Exhausted};

    #[test]
    fn a_budget_gives_up_to_its_last_byte_and_takes_back_what_is_dropped() {
        let budget = BodyBudget::new(10);
        let (mut first, mut second) = (budget.hold(), budget.hold());

        assert_eq!(first.grow_to(6), Ok(()));
        assert_eq!(second.grow_to(5), Err(Exhausted { most: 10 }));
        assert_eq!(second.grow_to(4), Ok(()));
        assert_eq!(first.grow_to(6), Ok(()));
        assert_eq!(first.grow_to(usize::MAX), Err(Exhausted { most: 10 }));

        drop(first);
        assert_eq!(second.grow_to(10), Ok(()));
        drop(second);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_smaller_budget_cuts_nobody_off() {
        let budget = BodyBudget::new(10);
        let mut held = budget.hold();
        held.grow_to(8).unwrap();

        budget.resize(4);

        assert!(budget.hold().grow_to(1).is_err());
        drop(held);
        assert!(budget.hold().grow_to(4).is_ok());
    }
}
