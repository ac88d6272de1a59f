//! What one target is to one request, at one moment: the numbers that the choice is made of.

use std::time::{Duration, Instant};

use accounting::Tokens;

use crate::health::Standing;
use crate::signals::Paid;

/// What one target is to one request. Made by [`Signals::outlook`](crate::Signals::outlook).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// What its health says.
    pub standing: Standing,
    /// How it is paid for.
    pub paid: Paid,
    /// When the first token is expected: of own servers the prediction, of others the 95th percentile.
    pub first_token: Option<Duration>,
    /// The first token's median.
    pub typical: Option<Duration>,
    /// How much later the first token may be for what other gateways sent since they were last heard of.
    pub doubt: Duration,
    /// Time that its streams take for a token now.
    pub per_token: Option<Duration>,
    /// What the request would cost in dollars; sunk capacity has no price.
    pub price: Option<f64>,
    /// What its quota leaves for this request.
    pub quota: Left,
    /// It would turn the request away: at its bound of requests in flight, or its provisioned throughput is used up.
    pub full: bool,
    /// The session of this request has its home there, and nothing says that its cache does not pay for it.
    pub home: bool,
    /// Tokens of the prompt that need not be read there again, by what its answers reported so far.
    pub cached: Tokens,
    /// Percent of the requests that go there whatever the rest says: a migration or a canary. Without it: as all.
    pub share: Option<u8>,
}

/// What a quota leaves for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// There is no quota, or nobody has said how much is left.
    Unknown,
    /// It suffices; so much is left before the request.
    Enough(Tokens),
    /// It does not suffice.
    Short {
        /// Tokens left; nothing where requests are what is short and nothing is known of tokens.
        tokens: Option<Tokens>,
        /// When it will suffice; nothing when nobody can tell.
        wait: Option<Duration>,
    },
}

impl Left {
    /// Tokens left, where that is known.
    #[must_use]
    pub const fn tokens(self) -> Option<Tokens> {
        match self {
            Self::Unknown => None,
            Self::Enough(tokens) => Some(tokens),
            Self::Short { tokens, .. } => tokens,
        }
    }
}

impl Outlook {
    /// A target of which nothing is known but its health. A request for it goes by declared order.
    #[must_use]
    pub const fn of(standing: Standing) -> Self {
        Self {
            standing,
            paid: Paid::Sunk,
            first_token: None,
            typical: None,
            doubt: Duration::ZERO,
            per_token: None,
            price: None,
            quota: Left::Unknown,
            full: false,
            home: false,
            cached: Tokens::ZERO,
            share: None,
        }
    }

    /// After which time it would take a request that it turns away now; nothing where nobody can tell.
    pub(crate) fn free_in(&self, now: Instant) -> Option<Duration> {
        let blocked = match self.standing {
            Standing::Blocked { until } | Standing::Ejected { until, .. } => until.saturating_duration_since(now),
            Standing::Healthy | Standing::HalfOpen | Standing::Probing { .. } => Duration::ZERO,
        };
        let quota = if let Left::Short { wait, .. } = self.quota { wait? } else { Duration::ZERO };
        let known = blocked.max(quota);
        // A place is free when a request ends there. Its queue is the best guess of when.
        if self.full || known.is_zero() { self.first_token.map(|first| first.max(known)) } else { Some(known) }
    }

    /// What the target is to the session of the request: nothing where it is not its home, else the tokens of the prompt that
    /// need not be read there again.
    pub(crate) fn as_home(&self) -> Option<Tokens> {
        self.home.then_some(self.cached)
    }

    /// The same at another price, where its owner knows it better than by one price a token.
    #[must_use]
    pub const fn with_price(mut self, price: Option<f64>) -> Self {
        self.price = price;
        self
    }

    /// The same with a share of the traffic, in percent, at most 100.
    #[must_use]
    pub const fn with_share(mut self, share: Option<u8>) -> Self {
        self.share = share;
        self
    }
}
