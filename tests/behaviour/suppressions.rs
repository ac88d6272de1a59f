//! A kind of finding that is known to be false in an app's requests: hidden from policies for a while, and from nobody else.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::testkit::{Answer, Config, Endpoint, Gateway, Request, Upstream, chat, run};

const CARD: &str = "Refund 4111 1111 1111 1111, please.";

/// A cloud that card numbers may not go to as they are, for policies that know no redaction.
const POLICIES: &str = "@id(\"all\") @owner(\"o\") @basis(\"b\") @grant(\"base\")\n\
    permit (principal is App, action in Action::\"infer\", resource is Target);\n\
    @id(\"no-cards\") @owner(\"o\") @basis(\"b\")\n\
    forbid (principal, action, resource is Target) when { context.findings.contains(\"card\") };\n\
    @id(\"no-finance\") @owner(\"o\") @basis(\"b\")\n\
    forbid (principal, action, resource is Target) when { context.findings.contains(\"financial\") };\n";

async fn world(until: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let suppress = format!(
        "labels = []\nsuppress = {{ card = {{ until = {until}, owner = \"claims team\", because = \"policy numbers look like it\" }} }}"
    );
    let config = Config::new()
        .endpoint("only", Endpoint::of(&upstream))
        .model("assistant", &["only/m"])
        .section("[policy]\nfolder = \"policies\"\n")
        .file("policies/10.cedar", POLICIES)
        .app_with_data("claims", "cw_key_of_claims", &["assistant"], &suppress)
        .app_with_data("search", "cw_key_of_search", &["assistant"], "labels = []");
    let gateway = Gateway::start(&config).await;
    (upstream, gateway)
}

async fn ask(gateway: &Gateway, key: &str, text: &str) -> Answer {
    let mut body = chat("assistant");
    body["messages"][0]["content"] = text.into();
    gateway.send(Request::post("/v1/chat/completions", &body).key(key)).await
}

/// A day some weeks from now, as a configuration writes it.
fn soon() -> String {
    let day = OffsetDateTime::now_utc().date() + Duration::days(40);
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

#[tokio::test]
async fn a_suppressed_finding_decides_nothing_for_its_app_and_is_recorded_all_the_same() {
    let (upstream, gateway) = world(&soon()).await;

    let claims = ask(&gateway, "cw_key_of_claims", CARD).await;
    let search = ask(&gateway, "cw_key_of_search", CARD).await;
    let iban = ask(&gateway, "cw_key_of_claims", "Pay to DE89 3704 0044 0532 0130 00.").await;

    assert_eq!((claims.status, search.status), (200, 403), "it holds for one app");
    assert_eq!(iban.status, 403, "and for one kind: another of its group still acts");
    assert_eq!(upstream.requests().len(), 1);
    let record = gateway.audit().record(&claims.decision()).await;
    assert_eq!(record.intent["findings"], json!([{"kind": "card", "count": 1, "suppressed": true}]));
}

#[tokio::test]
async fn the_report_and_the_explanation_say_what_is_suppressed_by_whom_and_why() {
    let (_upstream, gateway) = world(&soon()).await;
    let answer = ask(&gateway, "cw_key_of_claims", CARD).await;
    gateway.audit().record(&answer.decision()).await;

    let log = gateway.folder().join("state/audit").display().to_string();
    let report = run(&["onboard", "report", "--folder", &log, "--json"], gateway.folder()).await;
    let report: Value = serde_json::from_slice(&report.stdout).expect("JSON");
    gateway.replace_file(
        "request.json",
        &json!({"model": "assistant", "messages": [{"role": "user", "content": CARD}]}).to_string(),
    );
    let explained = run(
        &[
            "explain",
            "--config",
            "causeway.toml",
            "--app",
            "claims",
            "--model",
            "assistant",
            "--request",
            "request.json",
        ],
        gateway.folder(),
    )
    .await;
    let said = String::from_utf8_lossy(&explained.stdout).split_whitespace().collect::<Vec<_>>().join(" ");

    let app = &report["apps"]["claims"];
    assert_eq!((&app["findings"], &app["suppressed"]), (&json!({"card": 1}), &json!({"card": 1})), "{report:#}");
    assert!(explained.status.success(), "{said}");
    let expected = format!(
        "Suppressed for this app: card (1) until {}, because policy numbers look like it, says claims team.",
        soon()
    );
    assert!(said.contains(&expected), "{said}");
}

#[tokio::test]
async fn a_suppression_that_has_ended_hides_nothing() {
    let (upstream, gateway) = world("2026-01-01").await;

    let answer = ask(&gateway, "cw_key_of_claims", CARD).await;
    let decision = answer.decision();

    assert_eq!(answer.status, 403);
    assert!(upstream.requests().is_empty());
    let refusal = gateway.audit().refusal(&decision).await;
    assert_eq!(refusal["findings"], json!([{"kind": "card", "count": 1}]));
}

#[tokio::test]
async fn a_decision_table_is_held_against_what_the_app_s_policies_see() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let fleet = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/tests/fleet.toml");
    let suppress =
        "suppress = { card = { until = 2027-03-01, owner = \"shop\", because = \"order numbers look like it\" } }";
    let text = std::fs::read_to_string(fleet).expect("the shipped fleet is there");
    let with = text.replace("[data.plain]\n", &format!("[data.plain]\n{suppress}\n"));
    assert_ne!(text, with, "the fleet has the app");
    std::fs::write(folder.path().join("fleet.toml"), with).expect("it can be written");
    let table = "app,findings,target,expected\n\
                 plain,card,aoai-sweden/m,allow\n\
                 plain,card,aoai-sweden/m,redact:card\n\
                 board,card,gpu-01/m,allow\n\
                 plain,financial,aoai-sweden/m,allow\n";
    std::fs::write(folder.path().join("t.csv"), table).expect("it can be written");
    let test = async |day: &str| {
        let arguments = ["policy", "test", "--config", "fleet.toml", "t.csv", "--json", "--at", day];
        let said: Value = serde_json::from_slice(&run(&arguments, folder.path()).await.stdout).expect("JSON");
        let wrong = said["wrong"].as_array().into_iter().flatten().filter_map(Value::as_str);
        wrong.map(str::to_owned).collect::<Vec<_>>()
    };

    let (within, after) = (test("2026-12-01").await, test("2027-03-01").await);

    let redacted = "app `plain` at `aoai-sweden/m` was to be allowed with card redacted, and is permitted";
    assert_eq!(within.len(), 1, "{within:?}");
    assert!(within[0].starts_with(&format!("t.csv:3: {redacted}")), "{within:?}");
    assert!(within[0].ends_with("; suppressed for this app: `card`"), "{within:?}");
    assert_eq!(after.len(), 1, "{after:?}");
    assert!(after[0].starts_with("t.csv:2: app `plain` at `aoai-sweden/m` was to be allowed as it is"), "{after:?}");
    assert!(!after[0].contains("suppressed"), "{after:?}");
}
