//! Models that stand in for the one that was asked for, where the configuration names them.
//!
//! Everything about them is decided before anything is sent, so that the record says it and the dearest of all attempts can
//! be reserved: policy is asked for the targets of each as for a request for that model, with the labels and the class of its
//! route beside those that the request has, and whatever it does not permit stays out. They are tried once every permitted target of the model itself has failed. A denial is an answer, and no model
//! stands in for it; nor does one for a model that is merely slow.

use std::sync::Arc;

use policy::{Candidate, TargetId, Verdict};
use routing::{Ask, Plan};

use super::arrive::Exchange;
use super::authorize::{self, Asking};
use super::plan;
use crate::snapshot::{ModelIndex, RouteData};

/// A model that stands in, and what policy says of its targets.
pub(super) struct StandIn {
    pub(super) model: ModelIndex,
    pub(super) name: Arc<str>,
    pub(super) verdicts: Vec<Verdict>,
    /// What the candidate policies say of them.
    pub(super) proposed: Vec<Verdict>,
    /// What its route says beyond what is said of the request. It holds for its targets alone, so that the record says it beside
    /// these and not among the data of the request.
    pub(super) added: RouteData,
}

impl StandIn {
    /// Whether any of its targets is permitted, so that the plan has a part for it.
    pub(super) fn is_planned(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.ruling.is_in())
    }

    pub(super) fn serves(&self, target: TargetId) -> bool {
        self.verdicts.iter().any(|verdict| verdict.target == target)
    }
}

/// The plan with the targets of the models that stand in behind it, a part for each that has a permitted one.
pub(super) fn stand_ins(exchange: &Exchange, asking: Asking<'_>, ask: &Ask, mut plan: Plan) -> (Plan, Vec<StandIn>) {
    let Some((model, data)) = plan::model_of(exchange).zip(exchange.data.as_ref()) else { return (plan, Vec::new()) };
    // Most models have none, and pay nothing for it.
    if model.fallbacks.is_empty() {
        return (plan, Vec::new());
    }
    let mut found = Vec::new();
    let api = asking.call.api();
    let mut known: Vec<TargetId> = targets_of(model.candidates_for(api)).collect();
    let usable = model.fallbacks.iter().filter(|index| asking.caller.key.models.contains(index));
    for index in usable {
        let other = exchange.snapshot.model(*index);
        // What the model itself, or one before, has as well is tried there and not again.
        let candidates = other.candidates_for(api).unwrap_or_default().iter();
        let candidates: Vec<Candidate> = candidates.filter(|one| !known.contains(&one.target)).cloned().collect();
        if candidates.is_empty() {
            continue;
        }
        known.extend(targets_of(Some(&candidates)));
        let added = data.unsaid(&other.data);
        let data = data.on_route(&added);
        let (answer, proposed) = authorize::ask_policy(exchange, asking, (other, &candidates), &data);
        let verdicts = match answer {
            Ok(permit) => {
                let expected = plan::expected(exchange, asking.caller, (asking.call, &other.name));
                let ask = Ask { expected, session: None, ..*ask };
                plan = plan.followed_by(plan::decide(exchange, Some(other), &permit, &ask));
                permit.verdicts().to_vec()
            }
            Err(denial) => denial.verdicts().to_vec(),
        };
        found.push(StandIn { model: *index, name: Arc::clone(&other.name), verdicts, proposed, added });
    }
    (plan, found)
}

fn targets_of(candidates: Option<&[Candidate]>) -> impl Iterator<Item = TargetId> {
    candidates.unwrap_or_default().iter().map(|candidate| candidate.target)
}
