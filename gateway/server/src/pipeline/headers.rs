//! The headers by which an answer names its decision, and says how the caller's limits stand.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::ErrorShape;

use super::arrive::{DecisionId, Exchange};
use super::plan;
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

// OpenAI's names; each is told for the limit that leaves least.
const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// Adds the decision, the policy set and, where one answered, the endpoint.
pub(super) fn name_decision(headers: &mut HeaderMap, exchange: &Exchange, endpoint: Option<&HeaderValue>) {
    name(headers, &exchange.decision, exchange.shape, &exchange.snapshot);
    tell_rates(headers, exchange);
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
    if shape == ErrorShape::Anthropic {
        headers.entry(ANTHROPIC_REQUEST_ID).or_insert_with(|| decision.header());
    }
    headers.entry(REQUEST_ID).or_insert_with(|| decision.header());
    headers.insert(DECISION, decision.header());
    headers.insert(POLICY, snapshot.policy_header.clone());
}

/// How the limits on requests and on tokens stand, of each the one that leaves least; for tokens that of the key, the app or the
/// model.
/// An upstream's own are about the account that all callers share, and are replaced.
fn tell_rates(headers: &mut HeaderMap, exchange: &Exchange) {
    let mut text = BytesMut::with_capacity(128);
    if let Some(rate) = exchange.rate {
        tell(headers, REQUESTS, &mut text, (rate.limit.into(), rate.remaining.into(), rate.full_in));
    }
    let Some(caller) = &exchange.caller else { return };
    let now = Instant::now();
    let of_app = caller.app.book.rate(now);
    let of_key = caller.key.book.as_ref().and_then(|book| book.rate(now));
    let of_model = plan::model_of(exchange).and_then(|model| model.tokens.standing(now));
    let tightest = [of_key, of_app, of_model].into_iter().flatten().min_by_key(|rate| rate.remaining);
    if let Some(rate) = tightest {
        tell(headers, TOKENS, &mut text, (rate.limit, rate.remaining, rate.full_in));
    }
}

/// One limit in three headers, whose values share the memory of `text`.
fn tell(
    headers: &mut HeaderMap,
    [limit, remaining, reset]: [HeaderName; 3],
    text: &mut BytesMut,
    (most, left, full_in): (u64, u64, Duration),
) {
    put_number(text, most);
    headers.insert(limit, value(text));
    put_number(text, left);
    headers.insert(remaining, value(text));
    put_span(text, full_in);
    headers.insert(reset, value(text));
}

fn value(text: &mut BytesMut) -> HeaderValue {
    HeaderValue::from_maybe_shared(text.split().freeze()).expect("digits, points and letters are header characters")
}

fn put_number(text: &mut BytesMut, number: u64) {
    text.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A time as `OpenAI` writes it: `6m0s`, `1.5s`, `20ms`; rounded up to a millisecond.
fn put_span(text: &mut BytesMut, time: Duration) {
    let ms = u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    if ms < 1_000 {
        put_number(text, ms);
        return text.put_slice(b"ms");
    }
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    if minutes >= 60 {
        put_number(text, minutes / 60);
        text.put_u8(b'h');
    }
    if minutes > 0 {
        put_number(text, minutes % 60);
        text.put_u8(b'm');
    }
    put_number(text, rest / 1_000);
    let (mut left, mut place) = (rest % 1_000, 100);
    if left > 0 {
        text.put_u8(b'.');
    }
    while left > 0 {
        put_number(text, left / place);
        (left, place) = (left % place, place / 10);
    }
    text.put_u8(b's');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_openai_writes_it() {
        let written = |time| {
            let mut text = BytesMut::new();
            put_span(&mut text, time);
            text
        };
        let table = [
            (0, "0ms"),
            (20, "20ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (1_005, "1.005s"),
            (59_120, "59.12s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (3_661_050, "1h1m1.05s"),
        ];

        for (ms, as_text) in table {
            assert_eq!(written(Duration::from_millis(ms)), as_text);
        }
        assert_eq!(written(Duration::from_nanos(1)), "1ms");
    }
}
