//! Entries as events of the Open Cybersecurity Schema Framework 1.3, class 6003, API Activity.
//!
//! Intents, outcomes, refusals and administrative actions become events; what only the log itself needs does not. The
//! whole entry goes along as `raw_data`, so that nothing is lost in the translation.

use serde_json::{Map, Value, json};
use telemetry::audit::read::Stand;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// API Activity.
const CLASS: u64 = 6003;

/// The event of an entry; `None` for an entry that is none.
pub(super) fn event(stand: Stand<'_>, entry: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(entry).ok()?;
    let event = Event { stand, value: &value, raw: std::str::from_utf8(entry).ok()?.trim_end() };
    match value["kind"].as_str()? {
        // Create, whose status is not known yet.
        "intent" => Some(event.build(1, "decide", 0)),
        "outcome" => Some(event.build(1, "answer", if value["outcome"]["end"] == "complete" { 1 } else { 2 })),
        "refused" => Some(event.build(1, "refuse", 2)),
        // Update.
        "admin" | "key" => Some(event.build(3, value["action"].as_str().unwrap_or("key"), event.done())),
        _ => None,
    }
}

struct Event<'a> {
    stand: Stand<'a>,
    value: &'a Value,
    raw: &'a str,
}

impl Event<'_> {
    fn done(&self) -> u64 {
        if self.value["done"] == false { 2 } else { 1 }
    }

    /// `activity` is OCSF's number of what was done, `status` whether it succeeded.
    fn build(&self, activity: u64, operation: &str, status: u64) -> Value {
        let value = self.value;
        let outcome = &value["outcome"];
        let code = if value["status"].is_null() { &outcome["status"] } else { &value["status"] };
        let reason = if value["code"].is_null() { &outcome["code"] } else { &value["code"] };
        let at = value["at"].as_str().or(outcome["at"].as_str()).unwrap_or_default();
        without_nulls(json!({
            "class_uid": CLASS,
            "category_uid": 6,
            "activity_id": activity,
            "type_uid": CLASS * 100 + activity,
            "severity_id": if status == 2 { 2 } else { 1 },
            "status_id": status,
            "status_code": reason,
            "time": milliseconds(at),
            "metadata": {
                "version": "1.3.0",
                "product": { "name": "Causeway", "vendor_name": "Causeway", "version": env!("CARGO_PKG_VERSION") },
                "log_name": format!("{}/{}", self.stand.origin, self.stand.epoch),
                "sequence": self.stand.index,
                "correlation_uid": value["decision"],
            },
            "actor": {
                // Required; an outcome does not repeat the app of its intent.
                "app_name": if value["app"].is_null() { json!("causeway") } else { value["app"].clone() },
                "app_uid": value["key"],
                // A user needs a name or an id; the team is no user.
                "user": { "name": value["actor"], "uid": value["user"] },
            },
            // What a decision rests on, and where its attempts may have been processed: OCSF has no field for these.
            "unmapped": {
                "team": value["team"],
                "trace_id": value["trace_id"],
                "policy": value["policy"],
                "pack": value["pack"],
                "prices": value["prices"],
                "configuration": value["configuration"],
                "basis": value["basis"],
                "places": places(&value["attempts"]),
            },
            "api": {
                "operation": operation,
                "service": { "name": value["api"] },
                "request": { "uid": value["decision"] },
                "response": { "code": code, "error": reason },
            },
            // Required; an outcome is about the caller of its intent, which `correlation_uid` names.
            "src_endpoint": if value["peer"].is_null() { json!({ "name": self.stand.origin }) } else { json!({ "ip": value["peer"] }) },
            "resources": resource(&value["model"]),
            "raw_data": self.raw,
        }))
    }
}

/// Where each attempt may have been processed; null where no record says so.
fn places(attempts: &Value) -> Value {
    let places = attempts.as_array().into_iter().flatten().filter(|attempt| attempt["place"].is_object());
    let places: Vec<Value> =
        places.map(|attempt| json!({ "target": attempt["target"], "place": attempt["place"] })).collect();
    if places.is_empty() { Value::Null } else { Value::Array(places) }
}

fn resource(model: &Value) -> Value {
    if model.is_null() { Value::Null } else { json!([{ "type": "model", "name": model }]) }
}

/// Milliseconds since 1970; 0 for what is no time.
fn milliseconds(at: &str) -> i64 {
    OffsetDateTime::parse(at, &Rfc3339).map_or(0, |time| (time.unix_timestamp_nanos() / 1_000_000) as i64)
}

/// `value` without fields that do not apply, and without objects that have none.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(name, value)| (name, without_nulls(value)));
            let kept: Map<String, Value> = kept.filter(|(_, value)| !value.is_null()).collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAND: Stand<'_> = Stand { origin: "gw-1", epoch: "0000000001", index: 7 };

    /// What the class requires of every event.
    const REQUIRED: [&str; 10] = [
        "activity_id",
        "actor",
        "api",
        "category_uid",
        "class_uid",
        "metadata",
        "severity_id",
        "src_endpoint",
        "time",
        "type_uid",
    ];

    #[test]
    fn an_intent_becomes_an_event_of_api_activity_with_all_that_the_class_requires() {
        let entry = "{\"kind\":\"intent\",\"decision\":\"d-1\",\"at\":\"2026-11-26T08:00:00.250000Z\",\"app\":\"claims\",\
                     \"team\":\"insurance\",\"key\":\"claims-1\",\"model\":\"chat\",\"api\":\"chat\",\"peer\":\"192.168.1.9\"}\n";

        let event = event(STAND, entry.as_bytes()).unwrap();

        for field in REQUIRED {
            assert!(!event[field].is_null(), "{field}: {event}");
        }
        assert_eq!((&event["type_uid"], &event["time"]), (&json!(600_301), &json!(1_795_680_000_250_i64)));
        assert_eq!(event["src_endpoint"], json!({ "ip": "192.168.1.9" }));
        assert_eq!(event["metadata"]["correlation_uid"], "d-1");
        assert_eq!(event["unmapped"], json!({ "team": "insurance" }));
        assert!(event["actor"]["user"].is_null(), "{event}");
        assert_eq!(event["raw_data"], entry.trim_end());
    }

    #[test]
    fn what_a_decision_rests_on_and_where_it_was_processed_goes_along() {
        let intent = br#"{"kind":"intent","at":"2026-11-26T08:00:00.000000Z","app":"a","trace_id":"0af7651916cd43dd8448eb211c80319c","policy":"aa","pack":"2026-11-27 sha256:bb","prices":"cc","configuration":"dd","basis":{"approved-targets":"GDPR Art. 24"}}"#;
        let outcome = br#"{"kind":"outcome","outcome":{"at":"2026-11-26T08:00:00.000000Z","end":"complete"},"attempts":[{"target":"old/m"},{"target":"gpu/m","place":{"processing":["DE"]}}]}"#;

        let (intent, outcome) = (event(STAND, intent).unwrap(), event(STAND, outcome).unwrap());

        let rests_on = json!({
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "policy": "aa", "pack": "2026-11-27 sha256:bb", "prices": "cc",
            "configuration": "dd", "basis": { "approved-targets": "GDPR Art. 24" },
        });
        assert_eq!(intent["unmapped"], rests_on);
        assert_eq!(outcome["unmapped"]["places"], json!([{ "target": "gpu/m", "place": { "processing": ["DE"] } }]));
    }

    #[test]
    fn a_refusal_and_a_reload_that_was_not_taken_are_failures_and_a_seal_is_no_event() {
        let refused = b"{\"kind\":\"refused\",\"at\":\"2026-11-26T08:00:00.000000Z\",\"app\":\"a\",\"status\":403,\"code\":\"feature_denied\"}\n";
        let reload = b"{\"kind\":\"admin\",\"at\":\"2026-11-26T08:00:00.000000Z\",\"action\":\"reload_refused\",\"actor\":\"file\",\"done\":false}\n";

        let (refused, reload) = (event(STAND, refused).unwrap(), event(STAND, reload).unwrap());

        assert_eq!((&refused["status_id"], &refused["status_code"]), (&json!(2), &json!("feature_denied")));
        assert_eq!((&reload["status_id"], &reload["api"]["operation"]), (&json!(2), &json!("reload_refused")));
        assert!(reload["actor"]["user"]["name"] == "file" && !reload["src_endpoint"].is_null());
        assert_eq!(event(STAND, b"{\"kind\":\"seal\",\"count\":1}\n"), None);
    }
}
