//! How much may be used: tokens by the minute, money by the month, and what is charged where nobody reports it.

use serde_json::{Value, json};

use crate::testkit::{Act, Answer, Config, Endpoint, Gate, Gateway, Request, Upstream, chat, completion, until};

const PATH: &str = "/v1/chat/completions";

/// A thousand dollars per million tokens: 18 tokens, as the scripted answer reports them, are 0.018 dollars.
const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

fn priced(upstream: &Upstream, cost: &str) -> Config {
    Config::new().endpoint("only", Endpoint::of(upstream).with(cost)).model("assistant", &["only/served-model"])
}

fn limited(config: Config, limits: &str) -> Config {
    config.app("limited", "cw_test_limited", &["assistant"], &format!("limits = {{ {limits} }}"))
}

/// A request whose answer has at most this many tokens.
fn asking_for(tokens: u64) -> Value {
    let mut body = chat("assistant");
    body["max_tokens"] = tokens.into();
    body
}

async fn ask(gateway: &Gateway, body: &Value) -> Answer {
    gateway.send(Request::post(PATH, body).key("cw_test_limited")).await
}

fn number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| unreachable!("no number in `{name}`"))
}

#[tokio::test]
async fn tokens_of_a_minute_are_reserved_settled_by_what_was_used_and_then_refused() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&limited(priced(&upstream, DEAR), "tokens_per_minute = 200")).await;

    let first = ask(&gateway, &asking_for(100)).await;
    let refused = {
        let mut last = ask(&gateway, &asking_for(100)).await;
        // Each used 18 of its hundred; the rest came back. At most ten fit into a minute.
        for _ in 0..9 {
            if last.status == 429 {
                break;
            }
            last = ask(&gateway, &asking_for(100)).await;
        }
        last
    };

    assert_eq!((first.status, number(&first, "x-ratelimit-limit-tokens")), (200, 200));
    assert!(first.header("x-ratelimit-reset-tokens").is_some_and(|reset| reset.ends_with('s')));
    assert_eq!(refused.status, 429);
    assert!((1..=60_000).contains(&number(&refused, "retry-after-ms")));
    assert_eq!(refused.header("x-should-retry"), None);
    let sent = upstream.requests().len();
    assert!((4..=10).contains(&sent), "{sent} requests of about 110 tokens that used 18 each");
    assert_eq!(refused.code().await, "rate_limit_exceeded");
}

#[tokio::test]
async fn what_an_answer_used_beyond_its_reservation_is_waited_for() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&limited(priced(&upstream, DEAR), "tokens_per_minute = 600")).await;
    let mut long = completion("much");
    long["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 1_190, "total_tokens": 1_200});
    upstream.script([Act::reply(200, &long)]);

    let first = ask(&gateway, &asking_for(5)).await;
    let status = first.status;
    first.text().await;
    let refused = ask(&gateway, &asking_for(5)).await;

    assert_eq!((status, refused.status), (200, 429));
    let wait = number(&refused, "retry-after-ms");
    assert!((50_000..=62_000).contains(&wait), "{wait} ms for a debt of a minute");
}

#[tokio::test]
async fn all_apps_together_have_the_tokens_of_a_model_and_what_one_used_beyond_is_waited_for_by_all() {
    let upstream = Upstream::start("only").await;
    let config = |apps: &[(&str, &str)]| {
        let config = Config::new()
            .endpoint("only", Endpoint::of(&upstream).with(DEAR))
            .model_with("assistant", &["only/served-model"], "limits = { tokens_per_minute = 600 }")
            .model("plenty", &["only/served-model"]);
        apps.iter().fold(config, |config, (name, limits)| {
            config.app(name, &format!("cw_test_{name}"), &["assistant", "plenty"], limits)
        })
    };
    let (first, second) = (("first", "limits = { tokens_per_minute = 5000 }"), ("second", ""));
    let gateway = Gateway::start(&config(&[first, second])).await;
    let ask = async |key: &str, model: &str| {
        let mut body = asking_for(5);
        body["model"] = model.into();
        gateway.send(Request::post(PATH, &body).key(key)).await
    };
    let mut long = completion("much");
    long["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 1_190, "total_tokens": 1_200});
    upstream.script([Act::reply(200, &long)]);

    let answered = ask("cw_test_first", "assistant").await;
    let told = ["limit", "remaining"].map(|name| number(&answered, &format!("x-ratelimit-{name}-tokens")));
    let status = answered.status;
    answered.text().await;
    let refused = ask("cw_test_second", "assistant").await;
    let elsewhere = ask("cw_test_second", "plenty").await;

    assert_eq!((status, told[0], refused.status, elsewhere.status), (200, 600, 429, 200));
    assert!(told[1] < 600, "{told:?}");
    let wait = number(&refused, "retry-after-ms");
    assert!((50_000..=62_000).contains(&wait), "{wait} ms for a debt of a minute");
    assert_eq!(number(&refused, "retry-after"), wait.div_ceil(1_000));
    assert_eq!(["limit", "remaining"].map(|name| number(&refused, &format!("x-ratelimit-{name}-tokens"))), [600, 0]);
    assert_eq!(elsewhere.header("x-ratelimit-limit-tokens"), None, "neither that app nor that model has a limit");
    assert!(refused.text().await.contains("this app, key or model has used up its 600 tokens per minute"));

    gateway.configure(&config(&[first, second, ("third", "")]));
    gateway.signal("HUP");
    let known = async || Some(ask("cw_test_third", "assistant").await).filter(|answer| answer.status != 401);
    assert_eq!(until("the third app to be known", known).await.status, 429, "a reload keeps what is owed");
    let unlimited = gateway.configuration_text().replace("limits = { tokens_per_minute = 600 }", "");
    gateway.configure_text(&unlimited);
    gateway.signal("HUP");
    let let_in = async || (ask("cw_test_second", "assistant").await.status == 200).then_some(());
    until("a reload to take the limit away", let_in).await;
}

#[tokio::test]
async fn a_budget_stops_before_it_is_passed_and_says_that_retrying_is_useless() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&limited(priced(&upstream, DEAR), "usd_per_month = 0.095")).await;

    let mut sent = 0;
    let refused = loop {
        let answer = ask(&gateway, &asking_for(20)).await;
        if answer.status != 200 {
            break answer;
        }
        answer.text().await;
        sent += 1;
        assert!(sent < 10, "0.095 dollars are at most five answers of 0.018");
    };

    assert_eq!((refused.status, refused.header("x-should-retry")), (429, Some("false")));
    assert!(number(&refused, "retry-after") > 1);
    assert_eq!(refused.code().await, "budget_exceeded");
    // Four answers of 0.018; a fifth could cost 0.027 and more, which would be too much.
    assert_eq!(sent, 4);
    assert_eq!(upstream.requests().len(), 4);
}

#[tokio::test]
async fn requests_that_run_hold_their_money_and_give_back_what_they_did_not_use() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&limited(priced(&upstream, DEAR), "usd_per_month = 0.1")).await;
    let gate = Gate::closed();
    upstream.script([Act::reply(200, &completion("late")).after(&gate)]);

    let client = gateway.client();
    let running = tokio::spawn(async move {
        let answer = client.send(Request::post(PATH, &asking_for(80)).key("cw_test_limited")).await;
        (answer.status, answer.text().await)
    });
    upstream.request(0).await;
    let while_held = ask(&gateway, &asking_for(20)).await;
    gate.open();
    let (status, _) = running.await.expect("no panic");
    let after = ask(&gateway, &asking_for(20)).await;

    assert_eq!((while_held.status, number(&while_held, "retry-after-ms")), (429, 1_000));
    assert_eq!((status, after.status), (200, 200));
}

#[tokio::test]
async fn an_unknown_price_is_charged_at_the_reservation_and_flagged() {
    let upstream = Upstream::start("only").await;
    let config = Config::new()
        .section(&format!(
            "[endpoint.only]\nprovider = \"openai\"\nurl = \"http://{}/v1\"\n\
             reach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\nauth = {{ key = {{ file = \"upstream.key\" }} }}\n",
            upstream.address
        ))
        .model("assistant", &["only/served-model"]);
    let gateway = Gateway::start(&limited(config, "usd_per_month = 5")).await;

    let answer = ask(&gateway, &asking_for(100)).await;
    let record = gateway.audit().record(&answer.decision()).await;

    let held = record.intent["estimate"]["nano_usd"].as_u64().expect("it is held");
    assert!(held >= 100 * 75_000, "{held}");
    assert_eq!(record.end("charged_nano_usd"), held);
    assert_eq!(record.end("price_unknown"), true);
    assert!(record.intent["prices"].as_str().is_some_and(|prices| prices.contains(" sha256:")));
}

#[tokio::test]
async fn a_known_price_is_charged_to_the_last_unit_with_what_was_cached() {
    let upstream = Upstream::start("only").await;
    let cost = "cost = { per_token = { catalogue = \"azure/eu/gpt-4o\" } }";
    let gateway = Gateway::start(&priced(&upstream, cost)).await;
    let mut cached = completion("again");
    cached["usage"] = json!({"prompt_tokens": 1_000, "completion_tokens": 10, "total_tokens": 1_010,
                             "prompt_tokens_details": {"cached_tokens": 600}});
    upstream.script([Act::reply(200, &cached)]);

    let answer = gateway.chat(&chat("assistant")).await;
    let record = gateway.audit().record(&answer.decision()).await;

    // 400 at 2.75, 600 at 1.375 and 10 at 11 dollars per million.
    assert_eq!(record.end("charged_nano_usd"), 400 * 2_750 + 600 * 1_375 + 10 * 11_000);
    assert_eq!(record.end("price_unknown"), &Value::Null);
}

#[tokio::test]
async fn several_answers_to_one_request_are_reserved_for() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&limited(priced(&upstream, DEAR), "usd_per_month = 0.1")).await;
    let mut many = asking_for(20);
    many["n"] = 10.into();

    let refused = ask(&gateway, &many).await;

    assert_eq!((refused.status, upstream.requests().len()), (429, 0));
    assert_eq!(refused.code().await, "budget_exceeded");
}

#[tokio::test]
async fn a_reload_keeps_what_is_spent() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&limited(priced(&upstream, DEAR), "usd_per_month = 0.06")).await;
    ask(&gateway, &asking_for(20)).await.text().await;
    ask(&gateway, &asking_for(20)).await.text().await;

    let lower = priced(&upstream, DEAR).model("second", &["only/second-model"]);
    gateway.configure(&limited(lower, "usd_per_month = 0.05"));
    gateway.signal("HUP");
    until("the second model", async || {
        (gateway.send(Request::get("/v1/models/second")).await.status == 200).then_some(())
    })
    .await;

    assert_eq!(ask(&gateway, &asking_for(20)).await.status, 429);
}

/// Asks with one in three of these: a whole answer, a stream, a stream whose caller leaves; until the budget says no.
async fn spend(client: crate::testkit::Client) -> u64 {
    let mut asked = 0;
    loop {
        let mut body = asking_for(20);
        body["stream"] = (asked % 3 != 0).into();
        let mut answer = client.send(Request::post(PATH, &body).key("cw_test_limited")).await;
        if answer.status != 200 {
            assert_eq!(answer.code().await, "budget_exceeded");
            return asked;
        }
        asked += 1;
        match asked % 3 {
            0 => drop(answer.piece().await),
            _ => drop(answer.try_bytes().await),
        }
    }
}

#[tokio::test]
async fn a_budget_of_one_dollar_stops_at_one_dollar_for_answers_streams_and_callers_that_leave() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&limited(priced(&upstream, DEAR), "usd_per_month = 1")).await;

    let spenders: Vec<_> = (0..8).map(|_| tokio::spawn(spend(gateway.client()))).collect();
    let mut asked = 0;
    for spender in spenders {
        asked += spender.await.expect("no panic");
    }
    // What ran while the others were turned away gave back what it did not use.
    let settled = async || (gateway.audit().records().len() as u64 == asked).then_some(());
    until("all to be settled", settled).await;
    asked += spend(gateway.client()).await;
    let records = until("all to be settled", async || {
        let records = gateway.audit().records();
        (records.len() as u64 == asked).then_some(records)
    })
    .await;

    let charged = |record: &crate::testkit::Record| record.end("charged_nano_usd").as_u64().expect("it is charged");
    let spent: u64 = records.iter().map(charged).sum();
    let held = records[0].intent["estimate"]["nano_usd"].as_u64().expect("it is held");
    assert!(spent <= 1_000_000_000, "{spent}");
    assert!(spent > 1_000_000_000 - held, "one more would have fitted: {spent}, and a request holds {held}");
    assert_eq!(upstream.requests().len() as u64, asked);
    assert!(records.iter().all(|record| charged(record) > 0));
}

#[tokio::test]
async fn a_reload_that_is_refused_at_its_last_step_raises_no_limit() {
    let upstream = Upstream::start("only").await;
    let with = |limits: &str| {
        let secret = "[audit]\npseudonyms = { key = \"pseudonyms.key\", held_by = \"data protection office\" }\n";
        let key = "PSEUDONYM+KEY+0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
        limited(priced(&upstream, DEAR), limits).file("pseudonyms.key", key).section(secret)
    };
    let gateway = Gateway::start(&with("usd_per_month = 0.05")).await;
    ask(&gateway, &asking_for(20)).await.text().await;
    ask(&gateway, &asking_for(20)).await.text().await;
    assert_eq!(ask(&gateway, &asking_for(20)).await.status, 429);

    gateway.configure(&with("usd_per_month = 500.0"));
    gateway.replace_file("pseudonyms.key", "no key\n");
    gateway.signal("HUP");
    until("the refusal", async || {
        gateway.audit().of_kind("admin").into_iter().find(|entry| entry["action"] == "reload_refused")
    })
    .await;

    assert_eq!(ask(&gateway, &asking_for(20)).await.status, 429, "what ran before runs on");
}
