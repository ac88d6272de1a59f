//! What an answer says of where it was made, held against what the configuration declares of the place. What a control plane
//! says is held against it elsewhere, and has the same consequence.
//!
//! A contradiction holds the endpoint back at once, in the way in which an administrator would: it is in force before this
//! request's answer goes on, kept over a restart, recorded, and let go again by somebody of security alone. The answer itself
//! goes to its caller: what it was made of is already where it is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use policy::{Echo, Facts};
use telemetry::audit::AdminEvent;
use wire::{Call, DEPLOYMENT_HEADER, GEO_MEMBER, REGION_HEADER};

use super::arrive::DecisionId;
use super::attempt::{Reply, Tried};
use super::books::Books;
use crate::gateway::Gateway;
use crate::restrictions::{Changed, Held, Restraint};
use crate::snapshot::Target;

/// Who holds it back, as records and `/api/restrictions` name it.
const ACTOR: &str = "process";

/// The head of an answer came. Only Azure's word is Azure's: another provider, or what stands before it, may send a header
/// of that name for reasons of its own, or send a caller's back.
pub(super) fn head(books: &mut Books, target: &Target, headers: &HeaderMap) {
    if !target.in_azure {
        return;
    }
    if let Some(region) = wire::region_said(headers) {
        compare(books, target, (REGION_HEADER, region), Echo::AzureRegion(region));
    }
    if let Some(deployment) = wire::deployment_said(headers)
        && !deployment.eq_ignore_ascii_case(&target.upstream_model)
    {
        let known = declared_of(books, target, deployment);
        let echo = Echo::AzureServedBy { deployment, facts: known.as_ref() };
        compare(books, target, (DEPLOYMENT_HEADER, deployment), echo);
    }
}

/// What is declared of another deployment at the same URL, at its worst. An endpoint has one place, so one that is of another
/// type is a target of another endpoint.
fn declared_of(books: &Books, target: &Target, deployment: &str) -> Option<Facts> {
    let is_it = |other: &&Target| {
        other.in_azure && other.origin == target.origin && other.upstream_model.eq_ignore_ascii_case(deployment)
    };
    books.snapshot().targets().filter(is_it).map(|other| Facts::clone(&other.facts)).reduce(Facts::worst_of)
}

/// The answer came, or its first event.
pub(super) fn answer(books: &mut Books, target: &Target, call: &Call, tried: &Tried) {
    let Tried::Answered { reply, .. } = tried else { return };
    let geo = match reply {
        Reply::Whole { body, .. } => wire::geo_said(call.api(), body),
        Reply::Stream(stream) => stream.held.iter().find_map(|frame| wire::geo_said_first(call.api(), frame)),
    };
    if let Some(geo) = geo {
        compare(books, target, (GEO_MEMBER, &geo), Echo::InferenceGeo(&geo));
    }
}

fn compare(books: &mut Books, target: &Target, (by, word): (&'static str, &str), echo: Echo<'_>) {
    if let Some(seen) = books.seen() {
        seen.places.push((by, word.into()));
    }
    let Err(drift) = books.snapshot().pack.compare(&target.facts, echo) else { return };
    let because = format!("{by} of `{}`: {drift}", target.name);
    hold_back(&books.gateway(), target, because, Some(books.decision()));
}

/// Holds the endpoint of `target` back, loudly, because its provider contradicts what is declared.
pub(crate) fn hold_back(gateway: &Arc<Gateway>, target: &Target, because: String, decision: Option<&DecisionId>) {
    target.metrics.place_drift().inc();
    let what = Restraint::Endpoint(target.endpoint.to_string());
    if gateway.restrictions.current().held(&what).is_some() {
        return;
    }
    let at = SystemTime::now();
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // INVARIANT: later than all that the fleet let go, or a gateway that hears of that only now would lift this with it.
    let held =
        Held { at: gateway.restrictions.said_at(seconds), by: ACTOR.to_owned(), because: because.clone(), named: None };
    // INVARIANT: in force before the answer goes on; only the disk is waited for elsewhere.
    let is_held = gateway.restrictions.hold_at_once(&what, &held);
    let decision = decision.map(tracing::field::display);
    let led_to = if is_held { "is held back" } else { "could not be held back: too many restrictions stand already" };
    tracing::error!(decision, endpoint = &*target.endpoint, "ALARM place_drift: {because}; the endpoint {led_to}");
    tokio::spawn(keep(Arc::clone(gateway), what, held, (at, because)));
}

/// Writes it down: for a restart, and for whoever asks later.
async fn keep(gateway: Arc<Gateway>, what: Restraint, held: Held, (at, because): (SystemTime, String)) {
    let owner = Arc::clone(&gateway);
    let kept = what.clone();
    let changed = tokio::task::spawn_blocking(move || owner.restrictions.tighten(&kept, &held)).await;
    let done = matches!(changed, Ok(Ok(_)));
    match changed {
        Ok(Ok(Changed::Kept | Changed::Already | Changed::NotYetKept)) => {}
        Ok(Ok(Changed::NotKept(error))) => tracing::error!(%error, %what, "held back, but not kept yet"),
        Ok(Err(error)) => tracing::error!(%error, %what, "could not be held back"),
        Err(fault) => tracing::error!(%fault, %what, "could not be kept"),
    }
    let snapshot = gateway.snapshot();
    let detail = format!("{what}: {because}");
    let event = AdminEvent {
        at,
        action: "place_drift",
        actor: ACTOR,
        done,
        configuration: Some(&snapshot.hash),
        detail: &detail,
    };
    if let Err(error) = gateway.audit.admin_or_late(&event).await {
        tracing::error!(%error, %what, "a drift could not be recorded");
    }
}
