//! The audit log as an auditor meets it: verified, shown and exported by the command, against a log that a gateway wrote.

use serde_json::{Value, json};

use crate::testkit::{Act, Config, Endpoint, Gateway, Request, Upstream, chat, digest_of, run, run_with_input, until};

/// A configuration whose checkpoints are copied to the folder `auditors`.
fn witnessed(upstream: &Upstream) -> Config {
    Config::serving(upstream).section("[audit]\norigin = \"gw-1\"\nwitness = { folder = \"auditors\" }\n")
}

async fn audit(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let arguments = [&["audit"], arguments].concat();
    let output = run(&arguments, gateway.folder()).await;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

async fn verify(gateway: &Gateway) -> (i32, String) {
    audit(gateway, &["verify", "--config", "causeway.toml"]).await
}

/// Waits until a checkpoint covers every entry there is.
async fn signed(gateway: &Gateway) {
    until("a checkpoint over every entry", async || {
        let status: Value = serde_json::from_slice(&gateway.operator("/api/status").await.bytes().await).ok()?;
        let audit = &status["audit"];
        (audit["signed"] == audit["entries"] && audit["witness"]["entries"] == audit["entries"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_running_gateways_log_is_whole_while_it_runs_after_it_was_killed_and_after_it_left() {
    let upstream = Upstream::start("only").await;
    let mut first = Gateway::start(&witnessed(&upstream)).await;
    first.chat(&chat("assistant")).await;

    let running = verify(&first).await;
    first.kill().await;
    let killed = verify(&first).await;
    let mut second = first.again("second.log", &[]);
    assert!(second.is_ready().await);
    second.chat(&chat("assistant")).await;
    second.signal("TERM");
    second.left().await;
    let left = verify(&second).await;

    for (when, (code, said)) in [("running", running), ("killed", killed), ("left", left)] {
        assert_eq!(code, 0, "{when}: {said}");
        assert!(said.starts_with("whole"), "{when}: {said}");
    }
}

#[tokio::test]
async fn a_log_without_a_second_place_says_so_everywhere_and_verifies_with_three() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    let (code, said) = verify(&gateway).await;
    let checked = run(&["check", "--config", "causeway.toml"], gateway.folder()).await;
    let status: Value = serde_json::from_slice(&gateway.operator("/api/status").await.bytes().await).expect("JSON");
    let metrics = String::from_utf8(gateway.operator("/metrics").await.bytes().await.to_vec()).expect("text");

    assert_eq!(code, 3, "{said}");
    assert!(said.starts_with("self-consistent, not witnessed"), "{said}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("no second place"), "{checked:?}");
    assert!(status["audit"]["witness"].as_str().is_some_and(|text| text.starts_with("none")), "{status}");
    assert!(metrics.contains("causeway_audit_witness 0"));
}

#[tokio::test]
async fn a_log_that_was_changed_verifies_with_one_and_says_where() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&witnessed(&upstream)).await;
    gateway.chat(&chat("assistant")).await;
    gateway.signal("TERM");
    gateway.left().await;
    let files = gateway.audit().files();
    let bundle = files.iter().find(|file| file.to_string_lossy().contains("tile/entries")).expect("there is a bundle");
    let bytes = std::fs::read(bundle).expect("it can be read");
    let at = bytes.windows(9).position(|window| window == b"assistant").expect("the model is in it");
    let mut changed = bytes.clone();
    changed[at] = b'b';
    std::fs::write(bundle, changed).expect("it can be written");

    let (code, said) = verify(&gateway).await;

    assert_eq!(code, 1, "{said}");
    assert!(said.starts_with("DAMAGED"), "{said}");
    assert!(said.contains("gw-1/0000000001/"), "{said}");
}

#[tokio::test]
async fn an_auditor_needs_the_folder_the_public_key_and_the_second_place_alone() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&witnessed(&upstream)).await;
    gateway.chat(&chat("assistant")).await;
    let key = std::fs::read_to_string(gateway.state().join("audit-keys/gw-1.pub")).expect("it was made at the start");

    let of = async |key: &str| {
        audit(&gateway, &["verify", "--folder", "state/audit", "--key", key, "--witness", "auditors", "--json"]).await
    };
    let (code, said) = of(key.trim()).await;
    let (stranger, _) = of("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").await;
    let (nothing, _) = audit(&gateway, &["verify", "--folder", "elsewhere", "--key", key.trim()]).await;
    let (usage, _) = audit(&gateway, &["verify", "--folder", "state/audit"]).await;

    assert_eq!(code, 0, "{said}");
    assert_eq!(serde_json::from_str::<Value>(&said).expect("JSON")["verdict"], "whole");
    assert_eq!((stranger, nothing, usage), (1, 3, 2));
}

#[tokio::test]
async fn a_shown_record_is_verified_alone_and_a_changed_one_is_not() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&witnessed(&upstream)).await;
    let answer = gateway.chat(&chat("assistant")).await;
    gateway.audit().record(&answer.decision()).await;
    signed(&gateway).await;

    let (code, shown) = audit(&gateway, &["show", &answer.decision(), "--config", "causeway.toml", "--json"]).await;
    std::fs::write(gateway.folder().join("record.json"), &shown).expect("it can be written");
    std::fs::write(gateway.folder().join("forged.json"), shown.replace("testers", "writers"))
        .expect("it can be written");
    let check =
        async |file: &str| audit(&gateway, &["verify", "--shown", file, "--key", "state/audit-keys/gw-1.pub"]).await;
    let (true_record, said) = check("record.json").await;
    let (forged, _) = check("forged.json").await;
    let (unknown, _) = audit(&gateway, &["show", "nobody", "--config", "causeway.toml"]).await;

    assert_eq!(code, 0, "{shown}");
    assert_eq!(serde_json::from_str::<Vec<Value>>(&shown).expect("JSON").len(), 2);
    assert_eq!(true_record, 0, "{said}");
    assert_eq!((forged, unknown), (1, 1));
}

#[tokio::test]
async fn an_export_is_one_json_object_a_line() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&witnessed(&upstream)).await;
    let answer = gateway.chat(&chat("assistant")).await;
    gateway.audit().record(&answer.decision()).await;

    let (code, all) = audit(&gateway, &["export", "--config", "causeway.toml"]).await;
    let (_, none) = audit(&gateway, &["export", "--config", "causeway.toml", "--until", "2026-01-01"]).await;
    let (wrong, _) = audit(&gateway, &["export", "--config", "causeway.toml", "--since", "yesterday"]).await;
    let (_, events) = audit(&gateway, &["export", "--config", "causeway.toml", "--format", "ocsf"]).await;

    assert_eq!(code, 0);
    let kinds: Vec<String> = all
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["kind"].as_str().unwrap_or("?").to_owned())
        .collect();
    assert_eq!(kinds, ["open", "admin", "intent", "outcome"]);
    assert_eq!((none.as_str(), wrong), ("", 2));
    let classes: Vec<Value> =
        events.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["class_uid"].clone()).collect();
    assert_eq!(classes, [6003, 6003, 6003]);
}

#[tokio::test]
async fn a_record_that_must_be_on_the_disk_is_there_before_the_upstream_hears_of_the_request() {
    let upstream = Upstream::start("only").await;
    let disk = "[audit]\ndurability = \"disk\"\nwitness = { folder = \"auditors\" }\n";
    let gateway = Gateway::start(&Config::serving(&upstream).section(disk)).await;

    let answers = [gateway.chat(&chat("assistant")).await.status, gateway.chat(&chat("assistant")).await.status];
    until("both outcomes", async || (gateway.audit().records().len() == 2).then_some(())).await;

    assert_eq!(answers, [200, 200]);
    assert_eq!(verify(&gateway).await.0, 0);
}

#[tokio::test]
async fn a_new_key_signs_from_a_reload_on_and_who_trusts_the_old_one_believes_it() {
    let upstream = Upstream::start("only").await;
    let mut first = Gateway::start(&witnessed(&upstream)).await;
    let keys = first.state().join("audit-keys");
    let old = std::fs::read_to_string(keys.join("gw-1.pub")).expect("it was made at the start");
    std::fs::remove_file(keys.join("gw-1")).expect("an operator may take it away");

    first.signal("HUP");
    until("the entry of the new key", async || (first.audit().of_kind("key").len() == 1).then_some(())).await;
    first.signal("TERM");
    first.left().await;
    let mut second = first.again("second.log", &[]);
    assert!(second.is_ready().await);

    let new = std::fs::read_to_string(keys.join("gw-1.pub")).expect("it was made by the reload");
    assert_ne!(old, new);
    let (code, said) =
        audit(&second, &["verify", "--folder", "state/audit", "--key", old.trim(), "--witness", "auditors"]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn the_fleet_of_the_configuration_is_expected_whole() {
    let upstream = Upstream::start("only").await;
    let fleet = "[audit]\norigin = \"gw-1\"\norigins = [\"gw-1\", \"gw-2\"]\nwitness = { folder = \"auditors\" }\n";
    let gateway = Gateway::start(&Config::serving(&upstream).section(fleet)).await;

    let (alone, _) = verify(&gateway).await;
    let (code, said) = audit(&gateway, &["verify", "--config", "causeway.toml", "--fleet"]).await;
    let by_itself = Gateway::start(&witnessed(&upstream)).await;
    let (no_fleet, why) = audit(&by_itself, &["verify", "--config", "causeway.toml", "--fleet"]).await;

    assert_eq!(alone, 0);
    assert_eq!(no_fleet, 2, "{why}");
    assert!(why.contains("`[audit] origins`"), "{why}");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("gw-2: the log of this origin is missing"), "{said}");
}

#[tokio::test]
async fn an_auditor_without_the_configuration_expects_a_fleet_by_name_and_is_told_which_folder_is_the_log() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&witnessed(&upstream)).await;
    gateway.chat(&chat("assistant")).await;
    let of = async |folder: &str, origins: &[&str]| {
        let all = ["verify", "--folder", folder, "--key", "state/audit-keys/gw-1.pub", "--witness", "auditors"];
        let origins: Vec<&str> = origins.iter().flat_map(|origin| ["--origin", origin]).collect();
        audit(&gateway, &[&all[..], &origins].concat()).await
    };

    let (whole, said) = of("state/audit", &["gw-1"]).await;
    let (missing, of_missing) = of("state/audit", &["gw-1", "gw-2"]).await;
    let (foreign, of_foreign) = of("state/audit", &["gw-2"]).await;

    assert_eq!(whole, 0, "{said}");
    assert_eq!(missing, 1, "{of_missing}");
    assert!(of_missing.contains("gw-2: the log of this origin is missing"), "{of_missing}");
    assert_eq!(foreign, 1, "{of_foreign}");
    assert!(of_foreign.contains("gw-1: this origin is not one of the fleet"), "{of_foreign}");
    for beside in ["state", "state/audit/gw-1", "state/audit/gw-1/0000000001"] {
        let (code, said) = of(beside, &[]).await;
        assert_eq!(code, 2, "{beside}: {said}");
        assert!(said.contains(&format!("`{beside}` is no audit log; the log is `")), "{said}");
        assert!(said.trim_end().ends_with("state/audit`"), "{said}");
    }
}

#[tokio::test]
async fn an_exposure_names_the_apps_whose_requests_may_have_reached_an_endpoint() {
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first))
        .endpoint("second", Endpoint::of(&second))
        .model("one", &["first/served-model"])
        .model("two", &["second/served-model"]);
    let gateway = Gateway::start(&config).await;
    gateway.chat(&chat("one")).await;
    gateway.chat(&chat("one")).await;
    gateway.chat(&chat("two")).await;
    until("three outcomes", async || (gateway.audit().records().len() == 3).then_some(())).await;

    let of = async |arguments: &[&str]| {
        let all = ["exposure", "--config", "causeway.toml", "--json", "--since", "2026-01-01"];
        let (code, said) = audit(&gateway, &[&all, arguments].concat()).await;
        assert_eq!(code, 0, "{said}");
        serde_json::from_str::<Value>(&said).expect("JSON")
    };
    let endpoint = of(&["--endpoint", "first"]).await;
    let key = of(&["--key", "tests.keys[0]"]).await;
    let nobody = of(&["--key", "of-nobody"]).await;
    let before = of(&["--until", "2026-01-02"]).await;

    assert_eq!(endpoint["apps"]["tests"]["requests"], 2);
    assert_eq!(endpoint["apps"]["tests"]["team"], "testers");
    assert_eq!(key["requests"], 3);
    assert_eq!((&nobody["requests"], &before["requests"]), (&Value::from(0), &Value::from(0)));
}

/// The key of pseudonyms of these tests: what `causeway keys pseudonym` prints.
const PSEUDONYMS: &str = "PSEUDONYM+KEY+0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

#[tokio::test]
async fn a_user_is_recorded_as_a_pseudonym_that_whoever_holds_the_key_finds_again() {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream)
        .file("pseudonyms.key", PSEUDONYMS)
        .section("[audit]\npseudonyms = { key = \"pseudonyms.key\", held_by = \"data protection office\" }\n")
        .app_with_data("claims", "cw_of_claims", &["assistant"], "labels = [\"health\", \"eu_personal\"]");
    let gateway = Gateway::start(&config).await;
    let asks_for = |member: &str, who: &str| {
        let mut body = chat("assistant");
        body[member] = who.into();
        Request::post("/v1/chat/completions", &body).key("cw_of_claims")
    };
    let erika = gateway.send(asks_for("user", "erika@corp.example")).await;
    let again = gateway.send(asks_for("safety_identifier", "erika@corp.example")).await;
    let max = gateway.send(asks_for("user", "max")).await;
    let nobody = gateway.send(Request::post("/v1/chat/completions", &chat("assistant")).key("cw_of_claims")).await;

    let mut users = Vec::new();
    for answer in [&erika, &again, &max, &nobody] {
        assert_eq!(answer.status, 200);
        users.push(gateway.audit().record(&answer.decision()).await.intent["user"].clone());
    }
    let asked = ["keys", "pseudonym-of", "--key", "pseudonyms.key", "--app", "claims"];
    let found = run_with_input(&asked, gateway.folder(), "erika@corp.example\n").await;

    let found = String::from_utf8(found.stdout).expect("a pseudonym is plain text").trim().to_owned();
    assert_eq!((&users[0], &users[1]), (&Value::from(found.clone()), &Value::from(found.clone())));
    assert!(users[2].is_string() && users[2] != users[0] && users[3].is_null());
    for file in gateway.audit().files() {
        let bytes = std::fs::read(&file).expect("a file of the log can be read");
        assert!(!bytes.windows(5).any(|window| window == b"erika"), "{}", file.display());
    }
    assert!(!gateway.log().contains("erika"));
    let (code, said) =
        audit(&gateway, &["exposure", "--config", "causeway.toml", "--json", "--since", "2026-01-01"]).await;
    let touched = &serde_json::from_str::<Value>(&said).expect("JSON")["apps"]["claims"];
    assert_eq!(code, 0);
    assert_eq!((&touched["users"][&found], &touched["requests"]), (&Value::from(2), &Value::from(4)));
    assert_eq!((&touched["labels"]["health"], &touched["labels"]["eu_personal"]), (&Value::from(4), &Value::from(4)));
}

/// A cloud in Sweden that people in all of the EEA may look into.
const IN_SWEDEN: &str = "{ azure = { region = \"swedencentral\", sku = \"Standard\" } }";

/// What the shipped data pack is called: its version and the hash of its manifest.
fn pack() -> String {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/data/pack.json"))
        .expect("the pack is in the repository");
    let version = serde_json::from_str::<Value>(&manifest).expect("JSON")["version"].as_str().map(str::to_owned);
    format!("{} {}", version.expect("it has a version"), digest_of(&manifest))
}

#[tokio::test]
async fn a_record_says_what_its_decision_rests_on_and_where_each_attempt_may_have_been_processed() {
    let (broken, whole) = (Upstream::start("broken").await, Upstream::start("whole").await);
    broken.script([Act::error(503)]);
    let config = Config::new()
        .endpoint("broken", Endpoint::of(&broken).place(Some(IN_SWEDEN)))
        .endpoint("whole", Endpoint::of(&whole))
        .model("assistant", &["broken/served-model", "whole/served-model"]);
    let gateway = Gateway::start(&config).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let asked = Request::post("/v1/chat/completions", &chat("assistant"));
    let answer = gateway.send(asked.header("traceparent", &format!("00-{trace}-b7ad6b7169203331-00"))).await;
    let untraced = gateway.send(Request::get("/v1/models")).await;

    let record = gateway.audit().record(&answer.decision()).await;
    let other = gateway.audit().record(&untraced.decision()).await;
    let (_, exposed) =
        audit(&gateway, &["exposure", "--config", "causeway.toml", "--json", "--since", "2026-01-01"]).await;

    assert_eq!(record.tried(), ["broken/served-model", "whole/served-model"]);
    let cloud = &record.attempt(0)["place"];
    assert_eq!((&cloud["processing"], &cloud["at_rest"]), (&json!(["SE"]), &json!(["SE"])), "{cloud}");
    assert_eq!((&cloud["operator"], &cloud["operator_parent"]), (&json!("US"), &json!("US")), "{cloud}");
    assert_eq!(cloud["access"].as_array().map(Vec::len), Some(30), "from all of the EEA: {cloud}");
    assert!(cloud["is"].as_str().is_some_and(|words| words.contains("Standard, resource in swedencentral")), "{cloud}");
    let own = &record.attempt(1)["place"];
    assert_eq!((&own["processing"], &own["operator"]), (&json!(["DE"]), &json!("DE")), "{own}");
    let basis = record.intent["basis"].as_object().expect("each permit serves something");
    assert!(basis["approved-targets"].as_str().is_some_and(|basis| basis.contains("GDPR Art. 5(2), 24")), "{basis:?}");
    assert_eq!(basis.len(), 1, "only the policies that decided: {basis:?}");
    assert_eq!(record.intent["pack"], pack());
    assert_eq!((&record.intent["trace_id"], &other.intent["trace_id"]), (&json!(trace), &Value::Null));
    let places = &serde_json::from_str::<Value>(&exposed).expect("JSON")["apps"]["tests"]["places"];
    assert_eq!(places, &json!({ "DE": 1, "SE": 1 }), "{exposed}");
}

#[tokio::test]
async fn a_refusal_says_what_the_policies_serve_that_forbid_it() {
    let upstream = Upstream::start("cloud").await;
    let overseas =
        "{ declared = { processing = [\"US\"], at_rest = [\"US\"], operator = \"US\", because = \"it is a test\" } }";
    let config = Config::new()
        .endpoint("cloud", Endpoint::of(&upstream).place(Some(overseas)))
        .model("assistant", &["cloud/served-model"])
        .app_with_data("claims", "cw_of_claims", &["assistant"], "labels = [\"eu_personal\"]");
    let gateway = Gateway::start(&config).await;

    let refused = gateway.send(Request::post("/v1/chat/completions", &chat("assistant")).key("cw_of_claims")).await;
    let (status, decision) = (refused.status, refused.decision());
    let record = gateway.audit().refusal(&decision).await;

    assert_eq!(status, 403);
    let basis = record["basis"].as_object().expect("each policy serves something");
    assert!(!basis.is_empty() && basis.values().all(|basis| basis.as_str().is_some_and(|text| text.contains("GDPR"))));
    let why = record["candidates"][0]["why"].as_str().expect("every candidate says why");
    assert!(basis.keys().all(|policy| why.contains(&format!("`{policy}`"))), "{why} {basis:?}");
    assert_eq!(record["pack"], pack());
}

#[tokio::test]
async fn an_exposure_finds_who_was_touched_when_something_else_is_known_of_a_place() {
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first).place(Some(IN_SWEDEN)))
        .endpoint("second", Endpoint::of(&second))
        .model("one", &["first/served-model"])
        .model("two", &["second/served-model"]);
    let gateway = Gateway::start(&config).await;
    for model in ["one", "one", "two"] {
        assert_eq!(gateway.chat(&chat(model)).await.status, 200);
    }
    until("three outcomes", async || (gateway.audit().records().len() == 3).then_some(())).await;
    let facts = |known: &str| {
        let text = format!("[fact.azure-standard]\n{known}\nbecause = \"the provider has told us so\"\n");
        std::fs::write(gateway.folder().join("known-now.toml"), text).expect("a file can be written");
    };
    let asked = ["exposure", "--config", "causeway.toml", "--since", "2026-01-01", "--place-changed", "known-now.toml"];

    facts("processing = [\"SE\", \"US\"]");
    let (code, said) = audit(&gateway, &asked).await;
    facts("retention_days = 30");
    let (unchanged, why) = audit(&gateway, &asked).await;

    assert_eq!(code, 0, "{said}");
    assert!(said.contains("first/served-model: processing was"), "{said}");
    assert!(said.contains("2 requests of 1 apps"), "{said}");
    assert_eq!(unchanged, 2, "{why}");
    assert!(why.contains("changes nothing"), "{why}");
}
