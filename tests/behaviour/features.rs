//! What makes a provider do more than answer is refused, with the place where it stands, unless a policy grants it.

use serde_json::{Value, json};

use crate::testkit::{Config, Endpoint, Gateway, Upstream};

/// One request that asks for more: what it is, the API, what is added to a plain request, where it stands, which grant it needs.
struct More(&'static str, &'static str, Value, &'static str, &'static str);

fn all() -> Vec<More> {
    let chat = "/v1/chat/completions";
    let responses = "/v1/responses";
    let messages = "/v1/messages";
    let content =
        |part: Value| json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]});
    let input = |part: Value| json!({"input": [{"role": "user", "content": [part]}]});
    vec![
        More("stored response", responses, json!({"store": true}), "$.store", "keep_state"),
        More("stored chat", chat, json!({"store": true}), "$.store", "keep_state"),
        More(
            "earlier response",
            responses,
            json!({"previous_response_id": "resp_1"}),
            "$.previous_response_id",
            "keep_state",
        ),
        More("background", responses, json!({"background": true}), "$.background", "keep_state"),
        More("conversation", responses, json!({"conversation": "conv_1"}), "$.conversation", "keep_state"),
        More(
            "image by URL",
            chat,
            content(json!({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}})),
            "$.messages[0].content[1].image_url.url",
            "fetch_remote",
        ),
        More(
            "image by URL",
            responses,
            input(json!({"type": "input_image", "image_url": "http://example.org/a.png"})),
            "$.input[0].content[0].image_url",
            "fetch_remote",
        ),
        More(
            "file by URL",
            responses,
            input(json!({"type": "input_file", "file_url": "https://example.org/a.pdf"})),
            "$.input[0].content[0].file_url",
            "fetch_remote",
        ),
        More(
            "image by URL",
            messages,
            content(json!({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}})),
            "$.messages[0].content[1].source.url",
            "fetch_remote",
        ),
        More(
            "web search",
            responses,
            json!({"tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]}),
            "$.tools[1]",
            "use_hosted_tool",
        ),
        More(
            "code interpreter",
            responses,
            json!({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}),
            "$.tools[0]",
            "use_hosted_tool",
        ),
        More(
            "connector over MCP",
            responses,
            json!({"tools": [{"type": "mcp", "server_label": "x", "connector_id": "connector_gmail"}]}),
            "$.tools[0]",
            "use_hosted_tool",
        ),
        More("unknown tool", chat, json!({"tools": [{"type": "of_next_year"}]}), "$.tools[0]", "use_hosted_tool"),
        More(
            "web search of Anthropic's",
            messages,
            json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
            "$.tools[0]",
            "use_hosted_tool",
        ),
        More("web search option", chat, json!({"web_search_options": {}}), "$.web_search_options", "use_hosted_tool"),
    ]
}

/// A plain request of this API with more added.
fn request(path: &str, more: &Value) -> Value {
    let mut body = match path {
        "/v1/responses" => json!({"model": "assistant", "input": "hello"}),
        "/v1/messages" => crate::testkit::message("assistant"),
        _ => crate::testkit::chat("assistant"),
    };
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    body
}

#[tokio::test]
async fn what_no_policy_grants_is_refused_with_the_place_where_it_stands() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    for More(what, path, more, place, _) in all() {
        let answer = gateway.post(path, &request(path, &more)).await;

        assert_eq!(answer.status, 403, "{what} on {path}");
        let text = answer.text().await;
        assert!(text.contains("feature_denied"), "{what} on {path}: {text}");
        assert!(text.contains(place), "{what} on {path} should be found at {place}: {text}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn each_grant_allows_its_own_kind_and_no_other() {
    let upstream = Upstream::start("only").await;
    for grant in ["keep_state", "fetch_remote", "use_hosted_tool"] {
        let config = Config::serving(&upstream).section(&format!("[policy]\nallow = {{ only = [\"{grant}\"] }}"));
        let gateway = Gateway::start(&config).await;

        for More(what, path, more, _, needed) in all() {
            let answer = gateway.post(path, &request(path, &more)).await;

            let expected = if needed == grant { 200 } else { 403 };
            answer.of_status(expected, &format!("{what} on {path} with {grant}")).await;
        }
    }
}

#[tokio::test]
async fn a_remote_mcp_server_is_a_hosted_tool_and_an_address_and_needs_both_grants() {
    let upstream = Upstream::start("only").await;
    let body = request(
        "/v1/responses",
        &json!({"tools": [{"type": "mcp", "server_label": "x", "server_url": "https://mcp.example"}]}),
    );
    for (granted, status) in
        [("\"fetch_remote\"", 403), ("\"use_hosted_tool\"", 403), ("\"fetch_remote\", \"use_hosted_tool\"", 200)]
    {
        let config = Config::serving(&upstream).section(&format!("[policy]\nallow = {{ only = [{granted}] }}"));
        let gateway = Gateway::start(&config).await;

        assert_eq!(gateway.post("/v1/responses", &body).await.status, status, "{granted}");
    }
}

#[tokio::test]
async fn a_grant_of_one_endpoint_is_none_of_another() {
    let (plain, granted) = (Upstream::start("plain").await, Upstream::start("granted").await);
    let config = Config::new()
        .endpoint("plain", Endpoint::of(&plain))
        .endpoint("granted", Endpoint::of(&granted))
        .model("assistant", &["plain/m", "granted/m"])
        .section("[policy]\nallow = { granted = [\"use_hosted_tool\"] }");
    let gateway = Gateway::start(&config).await;

    let answer =
        gateway.post("/v1/responses", &request("/v1/responses", &json!({"tools": [{"type": "web_search"}]}))).await;

    assert_eq!(answer.header("x-causeway-endpoint"), Some("granted"));
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn what_stays_inside_the_request_needs_no_grant() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    let image = "data:image/png;base64,iVBORw0KGgo=";
    let plain = [
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}]}),
        ),
        (
            "/v1/chat/completions",
            json!({"store": false, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "look at https://example.org/a.png"}]}),
        ),
        (
            "/v1/responses",
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": image}]}], "background": false}),
        ),
        (
            "/v1/responses",
            json!({"previous_response_id": null, "store": null, "tools": [{"type": "function", "name": "f"}]}),
        ),
        ("/v1/messages", json!({"tools": [{"name": "f", "input_schema": {"type": "object"}}]})),
        (
            "/v1/messages",
            json!({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}]}]}),
        ),
    ];

    for (path, more) in plain {
        let answer = gateway.post(path, &request(path, &more)).await;

        answer.of_status(200, &format!("{path} {more}")).await;
    }
}
