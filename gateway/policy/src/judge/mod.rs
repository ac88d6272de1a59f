//! The judge: rules, the world they are asked about, and the decisions that were made before.
//!
//! One judge belongs to one snapshot. A reload makes a new one, so that decisions of old rules or old facts cannot
//! outlive them.

mod ask;
mod cache;
mod slice;
mod world;

use std::sync::Arc;

use crate::decision::PolicyIds;
use crate::facts::Zones;
use crate::proof::Obligations;
use crate::question::{Action, Asker, Candidate, Question};
use crate::rules::Rules;

use cache::{Cache, Makings};
use world::World;
pub use world::WorldError;

/// Rules and the world they are asked about.
#[derive(Debug)]
pub struct Judge {
    rules: Arc<Rules>,
    world: World,
    /// Of what the key of a decision is made; nothing where none is kept.
    made_of: Option<Makings>,
    cache: Cache,
}

/// What the policies hold of one candidate, without the words of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Permitted, perhaps with something to do before.
    Permitted { by: PolicyIds, obligations: Obligations },
    /// At least one policy forbids it.
    Forbidden(PolicyIds),
    /// No policy permits it.
    NotPermitted,
    /// These policies could not be evaluated.
    Failed(PolicyIds),
    /// The operation is permitted, and this action is not.
    NotGranted { action: Action, by: PolicyIds },
}

/// How rules match a question about one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// No policy matches.
    Nothing,
    /// A `forbid` matches: whatever other rules there are, the target is out.
    Denies,
    /// Only permits match, or a policy cannot be evaluated.
    Unclear,
}

impl Judge {
    /// A judge over `rules`, the groups of countries, the apps and the targets.
    ///
    /// # Errors
    ///
    /// [`WorldError`] when the facts do not fit the schema, which is a fault of this crate.
    pub fn new(rules: Arc<Rules>, zones: &Zones, apps: &[Asker], targets: &[Candidate]) -> Result<Self, WorldError> {
        let world = World::new(&rules, zones, apps, targets)?;
        let made_of = Makings::of(rules.reads());
        Ok(Self { rules, world, made_of, cache: Cache::default() })
    }

    /// A judge over the base grants alone, for tests and tools that ask about something else than places and labels: a
    /// target is permitted when it is approved, and a feature when it is granted.
    #[must_use]
    pub fn of_grants(targets: &[Candidate]) -> Self {
        Self::new(Rules::grants_alone(), &Zones::new(), &[], targets).expect("grants read no zone and no app")
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Decisions made before that are kept, at most [`Judge::MOST_KEPT`].
    #[must_use]
    pub fn kept(&self) -> usize {
        self.cache.len()
    }

    /// Most decisions that are kept: classes of request, not requests.
    pub const MOST_KEPT: usize = cache::MOST_KEPT;

    /// For each candidate, whether any policy matches the question as it is, or cannot be evaluated for it.
    ///
    /// Rules that match nowhere and read nothing of what is redacted cannot change an answer by being there.
    #[must_use]
    pub fn touches(&self, question: &Question<'_>) -> Vec<Touch> {
        self.world.touches(&self.rules, question, &ask::Ask::of(question))
    }

    /// What the policies hold of each candidate, in order; from memory where the same class of request came before.
    pub(crate) fn hold(&self, question: &Question<'_>) -> Arc<[Held]> {
        let ask = ask::Ask::of(question);
        let epoch = self.world.epoch(question.now);
        let key = self.made_of.map(|made_of| cache::key(question, &ask, (self.rules.reads(), made_of), epoch));
        if let Some(held) = key.as_deref().and_then(|key| self.cache.find(key)) {
            return held;
        }
        let held: Arc<[Held]> = self.world.hold(&self.rules, question, &ask).into();
        if let Some(key) = key {
            self.cache.keep(key, Arc::clone(&held));
        }
        held
    }
}

#[cfg(test)]
mod tests;
