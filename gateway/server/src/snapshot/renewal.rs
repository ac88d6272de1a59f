//! What a configuration changes in things that outlive it: limits of books, terms of targets, habits of apps.
//!
//! **Promises.** Nothing of it is changed before the snapshot is in force, so that a configuration which is refused at its last
//! step leaves every limit and quota as it was.

use std::collections::HashSet;
use std::sync::Arc;

use accounting::{Book, Flow, Limits, MINUTE};
use routing::Terms;

use super::build::terms;
use super::steering::AppHabits;
use super::{App, KeyFacts, Model, Steering, Target};
use crate::configuration::Compiled;

/// The changes, until they are made.
pub(super) struct Renewal {
    /// With the number of gateways that share them.
    terms: Vec<(Arc<Steering>, Terms, u32)>,
    limits: Vec<(Arc<Book>, Limits)>,
    /// Of models, by the minute.
    tokens: Vec<(Arc<Flow>, Option<u64>)>,
    habits: Vec<Arc<AppHabits>>,
    models: HashSet<Arc<str>>,
}

impl Renewal {
    /// The books that have a limit by the month from when this is applied.
    pub(super) fn limited(&self) -> impl Iterator<Item = &Arc<Book>> {
        self.limits.iter().filter(|(_, limits)| limits.per_month.is_some()).map(|(book, _)| book)
    }

    /// The lists are in the order of the configuration's.
    pub(super) fn of(
        compiled: &Compiled,
        (targets, models): (&[Arc<Target>], &[Model]),
        (apps, keys): (&[Arc<App>], &[Arc<KeyFacts>]),
    ) -> Self {
        let of_targets = targets.iter().zip(&compiled.targets);
        let of_apps = apps.iter().zip(&compiled.apps).map(|(app, config)| (Arc::clone(&app.book), config.limits));
        let of_keys = keys.iter().zip(&compiled.keys);
        let of_keys = of_keys.filter_map(|(key, config)| Some((Arc::clone(key.book.as_ref()?), config.limits)));
        let of_models = models.iter().zip(&compiled.models);
        Self {
            terms: of_targets
                .map(|(target, config)| (&target.steering, &compiled.endpoints[config.endpoint]))
                .map(|(steering, endpoint)| (Arc::clone(steering), terms(endpoint), endpoint.gateways))
                .collect(),
            limits: of_apps.chain(of_keys).collect(),
            tokens: of_models.map(|(model, config)| (Arc::clone(&model.tokens), config.tokens_per_minute)).collect(),
            habits: apps.iter().map(|app| Arc::clone(&app.habits)).collect(),
            models: compiled.models.iter().map(|model| model.name.as_str().into()).collect(),
        }
    }

    /// Makes them. Making them twice is the same.
    pub(super) fn apply(&self) {
        for (steering, terms, gateways) in &self.terms {
            steering.under(*terms, *gateways);
        }
        for (book, limits) in &self.limits {
            book.set_limits(*limits);
        }
        for (tokens, per_minute) in &self.tokens {
            tokens.set(*per_minute, MINUTE);
        }
        for habits in &self.habits {
            habits.keep(|name| self.models.contains(name));
        }
    }
}
