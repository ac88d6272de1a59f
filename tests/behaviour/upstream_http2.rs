//! HTTP/2 towards endpoints, seen from outside. The endpoint is a real server of it that is at hand: another gateway.

use tokio::task::JoinSet;

use crate::testkit::{Config, Endpoint, Gateway, Request, UPSTREAM_KEY, Upstream, chat, chat_stream};

/// One gateway in front of another, which it calls over HTTP/2.
async fn two_in_a_row() -> (Upstream, Gateway, Gateway) {
    let upstream = Upstream::start("only").await;
    let behind = Gateway::start(&Config::serving(&upstream).app("front", UPSTREAM_KEY, &["assistant"], "")).await;
    let hub = Endpoint::at(behind.data()).with("http2 = \"prior-knowledge\"");
    let front = Gateway::start(&Config::new().endpoint("hub", hub).model("far", &["hub/assistant"])).await;
    (upstream, behind, front)
}

#[tokio::test]
async fn calls_at_once_share_one_connection_to_an_endpoint_that_speaks_http2() {
    let (upstream, behind, front) = two_in_a_row().await;

    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (caller, call) = (front.client(), Request::post("/v1/chat/completions", &chat("far")));
        calls.spawn(async move { caller.send(call).await.status });
    }
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }

    assert_eq!(upstream.requests().len(), 20);
    let metrics = behind.operator("/metrics").await.text().await;
    assert!(metrics.contains("\ncauseway_connections 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_stream_comes_over_http2_whole_and_its_connection_serves_the_next_call() {
    let (_upstream, behind, front) = two_in_a_row().await;

    for _ in 0..2 {
        let answer = front.chat(&chat_stream("far")).await;
        assert_eq!(answer.status, 200);
        let text = answer.text().await;
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }

    let metrics = behind.operator("/metrics").await.text().await;
    assert!(metrics.contains("\ncauseway_connections 1\n"), "{metrics}");
}
