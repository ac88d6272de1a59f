//! What may leave only redacted leaves redacted, and comes back with its values.

use serde_json::{Value, json};

use crate::testkit::{Act, Config, DONE, Gateway, Request, Upstream, event, named_event};

const CARD: &str = "4111 1111 1111 1111";

/// A gateway whose only endpoint is not on a site of one's own: the shipped policies let cards go there only redacted.
async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start("cloud").await;
    let endpoint = format!(
        "[endpoint.cloud]\nprovider = \"openai\"\nurl = \"http://{}/v1\"\n\
         reach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\nauth = {{ key = {{ file = \"upstream.key\" }} }}\n\
         place = {{ declared = {{ processing = [\"DE\"], at_rest = [\"DE\"], operator = \"DE\", because = \"a stand-in of the tests\" }} }}\n",
        upstream.address
    );
    let config = Config::new().section(&endpoint).model("assistant", &["cloud/served-model"]);
    (upstream, Gateway::start(&config).await)
}

fn question(stream: bool) -> Value {
    let content = format!("Refund {CARD}, please; really {CARD}.");
    json!({"model": "assistant", "stream": stream, "messages": [{"role": "user", "content": content}]})
}

#[tokio::test]
async fn a_card_leaves_as_a_placeholder_and_comes_back_as_itself() {
    let (upstream, gateway) = gateway().await;
    let arguments = r#"{"card":"[CARD_1]"}"#;
    let call = json!({"id": "c", "type": "function", "function": {"name": "refund", "arguments": arguments}});
    let message = json!({"role": "assistant", "content": "Refunding [CARD_1].", "tool_calls": [call]});
    let reply = json!({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]});
    upstream.script([Act::reply(200, &reply)]);

    let answer = gateway.send(Request::post("/v1/chat/completions", &question(false))).await;

    let decision = answer.decision();
    let answer: Value = serde_json::from_str(&answer.of_status(200, "redacted").await).expect("the answer is JSON");
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["content"], format!("Refunding {CARD}."));
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], format!(r#"{{"card":"{CARD}"}}"#));
    let sent = upstream.only_request().json();
    assert_eq!(sent["messages"][0]["content"], "Refund [CARD_1], please; really [CARD_1].");
    assert_eq!(sent["model"], "served-model");
    gateway.audit().record(&decision).await;
    let intents = gateway.audit().of_kind("intent");
    assert_eq!(intents[0]["findings"], json!([{"kind": "card", "count": 2}]), "{intents:?}");
    assert!(!Value::from(intents).to_string().contains("4111 1111"));
}

#[tokio::test]
async fn a_streamed_answer_comes_back_restored_wherever_it_is_cut() {
    let (upstream, gateway) = gateway().await;
    let text = "Card [CARD_1] [x";
    for size in [1, 2, 5, text.len()] {
        let letters: Vec<char> = text.chars().collect();
        let piece = |piece: &[char]| {
            let delta = json!({"content": piece.iter().collect::<String>()});
            event(&json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
        };
        let mut events: Vec<String> = letters.chunks(size).map(piece).collect();
        events.push(event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})));
        events.push(DONE.to_owned());
        upstream.script([Act::stream(events)]);

        let answer = gateway.send(Request::post("/v1/chat/completions", &question(true))).await;

        let stream = answer.text().await;
        let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
        let values = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let said: String =
            values.filter_map(|value| value["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect();
        assert_eq!(said, format!("Card {CARD} [x"), "in pieces of {size}: {stream}");
        assert!(stream.ends_with(DONE), "{stream}");
    }
}

/// How a dialect streams the arguments of a tool call.
struct Calling {
    path: &'static str,
    question: fn() -> Value,
    event: fn(&str) -> Value,
    piece: &'static str,
    end: fn() -> Value,
}

const CALLING: [Calling; 3] = [
    Calling {
        path: "/v1/chat/completions",
        question: || json!({"messages": [{"role": "user", "content": format!("Refund {CARD}")}]}),
        event: |piece| json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]}),
        piece: "/choices/0/delta/tool_calls/0/function/arguments",
        end: || json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
    },
    Calling {
        path: "/v1/responses",
        question: || json!({"input": format!("Refund {CARD}")}),
        event: |piece| json!({"type": "response.function_call_arguments.delta", "item_id": "i", "output_index": 0, "delta": piece}),
        piece: "/delta",
        end: || json!({"type": "response.function_call_arguments.done", "item_id": "i", "output_index": 0}),
    },
    Calling {
        path: "/v1/messages",
        question: || json!({"max_tokens": 9, "messages": [{"role": "user", "content": format!("Refund {CARD}")}]}),
        event: |piece| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}),
        piece: "/delta/partial_json",
        end: || json!({"type": "content_block_stop", "index": 0}),
    },
];

#[tokio::test]
async fn the_arguments_of_a_streamed_tool_call_come_back_restored_whatever_cuts_them() {
    let (upstream, gateway) = gateway().await;
    let arguments = r#"{"why":"\u00fc \"[CARD_1]\" [x","card":"[CARD_1]"}"#;
    for calling in &CALLING {
        // Where the model cuts its arguments, and where the network cuts the bytes of the stream.
        for (size, bytes) in [(1, 7), (3, 1), (5, 13), (arguments.len(), 3)] {
            let letters: Vec<char> = arguments.chars().collect();
            let piece = |piece: &[char]| named_event(&(calling.event)(&piece.iter().collect::<String>()));
            let mut stream: String = letters.chunks(size).map(piece).collect();
            stream.push_str(&named_event(&(calling.end)()));
            stream.push_str(DONE);
            let cut = stream.as_bytes().chunks(bytes).map(<[u8]>::to_vec);
            upstream.script([Act::stream(cut)]);
            let mut body = (calling.question)();
            body["model"] = Value::from("assistant");
            body["stream"] = Value::from(true);

            let answer = gateway.send(Request::post(calling.path, &body)).await;

            let stream = answer.text().await;
            let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
            let values = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
            let said: String = values
                .filter_map(|value| value.pointer(calling.piece).and_then(Value::as_str).map(str::to_owned))
                .collect();
            let what = format!("{} in pieces of {size} and {bytes} bytes: {stream}", calling.path);
            let called: Value =
                serde_json::from_str(&said).unwrap_or_else(|error| unreachable!("{error}: {said}; {what}"));
            assert_eq!(called, json!({"why": format!("ü \"{CARD}\" [x"), "card": CARD}), "{what}");
        }
    }
    for sent in upstream.requests() {
        assert!(!String::from_utf8_lossy(&sent.body).contains("4111"), "no card left");
    }
}

#[tokio::test]
async fn the_other_dialects_are_redacted_and_restored_as_well() {
    let (upstream, gateway) = gateway().await;
    let text = format!("Refund {CARD}");
    let dialects = [
        (
            "/v1/completions",
            json!({"prompt": text}),
            json!({"choices": [{"index": 0, "text": "ok [CARD_1]"}]}),
            "/choices/0/text",
        ),
        (
            "/v1/responses",
            json!({"input": text}),
            json!({"output": [{"content": [{"type": "output_text", "text": "ok [CARD_1]"}]}]}),
            "/output/0/content/0/text",
        ),
        (
            "/v1/messages",
            json!({"max_tokens": 9, "messages": [{"role": "user", "content": text}]}),
            json!({"content": [{"type": "tool_use", "input": {"card": "ok [CARD_1]"}}]}),
            "/content/0/input/card",
        ),
    ];
    for (path, mut body, reply, place) in dialects {
        body["model"] = Value::from("assistant");
        upstream.script([Act::reply(200, &reply)]);

        let answer = gateway.send(Request::post(path, &body)).await;

        let answer: Value = serde_json::from_str(&answer.of_status(200, path).await).expect("the answer is JSON");
        assert_eq!(answer.pointer(place), Some(&Value::from(format!("ok {CARD}"))), "{path}: {answer}");
    }
    for seen in upstream.requests() {
        assert!(!seen.json().to_string().contains("4111"), "{}", seen.json());
    }
}

/// `Refund 4111 1111 1111 1111` in base64, in lines of 20, and `Refund [CARD_1]` in the same way.
const PACKED: [&str; 2] = ["UmVmdW5kIDQxMTEgMTEx\nMSAxMTExIDExMTE=\n", "UmVmdW5kIFtDQVJEXzFd\n"];

#[tokio::test]
async fn a_card_in_a_short_string_of_base64_leaves_as_a_placeholder_in_base64_and_comes_back_as_itself() {
    let (upstream, gateway) = gateway().await;
    let [packed, replaced] = PACKED;
    let body = json!({"model": "assistant", "messages": [{"role": "user", "content": packed}]});
    let message = json!({"role": "assistant", "content": "Refunding [CARD_1]."});
    upstream
        .script([Act::reply(200, &json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))]);

    let answer = gateway.send(Request::post("/v1/chat/completions", &body)).await;

    let decision = answer.decision();
    let answer: Value = serde_json::from_str(&answer.of_status(200, "redacted").await).expect("the answer is JSON");
    assert_eq!(answer["choices"][0]["message"]["content"], format!("Refunding {CARD}."));
    let sent = upstream.only_request().json();
    assert_eq!(sent["messages"][0]["content"], replaced);
    gateway.audit().record(&decision).await;
    let intents = gateway.audit().of_kind("intent");
    assert_eq!(intents[0]["findings"], json!([{"kind": "card", "count": 1}]), "{intents:?}");
}

#[tokio::test]
async fn a_secret_in_a_short_string_of_base64_is_not_sent() {
    let (upstream, gateway) = gateway().await;
    // `postgres://anna:s3cret-pw@db.internal/claims`
    let call = json!({"role": "tool", "tool_call_id": "c", "content": "cG9zdGdyZXM6Ly9hbm5hOnMzY3JldC1wd0BkYi5pbnRlcm5hbC9jbGFpbXM"});
    let body = json!({"model": "assistant", "messages": [{"role": "user", "content": "go on"}, call]});

    let answer = gateway.send(Request::post("/v1/chat/completions", &body)).await;

    let decision = answer.decision();
    answer.of_status(403, "a secret stays on own sites").await;
    assert_eq!((upstream.requests().len(), upstream.connections()), (0, 0));
    let refusal = gateway.audit().refusal(&decision).await;
    // What stands before the host could be an address as well.
    let found = json!([{"kind": "basic_auth_url", "count": 1}, {"kind": "email", "count": 1}]);
    assert_eq!(refusal["findings"], found, "{refusal}");
}

/// A number that passes Luhn's check, one for each `index`.
fn card(index: u32) -> String {
    let digits = format!("41111111{index:07}");
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

#[tokio::test]
async fn a_request_that_cannot_be_redacted_is_refused_with_a_code_of_its_own_and_nothing_is_sent() {
    let (upstream, gateway) = gateway().await;
    let cards: Vec<String> = (0..10_001).map(card).collect();
    let body = json!({"model": "assistant", "messages": [{"role": "user", "content": cards.join(" ")}]});

    let answer = gateway.send(Request::post("/v1/chat/completions", &body)).await;

    let decision = answer.decision();
    let error = answer.of_status(403, "more values than are replaced").await;
    assert!(error.contains("\"redaction_failed\"") && error.contains("more than 10000 different values"), "{error}");
    assert!(!error.contains("4111"), "{error}");
    assert_eq!((upstream.requests().len(), upstream.connections()), (0, 0));
    let record = gateway.audit().record(&decision).await;
    assert_eq!(record.outcome["outcome"]["code"], "redaction_failed", "{}", record.outcome);
}
