//! Several gateways that act as one: what they share in a real Valkey or Redis, and what it costs when that or one of them dies.
//!
//! The bounds are those of `docs/src/explanation/replicas.md`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::testkit::{
    Act, Authority, Client, Config, Endpoint, Gate, Gateway, Request, Shared, Store, Upstream, chat, chat_stream,
    completion, run, until, within,
};

pub(super) const PATH: &str = "/v1/chat/completions";
pub(super) const KEY: &str = "cw_test_limited";

/// A thousand dollars per million tokens: 18 tokens, as the scripted answer reports them, are 0.018 dollars.
const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

/// What one of them charges, in millionths of a dollar.
pub(super) const CHARGED: u64 = 18_000;

pub(super) fn fleet(upstream: &Upstream, shared: &Shared, limits: &str, on_loss: &str) -> Config {
    Config::new()
        .endpoint("only", Endpoint::of(upstream).with(DEAR))
        .model("assistant", &["only/served-model"])
        .app("limited", KEY, &["assistant"], &format!("limits = {{ {limits} }}"))
        .acting_as_one(shared, on_loss)
}

pub(super) async fn three(config: &Config) -> [Gateway; 3] {
    let (one, two, three) = tokio::join!(Gateway::start(config), Gateway::start(config), Gateway::start(config));
    [one, two, three]
}

/// A request whose answer has at most this many tokens.
pub(super) fn asking_for(tokens: u64) -> Value {
    let mut body = chat("assistant");
    body["max_tokens"] = tokens.into();
    body
}

/// How many requests were answered with each status.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) ok: u64,
    refused: u64,
    pub(super) unavailable: u64,
}

/// Asks every gateway, `lanes` requests at a time, until each has been asked `times`.
pub(super) async fn ask_all(gateways: &[Gateway], (lanes, times): (usize, usize), body: &Value) -> Answered {
    let mut running = tokio::task::JoinSet::new();
    for gateway in gateways {
        for _ in 0..lanes {
            let (client, body) = (gateway.client(), body.clone());
            running.spawn(async move {
                let mut answered = Answered::default();
                for _ in 0..times / lanes {
                    let asked = client.send(Request::post(PATH, &body).key(KEY));
                    let answer = within("a request to be answered", asked).await;
                    match answer.status {
                        200 => answered.ok += 1,
                        429 => answered.refused += 1,
                        503 => answered.unavailable += 1,
                        other => unreachable!("a request was answered with {other}"),
                    }
                    answer.text().await;
                }
                answered
            });
        }
    }
    let mut all = Answered::default();
    while let Some(one) = running.join_next().await {
        let one = one.expect("no panic");
        all = Answered {
            ok: all.ok + one.ok,
            refused: all.refused + one.refused,
            unavailable: all.unavailable + one.unavailable,
        };
    }
    all
}

/// What comes back of a limit by the minute in this time, rounded up.
fn back(per_minute: u64, time: Duration) -> u64 {
    (u128::from(per_minute) * time.as_millis()).div_ceil(60_000) as u64
}

#[tokio::test]
async fn three_gateways_at_ten_times_the_limit_let_in_the_limit_and_no_more() {
    let Some(shared) = Shared::start("limits that gateways share").await else { return };
    let upstream = Upstream::start("only").await;
    let gateways = three(&fleet(&upstream, &shared, "requests_per_minute = 320", "")).await;

    let begun = Instant::now();
    let answered = ask_all(&gateways, (16, 1_072), &asking_for(10)).await;
    let most = 320 + back(320, begun.elapsed());

    assert_eq!(answered.unavailable, 0, "{answered:?}");
    assert!(answered.ok <= most, "{answered:?}, and at most {most} are allowed");
    // What lies in another gateway for a moment is not lost to all of them: a part each, at most.
    assert!(answered.ok + 3 * 10 >= 320, "{answered:?}");
    assert_eq!(upstream.requests().len() as u64, answered.ok);
    let took = begun.elapsed().as_secs_f64();
    println!(
        "three gateways at ten times 320 a minute: {} let in of at most {most}, {} refused, {took:.1} s",
        answered.ok, answered.refused
    );
}

#[tokio::test]
async fn tokens_are_reserved_and_settled_over_all_gateways() {
    let limits = "limits = { tokens_per_minute = 3200 }";
    for (whose, of_app, of_model) in [("an app", limits, ""), ("a model", "", limits)] {
        let Some(shared) = Shared::start("tokens that gateways share").await else { return };
        let upstream = Upstream::start("only").await;
        let config = Config::new()
            .endpoint("only", Endpoint::of(&upstream).with(DEAR))
            .model_with("assistant", &["only/served-model"], of_model)
            .app("limited", KEY, &["assistant"], of_app)
            .acting_as_one(&shared, "");
        let gateways = three(&config).await;

        let begun = Instant::now();
        // Each holds more than the 18 that it uses, and gives the rest back.
        let answered = ask_all(&gateways, (8, 200), &asking_for(40)).await;
        let most = 3_200 + back(3_200, begun.elapsed());

        assert_eq!(answered.unavailable, 0, "{whose}: {answered:?}");
        assert!(answered.ok * 18 <= most, "{whose}: {answered:?} at 18 tokens, and at most {most} are allowed");
        // Far more than each reservation would let in if nothing came back.
        assert!(answered.ok > 3_200 / 47, "{whose}: {answered:?}");
        let took = begun.elapsed().as_secs_f64();
        println!(
            "3,200 tokens a minute of {whose}: {} used of at most {most}, {} refused, {took:.1} s",
            answered.ok * 18,
            answered.refused
        );
    }
}

#[tokio::test]
async fn a_user_has_one_rate_whichever_gateway_it_comes_to() {
    let of = |user: &str| {
        let mut body = asking_for(10);
        body["user"] = user.into();
        body
    };
    for (limits, per_minute) in [("user_requests_per_minute = 6", 6), ("user_requests_per_second = 6", 360)] {
        let Some(shared) = Shared::start("users that gateways share").await else { return };
        let upstream = Upstream::start("only").await;
        let gateways = three(&fleet(&upstream, &shared, limits, "")).await;

        let begun = Instant::now();
        let ann = ask_all(&gateways, (2, 20), &of("ann")).await;
        let most = 6 + back(per_minute, begun.elapsed());
        let bob = ask_all(&gateways, (1, 1), &of("bob")).await;

        assert!((6..=most).contains(&ann.ok), "{limits}: {ann:?}, and at most {most} are allowed");
        assert_eq!((bob.ok, bob.refused), (3, 0), "{limits}: {bob:?}");
    }
}

#[tokio::test]
async fn requests_in_flight_are_counted_over_all_gateways_and_come_back_when_one_is_killed() {
    let Some(shared) = Shared::start("requests in flight that gateways share").await else { return };
    let upstream = Upstream::start("only").await;
    let mut gateways = three(&fleet(&upstream, &shared, "in_flight = 6", "")).await;
    let gate = Gate::closed();
    upstream.script((0..40).map(|_| Act::reply(200, &completion("late")).after(&gate)));

    let mut running = tokio::task::JoinSet::new();
    for (gateway, times) in gateways.iter().zip([4, 2, 0]) {
        for _ in 0..times {
            let client = gateway.client();
            running.spawn(async move {
                client.try_send(Request::post(PATH, &asking_for(10)).key(KEY)).await.map(|answer| answer.status).ok()
            });
        }
    }
    until("six requests to be upstream", async || (upstream.requests().len() == 6).then_some(())).await;
    let beyond = ask_all(&gateways, (4, 20), &asking_for(10)).await;
    gateways[0].kill().await;
    let killed = Instant::now();
    // What the dead one held is free when its part is over; those of the living stay counted.
    let freed = until("a place of the dead gateway to be free", async || {
        let client = gateways[2].client();
        let late = tokio::spawn(async move { client.send(Request::post(PATH, &asking_for(10)).key(KEY)).await.status });
        let came = until("it to come or to be refused", async || {
            let came = upstream.requests().len() > 6;
            (came || late.is_finished()).then_some(came)
        })
        .await;
        came.then_some(late)
    })
    .await;
    gate.open();
    println!(
        "6 in flight: {beyond:?} beyond; a place of the dead is free after {:.1} s",
        killed.elapsed().as_secs_f64()
    );

    assert_eq!((beyond.ok, beyond.refused), (0, 60), "{beyond:?}");
    assert_eq!(freed.await.expect("no panic"), 200);
    let mut ended = Vec::new();
    while let Some(status) = within("the requests to end", running.join_next()).await {
        ended.push(status.expect("no panic"));
    }
    assert_eq!(ended.iter().filter(|status| **status == Some(200)).count(), 2, "{ended:?}");
}

#[tokio::test]
async fn a_budget_of_one_dollar_stops_at_one_dollar_for_three_gateways_streams_and_callers_that_leave() {
    let Some(shared) = Shared::start("budgets that gateways share").await else { return };
    let upstream = Upstream::start("only").await;
    let gateways = three(&fleet(&upstream, &shared, "usd_per_month = 1", "")).await;
    let mut stream = chat_stream("assistant");
    stream["max_tokens"] = json!(20);

    // Callers that leave pay what they held.
    let gate = Gate::closed();
    upstream.script([Act::reply(200, &completion("late")).after(&gate)]);
    let client = gateways[0].client();
    let leaving =
        tokio::spawn(async move { client.try_send(Request::post(PATH, &asking_for(20)).key(KEY)).await.is_ok() });
    upstream.request(0).await;
    leaving.abort();
    gate.open();
    let streamed = ask_all(&gateways, (2, 10), &stream).await;
    let whole = ask_all(&gateways, (8, 200), &asking_for(20)).await;

    let rest = use_up(&gateways).await;

    let sent = upstream.requests().len() as u64;
    let charged = spent(&gateways).await;
    assert_eq!(sent, streamed.ok + whole.ok + rest + 1, "{streamed:?} {whole:?}");
    assert_eq!((streamed.unavailable, whole.unavailable), (0, 0));
    assert!(charged <= 1_000_000, "{charged} millionths of a dollar");
    assert!(charged >= (sent - 1) * CHARGED, "{charged} millionths of a dollar for {sent} answers");
    println!("three gateways and a dollar: {sent} answers, {charged} millionths of a dollar");
}

/// Asks until less is left of the dollar than the next request could cost; gives how many were let in.
async fn use_up(gateways: &[Gateway]) -> u64 {
    let mut ok = 0;
    until("the dollar to be used up", async || {
        ok += ask_all(gateways, (1, 1), &asking_for(20)).await.ok;
        (spent(gateways).await > 1_000_000 - 30_000).then_some(())
    })
    .await;
    ok
}

/// What the ledgers of all say, in millionths of a dollar.
pub(super) async fn spent(gateways: &[Gateway]) -> u64 {
    let mut all = 0;
    for gateway in gateways {
        let settled = until("every request to be settled", async || {
            let status: Value = gateway.operator("/api/status").await.json().await;
            let app = status["apps"].as_array()?.iter().find(|app| app["app"] == "limited")?.clone();
            (app["open"] == 0).then_some(app)
        })
        .await;
        let dollars: f64 = settled["usd"]["settled"].as_str().and_then(|usd| usd.parse().ok()).expect("an amount");
        all += (dollars * 1e6).round() as u64;
    }
    all
}

#[tokio::test]
async fn a_gateway_that_was_killed_tells_what_it_spent_when_it_is_back_and_the_dollar_holds() {
    let Some(shared) = Shared::start("budgets over a killed gateway").await else { return };
    let upstream = Upstream::start("only").await;
    let mut gateways = three(&fleet(&upstream, &shared, "usd_per_month = 1", "")).await;
    let before = ask_all(&gateways[..1], (1, 10), &asking_for(20)).await;
    let gate = Gate::closed();
    upstream.script((0..4).map(|_| Act::reply(200, &completion("never")).after(&gate)));
    for _ in 0..4 {
        let client = gateways[0].client();
        tokio::spawn(async move { client.try_send(Request::post(PATH, &asking_for(20)).key(KEY)).await.is_ok() });
    }
    until("all of them to be upstream", async || (upstream.requests().len() == 14).then_some(())).await;

    gateways[0].kill().await;
    let mut again = gateways[0].again("again.log", &[]);
    assert!(again.is_ready().await);
    gate.open();
    gateways[0] = again;
    let after = ask_all(&gateways, (4, 100), &asking_for(20)).await;
    // What the process before spent is in its ledger and not in this one's counts of settlements.
    let remembered = ten_and_four(&gateways[0]).await;
    let rest = until("the dollar to be used up", async || {
        let rest = ask_all(&gateways, (1, 1), &asking_for(20)).await.ok;
        let all = remembered + spent(&gateways).await;
        (rest == 0 && all > 1_000_000 - 30_000).then_some(all)
    })
    .await;

    assert_eq!((before.ok, after.unavailable), (10, 0), "{after:?}");
    assert!(rest <= 1_000_000, "{rest} millionths of a dollar: {after:?}");
    println!("three gateways and a dollar, one of them killed: {rest} millionths of a dollar");
}

/// What the ledger says of the ten that were answered and the four that were not before the gateway was killed.
async fn ten_and_four(gateway: &Gateway) -> u64 {
    let folder = gateway.state().parent().expect("the state lies in the gateway's folder").to_owned();
    let done = run(&["cost", "report", "--config", "causeway.toml", "--form", "json"], &folder).await;
    let report: Value = serde_json::from_slice(&done.stdout).expect("a report");
    assert_eq!(report["recovered"], 4, "{report}");
    let flagged: f64 = report["total"]["flagged_usd"].as_str().and_then(|usd| usd.parse().ok()).expect("an amount");
    (flagged * 1e6).round() as u64 + 10 * CHARGED
}

#[tokio::test]
async fn a_store_that_dies_is_told_again_and_the_sum_of_all_stays_within_the_limit() {
    let Some(mut shared) = Shared::start("the loss of the shared store").await else { return };
    let upstream = Upstream::start("only").await;
    let gateways = three(&fleet(&upstream, &shared, "requests_per_minute = 320, usd_per_month = 4", "")).await;
    let begun = Instant::now();
    let first = ask_all(&gateways, (4, 40), &asking_for(20)).await;

    shared.store.kill().await;
    until("every gateway to notice", async || {
        for gateway in &gateways {
            let status: Value = gateway.operator("/api/status").await.json().await;
            status["store"]["lost"].as_str()?;
        }
        Some(())
    })
    .await;
    let without = ask_all(&gateways, (2, 20), &asking_for(20)).await;
    let metrics = gateways[0].operator("/metrics").await.text().await;
    let refused = gateways[0].client().send(Request::post(PATH, &asking_for(20)).key(KEY)).await;
    let (status, code) = (refused.status, refused.code().await);
    shared.store.come_back().await;
    until("every gateway to find it", async || {
        for gateway in &gateways {
            let status: Value = gateway.operator("/api/status").await.json().await;
            (status["store"]["lost"].is_null() && status["store"]["connected"] == true).then_some(())?;
        }
        Some(())
    })
    .await;
    // For four seconds it grants nothing, so that all can tell it what they hold.
    let one = asking_for(20);
    until("the store to grant again", async || (ask_all(&gateways[..1], (1, 1), &one).await.ok == 1).then_some(()))
        .await;
    let again = ask_all(&gateways, (4, 400), &asking_for(20)).await;

    assert_eq!((first.ok, first.unavailable), (120, 0), "{first:?}");
    // What was taken ahead may still be used for a moment.
    assert!(without.ok <= 3 * 20 && without.unavailable > 0, "{without:?}");
    assert_eq!((status, code.as_str()), (503, "ledger_unavailable"));
    assert!(metrics.contains("causeway_store_lost 1"), "{metrics}");
    let most = 320 + back(320, begun.elapsed());
    let all = first.ok + without.ok + 1 + again.ok;
    assert!(all <= most, "{all} were let in, and at most {most} are allowed: {first:?} {without:?} {again:?}");
    assert!(all * CHARGED <= 4_000_000, "{all} at 0.018 dollars each");
    assert_eq!(upstream.requests().len() as u64, all);
    println!("three gateways whose store died and came back: {all} let in of at most {most}");
}

#[tokio::test]
async fn a_store_that_is_emptied_while_it_is_connected_is_told_again_and_the_dollar_holds() {
    let Some(shared) = Shared::start("a shared store that is emptied while it runs").await else { return };
    let upstream = Upstream::start("only").await;
    let gateways = three(&fleet(&upstream, &shared, "usd_per_month = 1", "")).await;
    // One gateway spends most of it, and is asked nothing while the others find the store empty.
    let first = ask_all(&gateways[..1], (1, 40), &asking_for(20)).await;
    spent(&gateways[..1]).await;

    shared.store.forget().await;
    let others = ask_all(&gateways[1..], (2, 100), &asking_for(20)).await;
    let rest = use_up(&gateways).await;
    let charged = spent(&gateways).await;

    assert_eq!((first.ok, first.unavailable), (40, 0), "{first:?}");
    assert_eq!(upstream.requests().len() as u64, first.ok + others.ok + rest);
    assert!(charged <= 1_000_000, "{charged} millionths of a dollar: {first:?} {others:?} {rest}");
    for gateway in &gateways {
        assert!(gateway.log().contains("the shared store has lost its memory"), "{}", gateway.log());
    }
}

#[tokio::test]
async fn a_store_that_hangs_holds_nobody_up_and_goes_on_where_it_was() {
    let Some(shared) = Shared::start("a shared store that hangs").await else { return };
    let upstream = Upstream::start("only").await;
    let gateways = three(&fleet(&upstream, &shared, "requests_per_minute = 320", "")).await;
    let begun = Instant::now();
    let first = ask_all(&gateways, (4, 40), &asking_for(10)).await;

    shared.store.signal("STOP");
    let hanging = Instant::now();
    let without = ask_all(&gateways, (2, 40), &asking_for(10)).await;
    let took = hanging.elapsed();
    shared.store.signal("CONT");
    until("every gateway to find it", async || {
        for gateway in &gateways {
            let status: Value = gateway.operator("/api/status").await.json().await;
            (status["store"]["lost"].is_null() && status["store"]["losses"].as_u64() >= Some(1)).then_some(())?;
        }
        Some(())
    })
    .await;
    let again = ask_all(&gateways, (4, 200), &asking_for(10)).await;

    let (all, most) = (first.ok + without.ok + again.ok, 320 + back(320, begun.elapsed()));
    assert!(without.unavailable > 0, "{without:?}");
    // Forty requests, one after the other in each of two lanes: had each waited, it would be a minute.
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(all <= most && again.ok > 0, "{all} of {most}: {first:?} {without:?} {again:?}");
}

#[tokio::test]
async fn without_the_store_each_gateway_goes_on_with_its_share_where_that_was_chosen() {
    let Some(mut shared) = Shared::start("the share of one gateway").await else { return };
    let upstream = Upstream::start("only").await;
    let shares = "on_loss = { local-share = { of = 3 } }";
    let gateways = three(&fleet(&upstream, &shared, "requests_per_minute = 320", shares)).await;
    let begun = Instant::now();
    shared.store.kill().await;

    let answered = ask_all(&gateways, (4, 400), &asking_for(10)).await;

    let most = 320 + back(320, begun.elapsed());
    assert_eq!(answered.unavailable, 0, "{answered:?}");
    assert!(answered.ok <= most, "{answered:?}, and at most {most} are allowed");
    assert!(answered.ok >= 3 * 106, "each has a third: {answered:?}");
}

#[tokio::test]
async fn a_store_is_spoken_to_over_tls_with_a_password_and_to_no_other_certificate() {
    let authority = Authority::new();
    let Some(store) = Store::secure("a store behind TLS and a password", &authority, "hush-hush").await else { return };
    let Some(shared) = Shared::with(store, "a store behind TLS and a password").await else { return };
    let upstream = Upstream::start("only").await;
    let lines = "tls = { ca = \"ca.pem\" }\npassword = { file = \"store.key\" }";
    let config = |ca: &Authority, password: &str| {
        let fleet = fleet(&upstream, &shared, "requests_per_minute = 600", lines);
        fleet.file("ca.pem", &ca.pem()).file("store.key", password)
    };
    let good = Gateway::start(&config(&authority, "hush-hush")).await;
    let wrong = Gateway::start(&config(&authority, "guessed")).await;
    let elsewhere = Gateway::start(&config(&Authority::new(), "hush-hush")).await;
    // Nobody has met it before, so that it first waits for others.
    let one = asking_for(10);
    let good = [good];
    until("the store to grant", async || (ask_all(&good, (1, 1), &one).await.ok == 1).then_some(())).await;

    let answered = ask_all(&good, (1, 3), &asking_for(10)).await;
    let refused = ask_all(&[wrong, elsewhere], (1, 2), &asking_for(10)).await;

    assert_eq!((answered.ok, refused.ok, refused.unavailable), (3, 0, 4), "{answered:?} {refused:?}");
}

#[tokio::test]
async fn what_is_said_of_a_lost_store_holds_no_password() {
    let authority = Authority::new();
    let Some(store) = Store::secure("the words for a lost store", &authority, "hush-hush").await else { return };
    let Some(shared) = Shared::with(store, "the words for a lost store").await else { return };
    let upstream = Upstream::start("only").await;
    let lines = "tls = { ca = \"ca.pem\" }\nuser = \"nobody\"\npassword = { file = \"store.key\" }";
    let config = fleet(&upstream, &shared, "requests_per_minute = 600", lines);
    let gateway = Gateway::start(&config.file("ca.pem", &authority.pem()).file("store.key", "guessed-4711")).await;

    let why = until("the store to be lost", async || {
        let status: Value = gateway.operator("/api/status").await.json().await;
        status["store"]["lost"].as_str().map(str::to_owned)
    })
    .await;

    assert_eq!(why, "the store answers WRONGPASS");
    assert!(gateway.log().contains("ALARM store_lost") && !gateway.log().contains("guessed-4711"), "{}", gateway.log());
}

/// The key of an administrator who may do everything by hand.
const ADMIN: &str = "cw_key_of_security";

fn with_security(config: Config) -> Config {
    config.administrator("sam", "security", ADMIN)
}

/// Does something as the administrator; gives the status.
async fn act(gateway: &Gateway, path: &str, because: &str) -> u16 {
    let body = json!({ "app": "limited", "because": because });
    Client::plain(gateway.admin()).send(Request::post(path, &body).key(ADMIN)).await.status
}

async fn is_revoked(gateway: &Gateway) -> bool {
    gateway.client().send(Request::post(PATH, &asking_for(5)).key(KEY)).await.status == 401
}

#[tokio::test]
async fn what_is_revoked_at_one_gateway_is_revoked_at_all_within_ten_seconds_and_over_a_restart() {
    let Some(mut shared) = Shared::start("what a fleet holds back").await else { return };
    let upstream = Upstream::start("only").await;
    let mut gateways = three(&with_security(fleet(&upstream, &shared, "requests_per_minute = 6000", ""))).await;

    let begun = Instant::now();
    assert_eq!(act(&gateways[0], "/api/revoke", "host taken over").await, 200);
    assert!(is_revoked(&gateways[0]).await);
    for gateway in &gateways {
        until("the others to revoke it too", async || is_revoked(gateway).await.then_some(())).await;
    }
    let took = begun.elapsed();
    // The store forgets everything, and one gateway is started anew: neither lets anything go.
    shared.store.kill().await;
    gateways[1].kill().await;
    shared.store.come_back().await;
    let mut again = gateways[1].again("again.log", &[]);
    assert!(again.is_ready().await);
    gateways[1] = again;
    let after_restart = is_revoked(&gateways[1]).await;
    until("it to be let go", async || {
        (act(&gateways[2], "/api/reinstate", "the host is new").await == 200).then_some(())
    })
    .await;
    for gateway in &gateways {
        until("all to let it go", async || (!is_revoked(gateway).await).then_some(())).await;
    }

    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(after_restart);
    let told = gateways[2].audit().of_kind("admin");
    assert!(told.iter().any(|event| event["action"] == "fleet_holds_back"), "{told:?}");
    // Held back again within the same second it is held back again everywhere.
    assert_eq!(act(&gateways[2], "/api/revoke", "it was not").await, 200);
    for gateway in &gateways {
        until("all to revoke it again", async || is_revoked(gateway).await.then_some(())).await;
    }
}

#[tokio::test]
async fn nothing_is_let_go_while_the_others_cannot_be_told() {
    let Some(mut shared) = Shared::start("letting go in a fleet").await else { return };
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&with_security(fleet(&upstream, &shared, "requests_per_minute = 6000", ""))).await;
    assert_eq!(act(&gateway, "/api/revoke", "host taken over").await, 200);
    shared.store.kill().await;

    let status = act(&gateway, "/api/reinstate", "the host is new").await;

    assert_eq!(status, 409);
    assert!(is_revoked(&gateway).await);
}
