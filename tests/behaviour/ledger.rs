//! The books on disk: what was spent is known after a restart, a crash settles at the reservation, reports add up.

use serde_json::Value;

use crate::testkit::{Act, Config, Endpoint, Gate, Gateway, Refusing, Request, Upstream, chat, completion, run, until};

const PATH: &str = "/v1/chat/completions";

/// A thousand dollars per million tokens: the scripted answer's 18 tokens are 0.018 dollars.
const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

fn config(upstream: &Upstream, limits: &str) -> Config {
    Config::new().endpoint("only", Endpoint::of(upstream).with(DEAR)).model("assistant", &["only/served-model"]).app(
        "limited",
        "cw_test_limited",
        &["assistant"],
        &format!("limits = {{ {limits} }}"),
    )
}

async fn ask(gateway: &Gateway, tokens: u64) -> u16 {
    let mut body = chat("assistant");
    body["max_tokens"] = tokens.into();
    let answer = gateway.send(Request::post(PATH, &body).key("cw_test_limited")).await;
    let status = answer.status;
    answer.text().await;
    status
}

async fn status(gateway: &Gateway) -> Value {
    gateway.operator("/api/status").await.json().await
}

/// The report of the gateway's folder, once the ledger has so many entries.
async fn report(gateway: &Gateway, requests: u64) -> Value {
    let folder = gateway.state().parent().expect("the state lies in the gateway's folder").to_owned();
    until("the ledger to have come along", async || {
        let done = run(&["cost", "report", "--config", "causeway.toml", "--form", "json"], &folder).await;
        let report: Value = serde_json::from_slice(&done.stdout).ok()?;
        (report["total"]["requests"] == requests).then_some(report)
    })
    .await
}

#[tokio::test]
async fn a_restart_remembers_what_was_spent_this_month() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&config(&upstream, "usd_per_month = 0.06")).await;
    assert_eq!([ask(&gateway, 20).await, ask(&gateway, 20).await], [200, 200]);

    gateway.signal("TERM");
    gateway.left().await;
    let mut next = gateway.again("next.log", &[]);
    assert!(next.is_ready().await);

    assert_eq!(ask(&next, 20).await, 429);
    assert_eq!(status(&next).await["ledger"]["recovered"], 0);
}

#[tokio::test]
async fn a_request_whose_gateway_is_killed_pays_what_it_held_once_and_is_flagged() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&config(&upstream, "usd_per_month = 0.2")).await;
    assert_eq!(ask(&gateway, 20).await, 200);
    upstream.script([Act::reply(200, &completion("late")).after(&Gate::closed())]);

    let client = gateway.client();
    let mut body = chat("assistant");
    body["max_tokens"] = 100.into();
    let running =
        tokio::spawn(async move { client.try_send(Request::post(PATH, &body).key("cw_test_limited")).await.is_ok() });
    upstream.request(1).await;
    gateway.kill().await;
    running.abort();
    let mut next = gateway.again("next.log", &[]);
    assert!(next.is_ready().await);
    let recovered = status(&next).await["ledger"]["recovered"].clone();
    let refused = ask(&next, 100).await;

    let report = report(&next, 2).await;
    assert_eq!((recovered, refused), (1.into(), 429));
    assert_eq!(report["recovered"], 1);
    let usd = |row: &Value| row["usd"].as_str().expect("an amount").to_owned();
    let total: f64 = usd(&report["total"]).parse().expect("a number");
    assert!((0.118..0.2).contains(&total), "0.018 and what a hundred tokens and the prompt held: {total}");
    assert_eq!(usd(&report["total"]), usd(&report["by_app"]["limited"]));
}

/// What the report says now: its requests, what they were charged, and how many are open.
async fn reported(gateway: &Gateway) -> (u64, String, u64) {
    let done = run(&["cost", "report", "--config", "causeway.toml", "--form", "json"], gateway.folder()).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let number = |value: &Value| value.as_u64().expect("a number");
    let usd = report["total"]["usd"].as_str().expect("an amount").to_owned();
    (number(&report["total"]["requests"]), usd, number(&report["open"]))
}

/// What the report would say by the database alone.
async fn in_the_database(gateway: &Gateway) -> u64 {
    let (ledger, aside) =
        (gateway.state().join("ledger"), tempfile::tempdir().expect("a temporary folder can be made"));
    let entries = std::fs::read_dir(&ledger).expect("it was made").flatten();
    let journals: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    let journals: Vec<_> = journals.iter().filter(|name| name.to_string_lossy().starts_with("journal-")).collect();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        for name in &journals {
            std::fs::copy(from.join(name), to.join(name)).expect("both folders can be used");
        }
    };
    copy(&ledger, aside.path());
    for name in &journals {
        std::fs::remove_file(ledger.join(name)).expect("the folder can be written");
    }
    let (requests, ..) = reported(gateway).await;
    copy(aside.path(), &ledger);
    requests
}

#[tokio::test]
async fn the_report_of_a_gateway_that_runs_and_of_one_that_was_killed_has_what_its_journal_alone_has() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&config(&upstream, "usd_per_month = 100")).await;
    let (mut answered, mut kills) = (0_u64, 0);
    // The database takes the journal once a second, so that a kill finds something in the journal alone nearly always.
    loop {
        for _ in 0..3 {
            assert_eq!(ask(&gateway, 20).await, 200);
            answered += 1;
        }
        let all = |(requests, usd, open): (u64, String, u64)| {
            (requests, open) == (answered, 0) && usd == dollars(answered * 18)
        };
        until("the running gateway's report", async || all(reported(&gateway).await).then_some(())).await;
        let audited = async || (gateway.audit().records().len() as u64 == answered).then_some(());
        until("all records", audited).await;
        gateway.kill().await;
        assert!(all(reported(&gateway).await), "after kill {kills}: {:?}", reported(&gateway).await);
        let is_behind = in_the_database(&gateway).await < answered;
        assert!(all(reported(&gateway).await), "it is as it was");
        kills += 1;
        gateway = gateway.again(&format!("again-{kills}.log"), &[]);
        assert!(gateway.is_ready().await, "{}", gateway.log());
        assert!(all(reported(&gateway).await), "after the next start: {:?}", reported(&gateway).await);
        if is_behind {
            break;
        }
        assert!(kills < 20, "nothing ever was in the journal alone");
    }

    let gate = Gate::closed();
    upstream.script([Act::reply(200, &completion("late")).after(&gate)]);
    let client = gateway.client();
    let running = tokio::spawn(async move {
        let mut body = chat("assistant");
        body["max_tokens"] = 100.into();
        client.try_send(Request::post(PATH, &body).key("cw_test_limited")).await.is_ok()
    });
    upstream.request(answered as usize).await;
    let open = reported(&gateway).await;
    gateway.kill().await;
    running.abort();

    assert_eq!(open, (answered, dollars(answered * 18), 1), "what runs is in no sum, and is named");
    assert_eq!(reported(&gateway).await, open, "nor is what nobody will settle but the next start");
    let audited: u64 =
        gateway.audit().records().iter().filter_map(|record| record.end("charged_nano_usd").as_u64()).sum();
    assert_eq!(audited, answered * 18_000_000, "the audit log says the same");
}

/// So many thousandths as the report writes them.
fn dollars(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[tokio::test]
async fn every_table_of_the_report_adds_up_to_what_the_audit_log_says() {
    let (own, cloud) = (Upstream::start("own").await, Upstream::start("cloud").await);
    let fixed = "cost = { fixed = { usd_per_hour = 19.91 } }";
    let listed = "cost = { per_token = { catalogue = \"azure/eu/gpt-4o-2024-11-20\" } }";
    let config = Config::new()
        .endpoint("own", Endpoint::of(&own).with(fixed))
        .endpoint("cloud", Endpoint::of(&cloud).with(listed))
        .model("here", &["own/m"])
        .model("there", &["cloud/m"]);
    let gateway = Gateway::start(&config).await;
    for _ in 0..3 {
        gateway.chat(&chat("here")).await.text().await;
        gateway.chat(&chat("there")).await.text().await;
    }
    cloud.script([Act::bytes(200, "no usage").header("content-type", "application/json")]);
    gateway.chat(&chat("there")).await.text().await;

    let report = report(&gateway, 7).await;

    let nano = |row: &Value| {
        let (whole, fraction) = row["usd"].as_str().map(|usd| usd.split_once('.').unwrap_or((usd, ""))).expect("usd");
        whole.parse::<u64>().expect("a number") * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().expect("one")
    };
    let total = nano(&report["total"]);
    for table in ["by_app", "by_team", "by_model", "by_endpoint"] {
        let rows = report[table].as_object().expect("a table");
        assert_eq!(rows.values().map(nano).sum::<u64>(), total, "{table}");
    }
    let audited = async || {
        let records = gateway.audit().records();
        (records.len() == 7).then(|| records.iter().filter_map(|record| record.end("charged_nano_usd").as_u64()).sum())
    };
    let audited: u64 = until("all records", audited).await;
    assert_eq!(audited, total);
    // Three answers of 11 and 7 tokens at 2.75 and 11; one at its reservation. A tenth of the list price is for the place.
    assert!(total > 3 * (11 * 2_750 + 7 * 11_000), "{total}");
    assert_ne!(report["residency_premium_usd"], "0");
    assert_ne!(report["total"]["flagged_usd"], "0");
    assert_ne!(report["own_usd"], "0");
}

/// An own server and a cloud that serve one model, with these settings of it.
fn own_and_cloud(own: Endpoint, cloud: &Upstream, settings: &str) -> Config {
    Config::new()
        .endpoint("own", own.with("cost = { fixed = { usd_per_hour = 20 } }"))
        .endpoint("cloud", Endpoint::of(cloud).with(DEAR))
        .model_with("assistant", &["own/m", "cloud/m"], settings)
}

/// What the report says of the cloud's one answer, and what of that own capacity would have spared.
async fn charged_and_avoidable(gateway: &Gateway) -> (Value, Value) {
    let answer = gateway.chat(&chat("assistant")).await;
    assert_eq!(answer.header("x-causeway-endpoint"), Some("cloud"));
    answer.text().await;
    let report = report(gateway, 1).await;
    (report["total"]["usd"].clone(), report["avoidable_usd"].clone())
}

#[tokio::test]
async fn what_the_cloud_is_paid_while_the_own_server_refuses_connections_was_not_avoidable() {
    let (refusing, cloud) = (Refusing::new(), Upstream::start("cloud").await);
    let gateway = Gateway::start(&own_and_cloud(Endpoint::at(refusing.address), &cloud, "")).await;

    let found = charged_and_avoidable(&gateway).await;

    assert_eq!(found, ("0.018".into(), "0".into()));
}

#[tokio::test]
async fn what_the_cloud_is_paid_while_the_own_server_would_have_served_in_time_was_avoidable() {
    let (own, cloud) = (Upstream::start("own").await, Upstream::start("cloud").await);
    let settings = "shares = { \"cloud/m\" = 100 }";
    let gateway = Gateway::start(&own_and_cloud(Endpoint::of(&own), &cloud, settings)).await;

    let found = charged_and_avoidable(&gateway).await;

    assert_eq!(found, ("0.018".into(), "0.018".into()));
    assert_eq!(own.requests().len(), 0);
}

#[tokio::test]
async fn a_report_comes_as_a_table_as_lines_and_as_a_page_of_its_own() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&config(&upstream, "usd_per_month = 1")).await;
    ask(&gateway, 20).await;
    report(&gateway, 1).await;
    let folder = gateway.state().parent().expect("the state lies in the gateway's folder").to_owned();
    let form = async |form: &str| {
        let done = run(&["cost", "report", "--config", "causeway.toml", "--form", form], &folder).await;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };

    let (table, lines, page) = (form("table").await, form("csv").await, form("html").await);

    assert!(table.contains("limited") && table.contains("0.018"), "{table}");
    assert!(lines.lines().any(|line| line == "app,limited,1,11,7,0.018,0"), "{lines}");
    assert!(page.contains("<svg") && page.contains("limited"));
    assert!(
        !page.contains("http:") && !page.contains("https:") && !page.contains("<script"),
        "it needs nothing beside it"
    );
}

#[tokio::test]
async fn without_its_books_the_gateway_does_not_start() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&config(&upstream, "usd_per_month = 1")).await;
    gateway.signal("TERM");
    gateway.left().await;
    let ledger = gateway.state().join("ledger");
    std::fs::remove_dir_all(&ledger).expect("it was made");
    std::fs::write(&ledger, "a file where the folder belongs").expect("the state can be written");

    let mut next = gateway.again("next.log", &[]);

    assert!(!next.is_ready().await, "without its books nothing is served");
    assert!(next.log().contains("ledger"), "{}", next.log());
}
