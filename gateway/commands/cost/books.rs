//! What the ledger's entries add up to. Every sum is of whole units, so that each table adds up to the same total.

use std::collections::BTreeMap;

use accounting::{Catalogue, Day, Money, Pricing, Tier, Tokens, Used};
use ledger::{Entry, Unsettled};
use server::configuration::Compiled;

/// One line of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) requests: u64,
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) money: Money,
    /// The part of it that no upstream or no price confirms.
    pub(super) flagged: Money,
}

impl Row {
    /// `flagged` is the part of `money` that nobody confirms.
    fn add(&mut self, entry: &Entry, money: Money, flagged: Money) {
        let used = entry.closing.settlement.used;
        self.requests += 1;
        self.input = self.input.saturating_add(used.input.0);
        self.output = self.output.saturating_add(used.output.0);
        self.money = self.money + money;
        self.flagged = self.flagged + flagged;
    }
}

/// A table, by name.
pub(super) type Table = BTreeMap<String, Row>;

/// What stands for attempts that may have run and failed.
pub(super) const FAILED: &str = "(attempts that failed)";

/// What stands for requests that nobody answered.
pub(super) const NOBODY: &str = "(nobody)";

/// An endpoint that is paid for by the hour.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    pub(super) usd_per_hour: Money,
    /// When requests were there, as milliseconds from and to, in the order of their beginnings.
    spans: Vec<(u64, u64)>,
}

impl Own {
    /// Milliseconds in which at least one request was there.
    pub(super) fn busy_ms(&self) -> u64 {
        let (mut busy, mut end) = (0, 0);
        for (from, to) in &self.spans {
            let from = (*from).max(end);
            busy += to.saturating_sub(from);
            end = end.max(*to);
        }
        busy
    }
}

/// Everything that the report says.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) total: Row,
    pub(super) by: [(&'static str, Table); 4],
    pub(super) by_day: BTreeMap<Day, Money>,
    pub(super) own: BTreeMap<String, Own>,
    pub(super) recovered: u64,
    /// Requests that nobody has settled, and what they hold: in no sum.
    pub(super) open: u64,
    pub(super) held: Money,
    /// Lines of journals that nobody can read.
    pub(super) damaged: u64,
    /// Paid although a permitted target that is paid for already would have met the time.
    pub(super) avoidable: Money,
    /// Paid for the promise of where prompts are processed: the catalogue's price less that of the same model without.
    pub(super) premium: Money,
    /// What the tokens would have cost at the cheapest target of each model that charges by the token.
    pub(super) all_cloud: Money,
    /// Requests of models that have no such target.
    pub(super) without_cloud: u64,
    /// Tokens of each hour, all and those that own servers answered.
    hours: BTreeMap<u64, (u64, u64)>,
}

const HOUR_MS: u64 = 3_600_000;

impl Books {
    /// Empty books for the endpoints of this configuration.
    pub(super) fn new(compiled: &Compiled) -> Self {
        let by = ["app", "team", "model", "endpoint"].map(|name| (name, Table::new()));
        let own = compiled.endpoints.iter().filter_map(|endpoint| match &endpoint.cost.pricing {
            Pricing::Sunk { usd_per_hour: Some(usd_per_hour), .. } => {
                Some((endpoint.name.clone(), Own { usd_per_hour: *usd_per_hour, spans: Vec::new() }))
            }
            _ => None,
        });
        Self { by, own: own.collect(), ..Self::default() }
    }

    /// Adds one entry. Entries come in the order in which they began.
    pub(super) fn add(&mut self, entry: &Entry, compiled: &Compiled) {
        let charged = entry.charged();
        let settlement = &entry.closing.settlement;
        let unconfirmed = settlement.unconfirmed();
        self.total.add(entry, charged, unconfirmed);
        let names = [&entry.opening.app, &entry.opening.team, &entry.opening.model];
        for ((_, table), name) in self.by.iter_mut().zip(names) {
            table.entry(name.to_string()).or_default().add(entry, charged, unconfirmed);
        }
        let [_, _, _, (_, endpoints)] = &mut self.by;
        let endpoint = entry.endpoint().unwrap_or(NOBODY);
        let of_answer = (settlement.money, settlement.unconfirmed_answer());
        endpoints.entry(endpoint.to_owned()).or_default().add(entry, of_answer.0, of_answer.1);
        if settlement.lost > Tokens::ZERO || settlement.lost_money > Money::ZERO {
            let lost = endpoints.entry(FAILED.to_owned()).or_default();
            // Those that said what they used are not counted one by one.
            lost.requests += u64::from(settlement.lost_attempts.max(1));
            lost.money = lost.money + settlement.lost_money;
            lost.flagged = lost.flagged + settlement.unconfirmed_failures();
        }
        let day = Day::of_seconds(entry.opening.at_ms / 1_000);
        let of_day = self.by_day.entry(day).or_default();
        *of_day = *of_day + charged;
        self.recovered += u64::from(entry.recovered);
        if entry.closing.avoidable {
            self.avoidable = self.avoidable + settlement.money;
        }
        self.compare(entry, compiled);
    }

    /// Notes what is in no entry.
    pub(super) fn leave_open(&mut self, unsettled: &Unsettled) {
        self.open = unsettled.open.len() as u64;
        self.held = unsettled.open.iter().map(|opening| opening.money).sum();
        self.damaged = unsettled.damaged;
    }

    fn compare(&mut self, entry: &Entry, compiled: &Compiled) {
        let settlement = &entry.closing.settlement;
        let used = settlement.used;
        let tokens = used.input.0.saturating_add(used.output.0);
        let hour = self.hours.entry(entry.opening.at_ms / HOUR_MS).or_default();
        hour.0 = hour.0.saturating_add(tokens);
        if let Some(own) = entry.endpoint().and_then(|endpoint| self.own.get_mut(endpoint)) {
            own.spans.push((entry.opening.at_ms, entry.closing.at_ms));
            hour.1 = hour.1.saturating_add(tokens);
        }
        let tier = Tier::ALL.into_iter().find(|tier| tier.name() == entry.closing.tier).unwrap_or_default();
        if let Some(price) = &entry.closing.price {
            self.premium = self.premium + premium(&compiled.prices.catalogue, price, used, tier);
        }
        match cheapest(compiled, &entry.opening.model, used, tier) {
            Some(cost) => self.all_cloud = self.all_cloud + cost,
            None => self.without_cloud += 1,
        }
    }

    /// What own servers cost in `ms` of time, and the part of it in which no request was there.
    pub(super) fn own_cost(&self, ms: u64) -> (Money, Money) {
        let (mut cost, mut idle) = (Money::ZERO, Money::ZERO);
        for own in self.own.values() {
            cost = cost + for_time(own.usd_per_hour, ms);
            idle = idle + for_time(own.usd_per_hour, ms.saturating_sub(own.busy_ms()));
        }
        (cost, idle)
    }

    /// How many times the own servers would have been needed in the fullest hour, by the most tokens that they answered
    /// in any; `None` where they answered nothing.
    pub(super) fn fleets(&self) -> Option<u64> {
        let most = self.hours.values().map(|(_, own)| *own).max().filter(|most| *most > 0)?;
        let needed = self.hours.values().map(|(all, _)| all.div_ceil(most)).max();
        needed.map(|fleets| fleets.max(1))
    }
}

/// Rounded to the unit.
pub(super) fn for_time(per_hour: Money, ms: u64) -> Money {
    let exact = u128::from(per_hour.0) * u128::from(ms) / u128::from(HOUR_MS);
    Money(u64::try_from(exact).unwrap_or(u64::MAX))
}

fn premium(catalogue: &Catalogue, name: &str, used: Used, tier: Tier) -> Money {
    match (catalogue.price(name), catalogue.without_residency(name)) {
        (Some(price), Some((_, without))) => price.cost(used, tier).less(without.cost(used, tier)),
        _ => Money::ZERO,
    }
}

/// What this would have cost at the cheapest target of the model that charges by the token.
fn cheapest(compiled: &Compiled, model: &str, used: Used, tier: Tier) -> Option<Money> {
    let model = compiled.models.iter().find(|known| known.name == model)?;
    let targets = model.targets.iter().filter_map(|index| compiled.targets.get(*index));
    let endpoints = targets.filter_map(|target| compiled.endpoints.get(target.endpoint));
    let costs = endpoints.filter_map(|endpoint| match &endpoint.cost.pricing {
        Pricing::PerToken(price) if endpoint.approved => Some(price.cost(used, tier)),
        _ => None,
    });
    costs.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_several_requests_were_there_counts_once() {
        let own = Own { usd_per_hour: Money(10), spans: vec![(0, 10), (5, 7), (8, 20), (30, 31)] };

        assert_eq!(own.busy_ms(), 21);
    }
}
