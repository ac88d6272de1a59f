//! `causeway doctor` at what the gateway itself needs: a real store, a real database, control planes, well and ill.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::control_planes::{on_azure, on_bedrock, tell_of_azure, tell_of_bedrock};
use crate::testkit::{Authority, Cloud, Config, Gateway, PASSWORD, Postgres, Shared, Store, Upstream, run, until};

/// A configuration on a machine on which no gateway runs.
struct Desk {
    folder: TempDir,
    text: String,
}

impl Desk {
    fn of(config: &Config) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, content) in &config.files {
            std::fs::write(folder.path().join(name), content).expect("the folder can be written");
        }
        Self { folder, text: config.text([9001, 9002, 9003]) }
    }

    /// What the doctor says: its exit code, the answer and the whole of what it printed.
    async fn doctor(&self, arguments: &[&str]) -> (Option<i32>, Value, String) {
        self.doctor_with(("", ""), arguments).await
    }

    /// The same, with this text of the configuration replaced by that one.
    async fn doctor_with(&self, (old, new): (&str, &str), arguments: &[&str]) -> (Option<i32>, Value, String) {
        assert!(self.text.contains(old), "{old}: {}", self.text);
        let text = if old.is_empty() { self.text.clone() } else { self.text.replace(old, new) };
        std::fs::write(self.folder.path().join("causeway.toml"), text).expect("the folder can be written");
        let arguments = [&["doctor", "--json", "--config", "causeway.toml"], arguments].concat();
        let done = run(&arguments, self.folder.path()).await;
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        (done.status.code(), serde_json::from_slice(&done.stdout).unwrap_or(Value::Null), said)
    }

    /// The code of the verdict on the one service, with the exit code and everything that was printed.
    async fn verdict(&self, change: (&str, &str), service: &str) -> (Option<i32>, String, String) {
        let (exit, said, printed) = self.doctor_with(change, &["--with-key", service]).await;
        let verdict = &said["services"][0]["verdict"];
        for word in ["title", "seen", "means", "who", "mend"] {
            assert!(
                verdict.is_null() || verdict[word].as_str().is_some_and(|text| !text.is_empty()),
                "{word}: {printed}"
            );
        }
        let last = said["services"][0]["steps"].as_array().and_then(|steps| steps.last()).cloned().unwrap_or_default();
        assert_eq!(last["code"], verdict["code"], "the last step met it: {printed}");
        (exit, verdict["code"].as_str().unwrap_or("none").to_owned(), printed)
    }

    fn file(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).expect("the folder can be written");
    }
}

fn service<'a>(said: &'a Value, name: &str) -> &'a Value {
    let services = said["services"].as_array().into_iter().flatten();
    services.into_iter().find(|service| service["name"] == name).unwrap_or_else(|| unreachable!("{name}: {said:#}"))
}

/// The steps by their names, each with a time.
fn steps(service: &Value) -> Vec<&str> {
    let steps = service["steps"].as_array().into_iter().flatten();
    steps
        .map(|step| {
            assert!(step["ms"].is_u64(), "each step says how long it took: {step}");
            step["step"].as_str().expect("a word")
        })
        .collect()
}

fn seen<'a>(service: &'a Value, step: &str) -> &'a str {
    let steps = service["steps"].as_array().into_iter().flatten();
    let found = steps.into_iter().find(|one| one["step"] == step);
    found.and_then(|step| step["seen"].as_str()).unwrap_or_else(|| unreachable!("{step}: {service:#}"))
}

#[tokio::test]
async fn before_the_first_gateway_starts_the_doctor_says_what_it_will_find_and_makes_nothing() {
    let Some(shared) = Shared::fresh("the doctor before the first start").await else { return };
    let upstream = Upstream::start("only").await;
    let desk = Desk::of(&Config::serving(&upstream).acting_as_one(&shared, ""));

    let (exit, without, printed) = desk.doctor(&[]).await;
    let (exit_with, with, printed_with) = desk.doctor(&["--with-key"]).await;

    assert_eq!((exit, exit_with), (Some(0), Some(0)), "{printed}{printed_with}");
    let ledger = service(&without, "ledger");
    assert_eq!(steps(ledger), ["resolve", "judge", "connect", "tls", "login"]);
    assert!(seen(ledger, "login").contains("`--with-key`"), "{ledger:#}");
    assert_eq!(steps(service(&without, "store")), ["resolve", "judge", "connect", "login", "format", "rights"]);
    let (store, ledger) = (service(&with, "store"), service(&with, "ledger"));
    assert_eq!(steps(ledger), ["resolve", "judge", "connect", "tls", "login", "format", "rights"]);
    assert!(seen(ledger, "format").contains("no tables in schema `causeway` yet"), "{ledger:#}");
    assert!(seen(store, "format").contains("no counters of format 1 below `causeway` yet"), "{store:#}");
    assert_eq!(with["endpoints"][0]["ok"], true, "{with:#}");
    assert!(shared.store.is_empty().await, "it writes nothing into the store");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'causeway'";
    assert_eq!(shared.database.number(schemas).await, 0, "it makes nothing in the database");
    assert!(!printed_with.contains(PASSWORD), "{printed_with}");
}

#[tokio::test]
async fn beside_gateways_that_serve_the_doctor_sees_their_counters_and_tables_over_tls_and_behind_passwords() {
    let authority = Authority::new();
    let Some(store) = Store::secure("the doctor beside gateways", &authority, "store-hush").await else { return };
    let Some(shared) = Shared::with(store, "the doctor beside gateways").await else { return };
    let upstream = Upstream::start("only").await;
    let lines = "tls = { ca = \"ca.pem\" }\npassword = { file = \"store.key\" }";
    let config = Config::serving(&upstream).acting_as_one(&shared, lines);
    let config = config.file("ca.pem", &authority.pem()).file("store.key", "store-hush");
    let gateway = Gateway::start(&config).await;
    let seen_by_gateway = until("the gateway to have found its store", async || {
        let status: Value = gateway.operator("/api/status").await.json().await;
        (status["store"]["connected"] == true).then_some(())
    });
    seen_by_gateway.await;

    let arguments = ["doctor", "--json", "--with-key", "--config", "causeway.toml"];
    let done = run(&arguments, gateway.folder()).await;
    let plain = run(&["doctor", "--with-key", "--config", "causeway.toml", "ledger"], gateway.folder()).await;

    let said: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(done.status.code(), Some(0), "{said:#}");
    let (store, ledger) = (service(&said, "store"), service(&said, "ledger"));
    assert_eq!(steps(store), ["resolve", "judge", "connect", "tls", "login", "format", "rights"]);
    assert!(seen(store, "login").ends_with("lets in `default`"), "{store:#}");
    assert!(seen(store, "format").contains("gateways have counters of format 1"), "{store:#}");
    assert!(seen(ledger, "login").contains("lets in `causeway`, database `causeway`"), "{ledger:#}");
    assert!(seen(ledger, "format").contains("tables of format 1"), "{ledger:#}");
    let text = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(text.contains("service ledger  postgresql://") && text.contains("fine: 1 of 1 services"), "{text}");
    assert!(!text.contains("endpoint only"), "only what was named is looked at: {text}");
    let everything = format!("{said}{text}");
    assert!(!everything.contains("store-hush") && !everything.contains(PASSWORD), "{everything}");
}

#[tokio::test]
async fn each_fault_of_the_ledger_has_its_code_and_none_shows_the_password() {
    let Some(mut shared) = Shared::start("faults of the ledger, seen by the doctor").await else { return };
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).acting_as_one(&shared, "");
    let mut gateway = Gateway::start(&config).await;
    gateway.signal("TERM");
    gateway.left().await;
    let desk = Desk::of(&config);
    let same = ("", "");
    let address = shared.database.address();
    let mut verdicts = Vec::new();

    verdicts.push(("none", desk.verdict(same, "ledger").await));
    desk.file("ledger.key", "guessed-4711");
    verdicts.push(("LEDGER-01", desk.verdict(same, "ledger").await));
    desk.file("ledger.key", PASSWORD);
    let elsewhere = (format!("{address}/causeway"), format!("{address}/nowhere"));
    verdicts.push(("LEDGER-02", desk.verdict((&elsewhere.0, &elsewhere.1), "ledger").await));
    for (change, back, code) in [
        (
            "REVOKE UPDATE ON causeway.spent_slot FROM causeway",
            "GRANT UPDATE ON causeway.spent_slot TO causeway",
            "LEDGER-03",
        ),
        ("UPDATE causeway.format SET version = 2", "UPDATE causeway.format SET version = 1", "LEDGER-04"),
        (
            "ALTER ROLE causeway SET default_transaction_read_only = on",
            "ALTER ROLE causeway RESET default_transaction_read_only",
            "LEDGER-05",
        ),
    ] {
        shared.database.tell(change).await;
        verdicts.push((code, desk.verdict(same, "ledger").await));
        shared.database.tell(back).await;
    }
    // A store listens there, which speaks something else.
    let store = format!("{}/causeway?sslmode=disable", shared.store.address());
    let in_the_clear = desk.text.replace("tls = { ca = \"ledger-ca.pem\" }\n", "");
    let confused = Desk { text: in_the_clear, folder: desk.folder };
    verdicts.push(("LEDGER-06", confused.verdict((&elsewhere.0, &store), "ledger").await));
    let desk = Desk::of(&config);
    desk.file("ledger-ca.pem", &Authority::new().pem());
    verdicts.push(("NET-06", desk.verdict(same, "ledger").await));
    let desk = Desk::of(&config);
    verdicts.push(("none", desk.verdict(same, "ledger").await));
    shared.database.end("INT").await;
    verdicts.push(("NET-02", desk.verdict(same, "ledger").await));

    for (code, (exit, found, printed)) in &verdicts {
        assert_eq!((found.as_str(), *exit), (*code, Some(i32::from(*code != "none"))), "{printed}");
        assert!(!printed.contains(PASSWORD) && !printed.contains("4711"), "{printed}");
    }
}

#[tokio::test]
async fn a_role_that_may_not_make_the_tables_is_found_before_the_first_start_and_so_is_a_server_without_tls() {
    let authority = Authority::new();
    let certificate = authority.issue();
    let Some(database) = Postgres::start("rights, seen by the doctor", Some(&certificate)).await else { return };
    let Some(plain) = Postgres::start("no TLS, seen by the doctor", None).await else { return };
    let upstream = Upstream::start("only").await;
    database.tell("ALTER DATABASE causeway OWNER TO postgres").await;
    let of = |database: &Postgres| Desk::of(&Config::serving(&upstream).keeping_books(database, &authority));

    let (exit, code, printed) = of(&database).verdict(("", ""), "ledger").await;
    let (_, without_tls, said) = of(&plain).verdict(("", ""), "ledger").await;

    assert_eq!((exit, code.as_str()), (Some(1), "LEDGER-03"), "{printed}");
    assert!(printed.contains("the role may not make schema `causeway`"), "{printed}");
    assert!(without_tls.starts_with("TLS-") && said.contains("does not speak TLS"), "{without_tls}: {said}");
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'causeway'";
    assert_eq!(plain.number(connected).await, 0, "nothing is said to it in the clear");
}

#[tokio::test]
async fn each_fault_of_the_store_has_its_code_and_none_shows_the_password() {
    let Some(mut shared) = Shared::start("faults of the store, seen by the doctor").await else { return };
    let upstream = Upstream::start("only").await;
    let lines = "user = \"limited\"\npassword = { file = \"store.key\" }";
    let config = Config::serving(&upstream).acting_as_one(&shared, lines).file("store.key", "store-hush");
    let desk = Desk::of(&config);
    let same = ("", "");
    let rights = "+@connection +@scripting +@hash +@string +@keyspace +@read";
    let mut verdicts = Vec::new();

    shared.store.does(&format!("ACL SETUSER limited on >store-hush ~causeway:* {rights}")).await;
    verdicts.push(("none", desk.verdict(same, "store").await));
    desk.file("store.key", "guessed-4711");
    verdicts.push(("STORE-01", desk.verdict(same, "store").await));
    desk.file("store.key", "store-hush");
    shared.store.does("ACL SETUSER limited -@write").await;
    verdicts.push(("STORE-02", desk.verdict(same, "store").await));
    shared.store.does("ACL SETUSER limited +@hash +@string +@keyspace resetkeys ~other:*").await;
    verdicts.push(("STORE-02", desk.verdict(same, "store").await));
    shared.store.does("ACL SETUSER limited resetkeys ~causeway:*").await;
    verdicts.push(("none", desk.verdict(same, "store").await));
    // A replica of nobody who answers.
    shared.store.does(&format!("REPLICAOF 127.0.0.1 {}", crate::testkit::free_port())).await;
    verdicts.push(("STORE-03", desk.verdict(same, "store").await));
    shared.store.does("REPLICAOF NO ONE").await;
    // A newer release counts there.
    shared.store.does("SET causeway:format 2").await;
    verdicts.push(("STORE-04", desk.verdict(same, "store").await));
    shared.store.does("SET causeway:format 1").await;
    let there = (format!("redis://{}", shared.store.address()), format!("redis://{}", shared.database.address()));
    verdicts.push(("STORE-04", desk.verdict((&there.0, &there.1), "store").await));
    let secure = (there.0.as_str(), there.0.replace("redis:", "rediss:"));
    let (_, no_tls, printed) = desk.verdict((secure.0, &secure.1), "store").await;
    shared.store.kill().await;
    verdicts.push(("NET-02", desk.verdict(same, "store").await));

    // It waits for a command that has an end, or complains of one that has: a handshake that hangs, or none.
    assert_ne!(no_tls, "none", "{printed}");
    for (code, (exit, found, printed)) in &verdicts {
        assert_eq!((found.as_str(), *exit), (*code, Some(i32::from(*code != "none"))), "{printed}");
        assert!(!printed.contains("store-hush") && !printed.contains("4711"), "{printed}");
    }
}

#[tokio::test]
async fn a_store_whose_memory_is_full_and_one_of_a_cluster_have_their_codes() {
    let Some(shared) = Shared::fresh("a full store, seen by the doctor").await else { return };
    let Some(cluster) = Store::of_a_cluster("a cluster, seen by the doctor").await else { return };
    let upstream = Upstream::start("only").await;
    let desk = Desk::of(&Config::serving(&upstream).acting_as_one(&shared, ""));
    let same = ("", "");

    // Far less than it uses already, and nothing may be thrown away for what comes.
    shared.store.does("CONFIG SET maxmemory-policy noeviction").await;
    shared.store.does("CONFIG SET maxmemory 1").await;
    let full = desk.verdict(same, "store").await;
    shared.store.does("CONFIG SET maxmemory 0").await;
    let well = desk.verdict(same, "store").await;
    let elsewhere = (shared.store.address().to_string(), cluster.address().to_string());
    let node = desk.verdict((&elsewhere.0, &elsewhere.1), "store").await;

    assert_eq!((full.0, full.1.as_str()), (Some(1), "STORE-03"), "{}", full.2);
    assert!(full.2.contains("the store answers OOM"), "{}", full.2);
    assert_eq!((well.0, well.1.as_str()), (Some(0), "none"), "{}", well.2);
    assert_eq!((node.0, node.1.as_str()), (Some(1), "STORE-04"), "{}", node.2);
    assert!(node.2.contains("it is a cluster of"), "{}", node.2);
    assert!(shared.store.is_empty().await, "a look leaves nothing behind");
}

#[tokio::test]
async fn a_standby_and_a_database_that_is_not_in_utf8_have_their_codes() {
    let authority = Authority::new();
    let what = "a standby, seen by the doctor";
    let Some(database) = Postgres::start(what, Some(&authority.issue())).await else { return };
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).keeping_books(&database, &authority);
    let standby = database.standby().await;
    let latin = "CREATE DATABASE latin OWNER causeway ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    database.tell(latin).await;
    let desk = Desk::of(&config);
    let there = (database.address().to_string(), standby.address().to_string());
    let named = (format!("{}/causeway", database.address()), format!("{}/latin", database.address()));

    let well = desk.verdict(("", ""), "ledger").await;
    let before_the_tables = desk.verdict((&there.0, &there.1), "ledger").await;
    let in_latin = desk.verdict((&named.0, &named.1), "ledger").await;
    let mut gateway = Gateway::start(&config).await;
    gateway.signal("TERM");
    gateway.left().await;
    until("the standby to have the tables", async || {
        standby.try_tell("SELECT version FROM causeway.format").await.ok().filter(|rows| !rows.is_empty())
    })
    .await;
    let with_the_tables = desk.verdict((&there.0, &there.1), "ledger").await;

    assert_eq!((well.0, well.1.as_str()), (Some(0), "none"), "{}", well.2);
    for (exit, code, printed) in [&before_the_tables, &with_the_tables] {
        assert_eq!((*exit, code.as_str()), (Some(1), "LEDGER-05"), "{printed}");
        assert!(printed.contains("a standby"), "{printed}");
    }
    assert_eq!((in_latin.0, in_latin.1.as_str()), (Some(1), "LEDGER-06"), "{}", in_latin.2);
    assert!(in_latin.2.contains("UTF8") && in_latin.2.contains("LATIN1"), "{}", in_latin.2);
}

#[tokio::test]
async fn control_planes_are_asked_what_the_gateway_asks_them_and_without_the_key_only_whether_they_answer() {
    let authority = Authority::new();
    let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
    let (azure, bedrock) = (Cloud::azure(&authority).await, Cloud::bedrock(&authority).await);
    tell_of_azure(&azure, "Standard", "Sweden Central");
    tell_of_bedrock(&bedrock, &["eu-central-1", "eu-west-3"]);
    let of_azure = Desk::of(&on_azure(&authority, &azure, (&upstream, &own)));
    let of_bedrock = Desk::of(&on_bedrock(&authority, &bedrock, (&upstream, &own)));

    let (exit, without, printed) = of_azure.doctor(&[]).await;
    let asked = azure.seen();
    let (_, with, with_printed) = of_azure.doctor(&["--with-key", "control.azure"]).await;
    let (signed, told, signed_printed) = of_bedrock.doctor(&["--with-key", "control.bedrock"]).await;
    let mut verdicts = Vec::new();
    for (status, code) in [(401, "CONTROL-01"), (403, "CONTROL-02"), (404, "CONTROL-03"), (429, "CONTROL-04")] {
        azure.refuse(status, &[], json!({"error": {"code": "No"}}));
        verdicts.push((code, of_azure.verdict(("", ""), "control.azure").await));
    }
    of_azure.file("app.secret", "another");
    let (_, unknown, unknown_printed) = of_azure.verdict(("", ""), "control.azure").await;

    assert_eq!(exit, Some(0), "{printed}");
    assert_eq!(steps(service(&without, "control.azure")).last(), Some(&"http"), "{without:#}");
    assert!(asked.iter().all(|(path, _)| path == "/"), "no token is asked for, and no deployment: {asked:?}");
    let azure = service(&with, "control.azure");
    assert!(seen(azure, "ask").ends_with("sku.name says Standard in Sweden Central"), "{with_printed}");
    assert_eq!(signed, Some(0), "{signed_printed}");
    assert!(seen(service(&told, "control.bedrock"), "ask").contains("GetInferenceProfile says"), "{signed_printed}");
    for (code, (exit, found, printed)) in &verdicts {
        assert_eq!((found.as_str(), *exit), (*code, Some(1)), "{printed}");
    }
    assert!(unknown.starts_with("ID-"), "{unknown}: {unknown_printed}");
}

#[tokio::test]
async fn a_name_that_is_neither_an_endpoint_nor_a_service_is_wrong_usage() {
    let upstream = Upstream::start("only").await;
    let desk = Desk::of(&Config::serving(&upstream));

    let (exit, _, printed) = desk.doctor(&["stroe"]).await;

    assert_eq!(exit, Some(2));
    assert!(printed.contains("there is no endpoint `stroe`; the configuration has `only`"), "{printed}");
}
