//! Where a request goes: own capacity while it is in time, then the cheapest that can, by what the traffic teaches.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::testkit::{
    Act, Config, DONE, Endpoint, Gate, Gateway, Request, Step, Upstream, chat, chat_stream, completion, until,
};

const OWN: &str = "cost = { fixed = { usd_per_hour = 20 } }";

fn priced(usd: u32) -> String {
    format!("cost = {{ per_token = {{ input_usd_per_million = {usd}, output_usd_per_million = {usd} }} }}")
}

/// An own server, a cheap and a dear cloud, declared the wrong way round; a model with these settings.
async fn world(settings: &str) -> (Arc<Upstream>, Arc<Upstream>, Arc<Upstream>, Gateway) {
    let (own, cheap, dear) =
        (Upstream::start("own").await, Upstream::start("cheap").await, Upstream::start("dear").await);
    let config = Config::new()
        .endpoint("dear", Endpoint::of(&dear).with(&priced(9)))
        .endpoint("cheap", Endpoint::of(&cheap).with(&priced(1)))
        .endpoint("own", Endpoint::of(&own).with(OWN))
        .model_with("assistant", &["dear/m", "cheap/m", "own/m"], settings)
        .app("asking", "cw_test_asking", &["assistant"], "explain = true");
    let gateway = Gateway::start(&config).await;
    (Arc::new(own), Arc::new(cheap), Arc::new(dear), gateway)
}

async fn ask(gateway: &Gateway, body: &Value) -> crate::testkit::Answer {
    gateway
        .send(Request::post("/v1/chat/completions", body).key("cw_test_asking").header("x-causeway-explain", "1"))
        .await
}

/// A streamed request whose prompt has about two thousand tokens: a quarter of a second at the rate that is assumed of a
/// server before it has answered.
fn long_prompt() -> Value {
    let mut body = chat_stream("assistant");
    body["messages"] = json!([{"role": "user", "content": "word ".repeat(1_600)}]);
    body
}

fn endpoint_of(answer: &crate::testkit::Answer) -> String {
    answer.header("x-causeway-endpoint").unwrap_or("none").to_owned()
}

#[tokio::test]
async fn own_capacity_goes_before_every_price_and_a_lower_price_before_a_higher_one() {
    let (own, _cheap, dear, gateway) = world("").await;

    let first = ask(&gateway, &chat("assistant")).await;
    own.script([Act::error(503)]);
    let failed_over = ask(&gateway, &chat("assistant")).await;

    assert_eq!((endpoint_of(&first), endpoint_of(&failed_over)), ("own".to_owned(), "cheap".to_owned()));
    assert_eq!(dear.requests().len(), 0);
    let why = first.header("x-causeway-why").expect("the app may see why");
    assert!(why.starts_with("own capacity"), "{why}");
    let plan = first.header("x-causeway-plan").expect("the app may see the plan");
    assert!(plan.starts_with("own/m: ") && plan.contains("; cheap/m: ") && plan.contains("; dear/m: "), "{plan}");
}

#[tokio::test]
async fn a_share_of_the_traffic_goes_where_it_is_sent_whatever_it_costs_and_on_when_that_fails() {
    let (_own, _cheap, dear, gateway) = world("shares = { \"dear/m\" = 100 }").await;

    let sent = ask(&gateway, &chat("assistant")).await;
    dear.script([Act::error(503)]);
    let failed_over = ask(&gateway, &chat("assistant")).await;

    assert_eq!((endpoint_of(&sent), endpoint_of(&failed_over)), ("dear".to_owned(), "own".to_owned()));
    let plan = sent.header("x-causeway-plan").expect("the app may see the plan");
    assert!(plan.starts_with("dear/m: this request falls into its share of 100 %; own/m: "), "{plan}");
}

#[tokio::test]
async fn the_price_that_decides_is_that_of_the_tier_and_of_the_length_of_the_request() {
    let prices = "causeway-prices 1\ntaken 2026-11-01\nsource these tests\n\n\
                  plain input=1 output=1 input>20000=9 output>20000=9\nflexible input=2 output=2 flex.input=0.5 flex.output=0.5\n";
    let (plain, flexible) = (Upstream::start("plain").await, Upstream::start("flexible").await);
    let by = |entry: &str| format!("cost = {{ per_token = {{ catalogue = \"{entry}\" }} }}");
    let config = Config::new()
        .file("prices.txt", prices)
        .section("[prices]\nfile = \"prices.txt\"")
        .endpoint("plain", Endpoint::of(&plain).with(&by("plain")))
        .endpoint("flexible", Endpoint::of(&flexible).with(&by("flexible")))
        .model("assistant", &["plain/m", "flexible/m"])
        .app("asking", "cw_test_asking", &["assistant"], "explain = true");
    let gateway = Gateway::start(&config).await;
    let (mut flex, mut long) = (chat("assistant"), chat("assistant"));
    flex["service_tier"] = "flex".into();
    long["messages"] = json!([{"role": "user", "content": "word ".repeat(20_000)}]);

    let mut went = Vec::new();
    for body in [chat("assistant"), flex, long] {
        went.push(endpoint_of(&ask(&gateway, &body).await));
    }

    assert_eq!(went, ["plain", "flexible", "flexible"]);
}

#[tokio::test]
async fn why_is_shown_to_nobody_who_may_not_see_it_or_did_not_ask() {
    let (_own, _cheap, _dear, gateway) = world("").await;
    let explain = |key: &str| Request::post("/v1/chat/completions", &chat("assistant")).key(key);

    let unasked = gateway.send(explain("cw_test_asking")).await;
    assert_eq!((unasked.status, unasked.header("x-causeway-why")), (200, None));

    let upstream = Upstream::start("only").await;
    let plain = Gateway::start(&Config::serving(&upstream)).await;
    let may_not =
        plain.send(Request::post("/v1/chat/completions", &chat("assistant")).header("x-causeway-explain", "1")).await;
    assert_eq!((may_not.status, may_not.header("x-causeway-why")), (200, None));
}

/// Fills the own server with prompts that it does not begin to answer; gives what opens it, and the tasks.
async fn saturate(own: &Arc<Upstream>, gateway: &Gateway) -> (Gate, Vec<tokio::task::JoinHandle<String>>) {
    let gate = Gate::closed();
    let held = || {
        let events =
            [Step::Wait(gate.clone()), Step::Send("data: {\"choices\":[]}\n\n".into()), Step::Send(DONE.into())];
        Act::steps(events).after(&gate)
    };
    own.script((0..3).map(|_| held()));
    let mut running = Vec::new();
    for number in 0..3 {
        let client = gateway.client();
        running.push(tokio::spawn(async move {
            let request = Request::post("/v1/chat/completions", &long_prompt()).key("cw_test_asking");
            let answer = client.send(request).await;
            let endpoint = endpoint_of(&answer);
            answer.text().await;
            endpoint
        }));
        own.request(number).await;
    }
    (gate, running)
}

#[tokio::test]
async fn what_own_capacity_cannot_serve_in_time_goes_to_the_cheapest_cloud_and_comes_back_with_capacity() {
    let (own, cheap, dear, gateway) = world("first_token = { p95_ms = 800 }").await;
    let (gate, running) = saturate(&own, &gateway).await;

    let burst = ask(&gateway, &long_prompt()).await;
    let (endpoint, why) = (endpoint_of(&burst), burst.header("x-causeway-why").map(str::to_owned).unwrap_or_default());
    burst.text().await;
    gate.open();
    for task in running {
        assert_eq!(task.await.expect("no panic"), "own");
    }
    let back = ask(&gateway, &chat("assistant")).await;

    assert_eq!((endpoint.as_str(), why.starts_with("burst: own capacity takes")), ("cheap", true), "{why}");
    assert_eq!(endpoint_of(&back), "own");
    assert_eq!((cheap.requests().len(), dear.requests().len()), (1, 0));
}

#[tokio::test]
async fn where_bursting_is_never_allowed_saturation_and_failure_cost_nothing() {
    let (own, cheap, dear, gateway) = world("first_token = { p95_ms = 800 }\nburst = \"never\"").await;
    let (gate, running) = saturate(&own, &gateway).await;
    own.script([Act::reply(200, &completion("late"))]);

    let late = ask(&gateway, &chat("assistant")).await;
    own.script([Act::error(503)]);
    let failed = ask(&gateway, &chat("assistant")).await;
    gate.open();
    for task in running {
        task.await.expect("no panic");
    }

    assert_eq!((endpoint_of(&late).as_str(), failed.status), ("own", 503));
    assert_eq!((cheap.requests().len(), dear.requests().len()), (0, 0));
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_waits_for_own_capacity() {
    let (own, cheap, _dear, gateway) = world("first_token = { p95_ms = 800 }\ndeadline_ms = 600000").await;
    let (gate, running) = saturate(&own, &gateway).await;

    let client = gateway.client();
    let batch = tokio::spawn(async move {
        let mut body = long_prompt();
        body["service_tier"] = "flex".into();
        let answer = client.send(Request::post("/v1/chat/completions", &body).key("cw_test_asking")).await;
        (endpoint_of(&answer), answer.decision())
    });
    until("the batch request to wait", async || {
        let status = gateway.operator("/api/status").await.json().await;
        (status["models"][0]["waiting"] == 1).then_some(())
    })
    .await;
    gate.open();
    for task in running {
        task.await.expect("no panic");
    }

    let (endpoint, decision) = batch.await.expect("no panic");
    assert_eq!((endpoint.as_str(), cheap.requests().len()), ("own", 0));
    let records = gateway.audit().of_kind("intent");
    let waited = |intent: &&Value| intent["waited_ms"].as_f64().is_some_and(|ms| ms > 0.0);
    let waiting: Vec<&Value> = records.iter().filter(waited).map(|intent| &intent["decision"]).collect();
    assert_eq!(waiting, [decision.as_str()], "the record says that it waited, and that no other did");
}

#[tokio::test]
async fn a_caller_that_leaves_while_waiting_leaves_no_place_behind() {
    let (own, _cheap, _dear, gateway) = world("first_token = { p95_ms = 1000 }\ntraffic = \"batch\"").await;
    let (gate, running) = saturate_batch(&own, &gateway).await;
    let waiting = async |count: u64| {
        until("so many to wait", async || {
            let status = gateway.operator("/api/status").await.json().await;
            (status["models"][0]["waiting"] == count).then_some(())
        })
        .await;
    };

    let client = gateway.client();
    let leaving = tokio::spawn(async move {
        client.try_send(Request::post("/v1/chat/completions", &long_prompt()).key("cw_test_asking")).await.is_ok()
    });
    waiting(1).await;
    leaving.abort();
    waiting(0).await;

    gate.open();
    for task in running {
        task.await.expect("no panic");
    }
}

/// One batch prompt at the own server is enough: another would come later than the slack that batch is given.
async fn saturate_batch(own: &Arc<Upstream>, gateway: &Gateway) -> (Gate, Vec<tokio::task::JoinHandle<()>>) {
    let gate = Gate::closed();
    own.script([Act::reply(200, &completion("late")).after(&gate)]);
    let client = gateway.client();
    let task = tokio::spawn(async move {
        let answer = client.send(Request::post("/v1/chat/completions", &long_prompt()).key("cw_test_asking")).await;
        answer.text().await;
    });
    own.request(0).await;
    (gate, vec![task])
}

#[tokio::test]
async fn a_cloud_whose_quota_is_used_up_is_passed_over_before_it_says_429() {
    let (cheap, dear) = (Upstream::start("cheap").await, Upstream::start("dear").await);
    let config = Config::new()
        .endpoint("cheap", Endpoint::of(&cheap).with(&priced(1)))
        .endpoint("dear", Endpoint::of(&dear).with(&priced(9)))
        .model("assistant", &["cheap/m", "dear/m"]);
    let gateway = Gateway::start(&config).await;
    let used_up = Act::reply(200, &completion("the last"))
        .header("x-ratelimit-limit-tokens", "1000")
        .header("x-ratelimit-remaining-tokens", "3");
    cheap.script([used_up]);

    let first = endpoint_of(&gateway.chat(&chat("assistant")).await);
    let second = endpoint_of(&gateway.chat(&chat("assistant")).await);

    assert_eq!((first.as_str(), second.as_str()), ("cheap", "dear"));
    assert_eq!(cheap.requests().len(), 1);
}

#[tokio::test]
async fn provisioned_throughput_goes_before_what_charges_by_the_token_until_it_is_used_up() {
    let (ptu, cheap) = (Upstream::start("ptu").await, Upstream::start("cheap").await);
    let config = Config::new()
        .endpoint("cheap", Endpoint::of(&cheap).with(&priced(1)))
        .endpoint("ptu", Endpoint::of(&ptu).with("cost = { provisioned = { usd_per_hour = 36 } }"))
        .model("assistant", &["cheap/m", "ptu/m"]);
    let gateway = Gateway::start(&config).await;
    ptu.script([Act::reply(200, &completion("full")).header("azure-openai-deployment-utilization", "100")]);

    let first = endpoint_of(&gateway.chat(&chat("assistant")).await);
    let second = endpoint_of(&gateway.chat(&chat("assistant")).await);

    assert_eq!((first.as_str(), second.as_str()), ("ptu", "cheap"));
}

#[tokio::test]
async fn an_endpoint_is_asked_for_its_load_only_where_the_configuration_says_so() {
    let (asked, unasked) = (Upstream::start("asked").await, Upstream::start("unasked").await);
    let config = Config::new()
        .endpoint("asked", Endpoint::of(&asked).with("signals = { load_header = true }"))
        .endpoint("unasked", Endpoint::of(&unasked))
        .model("one", &["asked/m"])
        .model("two", &["unasked/m"]);
    let gateway = Gateway::start(&config).await;

    gateway.chat(&chat("one")).await;
    gateway.chat(&chat("two")).await;

    let header =
        |upstream: &Upstream| upstream.only_request().header("endpoint-load-metrics-format").map(str::to_owned);
    assert_eq!((header(&asked).as_deref(), header(&unasked)), (Some("TEXT"), None));
}
