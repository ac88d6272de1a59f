//! What administrators hold back while a request runs.

use std::time::SystemTime;

use policy::TargetId;

use super::Books;
use crate::pipeline::arrive::Exchange;
use crate::pipeline::record::opened_grant;
use crate::pipeline::refusal::Refusal;

impl Books {
    /// The refusal for a request that an administrator holds back as a whole by now: its caller or its model.
    pub(in crate::pipeline) fn held_back(&self) -> Option<Refusal> {
        let exchange = self.exchange();
        let restrictions = exchange.gateway.restrictions.current();
        if exchange.caller.as_ref().is_some_and(|caller| restrictions.revoke(&caller.app, &caller.key)) {
            return Some(Refusal::InvalidApiKey);
        }
        let what = restrictions.model(exchange.model.as_deref()?)?;
        Some(Refusal::ResidencyDenied { reason: what.to_string() })
    }

    /// Whether an administrator holds back the caller, the model or the target by now, or the grant that permitted it is
    /// closed.
    pub(in crate::pipeline) fn is_withheld(&self, target: TargetId) -> bool {
        let Exchange { gateway, caller, .. } = self.exchange();
        let grant = self.verdict_of(target).and_then(opened_grant);
        let closed = grant.filter(|grant| !gateway.break_glass.is_open(grant, SystemTime::now()));
        let closed = closed.map(|grant| format!("the grant `{grant}` is closed").into());
        let model = self.model_of(target).map_or("", |model| &*model.name);
        let target = self.snapshot().target(target);
        let restrictions = gateway.restrictions.current();
        let caller = caller.as_ref().filter(|caller| restrictions.revoke(&caller.app, &caller.key));
        let revoked = caller.map(|caller| format!("a credential of app `{}` is revoked", caller.app.name).into());
        let restricted = || restrictions.withhold(model, target);
        let Some(what) = closed.or(revoked).or_else(restricted) else { return false };
        tracing::warn!(decision = %self.decision(), target = %target.name, %what, "held back since the request was permitted it");
        true
    }
}
