//! What routing learns from live traffic: servers of different speed, quotas, priorities, and the same order of routers as
//! the replay of the same scenario.
//!
//! Asserted are counts and orders. When a prompt was read is counted by the stand-in and not measured by the caller.

use std::time::Duration;

use serde_json::{Value, json};

use crate::testkit::{
    Act, Answer, Config, Endpoint, Gate, Gateway, Request, Step, Upstream, chat, chat_stream, chunk, completion, run,
    until,
};

const PATH: &str = "/v1/chat/completions";
const OWN: &str = "cost = { fixed = { usd_per_hour = 20 } }";
const CLOUD: &str = "cost = { per_token = { input_usd_per_million = 2, output_usd_per_million = 2 } }";

/// A streamed request with a prompt of so many tokens, at four bytes each.
fn prompt(tokens: usize) -> Value {
    let mut body = chat_stream("assistant");
    body["messages"] = json!([{"role": "user", "content": "ship".repeat(tokens)}]);
    body["max_tokens"] = 1.into();
    body
}

fn explained(body: &Value) -> Request {
    Request::post(PATH, body).key("cw_test_asking").header("x-causeway-explain", "1")
}

fn endpoint_of(answer: &Answer) -> String {
    answer.header("x-causeway-endpoint").unwrap_or("none").to_owned()
}

/// Endpoints in this order, all of them targets of the model `assistant`.
fn config(endpoints: &[(&str, &Upstream, &str)], settings: &str) -> Config {
    let targets: Vec<String> = endpoints.iter().map(|(name, _, _)| format!("{name}/m")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let mut config = Config::new();
    for (name, upstream, lines) in endpoints {
        config = config.endpoint(name, Endpoint::of(upstream).with(lines));
    }
    config.model_with("assistant", &targets, settings).app("asking", "cw_test_asking", &["assistant"], "explain = true")
}

#[tokio::test]
async fn a_slow_replica_loses_its_share_within_ten_requests() {
    // A prompt of 1,500 tokens takes a second at the one and nothing at the other; at first both are taken to be alike.
    let (slow, fast) = (Upstream::reading("slow", 1_500).await, Upstream::reading("fast", 10_000_000).await);
    let gateway = Gateway::start(&config(&[("slow", &slow, OWN), ("fast", &fast, OWN)], "")).await;

    let mut went = Vec::new();
    for _ in 0..10 {
        let three = [0; 3].map(|_| {
            let client = gateway.client();
            tokio::spawn(async move {
                let answer = client.send(explained(&prompt(1_500))).await;
                let endpoint = endpoint_of(&answer);
                answer.text().await;
                endpoint
            })
        });
        for one in three {
            went.push(one.await.expect("no panic"));
        }
    }

    let slow_ones = |answers: &[String]| answers.iter().filter(|endpoint| *endpoint == "slow").count();
    assert!(slow_ones(&went[..10]) >= 1, "it is tried while nothing is known: {went:?}");
    assert!(slow_ones(&went[10..]) <= 5, "and for a quarter at most once it is known: {went:?}");
}

#[tokio::test]
async fn a_server_whose_streams_are_slow_is_left_alone_and_asked_again_when_that_is_old() {
    let (own, cloud) = (Upstream::start("own").await, Upstream::start("cloud").await);
    let settings = "first_token = { p95_ms = 5000 }";
    let gateway = Gateway::start(&config(&[("own", &own, OWN), ("cloud", &cloud, CLOUD)], settings)).await;
    let part = |number: u32| [Step::Pause(Duration::from_millis(250)), Step::Send(chunk(&number.to_string()).into())];
    own.script([Act::steps((0..400).flat_map(part))]);

    let slow = gateway.send(explained(&chat_stream("assistant"))).await;
    let ask = async |wanted: &str| {
        let answer = gateway.send(explained(&chat("assistant"))).await;
        (endpoint_of(&answer) == wanted).then(|| answer.header("x-causeway-plan").unwrap_or_default().to_owned())
    };
    let left_alone = until("a request to go elsewhere", async || ask("cloud").await).await;
    drop(slow);
    until("the server to be asked again", async || ask("own").await).await;

    assert!(left_alone.contains("own/m: its streams take"), "{left_alone}");
}

#[tokio::test]
async fn a_cloud_that_says_429_is_left_alone_for_as_long_as_it_asks() {
    let (cheap, dear) = (Upstream::start("cheap").await, Upstream::start("dear").await);
    let dearer = CLOUD.replace("= 2", "= 9");
    let gateway = Gateway::start(&config(&[("cheap", &cheap, CLOUD), ("dear", &dear, &dearer)], "")).await;
    cheap.script([Act::error(429).header("retry-after", "300")]);

    for _ in 0..20 {
        assert_eq!(endpoint_of(&gateway.send(explained(&chat("assistant"))).await), "dear");
    }

    assert_eq!((cheap.requests().len(), dear.requests().len()), (1, 20));
}

/// A request whose text says who it is.
fn named(name: &str) -> Value {
    let mut body = chat("assistant");
    body["messages"][0]["content"] = name.into();
    body
}

#[tokio::test]
async fn who_has_priority_is_served_before_those_that_came_first_and_nobody_is_turned_away() {
    let own = Upstream::start("own").await;
    let lines = format!("{OWN}\ncapacity = {{ in_flight = 1 }}");
    let settings = "first_token = { p95_ms = 1000 }\ndeadline_ms = 600000";
    let gateway = Gateway::start(&config(&[("own", &own, &lines)], settings)).await;
    let gate = Gate::closed();
    own.script((0..4).map(|_| Act::reply(200, &completion("one by one")).after(&gate)));
    let ask = |body: Value| {
        let client = gateway.client();
        tokio::spawn(async move { client.send(explained(&body)).await.status })
    };
    let waiting = async |count: u64| {
        until("so many to wait", async || {
            let status = gateway.operator("/api/status").await.json().await;
            (status["models"][0]["waiting"] == count).then_some(())
        })
        .await;
    };

    let mut asked = vec![ask(named("first"))];
    own.request(0).await;
    let tiers = [("flex", Some("flex")), ("default", None), ("priority", Some("priority"))];
    for (number, (name, tier)) in tiers.into_iter().enumerate() {
        let mut body = named(name);
        if let Some(tier) = tier {
            body["service_tier"] = tier.into();
        }
        asked.push(ask(body));
        waiting(number as u64 + 1).await;
    }
    for number in 1..=3 {
        gate.open_once();
        own.request(number).await;
    }
    gate.open();

    for one in asked {
        assert_eq!(one.await.expect("no panic"), 200);
    }
    let order: Vec<Value> = own.requests().iter().map(|seen| seen.json()["messages"][0]["content"].clone()).collect();
    assert_eq!(order, ["first", "priority", "default", "flex"]);
}

// ---- the same scenario live and replayed

/// Milliseconds in which the first token should come.
const TARGET_MS: u64 = 1_000;

/// What an own server reads in a second: what the gateway takes an unknown one for.
const RATE: u32 = 8_000;

/// Most requests at a time for the router that counts them.
const CAP: u32 = 3;

/// Two bursts, four seconds apart, of 24 prompts 2 ms apart: one in six is long. Milliseconds and tokens.
fn bursts() -> Vec<(u64, usize)> {
    let burst = |begin: u64| (0..24).map(move |n| (begin + 2 * n, if n % 6 == 5 { 5_000 } else { 400 }));
    [0, 4_000].into_iter().flat_map(burst).collect()
}

/// What became of the scenario under one router: what a cloud was paid for, and requests that were not in time.
#[derive(Clone, Debug)]
struct Became {
    router: String,
    to_cloud: u64,
    late: usize,
}

/// How the bursts are served.
#[derive(Default)]
struct Service<'a> {
    router: &'a str,
    /// Lines of each own server; without them there is none.
    own: Option<&'a str>,
    /// Lines of the model.
    settings: &'a str,
    /// Gateways beside the first, which know nothing of one another.
    more_gateways: u32,
}

/// Plays the bursts, gateway by gateway in turn, before two own servers, where there are any, and a cloud.
async fn live(service: &Service<'_>) -> Became {
    let Service { router, own: own_lines, settings, more_gateways } = service;
    let own = [Upstream::reading("own", RATE).await, Upstream::reading("own", RATE).await];
    let cloud = Upstream::reading("cloud", 100_000_000).await;
    let lines = |server: &Upstream| {
        let signals = match more_gateways {
            0 => String::new(),
            more => format!("signals = {{ metrics = \"http://{}/metrics\", gateways = {} }}", server.address, more + 1),
        };
        own_lines.map(|lines| format!("{OWN}\n{lines}\n{signals}"))
    };
    let lines = [lines(&own[0]), lines(&own[1])];
    let mut endpoints = vec![("cloud", &cloud, CLOUD)];
    if let [Some(first), Some(second)] = &lines {
        endpoints.extend([("gpu-1", &own[0], first.as_str()), ("gpu-2", &own[1], second.as_str())]);
    }
    let config = config(&endpoints, settings);
    let mut gateways = Vec::new();
    for _ in 0..=*more_gateways {
        gateways.push(Gateway::start(&config).await);
    }

    let began = tokio::time::Instant::now();
    let mut asked = Vec::new();
    for (number, (at, tokens)) in bursts().into_iter().enumerate() {
        tokio::time::sleep_until(began + Duration::from_millis(at)).await;
        let client = gateways[number % gateways.len()].client();
        asked.push(tokio::spawn(async move { client.send(explained(&prompt(tokens))).await.text().await }));
    }
    for one in asked {
        one.await.expect("no panic");
    }

    let late =
        |own: &Upstream| own.engine().took().iter().filter(|took| **took > Duration::from_millis(TARGET_MS)).count();
    Became { router: (*router).to_owned(), to_cloud: cloud.engine().tokens(), late: own.iter().map(late).sum() }
}

/// The same in virtual time, by the command that an operator has.
async fn replayed(cap: &str) -> Vec<Became> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a folder takes files");
    let line =
        |(at, tokens): (u64, usize)| format!("2023-11-16 18:00:{:02}.{:03}0000,{tokens},1\n", at / 1_000, at % 1_000);
    let lines: String = bursts().into_iter().map(line).collect();
    file("trace.csv", &format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{lines}"));
    file("scenario.toml", &scenario());
    let arguments = ["replay", "--scenario", "scenario.toml", "--json", "--router", "all-cloud"];
    let others = ["--router", "static-priority", "--router", cap, "trace.csv"];
    let done = run(&[&arguments[..], &others[..]].concat(), folder.path()).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let answer: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let became = |run: &Value| Became {
        router: run["name"].as_str().expect("a name").to_owned(),
        // Only the order is compared, so the unit is nobody's affair.
        to_cloud: (run["cloud_usd_per_hour"].as_f64().expect("dollars") * 1e6) as u64,
        late: ((1.0 - run["in_time"].as_f64().expect("a share")) * bursts().len() as f64).round() as usize,
    };
    answer["runs"].as_array().expect("runs").iter().map(became).collect()
}

fn scenario() -> String {
    let engine = format!(
        "engine = {{ step_ms = 1, prompt_token_us = {}, sequence_ms = 0, context_token_ns = 0, chunk = 256, \
         round_trip_ms = 1 }}",
        1_000_000 / RATE
    );
    format!(
        "first_token_ms = {TARGET_MS}\nmiss_budget = 0.05\n\
         [[target]]\nname = \"gpu-1/m\"\n{engine}\n[[target]]\nname = \"gpu-2/m\"\n{engine}\n\
         [[target]]\nname = \"cloud/m\"\ncloud = {{ round_trip_ms = 1, first_token_ms = 1, token_ms = 1 }}\n\
         input_usd_per_million = 2\noutput_usd_per_million = 2\n"
    )
}

/// The routers in the order of what they cost in the clouds, the cheapest first.
fn by_cost(all: &[Became]) -> Vec<&str> {
    let mut sorted: Vec<&Became> = all.iter().collect();
    sorted.sort_by_key(|one| one.to_cloud);
    sorted.iter().map(|one| one.router.as_str()).collect()
}

fn of<'a>(all: &'a [Became], router: &str) -> &'a Became {
    all.iter().find(|one| one.router == router).unwrap_or_else(|| unreachable!("no {router}: {all:?}"))
}

#[tokio::test]
async fn live_processes_show_the_same_order_of_routers_as_the_replay_of_their_scenario() {
    let cap = format!("request-cap-{CAP}");
    let target = format!("first_token = {{ p95_ms = {TARGET_MS} }}");
    let capacity = format!("capacity = {{ in_flight = {CAP} }}");
    let live = [
        live(&Service { router: "causeway", own: Some(""), settings: &target, ..Service::default() }).await,
        live(&Service { router: &cap, own: Some(&capacity), ..Service::default() }).await,
        live(&Service { router: "all-cloud", ..Service::default() }).await,
        live(&Service { router: "static-priority", own: Some(""), ..Service::default() }).await,
    ];

    let replayed = replayed(&cap).await;

    assert_eq!(by_cost(&live), ["static-priority", "causeway", cap.as_str(), "all-cloud"], "{live:?}");
    assert_eq!(by_cost(&live), by_cost(&replayed), "{live:?}\n{replayed:?}");
    for all in [&live[..], &replayed[..]] {
        let (ours, fixed) = (of(all, "causeway"), of(all, "static-priority"));
        assert_eq!(fixed.to_cloud, 0, "{all:?}");
        assert!(fixed.late >= 8 && ours.late * 4 <= fixed.late, "what costs nothing is late instead: {all:?}");
    }
}

#[tokio::test]
async fn gateways_that_know_nothing_of_one_another_cost_at_most_three_quarters_more_than_one() {
    let target = format!("first_token = {{ p95_ms = {TARGET_MS} }}");
    let of = |more_gateways| Service { router: "causeway", own: Some(""), settings: &target, more_gateways };
    let counts = [3, 8];

    let one = live(&of(0)).await;
    let fixed = live(&Service { router: "static-priority", own: Some(""), ..Service::default() }).await;
    for gateways in counts {
        let several = live(&of(gateways - 1)).await;

        println!("{gateways} gateways: {several:?}, one: {one:?}, without routing: {fixed:?}");
        assert!(several.to_cloud * 4 <= one.to_cloud * 7, "{gateways}: {one:?} {several:?}");
        // Eight gateways on two processors are late by themselves as well; without routing they would be later.
        let bound = if gateways > 3 { fixed.late.saturating_sub(1) } else { fixed.late / 2 };
        assert!(several.late <= bound, "{gateways}: no gateway pays for it with time: {several:?} {fixed:?}");
    }
}
