//! Streams: frames as they came, usage for the books, and an honest end.

use bytes::Bytes;

use crate::testkit::{
    Act, Config, DONE, Endpoint, Gate, Gateway, Request, Step, Upstream, chat_stream, chat_stream_with_usage, chunk,
    event, events_of, finish, spoken, usage_chunk,
};

const PATH: &str = "/v1/chat/completions";

async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    (upstream, gateway)
}

/// The bytes that a caller gets for this stream, when it asked for usage and when it did not.
async fn relayed(pieces: Vec<Bytes>, usage_asked: bool) -> String {
    let (upstream, gateway) = gateway().await;
    upstream.script([Act::stream(pieces)]);
    let body = if usage_asked { chat_stream_with_usage("assistant") } else { chat_stream("assistant") };
    let answer = gateway.chat(&body).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    answer.text().await
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test]
async fn a_stream_with_usage_asked_is_passed_on_byte_for_byte() {
    let all = spoken(&["the ", "ferry"]).concat();

    assert_eq!(relayed(vec![bytes(&all)], true).await, all);
}

#[tokio::test]
async fn usage_that_nobody_asked_for_is_asked_for_and_taken_out_again() {
    let (upstream, gateway) = gateway().await;
    upstream.script([Act::stream(spoken(&["the ", "ferry"]))]);

    let answer = gateway.chat(&chat_stream("assistant")).await;

    let decision = answer.decision();
    assert_eq!(answer.text().await, [chunk("the "), chunk("ferry"), finish(), DONE.to_owned()].concat());
    assert_eq!(upstream.only_request().json()["stream_options"]["include_usage"], true);
    let record = gateway.audit().record(&decision).await;
    assert_eq!(record.end("usage")["input"], 11);
    assert_eq!(record.end("usage")["output"], 7);
    assert_eq!(record.end("settled_by"), "reported");
}

#[tokio::test]
async fn stream_options_of_the_callers_own_are_kept() {
    let (upstream, gateway) = gateway().await;
    let body =
        "{\"model\":\"assistant\",\"messages\":[],\"stream\":true,\"stream_options\":{\"include_obfuscation\":false}}";

    gateway.send(Request::bytes(PATH, body)).await.bytes().await;

    let options = &upstream.only_request().json()["stream_options"];
    assert_eq!(options["include_obfuscation"], false);
    assert_eq!(options["include_usage"], true);
}

#[tokio::test]
async fn usage_that_was_declined_is_still_booked_and_not_shown() {
    let (upstream, gateway) = gateway().await;
    upstream.script([Act::stream(spoken(&["ferry"]))]);
    let body = "{\"model\":\"assistant\",\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":false}}";

    let answer = gateway.send(Request::bytes(PATH, body)).await;

    let decision = answer.decision();
    assert_eq!(answer.text().await, [chunk("ferry"), finish(), DONE.to_owned()].concat());
    assert_eq!(gateway.audit().record(&decision).await.end("usage")["output"], 7);
}

#[tokio::test]
async fn usage_in_the_last_choice_chunk_is_booked_and_left_where_it_is() {
    let (upstream, gateway) = gateway().await;
    let last = finish().replace(
        "\"created\":1",
        "\"created\":1,\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}",
    );
    upstream.script([Act::stream([chunk("ferry"), last.clone()])]);

    let answer = gateway.chat(&chat_stream("assistant")).await;

    let decision = answer.decision();
    assert_eq!(answer.text().await, [chunk("ferry"), last, DONE.to_owned()].concat());
    assert_eq!(gateway.audit().record(&decision).await.end("usage")["output"], 7);
}

#[tokio::test]
async fn a_server_that_forgets_done_is_completed() {
    let all = [chunk("ferry"), finish(), usage_chunk()].concat();

    assert_eq!(relayed(vec![bytes(&all)], true).await, format!("{all}{DONE}"));
}

#[tokio::test]
async fn frames_are_found_however_the_bytes_are_cut() {
    let all = spoken(&["Ærø ", "færge \u{26F4}"]).concat();
    let pieces = all.as_bytes().iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();

    assert_eq!(relayed(pieces, true).await, all);
}

#[tokio::test]
async fn line_ends_comments_and_unknown_fields_are_passed_on_as_they_came() {
    let all = format!(
        ": hello\n\nretry: 3000\ndata: {{\"choices\":[],\"prompt_filter_results\":[]}}\n\n{}",
        spoken(&["ferry"]).concat()
    )
    .replace("\n", "\r\n");

    assert_eq!(relayed(vec![bytes(&all)], true).await, all);
}

#[tokio::test]
async fn content_that_is_null_and_a_first_chunk_without_choices_are_nothing_special() {
    let odd = [event(&serde_json::json!({"choices": []})), chunk("x").replace("\"x\"", "null")].concat();
    let all = odd + &spoken(&["ferry"]).concat();

    assert_eq!(relayed(vec![bytes(&all)], true).await, all);
}

#[tokio::test]
async fn a_last_event_without_its_blank_line_is_not_lost() {
    let all = [chunk("ferry"), finish()].concat() + "data: [DONE]";

    let relayed = relayed(vec![bytes(&all)], true).await;

    assert_eq!(relayed.trim_end(), all);
}

#[tokio::test]
async fn an_event_goes_down_before_the_next_one_comes() {
    let (upstream, gateway) = gateway().await;
    let gate = Gate::closed();
    let steps = [Step::Send(bytes(&chunk("first"))), Step::Wait(gate.clone()), Step::Send(bytes(&(finish() + DONE)))];
    upstream.script([Act::steps(steps)]);

    let mut answer = gateway.chat(&chat_stream("assistant")).await;

    assert_eq!(answer.event().await, Some(chunk("first")));
    gate.open();
    assert_eq!(answer.event().await, Some(finish()));
}

#[tokio::test]
async fn the_head_of_a_stream_comes_with_its_first_event() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.chat(&chat_stream("assistant")).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("x-causeway-endpoint"), Some("only"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
}

#[tokio::test]
async fn an_error_event_in_the_middle_is_the_last_thing_that_comes() {
    let (upstream, gateway) = gateway().await;
    let error = event(&serde_json::json!({"error": {"message": "lost its mind", "type": "server_error", "code": 500}}));
    upstream.script([Act::stream([chunk("ferry"), error.clone(), chunk("never"), DONE.to_owned()])]);

    let answer = gateway.chat(&chat_stream("assistant")).await;

    let decision = answer.decision();
    assert_eq!(answer.text().await, chunk("ferry") + &error);
    let record = gateway.audit().record(&decision).await;
    assert_ne!(record.end("end"), "complete");
}

#[tokio::test]
async fn a_stream_that_is_reset_ends_with_an_error_event_and_no_done() {
    truncated(Step::Reset).await;
}

#[tokio::test]
async fn a_stream_whose_connection_closes_ends_with_an_error_event_and_no_done() {
    truncated(Step::Close).await;
}

async fn truncated(how: Step) {
    let (upstream, gateway) = gateway().await;
    // The gate gives the first event time to be read: a reset throws away what is still in the kernel's buffers.
    let gate = Gate::closed();
    upstream.script([Act::steps([Step::Send(bytes(&chunk("ferry"))), Step::Wait(gate.clone()), how])]);

    let mut answer = gateway.chat(&chat_stream("assistant")).await;
    assert_eq!(answer.event().await, Some(chunk("ferry")));
    gate.open();

    let decision = answer.decision();
    let events = events_of(&answer.bytes().await);
    assert_eq!(events.len(), 1, "{events:?}");
    let error: serde_json::Value = serde_json::from_str(events[0].trim().trim_start_matches("data: ")).expect("JSON");
    assert_eq!(error["error"]["code"], "upstream_unavailable");
    assert_eq!(gateway.audit().record(&decision).await.end("end"), "truncated");
}

#[tokio::test]
async fn a_stream_that_ends_cleanly_without_a_finish_is_not_dressed_as_complete() {
    let (upstream, gateway) = gateway().await;
    upstream.script([Act::stream([chunk("ferry")])]);

    let text = gateway.chat(&chat_stream("assistant")).await.text().await;

    assert!(text.starts_with(&chunk("ferry")));
    assert!(text.contains("\"error\""), "{text}");
    assert!(!text.contains("[DONE]"), "{text}");
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_the_upstream_and_the_books_are_closed() {
    let (upstream, gateway) = gateway().await;
    let gate = Gate::closed();
    upstream.script([Act::steps([Step::Send(bytes(&chunk("ferry"))), Step::Wait(gate)])]);

    let mut answer = gateway.chat(&chat_stream("assistant")).await;
    answer.event().await;
    let decision = answer.decision();
    drop(answer);

    upstream.request(0).await.caller_left().await;
    let record = gateway.audit().record(&decision).await;
    assert_eq!(record.end("end"), "disconnected");
    assert_eq!(record.end("settled_by"), "reservation");
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_answer_cancels_the_upstream_too() {
    let (upstream, gateway) = gateway().await;
    upstream.script([Act::error(500).after(&Gate::closed())]);

    let client = gateway.client();
    let asking =
        tokio::spawn(async move { client.try_send(Request::post(PATH, &chat_stream("assistant"))).await.is_ok() });
    let seen = upstream.request(0).await;
    asking.abort();

    seen.caller_left().await;
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_with_comments() {
    let upstream = Upstream::start("only").await;
    // By default a comment comes after fifteen seconds, when this endpoint has long been given up.
    let endpoint = Endpoint::of(&upstream).with("timeouts = { idle_ms = 8000 }");
    let config = Config::new().endpoint("only", endpoint).model("assistant", &["only/served-model"]);
    let gateway = Gateway::start(&config.listen("stream_comment_ms = 1000")).await;
    let gate = Gate::closed();
    let steps = [Step::Send(bytes(&chunk("ferry"))), Step::Wait(gate.clone()), Step::Send(bytes(&(finish() + DONE)))];
    upstream.script([Act::steps(steps)]);

    let mut answer = gateway.chat(&chat_stream("assistant")).await;

    assert_eq!(answer.event().await, Some(chunk("ferry")));
    let comment = answer.event().await.expect("a comment");
    assert!(comment.starts_with(':'), "{comment}");
    gate.open();
    assert_eq!(answer.text().await, finish() + DONE);
}

#[tokio::test]
async fn legacy_completions_stream_the_same_way() {
    let (upstream, gateway) = gateway().await;
    let piece = event(
        &serde_json::json!({"object": "text_completion", "choices": [{"text": "ferry", "index": 0, "finish_reason": "stop"}]}),
    );
    upstream.script([Act::stream([piece.clone(), usage_chunk()])]);

    let answer = gateway
        .post("/v1/completions", &serde_json::json!({"model": "assistant", "prompt": "the", "stream": true}))
        .await;

    assert_eq!(answer.text().await, piece + DONE);
    assert_eq!(upstream.only_request().json()["stream_options"]["include_usage"], true);
}
