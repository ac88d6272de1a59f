//! `causeway replay`: a trace is played, compared and reported, and a mistake says where it is.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::testkit::{Config, Endpoint, Gateway, Request, Upstream, causeway, chat, run, within};

/// Ten minutes of two requests a second, each of a thousand tokens and a hundred back, in the format of the Azure traces.
fn trace() -> String {
    let line = |second: u32| format!("2023-11-16 18:{:02}:{:02}.5000000,1000,100\n", second / 60, second % 60);
    let twice = |second| line(second).repeat(2);
    std::iter::once("TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned()).chain((0..600).map(twice)).collect()
}

const SCENARIO: &str = r#"
fixed_usd_per_hour = 10

[[target]]
name = "gpu/llama"
engine = {}

[[target]]
name = "cloud/llama"
cloud = {}
input_usd_per_million = 2.0
output_usd_per_million = 8.0
"#;

/// One model on both targets. The cloud is approved or not.
fn configuration(approve: &str) -> String {
    format!(
        r#"
[listen]
address = "127.0.0.1:0"

[state]
folder = "state"

[resolver.all]
zones = ["example"]
servers = ["127.0.0.1:9"]

[endpoint.gpu]
provider = "openai"
url = "http://127.0.0.1:9/v1"
reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}

[endpoint.cloud]
provider = "openai"
url = "https://cloud.example/v1"
reach = {{ public = {{}} }}

[model.chat]
targets = ["gpu/llama", "cloud/llama"]

[app.trace]
team = "test"
keys = ["sha256:0000000000000000000000000000000000000000000000000000000000000001"]
models = ["chat"]

[data.trace]
labels = []

[policy]
approve = [{approve}]
"#
    )
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let world = Self { folder };
        world.write("trace.csv", &trace());
        world.write("scenario.toml", SCENARIO);
        world
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a temporary folder takes files");
        path
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn replay(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = run(&[&["replay"], arguments].concat(), self.path()).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, err) = self.replay(&[arguments, &["--json", "trace.csv"]].concat()).await;
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap_or_else(|error| unreachable!("{error}: {out}"))
    }
}

#[tokio::test]
async fn a_trace_that_own_servers_can_serve_costs_nothing_and_all_cloud_costs_what_its_tokens_cost() {
    let world = World::new();

    let answer = world.json(&["--scenario", "scenario.toml", "--router", "all-cloud"]).await;

    let [ours, cloud] = answer["runs"].as_array().unwrap().as_slice() else { unreachable!("{answer}") };
    assert_eq!((ours["requests"].as_u64(), ours["cloud_usd_per_hour"].as_f64()), (Some(1_200), Some(0.0)));
    assert_eq!(ours["total_usd_per_hour"].as_f64(), Some(10.0));
    let (paid, hours) = (cloud["cloud_usd_per_hour"].as_f64().unwrap(), answer["seconds"].as_f64().unwrap() / 3_600.0);
    assert!((paid * hours - 1_200.0 * 0.0028).abs() < 0.05, "{cloud}");
}

#[tokio::test]
async fn what_if_counts_the_requests_that_a_new_policy_would_move_and_what_they_would_cost() {
    let world = World::new();
    world.write("now.toml", &configuration(""));
    world.write(
        "next.toml",
        &configuration("\"cloud\"").replace("[\"gpu/llama\", \"cloud/llama\"]", "[\"cloud/llama\"]"),
    );
    let what_if = ["--config", "now.toml", "--against", "next.toml", "--scenario", "scenario.toml", "--app", "trace"];

    let answer = world.json(&what_if).await;

    let all = &answer["what_if"]["all"];
    assert_eq!(
        (all["requests"].as_u64(), all["moved"].as_u64(), all["dearer"].as_u64()),
        (Some(1_200), Some(1_200), Some(1_200))
    );
    assert_eq!(answer["what_if"]["moves"][0]["to"], "cloud/llama");
    assert!((all["usd_what_if"].as_f64().unwrap() - 1_200.0 * 0.0028).abs() < 1e-6, "{all}");
}

#[tokio::test]
async fn another_price_in_the_configuration_is_another_bill() {
    let world = World::new();
    let priced = |usd: &str| {
        let cost = format!("cost = {{ per_token = {{ input_usd_per_million = {usd}, output_usd_per_million = 8 }} }}");
        configuration("\"cloud\"")
            .replace("[\"gpu/llama\", \"cloud/llama\"]", "[\"cloud/llama\"]")
            .replace("url = \"https://cloud.example/v1\"", &format!("url = \"https://cloud.example/v1\"\n{cost}"))
    };
    world.write("now.toml", &priced("2.0"));
    world.write("next.toml", &priced("1.0"));

    let answer = world.json(&["--config", "now.toml", "--against", "next.toml", "--app", "trace"]).await;

    let all = &answer["what_if"]["all"];
    assert_eq!((all["moved"].as_u64(), all["cheaper"].as_u64()), (Some(0), Some(1_200)), "{answer}");
    let dollars = |name: &str| all[name].as_f64().unwrap();
    assert!((dollars("usd_before") - 1_200.0 * 0.0028).abs() < 1e-6, "{all}");
    assert!((dollars("usd_what_if") - 1_200.0 * 0.0018).abs() < 1e-6, "{all}");
}

/// Two minutes of five requests a second: more than the own server can read in time.
fn busy_trace() -> String {
    let line = |second: u32| format!("2023-11-16 18:{:02}:{:02}.5000000,2000,100\n", second / 60, second % 60);
    let five = |second| line(second).repeat(5);
    std::iter::once("TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned()).chain((0..120).map(five)).collect()
}

/// The configuration with both targets permitted and these settings of the model.
fn steered(settings: &str) -> String {
    configuration("\"cloud\"").replace("[model.chat]\n", &format!("[model.chat]\n{settings}\n"))
}

/// What would be different under other settings of the model, while the own server has more to do than it can.
async fn what_if(before: &str, now: &str) -> Value {
    let world = World::new();
    world.write("trace.csv", &busy_trace());
    world.write("now.toml", &steered(before));
    world.write("next.toml", &steered(now));
    let what_if = ["--config", "now.toml", "--against", "next.toml", "--scenario", "scenario.toml", "--app", "trace"];
    world.json(&what_if).await
}

const QUICK: &str = "first_token = { p95_ms = 1500 }";

#[tokio::test]
async fn with_burst_never_no_cloud_is_billed_whatever_the_own_server_has_to_do() {
    let answer = what_if(QUICK, &format!("{QUICK}\nburst = \"never\"")).await;

    let all = &answer["what_if"]["all"];
    assert!(all["usd_before"].as_f64().unwrap() > 0.0, "{answer}");
    assert_eq!((all["usd_what_if"].as_f64(), all["dearer"].as_u64()), (Some(0.0), Some(0)), "{answer}");
    assert_eq!(answer["what_if"]["moves"][0]["to"], "gpu/llama", "{answer}");
}

#[tokio::test]
async fn a_shorter_time_to_the_first_token_moves_requests_to_the_cloud() {
    let answer = what_if(QUICK, "first_token = { p95_ms = 300 }").await;

    let all = &answer["what_if"]["all"];
    assert!(all["moved"].as_u64().unwrap() > 0, "{answer}");
    assert!(all["usd_what_if"].as_f64().unwrap() > 1.2 * all["usd_before"].as_f64().unwrap(), "{answer}");
}

#[tokio::test]
async fn a_target_takes_the_share_of_the_requests_that_the_configuration_gives_it() {
    let answer = what_if("", "shares = { \"cloud/llama\" = 50 }").await;

    let run = |index: usize| answer["runs"][index]["cloud_share"].as_f64().unwrap();
    assert_eq!(run(0), 0.0, "without a time to keep nothing is too slow: {answer}");
    assert!((0.42..0.58).contains(&run(1)), "{answer}");
}

#[tokio::test]
async fn requests_of_batch_traffic_wait_for_the_own_server_where_others_would_pay() {
    let answer = what_if(QUICK, &format!("{QUICK}\ntraffic = \"batch\"")).await;

    let all = &answer["what_if"]["all"];
    assert!(all["usd_before"].as_f64().unwrap() > 0.0 && all["cheaper"].as_u64().unwrap() > 0, "{answer}");
    assert_eq!(all["usd_what_if"].as_f64(), Some(0.0), "{answer}");
}

#[tokio::test]
async fn a_bound_on_requests_in_flight_moves_what_exceeds_it() {
    let world = World::new();
    world.write("trace.csv", &busy_trace());
    world.write("now.toml", &steered(""));
    let bounded = "[endpoint.gpu]\ncapacity = { in_flight = 2 }\n";
    world.write("next.toml", &steered("").replace("[endpoint.gpu]\n", bounded));
    let what_if = ["--config", "now.toml", "--against", "next.toml", "--scenario", "scenario.toml", "--app", "trace"];

    let answer = world.json(&what_if).await;

    assert_eq!(answer["what_if"]["moves"][0]["to"], "cloud/llama", "{answer}");
}

#[tokio::test]
async fn provisioned_throughput_is_used_before_what_charges_by_the_token() {
    let world = World::new();
    let provisioned = "url = \"https://cloud.example/v1\"\ncost = { provisioned = { usd_per_hour = 5 } }";
    world.write("trace.csv", &busy_trace());
    let text = steered(&format!("{QUICK}\nburst = \"never\""));
    world.write("now.toml", &text);
    world.write("next.toml", &text.replace("url = \"https://cloud.example/v1\"", provisioned));

    let answer = world.json(&["--config", "now.toml", "--against", "next.toml", "--app", "trace"]).await;

    assert_eq!(answer["what_if"]["moves"][0]["to"], "cloud/llama", "{answer}");
    assert_eq!(answer["what_if"]["all"]["usd_what_if"].as_f64(), Some(0.0), "{answer}");
}

#[tokio::test]
async fn what_of_a_configuration_a_replay_does_not_go_by_is_named() {
    let world = World::new();
    let limited = "team = \"test\"\nlimits = { requests_per_minute = 5 }";
    world.write("now.toml", &configuration("").replace("team = \"test\"", limited));

    let answer = world.json(&["--config", "now.toml", "--app", "trace"]).await;

    let notes = answer["notes"].to_string();
    for left in ["limits and budgets of apps", "sessions", "`service_tier`", "No `first_token` is set for chat"] {
        assert!(notes.contains(left), "{left}: {notes}");
    }
    assert!(!notes.contains("fallbacks"), "only what is set is named: {notes}");
}

#[tokio::test]
async fn the_report_is_one_page_that_fetches_nothing() {
    let world = World::new();

    let (code, table, err) = world.replay(&["--scenario", "scenario.toml", "--html", "report.html", "trace.csv"]).await;

    assert_eq!(code, 0, "{err}");
    assert!(table.contains("1200 requests") && table.contains("causeway"), "{table}");
    let page = std::fs::read_to_string(world.path().join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("src="), "{page}");
}

/// An endpoint on the site, and one in Europe's data zone, which personal data does not go to.
fn two_places(site: &Upstream, zone: &Upstream) -> Config {
    let azure = "{ azure = { region = \"swedencentral\", sku = \"DataZoneStandard\" } }";
    Config::new()
        .endpoint("zone", Endpoint::of(zone).place(Some(azure)))
        .endpoint("site", Endpoint::of(site).with("cost = { fixed = { usd_per_hour = 1 } }"))
        .model("assistant", &["zone/gpt", "site/llama"])
}

#[tokio::test]
async fn a_gateways_own_log_is_a_trace_and_a_label_that_a_request_added_counts_under_another_configuration_too() {
    let (site, zone) = (Upstream::start("site").await, Upstream::start("zone").await);
    let gateway = Gateway::start(&two_places(&site, &zone)).await;
    for (name, value) in
        [("x-causeway-labels", ""), ("x-causeway-class", "public"), ("x-causeway-labels", "eu_personal")]
    {
        let request = Request::post("/v1/chat/completions", &chat("assistant")).header(name, value);
        assert_eq!(gateway.send(request).await.status, 200);
    }
    let refused = gateway.send(Request::post("/v1/chat/completions", &chat("unknown"))).await;
    gateway.audit().refusal(&refused.decision()).await;
    let next = gateway.configuration_text().replace("labels = []", "labels = [\"health\"]");
    std::fs::write(gateway.folder().join("next.toml"), next).unwrap();
    let prices = "[[target]]\nname = \"zone/gpt\"\ncloud = {}\ninput_usd_per_million = 1\noutput_usd_per_million = 1\n";
    std::fs::write(gateway.folder().join("fleet.toml"), prices).unwrap();

    let arguments = ["replay", "--config", "causeway.toml", "--against", "next.toml", "--scenario", "fleet.toml"];
    let arguments = [&arguments[..], &["--router", "all-cloud", "--json", "state/audit"]].concat();
    let output = run(&arguments, gateway.folder()).await;

    let said = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr].concat()).into_owned();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| unreachable!("{error}: {said}"));
    assert_eq!(answer["requests"], 3, "{answer}");
    assert!(answer["notes"].to_string().contains("1 refused when it was recorded: model_not_found"), "{answer}");
    assert_eq!(answer["what_if"]["all"]["denied"], 0, "{answer}");
    // With `all-cloud` the two plain requests pay a cloud; the labelled one may not go there, before or after.
    let run = |name: &str| answer["runs"].as_array().unwrap().iter().find(|run| run["name"] == name).unwrap().clone();
    assert_eq!(run("all-cloud")["cloud_share"].as_f64().map(|share| (share * 3.0).round()), Some(2.0), "{answer}");
    assert_eq!(run("what if")["cloud_share"], 0.0, "{answer}");
}

#[tokio::test]
async fn a_class_that_a_request_gave_itself_counts_in_the_replay_of_a_gateways_own_log() {
    let (site, zone) = (Upstream::start("site").await, Upstream::start("zone").await);
    let gateway = Gateway::start(&two_places(&site, &zone)).await;
    for class in ["internal", "secret"] {
        let request = Request::post("/v1/chat/completions", &chat("assistant")).header("x-causeway-class", class);
        assert_eq!(gateway.send(request).await.status, 200);
    }
    let prices = "[[target]]\nname = \"zone/gpt\"\ncloud = {}\ninput_usd_per_million = 1\noutput_usd_per_million = 1\n";
    std::fs::write(gateway.folder().join("fleet.toml"), prices).unwrap();

    let arguments =
        ["replay", "--config", "causeway.toml", "--scenario", "fleet.toml", "--router", "all-cloud", "--json"];
    let output = run(&[&arguments[..], &["state/audit"]].concat(), gateway.folder()).await;

    let said = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr].concat()).into_owned();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| unreachable!("{error}: {said}"));
    let runs = answer["runs"].as_array().expect("a list");
    let all_cloud = runs.iter().find(|run| run["name"] == "all-cloud").expect("it was asked for");
    // Of the two requests the secret one stays at home, whatever a cloud costs.
    assert_eq!(all_cloud["cloud_share"], 0.5, "{answer}");
}

#[tokio::test]
async fn a_class_that_claims_gave_a_request_decides_in_its_replay() {
    let world = World::new();
    world.write(
        "now.toml",
        &configuration("\"cloud\"").replace("[\"gpu/llama\", \"cloud/llama\"]", "[\"cloud/llama\"]"),
    );
    let line = |second: u32, data: &str| {
        format!(
            "{{\"kind\":\"intent\",\"decision\":\"d{second}\",\"at\":\"2026-03-01T10:00:0{second}Z\",\"app\":\"trace\",\
             \"model\":\"chat\",\"api\":\"chat\",\"estimate\":{{\"input\":100,\"output\":10}},\
             \"data\":{{\"labels\":[],{data}}}}}\n"
        )
    };
    let plain = "\"class\":\"internal\"";
    let secret = "\"class\":\"secret\",\"class_from\":\"claims\"";
    let log = [line(0, plain), line(1, secret), line(2, plain)].concat();
    world.write("log.jsonl", &log);

    let (code, out, err) =
        world.replay(&["--config", "now.toml", "--scenario", "scenario.toml", "--json", "log.jsonl"]).await;

    assert_eq!(code, 0, "{err}");
    let answer: Value = serde_json::from_str(&out).unwrap_or_else(|error| unreachable!("{error}: {out}"));
    let run = &answer["runs"][0];
    assert_eq!((run["requests"].as_u64(), run["denied"].as_u64()), (Some(3), Some(1)), "{answer}");
}

#[tokio::test]
async fn an_app_that_the_configuration_does_not_have_is_named_with_those_that_it_has() {
    let world = World::new();
    world.write("now.toml", &configuration(""));

    let (code, _, err) = world.replay(&["--config", "now.toml", "trace.csv", "--app", "nobody"]).await;

    assert_eq!(code, 3);
    assert!(err.contains("no app `nobody`; name the one that asks with `--app`, of trace"), "{err}");
}

#[tokio::test]
async fn a_mistake_in_a_trace_or_a_scenario_is_named_with_its_place() {
    let world = World::new();
    world.write("bad.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,1\n");
    world.write("bad.toml", &SCENARIO.replace("engine = {}", "engine = {}\ncloud = {}"));

    let (code, _, trace) = world.replay(&["--scenario", "scenario.toml", "bad.csv"]).await;
    let (_, _, scenario) = world.replay(&["--scenario", "bad.toml", "trace.csv"]).await;

    assert_eq!(code, 3);
    assert!(trace.contains("bad.csv:2: expected"), "{trace}");
    assert!(scenario.contains("bad.toml: target `gpu/llama` needs either `engine` or `cloud`"), "{scenario}");
}

/// Whoever plays a trace need not be whom the gateway runs as.
#[tokio::test]
async fn a_key_that_the_reader_may_not_read_is_replaced_for_the_moment_and_said() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let world = World::new();
    world.write("now.toml", &configuration(""));
    std::fs::create_dir(world.path().join("state")).expect("a temporary folder takes folders");
    let key = world.write("state/users.key", "a key that nobody else may read");
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    mode(&key, 0o000).expect("it is ours");
    mode(world.path(), 0o755).expect("it is ours");
    let arguments = ["replay", "--config", "now.toml", "--scenario", "scenario.toml", "--app", "trace", "trace.csv"];
    let mut command = causeway(&arguments, world.path());
    // Root may read everything.
    if std::fs::metadata(world.path()).expect("it is ours").uid() == 0 {
        command.uid(65_534).gid(65_534);
    }

    let output = within("the command to end", command.output()).await.expect("cargo built the binary");

    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("users.key may not be read") && text.contains("other pseudonyms"), "{text}");
}
