//! `[prices]`, `cost` and `limits`: what a token costs, and how much may be spent.

use std::sync::{Arc, LazyLock};
use std::time::UNIX_EPOCH;

use accounting::{Catalogue, Day, Limits, Money, Price, Pricing, Rate, Rates, SHIPPED, STALE_AFTER_DAYS};
use aws_lc_rs::digest::{SHA256, digest};

use super::super::compile::{CostConfig, EndpointConfig};
use super::super::document::{self, Cost, Decimal, Document, PerToken, Place};
use super::super::mistakes::{MistakeKind, remedy_for};
use super::super::report::quote;
use super::super::sources::hex;
use super::Check;

/// The prices by the token that endpoints were priced with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList {
    /// The catalogue.
    pub catalogue: Arc<Catalogue>,
    /// SHA-256 over the catalogue's text, in hex; what operators override is part of the configuration's own hash.
    pub hash: String,
    /// Whether it is the one that is shipped.
    pub is_shipped: bool,
}

impl PriceList {
    fn of(text: &str, is_shipped: bool) -> Result<Self, accounting::CatalogueError> {
        let catalogue = Arc::new(Catalogue::parse(text)?);
        Ok(Self { catalogue, hash: hex(digest(&SHA256, text.as_bytes()).as_ref()), is_shipped })
    }

    /// The catalogue that is shipped with this version.
    #[must_use]
    pub fn shipped() -> Self {
        /// Constant for the life of the process: what was compiled in.
        static LIST: LazyLock<PriceList> = LazyLock::new(|| {
            PriceList::of(SHIPPED, true).expect("a test of `accounting` reads the catalogue that is shipped")
        });
        LIST.clone()
    }

    /// Date and hash, as every decision names them.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} sha256:{}", self.catalogue.taken, self.hash)
    }
}

impl Check<'_> {
    /// The catalogue: the operator's, or the shipped one.
    pub(super) fn prices(&mut self, document: &Document) -> PriceList {
        let Some(prices) = &document.prices else { return PriceList::shipped() };
        let at = self.root.at("prices").at("file");
        let Some((_, bytes)) = self.read_file((at, "prices.file", &prices.file)) else { return PriceList::shipped() };
        let fault = match std::str::from_utf8(&bytes) {
            Ok(text) => match PriceList::of(text, false) {
                Ok(list) => return list,
                Err(error) => error.to_string(),
            },
            Err(_) => "it is not UTF-8".to_owned(),
        };
        let message = format!("`prices.file`: {} is no price catalogue: {fault}", quote(&prices.file));
        self.report.mend(MistakeKind::Material, at.mark(), message, "`causeway prices import` writes one");
        PriceList::shipped()
    }

    /// Prices the endpoints, and says so where the prices that count are old.
    pub(super) fn costs(&mut self, document: &Document, prices: &PriceList, endpoints: &mut [EndpointConfig]) {
        let mut uses_catalogue = false;
        for (name, endpoint) in &document.endpoint {
            let cost = match &endpoint.cost {
                None if matches!(endpoint.place, Some(Place::Site(_))) => sunk(None, false),
                None => CostConfig::default(),
                Some(Cost::Fixed { usd_per_hour }) => sunk(Some(money(usd_per_hour)), false),
                Some(Cost::Provisioned { usd_per_hour }) => sunk(Some(money(usd_per_hour)), true),
                Some(Cost::PerToken(given)) => self.per_token(name, given, prices),
            };
            let is_overridden = matches!(&endpoint.cost, Some(Cost::PerToken(given))
                if given.input_usd_per_million.is_some() && given.output_usd_per_million.is_some());
            uses_catalogue |= cost.entry.is_some() && !is_overridden;
            if let Some(built) = endpoints.iter_mut().find(|built| built.name == *name) {
                built.cost = cost;
            }
        }
        if uses_catalogue {
            self.prices_are_old(prices);
        }
    }

    fn per_token(&mut self, name: &str, given: &PerToken, prices: &PriceList) -> CostConfig {
        let at = self.place("endpoint", name).at("cost").at("per_token");
        let is_priced = given.input_usd_per_million.is_some() && given.output_usd_per_million.is_some();
        let Some(entry) = &given.catalogue else {
            if !is_priced && self.walked.is_whole("endpoint", name) {
                let message = format!("`endpoint.{name}.cost.per_token` does not say what a token costs");
                self.wrong(at.mark(), message, "name a `catalogue` entry, or both prices");
            }
            let pricing = Pricing::PerToken(Box::new(overridden(Price::default(), given)));
            return CostConfig { pricing, entry: None };
        };
        let Some(price) = prices.catalogue.price(entry) else {
            let known: Vec<&str> = prices.catalogue.names().collect();
            let message = format!(
                "`endpoint.{name}.cost.per_token.catalogue` names {}, which the price catalogue of {} does not have",
                quote(entry),
                prices.catalogue.taken
            );
            let remedy = remedy_for(
                entry,
                known.iter().copied(),
                "give both prices, or `causeway prices list` shows what it has",
            );
            self.report.mend(MistakeKind::Reference, at.at("catalogue").mark(), message, remedy);
            return CostConfig::default();
        };
        let pricing = Pricing::PerToken(Box::new(overridden(price.clone(), given)));
        CostConfig { pricing, entry: Some(entry.clone()) }
    }

    fn prices_are_old(&mut self, prices: &PriceList) {
        let seconds = self.options.now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let age = prices.catalogue.age_in_days(Day::of_seconds(seconds));
        if age <= STALE_AFTER_DAYS {
            return;
        }
        let mark = if prices.is_shipped { self.root.mark() } else { self.root.at("prices").at("file").mark() };
        let message = format!(
            "the prices by the token are of {}, {age} days ago; budgets and reports count with them",
            prices.catalogue.taken
        );
        self.warn(mark, message, "`causeway prices import` makes a newer catalogue for `[prices] file`");
    }

    /// Tokens and money of an app or a key.
    pub(super) fn limits(&mut self, section: &str, name: &str, limits: Option<&document::Limits>) -> Limits {
        let Some(limits) = limits else { return Limits::default() };
        let per_month = limits.usd_per_month.as_ref().map(money);
        if per_month == Some(Money::ZERO) {
            let mark = self.place(section, name).at("limits").at("usd_per_month").mark();
            let message =
                format!("`{section}.{name}.limits.usd_per_month` is 0, which permits only what costs nothing");
            self.wrong(mark, message, "give it more, or leave it out for no bound");
        }
        Limits { tokens_per_minute: limits.tokens_per_minute, per_month }
    }
}

fn sunk(usd_per_hour: Option<Money>, is_provisioned: bool) -> CostConfig {
    CostConfig { pricing: Pricing::Sunk { usd_per_hour, is_provisioned }, entry: None }
}

/// Digits were checked; an amount beyond 18 billion dollars is as good as that.
pub(super) fn money(amount: &Decimal) -> Money {
    Money(u64::try_from(amount.billionths()).unwrap_or(u64::MAX))
}

/// The operator's word goes before the catalogue's, in every tier and for every length of input.
fn overridden(mut price: Price, given: &PerToken) -> Price {
    let rate =
        |amount: &Option<Decimal>| amount.as_ref().map(|amount| Rate::from_billionths_per_million(amount.billionths()));
    let (input, output) = (rate(&given.input_usd_per_million), rate(&given.output_usd_per_million));
    let (cached, written) = (rate(&given.cached_input_usd_per_million), rate(&given.cache_write_usd_per_million));
    let change = |rates: &mut Rates| {
        // Who negotiates the price of input and says nothing of the cache pays the new price for it.
        rates.cached_input = cached.or(input).unwrap_or(rates.cached_input);
        rates.cache_write = written.or(input).unwrap_or(rates.cache_write);
        rates.input = input.unwrap_or(rates.input);
        rates.output = output.unwrap_or(rates.output);
    };
    for ladder in [Some(&mut price.standard), price.batch.as_mut(), price.flex.as_mut(), price.priority.as_mut()]
        .into_iter()
        .flatten()
    {
        change(&mut ladder.base);
        ladder.above.iter_mut().for_each(|(_, rates)| change(rates));
    }
    price
}

#[cfg(test)]
mod tests {
    use accounting::{Ladder, Tier, Tokens, Used};

    use super::*;

    fn decimal(text: &str) -> Option<Decimal> {
        Decimal::parse(text)
    }

    #[test]
    fn what_was_negotiated_goes_before_the_catalogue_in_every_tier() {
        let flat = |input, output| Rates::flat(Rate(input), Rate(output));
        let half = Ladder { base: flat(50, 50), above: vec![(Tokens(10), flat(90, 90))] };
        let listed = Price { batch: Some(half), ..Price::flat(flat(100, 400)) };
        let given = PerToken {
            catalogue: None,
            input_usd_per_million: decimal("2"),
            output_usd_per_million: None,
            cached_input_usd_per_million: decimal("0.5"),
            cache_write_usd_per_million: None,
        };

        let price = overridden(listed, &given);

        let million = Used { input: Tokens(1_000_000), cached_input: Tokens(500_000), ..Used::default() };
        assert_eq!(price.cost(million, Tier::Standard).to_string(), "1.25");
        assert_eq!(price.cost(million, Tier::Batch).to_string(), "1.25");
        assert_eq!(price.standard.base.output, Rate(400));
    }

    #[test]
    fn the_shipped_list_names_its_date_and_hash() {
        let name = PriceList::shipped().name();

        assert!(name.starts_with("20") && name.contains(" sha256:") && name.len() == 10 + 8 + 64, "{name}");
    }
}
