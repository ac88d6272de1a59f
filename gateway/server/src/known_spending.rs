//! What the ledger knows that all gateways of a fleet have spent, for the store that they share.
//!
//! The store is told by the gateways that are there. One that was emptied would not hear of those that are gone, nor of those that
//! are not back yet; their spending is in the ledger that all post into. So every gateway tells the store what the ledger says of
//! all, when it begins, when a reload limits what was not limited, and whenever the store was found without its memory.
//!
//! **Does not do.** What a gateway that is gone had not posted, a second's worth while the ledger takes what it is offered, is
//! known to nobody before its folder is in use again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accounting::Day;
use ledger::{Known, Ledger, LedgerError};

use crate::gateway::Gateway;
use crate::pipeline;
use crate::snapshot::Snapshot;

/// So long after a failure the ledger is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What the ledger says that each gateway has spent this month, and in the stretches of budgets; nothing where no store is shared.
pub(crate) fn known(snapshot: &Snapshot, ledger: &Ledger) -> Result<Vec<Known>, LedgerError> {
    if snapshot.sharing.is_none() {
        return Ok(Vec::new());
    }
    let now = SystemTime::now();
    let month = pipeline::month_of(now);
    let first = |month| Day::first_of(month).days().unsigned_abs();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut known = snapshot.known(month, &ledger.spent_of_each((first(month), first(month + 1)))?);
    known.extend(snapshot.budgets.known(ledger, seconds)?);
    Ok(known)
}

/// Asks the ledger whenever the store was found without its memory, for as long as it is not dropped; at once over where no
/// store is shared.
pub(crate) async fn follow(gateway: &Arc<Gateway>) {
    let Some(sharing) = gateway.snapshot().sharing.clone() else { return };
    let mut forgotten = sharing.counters.forgotten();
    while forgotten.changed().await.is_ok() {
        loop {
            match look_up(gateway).await {
                // Where a reload came in between, what it limits is wanted as well.
                Ok((snapshot, known)) => {
                    if gateway.tell(&snapshot, known) {
                        break;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "what gateways that are gone had spent is not known; the ledger is asked again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

async fn look_up(gateway: &Arc<Gateway>) -> Result<(Arc<Snapshot>, Vec<Known>), String> {
    let (snapshot, ledger) = (gateway.snapshot(), gateway.ledger.clone());
    let looked = tokio::task::spawn_blocking(move || known(&snapshot, &ledger).map(|known| (snapshot, known))).await;
    looked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
