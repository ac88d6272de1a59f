//! The two halves of a line in the books: what a request held, and what it was settled at.

use std::collections::HashMap;
use std::sync::Arc;

use accounting::{Estimate, Money, SettledBy, Settlement, Tokens, Used};
use foldhash::fast::RandomState;

/// What a request holds from before it is sent until it is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The gateway's id of the request; the same as in the audit record.
    pub request: Arc<str>,
    /// When it was let in, in milliseconds since 1970.
    pub at_ms: u64,
    /// The app that pays.
    pub app: Arc<str>,
    /// Its team.
    pub team: Arc<str>,
    /// The key that was used, by its name.
    pub key: Arc<str>,
    /// The model that was asked for.
    pub model: Arc<str>,
    /// The pseudonym of the user who is named, where a budget counts each user; nothing elsewhere.
    pub user: Option<Arc<str>>,
    /// Tokens that are held.
    pub estimate: Estimate,
    /// Money that is held.
    pub money: Money,
}

/// Requests that are open, by their ids. Those are the gateway's own and no caller's, so that a quick hash will do.
pub(crate) type Open = HashMap<Arc<str>, Opening, RandomState>;

/// How it was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The request.
    pub request: Arc<str>,
    /// When it ended, in milliseconds since 1970.
    pub at_ms: u64,
    /// The target that answered, `endpoint/upstream-model`; nothing when none did.
    pub target: Option<Arc<str>>,
    /// What it was settled at.
    pub settlement: Settlement,
    /// The tier that was priced: `standard`, `flex`, `priority`, `batch`.
    pub tier: &'static str,
    /// The entry of the price catalogue, where there is one.
    pub price: Option<Arc<str>>,
    /// How the target is paid: `sunk`, `provisioned`, `per_token`, `unknown`.
    pub paid: &'static str,
    /// A permitted target that is paid for already would have met the request's time, when the plan was made.
    pub avoidable: bool,
}

/// One line of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it held.
    pub opening: Opening,
    /// What it was settled at.
    pub closing: Closing,
    /// Nobody settled it: its process died, and it was settled at what it held when the next one read the journal.
    pub recovered: bool,
}

impl Entry {
    /// What becomes of a request whose process died: it pays what it held.
    #[must_use]
    pub fn recovered(opening: Opening, at_ms: u64) -> Self {
        let used = Used { input: opening.estimate.input, output: opening.estimate.output, ..Used::default() };
        let settlement = Settlement {
            used,
            by: SettledBy::Reservation,
            money: opening.money,
            priced: false,
            lost_attempts: 0,
            lost: Tokens::ZERO,
            lost_money: Money::ZERO,
        };
        let closing = Closing {
            request: Arc::clone(&opening.request),
            at_ms,
            target: None,
            settlement,
            tier: "standard",
            price: None,
            paid: "unknown",
            avoidable: false,
        };
        Self { opening, closing, recovered: true }
    }

    /// What the app is charged with, in tokens.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.closing.settlement.total()
    }

    /// What the app is charged with.
    #[must_use]
    pub fn charged(&self) -> Money {
        self.closing.settlement.charged()
    }

    /// Whether someone should look at it: a part is a reservation that no upstream or no price confirmed.
    #[must_use]
    pub fn flagged(&self) -> bool {
        self.recovered || self.closing.settlement.flagged()
    }

    /// The endpoint that answered.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.closing.target.as_deref()?.split('/').next()
    }
}
