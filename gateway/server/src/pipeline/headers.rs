//! The headers by which an answer names its decision.

use http::{HeaderMap, HeaderName, HeaderValue};
use wire::ErrorShape;

use super::arrive::{DecisionId, Exchange};
use crate::snapshot::Snapshot;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const DECISION: HeaderName = HeaderName::from_static("x-causeway-decision");
/// The model that answered, where it stood in for the one that was asked for.
pub(super) const MODEL: HeaderName = HeaderName::from_static("x-causeway-model");
const ENDPOINT: HeaderName = HeaderName::from_static("x-causeway-endpoint");
const WHY: HeaderName = HeaderName::from_static("x-causeway-why");
const PLAN: HeaderName = HeaderName::from_static("x-causeway-plan");
const POLICY: HeaderName = HeaderName::from_static("x-causeway-policy");

/// Adds the decision, the policy set and, where one answered, the endpoint.
pub(super) fn name_decision(headers: &mut HeaderMap, exchange: &Exchange, endpoint: Option<&HeaderValue>) {
    name(headers, &exchange.decision, exchange.shape, &exchange.snapshot);
    super::reserve::rate_headers(headers, exchange);
    if let Some([why, plan]) = &exchange.explanation {
        headers.insert(WHY, why.clone());
        headers.insert(PLAN, plan.clone());
    }
    if let Some(endpoint) = endpoint {
        headers.insert(ENDPOINT, endpoint.clone());
    }
}

/// Adds the decision and the policy set.
///
/// An upstream's own `x-request-id` is kept, since that is what its operator asks for; servers that send none
/// (llama.cpp) get the decision's id, so that clients which show the header always have one.
pub(super) fn name(headers: &mut HeaderMap, decision: &DecisionId, shape: ErrorShape, snapshot: &Snapshot) {
    let decision = decision.header();
    if shape == ErrorShape::Anthropic && !headers.contains_key(&ANTHROPIC_REQUEST_ID) {
        headers.insert(ANTHROPIC_REQUEST_ID, decision.clone());
    }
    if !headers.contains_key(&REQUEST_ID) {
        headers.insert(REQUEST_ID, decision.clone());
    }
    headers.insert(DECISION, decision);
    headers.insert(POLICY, snapshot.policy_header.clone());
}
