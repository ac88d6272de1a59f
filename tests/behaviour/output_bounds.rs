//! How much output a request may ask for: never more than its app may, never more than its caller wants.

use serde_json::{Value, json};

use crate::testkit::{Act, Config, Endpoint, Expect, Gateway, Request, Upstream, chat, completion};

const KEY: &str = "cw_test_bounded";
const PATH: &str = "/v1/chat/completions";

fn asking(max_tokens: Option<u64>) -> Value {
    let mut body = chat("assistant");
    if let Some(most) = max_tokens {
        body["max_tokens"] = most.into();
    }
    body
}

#[tokio::test]
async fn a_request_asks_for_no_more_output_than_its_app_may_and_keeps_a_tighter_bound_of_its_own() {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).app("bounded", KEY, &["assistant"], "limits = { output_tokens = 100 }");
    let gateway = Gateway::start(&config).await;

    for asked in [Some(500), Some(50), None] {
        let answer = gateway.send(Request::post(PATH, &asking(asked)).key(KEY)).await;
        assert_eq!(answer.status, 200);
    }
    gateway.chat(&asking(None)).await.of_status(200, "an app without a bound").await;

    let sent: Vec<Value> = upstream.requests().iter().map(|seen| seen.json()["max_tokens"].clone()).collect();
    assert_eq!(sent, [json!(100), json!(50), json!(100), Value::Null]);
    let records = gateway.audit().of_kind("intent");
    let reserved: Vec<&Value> = records.iter().map(|intent| &intent["estimate"]["output"]).collect();
    assert_eq!(reserved[..3], [100, 50, 100], "no more is reserved than may be asked for");
}

#[tokio::test]
async fn a_request_without_a_bound_is_sent_with_the_one_that_the_endpoints_quota_wants() {
    let upstream = Upstream::playing(Expect::Azure, "azure", None).await;
    let quota = "quota = { tokens_per_minute = 100_000, output_tokens = 4096 }";
    let config = Config::new()
        .endpoint("azure", Endpoint::of(&upstream).provider("azure-openai").with(quota))
        .model("assistant", &["azure/gpt"])
        .app("bounded", KEY, &["assistant"], "limits = { output_tokens = 9000 }");
    let gateway = Gateway::start(&config).await;

    gateway.chat(&asking(None)).await.of_status(200, "without a bound").await;
    gateway.chat(&asking(Some(8_000))).await.of_status(200, "with a wider one").await;
    gateway.send(Request::post(PATH, &asking(None)).key(KEY)).await.of_status(200, "of a bounded app").await;

    let sent = upstream.requests();
    let bounds =
        |index: usize| (sent[index].json()["max_completion_tokens"].clone(), sent[index].json()["max_tokens"].clone());
    assert_eq!(bounds(0), (json!(4_096), Value::Null));
    assert_eq!(bounds(1), (Value::Null, json!(8_000)), "what the caller allows is not tightened by a quota");
    assert_eq!(bounds(2), (json!(4_096), Value::Null), "the tighter of the two");
}

#[tokio::test]
async fn a_caller_is_not_told_which_engine_answered_or_how_busy_it_is() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    let inner = [
        ("server", "llama.cpp"),
        ("via", "1.1 gpu-proxy-7"),
        ("x-powered-by", "vLLM"),
        ("endpoint-load-metrics", "TEXT named_metrics.num_requests_waiting=3"),
        ("azure-openai-deployment-utilization", "97%"),
    ];
    let answer = Act::reply(200, &completion("noted")).header("openai-processing-ms", "7");
    upstream.script([inner.iter().fold(answer, |act, (name, value)| act.header(name, value))]);

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.header("openai-processing-ms"), Some("7"), "what is meant for the caller passes");
    for (name, _) in inner {
        assert_eq!(answer.header(name), None, "{name}");
    }
}
