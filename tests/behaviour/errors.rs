//! What a caller sees when the gateway says no: one status, one stable code, the shape of the caller's own dialect.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::testkit::{Act, Authority, Config, Endpoint, Gateway, Request, Upstream, chat, message, within};

async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).app("narrow", "cw_test_narrow", &["assistant"], "");
    let gateway = Gateway::start(&config.model("hidden", &["only/hidden"])).await;
    (upstream, gateway)
}

#[tokio::test]
async fn a_request_without_a_key_is_401_and_goes_nowhere() {
    let (upstream, gateway) = gateway().await;

    let answer = gateway.send(Request::post("/v1/chat/completions", &chat("assistant")).anonymous()).await;

    assert_eq!(answer.status, 401);
    assert_eq!(answer.code().await, "invalid_api_key");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn an_unknown_key_is_answered_as_a_missing_one_is() {
    let (_upstream, gateway) = gateway().await;
    let request = Request::post("/v1/chat/completions", &chat("assistant"));

    let missing = gateway.send(request.clone().anonymous()).await;
    let unknown = gateway.send(request.key("cw_nobody_has_this")).await;

    assert_eq!((missing.status, unknown.status), (401, 401));
    assert_eq!(missing.json().await, unknown.json().await);
}

#[tokio::test]
async fn a_key_is_taken_from_each_header_that_clients_use() {
    let (_upstream, gateway) = gateway().await;
    let key = crate::testkit::KEY;
    let request = Request::post("/v1/chat/completions", &chat("assistant")).anonymous();

    let bearer = gateway.send(request.clone().header("authorization", &format!("Bearer {key}"))).await;
    let azure = gateway.send(request.clone().header("api-key", key)).await;
    let anthropic = gateway.send(request.header("x-api-key", key)).await;

    assert_eq!([bearer.status, azure.status, anthropic.status], [200, 200, 200]);
}

#[tokio::test]
async fn a_key_may_look_like_anything() {
    let upstream = Upstream::start("only").await;
    // The second is what openai-python's own tests use.
    let keys = ["sk-proj-1_2", "My API Key", "c2VjcmV0+/=="];
    let config = Config::serving(&upstream);
    let with =
        |config: Config, (number, key): (usize, &&str)| config.app(&format!("app-{number}"), key, &["assistant"], "");
    let gateway = Gateway::start(&keys.iter().enumerate().fold(config, with)).await;

    for key in keys {
        let answer = gateway.send(Request::post("/v1/chat/completions", &chat("assistant")).key(key)).await;

        assert_eq!(answer.status, 200, "{key}");
    }
}

#[tokio::test]
async fn the_shape_of_an_error_is_openais() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.chat(&chat("of-nobody")).await;

    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json().await;
    let error = body["error"].as_object().expect("an object");
    let mut fields: Vec<&str> = error.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["code", "message", "param", "type"]);
    assert_eq!(error["code"], "model_not_found");
    assert_eq!(error["param"], "model");
}

#[tokio::test]
async fn the_shape_of_an_error_on_messages_is_anthropics() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.send(Request::post("/v1/messages", &message("assistant")).anonymous()).await;

    assert_eq!(answer.status, 401);
    assert!(answer.header("request-id").is_some());
    let body = answer.json().await;
    assert_eq!(body["type"], "error");
    assert_eq!(body["error"]["type"], "authentication_error");
    assert_eq!(body["error"]["code"], "invalid_api_key");
    assert!(body["error"]["message"].is_string());
}

#[tokio::test]
async fn a_model_of_another_app_looks_like_one_that_does_not_exist() {
    let (upstream, gateway) = gateway().await;
    let ask = |model: &str| Request::post("/v1/chat/completions", &chat(model)).key("cw_test_narrow");

    let hidden = gateway.send(ask("hidden")).await;
    let absent = gateway.send(ask("absent")).await;

    assert_eq!((hidden.status, absent.status), (404, 404));
    let (hidden, absent) = (hidden.text().await, absent.text().await);
    assert_eq!(hidden.replace("hidden", "absent"), absent);
    assert!(upstream.requests().is_empty());
}

/// The caller sends on while it is answered, as one with a large body does.
#[tokio::test]
async fn a_head_that_is_too_large_is_an_error_that_names_the_bounds() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.send(Request::get("/v1/models").header("cookie", &"x".repeat(300_000))).await;

    assert_eq!((answer.status, &answer.headers["content-type"]), (431, &"application/json".parse().unwrap()));
    let error = answer.json().await["error"].take();
    assert_eq!(
        (&error["code"], &error["type"], &error["param"]),
        (&"request_head_too_large".into(), &"invalid_request_error".into(), &Value::Null)
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("65536 bytes") && message.contains("100 fields"), "{message}");
    assert_eq!(gateway.send(Request::get("/v1/models")).await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_no_http_is_an_error_that_says_what_would_be() {
    let (upstream, gateway) = gateway().await;
    let mut socket = gateway.client().dial().await.expect("the port is open");
    let lengths = "content-length: 2\r\ncontent-length: 3\r\n";

    let sent = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{lengths}\r\n{{}}");
    socket.write_all(sent.as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    within("an answer and the end", socket.read_to_string(&mut answer)).await.expect("the answer is text");

    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 400 ") && head.contains("\r\nconnection: close"), "{head}");
    let error = serde_json::from_str::<Value>(body).expect("JSON")["error"].take();
    assert_eq!(error["code"], "invalid_request");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("one `content-length`")), "{error}");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn what_is_no_chat_is_400_and_goes_nowhere() {
    let (upstream, gateway) = gateway().await;
    let bodies = [
        ("nothing", ""),
        ("no JSON", "{\"model\": \"assistant\""),
        ("no object", "[\"assistant\"]"),
        ("two documents", "{\"model\": \"assistant\", \"messages\": []} {}"),
        ("no model", "{\"messages\": []}"),
        ("a model that is no string", "{\"model\": 7, \"messages\": []}"),
        ("a key twice", "{\"model\": \"assistant\", \"messages\": [], \"model\": \"other\"}"),
        ("a key twice, once escaped", "{\"model\": \"assistant\", \"messages\": [], \"mod\\u0065l\": \"other\"}"),
        (
            "a key twice, deep inside",
            "{\"model\": \"assistant\", \"messages\": [{\"role\": \"user\", \"content\": \"a\", \"content\": \"b\"}]}",
        ),
        ("`stream` that is no boolean", "{\"model\": \"assistant\", \"messages\": [], \"stream\": \"yes\"}"),
    ];

    for (what, body) in bodies {
        let answer = gateway.send(Request::bytes("/v1/chat/completions", body)).await;

        assert_eq!(answer.status, 400, "{what}");
        assert_eq!(answer.code().await, "invalid_request", "{what}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_path_that_no_api_has_is_404() {
    let (_upstream, gateway) = gateway().await;

    for path in
        ["/v1/files", "/v1/chat", "/v2/chat/completions", "/v1/chat/completions/abc", "/openai/deployments/assistant"]
    {
        let answer = gateway.post(path, &chat("assistant")).await;

        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json().await["error"]["message"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_405_and_says_which_it_has() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.send(Request::get("/v1/chat/completions")).await;

    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn a_client_that_knocks_before_it_calls_is_let_in() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.send(Request::get("/").method("HEAD")).await;

    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn every_answer_names_its_decision_and_a_good_one_its_endpoint() {
    let (_upstream, gateway) = gateway().await;

    let good = gateway.chat(&chat("assistant")).await;
    let bad = gateway.chat(&chat("of-nobody")).await;

    for answer in [&good, &bad] {
        for name in ["x-request-id", "x-causeway-decision", "x-causeway-policy"] {
            assert!(answer.header(name).is_some_and(|value| !value.is_empty()), "{name}");
        }
    }
    assert_ne!(good.decision(), bad.decision());
    assert_eq!(good.header("x-causeway-endpoint"), Some("only"));
    assert_eq!(bad.header("x-causeway-endpoint"), None);
}

#[tokio::test]
async fn an_api_that_no_endpoint_of_the_model_speaks_is_refused_before_anything_is_sent() {
    let upstream = Upstream::start("only").await;
    let endpoint = Endpoint::of(&upstream).with("apis = [\"chat\"]");
    let gateway = Gateway::start(&Config::new().endpoint("only", endpoint).model("assistant", &["only/m"])).await;

    let answer = gateway.post("/v1/embeddings", &json!({"model": "assistant", "input": "ferry"})).await;

    assert_eq!(answer.status, 404);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn an_upstream_that_refuses_our_credential_is_not_the_callers_fault() {
    let (upstream, gateway) = gateway().await;

    for status in [401, 403] {
        upstream.script([Act::error(status)]);
        let answer = gateway.chat(&chat("assistant")).await;

        assert_eq!(answer.status, 502, "upstream said {status}");
        assert_eq!(answer.code().await, "upstream_unavailable");
    }
    assert!(gateway.log().contains("credential"), "the operator is told");
}

#[tokio::test]
async fn an_endpoint_without_a_trusted_certificate_is_unavailable() {
    let upstream = Upstream::secure("only", &Authority::new()).await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.status, 502);
    assert_eq!(answer.code().await, "upstream_unavailable");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_class_that_there_is_none_of_is_refused_and_not_ignored() {
    let (upstream, gateway) = gateway().await;

    let request = Request::post("/v1/chat/completions", &chat("assistant")).header("x-causeway-class", "top\"secret");
    let answer = gateway.send(request).await;

    assert_eq!(answer.status, 400);
    let error = answer.json().await["error"].clone();
    assert_eq!((&error["code"], &error["param"]), (&"invalid_request".into(), &"x-causeway-class".into()));
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("is no class; the classes are public, internal, confidential, secret"), "{message}");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_label_that_nobody_defined_is_refused_and_not_ignored() {
    let (upstream, gateway) = gateway().await;

    let request = Request::post("/v1/chat/completions", &chat("assistant")).header("x-causeway-labels", "EU_personal");
    let answer = gateway.send(request).await;

    assert_eq!(answer.status, 400);
    assert_eq!(answer.code().await, "invalid_request");
    assert!(upstream.requests().is_empty());
}
