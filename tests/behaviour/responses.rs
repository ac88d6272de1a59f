//! The responses API: nothing is kept unless a policy grants it, and its streams end in its own words.

use serde_json::json;

use crate::testkit::{Act, Config, Gate, Gateway, Request, Step, Upstream, response_events};

const PATH: &str = "/v1/responses";

async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    (upstream, gateway)
}

#[tokio::test]
async fn a_response_that_says_nothing_of_storing_is_sent_with_store_false() {
    let (upstream, gateway) = gateway().await;
    let body = "{ \"model\": \"assistant\", \"input\": \"hello\" }";

    gateway.send(Request::bytes(PATH, body)).await;

    let seen = upstream.only_request();
    assert_eq!(seen.json()["store"], false);
    assert_eq!(seen.json()["input"], "hello");
}

#[tokio::test]
async fn a_response_that_says_store_false_goes_through_as_it_is() {
    let (upstream, gateway) = gateway().await;
    let body = "{ \"store\" : false, \"model\": \"assistant\", \"input\": \"hello\" }";

    gateway.send(Request::bytes(PATH, body)).await;

    assert_eq!(upstream.only_request().body, body.replace("assistant", "served-model"));
}

#[tokio::test]
async fn a_response_that_may_be_kept_is_sent_as_it_is() {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).section("[policy]\nallow = { only = [\"keep_state\"] }");
    let gateway = Gateway::start(&config).await;
    let silent = "{\"model\":\"assistant\",\"input\":\"hello\"}";
    let explicit = "{\"model\":\"assistant\",\"input\":\"hello\",\"store\":true}";

    gateway.send(Request::bytes(PATH, silent)).await;
    let answer = gateway.send(Request::bytes(PATH, explicit)).await;

    assert_eq!(answer.status, 200);
    assert_eq!(upstream.request(1).await.body, explicit.replace("assistant", "served-model"));
}

#[tokio::test]
async fn a_stream_is_passed_on_byte_for_byte_and_its_usage_is_booked() {
    let (upstream, gateway) = gateway().await;
    upstream.script([Act::stream(response_events("ferry"))]);

    let answer = gateway.post(PATH, &json!({"model": "assistant", "input": "hello", "stream": true})).await;

    let decision = answer.decision();
    assert_eq!(answer.text().await, response_events("ferry").concat());
    assert_eq!(gateway.audit().record(&decision).await.end("usage")["output"], 7);
    assert_eq!(upstream.only_request().json().get("stream_options"), None, "this API has no such option");
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_event_of_this_api() {
    let (upstream, gateway) = gateway().await;
    let events = response_events("ferry");
    let gate = Gate::closed();
    upstream.script([Act::steps([Step::Send(events[0].clone().into()), Step::Wait(gate.clone()), Step::Reset])]);

    let mut answer = gateway.post(PATH, &json!({"model": "assistant", "input": "hello", "stream": true})).await;
    assert_eq!(answer.event().await.as_ref(), Some(&events[0]));
    gate.open();

    let last = answer.text().await;
    assert!(last.starts_with("event: error\n"), "{last}");
    assert!(last.contains("upstream_unavailable"), "{last}");
}
