//! What is known in a state folder beside what the ledger says, and whose turn it is to take that over.
//!
//! **Promises.** Of two processes that begin to limit one thing at once the second reads the ledger when the first has told the
//! database what it read there, so that what was spent before counts once.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use accounting::Money;

use super::Shared;
use super::beside::Place;

/// The longest that a process waits until another one has told what it read in the ledger.
const READS_IN: Duration = Duration::from_secs(2);

/// What other processes of the state folder tell that was spent, by account and month, or another stretch of a calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told(HashMap<Arc<str>, BTreeMap<u32, Money>>);

impl Told {
    /// What they tell of one account. Each has counted there what the ledger said when it began, and what it has spent since.
    #[must_use]
    pub fn of(&self, account: &str, month: u32) -> Money {
        self.0.get(account).and_then(|months| months.get(&month)).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, account: Arc<str>, month: u32, spent: Money) {
        let sum = self.0.entry(account).or_default().entry(month).or_default();
        *sum = *sum + spent;
    }
}

/// The turn of this process to take over what the ledger says; it is over when it is dropped. Nothing for a process that has no
/// place in a folder, and where another one took too long.
#[derive(Debug, Default)]
pub struct Reads(pub(super) Option<File>);

impl Shared {
    /// Waits for the turn of this process to take over what the ledger says. It blocks its thread, for two seconds at most.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let reads = self.reads_within(READS_IN);
        if matches!(reads, Ok(Reads(None))) && self.has_a_place() {
            tracing::warn!(
                "another process of this state folder takes longer than {READS_IN:?} to take over what the ledger says; what \
                 was spent before may be counted twice until the next start"
            );
        }
        reads.unwrap_or_else(|error| {
            tracing::warn!(%error, "another process of this state folder may take over at once what the ledger says");
            Reads::default()
        })
    }

    pub(super) fn reads_within(&self, within: Duration) -> io::Result<Reads> {
        match &self.inner.beside {
            Some(beside) if self.has_a_place() => Ok(Reads(beside.marks.reads(within)?)),
            _ => Ok(Reads::default()),
        }
    }

    /// What was read counts from here on: the turn is over as soon as it was told to the other processes.
    pub fn tells(&self, reads: Reads) {
        if let (Some(beside), Some(file)) = (&self.inner.beside, reads.0) {
            *beside.reads.lock() = Some(file);
        }
    }

    /// What other processes of the folder tell that was spent; nothing where there is none.
    ///
    /// # Errors
    ///
    /// When the database in the folder cannot say.
    pub fn told(&self) -> io::Result<Told> {
        let Some(beside) = self.inner.beside.as_ref().filter(|beside| beside.shares.load(Ordering::Acquire)) else {
            return Ok(Told::default());
        };
        let place = beside.place.lock();
        let Some(Place { owner, leases: Some(leases), others, .. }) = &*place else { return Ok(Told::default()) };
        leases.told(owner, others).map_err(io::Error::other)
    }

    fn has_a_place(&self) -> bool {
        self.inner.beside.as_ref().is_some_and(|beside| beside.place.lock().is_some())
    }
}
