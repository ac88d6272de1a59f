//! Formats of one's own, `[recogniser.NAME]`: policies act on what they find, and nothing of it leaves.

use serde_json::{Value, json};

use crate::testkit::{Act, Answer, Config, Endpoint, Gateway, Request, Upstream, chat, run, until};

const MATTER: &str = "Summarise the file M-2044-17 for the hearing.";

/// File numbers of a law firm, which no shipped recogniser knows.
fn matter(more: &str) -> String {
    format!(
        "[recogniser.matter]\ndescription = \"numbers of our files\"\npattern = '\\bM-[0-9]{{4}}-[0-9]{{2}}\\b'\n\
         examples = [\"about «M-2044-17»\"]\ncounterexamples = [\"AM-2044-17\", \"M-20-17\"]\n{more}"
    )
}

/// Permits everything but what was found of this name.
fn policies(finding: &str, more: &str) -> String {
    format!(
        "@id(\"all\") @owner(\"o\") @basis(\"b\") @grant(\"base\")\n\
         permit (principal is App, action in Action::\"infer\", resource is Target);\n\
         @id(\"no-files\") @owner(\"o\") @basis(\"b\")\n\
         forbid (principal, action, resource is Target)\n\
         when {{ context.findings.contains(\"{finding}\") && !context.redacted.contains(\"{finding}\") }};\n{more}"
    )
}

fn config(upstream: &Upstream, policy: &str, policies: &str) -> Config {
    Config::new()
        .endpoint("only", Endpoint::of(upstream))
        .model("assistant", &["only/m"])
        .section(&format!("[policy]\nfolder = \"policies\"\n{policy}"))
        .file("policies/10.cedar", policies)
}

fn question(text: &str) -> Value {
    let mut body = chat("assistant");
    body["messages"][0]["content"] = text.into();
    body
}

async fn ask(gateway: &Gateway, text: &str) -> Answer {
    gateway.send(Request::post("/v1/chat/completions", &question(text))).await
}

#[tokio::test]
async fn what_only_a_recogniser_of_ones_own_finds_is_refused_and_nothing_of_it_leaves() {
    let upstream = Upstream::start("only").await;
    let config = config(&upstream, "", &policies("custom:matter", "")).section(&matter(""));
    let gateway = Gateway::start(&config).await;

    let refused = ask(&gateway, MATTER).await;
    let near = ask(&gateway, "The part AM-2044-17 is sold out.").await;

    assert_eq!((refused.status, near.status), (403, 200));
    assert_eq!(upstream.requests().len(), 1, "the refused one was not sent");
    let refusal = gateway.audit().refusal(&refused.decision()).await;
    assert_eq!(refusal["findings"], json!([{"kind": "custom:matter", "count": 1}]));
    assert!(!refusal.to_string().contains("2044"), "{refusal}");
}

#[tokio::test]
async fn where_a_policy_says_so_it_leaves_as_a_placeholder_and_comes_back_as_itself() {
    let upstream = Upstream::start("only").await;
    let grant = "@id(\"files-redacted\") @owner(\"o\") @basis(\"b\") @grant(\"base\") @obligation(\"redact:custom:matter\")\n\
                 permit (principal is App, action in Action::\"infer\", resource is Target)\n\
                 when { context.findings.contains(\"custom:matter\") };\n";
    let config = config(&upstream, "", &policies("custom:matter", grant)).section(&matter(""));
    let gateway = Gateway::start(&config).await;
    let message = json!({"role": "assistant", "content": "In [CUSTOM_MATTER_1] the hearing is on Monday."});
    let reply = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
    upstream.script([Act::reply(200, &reply)]);

    let answer = ask(&gateway, MATTER).await.of_status(200, "redacted").await;

    let answer: Value = serde_json::from_str(&answer).expect("the answer is JSON");
    assert_eq!(answer["choices"][0]["message"]["content"], "In M-2044-17 the hearing is on Monday.");
    let sent = upstream.only_request().json();
    assert_eq!(sent["messages"][0]["content"], "Summarise the file [CUSTOM_MATTER_1] for the hearing.");
}

#[tokio::test]
async fn one_that_is_tried_is_recorded_and_decides_nothing_but_for_what_is_proposed() {
    let upstream = Upstream::start("only").await;
    let config = config(&upstream, "candidate = \"proposed\"\n", &policies("card", ""))
        .file("proposed/10.cedar", &policies("custom:matter", ""))
        .section(&matter("tried = true\n"));
    let gateway = Gateway::start(&config).await;

    let answer = ask(&gateway, MATTER).await;

    assert_eq!(answer.status, 200);
    let record = gateway.audit().record(&answer.decision()).await;
    assert_eq!(record.intent["findings"][0]["kind"], "custom:matter", "{}", record.intent);
    let candidate = &record.intent["candidates"][0];
    assert_eq!((&candidate["verdict"], &candidate["proposed"]), (&json!("in"), &json!("out: forbidden by `no-files`")));
}

#[tokio::test]
async fn a_reload_brings_one_whose_group_policies_name() {
    let upstream = Upstream::start("only").await;
    let config = config(&upstream, "", &policies("secret", "")).file("own.toml", "# Nothing yet.\n");
    let gateway = Gateway::start_from_folder(&config).await;
    assert_eq!(ask(&gateway, MATTER).await.status, 200);

    gateway.replace_file("own.toml", &matter("group = \"secret\"\n"));
    gateway.signal("HUP");

    until("a refusal", async || (ask(&gateway, MATTER).await.status == 403).then_some(())).await;
    assert_eq!(ask(&gateway, "A number like M-20-17 is no file.").await.status, 200);
}

#[tokio::test]
async fn a_team_that_may_write_its_app_alone_cannot_add_or_change_one() {
    let upstream = Upstream::start("only").await;
    let authors =
        "[authors]\n\"main.toml\" = [\"model\", \"app\", \"data\", \"recogniser\"]\n\"team.toml\" = [\"model\"]\n";
    let config = Config::serving(&upstream).section(authors).file("team.toml", "# Nothing yet.\n");
    let gateway = Gateway::start_from_folder(&config).await;

    gateway.replace_file("team.toml", &matter(""));
    gateway.signal("HUP");

    let mistake = "team.toml:1:2: `recogniser` may not be written in `team.toml`; move it to `main.toml`";
    until("the mistake on the status page", async || {
        gateway.operator("/api/status").await.text().await.contains(mistake).then_some(())
    })
    .await;
}

#[tokio::test]
async fn decision_tables_and_explanations_know_it_by_its_name() {
    let upstream = Upstream::start("only").await;
    let config = config(&upstream, "", &policies("custom:matter", "")).section(&matter(""));
    let gateway = Gateway::start(&config).await;
    gateway.replace_file(
        "t.csv",
        "app,findings,target,expected,policy\n\
         tests,custom:matter,only/m,deny,no-files\n\
         tests,card,only/m,allow,all\n\
         tests,custom:other,only/m,deny,no-files\n",
    );
    gateway.replace_file("request.json", &question(MATTER).to_string());

    let table = run(&["policy", "test", "--config", "causeway.toml", "t.csv", "--json"], gateway.folder()).await;
    let arguments =
        ["explain", "--config", "causeway.toml", "--app", "tests", "--model", "assistant", "--request", "request.json"];
    let explained = run(&arguments, gateway.folder()).await;
    let matrix = ["policy", "matrix", "--config", "causeway.toml", "--by", "finding", "--format", "csv"];
    let matrix = run(&matrix, gateway.folder()).await;

    let table = format!("{}{}", String::from_utf8_lossy(&table.stdout), String::from_utf8_lossy(&table.stderr));
    assert!(table.contains("t.csv:4") && table.contains("custom:other"), "an unknown name is a mistake: {table}");
    assert!(!table.contains("t.csv:2") && !table.contains("t.csv:3"), "{table}");
    let said = String::from_utf8_lossy(&explained.stdout);
    assert!(said.contains("custom:matter") && said.contains("no-files"), "{said}");
    assert!(!said.contains("M-2044-17"), "{said}");
    let matrix = String::from_utf8_lossy(&matrix.stdout);
    assert!(matrix.lines().any(|row| row.contains("custom:matter") && row.contains("no-files")), "{matrix}");
}
