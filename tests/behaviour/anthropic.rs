//! Anthropic's API towards endpoints that speak it: paths, credential, version, streams and errors in its own words.

use serde_json::json;

use crate::testkit::{
    Act, Config, Endpoint, Expect, Gate, Gateway, KEY, Request, Step, Upstream, message, message_events,
};

const PATH: &str = "/v1/messages";

async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::playing(Expect::Anthropic, "only", None).await;
    let endpoint = Endpoint::of(&upstream).provider("anthropic");
    let config = Config::new().endpoint("only", endpoint).model("assistant", &["only/served-model"]);
    (upstream, Gateway::start(&config).await)
}

#[tokio::test]
async fn a_message_goes_out_with_our_key_in_its_header_and_a_version() {
    let (upstream, gateway) = gateway().await;

    let answer = gateway.send(Request::post(PATH, &message("assistant")).anonymous().header("x-api-key", KEY)).await;

    assert!(answer.header("request-id").is_some());
    answer.of_status(200, "the answer").await;
    let seen = upstream.only_request();
    assert_eq!(seen.path, PATH);
    assert_eq!(seen.json()["model"], "served-model");
    assert_eq!(seen.header("anthropic-version"), Some("2023-06-01"));
}

#[tokio::test]
async fn a_version_of_the_callers_own_is_kept() {
    let (upstream, gateway) = gateway().await;

    gateway.send(Request::post(PATH, &message("assistant")).header("anthropic-version", "2024-10-22")).await;

    assert_eq!(upstream.only_request().header("anthropic-version"), Some("2024-10-22"));
}

#[tokio::test]
async fn tokens_are_counted_by_the_endpoint() {
    let (upstream, gateway) = gateway().await;

    let answer = gateway.post("/v1/messages/count_tokens", &message("assistant")).await;

    assert_eq!(answer.json().await["input_tokens"], 11);
    assert_eq!(upstream.only_request().path, "/v1/messages/count_tokens");
}

#[tokio::test]
async fn counting_tokens_costs_nothing() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.post("/v1/messages/count_tokens", &message("assistant")).await;
    let record = gateway.audit().record(&answer.decision()).await;

    assert_eq!(record.intent["estimate"]["nano_usd"], 0);
    assert_eq!(record.end("charged_nano_usd"), 0);
    assert_eq!(record.end("settled_by"), "reported", "nothing about it is unknown");
    assert_eq!((&record.end("usage")["input"], &record.end("usage")["output"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn a_stream_is_passed_on_byte_for_byte_and_its_usage_is_booked() {
    let (upstream, gateway) = gateway().await;
    upstream.script([Act::stream(message_events("ferry"))]);
    let mut body = message("assistant");
    body["stream"] = true.into();

    let answer = gateway.post(PATH, &body).await;

    let decision = answer.decision();
    assert_eq!(answer.text().await, message_events("ferry").concat());
    let record = gateway.audit().record(&decision).await;
    assert_eq!((&record.end("usage")["input"], &record.end("usage")["output"]), (&json!(11), &json!(7)));
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_event_of_this_api() {
    let (upstream, gateway) = gateway().await;
    let events = message_events("ferry");
    let gate = Gate::closed();
    upstream.script([Act::steps([Step::Send(events[0].clone().into()), Step::Wait(gate.clone()), Step::Reset])]);
    let mut body = message("assistant");
    body["stream"] = true.into();

    let mut answer = gateway.post(PATH, &body).await;
    assert_eq!(answer.event().await.as_ref(), Some(&events[0]));
    gate.open();

    let last = answer.text().await;
    let data = last.strip_prefix("event: error\ndata: ").expect("an event named error");
    let data: serde_json::Value = serde_json::from_str(data.trim()).expect("JSON");
    assert_eq!(data["type"], "error");
    assert_eq!(data["error"]["code"], "upstream_unavailable");
}

#[tokio::test]
async fn an_upstreams_error_keeps_its_shape() {
    let (upstream, gateway) = gateway().await;
    let said = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    upstream.script([Act::reply(529, &said)]);

    let answer = gateway.post(PATH, &message("assistant")).await;

    assert_eq!(answer.status, 529);
    assert_eq!(answer.json().await, said);
}

#[tokio::test]
async fn a_chat_does_not_go_to_an_endpoint_that_speaks_only_messages() {
    let (upstream, gateway) = gateway().await;

    let answer = gateway.chat(&crate::testkit::chat("assistant")).await;

    assert_eq!(answer.status, 404);
    assert!(upstream.requests().is_empty());
}
