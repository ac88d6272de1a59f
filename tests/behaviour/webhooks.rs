//! Thresholds of budgets call a signed webhook, once each, and nobody's request waits for it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::testkit::{
    Authority, Config, Endpoint, Gateway, Mood, Receiver, Request, Shared, Upstream, WEBHOOK_SECRET, chat, run, until,
    until_after, webhook_at,
};

const PATH: &str = "/v1/chat/completions";

/// Eighteen tokens, as the scripted answer reports them, are 0.018 dollars.
const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

/// A request is ten percent of the month: nine fit, and with the tenth something would be left over.
const BUDGET: &str =
    "[budget.team]\nteam = \"testers\"\nusd = 0.18\nthresholds = [50, 80, 100]\nwebhook = \"finance\"\n";

fn world(upstream: &Upstream, sections: &str) -> Config {
    Config::new()
        .endpoint("only", Endpoint::of(upstream).with(DEAR))
        .model("assistant", &["only/served-model"])
        .file("webhook.secret", WEBHOOK_SECRET)
        .section(sections)
}

fn body() -> Value {
    let mut body = chat("assistant");
    body["max_tokens"] = 18.into();
    body["user"] = "erika@example.org".into();
    body
}

async fn ask(gateway: &Gateway, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        let answer = gateway.send(Request::post(PATH, &body())).await;
        statuses.push(answer.status);
        answer.text().await;
    }
    statuses
}

fn percents(taken: &[crate::testkit::Taken]) -> Vec<u64> {
    taken.iter().map(|one| one.body["data"]["percent"].as_u64().expect("a number")).collect()
}

async fn metric(gateway: &Gateway, line: &str) {
    until(line, async || gateway.operator("/metrics").await.text().await.contains(line).then_some(())).await;
}

#[tokio::test]
async fn each_threshold_is_told_once_signed_and_without_a_prompt_or_a_name_also_over_a_restart() {
    let (upstream, receiver) = (Upstream::start("only").await, Receiver::start().await);
    let config = world(&upstream, &format!("{BUDGET}{}", receiver.section("finance", "")));
    let mut gateway = Gateway::start(&config).await;

    ask(&gateway, 5).await;
    let taken = receiver.taken(1).await;
    let data = &taken[0].body["data"];
    assert_eq!(taken[0].body["type"], "budget.threshold_reached");
    assert_eq!((&data["budget"], &data["percent"], &data["limit_usd"]), (&json!("team"), &json!(50), &json!("0.18")));
    assert_eq!((&data["spent_usd"], &data["period"], &data["user"]), (&json!("0.09"), &json!("month"), &Value::Null));
    assert!(!taken[0].text.contains("erika") && !taken[0].text.contains("p1:"), "{}", taken[0].text);
    metric(&gateway, "causeway_webhook_deliveries_total{webhook=\"finance\",outcome=\"delivered\"} 1").await;

    gateway.signal("TERM");
    gateway.left().await;
    let mut next = gateway.again("next.log", &[]);
    assert!(next.is_ready().await);
    let statuses = ask(&next, 5).await;

    let taken = receiver.taken(3).await;
    assert_eq!(percents(&taken), [50, 80, 100], "the first is not told again, and a refusal is the hundredth percent");
    assert_eq!(statuses, [200, 200, 200, 200, 429]);
    let ids: std::collections::BTreeSet<_> = taken.iter().map(|one| &one.id).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_and_costs_no_request() {
    let (upstream, receiver) = (Upstream::start("only").await, Receiver::start().await);
    receiver.in_moods([Mood::Status(500), Mood::Status(429), Mood::Status(302)]);
    let config = world(&upstream, &format!("{BUDGET}{}", receiver.section("finance", "")));
    let gateway = Gateway::start(&config).await;

    assert_eq!(ask(&gateway, 5).await, [200; 5]);
    receiver.came(1).await;
    metric(&gateway, "causeway_webhook_waiting{webhook=\"finance\"} 1").await;
    assert_eq!(ask(&gateway, 3).await, [200; 3], "while the receiver fails requests are answered");

    let mut told = percents(&receiver.taken(2).await);
    told.sort_unstable();
    assert_eq!(told, [50, 80]);
    metric(&gateway, "causeway_webhook_deliveries_total{webhook=\"finance\",outcome=\"failed\"} 3").await;
    metric(&gateway, "causeway_webhook_waiting{webhook=\"finance\"} 0").await;
    assert!(gateway.log().contains("ALARM webhook_failing"), "{}", gateway.log());
}

#[tokio::test]
async fn a_receiver_that_is_down_is_told_when_it_is_there_and_one_that_is_silent_holds_up_nobody() {
    let upstream = Upstream::start("only").await;
    let (gone, silent) = (Receiver::start().await, Receiver::start().await);
    silent.in_moods([Mood::Silent; 8]);
    let address = gone.address;
    drop(gone);
    let other = "[budget.other]\nusd = 0.18\nwebhook = \"silent\"\nthresholds = [50]\n";
    let hooks = webhook_at("finance", &format!("http://{address}/hooks/causeway"), "");
    let config = world(&upstream, &format!("{BUDGET}{other}{hooks}{}", silent.section("silent", "")));
    let gateway = Gateway::start(&config).await;

    assert_eq!(ask(&gateway, 5).await, [200; 5]);
    silent.came(1).await;
    metric(&gateway, "causeway_webhook_deliveries_total{webhook=\"finance\",outcome=\"failed\"}").await;
    assert_eq!(ask(&gateway, 1).await, [200]);
    let receiver = Receiver::at(address, None).await;

    assert_eq!(percents(&receiver.taken(1).await), [50]);
}

#[tokio::test]
async fn a_receiver_behind_tls_is_told_only_where_its_certificate_is_of_the_declared_authority() {
    let upstream = Upstream::start("only").await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (good, bad) = (Receiver::secure(&authority).await, Receiver::secure(&stranger).await);
    let other = "[budget.other]\nusd = 0.18\nwebhook = \"bad\"\nthresholds = [50]\n";
    let tls = "tls = { ca = \"ca.pem\" }\n";
    let hooks = format!("{}{}", good.section("finance", tls), bad.section("bad", tls));
    let gateway =
        Gateway::start(&world(&upstream, &format!("{BUDGET}{other}{hooks}")).file("ca.pem", &authority.pem())).await;

    ask(&gateway, 5).await;

    assert_eq!(percents(&good.taken(1).await), [50]);
    metric(&gateway, "causeway_webhook_deliveries_total{webhook=\"bad\",outcome=\"failed\"}").await;
}

#[tokio::test]
async fn a_user_who_has_spent_much_is_told_of_by_a_pseudonym() {
    let (upstream, receiver) = (Upstream::start("only").await, Receiver::start().await);
    let budget = "[budget.each]\neach_user = true\nusd = 0.18\nthresholds = [50]\nwebhook = \"finance\"\n";
    let gateway = Gateway::start(&world(&upstream, &format!("{budget}{}", receiver.section("finance", "")))).await;

    ask(&gateway, 5).await;

    let taken = receiver.taken(1).await;
    let user = taken[0].body["data"]["user"].as_str().expect("a text");
    assert!(user.starts_with("p1:") && !taken[0].text.contains("erika"), "{}", taken[0].text);
}

/// The number of a line of the metrics; zero where there is none.
async fn number(gateway: &Gateway, line: &str) -> u64 {
    let metrics = gateway.operator("/metrics").await.text().await;
    let found = metrics.lines().find_map(|known| known.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_default()
}

/// Each of these users spends ten percent with one request, which is eight thresholds.
const USERS: u64 = 530;
const THRESHOLDS: u64 = 8;

/// Most notices that wait for a receiver.
const MOST_WAITING: u64 = 4_096;

#[tokio::test]
async fn more_notices_than_may_wait_are_found_again_when_there_is_room_and_none_is_dropped() {
    const { assert!(USERS * THRESHOLDS > MOST_WAITING + THRESHOLDS, "it is no test below the bound") }
    let upstream = Upstream::start("only").await;
    let gone = Receiver::start().await;
    let address = gone.address;
    drop(gone);
    let budget =
        "[budget.each]\neach_user = true\nusd = 0.18\nthresholds = [1, 2, 3, 4, 5, 6, 7, 8]\nwebhook = \"finance\"\n";
    let hook = webhook_at("finance", &format!("http://{address}/hooks/causeway"), "");
    let gateway = Gateway::start(&world(&upstream, &format!("{budget}{hook}"))).await;
    let waiting = "causeway_webhook_waiting{webhook=\"finance\"}";
    let delivered = "causeway_webhook_deliveries_total{webhook=\"finance\",outcome=\"delivered\"}";
    let dropped = "causeway_webhook_deliveries_total{webhook=\"finance\",outcome=\"dropped\"}";

    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..8 {
        let client = gateway.client();
        lanes.spawn(async move {
            for user in (lane..USERS).step_by(8) {
                let mut body = body();
                body["user"] = format!("user-{user}").into();
                let answer = client.send(Request::post(PATH, &body)).await;
                assert_eq!(answer.status, 200, "user {user}");
                answer.text().await;
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.expect("no panic");
    }
    let full = until("the queue to be full", async || {
        let waiting = number(&gateway, waiting).await;
        (waiting > MOST_WAITING - THRESHOLDS).then_some(waiting)
    })
    .await;
    let lost = number(&gateway, dropped).await;
    let receiver = Receiver::at(address, None).await;
    // The wait after the latest failure is known only to be a minute at most by now.
    until_after(Duration::from_secs(64), "every notice to be delivered or to wait", async || {
        let (told, waiting) = (number(&gateway, delivered).await, number(&gateway, waiting).await);
        (told + waiting >= USERS * THRESHOLDS).then_some(())
    })
    .await;

    // One may be on its way.
    assert!(full <= MOST_WAITING + 1, "{full}");
    assert_eq!((lost, number(&gateway, dropped).await), (0, 0));
    let taken = receiver.taken(usize::try_from(USERS * THRESHOLDS - MOST_WAITING).expect("it is small")).await;
    let ids: std::collections::BTreeSet<_> = taken.iter().map(|one| &one.id).collect();
    assert_eq!(ids.len(), taken.len(), "each is told once");
}

#[tokio::test]
async fn three_gateways_tell_a_threshold_once() {
    let Some(shared) = Shared::start("thresholds that gateways tell").await else { return };
    let (upstream, receiver) = (Upstream::start("only").await, Receiver::start().await);
    let config = world(&upstream, &format!("{BUDGET}{}", receiver.section("finance", ""))).acting_as_one(&shared, "");
    let (one, two, three) = tokio::join!(Gateway::start(&config), Gateway::start(&config), Gateway::start(&config));

    // Each spends, and asks until the month's money is spent and not only held: by then it knows what the others have spent.
    for gateway in [&one, &two, &three, &one, &two, &three] {
        ask(gateway, 1).await;
    }
    for gateway in [&one, &two, &three] {
        until("the money to be spent", async || {
            let answer = gateway.send(Request::post(PATH, &body())).await;
            let wait: u64 = answer.header("retry-after")?.parse().ok()?;
            (answer.status == 429 && wait > 1).then_some(())
        })
        .await;
    }
    until("all to have seen every threshold", async || {
        let seen = |gateway: &Gateway| gateway.log().matches("ALARM budget_threshold").count() == 3;
        [&one, &two, &three].into_iter().all(seen).then_some(())
    })
    .await;
    for gateway in [&one, &two, &three] {
        metric(gateway, "causeway_webhook_waiting{webhook=\"finance\"}").await;
    }

    let mut told = percents(&receiver.taken(3).await);
    told.sort_unstable();
    assert_eq!(told, [50, 80, 100]);
}

#[tokio::test]
async fn a_network_plan_has_the_receivers() {
    let (upstream, receiver) = (Upstream::start("only").await, Receiver::start().await);
    let gateway = Gateway::start(&world(&upstream, &format!("{BUDGET}{}", receiver.section("finance", "")))).await;

    let printed = run(&["netplan", "--config", "causeway.toml", "--format", "csv"], gateway.folder()).await;
    let plan = String::from_utf8_lossy(&printed.stdout);

    let port = receiver.address.port().to_string();
    assert!(
        plan.lines().any(|line| line.contains("webhook") && line.contains("finance") && line.contains(&port)),
        "{plan}"
    );
}
