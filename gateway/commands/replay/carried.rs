//! What of a configuration a replay does not go by, said to the reader.

use accounting::{Limits, Pricing};
use server::configuration::{Compiled, RequestLimits};

/// A sentence for each kind of setting that is there and decides nothing in a replay.
pub(super) fn not_carried(compiled: &Compiled) -> Vec<String> {
    let mut left = Vec::new();
    if is_limited(compiled) {
        left.push("limits and budgets of apps, keys and models (no request is refused for them)");
    }
    if compiled.models.iter().any(|model| !model.routing.fallbacks.is_empty()) {
        left.push("`fallbacks` (no other model stands in)");
    }
    if compiled.endpoints.iter().any(|endpoint| has_other_prices(&endpoint.cost.pricing)) {
        left.push("prices of other tiers, of long inputs and of caches (all is charged the standard price)");
    }
    // The conversation of a request, and the tier that it asked for, are not in its record.
    left.push("sessions and their caches");
    left.push("a request's own `service_tier` (it counts as its app's `traffic`, else its model's)");
    vec![format!("Not carried over from the configuration: {}.", left.join("; "))]
}

fn is_limited(compiled: &Compiled) -> bool {
    let apps = compiled.apps.iter().map(|app| (app.requests, app.limits));
    let keys = compiled.keys.iter().map(|key| (key.requests, key.limits));
    let models = compiled.models.iter().map(|model| (model.requests, Limits::default()));
    apps.chain(keys).chain(models).any(|limits| limits != (RequestLimits::default(), Limits::default()))
}

/// Whether another price than that of a plain token could be due.
fn has_other_prices(pricing: &Pricing) -> bool {
    let Pricing::PerToken(price) = pricing else { return false };
    let base = price.standard.base;
    let is_flat = base.cached_input == base.input && base.cache_write == base.input;
    let others = [&price.batch, &price.flex, &price.priority];
    !is_flat || !price.standard.above.is_empty() || others.iter().any(|other| other.is_some())
}
