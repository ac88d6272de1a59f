//! What goes through is what came: the body's bytes with the model spliced, the query, the headers that are the caller's
//! business; and nothing that is only between the caller and the gateway.

use bytes::Bytes;
use serde_json::json;

use crate::testkit::{Act, Authority, Config, Endpoint, Gateway, KEY, Request, Upstream, chat, completion};

const PATH: &str = "/v1/chat/completions";

async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    (upstream, gateway)
}

/// Sends `body` and gives the bytes that the upstream got.
async fn sent_on(body: &str) -> String {
    let (upstream, gateway) = gateway().await;
    let answer = gateway.send(Request::bytes(PATH, body.to_owned())).await;
    answer.of_status(200, "the answer").await;
    String::from_utf8(upstream.only_request().body.to_vec()).expect("UTF-8 in, UTF-8 out")
}

#[tokio::test]
async fn a_body_goes_through_byte_for_byte_with_only_the_model_changed() {
    let body = "{ \"temperature\" : 1.0E+0,\r\n\t\"model\"\n:\t\"assistant\" , \"seed\":12345678901234567890123,\
                \"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9\\/ \u{1F6A2} \\ud83d\\ude80\"}],\
                \"unknown\":{\"z\":null,\"a\":[-0.0,1e-7]},\"n\":1 }\n";

    assert_eq!(sent_on(body).await, body.replace("\"assistant\"", "\"served-model\""));
}

#[tokio::test]
async fn the_word_model_elsewhere_is_left_alone() {
    let body = "{\"metadata\":{\"model\":\"assistant\"},\"messages\":[{\"role\":\"user\",\"content\":\"\\\"model\\\":\\\"assistant\\\"\"}],\
                \"model\":\"assistant\",\"stop\":[\"model\"]}";

    let expected = body.replace("],\"model\":\"assistant\"", "],\"model\":\"served-model\"");
    assert_eq!(sent_on(body).await, expected);
}

#[tokio::test]
async fn a_model_that_is_spelt_with_escapes_is_the_same_model() {
    let body = "{\"mod\\u0065l\":\"assist\\u0061nt\",\"messages\":[]}";

    assert_eq!(sent_on(body).await, "{\"mod\\u0065l\":\"served-model\",\"messages\":[]}");
}

#[tokio::test]
async fn a_body_of_80_kib_and_one_of_1_mib_arrive_whole() {
    let (upstream, gateway) = gateway().await;

    for (number, size) in [80 << 10, 1 << 20].into_iter().enumerate() {
        let mut body = chat("assistant");
        body["messages"][0]["content"] = "ferry ".repeat(size / 6).into();
        let body = body.to_string();
        let answer = gateway.send(Request::bytes(PATH, body.clone())).await;

        assert_eq!(answer.status, 200);
        let seen = upstream.request(number).await;
        assert!(seen.body == body.replace("\"assistant\"", "\"served-model\""), "{size} bytes");
    }
}

#[tokio::test]
async fn the_query_string_goes_through() {
    let (upstream, gateway) = gateway().await;

    gateway.post("/v1/messages?beta=true&x=%20a", &crate::testkit::message("assistant")).await;

    assert_eq!(upstream.only_request().path, "/v1/messages?beta=true&x=%20a");
}

#[tokio::test]
async fn headers_of_the_clients_own_go_through() {
    let (upstream, gateway) = gateway().await;
    let passing = [
        ("anthropic-beta", "context-management-2025-06-27,interleaved"),
        ("anthropic-version", "2023-06-01"),
        ("x-stainless-retry-count", "1"),
        ("x-stainless-lang", "python"),
        ("user-agent", "OpenAI/Python 3.54.0"),
        ("accept", "application/json"),
        ("idempotency-key", "once"),
    ];

    let request = passing
        .iter()
        .fold(Request::post(PATH, &chat("assistant")), |request, (name, value)| request.header(name, value));
    gateway.send(request).await;

    let seen = upstream.only_request();
    for (name, value) in passing {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

/// What no caller may tell an upstream: credentials, whose account is charged, where the call came from, where else it
/// should go, and what concerns one connection. Written out here, and not asked of the gateway's own lists.
const STOPPED: [&str; 63] = [
    "api-key",
    "x-api-key",
    "cookie",
    "cookie2",
    "openai-organization",
    "openai-project",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
    "x-amz-security-token",
    "x-ms-authorization-auxiliary",
    "x-functions-key",
    "proxy-authorization",
    "forwarded",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-user",
    "x-forwarded-client-cert",
    "x-original-forwarded-for",
    "via",
    "client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "fastly-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-azure-requestchain",
    "x-azure-fdid",
    "x-ms-region",
    "x-real-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-originating-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "referer",
    "x-original-host",
    "x-host",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-envoy-original-path",
    "x-portkey-custom-host",
    "x-litellm-tags",
    "helicone-target-url",
    "cf-aig-authorization",
    "accept-encoding",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "http2-settings",
    "x-causeway-explain",
    "x-causeway-anything",
    "x-named",
];

#[tokio::test]
async fn headers_between_caller_and_gateway_do_not_go_through() {
    let (upstream, gateway) = gateway().await;

    let request = STOPPED.iter().fold(Request::post(PATH, &chat("assistant")), |request, name| {
        let value = if name.ends_with("api-key") { KEY } else { "10.1.2.3" };
        request.header(name, value)
    });
    let answer = gateway.send(request.header("connection", "keep-alive, x-named")).await;

    answer.of_status(200, "the answer").await;
    let seen = upstream.only_request();
    let mut arrived: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    arrived.sort_unstable();
    // What the gateway writes itself, and nothing else.
    assert_eq!(arrived, ["authorization", "content-length", "content-type", "host"]);
    assert!(seen.headers.iter().all(|(_, value)| !value.contains("10.1.2.3")), "{:?}", seen.headers);
}

#[tokio::test]
async fn an_answer_comes_back_byte_for_byte() {
    let (upstream, gateway) = gateway().await;
    let body = "{ \"choices\":[ ],\n \"usage\": {\"prompt_tokens\": 1, \"completion_tokens\": 2}, \"timings\": {\"n\": 1.50} }\n";
    upstream.script([Act::bytes(200, body).header("content-type", "application/json; charset=utf-8")]);

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.text().await, body);
}

#[tokio::test]
async fn headers_of_an_answer_go_through_except_those_of_the_connection() {
    let (upstream, gateway) = gateway().await;
    let act = Act::reply(200, &completion("hello"))
        .header("x-ratelimit-remaining-tokens", "17")
        .header("openai-processing-ms", "5")
        .header("x-request-id", "req_of_the_upstream")
        .header("x-causeway-endpoint", "forged")
        .header("x-causeway-decision", "forged")
        .header("connection", "x-hop");
    let stopped = [
        "x-hop",
        "set-cookie",
        "set-cookie2",
        "location",
        "refresh",
        "alt-svc",
        "strict-transport-security",
        "public-key-pins",
        "nel",
        "report-to",
        "reporting-endpoints",
        "clear-site-data",
        "proxy-authenticate",
        "proxy-connection",
        "keep-alive",
        "trailer",
        "upgrade",
        "x-causeway-anything",
    ];
    upstream.script([stopped.iter().fold(act, |act, name| act.header(name, "forged"))]);

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.header("x-ratelimit-remaining-tokens"), Some("17"));
    assert_eq!(answer.header("openai-processing-ms"), Some("5"));
    assert_eq!(answer.header("x-causeway-endpoint"), Some("only"));
    for name in stopped {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let forged = answer.headers.iter().find(|(_, value)| value.as_bytes() == b"forged");
    assert_eq!(forged, None);
}

#[tokio::test]
async fn an_upstreams_error_keeps_its_status_its_body_and_its_retry_after() {
    let (upstream, gateway) = gateway().await;

    for status in [400, 404, 413, 422, 429, 500, 529] {
        upstream.script([Act::error(status).header("retry-after-ms", "1").header("retry-after", "1")]);
        let answer = gateway.chat(&chat("assistant")).await;

        assert_eq!(answer.status, status);
        assert_eq!(answer.header("retry-after-ms"), Some("1"), "{status}");
        let body = answer.json().await;
        assert_eq!(body["error"]["message"], "the upstream's own words");
        assert_eq!(body["error"]["code"], status, "an integer code stays one");
    }
}

#[tokio::test]
async fn an_upstream_without_a_request_id_gets_one() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.chat(&chat("assistant")).await;

    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
}

#[tokio::test]
async fn every_openai_path_reaches_its_own() {
    let (upstream, gateway) = gateway().await;
    let calls = [
        ("/v1/chat/completions", chat("assistant")),
        ("/v1/completions", json!({"model": "assistant", "prompt": "The ferry"})),
        ("/v1/responses", json!({"model": "assistant", "input": "hello", "store": false})),
        ("/v1/embeddings", json!({"model": "assistant", "input": ["a", "b"], "encoding_format": "base64"})),
        ("/v1/rerank", json!({"model": "assistant", "query": "q", "documents": ["a", "b"]})),
        ("/v1/messages", crate::testkit::message("assistant")),
        ("/v1/messages/count_tokens", crate::testkit::message("assistant")),
    ];

    for (number, (path, body)) in calls.iter().enumerate() {
        let answer = gateway.post(path, body).await;

        assert_eq!(answer.status, 200, "{path}");
        let seen = upstream.request(number).await;
        assert_eq!(seen.path, *path);
        assert_eq!(seen.json()["model"], "served-model", "{path}");
    }
}

#[tokio::test]
async fn an_endpoint_behind_tls_is_verified_against_its_own_authority() {
    let authority = Authority::new();
    let upstream = Upstream::secure("only", &authority).await;
    let endpoint = Endpoint::of(&upstream).with("tls = { ca = \"upstream-ca.pem\" }");
    let config = Config::new().file("upstream-ca.pem", &authority.pem()).endpoint("only", endpoint);
    let gateway = Gateway::start(&config.model("assistant", &["only/served-model"])).await;

    let answer = gateway.chat(&chat("assistant")).await;

    answer.of_status(200, "the answer").await;
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn calls_one_after_another_share_a_connection_to_the_endpoint() {
    let (upstream, gateway) = gateway().await;

    for _ in 0..5 {
        assert!(!gateway.chat(&chat("assistant")).await.bytes().await.is_empty());
    }

    assert_eq!(upstream.requests().len(), 5);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn an_embedding_in_base64_is_not_touched() {
    let (upstream, gateway) = gateway().await;
    let body: Bytes = format!("{{\"data\":[{{\"embedding\":\"{}\"}}]}}", "AACAPgAAAL8=".repeat(4000)).into();
    upstream.script([Act::bytes(200, body.clone())]);

    let answer = gateway.post("/v1/embeddings", &json!({"model": "assistant", "input": "a"})).await;

    assert_eq!(answer.bytes().await, body);
}
