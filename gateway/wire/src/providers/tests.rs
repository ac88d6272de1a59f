use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::decode;

fn spliced(api: Api, path_model: Option<&str>, body: &str, keep_state: bool) -> (EncodedBody, String) {
    let call = decode(api, path_model, Bytes::copy_from_slice(body.as_bytes())).expect("the test's body is a call");
    let target = EncodeTarget { upstream_model: "up", keep_state, most_output: None };
    let encoded = splice::encode(&call, &target, "max_tokens");
    let bytes = encoded.to_bytes();
    assert_eq!(encoded.len, bytes.len());
    let text = String::from_utf8(bytes.to_vec()).expect("a spliced body is UTF-8");
    let _: Value = serde_json::from_str(&text).expect("a spliced body is JSON");
    (encoded, text)
}

#[test]
fn only_the_model_is_spliced_and_the_rest_is_the_same_bytes() {
    let body = "{ \"a\" : 1.0e0,\n\"model\" :  \"m\\u0041\" , \"z\":[ ] }";

    let (encoded, text) = spliced(Api::Chat, None, body, false);

    assert_eq!(text, "{ \"a\" : 1.0e0,\n\"model\" :  \"up\" , \"z\":[ ] }");
    assert_eq!(encoded.parts.len(), 3);
    assert!(!encoded.injected_usage);
}

#[test]
fn a_body_that_needs_nothing_is_passed_on_as_one_piece_without_a_copy() {
    let body = Bytes::from_static(br#"{"model":"up","messages":[]}"#);
    let call = decode(Api::Chat, None, body.clone()).expect("the test's body is a call");

    let encoded = splice::encode(
        &call,
        &EncodeTarget { upstream_model: "up", keep_state: false, most_output: None },
        "max_tokens",
    );

    assert_eq!(encoded.parts.len(), 1);
    assert_eq!(encoded.parts[0].as_ptr(), body.as_ptr());
}

#[test]
fn a_model_name_is_escaped_as_json() {
    let body = Bytes::from_static(br#"{"model":"m"}"#);
    let call = decode(Api::Chat, None, body).expect("the test's body is a call");
    let upstream_model = "a\"b\\c\n\u{e9}";

    let encoded =
        splice::encode(&call, &EncodeTarget { upstream_model, keep_state: false, most_output: None }, "max_tokens");

    let value: Value = serde_json::from_slice(&encoded.to_bytes()).expect("a spliced body is JSON");
    assert_eq!(value, json!({ "model": upstream_model }));
}

#[test]
fn usage_is_asked_for_in_streams_of_chat_and_completions() {
    let table = [
        (
            r#"{"model":"up","stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"up","stream":true}"#,
            true,
        ),
        (
            r#"{"model":"up","stream":true,"stream_options":null}"#,
            r#"{"model":"up","stream":true,"stream_options":{"include_usage":true}}"#,
            true,
        ),
        (
            r#"{"model":"up","stream":true,"stream_options":{}}"#,
            r#"{"model":"up","stream":true,"stream_options":{"include_usage":true}}"#,
            true,
        ),
        (
            r#"{"stream_options": { "x":1},"model":"up","stream":true}"#,
            r#"{"stream_options": {"include_usage":true, "x":1},"model":"up","stream":true}"#,
            true,
        ),
        (
            r#"{"model":"up","stream":true,"stream_options":{"include_usage":false,"x":1}}"#,
            r#"{"model":"up","stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
            true,
        ),
        (
            r#"{"model":"up","stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"up","stream":true,"stream_options":{"include_usage":true}}"#,
            false,
        ),
        (r#"{"model":"up","stream":false}"#, r#"{"model":"up","stream":false}"#, false),
        (r#"{"model":"up"}"#, r#"{"model":"up"}"#, false),
    ];
    for (body, expected, injected) in table {
        for api in [Api::Chat, Api::Completions] {
            let (encoded, text) = spliced(api, None, body, false);
            assert_eq!((text.as_str(), encoded.injected_usage), (expected, injected), "{body}");
        }
        for api in [Api::Messages, Api::Embeddings] {
            assert_eq!(spliced(api, None, body, false).1, body, "{body}");
        }
    }
}

#[test]
fn a_responses_call_is_told_to_forget_unless_state_is_granted() {
    let table = [
        (r#"{"model":"up"}"#, r#"{"store":false,"model":"up"}"#),
        (r#"{"model":"up","store":null}"#, r#"{"model":"up","store":false}"#),
        (r#"{"model":"up","store":false}"#, r#"{"model":"up","store":false}"#),
        (r#"{"model":"up","store":true}"#, r#"{"model":"up","store":false}"#),
    ];
    for (body, expected) in table {
        assert_eq!(spliced(Api::Responses, None, body, false).1, expected, "{body}");
        assert_eq!(spliced(Api::Responses, None, body, true).1, body, "{body}");
    }
}

#[test]
fn a_chat_call_keeps_its_store_unless_it_would_keep_state() {
    let body = r#"{"model":"up","store":null}"#;
    assert_eq!(spliced(Api::Chat, None, body, false).1, body);
    let body = r#"{"model":"up","store":true}"#;
    assert_eq!(spliced(Api::Chat, None, body, false).1, r#"{"model":"up","store":false}"#);
    assert_eq!(spliced(Api::Chat, None, body, true).1, body);
}

#[test]
fn a_model_from_the_path_is_put_into_the_body() {
    let table = [
        ("{}", r#"{"model":"up"}"#),
        (r#" {"a":1}"#, r#" {"model":"up","a":1}"#),
        (r#"{"model":null}"#, r#"{"model":"up"}"#),
        (r#"{"model":""}"#, r#"{"model":"up"}"#),
        (r#"{"model":"other"}"#, r#"{"model":"up"}"#),
    ];
    for (body, expected) in table {
        assert_eq!(spliced(Api::Embeddings, Some("deployment"), body, false).1, expected, "{body}");
    }
    let (_, all) = spliced(Api::Chat, Some("d"), r#"{"stream":true}"#, false);
    assert_eq!(all, r#"{"stream_options":{"include_usage":true},"model":"up","stream":true}"#);
}

#[test]
fn each_dialect_has_its_paths() {
    let table = [
        ("openai", Api::Chat, None, "/chat/completions"),
        ("openai", Api::CountTokens, Some("2024-10-21"), "/messages/count_tokens"),
        (
            "azure-openai",
            Api::Chat,
            Some("2024-10-21"),
            "/openai/deployments/a%20b/chat/completions?api-version=2024-10-21",
        ),
        ("azure-openai", Api::Embeddings, Some("x&y"), "/openai/deployments/a%20b/embeddings?api-version=x%26y"),
        ("azure-openai", Api::Responses, Some("preview"), "/openai/responses?api-version=preview"),
        ("azure-openai", Api::Chat, None, "/openai/v1/chat/completions"),
        ("azure-openai", Api::Responses, None, "/openai/v1/responses"),
        ("anthropic", Api::Messages, None, "/v1/messages"),
        ("anthropic", Api::CountTokens, None, "/v1/messages/count_tokens"),
    ];
    for (name, api, version, expected) in table {
        let dialect = dialect(name).expect("the dialect is listed");
        assert_eq!(dialect.path(api, "a b", version), expected);
    }
}

#[test]
fn names_are_unique_and_every_default_api_has_a_path() {
    for one in dialects() {
        assert_eq!(dialects().filter(|other| other.name() == one.name()).count(), 1);
        for api in one.default_apis() {
            assert!(one.path(*api, "m", Some("v")).starts_with('/'));
        }
        let CredentialForm::Header { name, .. } = one.credential();
        assert_eq!(name, name.to_ascii_lowercase());
    }
    assert!(dialect("nobody").is_none());
}

#[test]
fn what_asks_for_more_than_the_bound_gets_the_bound_and_what_asks_for_less_keeps_its_own() {
    let bounded = |dialect: &str, api: Api, body: &str| {
        let call = decode(api, None, Bytes::copy_from_slice(body.as_bytes())).expect("the test's body is a call");
        let target = EncodeTarget { upstream_model: "up", keep_state: true, most_output: Some(100) };
        let encoded = dialect_of(dialect).encode(&call, &target).to_bytes();
        String::from_utf8(encoded.to_vec()).expect("a spliced body is UTF-8")
    };
    let table = [
        ("openai", Api::Chat, r#"{"model":"up"}"#, r#"{"max_tokens":100,"model":"up"}"#),
        ("azure-openai", Api::Chat, r#"{"model":"up"}"#, r#"{"max_completion_tokens":100,"model":"up"}"#),
        ("anthropic", Api::Messages, r#"{"model":"up","max_tokens":500}"#, r#"{"model":"up","max_tokens":100}"#),
        ("openai", Api::Responses, r#"{"model":"up"}"#, r#"{"max_output_tokens":100,"model":"up"}"#),
        ("openai", Api::Completions, r#"{"model":"up","max_tokens":null}"#, r#"{"model":"up","max_tokens":100}"#),
        ("openai", Api::Chat, r#"{"model":"up","max_tokens":-1}"#, r#"{"model":"up","max_tokens":100}"#),
        ("openai", Api::Chat, r#"{"model":"up","max_tokens":1e9}"#, r#"{"model":"up","max_tokens":100}"#),
        ("openai", Api::Chat, r#"{"model":"up","max_tokens":99}"#, r#"{"model":"up","max_tokens":99}"#),
        ("openai", Api::Chat, r#"{"model":"up","max_tokens":0}"#, r#"{"model":"up","max_tokens":0}"#),
        (
            "openai",
            Api::Chat,
            r#"{"max_completion_tokens":101,"model":"up","max_tokens":7}"#,
            r#"{"max_completion_tokens":100,"model":"up","max_tokens":7}"#,
        ),
        (
            "openai",
            Api::Chat,
            r#"{"model":"up","max_output_tokens":7}"#,
            r#"{"max_tokens":100,"model":"up","max_output_tokens":7}"#,
        ),
        (
            "openai",
            Api::Chat,
            r#"{"model":"up","max_tokens":10,"max_completion_tokens":null}"#,
            r#"{"model":"up","max_tokens":10,"max_completion_tokens":10}"#,
        ),
        (
            "openai",
            Api::Chat,
            r#"{"model":"up","max_tokens":-1,"max_completion_tokens":10}"#,
            r#"{"model":"up","max_tokens":10,"max_completion_tokens":10}"#,
        ),
        (
            "openai",
            Api::Chat,
            r#"{"model":"up","max_tokens":500,"max_completion_tokens":null}"#,
            r#"{"model":"up","max_tokens":100,"max_completion_tokens":100}"#,
        ),
        ("openai", Api::Embeddings, r#"{"model":"up"}"#, r#"{"model":"up"}"#),
    ];
    for (dialect, api, body, expected) in table {
        assert_eq!(bounded(dialect, api, body), expected, "{dialect} {api:?} {body}");
    }
}

fn dialect_of(name: &str) -> &'static dyn Dialect {
    dialect(name).expect("the test names a dialect")
}
