//! The list of models holds what this app may use, and nothing that it may not.

use crate::testkit::{Config, Gateway, Request, Upstream};

const NARROW: &str = "cw_test_narrow";

async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let config =
        Config::serving(&upstream).model("team/large:v2", &["only/large"]).app("narrow", NARROW, &["assistant"], "");
    let gateway = Gateway::start(&config).await;
    (upstream, gateway)
}

async fn listed(gateway: &Gateway, request: Request) -> Vec<String> {
    let body = gateway.send(request).await.json().await;
    assert_eq!(body["object"], "list");
    let data = body["data"].as_array().expect("a list");
    data.iter().map(|model| model["id"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn each_app_sees_its_own_models() {
    let (upstream, gateway) = gateway().await;

    let mut all = listed(&gateway, Request::get("/v1/models")).await;
    let narrow = listed(&gateway, Request::get("/v1/models").key(NARROW)).await;

    all.sort();
    assert_eq!(all, ["assistant", "team/large:v2"]);
    assert_eq!(narrow, ["assistant"]);
    assert!(upstream.requests().is_empty(), "a list of models is the gateway's own answer");
}

#[tokio::test]
async fn azures_paths_list_the_same() {
    let (_upstream, gateway) = gateway().await;

    for path in ["/openai/v1/models", "/openai/models?api-version=2024-10-21"] {
        assert_eq!(listed(&gateway, Request::get(path).key(NARROW)).await, ["assistant"], "{path}");
    }
}

#[tokio::test]
async fn one_model_can_be_looked_up_also_by_a_name_with_a_slash() {
    let (_upstream, gateway) = gateway().await;

    for path in ["/v1/models/assistant", "/v1/models/team/large:v2", "/v1/models/team%2Flarge%3Av2"] {
        let answer = gateway.send(Request::get(path)).await;

        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json().await["object"], "model", "{path}");
    }
}

#[tokio::test]
async fn a_model_of_another_app_is_not_found() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.send(Request::get("/v1/models/team/large:v2").key(NARROW)).await;

    assert_eq!(answer.status, 404);
    assert_eq!(answer.code().await, "model_not_found");
}

#[tokio::test]
async fn the_list_needs_a_key() {
    let (_upstream, gateway) = gateway().await;

    assert_eq!(gateway.send(Request::get("/v1/models").anonymous()).await.status, 401);
}
