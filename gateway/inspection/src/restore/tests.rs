use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{RedactError, redact};

const IBAN: &str = "DE89 3704 0044 0532 0130 00";
const MAIL: &str = "anna.meier@example.org";

fn redacted(body: &Value, names: &[&str]) -> (String, Restorer) {
    let redacted = redact(body.to_string().as_bytes(), names.iter().copied()).expect("the body is read whole");
    let (body, restorer) = redacted.into_parts();
    (String::from_utf8(body).expect("what is redacted is text"), restorer)
}

fn restorer() -> Restorer {
    redacted(&json!({"messages": [{"content": format!("{IBAN} and {MAIL}")}]}), &["iban", "email"]).1
}

// ---- before it leaves

#[test]
fn what_was_found_is_replaced_and_equal_values_share_a_placeholder() {
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": format!("{IBAN}, {MAIL}; again {IBAN}")}]});

    let (text, restorer) = redacted(&body, &["iban"]);

    assert!(text.contains(&format!("[IBAN_1], {MAIL}; again [IBAN_1]")), "{text}");
    assert_eq!(restorer.len(), 1);
    assert_eq!(crate::inspect(text.as_bytes()).names(), ["contact".to_owned(), "email".to_owned()].into());
}

#[test]
fn a_group_stands_for_its_kinds() {
    let (text, _) = redacted(&json!({"input": format!("{IBAN} 4111 1111 1111 1111 {MAIL}")}), &["financial"]);

    assert!(text.contains(&format!("[IBAN_1] [CARD_1] {MAIL}")), "{text}");
}

#[test]
fn every_form_in_which_a_value_is_found_is_replaced() {
    let packed = crate::reading::packing::pack(format!("my account {IBAN}").as_bytes());
    let body = format!(
        r#"{{"{IBAN}":1,"messages":[{{"content":[{{"text":"DE89 3704 00"}},{{"text":"44 0532 0130 00 x"}}]}},
        {{"content":"DE89 \u0033704 0044 0532 0130 00"}},{{"arguments":"{{\"to\":\"{IBAN}\"}}"}},
        {{"url":"data:text/plain;base64,{packed}"}},{{"card":4111111111111111}}]}}"#
    );

    let (after, _) = redact(body.as_bytes(), ["iban", "card"]).expect("the body is read whole").into_parts();

    let after = String::from_utf8(after).expect("what is redacted is text");
    let value: Value = serde_json::from_str(&after).expect("what is redacted is JSON");
    assert_eq!(value["[IBAN_1]"], 1);
    assert_eq!(value["messages"][0]["content"], json!([{"text": "[IBAN_1]"}, {"text": " x"}]));
    assert_eq!(value["messages"][1]["content"], "[IBAN_1]");
    assert_eq!(value["messages"][2]["arguments"], r#"{"to":"[IBAN_1]"}"#);
    assert_eq!(value["messages"][4]["card"], "[CARD_1]");
    assert!(crate::inspect(after.as_bytes()).counts().next().is_none(), "{after}");
}

#[test]
fn a_value_behind_a_backslash_is_replaced_whole_and_put_back_where_it_stood() {
    // What stands in the text of the message, and what is left of it.
    let table = [
        (r"C:\rssmra85t10a562s\notes", r"C:\[IT_CODICE_FISCALE_1]\notes"),
        (r"C:\Users\bob@example.org", r"C:\Users\[EMAIL_1]"),
        (r"\\server\rose@example.org", r"\\server\[EMAIL_1]"),
        (r#"{"text":"first\nanna@example.org\n"}"#, r#"{"text":"first\n[EMAIL_1]\n"}"#),
        (r#"{"dir":"C:\\rssmra85t10a562s"}"#, r#"{"dir":"C:\\[IT_CODICE_FISCALE_1]"}"#),
        (r"\rssmra85t10a562s\nanna@example.org", r"\[IT_CODICE_FISCALE_1]\n[EMAIL_1]"),
        (r"anna\u0040example.org", "[EMAIL_1]"),
    ];
    for (text, expected) in table {
        let plain = json!({ "input": text }).to_string();
        let all: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        for body in [plain, format!(r#"{{"input":"{all}"}}"#)] {
            let done = redact(body.as_bytes(), ["contact", "national_id"]).expect("the body is read whole");
            let (after, restorer) = done.into_parts();

            let value: Value = serde_json::from_slice(&after).expect("what is redacted is JSON");
            assert_eq!(value["input"], expected, "{body}");
            let back: Value = serde_json::from_slice(&restorer.whole(&after)).expect("an answer is JSON");
            assert_eq!(back["input"], text, "{body}");
        }
    }
}

#[test]
fn a_placeholder_that_the_caller_wrote_is_not_given_out() {
    let (text, restorer) = redacted(&json!({"input": format!("keep [IBAN_7] and {IBAN}")}), &["iban"]);

    assert!(text.contains("keep [IBAN_7] and [IBAN_8]"), "{text}");
    assert_eq!(restorer.whole(br#"{"a":"[IBAN_7] [IBAN_8]"}"#), format!(r#"{{"a":"[IBAN_7] {IBAN}"}}"#).into_bytes());
}

#[test]
fn a_body_that_was_not_read_whole_is_not_redacted() {
    assert_eq!(redact(br#"{"a":"anna@example.org"#, ["email"]).map(|_| ()), Err(RedactError::Uninspected));
    let many: String = (0..=crate::MOST_VALUES).map(|n| format!("user{n}@example.org ")).collect();
    assert_eq!(
        redact(json!({ "input": many }).to_string().as_bytes(), ["email"]).map(|_| ()),
        Err(RedactError::TooMany)
    );
}

#[test]
fn nothing_shows_the_values() {
    let shown = format!("{:?}", restorer());

    assert!(!shown.contains("DE89") && !shown.contains("anna"), "{shown}");
}

// ---- in the answer

#[test]
fn a_whole_answer_is_restored_in_every_string() {
    let answer = json!({"choices": [{"message": {
        "content": "to [IBAN_1]",
        "tool_calls": [{"function": {"arguments": r#"{"to":"[IBAN_1]","n":[IBAN_1]}"#}}],
    }}], "content": [{"type": "tool_use", "input": {"mail": "[EMAIL_1]"}}]});

    let restored: Value =
        serde_json::from_slice(&restorer().whole(answer.to_string().as_bytes())).expect("it stays JSON");

    assert_eq!(restored["choices"][0]["message"]["content"], format!("to {IBAN}"));
    let arguments = &restored["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"];
    assert_eq!(
        *arguments,
        format!(r#"{{"to":"{IBAN}","n":[IBAN_1]}}"#),
        "outside of a string of the inner JSON it stays"
    );
    assert_eq!(restored["content"][0]["input"]["mail"], MAIL);
}

#[test]
fn a_value_with_quotes_and_line_breaks_keeps_the_inner_json_whole() {
    let key = "-----BEGIN PRIVATE KEY-----\nMIIE\"\\\n-----END PRIVATE KEY-----";
    let (_, restorer) = redacted(&json!({ "input": key }), &["private_key"]);

    let answer = json!({"arguments": r#"{"key":"[PRIVATE_KEY_1]"}"#});
    let restored: Value =
        serde_json::from_slice(&restorer.whole(answer.to_string().as_bytes())).expect("it stays JSON");

    let inner: Value =
        serde_json::from_str(restored["arguments"].as_str().expect("a string")).expect("it is JSON still");
    assert_eq!(inner["key"], key);
}

#[test]
fn an_answer_without_a_placeholder_is_the_same_bytes() {
    for answer in [&br#"{ "b" : 1.50, "a":"[IBAN_9]" }"#[..], b"no JSON [IBAN_1]"] {
        assert_eq!(restorer().whole(answer), answer);
    }
    let event = b"event: x\r\ndata: {\"z\":1, \"delta\":{\"content\":\"hi\"}}\r\n\r\n";
    let data = b"{\"z\":1, \"delta\":{\"content\":\"hi\"}}";
    assert_eq!(StreamRestorer::new(restorer()).event(event, data), event);
}

/// One dialect: how an event with a piece of text looks, and where the piece is found again.
struct Dialect {
    event: fn(&str) -> Value,
    piece: &'static str,
    end: fn() -> Value,
    is_json: bool,
}

const DIALECTS: [Dialect; 6] = [
    Dialect {
        event: |piece| json!({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]}),
        piece: "/choices/0/delta/content",
        end: || json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        is_json: false,
    },
    Dialect {
        event: |piece| json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 1, "function": {"arguments": piece}}]}}]}),
        piece: "/choices/0/delta/tool_calls/0/function/arguments",
        end: || json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        is_json: true,
    },
    Dialect {
        event: |piece| json!({"choices": [{"index": 0, "text": piece}]}),
        piece: "/choices/0/text",
        end: || json!({"choices": [], "usage": {"prompt_tokens": 1}}),
        is_json: false,
    },
    Dialect {
        event: |piece| json!({"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": piece}),
        piece: "/delta",
        end: || json!({"type": "response.output_text.done", "text": "x"}),
        is_json: false,
    },
    Dialect {
        event: |piece| json!({"type": "response.function_call_arguments.delta", "item_id": "i", "output_index": 1, "delta": piece}),
        piece: "/delta",
        end: || json!({"type": "response.function_call_arguments.done"}),
        is_json: true,
    },
    Dialect {
        event: |piece| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}),
        piece: "/delta/partial_json",
        end: || json!({"type": "content_block_stop", "index": 0}),
        is_json: true,
    },
];

/// The text that a caller puts together from the events that a stream of these pieces becomes.
fn streamed(dialect: &Dialect, pieces: &[String]) -> String {
    let mut stream = StreamRestorer::new(restorer());
    let mut out = Vec::new();
    for event in pieces.iter().map(|piece| (dialect.event)(piece)).chain([(dialect.end)()]) {
        let data = event.to_string();
        out.extend(stream.event(format!("data: {data}\n\n").as_bytes(), data.as_bytes()));
    }
    out.extend(stream.event(b"data: [DONE]\n\n", b"[DONE]"));
    out.extend(stream.flush());
    let out = String::from_utf8(out).expect("events are text");
    assert!(out.ends_with("data: [DONE]\n\n"), "{out}");
    let data = out.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    events.filter_map(|event| event.pointer(dialect.piece)?.as_str().map(str::to_owned)).collect()
}

fn expected(dialect: &Dialect, text: &str) -> String {
    restorer().text(text, &mut Inner { is_json: dialect.is_json, ..Inner::default() })
}

#[test]
fn a_streamed_answer_cut_at_every_byte_comes_back_restored() {
    let text = r#"{"to":"[IBAN_1]","é":"[[EMAIL_1]] [IBAN_2] [IBAN"}["#;
    for dialect in &DIALECTS {
        let whole = expected(dialect, text);
        assert!(whole.contains(IBAN) && whole.contains(MAIL), "{whole}");
        let letters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(streamed(dialect, &letters), whole, "{}", dialect.piece);
        for cut in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (before, behind) = text.split_at(cut);
            assert_eq!(streamed(dialect, &[before.to_owned(), behind.to_owned()]), whole, "{} at {cut}", dialect.piece);
        }
    }
}

#[test]
fn texts_that_take_turns_are_not_mixed_up() {
    let mut stream = StreamRestorer::new(restorer());
    let mut texts = [String::new(), String::new()];
    for (choice, piece) in [(0, "a [IB"), (1, "b [EM"), (0, "AN_1]"), (1, "AIL_1]")] {
        let data = json!({"choices": [{"index": choice, "delta": {"content": piece}}]}).to_string();
        let out = stream.event(format!("data: {data}\n\n").as_bytes(), data.as_bytes());
        let out = String::from_utf8(out).expect("events are text");
        let event: Value = serde_json::from_str(out.trim().trim_start_matches("data: ")).expect("one event for one");
        texts[choice].push_str(event["choices"][0]["delta"]["content"].as_str().expect("a piece"));
    }

    assert_eq!(texts, [format!("a {IBAN}"), format!("b {MAIL}")]);
}

#[test]
fn the_last_event_that_repeats_the_whole_answer_is_restored_too() {
    let data = json!({"type": "response.completed", "response": {"output": [{"content": [{"text": "pay [IBAN_1]"}]}]}})
        .to_string();

    let out = StreamRestorer::new(restorer())
        .event(format!("event: response.completed\ndata: {data}\n\n").as_bytes(), data.as_bytes());

    let out = String::from_utf8(out).expect("events are text");
    assert!(out.starts_with("event: response.completed\ndata: {") && out.contains(IBAN), "{out}");
}

proptest! {
    #![proptest_config(crate::seeded::seeded(None, 0x5EED))]

    #[test]
    fn however_a_stream_is_cut_it_says_what_the_whole_answer_says(
        words in proptest::collection::vec(prop::sample::select(vec![
            "[IBAN_1]", "[EMAIL_1]", "[", "]", "[IBAN", "_1]", "\"", "\\", "\\\"", "é", " word ", "[IBAN_2]", "{", "1",
        ]), 0..30),
        sizes in proptest::collection::vec(1_usize..6, 1..20),
        dialect in 0_usize..6,
    ) {
        let text = words.concat();
        let letters: Vec<char> = text.chars().collect();
        let mut pieces = Vec::new();
        let mut rest = letters.as_slice();
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece.iter().collect::<String>());
            rest = behind;
        }

        prop_assert_eq!(streamed(&DIALECTS[dialect], &pieces), expected(&DIALECTS[dialect], &text));
    }

    #[test]
    fn what_is_redacted_and_restored_is_what_it_was(
        words in proptest::collection::vec(prop::sample::select(vec![
            IBAN, MAIL, "4111 1111 1111 1111", "word", "é\"\\", "\n", "[IBAN_3]", "+49 30 901820",
        ]), 0..20),
    ) {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": words.join(" ")}]});
        let done = redact(body.to_string().as_bytes(), ["iban", "email", "card", "phone"]).expect("it is read whole");
        let (after, restorer) = done.into_parts();

        let names = crate::inspect(&after).names();
        prop_assert!(names.is_empty(), "{:?}", names);
        let restored: Value = serde_json::from_slice(&restorer.whole(&after)).expect("it stays JSON");
        prop_assert_eq!(restored, body);
    }
}
