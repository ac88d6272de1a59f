//! Stage 9: the record that says what will be done, before anything is sent.

use policy::{Ruling, Verdict};
use routing::Plan;
use telemetry::audit::{CandidateNote, EstimateNote, FeatureNote, FindingNote, Intent};
use telemetry::pseudonym::Realm;
use wire::Call;

use super::arrive::{Caller, Exchange};
use super::authorize::{FindingCount, finding_counts, kind_of};
use super::books::{Books, Carried};
use super::capture;
use super::data::DataFacts;
use super::decode::Decoded;
use super::fallback::StandIn;
use super::plan::Planned;
use super::refusal::{Refusal, Refused};
use super::reserve::Reserved;
use crate::break_glass;
use crate::snapshot::{RouteData, Snapshot};

/// Stage 9: the intent is written. From here on the books close themselves, whatever happens.
pub(super) struct Recorded {
    pub(super) plan: Plan,
    pub(super) call: Call,
    pub(super) books: Box<Books>,
}

pub(super) async fn record(reserved: Reserved) -> Result<Recorded, Box<Refused>> {
    let Reserved { planned, charge } = reserved;
    let Planned { decoded, findings, permit, plan, stand_ins, ask, session, turn } = *planned;
    let Decoded { exchange, caller, guard, held, call, .. } = *decoded;
    let Some(kept) = capture::request(&exchange, &caller, &call).await else {
        charge.not_sent();
        return Err(exchange.refuse(Refusal::AuditUnavailable));
    };
    let written = {
        let whys = Whys::new(permit.verdicts(), &exchange.proposed, (Some(&plan), None));
        let behind = whys_of_stand_ins(&stand_ins, &plan);
        let mut candidates = whys.notes(permit.verdicts(), None, &exchange.snapshot);
        for (stand_in, whys) in stand_ins.iter().zip(&behind) {
            candidates.extend(whys.notes(&stand_in.verdicts, Some(&stand_in.name), &exchange.snapshot));
        }
        let mut targets: Vec<&str> = Vec::with_capacity(candidates.len());
        for part in plan.parts() {
            let tried = part.explain().iter().filter(|ranked| ranked.is_tried());
            targets.extend(tried.map(|ranked| exchange.snapshot.target(ranked.target).name.as_ref()));
        }
        let mut reason = String::with_capacity(USUAL_WHY);
        // Writing to a string does not fail.
        let _ = plan.reason().write(&mut reason);
        let features = feature_notes(&call);
        let findings = finding_counts(&findings, exchange.suppresses());
        let estimate = charge.estimate();
        let user = pseudonym(&exchange.snapshot, &caller, &call);
        exchange.spans.user(&exchange.snapshot, user.as_deref());
        let verdicts = || permit.verdicts().iter().chain(stand_ins.iter().flat_map(|stand_in| &stand_in.verdicts));
        let grounds = &exchange.snapshot.grounds;
        let intent = Intent {
            decision: exchange.decision.as_str(),
            at: exchange.at,
            waited: turn.is_some().then(|| exchange.ready.saturating_duration_since(exchange.started)),
            app: &caller.app.name,
            team: &caller.app.team,
            key: Some(&caller.key.name),
            user: user.as_deref(),
            model: call.model(),
            api: call.api().config_name(),
            stream: call.stream(),
            peer: Some(exchange.peer.address.ip()),
            trace: exchange.spans.recorded(),
            policy: &exchange.snapshot.policy_hash,
            pack: &grounds.pack,
            configuration: &exchange.snapshot.hash,
            candidates: &candidates,
            basis: &grounds.basis_of(verdicts().filter(|verdict| verdict.ruling.is_in())),
            plan: &targets,
            reason: &reason,
            estimate: EstimateNote { input: estimate.input.0, output: estimate.output.0 },
            money: charge.held().0,
            prices: &exchange.snapshot.prices,
            features: &borrowed(&features),
            data: exchange.data.as_ref().map(DataFacts::note),
            findings: &counted(&findings),
            break_glass: verdicts().find_map(opened_grant),
            capture: kept.note(),
        };
        if may_pass(&exchange, &intent, &stand_ins) {
            exchange.gateway.audit.intent_or_pass(&intent).await
        } else {
            exchange.gateway.audit.intent(&intent).await
        }
    };
    match written {
        Ok(open) => {
            let books = Books::open(
                exchange,
                permit,
                charge,
                open,
                Carried { held: (guard, held), ask, session, stand_ins, turn, input_bytes: call.input_bytes() },
            );
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

/// Whether the request may be sent although its decision cannot be written: the configuration lets its class, also that of any
/// model that may stand in. Never under a grant for an emergency, which lives on being seen, nor where it is to be kept.
fn may_pass(exchange: &Exchange, intent: &Intent<'_>, stand_ins: &[StandIn]) -> bool {
    let own = exchange.data.as_ref().map(DataFacts::class_or_highest);
    let of_stand_ins = stand_ins.iter().filter(|one| one.is_planned()).filter_map(|one| one.added.class);
    let class = own.map(|own| of_stand_ins.fold(own, Ord::max));
    intent.break_glass.is_none()
        && intent.capture.is_none()
        && exchange.snapshot.refuse_from.zip(class).is_some_and(|(refused_from, class)| class < refused_from)
}

/// The reasons for the targets of each model that stands in; those that have a permitted target have a part of the plan.
fn whys_of_stand_ins(stand_ins: &[StandIn], plan: &Plan) -> Vec<Whys> {
    let mut parts = plan.parts().skip(1);
    let whys = |stand_in: &StandIn| {
        let part = stand_in.is_planned().then(|| parts.next()).flatten();
        Whys::new(&stand_in.verdicts, &stand_in.proposed, (part, Some(&stand_in.added)))
    };
    stand_ins.iter().map(whys).collect()
}

/// The open grant that permits a target, where it is one and no policy.
pub(super) fn opened_grant(verdict: &Verdict) -> Option<&str> {
    if !verdict.ruling.is_in() {
        return None;
    }
    verdict.ruling.policies()?.iter().find_map(break_glass::grant_of)
}

/// Who the app asks for, as a name that only whoever holds the key can find again.
fn pseudonym(snapshot: &Snapshot, caller: &Caller, call: &Call) -> Option<String> {
    let key = snapshot.pseudonyms.as_ref()?;
    Some(key.pseudonym(Realm::Audit, &caller.app.name, &caller.user_of(call)?))
}

/// Room for a reason, in bytes: few need more, and a string that grows is moved several times.
const USUAL_WHY: usize = 160;

/// The reasons as text: the policies by which each candidate is in or out, why those that are in have their place in the plan,
/// and where the proposed policies would decide otherwise.
pub(super) struct Whys {
    /// All reasons, one behind the other.
    text: String,
    /// Where each ends, and what the proposed policies say.
    each: Vec<(usize, Option<String>)>,
}

impl Whys {
    pub(super) fn of(verdicts: &[Verdict], proposed: &[Verdict]) -> Self {
        Self::new(verdicts, proposed, (None, None))
    }

    /// `added` is what the route of a model that stands in says beyond what is said of the request.
    fn new(verdicts: &[Verdict], proposed: &[Verdict], (plan, added): (Option<&Plan>, Option<&RouteData>)) -> Self {
        let mut text = String::with_capacity(USUAL_WHY * verdicts.len());
        let mut each = Vec::with_capacity(verdicts.len());
        for (index, Verdict { target, ruling, .. }) in verdicts.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = ruling.write(&mut text);
            let planned = plan.filter(|_| ruling.is_in()).map(Plan::explain).unwrap_or_default();
            if let Some(ranked) = planned.iter().find(|ranked| ranked.target == *target) {
                text.push_str("; ");
                let _ = ranked.why.write(&mut text);
            }
            if let Some(added) = added.filter(|added| !added.labels.is_empty()) {
                text.push_str("; labels of its route: ");
                text.push_str(&added.labels.join(", "));
            }
            if let Some(class) = added.and_then(|added| added.class) {
                text.push_str("; class of its route: ");
                text.push_str(class.name());
            }
            let other = proposed.get(index).and_then(|proposed| otherwise(ruling, &proposed.ruling));
            each.push((text.len(), other));
        }
        Self { text, each }
    }

    pub(super) fn notes<'a>(
        &'a self,
        verdicts: &'a [Verdict],
        fallback: Option<&'a str>,
        snapshot: &'a Snapshot,
    ) -> Vec<CandidateNote<'a>> {
        let mut notes = Vec::with_capacity(verdicts.len());
        let mut start = 0;
        for (verdict, (end, proposed)) in verdicts.iter().zip(&self.each) {
            notes.push(CandidateNote {
                target: &verdict.name,
                verdict: word(&verdict.ruling),
                why: self.text.get(start..*end).unwrap_or_default(),
                proposed: proposed.as_deref(),
                fallback,
                facts: snapshot.target(verdict.target).changed_facts.as_deref(),
            });
            start = *end;
        }
        notes
    }
}

const fn word(ruling: &Ruling) -> &'static str {
    if ruling.is_in() { "in" } else { "out" }
}

/// What the proposed policies say, where a target would be in and is out, or the other way about, or goes there otherwise.
fn otherwise(enforced: &Ruling, proposed: &Ruling) -> Option<String> {
    let is_same = match (enforced, proposed) {
        (Ruling::In { obligations: one, .. }, Ruling::In { obligations: other, .. }) => one == other,
        _ => enforced.is_in() == proposed.is_in(),
    };
    (!is_same).then(|| format!("{}: {proposed}", word(proposed)))
}

/// Kind and path of what asks for more than an answer, never a value.
pub(super) fn feature_notes(call: &Call) -> Vec<(String, &str)> {
    call.features().iter().map(|feature| (kind_of(&feature.kind).to_string(), feature.path.as_str())).collect()
}

/// Kinds and numbers of findings, as the record takes them.
pub(super) fn counted(findings: &[FindingCount]) -> Vec<FindingNote<'_>> {
    findings
        .iter()
        .map(|(kind, count, suppressed)| FindingNote { kind, count: *count, suppressed: *suppressed })
        .collect()
}

pub(super) fn borrowed<'a>(features: &'a [(String, &'a str)]) -> Vec<FeatureNote<'a>> {
    features.iter().map(|(kind, path)| FeatureNote { kind, path }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use policy::{Candidate, Class, Judge, Question, TargetId};
    use routing::Standing;

    use super::*;

    #[test]
    fn each_candidate_has_its_own_reasons_and_those_that_are_in_say_why_they_have_their_place() {
        let candidate = |id, name, approved| Candidate { approved, ..Candidate::new(TargetId(id), name) };
        let decided = |is_cloud_approved| {
            let cloud = candidate(1, "aoai/gpt-4o", is_cloud_approved);
            let candidates = [candidate(0, "gpu-1/llama", true), cloud, candidate(2, "gpu-2/llama", true)];
            policy::decide(&Judge::of_grants(&candidates), &Question::about("claims", "chat", &candidates)).unwrap()
        };
        let (permit, proposed) = (decided(false), decided(true));
        let plan = routing::plan(&permit, |_| Standing::Healthy);
        let labels = Arc::from(["health".into(), "payment".into()]);
        let added = RouteData { labels, class: Some(Class::Secret) };

        let whys = Whys::new(permit.verdicts(), proposed.verdicts(), (Some(&plan), Some(&added)));

        let mut start = 0;
        let each = whys.each.iter().map(|(end, other)| {
            let why = whys.text.get(start..*end).unwrap();
            start = *end;
            (why, other.as_deref())
        });
        let place = "permitted by `approved-targets`; healthy, in declared order; labels of its route: health, payment; class of its route: secret";
        let out = "the endpoint is not approved; labels of its route: health, payment; class of its route: secret";
        let expected = [(place, None), (out, Some("in: permitted by `approved-targets`")), (place, None)];
        assert_eq!(each.collect::<Vec<_>>(), expected);
    }
}
