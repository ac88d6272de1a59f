//! Stages 7 and 9: the order of attempts, and the record that says so before anything is sent.

use std::sync::Arc;

use ingress::body::BodyPermit;
use ingress::limits::Admitted as AdmittedGuard;
use inspection::Findings;
use policy::{Permit, Verdict};
use routing::Plan;
use telemetry::audit::{CandidateNote, EstimateNote, FeatureNote, FindingNote, Intent};
use wire::Call;

use super::arrive::{Caller, Exchange};
use super::authorize::{Authorized, finding_counts, kind_of};
use super::books::Books;
use super::data::DataFacts;
use super::refusal::{Refusal, Refused};
use super::reserve::Reserved;

/// Stage 7: the attempts in order, each with its warrant.
pub(super) struct Planned {
    pub(super) exchange: Box<Exchange>,
    pub(super) caller: Caller,
    guard: AdmittedGuard,
    held: BodyPermit,
    pub(super) call: Call,
    findings: Findings,
    permit: Arc<Permit>,
    pub(super) plan: Plan,
}

pub(super) fn plan(authorized: Authorized) -> Planned {
    let Authorized { exchange, caller, guard, held, call, findings, permit } = authorized;
    let now = exchange.started;
    let snapshot = &exchange.snapshot;
    let plan = routing::plan(&permit, |target| snapshot.target(target).standing(now));
    Planned { exchange, caller, guard, held, call, findings, permit, plan }
}

/// Stage 9: the intent is written. From here on the books close themselves, whatever happens.
pub(super) struct Recorded {
    pub(super) plan: Plan,
    pub(super) call: Call,
    pub(super) books: Books,
}

pub(super) async fn record(reserved: Reserved) -> Result<Recorded, Box<Refused>> {
    let Reserved { planned, charge } = reserved;
    let Planned { exchange, caller, guard, held, call, findings, permit, plan } = planned;
    let written = {
        let whys = Whys::of(permit.verdicts());
        let candidates = whys.notes(permit.verdicts());
        let targets: Vec<&str> =
            plan.explain().iter().map(|ranked| exchange.snapshot.target(ranked.target).name.as_ref()).collect();
        let features = feature_notes(&call);
        let findings = finding_counts(&findings);
        let estimate = charge.estimate();
        let intent = Intent {
            decision: exchange.decision.as_str(),
            at: exchange.at,
            app: &caller.app.name,
            team: &caller.app.team,
            key: Some(&caller.key.name),
            model: call.model(),
            api: call.api().config_name(),
            stream: call.stream(),
            peer: Some(exchange.peer.address.ip()),
            policy: &exchange.snapshot.policy_hash,
            configuration: &exchange.snapshot.hash,
            candidates: &candidates,
            plan: &targets,
            estimate: EstimateNote { input: estimate.input.0, output: estimate.output.0 },
            money: charge.held().0,
            prices: &exchange.snapshot.prices,
            features: &borrowed(&features),
            data: exchange.data.as_ref().map(DataFacts::note),
            findings: &counted(&findings),
        };
        exchange.gateway.audit.intent(&intent).await
    };
    match written {
        Ok(open) => {
            let books = Books::open(exchange, permit, charge, open, (guard, held));
            Ok(Recorded { plan, call, books })
        }
        Err(error) => {
            // Nothing was sent, so nothing is owed.
            charge.not_sent();
            tracing::error!(%error, "the intent could not be written; the request is refused");
            Err(exchange.refuse(Refusal::AuditUnavailable))
        }
    }
}

/// The reasons as text: the policies by which each candidate is in or out.
pub(super) struct Whys(Vec<String>);

impl Whys {
    pub(super) fn of(verdicts: &[Verdict]) -> Self {
        Self(verdicts.iter().map(|verdict| verdict.ruling.to_string()).collect())
    }

    pub(super) fn notes<'a>(&'a self, verdicts: &'a [Verdict]) -> Vec<CandidateNote<'a>> {
        verdicts
            .iter()
            .zip(&self.0)
            .map(|(verdict, why)| CandidateNote {
                target: &verdict.name,
                verdict: if verdict.ruling.is_in() { "in" } else { "out" },
                why,
            })
            .collect()
    }
}

/// Kind and path of what asks for more than an answer, never a value.
pub(super) fn feature_notes(call: &Call) -> Vec<(String, &str)> {
    call.features().iter().map(|feature| (kind_of(&feature.kind).to_string(), feature.path.as_str())).collect()
}

/// Kinds and numbers of findings, as the record takes them.
pub(super) fn counted(findings: &[(String, u64)]) -> Vec<FindingNote<'_>> {
    findings.iter().map(|(kind, count)| FindingNote { kind, count: *count }).collect()
}

pub(super) fn borrowed<'a>(features: &'a [(String, &'a str)]) -> Vec<FeatureNote<'a>> {
    features.iter().map(|(kind, path)| FeatureNote { kind, path }).collect()
}
