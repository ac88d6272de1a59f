//! Attempts at a model that stands in: under whose permit, within whose bounds, and under which name they are answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use accounting::HeldTokens;
use http::HeaderValue;
use policy::{TargetId, Verdict};

use super::Books;
use crate::pipeline::budgets::NoRoom;
use crate::pipeline::fallback::StandIn;
use crate::pipeline::plan;
use crate::pipeline::sharing;
use crate::snapshot::Model;

impl Books {
    /// The model that stands in and that the target belongs to; nothing for a target of the model that was asked for.
    pub(super) fn stand_in(&self, target: TargetId) -> Option<&StandIn> {
        self.stand_ins.iter().find(|stand_in| stand_in.serves(target))
    }

    /// What policy said of the target when the request was permitted it.
    pub(super) fn verdict_of(&self, target: TargetId) -> Option<&Verdict> {
        let behind = self.stand_ins.iter().flat_map(|stand_in| &stand_in.verdicts);
        self.permit.verdicts().iter().chain(behind).find(|verdict| verdict.target == target)
    }

    /// The model that the target serves here.
    pub(super) fn model_of(&self, target: TargetId) -> Option<&Model> {
        let asked = self.exchange().model_index;
        let index = self.stand_in(target).map(|stand_in| stand_in.model).or(asked)?;
        Some(self.snapshot().model(index))
    }

    /// Takes a place among the requests for the target's model, in exchange for the one that the request has, and its estimate of
    /// that model's tokens; says whether there was one, and so many.
    ///
    /// Where the part of a shared limit that lies here is used up, the store is asked for more, and what was held back
    /// meanwhile has no place.
    pub(super) async fn has_a_place(&mut self, target: TargetId) -> bool {
        let Some(index) = self.stand_in(target).map(|stand_in| stand_in.model) else { return true };
        if self.placed == Some(index) {
            return true;
        }
        let Some(exchange) = self.exchange.as_deref() else { return false };
        let snapshot = Arc::clone(&exchange.snapshot);
        let model = snapshot.model(index);
        let (Some((guard, _)), Some(charge)) = (&mut self.held, &mut self.charge) else { return false };
        let estimate = charge.estimate();
        let take = || -> Result<HeldTokens, NoRoom> {
            let tokens = HeldTokens::of(&model.tokens, estimate, Instant::now()).map_err(NoRoom::Book)?;
            snapshot.admission.move_to(guard, model.limit).map_err(NoRoom::Model)?;
            Ok(tokens)
        };
        // Boxed, because few requests go on to another model, and all would carry its room.
        match Box::pin(sharing::ask(snapshot.counters(), take)).await {
            Ok(tokens) => charge.move_to(tokens),
            Err(full) => {
                let (decision, model, full) = (self.decision(), &model.name, full.refusal());
                tracing::warn!(%decision, %model, %full, "a model that stands in has no room");
                return false;
            }
        }
        self.placed = Some(index);
        !self.is_withheld(target)
    }

    /// When the caller may come again, as the targets of the model that it asked for stand by now.
    pub(in crate::pipeline) fn retry_after(&self) -> Duration {
        let exchange = self.exchange();
        plan::retry_after(&plan::decide(exchange, plan::model_of(exchange), &self.permit, &self.ask))
    }

    /// The name of the model that answered, where it is one that stands in; it is counted.
    pub(in crate::pipeline) fn name_of_stand_in(&self, target: TargetId) -> Option<HeaderValue> {
        let name = &self.stand_in(target)?.name;
        if let Some(asked) = self.exchange().model_index {
            self.snapshot().model(asked).metrics.fallbacks().inc();
        }
        HeaderValue::from_str(name).ok()
    }
}
