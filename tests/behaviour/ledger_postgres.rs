//! The books in a real PostgreSQL, which several gateways share: what they say, and what becomes of them when it dies, hangs,
//! refuses or was tampered with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::testkit::{
    Act, Authority, Client, Config, Endpoint, Gate, Gateway, Postgres, Request, Store, Upstream, causeway, chat,
    completion, full, run, until, until_after,
};

const PATH: &str = "/v1/chat/completions";
pub(super) const KEY: &str = "cw_test_limited";

/// A thousand dollars per million tokens: the scripted answer's 18 tokens are 0.018 dollars.
pub(super) const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

/// What one answer charges, in billionths of a dollar.
const CHARGED: u64 = 18_000_000;

/// What the entries sum up to.
const SUM: &str = "SELECT coalesce(sum(nano_usd + lost_nano_usd), 0) FROM causeway.entry";

/// What the sums by day say.
const SUMMED: &str = "SELECT coalesce(sum(nano_usd), 0) FROM causeway.spent";

pub(super) const COUNT: &str = "SELECT count(*) FROM causeway.entry";

/// A database, the authority of its certificate, and an upstream.
pub(super) struct World {
    pub(super) database: Postgres,
    pub(super) authority: Authority,
    pub(super) upstream: Upstream,
}

impl World {
    pub(super) async fn of(what: &str) -> Option<Self> {
        let authority = Authority::new();
        let database = Postgres::start(what, Some(&authority.issue())).await?;
        Some(Self { database, authority, upstream: Upstream::start("only").await })
    }

    pub(super) fn config(&self, limits: &str) -> Config {
        self.without_books(limits).keeping_books(&self.database, &self.authority)
    }

    pub(super) fn without_books(&self, limits: &str) -> Config {
        Config::new()
            .endpoint("only", Endpoint::of(&self.upstream).with(DEAR))
            .model("assistant", &["only/served-model"])
            .app("limited", KEY, &["assistant"], &format!("limits = {{ {limits} }}"))
    }

    /// Waits until the database has so many entries.
    pub(super) async fn has(&self, entries: u64) {
        until("the database to have every entry", async || {
            let count = self.database.try_tell(COUNT).await.ok()?;
            (count == [entries.to_string()]).then_some(())
        })
        .await;
    }
}

fn asking_for(tokens: u64) -> Value {
    let mut body = chat("assistant");
    body["max_tokens"] = tokens.into();
    body
}

pub(super) async fn ask(gateway: &Gateway, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        let answer = gateway.send(Request::post(PATH, &asking_for(20)).key(KEY)).await;
        statuses.push(answer.status);
        answer.text().await;
    }
    statuses
}

/// What `/api/status` says of the ledger.
async fn standing(gateway: &Gateway) -> Value {
    let status: Value = gateway.operator("/api/status").await.json().await;
    status["ledger"].clone()
}

async fn report(gateway: &Gateway) -> Result<Value, (Option<i32>, String)> {
    let done = run(&["cost", "report", "--config", "causeway.toml", "--form", "json"], gateway.folder()).await;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    serde_json::from_slice(&done.stdout).map_err(|_| (done.status.code(), said))
}

/// The dollars of a row, in billionths.
fn nano(row: &Value) -> u64 {
    let usd = row["usd"].as_str().expect("an amount");
    let (whole, fraction) = usd.split_once('.').unwrap_or((usd, ""));
    whole.parse::<u64>().expect("a number") * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().expect("one")
}

/// What the audit logs of these gateways charged, once they have so many ends.
async fn audited(gateways: &[Gateway], ends: usize) -> u64 {
    until("every end to be recorded", async || {
        let records: Vec<_> = gateways.iter().flat_map(|gateway| gateway.audit().records()).collect();
        (records.len() == ends)
            .then(|| records.iter().filter_map(|record| record.end("charged_nano_usd").as_u64()).sum())
    })
    .await
}

#[tokio::test]
async fn what_three_gateways_spend_is_in_one_ledger_and_each_report_says_the_sum_to_the_last_unit() {
    let Some(world) = World::of("a ledger that gateways share").await else { return };
    let config = world.config("usd_per_month = 100");
    let (one, two, three) = tokio::join!(Gateway::start(&config), Gateway::start(&config), Gateway::start(&config));
    let gateways = [one, two, three];

    for (gateway, times) in gateways.iter().zip([5, 7, 9]) {
        assert_eq!(ask(gateway, times).await, vec![200; times]);
    }
    world.has(21).await;

    let audited = audited(&gateways, 21).await;
    for gateway in &gateways {
        let report = report(gateway).await.expect("a report");
        assert_eq!((&report["total"]["requests"], nano(&report["total"])), (&21.into(), audited), "{report}");
    }
    let sums = (world.database.number(SUM).await, world.database.number(SUMMED).await);
    assert_eq!((audited, sums), (21 * CHARGED, (21 * CHARGED, 21 * CHARGED)));
    let by_gateway = world.database.tell("SELECT count(*) FROM causeway.entry GROUP BY gateway ORDER BY 1").await;
    assert_eq!(by_gateway, ["5", "7", "9"]);
    let ledger = standing(&gateways[0]).await;
    assert_eq!(
        (&ledger["kept_in"], &ledger["entries"], &ledger["failing"]),
        (&"postgresql".into(), &5.into(), &Value::Null)
    );
    assert!(!gateways[0].state().join("ledger/ledger.sqlite").exists(), "it keeps none of its own");
}

/// Requests while the database is gone, and what is left to say when it is back.
async fn outlives_the_database(signal: &str) {
    let Some(mut world) = World::of("the loss of the ledger's database").await else { return };
    let gateway = Gateway::start(&world.config("usd_per_month = 100")).await;
    assert_eq!(ask(&gateway, 3).await, [200; 3]);
    world.has(3).await;

    world.database.end(signal).await;
    assert_eq!(ask(&gateway, 10).await, [200; 10]);
    let lost = until("the gateway to notice", async || {
        let ledger = standing(&gateway).await;
        ledger["failing"].is_string().then_some(ledger)
    })
    .await;
    let metrics = gateway.operator("/metrics").await.text().await;
    assert_eq!(ask(&gateway, 10).await, [200; 10]);
    world.database.come_back().await;
    world.has(23).await;
    let ledger = until("the gateway to have caught up", async || {
        let ledger = standing(&gateway).await;
        (ledger["failing"].is_null() && ledger["behind_bytes"] == 0).then_some(ledger)
    })
    .await;

    assert!(lost["behind_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{lost}");
    assert_eq!(lost["most_behind_bytes"], 256 << 20);
    assert!(metrics.contains("causeway_ledger_failing 1"), "{metrics}");
    assert!(gateway.log().contains("ALARM ledger_behind"), "{}", gateway.log());
    assert_eq!((&ledger["entries"], &ledger["recovered"]), (&23.into(), &0.into()), "{ledger}");
    let (sum, summed) = (world.database.number(SUM).await, world.database.number(SUMMED).await);
    assert_eq!((sum, summed), (23 * CHARGED, 23 * CHARGED));
}

#[tokio::test]
async fn while_the_database_restarts_requests_go_on_and_everything_is_posted_once() {
    outlives_the_database("INT").await;
}

#[tokio::test]
async fn while_the_database_is_killed_requests_go_on_and_everything_is_posted_once() {
    outlives_the_database("KILL").await;
}

#[tokio::test]
async fn a_database_that_hangs_holds_no_request_up_and_what_it_does_later_counts_once() {
    let Some(world) = World::of("a ledger's database that hangs").await else { return };
    let gateway = Gateway::start(&world.config("usd_per_month = 100")).await;
    assert_eq!(ask(&gateway, 1).await, [200]);
    world.has(1).await;

    world.database.signal_those_of_gateways("STOP").await;
    assert_eq!(ask(&gateway, 5).await, [200; 5]);
    // It is given up after ten seconds, and asked anew over another connection.
    until_after(Duration::from_secs(10), "another connection to be made", async || {
        (world.database.number(COUNT).await == 6).then_some(())
    })
    .await;
    // The first connection's process now reads what it was told before, and posts it a second time.
    world.database.signal_those_of_gateways("CONT").await;
    until("the process that hung to be done", async || {
        let serving = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'causeway'";
        (world.database.number(serving).await == 1).then_some(())
    })
    .await;

    assert_eq!(world.database.number(COUNT).await, 6);
    assert_eq!((world.database.number(SUM).await, world.database.number(SUMMED).await), (6 * CHARGED, 6 * CHARGED));
}

/// Starts a gateway that is refused by its database, and gives what it says.
async fn refused(good: &Gateway, log: &str) -> String {
    let mut next = good.again(log, &[]);
    assert!(!next.is_ready().await, "it must not serve: {}", next.log());
    next.log()
}

#[tokio::test]
async fn a_gateway_that_its_database_refuses_does_not_start_and_says_why_without_the_password() {
    let Some(world) = World::of("a ledger's database that refuses").await else { return };
    let mut gateway = Gateway::start(&world.config("usd_per_month = 100")).await;
    assert_eq!(ask(&gateway, 1).await, [200]);
    gateway.signal("TERM");
    gateway.left().await;
    let epochs = || std::fs::read_dir(gateway.state().join("audit")).expect("it is there").count();
    let before = epochs();

    gateway.replace_file("ledger.key", "guessed-4711");
    let password = refused(&gateway, "password.log").await;
    gateway.replace_file("ledger.key", crate::testkit::PASSWORD);
    gateway.replace_file("ledger-ca.pem", &Authority::new().pem());
    let authority = refused(&gateway, "authority.log").await;
    gateway.replace_file("ledger-ca.pem", &world.authority.pem());
    world.database.tell("UPDATE causeway.format SET version = 2").await;
    let newer = refused(&gateway, "newer.log").await;
    let unread = report(&gateway).await;
    let after = epochs();
    world.database.tell("UPDATE causeway.format SET version = 1").await;
    let mut next = gateway.again("next.log", &[]);

    assert!(next.is_ready().await, "{}", next.log());
    assert!(password.contains("password authentication failed") && !password.contains("4711"), "{password}");
    assert!(authority.contains("certificate"), "{authority}");
    assert!(newer.contains("has format 2") && newer.contains("run the newer release"), "{newer}");
    assert!(matches!(&unread, Err((Some(3), said)) if said.contains("has format 2")), "{unread:?}");
    assert_eq!(before, after, "a start that fails leaves no epoch behind");
}

#[tokio::test]
async fn a_database_that_speaks_no_tls_or_shows_another_name_is_told_nothing() {
    let authority = Authority::new();
    let Some(plain) = Postgres::start("a ledger's database without TLS", None).await else { return };
    let other_name = authority.issue_for(&["elsewhere.test"]);
    let Some(other) = Postgres::start("a ledger's database of another name", Some(&other_name)).await else { return };
    let upstream = Upstream::start("only").await;
    let mut said = Vec::new();
    for database in [&plain, &other] {
        let config = Config::serving(&upstream).keeping_books(database, &authority);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, content) in &config.files {
            std::fs::write(folder.path().join(name), content).expect("the folder can be written");
        }
        let text = config.text([9001, 9002, 9003]);
        std::fs::write(folder.path().join("causeway.toml"), text).expect("the folder can be written");
        let done = causeway(&["cost", "report", "--config", "causeway.toml"], folder.path()).output().await;
        let done = done.expect("the binary runs");
        assert_eq!(done.status.code(), Some(3));
        said.push(String::from_utf8_lossy(&done.stderr).into_owned());
    }

    assert!(said[0].contains("does not speak TLS"), "{}", said[0]);
    assert!(said[1].contains("certificate"), "{}", said[1]);
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'causeway'";
    assert_eq!((plain.number(connected).await, other.number(connected).await), (0, 0));
}

#[tokio::test]
async fn a_row_of_somebody_else_stops_the_posting_loses_nothing_and_is_named() {
    let Some(world) = World::of("a foreign row in the ledger").await else { return };
    let gateway = Gateway::start(&world.config("usd_per_month = 100")).await;
    let gate = Gate::closed();
    world.upstream.script([Act::reply(200, &completion("late")).after(&gate)]);
    let client = gateway.client();
    let running = tokio::spawn(async move { client.send(Request::post(PATH, &asking_for(20)).key(KEY)).await.status });
    world.upstream.request(0).await;
    let decision = gateway.audit().of_kind("intent")[0]["decision"].as_str().expect("a decision").to_owned();
    let columns = "gateway, began_ms, ended_ms, app, team, key, model, held_input, held_output, held_nano_usd, settled_by, \
                   input, cached_input, cache_write, output, nano_usd, priced, lost_attempts, lost_tokens, lost_nano_usd, \
                   tier, paid, avoidable, recovered";
    let row = |request: &str, money: i64, tier: &str| {
        format!(
            "INSERT INTO causeway.entry (request, {columns}) VALUES ('{request}', 'x', floor(extract(epoch FROM now()))::bigint * 1000, \
             1, 'limited', 't', 'k', 'm', 1, 1, 1, 'reported', 1, 0, 0, 1, {money}, true, 0, 0, 0, '{tier}', 'sunk', false, false)"
        )
    };

    world.database.tell(&row(&decision, 1, "standard")).await;
    gate.open();
    let answered = running.await.expect("no panic");
    let others = ask(&gateway, 3).await;
    let failing =
        until("the gateway to notice", async || standing(&gateway).await["failing"].as_str().map(str::to_owned)).await;
    world.database.tell(&format!("DELETE FROM causeway.entry WHERE request = '{decision}'")).await;
    world.has(4).await;

    assert_eq!((answered, others), (200, vec![200; 3]));
    assert!(failing.contains("another entry") && failing.contains(&decision), "{failing}");
    assert_eq!((world.database.number(SUM).await, world.database.number(SUMMED).await), (4 * CHARGED, 4 * CHARGED));
    // What no gateway can have written is refused by the database, or named by the report.
    let negative = world.database.try_tell(&row("cwd_less", -1, "standard")).await;
    assert!(negative.is_err_and(|said| said.contains("check constraint")));
    world.database.tell(&row("cwd_odd", 1, "weekly")).await;
    let unread = report(&gateway).await;
    assert!(
        matches!(&unread, Err((Some(3), said)) if said.contains("`cwd_odd`") && said.contains("`tier`")),
        "{unread:?}"
    );
}

#[tokio::test]
async fn a_budget_counts_what_the_ledger_knows_and_a_restart_forgets_nothing() {
    let Some(world) = World::of("budgets by a shared ledger").await else { return };
    let config = world.config("usd_per_month = 0.06");
    let mut gateway = Gateway::start(&config).await;
    assert_eq!(ask(&gateway, 2).await, [200; 2]);
    world.has(2).await;

    // Another one, with a state folder of its own: without a shared store all that is in the ledger counts.
    let other = Gateway::start(&config).await;
    gateway.signal("TERM");
    gateway.left().await;
    let mut next = gateway.again("next.log", &[]);
    assert!(next.is_ready().await);

    assert_eq!((ask(&other, 1).await, ask(&next, 1).await), (vec![429], vec![429]));
}

#[tokio::test]
async fn two_gateways_with_a_shared_store_and_one_ledger_stop_at_one_dollar_also_when_one_is_killed() {
    let Some(store) = Store::met_before("a dollar that gateways with one ledger share").await else { return };
    let Some(world) = World::of("a dollar by a shared ledger").await else { return };
    let config = world.config("usd_per_month = 1").sharing(&store, "");
    let (mut one, two) = tokio::join!(Gateway::start(&config), Gateway::start(&config));
    assert_eq!((ask(&one, 10).await, ask(&two, 10).await), (vec![200; 10], vec![200; 10]));

    let gate = Gate::closed();
    world.upstream.script((0..2).map(|_| Act::reply(200, &completion("never")).after(&gate)));
    for _ in 0..2 {
        let client = one.client();
        tokio::spawn(async move { client.try_send(Request::post(PATH, &asking_for(20)).key(KEY)).await.is_ok() });
    }
    world.upstream.request(21).await;
    one.kill().await;
    let mut again = one.again("again.log", &[]);
    assert!(again.is_ready().await, "{}", again.log());
    gate.open();
    let recovered = standing(&again).await["recovered"].clone();
    one = again;
    until("the dollar to be used up", async || {
        let (first, second) = (ask(&one, 1).await, ask(&two, 1).await);
        let spent = world.database.number(SUM).await;
        (first == [429] && second == [429] && spent > 1_000_000_000 - 60_000_000).then_some(())
    })
    .await;
    let sent = world.upstream.requests().len() as u64;
    world.has(sent).await;

    assert_eq!(recovered, 2);
    let (sum, summed) = (world.database.number(SUM).await, world.database.number(SUMMED).await);
    assert!(sum <= 1_000_000_000 && sum >= sent * CHARGED, "{sum} for {sent} answers");
    assert_eq!(sum, summed);
    let (first, second) = (report(&one).await.expect("a report"), report(&two).await.expect("a report"));
    assert_eq!((nano(&first["total"]), nano(&second["total"])), (sum, sum));
    assert_eq!(first["recovered"], 2);
}

/// Asks until nobody answers. Each request is known by its `max_tokens`; of every third the caller leaves.
async fn keep_asking(client: Client, numbers: Arc<AtomicU64>) {
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let Ok(mut answer) = client.try_send(Request::post(PATH, &asking_for(number)).key(KEY)).await else { return };
        let went_on =
            if number.is_multiple_of(3) { answer.piece().await.is_ok() } else { answer.try_bytes().await.is_ok() };
        if !went_on {
            return;
        }
    }
}

#[tokio::test]
async fn whenever_a_gateway_or_its_database_is_killed_under_load_ledger_audit_log_and_upstream_agree() {
    let Some(mut world) = World::of("kills beside a shared ledger").await else { return };
    let kills = if full() { 60 } else { 6 };
    let config = world.config("usd_per_month = 1_000_000");
    let (one, two) = tokio::join!(Gateway::start(&config), Gateway::start(&config));
    let mut gateways = [one, two];
    let numbers = Arc::new(AtomicU64::new(1));

    for kill in 0..kills {
        let seen = world.upstream.requests().len();
        let callers: Vec<_> = gateways
            .iter()
            .flat_map(|gateway| (0..3).map(|_| tokio::spawn(keep_asking(gateway.client(), Arc::clone(&numbers)))))
            .collect();
        // Every third time the database dies with the gateway.
        let with_database = kill % 3 == 2;
        world.upstream.request(seen + 7 + 5 * (kill % 7)).await;
        if with_database {
            world.database.end("KILL").await;
        }
        for gateway in &mut gateways {
            gateway.kill().await;
        }
        for caller in callers {
            caller.await.expect("no panic");
        }
        if with_database {
            world.database.come_back().await;
        }
        for gateway in &mut gateways {
            *gateway = gateway.again(&format!("again-{kill}.log"), &[]);
            assert!(gateway.is_ready().await, "{}", gateway.log());
        }
    }
    for gateway in &mut gateways {
        gateway.signal("TERM");
        gateway.left().await;
    }

    let intents: Vec<Value> = gateways.iter().flat_map(|gateway| gateway.audit().of_kind("intent")).collect();
    let rows = "SELECT request, settled_by, recovered, nano_usd + lost_nano_usd, held_nano_usd FROM causeway.entry";
    let rows = world.database.tell(rows).await;
    let books: BTreeMap<&str, Vec<&str>> = rows
        .iter()
        .filter_map(|row| row.split_once('|'))
        .map(|(request, rest)| (request, rest.split('|').collect()))
        .collect();
    let by_number: BTreeMap<u64, &str> = intents
        .iter()
        .filter_map(|intent| Some((intent["estimate"]["output"].as_u64()?, intent["decision"].as_str()?)))
        .collect();
    let reached: BTreeSet<u64> =
        world.upstream.requests().iter().map(|seen| seen.json()["max_tokens"].as_u64().expect("a number")).collect();
    assert!(reached.len() > 20, "{} requests are no load", reached.len());
    for number in reached {
        let Some(line) = by_number.get(&number).and_then(|decision| books.get(decision)) else {
            unreachable!("request {number} reached the upstream, and is not in audit log and books")
        };
        assert!(line[0] != "not_sent" && line[2] != "0", "request {number} was settled at nothing: {line:?}");
        assert!(line[1] == "f" || line[2] == line[3], "request {number} pays what it held: {line:?}");
    }
    assert_eq!(books.len(), rows.len(), "a request is in the books once");
    assert!(rows.iter().any(|row| row.contains("|t|")), "a kill under load leaves requests open");
    let (sum, summed) = (world.database.number(SUM).await, world.database.number(SUMMED).await);
    let report = report(&gateways[0]).await.expect("a report");
    assert_eq!((sum, nano(&report["total"])), (summed, sum));
}

#[tokio::test]
async fn replicas_without_a_shared_ledger_are_refused_by_check_and_at_the_start() {
    let text = |ledger: &str| {
        let store = "replicas = true\n\n[store]\nurl = \"redis://127.0.0.1:6379\"\nreach = { local = { within = [\"127.0.0.0/8\"] } }\n";
        format!("{store}\n{ledger}\n[listen]\naddress = \"127.0.0.1:8443\"\n\n[state]\nfolder = \"state\"\n")
    };
    let says = async |verb: &str, ledger: &str| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(folder.path().join("causeway.toml"), text(ledger)).expect("the folder can be written");
        let done = run(&[verb, "--config", "causeway.toml"], folder.path()).await;
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        (done.status.success(), said)
    };
    let said = async |ledger: &str| says("check", ledger).await.1;
    let named = "[ledger]\nurl = \"postgresql://127.0.0.1/causeway\"\nreach = { local = { within = [\"127.0.0.0/8\"] } }\nuser = \"causeway\"\n";

    let (without, with, start) = (says("check", "").await, says("check", named).await, says("serve", "").await);
    let wrong = said(&named.replace("/causeway\"", "/causeway?sslmode=prefer\"")).await;
    let credential = said(&named.replace("127.0.0.1/c", "causeway:hush@127.0.0.1/c")).await;

    let refused = "causeway.toml:1:12: `replicas = true` needs a `[ledger]`";
    let remedy = "name a PostgreSQL that all of them reach";
    for (passes, said) in [&without, &start] {
        assert!(!passes && said.contains(refused) && said.contains(remedy), "{said}");
    }
    assert!(with.0 && !with.1.contains("needs a `[ledger]`"), "{}", with.1);
    assert!(wrong.contains("?sslmode=prefer"), "{wrong}");
    assert!(credential.contains("`ledger.url` holds a credential") && !credential.contains("hush"), "{credential}");
}

#[tokio::test]
async fn budgets_of_a_team_and_of_each_user_are_known_again_from_the_database_after_a_restart() {
    let Some(world) = World::of("budgets in a ledger that gateways share").await else { return };
    let budgets = "[budget.team]\nteam = \"testers\"\nusd = 0.075\nperiod = \"month\"\n\
                   [budget.users]\nteam = \"testers\"\neach_user = true\nusd = 0.04\nperiod = \"month\"\n";
    let config = world.config("usd_per_month = 100").section(budgets);
    let ask_as = async |gateway: &Gateway, user: &str| {
        let mut body = asking_for(20);
        body["user"] = user.into();
        let answer = gateway.send(Request::post(PATH, &body).key(KEY)).await;
        let status = answer.status;
        (status, answer.text().await)
    };
    let mut gateway = Gateway::start(&config).await;
    let first = [ask_as(&gateway, "erika").await.0, ask_as(&gateway, "max").await.0];
    world.has(2).await;
    let kept =
        world.database.tell("SELECT count(DISTINCT payer), bool_and(payer LIKE 'p1:%') FROM causeway.spent_slot").await;
    assert_eq!(kept, ["2|t"], "by pseudonyms");
    assert_eq!(world.database.number("SELECT sum(nano_usd)::bigint FROM causeway.spent_slot").await, 2 * CHARGED);
    gateway.signal("KILL");
    gateway.left().await;

    let mut next = gateway.again("next.log", &[]);
    assert!(next.is_ready().await, "{}", next.log());
    let again = ask_as(&next, "erika").await;
    let third = ask_as(&next, "third").await;
    let fourth = ask_as(&next, "fourth").await;

    assert_eq!(first, [200, 200]);
    assert!(again.0 == 429 && again.1.contains("`users`"), "{again:?}");
    assert_eq!(third.0, 200, "{}", third.1);
    assert!(fourth.0 == 429 && fourth.1.contains("`team`"), "{fourth:?}");
}
