//! Two processes of one state folder, as during an upgrade, hold limits and budgets together.

use serde_json::{Value, json};

use crate::testkit::{
    Act, Config, DONE, Endpoint, Gate, Gateway, Record, Request, Step, Upstream, chat, chat_stream, chunk, finish,
    until,
};

const PATH: &str = "/v1/chat/completions";
const RATE: &str = "cw_key_of_a_rate";
const TOKENS: &str = "cw_key_of_tokens";
const SCARCE: &str = "cw_key_for_a_scarce_model";
const SEATS: &str = "cw_key_of_seats";
const MONEY: &str = "cw_key_of_money";

/// A thousand dollars per million tokens: 18 tokens, as the scripted answer reports them, are 0.018 dollars.
const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

fn world(upstream: &Upstream) -> Config {
    let of = |app: &str| format!("[budget.{app}]\napp = \"{app}\"\nusd = 1\n");
    Config::new()
        .endpoint("only", Endpoint::of(upstream).with(DEAR))
        .model("assistant", &["only/served-model"])
        .app("rate", RATE, &["assistant"], "limits = { requests_per_minute = 5 }")
        .model_with("scarce", &["only/served-model"], "limits = { tokens_per_minute = 400 }")
        .app("tokens", TOKENS, &["assistant"], "limits = { tokens_per_minute = 400 }")
        .app("scarce", SCARCE, &["scarce"], "")
        .app("seats", SEATS, &["assistant"], "limits = { in_flight = 3 }")
        .app("money", MONEY, &["assistant"], "")
        .section(&of("money"))
}

fn asking(stream: bool) -> Value {
    let mut body = if stream { chat_stream("assistant") } else { chat("assistant") };
    body["max_tokens"] = json!(20);
    body
}

async fn ask(gateway: &Gateway, key: &str) -> u16 {
    let mut body = asking(false);
    if key == SCARCE {
        body["model"] = json!("scarce");
    }
    let answer = gateway.send(Request::post(PATH, &body).key(key)).await;
    let status = answer.status;
    answer.text().await;
    status
}

/// How many are let in until one is refused.
async fn let_in(gateway: &Gateway, key: &str) -> usize {
    let mut count = 0;
    loop {
        match ask(gateway, key).await {
            200 => count += 1,
            refused => {
                assert_eq!(refused, 429, "{count} were let in");
                return count;
            }
        }
    }
}

/// Streams that stand open until the gate does.
fn waiting(upstream: &Upstream, gate: &Gate, count: usize) {
    let act = || {
        Act::steps([Step::Send(chunk("ferry").into()), Step::Wait(gate.clone()), Step::Send((finish() + DONE).into())])
    };
    upstream.script((0..count).map(|_| act()));
}

fn charged(record: &Record) -> u64 {
    record.end("charged_nano_usd").as_u64().expect("it is charged")
}

/// All that an app was charged with by both processes, when so many of its requests are settled.
async fn spent(gateway: &Gateway, app: &str, count: usize) -> u64 {
    let records = until("all to be settled", async || {
        let all = gateway.audit().records();
        let of_app: Vec<_> = all.into_iter().filter(|record| record.intent["app"] == app).collect();
        let settled = of_app.iter().all(|record| !record.outcome.is_null());
        (settled && of_app.len() == count).then_some(of_app)
    })
    .await;
    records.iter().map(charged).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_of_one_folder_let_in_together_what_one_may() {
    let upstream = Upstream::start("only").await;
    let config = world(&upstream);
    let first = Gateway::start(&config).await;
    for key in [RATE, TOKENS, SCARCE, MONEY] {
        assert_eq!(ask(&first, key).await, 200, "before the other is there");
    }
    let gate = Gate::closed();
    waiting(&upstream, &gate, 1);
    let mut held = vec![first.send(Request::post(PATH, &asking(true)).key(SEATS)).await];

    let second = first.second(&config).await;

    let rate = tokio::join!(let_in(&second, RATE), let_in(&first, RATE));
    assert_eq!(rate.0 + rate.1, 4, "{rate:?}");
    waiting(&upstream, &gate, 2);
    for gateway in [&second, &first] {
        held.push(gateway.send(Request::post(PATH, &asking(true)).key(SEATS)).await);
    }
    let refused = [ask(&second, SEATS).await, ask(&first, SEATS).await];
    assert_eq!((held.iter().map(|one| one.status).collect::<Vec<_>>(), refused), (vec![200; 3], [429; 2]));
    gate.open();
    for key in [TOKENS, SCARCE] {
        let tokens = tokio::join!(let_in(&second, key), let_in(&first, key));
        // 400 at once; what is settled at 18 of a request that reserved more comes back at once.
        assert!((1 + tokens.0 + tokens.1) * 18 <= 400, "{key}: {tokens:?}");
    }
    let money = tokio::join!(let_in(&second, MONEY), let_in(&first, MONEY));
    let spent = spent(&first, "money", 1 + money.0 + money.1).await;
    assert!((900_000_000..=1_000_000_000).contains(&spent), "{spent} by {money:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_gives_no_app_its_limits_twice_and_what_the_old_process_spends_is_counted_by_the_new_one() {
    let upstream = Upstream::start("only").await;
    let mut old = Gateway::start(&world(&upstream)).await;
    for _ in 0..3 {
        assert_eq!(ask(&old, RATE).await, 200);
    }
    let gate = Gate::closed();
    waiting(&upstream, &gate, 3);
    let mut seats = Vec::new();
    for key in [SEATS, SEATS, MONEY] {
        let mut stream = old.send(Request::post(PATH, &asking(true)).key(key)).await;
        assert_eq!(stream.event().await, Some(chunk("ferry")));
        seats.push(stream);
    }

    let mut new = old.again("new.log", &["--upgrade"]);
    until("the new process to wait for the sockets", async || old.state().join("upgrade.sock").exists().then_some(()))
        .await;
    old.signal("QUIT");
    until("the new process to serve", async || new.log().contains("serving").then_some(())).await;

    assert_eq!(let_in(&new, RATE).await, 2);
    waiting(&upstream, &gate, 1);
    let third = new.send(Request::post(PATH, &asking(true)).key(SEATS)).await;
    assert_eq!((third.status, ask(&new, SEATS).await), (200, 429), "the old process has two of three");
    // Only then does it leave as soon as the last stream has ended: a stream that is shorter ends while its counters are looked at.
    let waits = async || old.log().contains("what runs is waited for").then_some(());
    until("the old process to wait for its streams alone", waits).await;
    gate.open();
    assert!(old.left().await.success());
    for stream in seats.into_iter().chain([third]) {
        assert!(stream.text().await.ends_with(DONE));
    }
    // What the old one's stream cost it told last, and the new one goes on from there.
    let by_old = spent(&new, "money", 1).await;
    until("the new process to have it", async || {
        let status = new.operator("/api/status").await.json().await;
        let standing = status["budgets"].as_array()?.iter().find(|one| one["budget"] == "money")?.clone();
        let spent: f64 = standing["spent"].as_str()?.parse().ok()?;
        #[expect(clippy::cast_precision_loss, reason = "less than a dollar")]
        let told = by_old as f64 / 1e9;
        ((spent - told).abs() < 1e-9 && new.log().contains("the other process has left")).then_some(())
    })
    .await;
    let more = let_in(&new, MONEY).await;
    let all = spent(&new, "money", 1 + more).await;
    assert!((900_000_000..=1_000_000_000).contains(&all), "{all}");
    new.signal("TERM");
    assert!(new.left().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_process_that_is_killed_beside_another_its_open_requests_count_as_they_were_held() {
    let upstream = Upstream::start("only").await;
    let config = world(&upstream);
    let mut first = Gateway::start(&config).await;
    let second = first.second(&config).await;
    let gate = Gate::closed();
    waiting(&upstream, &gate, 1);
    let mut stream = first.send(Request::post(PATH, &asking(true)).key(MONEY)).await;
    assert_eq!(stream.event().await, Some(chunk("ferry")));

    first.kill().await;
    until("the other to be alone", async || second.log().contains("the other process has left").then_some(())).await;

    let status = second.operator("/api/status").await.json().await;
    let budgets = status["budgets"].as_array().expect("a list").clone();
    let money = budgets.into_iter().find(|one| one["budget"] == "money").expect("it is listed");
    let intents = first.audit().of_kind("intent");
    let held = intents.last().expect("it was let in")["estimate"]["nano_usd"].as_u64();
    let spent: f64 = money["spent"].as_str().and_then(|usd| usd.parse().ok()).expect("a number");
    #[expect(clippy::cast_precision_loss, reason = "less than a dollar")]
    let held = held.expect("it is held") as f64 / 1e9;
    assert!(held > 0.0 && (spent - held).abs() < 1e-5, "{spent} of {held}");
    gate.open();
}

/// The budget of the app `money` in both, for what is spent before it is there.
fn without_budget(upstream: &Upstream) -> Config {
    Config::new().endpoint("only", Endpoint::of(upstream).with(DEAR)).model("assistant", &["only/served-model"]).app(
        "money",
        MONEY,
        &["assistant"],
        "",
    )
}

fn with_budget(upstream: &Upstream) -> Config {
    without_budget(upstream).section("[budget.money]\napp = \"money\"\nusd = 1\n")
}

/// Nothing that was settled is missing in the ledger's database.
async fn is_in_the_ledger(gateway: &Gateway, entries: usize) {
    until("the ledger to have it", async || {
        let status = gateway.operator("/api/status").await.json().await;
        (status["ledger"]["entries"] == entries).then_some(())
    })
    .await;
}

async fn has_budget(gateway: &Gateway) {
    until("the reload", async || {
        let status = gateway.operator("/api/status").await.json().await;
        (status["budgets"].as_array().is_some_and(|all| all.len() == 1)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_one_of_two_had_counts_in_the_other_what_that_let_in_before_it_got_it() {
    let upstream = Upstream::start("only").await;
    let first = Gateway::start(&without_budget(&upstream)).await;
    let second = first.second(&with_budget(&upstream)).await;
    for _ in 0..20 {
        assert_eq!(ask(&first, MONEY).await, 200, "nothing limits it there");
    }
    assert_eq!(ask(&second, MONEY).await, 200);
    is_in_the_ledger(&first, 20).await;
    is_in_the_ledger(&second, 1).await;

    first.configure(&with_budget(&upstream));
    first.signal("HUP");
    has_budget(&first).await;

    let let_in = tokio::join!(let_in(&second, MONEY), let_in(&first, MONEY));
    let spent = spent(&first, "money", 21 + let_in.0 + let_in.1).await;
    assert!((900_000_000..=1_000_000_000).contains(&spent), "{spent} by {let_in:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spent_before_a_budget_counts_once_where_both_get_it_at_once() {
    let upstream = Upstream::start("only").await;
    let first = Gateway::start(&without_budget(&upstream)).await;
    let second = first.second(&without_budget(&upstream)).await;
    for _ in 0..20 {
        assert_eq!(ask(&first, MONEY).await, 200, "nothing limits it");
    }
    is_in_the_ledger(&first, 20).await;

    for gateway in [&first, &second] {
        gateway.configure(&with_budget(&upstream));
    }
    for gateway in [&first, &second] {
        gateway.signal("HUP");
    }
    tokio::join!(has_budget(&first), has_budget(&second));

    let let_in = tokio::join!(let_in(&second, MONEY), let_in(&first, MONEY));
    let spent = spent(&first, "money", 20 + let_in.0 + let_in.1).await;
    assert!((900_000_000..=1_000_000_000).contains(&spent), "{spent} by {let_in:?}");
}
