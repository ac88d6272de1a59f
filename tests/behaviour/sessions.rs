//! Sessions: they go back to where their beginning is cached, as long as the answers say that this pays.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::testkit::{Act, Answer, Config, Endpoint, Gateway, Request, Upstream, chat, completion};

const KEY: &str = "cw_test_talking";
const OWN: &str = "cost = { fixed = { usd_per_hour = 20 } }";

struct World {
    gateway: Gateway,
    servers: [Upstream; 2],
}

/// Two own servers of equal speed, whose answers say that so many of their 1,000 prompt tokens came from the cache.
async fn world(cached: u64) -> World {
    let servers = [Upstream::start("gpu-1").await, Upstream::start("gpu-2").await];
    for server in &servers {
        let mut answer = completion("noted");
        answer["usage"] = json!({"prompt_tokens": 1_000, "completion_tokens": 7, "total_tokens": 1_007,
                                 "prompt_tokens_details": {"cached_tokens": cached}});
        server.script((0..100).map(|_| Act::reply(200, &answer)));
    }
    let config = Config::new()
        .endpoint("gpu-1", Endpoint::of(&servers[0]).with(OWN))
        .endpoint("gpu-2", Endpoint::of(&servers[1]).with(OWN))
        .model_with("assistant", &["gpu-1/m", "gpu-2/m"], "first_token = { p95_ms = 5000 }")
        .app("talking", KEY, &["assistant"], "explain = true");
    World { gateway: Gateway::start(&config).await, servers }
}

impl World {
    async fn ask(&self, body: &Value) -> Answer {
        let request = Request::post("/v1/chat/completions", body).key(KEY).header("x-causeway-explain", "1");
        let answer = self.gateway.send(request).await;
        assert_eq!(answer.status, 200);
        answer
    }

    async fn metric(&self, line: &str) -> String {
        let page = self.gateway.operator("/metrics").await.text().await;
        let found = page.lines().find_map(|found| found.strip_prefix(line)).unwrap_or("none");
        found.trim().to_owned()
    }
}

fn named(session: usize) -> Value {
    let mut body = chat("assistant");
    body["prompt_cache_key"] = format!("case-{session}").into();
    body
}

fn endpoint_of(answer: &Answer) -> String {
    answer.header("x-causeway-endpoint").unwrap_or("none").to_owned()
}

#[tokio::test]
async fn a_session_goes_back_to_the_server_that_has_its_beginning_and_says_so() {
    let world = world(1_000).await;

    let mut served = BTreeMap::<usize, Vec<String>>::new();
    let mut last = String::new();
    for _ in 0..4 {
        for session in 0..12 {
            let answer = world.ask(&named(session)).await;
            served.entry(session).or_default().push(endpoint_of(&answer));
            last = answer.header("x-causeway-why").unwrap_or_default().to_owned();
        }
    }

    for (session, endpoints) in &served {
        assert!(endpoints.iter().all(|endpoint| *endpoint == endpoints[0]), "session {session}: {endpoints:?}");
    }
    assert!(world.servers.iter().all(|server| server.requests().len() >= 8), "both are the home of some: {served:?}");
    assert!(last.contains("the session's home, with about") && last.contains("tokens of its prompt cached"), "{last}");
    assert_eq!(world.metric("causeway_sessions_total{model=\"assistant\",served=\"new\"}").await, "12");
    assert_eq!(world.metric("causeway_sessions_total{model=\"assistant\",served=\"home\"}").await, "36");
    assert_eq!(world.metric("causeway_endpoint_session_cache_hits{endpoint=\"gpu-1\"}").await, "1.0");
}

#[tokio::test]
async fn the_turns_of_a_conversation_are_a_session_without_being_called_one() {
    let world = world(1_000).await;
    let mut all = Vec::new();

    for conversation in 0..8 {
        let mut body = chat("assistant");
        body["messages"] = json!([{"role": "system", "content": "be kind"},
                                  {"role": "user", "content": format!("this is about case {conversation}")}]);
        let mut endpoints = Vec::new();
        for turn in 0..4 {
            endpoints.push(endpoint_of(&world.ask(&body).await));
            let messages = body["messages"].as_array_mut().expect("a list");
            messages.push(json!({"role": "assistant", "content": "noted"}));
            messages.push(json!({"role": "user", "content": format!("and then {turn}")}));
        }
        assert!(endpoints.iter().all(|endpoint| *endpoint == endpoints[0]), "{endpoints:?}");
        all.push(endpoints.remove(0));
    }

    assert!(all.contains(&"gpu-1".to_owned()) && all.contains(&"gpu-2".to_owned()), "{all:?}");
}

#[tokio::test]
async fn a_server_that_reports_no_cached_tokens_is_nobodys_home_once_that_is_known() {
    let world = world(0).await;

    let mut whys = Vec::new();
    for turn in 0..30 {
        let answer = world.ask(&named(1)).await;
        whys.push(answer.header("x-causeway-plan").unwrap_or_default().to_owned());
        assert!(turn >= 10 || whys[turn].contains("the session's home"), "{}", whys[turn]);
    }

    assert!(!whys[29].contains("home"), "{}", whys[29]);
    let hits = [
        world.metric("causeway_endpoint_session_cache_hits{endpoint=\"gpu-1\"}").await,
        world.metric("causeway_endpoint_session_cache_hits{endpoint=\"gpu-2\"}").await,
    ];
    assert!(hits.contains(&"0.0".to_owned()), "{hits:?}");
}
