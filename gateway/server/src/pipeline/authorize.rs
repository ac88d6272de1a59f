//! Stages 5 and 6: what is in the request, and where it may therefore go.

use std::sync::Arc;
use std::time::SystemTime;

use inspection::{Finding, FindingKind, Findings, OwnRecognisers};
use policy::{Candidate, Cause, Denial, Judge, Operation, Permit, Question, Verdict};
use wire::{Api, Call, FeatureKind};

use super::arrive::{Caller, Exchange};
use super::data::{self, DataFacts, Known};
use super::decode::Decoded;
use super::refusal::{Refusal, Refused};
use crate::snapshot::{Model, ModelIndex};

/// Stage 5: what was seen in the request.
pub(super) struct Inspected {
    decoded: Box<Decoded>,
    findings: Findings,
}

/// Text above this many bytes is read on a thread of its own, so that the streams of this worker do not wait for it.
const LONG_TEXT: usize = 256 << 10;

pub(super) async fn inspect(decoded: Box<Decoded>) -> Inspected {
    let mut findings = features_of(&decoded.call);
    findings.extend_with(read(&decoded.call, &decoded.exchange.snapshot.recognisers).await);
    let metrics = decoded.exchange.gateway.metrics.process();
    for (kind, count) in findings.counts() {
        metrics.findings(name_of_series(kind), count);
    }
    Inspected { decoded, findings }
}

fn features_of(call: &Call) -> Findings {
    let finding = |feature: &wire::Feature| Finding { kind: kind_of(&feature.kind), path: feature.path.clone() };
    call.features().iter().map(finding).collect()
}

/// Everything that is found in a call, for tools that have time.
pub(crate) fn findings_of(call: &Call, own: &OwnRecognisers) -> Findings {
    let mut findings = features_of(call);
    findings.extend_with(inspection::inspect_with(call.body(), own));
    findings
}

async fn read(call: &Call, own: &Arc<OwnRecognisers>) -> Findings {
    let body = call.body().clone();
    if call.input_bytes() <= LONG_TEXT {
        return inspection::inspect_with(&body, own);
    }
    let own = Arc::clone(own);
    match tokio::task::spawn_blocking(move || inspection::inspect_with(&body, &own)).await {
        Ok(findings) => findings,
        // The thread failed or the process is leaving: what was not read is not clean.
        Err(error) => {
            tracing::error!(%error, "a body was not inspected");
            [Finding { kind: FindingKind::Uninspected, path: "$".to_owned() }].into_iter().collect()
        }
    }
}

/// The label of a finding in the metrics; the types of hosted tools are the callers' words and share one, as do all recognisers
/// of one's own.
fn name_of_series(kind: &FindingKind) -> &'static str {
    match kind {
        FindingKind::RemoteUrl => "remote_url",
        FindingKind::HostedTool(_) => "hosted_tool",
        FindingKind::StoredState => "stored_state",
        FindingKind::Text(kind) => kind.shipped_name().unwrap_or("custom"),
        FindingKind::UninspectedMedia => "uninspected_media",
        FindingKind::Uninspected => "uninspected",
        FindingKind::UserIdentifier => "user_identifier",
    }
}

/// A kind of finding, how often, and whether policies did not see it.
pub(super) type FindingCount = (String, u64, bool);

/// Kinds and numbers of what was found in text, for the record; never what or where.
pub(super) fn finding_counts(findings: &Findings, suppresses: impl Fn(&FindingKind) -> bool) -> Vec<FindingCount> {
    let is_feature = |kind: &FindingKind| {
        matches!(kind, FindingKind::RemoteUrl | FindingKind::HostedTool(_) | FindingKind::StoredState)
    };
    let counted = findings.counts().filter(|(kind, _)| !is_feature(kind));
    counted.map(|(kind, count)| (kind.to_string(), count, suppresses(kind))).collect()
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
    pub(super) decoded: Box<Decoded>,
    pub(super) findings: Findings,
    pub(super) permit: Arc<Permit>,
}

pub(super) fn authorize(inspected: Inspected) -> Result<Authorized, Box<Refused>> {
    let Inspected { mut decoded, findings } = inspected;
    let Decoded { exchange, caller, call, model, .. } = &mut *decoded;
    let known = Known { labels: &exchange.snapshot.labels, route: &exchange.snapshot.model(*model).data };
    let data = match data::read(caller, known, &exchange.head.headers, call) {
        Ok(data) => exchange.data.insert(data).clone(),
        Err(refusal) => return Err(decoded.exchange.refuse(refusal)),
    };
    let asking = Asking { caller: &decoded.caller, call: &decoded.call, findings: &findings, now: decoded.exchange.at };
    let (exchange, permit) = decide(decoded.exchange, asking, (decoded.model, &data))?;
    decoded.exchange = exchange;
    Ok(Authorized { decoded, findings, permit })
}

/// Stage 6 once more, for a request that has waited: by now its credential may have ended, and something be held back.
pub(super) fn again(
    exchange: Box<Exchange>,
    caller: &Caller,
    (call, findings): (&Call, &Findings),
) -> Result<(Box<Exchange>, Arc<Permit>), Box<Refused>> {
    let now = SystemTime::now();
    let certificate = exchange.peer.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
    let is_known = exchange.snapshot.callers.authenticate(&exchange.head.headers, certificate, now).is_ok();
    if !is_known || exchange.gateway.restrictions.current().revoke(&caller.app, &caller.key) {
        return Err(exchange.refuse(Refusal::InvalidApiKey));
    }
    let (Some(model), Some(data)) = (exchange.model_index, exchange.data.clone()) else {
        // Only a permitted request waits, and it has both.
        return Err(exchange.refuse(Refusal::InvalidApiKey));
    };
    decide(exchange, Asking { caller, call, findings, now }, (model, &data))
}

/// A request, as policy is asked about it.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) caller: &'a Caller,
    pub(super) call: &'a Call,
    pub(super) findings: &'a Findings,
    pub(super) now: SystemTime,
}

fn decide(
    mut exchange: Box<Exchange>,
    asking: Asking<'_>,
    (model, data): (ModelIndex, &DataFacts),
) -> Result<(Box<Exchange>, Arc<Permit>), Box<Refused>> {
    let Asking { call, findings, now, .. } = asking;
    exchange.asked_at = now;
    let known = exchange.snapshot.model(model);
    let Some(candidates) = known.candidates_for(call.api()) else {
        let refusal = Refusal::ApiNotServed { model: call.model().to_owned(), api: call.api().config_name() };
        return Err(exchange.refuse(refusal));
    };
    let (answer, proposed) = ask_policy(&exchange, asking, (known, candidates), data);
    exchange.proposed = proposed;
    match answer {
        Ok(permit) => Ok((exchange, permit)),
        Err(denial) => {
            let policies = denial.verdicts().iter().filter_map(|verdict| verdict.ruling.policies());
            exchange.gateway.metrics.denied_by(policies.flat_map(policy::PolicyIds::iter));
            Err(exchange.deny(refusal_of(&denial), &denial, (call, findings)))
        }
    }
}

/// Policy's answer for targets of one model, and what the candidate policies say of each of them.
pub(super) fn ask_policy(
    exchange: &Exchange,
    Asking { caller, call, findings, now }: Asking<'_>,
    (known, candidates): (&Model, &[Candidate]),
    data: &DataFacts,
) -> (Result<Arc<Permit>, Denial>, Vec<Verdict>) {
    let withheld = exchange.gateway.restrictions.current().withheld(&known.name, candidates);
    let asked = data.asked();
    let open = &exchange.gateway.break_glass;
    let lifted = open.lifted(&exchange.snapshot.break_glass, (&caller.app.name, &asked), candidates, now);
    let seen = caller.app.data.seen_of(findings, now);
    let question = Question {
        operation: operation_of(call.api()),
        data: asked,
        findings: seen.as_ref().unwrap_or(findings),
        withheld: &withheld,
        lifted: &lifted,
        now,
        ..Question::about(&caller.app.name, &known.name, candidates)
    };
    let proposed = exchange.snapshot.candidate.as_ref().map(|proposed| {
        let seen = proposed.seen_of(findings, &caller.app.data, now);
        verdicts_of(&proposed.judge, &Question { findings: seen.as_ref().unwrap_or(findings), ..question })
    });
    (policy::decide(&exchange.snapshot.judge, &question), proposed.unwrap_or_default())
}

fn verdicts_of(judge: &Judge, question: &Question<'_>) -> Vec<Verdict> {
    match policy::decide(judge, question) {
        Ok(permit) => permit.verdicts().to_vec(),
        Err(denial) => denial.verdicts().to_vec(),
    }
}

/// What an API asks a model to do, in the words of policies.
pub(crate) const fn operation_of(api: Api) -> Operation {
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
        cause @ (Cause::NotApproved
        | Cause::NotPermitted
        | Cause::Forbidden(_)
        | Cause::Withheld(_)
        | Cause::NoTarget) => Refusal::ResidencyDenied { reason: cause.to_string() },
    }
}
