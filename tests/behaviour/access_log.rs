//! One line for each request, where it is asked for: as JSON or for a person, without content.

use serde_json::Value;

use crate::testkit::{Config, Gateway, Upstream, chat, chat_stream, until};

const PROMPT: &str = "planted-in-the-prompt-4711";

async fn asked(arguments: &[&str]) -> (Gateway, Vec<String>) {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start_with(&Config::serving(&upstream), arguments).await;
    let mut decisions = Vec::new();
    for mut body in [chat("assistant"), chat_stream("assistant"), chat("no-such-model")] {
        body["messages"][0]["content"] = PROMPT.into();
        let answer = gateway.chat(&body).await;
        decisions.push(answer.decision());
        answer.bytes().await;
    }
    gateway.audit().record(&decisions[1]).await;
    (gateway, decisions)
}

#[tokio::test]
async fn a_request_leaves_a_line_of_json_with_names_and_numbers_and_no_text() {
    let (gateway, decisions) = asked(&["--log", "json", "--log-filter", "info,access=debug"]).await;

    let lines = until("a line for each request", async || {
        let lines: Vec<Value> = gateway.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let of_access: Vec<Value> = lines.into_iter().filter(|line| line["target"] == "access").collect();
        (of_access.len() == 3).then_some(of_access)
    })
    .await;

    for (line, decision) in lines.iter().zip(&decisions) {
        assert_eq!((&line["decision"], &line["app"]), (&Value::from(decision.as_str()), &Value::from("tests")));
        assert!(line["peer"] == "127.0.0.1" && line["ms"].is_u64(), "{line}");
    }
    let field = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("code"), ["ok", "ok", "model_not_found"]);
    assert_eq!(field("model"), [Value::from("assistant"), Value::from("assistant"), Value::Null]);
    assert_eq!(field("stream"), [false, true, false]);
    assert!(!gateway.log().contains(PROMPT));
}

#[tokio::test]
async fn a_line_for_a_person_says_the_same_and_without_the_filter_there_is_none() {
    let (gateway, decisions) = asked(&["--log-filter", "info,access=debug"]).await;
    let (silent, _) = asked(&[]).await;

    let log = until("a line for each request", async || {
        let log = gateway.log();
        (log.lines().filter(|line| line.contains("access: request")).count() == 3).then_some(log)
    })
    .await;

    let line = log.lines().find(|line| line.contains(&decisions[1]) && line.contains("access")).expect("it is there");
    for part in ["app=\"tests\"", "model=\"assistant\"", "code=\"ok\"", "stream=true", "peer=127.0.0.1"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!silent.log().contains("access: request"), "{}", silent.log());
}
