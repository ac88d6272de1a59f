//! Budgets beside the books of app and key: which of them a request pays into, and that it fits into all.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use accounting::{Budget, Denied, Held, Moment, Money, OverBudget};
use ingress::limits;
use telemetry::pseudonym::Realm;

use super::arrive;
use super::plan::Planned;
use super::refusal::Refusal;
use crate::snapshot::Payer;

/// Why a request is not reserved for.
#[derive(Debug)]
pub(super) enum NoRoom {
    /// The book of its app or key, or the tokens of its model.
    Book(Denied),
    /// A budget.
    Budget(OverBudget),
    /// The requests of the model that it would go on to.
    Model(limits::Refusal),
}

impl NoRoom {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Book(Denied::Tokens { limit, retry_after, .. }) => Refusal::TokensUsedUp { limit, retry_after },
            Self::Book(Denied::Budget { limit, spent, held, retry_after, .. }) => {
                Refusal::BudgetSpent { limit, spent, held, retry_after }
            }
            Self::Budget(OverBudget::Spent { budget, retry_after }) => Refusal::BudgetFull { budget, retry_after },
            Self::Book(Denied::Unleased) | Self::Budget(OverBudget::Unleased) => Refusal::StoreLost,
            Self::Model(early) => arrive::refusal_of(early),
        }
    }
}

/// The budgets that a request pays into, and when it does.
pub(super) struct Paying {
    of: Vec<Arc<Budget>>,
    at: Instant,
    seconds: u64,
}

impl Paying {
    pub(super) fn hold(&self, amount: Money) -> Result<Held, NoRoom> {
        Held::of(&self.of, amount, (self.at, self.seconds)).map_err(NoRoom::Budget)
    }
}

fn payer<'a>(planned: &'a Planned, user: Option<&'a str>) -> Payer<'a> {
    let app = &planned.decoded.caller.app;
    Payer { app: &app.name, team: &app.team, model: planned.decoded.call.model(), user }
}

/// The pseudonym of the user that the token or the request names, where a budget counts users.
///
/// The one of the audit log, or one of the gateway's own where that has none: so the ledger tells no more of a person than the
/// log does.
pub(super) fn user(planned: &Planned) -> Option<Arc<str>> {
    let snapshot = &planned.decoded.exchange.snapshot;
    if !snapshot.budgets.count_users(payer(planned, None)) {
        return None;
    }
    let user = planned.decoded.caller.user_of(&planned.decoded.call).filter(|user| !user.is_empty())?;
    let key = snapshot.pseudonyms.as_ref().unwrap_or(&snapshot.shown_users);
    Some(key.pseudonym(Realm::Audit, &planned.decoded.caller.app.name, &user).into())
}

/// The budgets of a request, at the moment at which it reserves.
pub(super) fn of(planned: &Planned, user: Option<&str>, (now, calendar): (Moment, SystemTime)) -> Paying {
    let seconds = calendar.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Paying { of: planned.decoded.exchange.snapshot.budgets.of(payer(planned, user), seconds), at: now.at, seconds }
}
