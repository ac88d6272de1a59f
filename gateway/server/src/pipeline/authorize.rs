//! Stages 5 and 6: what is in the request, and where it may therefore go.

use std::sync::Arc;

use ingress::body::BodyPermit;
use ingress::limits::Admitted as AdmittedGuard;
use inspection::{Finding, FindingKind, Findings};
use policy::{Cause, Denial, Operation, Permit, Question};
use wire::{Api, Call, FeatureKind};

use super::arrive::{Caller, Exchange};
use super::data;
use super::decode::Decoded;
use super::refusal::{Refusal, Refused};

/// Stage 5: what was seen in the request.
pub(super) struct Inspected {
    decoded: Decoded,
    findings: Findings,
}

pub(super) fn inspect(decoded: Decoded) -> Inspected {
    let findings = decoded
        .call
        .features()
        .iter()
        .map(|feature| Finding { kind: kind_of(&feature.kind), path: feature.path.clone() })
        .collect();
    Inspected { decoded, findings }
}

/// A feature that `wire` saw, as the finding that policy decides over.
pub(super) fn kind_of(kind: &FeatureKind) -> FindingKind {
    match kind {
        FeatureKind::KeepState => FindingKind::StoredState,
        FeatureKind::RemoteUrl => FindingKind::RemoteUrl,
        FeatureKind::HostedTool(tool) => FindingKind::HostedTool(tool.clone()),
    }
}

/// Stage 6: a permit covers at least one target.
pub(super) struct Authorized {
    pub(super) exchange: Box<Exchange>,
    pub(super) caller: Caller,
    pub(super) guard: AdmittedGuard,
    pub(super) held: BodyPermit,
    pub(super) call: Call,
    pub(super) permit: Arc<Permit>,
}

pub(super) fn authorize(inspected: Inspected) -> Result<Authorized, Box<Refused>> {
    let Inspected { decoded, findings } = inspected;
    let Decoded { mut exchange, caller, guard, call, model, held } = decoded;
    let data = match data::read(&caller.app, &exchange.snapshot.labels, &exchange.head.headers, &call) {
        Ok(data) => exchange.data.insert(data).clone(),
        Err(refusal) => return Err(exchange.refuse(refusal)),
    };
    let known = exchange.snapshot.model(model);
    let Some(candidates) = known.candidates_for(call.api()) else {
        let refusal = Refusal::ApiNotServed { model: call.model().to_owned(), api: call.api().config_name() };
        return Err(exchange.refuse(refusal));
    };
    let question = Question {
        operation: operation_of(call.api()),
        data: data.asked(),
        findings: &findings,
        now: exchange.at,
        ..Question::about(&caller.app.name, call.model(), candidates)
    };
    match policy::decide(&exchange.snapshot.judge, &question) {
        Ok(permit) => Ok(Authorized { exchange, caller, guard, held, call, permit }),
        Err(denial) => Err(exchange.deny(refusal_of(&denial), &denial, &call)),
    }
}

/// What an API asks a model to do, in the words of policies.
const fn operation_of(api: Api) -> Operation {
    match api {
        Api::Chat | Api::Completions | Api::Messages | Api::CountTokens => Operation::Chat,
        Api::Responses => Operation::Respond,
        Api::Embeddings => Operation::Embed,
        Api::Rerank => Operation::Rerank,
    }
}

fn refusal_of(denial: &Denial) -> Refusal {
    match denial.cause() {
        Cause::Feature { kind, path } => Refusal::FeatureDenied { what: kind.to_string(), path: path.clone() },
        cause @ (Cause::NotApproved | Cause::NotPermitted | Cause::Forbidden(_) | Cause::NoTarget) => {
            Refusal::ResidencyDenied { reason: cause.to_string() }
        }
    }
}
