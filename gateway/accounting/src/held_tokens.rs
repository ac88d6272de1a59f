//! Tokens of a rate that one request holds: those of a model stand beside the books of apps and keys, whoever asks for it.

use std::sync::Arc;
use std::time::Instant;

use crate::limits::{Denied, Taken};
use crate::shared::{Flow, Short};
use crate::tokens::{Estimate, Tokens};

/// What one request holds of a rate of tokens. It is given back where nothing settles it.
#[derive(Debug)]
#[must_use = "what is held is given back when this is dropped"]
pub struct HeldTokens {
    flow: Arc<Flow>,
    /// There until it is settled.
    taken: Option<Taken>,
}

impl HeldTokens {
    /// Takes the estimate of a request out of a rate; of one without a limit that is nothing.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the limit and when it has so many again, or for want of a part where it is shared.
    pub fn of(flow: &Arc<Flow>, estimate: Estimate, at: Instant) -> Result<Self, Denied> {
        let taken = take(flow, estimate.bounded().total(), at)?;
        Ok(Self { flow: Arc::clone(flow), taken: Some(taken) })
    }

    /// What was taken is replaced by what upstreams reported, and by what is assumed where they did not.
    pub(crate) fn settle(mut self, reported: Tokens, assumed: Tokens) {
        if let Some(taken) = self.taken.take() {
            self.flow.settle(taken, reported.0, assumed.0);
        }
    }
}

impl Drop for HeldTokens {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.flow.give_back(taken);
        }
    }
}

/// Takes tokens out of a rate, or says when they would fit.
pub(crate) fn take(flow: &Flow, tokens: Tokens, at: Instant) -> Result<Taken, Denied> {
    flow.take(tokens.0, at).map_err(|short| match short {
        Short::Unleased => Denied::Unleased,
        Short::Refused { retry_after } => {
            let limit = flow.standing(at).map_or(0, |standing| standing.limit);
            Denied::Tokens { limit, asked: tokens, retry_after }
        }
    })
}
