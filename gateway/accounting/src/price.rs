//! What a target costs: nothing more than is paid already, a price by the token, or nobody knows.

use crate::money::{Money, Rate, rounded_up};
use crate::tokens::{Estimate, Tokens};

/// Tokens of one answer, by what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// All input tokens, those from and into a cache included.
    pub input: Tokens,
    /// Input tokens that were read from the provider's cache.
    pub cached_input: Tokens,
    /// Input tokens that were written into the provider's cache.
    pub cache_write: Tokens,
    /// Output tokens, reasoning included.
    pub output: Tokens,
}

impl Used {
    /// The same within what a book counts: an upstream may report any number.
    #[must_use]
    pub(crate) fn bounded(self) -> Self {
        Self {
            input: self.input.bounded(),
            cached_input: self.cached_input.bounded(),
            cache_write: self.cache_write.bounded(),
            output: self.output.bounded(),
        }
    }
}

/// Prices of one tier, up to one length of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of an input token.
    pub input: Rate,
    /// Of an input token that the provider had in its cache.
    pub cached_input: Rate,
    /// Of an input token that the provider put into its cache.
    pub cache_write: Rate,
    /// Of an output token.
    pub output: Rate,
}

impl Rates {
    /// Prices without a discount for what was cached.
    #[must_use]
    pub fn flat(input: Rate, output: Rate) -> Self {
        Self { input, cached_input: input, cache_write: input, output }
    }

    /// What `used` costs, rounded up once.
    fn cost(&self, used: Used) -> Money {
        // A provider that reports more cached than read is believed in the dearer of the two.
        let cached = used.cached_input.0.min(used.input.0);
        let written = used.cache_write.0.min(used.input.0 - cached);
        let plain = used.input.0 - cached - written;
        let input = self.input.times(plain) + self.cached_input.times(cached) + self.cache_write.times(written);
        rounded_up(input.saturating_add(self.output.times(used.output.0)))
    }

    /// The most that `estimate` can cost.
    fn most(&self, estimate: Estimate) -> Money {
        let input = self.input.max(self.cached_input).max(self.cache_write);
        rounded_up(input.times(estimate.input.0).saturating_add(self.output.times(estimate.output.0)))
    }
}

/// Prices of one tier: what a long input costs can be another price for the whole request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// From the first token on.
    pub base: Rates,
    /// Prices for requests with more input tokens than these, in rising order.
    pub above: Vec<(Tokens, Rates)>,
}

impl Ladder {
    fn rates(&self, input: Tokens) -> &Rates {
        self.above.iter().rev().find(|(above, _)| input > *above).map_or(&self.base, |(_, rates)| rates)
    }
}

/// How soon an answer is wanted, as providers sell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Without a word about it.
    #[default]
    Standard,
    /// Through the provider's batch interface, within a day.
    Batch,
    /// `service_tier: "flex"`: cheaper, slower, may be refused.
    Flex,
    /// `service_tier: "priority"`: dearer, sooner.
    Priority,
}

impl Tier {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Batch, Self::Flex, Self::Priority];

    /// The name used in the catalogue and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }
}

/// Prices by the token. A tier that the provider does not sell costs as [`Tier::Standard`] does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// What is paid without a word about the tier.
    pub standard: Ladder,
    /// What the batch interface costs.
    pub batch: Option<Ladder>,
    /// What `flex` costs.
    pub flex: Option<Ladder>,
    /// What `priority` costs.
    pub priority: Option<Ladder>,
}

impl Price {
    /// One price for everything.
    #[must_use]
    pub fn flat(rates: Rates) -> Self {
        Self { standard: Ladder { base: rates, above: Vec::new() }, ..Self::default() }
    }

    fn ladder(&self, tier: Tier) -> &Ladder {
        let own = match tier {
            Tier::Standard => None,
            Tier::Batch => self.batch.as_ref(),
            Tier::Flex => self.flex.as_ref(),
            Tier::Priority => self.priority.as_ref(),
        };
        own.unwrap_or(&self.standard)
    }

    /// What `used` costs.
    #[must_use]
    pub fn cost(&self, used: Used, tier: Tier) -> Money {
        self.ladder(tier).rates(used.input).cost(used)
    }

    /// The most that `estimate` can cost: as if nothing came from a cache and everything went into it.
    #[must_use]
    pub fn most(&self, estimate: Estimate, tier: Tier) -> Money {
        self.ladder(tier).rates(estimate.input).most(estimate)
    }

    /// The cost as routing compares it: the prompt once, of which `cached` is expected to be cached, and `output` tokens.
    #[must_use]
    pub fn expected(&self, input: Tokens, cached: Tokens, output: Tokens, tier: Tier) -> Money {
        self.cost(Used { input, cached_input: cached, cache_write: Tokens::ZERO, output }, tier)
    }
}

/// What an unknown price is reserved and settled at: 15 dollars per million input tokens and 75 per million output tokens.
///
/// It is the list price of the dearest model class in common use (Claude Opus 4), so that a budget is not passed because
/// somebody forgot a price. It is never compared with a known price, and never claims a saving.
pub const ASSUMED: Rates = Rates {
    input: Rate(15_000_000_000),
    cached_input: Rate(15_000_000_000),
    cache_write: Rate(15_000_000_000),
    output: Rate(75_000_000_000),
};

/// How a target is paid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pricing {
    /// Paid for by the hour, used or not: a request more costs nothing.
    Sunk {
        /// Dollars per hour, for reports; nothing where nobody said.
        usd_per_hour: Option<Money>,
        /// Whether it is throughput provisioned at a provider, and not one's own.
        is_provisioned: bool,
    },
    /// Paid for by the token.
    PerToken(Box<Price>),
    /// Nobody said. It is reserved and settled at [`ASSUMED`], flagged, and sorts last.
    #[default]
    Unknown,
}

impl Pricing {
    /// The most that one attempt can cost.
    #[must_use]
    pub fn most(&self, estimate: Estimate, tier: Tier) -> Money {
        match self {
            Self::Sunk { .. } => Money::ZERO,
            Self::PerToken(price) => price.most(estimate, tier),
            Self::Unknown => ASSUMED.most(estimate),
        }
    }

    /// What an answer cost; `None` where nobody knows.
    #[must_use]
    pub fn cost(&self, used: Used, tier: Tier) -> Option<Money> {
        match self {
            Self::Sunk { .. } => Some(Money::ZERO),
            Self::PerToken(price) => Some(price.cost(used, tier)),
            Self::Unknown => None,
        }
    }

    /// The name used in records and books.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sunk { is_provisioned: false, .. } => "sunk",
            Self::Sunk { is_provisioned: true, .. } => "provisioned",
            Self::PerToken(_) => "per_token",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a request more costs nothing.
    #[must_use]
    pub fn is_sunk(&self) -> bool {
        matches!(self, Self::Sunk { .. })
    }

    /// Whether the price is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        Rate::per_million(text).expect(text)
    }

    fn money(text: &str) -> Money {
        text.parse().expect(text)
    }

    fn gpt_4o_eu() -> Price {
        let base = Rates { cached_input: rate("1.375"), ..Rates::flat(rate("2.75"), rate("11")) };
        let half = Rates::flat(rate("1.375"), rate("5.5"));
        Price { batch: Some(Ladder { base: half, above: Vec::new() }), ..Price::flat(base) }
    }

    fn used(input: u64, cached: u64, output: u64) -> Used {
        Used { input: Tokens(input), cached_input: Tokens(cached), cache_write: Tokens::ZERO, output: Tokens(output) }
    }

    #[test]
    fn cached_input_and_batches_cost_what_their_price_says() {
        let price = gpt_4o_eu();

        assert_eq!(price.cost(used(1_000_000, 0, 0), Tier::Standard), money("2.75"));
        assert_eq!(price.cost(used(1_000_000, 400_000, 100_000), Tier::Standard), money("3.3"));
        assert_eq!(price.cost(used(1_000_000, 0, 100_000), Tier::Batch), money("1.925"));
        assert_eq!(price.cost(used(1_000_000, 0, 0), Tier::Priority), money("2.75"), "a tier that is not sold");
    }

    #[test]
    fn a_long_input_costs_its_own_price_for_the_whole_request() {
        let mut price = Price::flat(Rates::flat(rate("1.25"), rate("10")));
        price.standard.above = vec![(Tokens(200_000), Rates::flat(rate("2.5"), rate("15")))];

        assert_eq!(price.cost(used(200_000, 0, 0), Tier::Standard), money("0.25"));
        assert_eq!(price.cost(used(200_001, 0, 0), Tier::Standard), money("0.5000025"));
    }

    #[test]
    fn what_goes_into_a_cache_costs_its_own_price_and_is_reserved_for() {
        let rates =
            Rates { cache_write: rate("3.75"), cached_input: rate("0.3"), ..Rates::flat(rate("3"), rate("15")) };
        let price = Price::flat(rates);
        let written = Used { cache_write: Tokens(500), ..used(1_000, 200, 0) };

        assert_eq!(price.cost(written, Tier::Standard), Money(300 * 3_000 + 200 * 300 + 500 * 3_750));
        assert_eq!(price.most(Estimate { input: Tokens(1_000), output: Tokens(0) }, Tier::Standard), Money(3_750_000));
    }

    #[test]
    fn an_upstream_that_reports_more_cached_than_read_is_charged_for_what_it_read() {
        let price = gpt_4o_eu();
        let absurd = Used { cache_write: Tokens(u64::MAX), ..used(10, u64::MAX, 0) };

        assert_eq!(price.cost(absurd, Tier::Standard), Money(13_750));
    }

    #[test]
    fn a_sunk_cost_adds_nothing_and_an_unknown_price_is_never_nothing() {
        let estimate = Estimate { input: Tokens(1), output: Tokens(1) };
        let sunk = Pricing::Sunk { usd_per_hour: None, is_provisioned: false };

        assert_eq!(
            (sunk.most(estimate, Tier::Standard), sunk.cost(used(9, 0, 9), Tier::Standard)),
            (Money::ZERO, Some(Money::ZERO))
        );
        assert_eq!(Pricing::Unknown.cost(used(9, 0, 9), Tier::Standard), None);
        assert_eq!(Pricing::Unknown.most(estimate, Tier::Standard), Money(15_000 + 75_000));
    }
}
