//! Azure on both sides: its paths from callers, and its paths towards endpoints.

use serde_json::json;

use crate::testkit::{
    Act, Config, DONE, Endpoint, Expect, Gateway, KEY, Request, Upstream, chat, chat_stream_with_usage, event, spoken,
};

const DEPLOYMENT: &str = "/openai/deployments/assistant/chat/completions?api-version=2024-10-21";

/// A chat as Azure's clients send it: the deployment in the path, the key in `api-key`, no model in the body.
fn azure_chat() -> Request {
    let body = json!({"messages": [{"role": "user", "content": "hello"}]});
    Request::post(DEPLOYMENT, &body).anonymous().header("api-key", KEY)
}

#[tokio::test]
async fn a_deployment_in_the_path_is_the_model() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    let answer = gateway.send(azure_chat()).await;

    answer.of_status(200, "the answer").await;
    let seen = upstream.only_request();
    assert!(seen.path.starts_with("/v1/chat/completions"), "{}", seen.path);
    assert_eq!(seen.json()["model"], "served-model");
}

#[tokio::test]
async fn every_azure_path_is_served() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    let calls = [
        (
            "/openai/deployments/assistant/completions?api-version=2024-10-21",
            json!({"prompt": "the"}),
            "/v1/completions",
        ),
        ("/openai/deployments/assistant/embeddings?api-version=2024-10-21", json!({"input": "the"}), "/v1/embeddings"),
        ("/openai/v1/chat/completions", chat("assistant"), "/v1/chat/completions"),
        ("/openai/v1/responses", json!({"model": "assistant", "input": "hi", "store": false}), "/v1/responses"),
        ("/openai/v1/embeddings", json!({"model": "assistant", "input": "hi"}), "/v1/embeddings"),
    ];

    for (number, (path, body, reached)) in calls.iter().enumerate() {
        let answer = gateway.send(Request::post(path, body).anonymous().header("api-key", KEY)).await;

        assert_eq!(answer.status, 200, "{path}");
        assert!(upstream.request(number).await.path.starts_with(reached), "{path}");
    }
}

#[tokio::test]
async fn an_azure_endpoint_with_a_version_gets_deployment_paths_and_its_key() {
    let upstream = Upstream::playing(Expect::Azure, "only", None).await;
    let endpoint = Endpoint::of(&upstream).provider("azure-openai").with("api_version = \"2024-06-01\"");
    let gateway = Gateway::start(&Config::new().endpoint("only", endpoint).model("assistant", &["only/gpt-4o"])).await;

    let answer = gateway.chat(&chat("assistant")).await;

    answer.of_status(200, "the answer").await;
    assert_eq!(upstream.only_request().path, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01");
}

#[tokio::test]
async fn the_version_of_a_caller_does_not_reach_an_endpoint_that_has_its_own() {
    let upstream = Upstream::playing(Expect::Azure, "only", None).await;
    let endpoint = Endpoint::of(&upstream).provider("azure-openai").with("api_version = \"2024-06-01\"");
    let gateway = Gateway::start(&Config::new().endpoint("only", endpoint).model("assistant", &["only/gpt-4o"])).await;

    gateway.send(azure_chat()).await;

    let path = upstream.only_request().path.clone();
    assert_eq!(path.matches("api-version").count(), 1, "{path}");
    assert!(path.contains("api-version=2024-06-01"), "{path}");
}

#[tokio::test]
async fn an_azure_endpoint_without_a_version_gets_the_v1_paths() {
    let upstream = Upstream::playing(Expect::Azure, "only", None).await;
    let endpoint = Endpoint::of(&upstream).provider("azure-openai");
    let gateway = Gateway::start(&Config::new().endpoint("only", endpoint).model("assistant", &["only/gpt-4o"])).await;

    let answer = gateway.chat(&chat("assistant")).await;

    answer.of_status(200, "the answer").await;
    let seen = upstream.only_request();
    assert_eq!(seen.path, "/openai/v1/chat/completions");
    assert_eq!(seen.json()["model"], "gpt-4o");
}

#[tokio::test]
async fn azures_first_chunk_without_choices_goes_through() {
    let upstream = Upstream::playing(Expect::Azure, "only", None).await;
    let endpoint = Endpoint::of(&upstream).provider("azure-openai").with("api_version = \"2024-06-01\"");
    let gateway = Gateway::start(&Config::new().endpoint("only", endpoint).model("assistant", &["only/gpt-4o"])).await;
    let filter = event(
        &json!({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0}]}),
    );
    let all: Vec<String> = std::iter::once(filter).chain(spoken(&["ferry"])).collect();
    upstream.script([Act::stream(all.clone())]);

    let text = gateway.chat(&chat_stream_with_usage("assistant")).await.text().await;

    assert_eq!(text, all.concat());
    assert!(text.ends_with(DONE));
}

#[tokio::test]
async fn an_error_on_an_azure_path_has_openais_shape() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    let path = "/openai/deployments/of-nobody/chat/completions?api-version=2024-10-21";
    let answer = gateway.send(Request::post(path, &json!({"messages": []})).anonymous().header("api-key", KEY)).await;

    assert_eq!(answer.status, 404);
    assert_eq!(answer.code().await, "model_not_found");
}
