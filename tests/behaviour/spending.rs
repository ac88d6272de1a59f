//! Budgets beside the limits of apps and keys: of a team, a model and each user, in the stretches of a calendar.

use serde_json::{Value, json};

use crate::testkit::{Answer, Client, Config, Endpoint, Gateway, Request, Shared, Upstream, chat, until};

const PATH: &str = "/v1/chat/completions";
const FIRST: &str = "cw_key_of_the_first_app";
const SECOND: &str = "cw_key_of_the_second_app";
pub(super) const PSEUDONYMS: &str = "PSEUDONYM+KEY+0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

/// A thousand dollars per million tokens: 18 tokens, as the scripted answer reports them, are 0.018 dollars.
const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

/// Two apps of one team and two models.
fn world(upstream: &Upstream, budgets: &str) -> Config {
    let models = ["assistant", "other"];
    Config::new()
        .endpoint("only", Endpoint::of(upstream).with(DEAR))
        .model("assistant", &["only/served-model"])
        .model("other", &["only/other-model"])
        .app("first", FIRST, &models, "")
        .app("second", SECOND, &models, "")
        .section(budgets)
}

/// A request whose answer has at most this many tokens.
fn asking(model: &str, tokens: u64, more: &Value) -> Value {
    let mut body = chat(model);
    body["max_tokens"] = tokens.into();
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

async fn ask(gateway: &Gateway, key: &str, more: &Value) -> u16 {
    let answer = gateway.send(Request::post(PATH, &asking("assistant", 20, more)).key(key)).await;
    let status = answer.status;
    answer.text().await;
    status
}

fn number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| unreachable!("no number in `{name}`"))
}

async fn standing(gateway: &Gateway, budget: &str) -> Value {
    let status = gateway.operator("/api/status").await.json().await;
    let budgets = status["budgets"].as_array().expect("a list").clone();
    budgets.into_iter().find(|one| one["budget"] == budget).expect("it is listed")
}

/// Asks with one in three of these: a whole answer, a stream, a stream whose caller leaves; until the budget says no.
async fn spend(client: Client, bodies: Vec<(&'static str, Value)>) -> u64 {
    for asked in 0_u64.. {
        let (key, body) = &bodies[usize::try_from(asked).expect("few") % bodies.len()];
        let mut body = body.clone();
        body["stream"] = (asked % 3 != 0).into();
        let mut answer = client.send(Request::post(PATH, &body).key(key)).await;
        if answer.status != 200 {
            assert_eq!(answer.code().await, "budget_exceeded");
            return asked;
        }
        match asked % 3 {
            2 => drop(answer.piece().await),
            _ => drop(answer.try_bytes().await),
        }
    }
    unreachable!("a budget of a dollar is spent some time")
}

/// A budget of one dollar stops at one dollar, for answers, streams and callers that leave, whoever of those it is about asks.
async fn stops_at_one_dollar(budget: &str, bodies: Vec<(&'static str, Value)>) {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&world(&upstream, budget)).await;

    let spenders: Vec<_> = (0..8).map(|_| tokio::spawn(spend(gateway.client(), bodies.clone()))).collect();
    let mut asked = 0;
    for spender in spenders {
        asked += spender.await.expect("no panic");
    }
    // What ran while the others were turned away gave back what it did not use.
    let settled = async |asked: u64| {
        until("all to be settled", async || {
            let records = gateway.audit().records();
            (records.len() as u64 == asked).then_some(records)
        })
        .await
    };
    settled(asked).await;
    asked += spend(gateway.client(), bodies).await;
    let records = settled(asked).await;

    let charged = |record: &crate::testkit::Record| record.end("charged_nano_usd").as_u64().expect("it is charged");
    let spent: u64 = records.iter().map(charged).sum();
    let held = records.iter().map(|record| record.intent["estimate"]["nano_usd"].as_u64().expect("it is held")).max();
    assert!(spent <= 1_000_000_000, "{spent}");
    assert!(
        spent > 1_000_000_000 - held.unwrap_or_default(),
        "one more would have fitted: {spent}, and {held:?} is held"
    );
    assert!(records.iter().all(|record| charged(record) > 0));
    assert_eq!(upstream.requests().len() as u64, asked);
}

#[tokio::test]
async fn a_team_s_budget_of_one_dollar_stops_at_one_dollar_whichever_of_its_apps_asks() {
    let body = asking("assistant", 20, &json!({}));
    let bodies = vec![(FIRST, body.clone()), (SECOND, asking("other", 20, &json!({}))), (SECOND, body)];

    stops_at_one_dollar("[budget.team]\nteam = \"testers\"\nusd = 1\n", bodies).await;
}

#[tokio::test]
async fn a_model_s_budget_of_one_dollar_stops_at_one_dollar_whichever_app_asks() {
    let body = asking("assistant", 20, &json!({}));

    stops_at_one_dollar(
        "[budget.model]\nmodel = \"assistant\"\nusd = 1\n",
        vec![(FIRST, body.clone()), (SECOND, body)],
    )
    .await;
}

#[tokio::test]
async fn a_user_s_budget_of_one_dollar_stops_at_one_dollar_whichever_model_it_asks_for() {
    let user = json!({"user": "erika@example.org"});
    let bodies = vec![(FIRST, asking("assistant", 20, &user)), (FIRST, asking("other", 20, &user))];

    stops_at_one_dollar("[budget.user]\nteam = \"testers\"\neach_user = true\nusd = 1\n", bodies).await;
}

#[tokio::test]
async fn a_refusal_names_the_budget_and_its_end_and_nobody_s_amounts() {
    let upstream = Upstream::start("only").await;
    let budgets = "[budget.wide]\nusd = 1000\n[budget.narrow]\nteam = \"testers\"\nusd = 0.001\nperiod = \"day\"\n\
                   time_zone = \"Asia/Kathmandu\"\n";
    let gateway = Gateway::start(&world(&upstream, budgets)).await;

    let refused = gateway.send(Request::post(PATH, &asking("assistant", 20, &json!({}))).key(FIRST)).await;
    let left = standing(&gateway, "narrow").await["seconds_left"].as_u64().expect("a number");

    assert_eq!((refused.status, refused.header("x-should-retry")), (429, Some("false")));
    let wait = number(&refused, "retry-after");
    assert!((left..=left + 60).contains(&wait), "{wait} s, and {left} s are left of the day");
    let error = refused.json().await["error"].clone();
    assert_eq!(error["code"], "budget_exceeded");
    let message = error["message"].as_str().expect("a text");
    assert!(
        message.contains("`narrow`") && !message.contains("wide") && !message.contains(|c: char| c.is_ascii_digit()),
        "{message}"
    );
    assert_eq!(standing(&gateway, "wide").await["held"], "0", "what does not fit into one is held of none");
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn each_user_has_the_amount_and_who_names_none_shares_one_and_nobody_s_name_is_kept() {
    let upstream = Upstream::start("only").await;
    let budget = "[budget.each]\napp = \"first\"\neach_user = true\nusd = 0.04\n";
    let mut gateway = Gateway::start(&world(&upstream, budget)).await;
    let (erika, max) = (json!({"user": "erika@example.org"}), json!({"user": "max@example.org"}));

    let first = [ask(&gateway, FIRST, &erika).await, ask(&gateway, FIRST, &erika).await];
    let others = [ask(&gateway, FIRST, &max).await, ask(&gateway, FIRST, &json!({})).await];
    let nobody = ask(&gateway, FIRST, &json!({})).await;
    let elsewhere = ask(&gateway, SECOND, &erika).await;

    assert_eq!((first, others, nobody, elsewhere), ([200, 429], [200, 200], 429, 200));
    let standing = standing(&gateway, "each").await;
    assert_eq!((&standing["users"], &standing["spent"]), (&json!(3), &json!("0.054")));

    gateway.signal("TERM");
    gateway.left().await;
    let mut next = gateway.again("next.log", &[]);
    assert!(next.is_ready().await);
    assert_eq!(ask(&next, FIRST, &erika).await, 429, "a restart remembers each");
    assert_eq!(ask(&next, FIRST, &json!({"user": "a third"})).await, 200);
    let files = ["ledger.sqlite", "ledger.sqlite-wal"].map(|file| next.state().join("ledger").join(file));
    let books: Vec<u8> = files.iter().flat_map(|file| std::fs::read(file).unwrap_or_default()).collect();
    let named = |name: &[u8]| books.windows(name.len()).any(|window| window == name);
    assert!(named(b"p1:") && !named(b"erika") && !named(b"max@"), "the books hold pseudonyms");
}

#[tokio::test]
async fn a_budget_that_warns_stops_nobody_and_says_how_far_it_has_come() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&world(&upstream, "[budget.soft]\nusd = 0.02\nmode = \"warning\"\n")).await;

    let asked = [ask(&gateway, FIRST, &json!({})).await, ask(&gateway, SECOND, &json!({})).await];
    until("the alarm", async || {
        let log = gateway.log();
        (log.contains("ALARM budget_threshold") && log.contains("percent=100")).then_some(())
    })
    .await;
    let page = gateway.operator("/metrics").await.text().await;

    assert_eq!(asked, [200, 200]);
    for line in [
        "causeway_budget_spent_ratio{budget=\"soft\"} 1.8",
        "causeway_budget_limit_usd{budget=\"soft\"} 0.02",
        "causeway_budget_thresholds_total{budget=\"soft\",percent=\"80\"} 1",
    ] {
        assert!(page.contains(line), "{line} is not in:\n{page}");
    }
}

#[tokio::test]
async fn a_restart_and_a_reload_keep_what_is_spent_and_a_budget_that_is_new_knows_what_was_spent_before_it() {
    let upstream = Upstream::start("only").await;
    let team = |usd: &str| format!("[budget.team]\nteam = \"testers\"\nusd = {usd}\nperiod = \"month\"\n");
    let mut gateway = Gateway::start(&world(&upstream, &team("0.06"))).await;
    assert_eq!([ask(&gateway, FIRST, &json!({})).await, ask(&gateway, SECOND, &json!({})).await], [200, 200]);

    gateway.signal("TERM");
    gateway.left().await;
    let mut next = gateway.again("next.log", &[]);
    assert!(next.is_ready().await);
    assert_eq!(standing(&next, "team").await["spent"], "0.036");
    assert_eq!(ask(&next, FIRST, &json!({})).await, 429);

    let model =
        "[budget.model]\nmodel = \"assistant\"\nusd = 0.05\nperiod = \"month\"\ntime_zone = \"Europe/Berlin\"\n";
    next.configure(&world(&upstream, &format!("{}{model}", team("0.1"))));
    next.signal("HUP");
    until("the reload", async || {
        let status = next.operator("/api/status").await.json().await;
        (status["budgets"].as_array().is_some_and(|all| all.len() == 2)).then_some(())
    })
    .await;

    assert_eq!(
        (&standing(&next, "team").await["spent"], &standing(&next, "model").await["spent"]),
        (&json!("0.036"), &json!("0.036"))
    );
    let refused = next.send(Request::post(PATH, &asking("assistant", 20, &json!({}))).key(FIRST)).await;
    assert!(refused.text().await.contains("`model`"));
}

#[tokio::test]
async fn a_new_binary_that_takes_over_knows_what_the_one_before_it_has_spent() {
    let upstream = Upstream::start("only").await;
    let mut old = Gateway::start(&world(&upstream, "[budget.team]\nteam = \"testers\"\nusd = 0.06\n")).await;
    assert_eq!([ask(&old, FIRST, &json!({})).await, ask(&old, SECOND, &json!({})).await], [200, 200]);

    until("the ledger to have both", async || {
        let status = old.operator("/api/status").await.json().await;
        (status["ledger"]["entries"] == 2).then_some(())
    })
    .await;

    let new = old.again("new.log", &["--upgrade"]);
    until("the new process to wait for the sockets", async || old.state().join("upgrade.sock").exists().then_some(()))
        .await;
    old.signal("QUIT");
    assert!(old.left().await.success());
    let refused = ask(&new, FIRST, &json!({})).await;

    assert_eq!((refused, upstream.requests().len()), (429, 2));
}

#[tokio::test]
async fn three_gateways_share_budgets_of_a_team_and_of_a_user() {
    let Some(shared) = Shared::start("budgets that gateways share").await else { return };
    for (budget, more) in [
        ("[budget.team]\nteam = \"testers\"\nusd = 1\n", json!({})),
        ("[budget.user]\nteam = \"testers\"\neach_user = true\nusd = 1\n", json!({"user": "erika"})),
    ] {
        let upstream = Upstream::start("only").await;
        let secret = "[audit]\npseudonyms = { key = \"pseudonyms.key\", held_by = \"data protection office\" }\n";
        let config =
            world(&upstream, budget).section(secret).file("pseudonyms.key", PSEUDONYMS).acting_as_one(&shared, "");
        let (one, two, three) = tokio::join!(Gateway::start(&config), Gateway::start(&config), Gateway::start(&config));

        let bodies = vec![(FIRST, asking("assistant", 20, &more))];
        let spenders: Vec<_> = [&one, &two, &three, &one, &two, &three]
            .map(|gateway| tokio::spawn(spend(gateway.client(), bodies.clone())))
            .into();
        let mut asked = 0;
        for spender in spenders {
            asked += spender.await.expect("no panic");
        }

        let records = until("all to be settled", async || {
            let records: Vec<_> =
                [&one, &two, &three].into_iter().flat_map(|gateway| gateway.audit().records()).collect();
            (records.len() as u64 == asked).then_some(records)
        })
        .await;
        let charged = |record: &crate::testkit::Record| record.end("charged_nano_usd").as_u64().expect("it is charged");
        let spent: u64 = records.iter().map(charged).sum();
        assert!(spent <= 1_000_000_000, "{budget}: {spent}");
        assert!(spent > 500_000_000, "{budget}: most of it can be used: {spent}");
    }
}
