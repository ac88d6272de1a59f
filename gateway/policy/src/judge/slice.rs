//! The policies that can matter for a request: a set of Cedar costs by the policy, whether it can match or not.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{PolicyId, PolicySet};
use parking_lot::Mutex;

use crate::rules::{Rules, View};

/// Most sets that are kept. Few differ: which policies a class of request leaves in question follows from the labels, kinds
/// and purposes that policies name.
const MOST_KEPT: usize = 256;

/// Below so many policies there is nothing to gain.
const FEWEST: usize = 8;

/// The sets that were asked for before, by which policies are in them.
#[derive(Debug, Default)]
pub(super) struct Slices(Mutex<HashMap<Box<[u64]>, Arc<PolicySet>>>);

impl Slices {
    /// The policies that can match such a request, at some target, or fail.
    pub(super) fn of(&self, rules: &Rules, view: &View<'_>) -> Arc<PolicySet> {
        if rules.about.len() < FEWEST {
            return Arc::clone(&rules.set);
        }
        let mut named = vec![0_u64; rules.about.len().div_ceil(64)];
        let mut left_out = false;
        for (index, about) in rules.about.values().enumerate() {
            if about.guard.excludes(view) {
                left_out = true;
            } else {
                named[index / 64] |= 1 << (index % 64);
            }
        }
        if !left_out {
            return Arc::clone(&rules.set);
        }
        let mut kept = self.0.lock();
        if let Some(set) = kept.get(named.as_slice()) {
            return Arc::clone(set);
        }
        let is_in = |index: usize| named[index / 64] & 1 << (index % 64) != 0;
        let ids = rules.about.keys().enumerate().filter(|(index, _)| is_in(*index)).map(|(_, id)| id);
        let Some(set) = subset(rules, ids) else { return Arc::clone(&rules.set) };
        let set = Arc::new(set);
        // INVARIANT: no more than the bound are kept.
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(named.into_boxed_slice(), Arc::clone(&set));
        set
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// These policies alone; none where one of them is missing, and then all of them are asked.
fn subset<'a>(rules: &Rules, mut ids: impl Iterator<Item = &'a PolicyId>) -> Option<PolicySet> {
    let mut set = PolicySet::new();
    ids.try_for_each(|id| set.add(rules.set.policy(id)?.clone()).ok())?;
    Some(set)
}
