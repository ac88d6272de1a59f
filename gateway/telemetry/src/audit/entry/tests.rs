//! Each line against the same entry put together by serde_json.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::audit::{ConnectionPath, PlaceFacts};

/// The object that a line holds, the kind aside.
fn read(entry: &impl Entry) -> Value {
    let mut line = b"{\"kind\":\"it\"".to_vec();
    entry.write(&mut line);
    line.push(b'}');
    assert!(!line.contains(&b'\n'));
    let mut value: Map<String, Value> = serde_json::from_slice(&line).unwrap();
    assert_eq!(value.remove("kind"), Some(json!("it")));
    Value::Object(value)
}

/// `value` without the fields that do not apply.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        value => value,
    }
}

fn at(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

fn time(at: SystemTime) -> String {
    String::from_utf8(stamp::digits(at).to_vec()).unwrap()
}

fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn unless_empty<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    if items.is_empty() { Value::Null } else { items.iter().map(value).collect() }
}

fn usage_note() -> impl Strategy<Value = UsageNote> {
    let small = || prop_oneof![Just(0), any::<u64>()];
    (any::<u64>(), any::<u64>(), small(), small()).prop_map(|(input, output, cached_input, reasoning)| UsageNote {
        input,
        output,
        cached_input,
        reasoning,
    })
}

fn usage_value(usage: &UsageNote) -> Value {
    let unless_zero = |count: u64| if count == 0 { Value::Null } else { count.into() };
    json!({
        "input": usage.input,
        "output": usage.output,
        "cached_input": unless_zero(usage.cached_input),
        "reasoning": unless_zero(usage.reasoning),
    })
}

fn attempt() -> impl Strategy<Value = AttemptNote> {
    let place = (any::<String>(), any::<String>(), any::<Option<SocketAddr>>());
    (place, any::<Option<u16>>(), proptest::option::of(usage_note()), 0_u64..1 << 50, any::<bool>()).prop_map(
        |((target, endpoint, address), status, usage, micros, may_have_executed)| AttemptNote {
            target: target.into(),
            endpoint: endpoint.into(),
            place: may_have_executed.then(place_note),
            outcome: "timeout_first_byte",
            status,
            address,
            evidence: address.map(|_| "address"),
            verdict: may_have_executed.then_some("DNS-01"),
            path: address.map(path),
            took: Duration::from_micros(micros),
            usage,
            may_have_executed,
            seen: SeenNote {
                user: may_have_executed.then_some("pseudonym"),
                places: status.map(|status| ("x-ms-region", status.to_string().into())).into_iter().collect(),
            },
        },
    )
}

fn place_note() -> PlaceNote {
    let here: &[&str] = &["DE"];
    let (processing, at_rest, access) = (here, here, here);
    PlaceNote::new(&PlaceFacts { words: "a site", processing, at_rest, access, operator: "DE", operator_parent: "DE" })
}

fn path(peer: SocketAddr) -> PathNote {
    let (chain, resolver, servers) = ("x -> y", "hub", &[peer][..]);
    PathNote::new(&ConnectionPath {
        chain,
        resolver,
        servers,
        lifetime: None,
        stale: true,
        peer,
        via: None,
        source: peer,
        tls: None,
    })
}

fn attempt_value(attempt: &AttemptNote) -> Value {
    json!({
        "target": &*attempt.target,
        "endpoint": &*attempt.endpoint,
        "place": attempt.place.as_ref().map(|place| serde_json::from_slice::<Value>(place.json()).unwrap()),
        "outcome": attempt.outcome,
        "status": attempt.status,
        "address": attempt.address.map(|address| address.to_string()),
        "evidence": attempt.evidence,
        "verdict": attempt.verdict,
        "path": attempt.path.as_ref().map(|path| serde_json::from_slice::<Value>(path.json()).unwrap()),
        "ms": ms(attempt.took),
        "usage": attempt.usage.as_ref().map(usage_value),
        "may_have_executed": attempt.may_have_executed,
        "user": attempt.seen.user,
        "place_said": unless_empty(&attempt.seen.places, |(by, said)| json!({ "by": by, "said": &**said })),
    })
}

type Texts = [String; 8];

proptest! {
    #[test]
    fn an_intent_is_read_back_as_it_was(
        texts: Texts,
        lists in proptest::collection::vec(any::<(String, String, String)>(), 0..4),
        (micros, stream, input, output) in (0_u64..1 << 50, any::<bool>(), any::<u64>(), any::<u64>()),
        peer: Option<IpAddr>,
        (keyed, trace) in any::<(bool, Option<[u8; 16]>)>(),
    ) {
        let [decision, app, team, key, model, api, policy, configuration] = &texts;
        let candidates: Vec<_> =
            lists.iter().map(|(target, verdict, why)| CandidateNote { target, verdict, why, proposed: None, fallback: keyed.then_some(model), facts: Some(why) }).collect();
        let features: Vec<_> = lists.iter().map(|(kind, path, _)| FeatureNote { kind, path }).collect();
        let findings: Vec<_> = lists.iter().map(|(kind, ..)| FindingNote { kind, count: micros, suppressed: stream }).collect();
        let labels: Vec<Arc<str>> = lists.iter().map(|(label, ..)| label.as_str().into()).collect();
        let from: &[&str] = if stream && !labels.is_empty() { &["claims"] } else { &[] };
        let data = DataNote {
            labels: &labels, from, class: api, class_from: keyed.then_some("claims"), purpose: keyed.then_some(app),
            purpose_from: keyed.then_some("header"),
        };
        let whose: Vec<&str> = (0..labels.len()).map(|place| from.get(place).copied().unwrap_or("registration")).collect();
        let basis: Vec<_> = lists.iter().map(|(policy, _, basis)| BasisNote::new(policy, basis)).collect();
        let plan: Vec<&str> = lists.iter().map(|(target, ..)| target.as_str()).collect();
        let intent = Intent {
            decision, app, team, model, api, stream, peer, trace, policy, configuration,
            pack: model,
            basis: &basis.iter().collect::<Vec<_>>(),
            at: at(micros),
            waited: keyed.then(|| Duration::from_micros(micros)),
            key: keyed.then_some(key),
            user: keyed.then_some(key),
            candidates: &candidates,
            plan: &plan,
            estimate: EstimateNote { input, output },
            reason: api,
            money: input,
            prices: policy,
            features: &features,
            data: Some(data),
            findings: &findings,
            break_glass: keyed.then_some(key),
            capture: keyed.then_some(match (stream, peer) {
                (true, None) => CaptureNote::Kept(key),
                (true, Some(_)) => CaptureNote::Cut(key, "memory"),
                (false, _) => CaptureNote::Failed(app),
            }),
        };

        let expected = json!({
            "decision": decision, "at": time(at(micros)), "app": app, "team": team,
            "waited_ms": keyed.then(|| ms(Duration::from_micros(micros))),
            "key": keyed.then_some(key), "user": keyed.then_some(key), "break_glass": keyed.then_some(key),
            "capture": keyed.then(|| match (stream, peer) {
                (true, None) => json!({ "sha256": key }),
                (true, Some(_)) => json!({ "sha256": key, "cut": "memory" }),
                (false, _) => json!({ "failed": app }),
            }),
            "model": model, "api": api, "stream": stream,
            "peer": peer.map(|peer| peer.to_string()), "policy": policy, "configuration": configuration,
            "trace_id": trace.map(|trace| format!("{:032x}", u128::from_be_bytes(trace))), "pack": model,
            "candidates": candidates.iter().map(candidate_value).collect::<Vec<_>>(),
            "basis": basis_value(&lists),
            "plan": plan, "reason": (!api.is_empty()).then_some(api), "estimate": { "input": input, "output": output, "nano_usd": input }, "prices": policy,
            "features": unless_empty(&features, feature_value),
            "findings": unless_empty(&findings, finding_value),
            "data": {
                "labels": labels.iter().map(|label| &**label).collect::<Vec<_>>(),
                "from": unless_empty(&whose, |whose| json!(whose)), "class": api,
                "class_from": keyed.then_some("claims"), "purpose": keyed.then_some(app),
                "purpose_from": keyed.then_some("header"),
            },
        });
        prop_assert_eq!(read(&intent), without_nulls(expected));
    }

    #[test]
    fn a_refusal_is_read_back_as_it_was(
        texts: Texts,
        lists in proptest::collection::vec(any::<(String, String, String)>(), 0..4),
        (micros, status) in (0_u64..1 << 50, any::<u16>()),
        peer: Option<IpAddr>,
        known: bool,
    ) {
        let [decision, app, team, key, model, api, policy, code] = &texts;
        let candidates: Vec<_> =
            lists.iter().map(|(target, verdict, why)| CandidateNote { target, verdict, why, proposed: None, fallback: None, facts: Some(why) }).collect();
        let features: Vec<_> = lists.iter().map(|(kind, path, _)| FeatureNote { kind, path }).collect();
        let findings: Vec<_> = lists.iter().map(|(kind, ..)| FindingNote { kind, count: micros, suppressed: known }).collect();
        let basis: Vec<_> = lists.iter().map(|(policy, _, basis)| BasisNote::new(policy, basis)).collect();
        let refused = Refused {
            decision, app, team, peer, policy, status, code,
            trace: None,
            pack: model,
            basis: &basis.iter().collect::<Vec<_>>(),
            at: at(micros),
            key: known.then_some(key),
            model: known.then_some(model),
            api: known.then_some(api),
            configuration: policy,
            candidates: &candidates,
            features: &features,
            data: None,
            findings: &findings,
        };

        let expected = json!({
            "decision": decision, "at": time(at(micros)), "app": app, "team": team,
            "key": known.then_some(key), "model": known.then_some(model), "api": known.then_some(api),
            "peer": peer.map(|peer| peer.to_string()), "policy": policy, "configuration": policy,
            "status": status, "code": code,
            "pack": model, "basis": basis_value(&lists),
            "candidates": unless_empty(&candidates, candidate_value),
            "features": unless_empty(&features, feature_value),
            "findings": unless_empty(&findings, finding_value),
        });
        prop_assert_eq!(read(&refused), without_nulls(expected));
    }

    #[test]
    fn an_outcome_is_read_back_as_it_was(
        (decision, code) in any::<(String, Option<String>)>(),
        attempts in proptest::collection::vec(attempt(), 0..3),
        usage in proptest::option::of(usage_note()),
        (micros, total, status) in (0_u64..1 << 50, 0_u64..1 << 50, any::<Option<u16>>()),
        (end, name) in prop_oneof![
            Just((End::Complete, "complete")), Just((End::Error, "error")), Just((End::Truncated, "truncated")),
            Just((End::Disconnected, "disconnected")), Just((End::Abandoned, "abandoned")),
        ],
    ) {
        let total = Duration::from_micros(total);
        let outcome = Outcome {
            at: at(micros), status, code: code.as_deref(), usage, settled_by: "reported", lost_tokens: micros, charged: micros,
            priced: micros % 2 == 1,
            to_first_byte: status.map(|_| total / 2), total, end,
        };

        let is_late = micros % 3 == 0;
        let expected = json!({
            "decision": decision,
            "late": is_late.then_some(true),
            "outcome": {
                "at": time(at(micros)), "status": status, "code": code, "usage": usage.as_ref().map(usage_value),
                "settled_by": "reported", "lost_tokens": (micros > 0).then_some(micros),
                "charged_nano_usd": micros, "price_unknown": (micros % 2 == 0).then_some(true), "ms_to_first_byte": status.map(|_| ms(total / 2)), "ms_total": ms(total),
                "end": name,
            },
            "attempts": attempts.iter().map(attempt_value).collect::<Vec<_>>(),
        });
        let line = OutcomeLine { decision: &decision, attempts: &attempts, outcome, capture: None, is_late };
        prop_assert_eq!(read(&line), without_nulls(expected));
    }
}

fn candidate_value(candidate: &CandidateNote<'_>) -> Value {
    let why = if candidate.why.is_empty() { Value::Null } else { candidate.why.into() };
    json!({ "target": candidate.target, "verdict": candidate.verdict, "why": why, "fallback": candidate.fallback, "facts": candidate.facts })
}

fn basis_value(lists: &[(String, String, String)]) -> Value {
    let members: Map<String, Value> = lists.iter().map(|(policy, _, basis)| (policy.clone(), json!(basis))).collect();
    if members.is_empty() { Value::Null } else { Value::Object(members) }
}

fn finding_value(finding: &FindingNote<'_>) -> Value {
    json!({ "kind": finding.kind, "count": finding.count, "suppressed": finding.suppressed.then_some(true) })
}

fn feature_value(feature: &FeatureNote<'_>) -> Value {
    json!({ "kind": feature.kind, "path": feature.path })
}
