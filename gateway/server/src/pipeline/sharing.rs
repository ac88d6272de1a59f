//! Waiting for the store where a limit is shared by several gateways, or two processes, and the part that lies here is used up.
//!
//! In the common case nobody waits: what is asked fits into the part. A process that has its limits for itself never does.

use std::time::{Duration, Instant};

use accounting::{Denied, OverBudget};
use ingress::limits;
use ledger::Shared;

use super::budgets::NoRoom;

/// The longest that one request asks again. What others gave back can be gone again before it comes to its turn.
const LONGEST: Duration = Duration::from_secs(2);

/// A refusal that may be for want of a part.
pub(super) trait MayBeUnleased {
    fn is_unleased(&self) -> bool;
}

impl MayBeUnleased for limits::Refusal {
    fn is_unleased(&self) -> bool {
        *self == Self::Unleased
    }
}

impl MayBeUnleased for NoRoom {
    fn is_unleased(&self) -> bool {
        matches!(
            self,
            Self::Book(Denied::Unleased) | Self::Budget(OverBudget::Unleased) | Self::Model(limits::Refusal::Unleased)
        )
    }
}

/// Tries, and again after each round of the store for as long as only a part is wanting.
///
/// # Errors
///
/// What was tried says; that a part is wanting still where the store is away, or others were faster for two seconds.
pub(super) async fn ask<T, E: MayBeUnleased>(
    counters: &Shared,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        let latest = counters.latest();
        let tried = attempt();
        if !tried.as_ref().is_err_and(MayBeUnleased::is_unleased) || begun.elapsed() > LONGEST {
            return tried;
        }
        if counters.round(latest).await.is_err() {
            return tried;
        }
    }
}
