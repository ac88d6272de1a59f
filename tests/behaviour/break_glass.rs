//! Grants for an emergency: two people open what was approved beforehand, for a while, and every record says so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::testkit::{
    Client, Config, Dns, Endpoint, Gateway, Request, TokenSigner, Upstream, causeway, chat, run, until, within,
};

const OPERATOR: &str = "cw_key_of_an_operator";
const SECURITY: &str = "cw_key_of_security";
const ISSUER: &str = "https://login.corp.example/realms/people";

/// A cloud that no policy permits for personal data of the EU.
const ELSEWHERE: &str = "{ declared = { processing = [\"US\"], at_rest = [\"US\"], operator = \"US\", because = \"a stand-in of this test\" } }";

const GRANT: &str = "causeway break-glass 1\ngrant: overseas\napps: claims, clinic\nendpoints: cloud\nhours: 1\nuntil: 2099-01-01\n\
                     because: the own site may fail\n";

struct World {
    upstream: Upstream,
    gateway: Gateway,
}

/// The app `claims` has personal data, `clinic` health data; the only endpoint is overseas, and a grant for both sleeps.
async fn world() -> World {
    let upstream = Upstream::start("cloud").await;
    let endpoint = Endpoint::of(&upstream);
    world_of(upstream, Config::new(), endpoint).await
}

async fn world_of(upstream: Upstream, config: Config, endpoint: Endpoint) -> World {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let made = run(&["break-glass", "key", "--name", "security", "approver.key"], folder.path()).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let public = String::from_utf8(made.stdout).expect("a key is plain text").trim().to_owned();
    std::fs::write(folder.path().join("overseas.txt"), GRANT).expect("a file can be written");
    let signed = run(&["break-glass", "sign", "--key", "approver.key", "overseas.txt"], folder.path()).await;
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let grant = String::from_utf8(signed.stdout).expect("a grant is plain text");
    let policy = format!(
        "[policy]\nno_break_glass = [\"health\", \"secret\"]\n\
         break_glass = {{ grants = \"grants\", approved_by = [\"{public}\"] }}\n"
    );
    let config = config
        .endpoint("cloud", endpoint.place(Some(ELSEWHERE)))
        .model("assistant", &["cloud/served-model"])
        .app_with_data("claims", "cw_of_claims", &["assistant"], "labels = [\"eu_personal\"]")
        .app_with_data("clinic", "cw_of_the_clinic", &["assistant"], "labels = [\"eu_personal\", \"health\"]")
        .app_with_data("search", "cw_of_search", &["assistant"], "labels = [\"eu_personal\"]")
        .administrator("oscar", "operator", OPERATOR)
        .administrator("sam", "security", SECURITY)
        .file("grants/overseas.grant", &grant)
        .section(&policy);
    let gateway = Gateway::start(&config).await;
    World { upstream, gateway }
}

impl World {
    async fn act(&self, key: &str, verb: &str) -> (Option<i32>, String) {
        let arguments =
            ["break-glass", verb, "overseas", "--because", "the own site burns", "--config", "causeway.toml"];
        let mut command = causeway(&arguments, self.gateway.folder());
        command.env("CAUSEWAY_ADMIN_KEY", key);
        let output = within("the command to end", command.output()).await.expect("cargo built the binary");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    async fn status_of(&self, key: &str) -> u16 {
        self.gateway.send(asking(key)).await.status
    }

    async fn opened(&self) {
        assert_eq!(self.act(OPERATOR, "open").await.0, Some(0));
        assert_eq!(self.act(SECURITY, "open").await.0, Some(0));
    }
}

fn asking(key: &str) -> Request {
    Request::post("/v1/chat/completions", &chat("assistant")).key(key)
}

#[tokio::test]
async fn what_is_proved_and_shown_of_policies_names_the_grants_that_lie_outside_of_it() {
    let world = world().await;
    let said = async |arguments: &[&str]| {
        let output =
            run(&[&["policy"], arguments, &["--config", "causeway.toml"]].concat(), world.gateway.folder()).await;
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    let proof = said(&["prove", "--enumerate", "--json"]).await;
    let text = said(&["prove", "--enumerate"]).await;
    let exports = [said(&["matrix", "--format", "csv"]).await, said(&["matrix", "--format", "html"]).await];

    let proof: Value = serde_json::from_str(&proof).unwrap_or_else(|error| unreachable!("{error}: {proof}"));
    let outside = proof["outside"].as_str().unwrap_or_default();
    assert!(outside.contains("`overseas` (apps claims, clinic; endpoints cloud; until "), "{proof}");
    assert!(outside.contains("by `no_break_glass`: label health, class secret and above"), "{outside}");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [text].iter().chain(&exports) {
        assert!(words(text).contains("Outside of this lie the break-glass grants"), "{text}");
    }
}

#[tokio::test]
async fn a_grant_that_two_people_opened_lets_its_apps_through_and_each_record_says_so() {
    let world = world().await;
    assert_eq!(world.status_of("cw_of_claims").await, 403, "policy forbids it");

    let (first, said) = world.act(OPERATOR, "open").await;
    assert_eq!((first, said.contains("waits for a second person")), (Some(0), true), "{said}");
    assert_eq!(world.status_of("cw_of_claims").await, 403, "one person opens nothing");
    let (again, said) = world.act(OPERATOR, "open").await;
    assert_eq!((again, said.contains("another person")), (Some(1), true), "{said}");
    let (second, said) = world.act(SECURITY, "open").await;
    assert_eq!((second, said.contains("open, until")), (Some(0), true), "{said}");
    let through = world.gateway.send(asking("cw_of_claims")).await;

    assert_eq!(through.status, 200);
    let record = world.gateway.audit().record(&through.decision()).await.intent;
    assert_eq!(record["break_glass"], "overseas");
    let why = record["candidates"][0]["why"].as_str().unwrap_or_default();
    assert!(why.starts_with("permitted by `break-glass:overseas`"), "{why}");
    assert_eq!(world.status_of("cw_of_the_clinic").await, 403, "health data goes nowhere by a grant");
    assert_eq!(world.status_of("cw_of_search").await, 403, "the grant is not for this app");
    assert_eq!(world.upstream.requests().len(), 1);
    assert!(world.gateway.log().contains("ALARM break_glass"), "an open grant is said aloud");

    assert_eq!(world.act(OPERATOR, "close").await.0, Some(0));
    assert_eq!(world.status_of("cw_of_claims").await, 403);
    let actions: Vec<Value> = world.gateway.audit().of_kind("admin");
    let named: Vec<(&str, &str)> = actions
        .iter()
        .filter_map(|entry| Some((entry["action"].as_str()?, entry["actor"].as_str()?)))
        .filter(|(action, _)| action.starts_with("break_glass"))
        .collect();
    assert_eq!(named, [("break_glass_asked", "oscar"), ("break_glass_opened", "sam"), ("break_glass_closed", "oscar")]);
}

#[tokio::test]
async fn an_open_grant_outlives_a_restart_and_is_closed_when_it_leaves_the_configuration() {
    let mut world = world().await;
    world.opened().await;
    world.gateway.kill().await;
    let mut again = world.gateway.again("again.log", &[]);
    assert!(again.is_ready().await, "{}", again.log());
    world.gateway = again;
    assert_eq!(world.status_of("cw_of_claims").await, 200);

    let text = world.gateway.configuration_text();
    let kept = text.lines().filter(|line| !line.starts_with("break_glass") && !line.starts_with("no_break_glass"));
    let cut: String = kept.map(|line| format!("{line}\n")).collect();
    world.gateway.configure_text(&cut);
    world.gateway.signal("HUP");

    until("the grant to be closed", async || {
        let ended =
            world.gateway.audit().of_kind("admin").into_iter().any(|entry| entry["action"] == "break_glass_ended");
        ended.then_some(())
    })
    .await;
    assert_eq!(world.status_of("cw_of_claims").await, 403);
}

#[tokio::test]
async fn an_open_grant_brings_back_nothing_that_is_held_back() {
    let world = world().await;
    world.opened().await;
    let arguments = ["quarantine", "endpoint", "cloud", "--because", "a leak at three", "--config", "causeway.toml"];
    let mut command = causeway(&arguments, world.gateway.folder());
    command.env("CAUSEWAY_ADMIN_KEY", OPERATOR);
    let held = within("the command to end", command.output()).await.expect("cargo built the binary");
    assert!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));

    let refused = world.gateway.send(asking("cw_of_claims")).await.of_status(403, "what is held back").await;

    assert!(refused.contains("endpoint `cloud` is in quarantine"), "{refused}");
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn an_open_grant_skips_no_private_check() {
    let (upstream, dns) = (Upstream::start("cloud").await, Dns::start().await);
    let world = world_of(upstream, Config::new().resolving(&dns), Endpoint::outside_its_ranges()).await;
    world.opened().await;

    let refused = world.gateway.send(asking("cw_of_claims")).await;

    assert_eq!(refused.code().await, "no_private_path");
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn a_grant_that_nobody_named_has_signed_is_a_mistake_of_the_document() {
    let world = world().await;
    let forged = std::fs::read_to_string(world.gateway.folder().join("grants/overseas.grant")).expect("it was written");
    for (from, to, word) in [
        ("apps: claims, clinic", "apps: search", "its signature does not hold"),
        ("hours: 1", "hours: 4", "its signature does not hold"),
    ] {
        let path = world.gateway.folder().join("grants/overseas.grant");
        std::fs::write(path, forged.replace(from, to)).expect("a file can be written");

        let output = run(&["check", "--config", "causeway.toml"], world.gateway.folder()).await;

        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains(word)), (Some(1), true), "{said}");
    }
}

/// Two sections whose members show tokens of one issuer.
fn by_tokens(signer: &TokenSigner) -> Config {
    let section = |role: &str| {
        format!(
            "[administrator.{role}-team]\nrole = \"{role}\"\n\
             jwt = {{ issuer = \"{ISSUER}\", audience = \"causeway-admin\", claims = {{ roles = \"{role}\" }} }}\n"
        )
    };
    Config::new()
        .file("issuer.json", &signer.key_set().to_string())
        .section(&format!(
            "[issuer.people]\nissuer = \"{ISSUER}\"\nkeys = {{ file = \"issuer.json\" }}\nalgorithms = [\"ES256\"]\n"
        ))
        .section(&section("operator"))
        .section(&section("security"))
}

fn token_of(signer: &TokenSigner, role: &str, sub: Option<&str>) -> String {
    let end = SystemTime::now() + Duration::from_secs(600);
    let seconds = end.duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
    let mut claims = json!({ "iss": ISSUER, "aud": "causeway-admin", "roles": [role], "exp": seconds });
    if let Some(sub) = sub {
        claims["sub"] = sub.into();
    }
    signer.token(&claims)
}

#[tokio::test]
async fn two_people_of_one_section_open_a_grant_and_one_under_two_sections_does_not() {
    let (upstream, signer) = (Upstream::start("cloud").await, TokenSigner::new("k-1"));
    let endpoint = Endpoint::of(&upstream);
    let world = world_of(upstream, by_tokens(&signer), endpoint).await;
    let token = |role: &str, sub: &str| token_of(&signer, role, Some(sub));

    let first = world.act(&token("operator", "erika"), "open").await;
    let (again, said) = world.act(&token("security", "erika"), "open").await;
    assert_eq!((first.0, again, said.contains("another person")), (Some(0), Some(1), true), "{said}");
    assert_eq!(world.status_of("cw_of_claims").await, 403, "one person under two sections opens nothing");
    assert_eq!(world.act(&token("operator", "erika"), "close").await.0, Some(0));

    let one = world.act(&token("security", "erika"), "open").await;
    let other = world.act(&token("security", "max"), "open").await;
    assert_eq!((one.0, other.0), (Some(0), Some(0)), "{} {}", one.1, other.1);
    assert_eq!(world.status_of("cw_of_claims").await, 200);

    let actors: Vec<(String, String)> = world
        .gateway
        .audit()
        .of_kind("admin")
        .iter()
        .filter_map(|entry| Some((entry["action"].as_str()?.to_owned(), entry["actor"].as_str()?.to_owned())))
        .filter(|(action, _)| action.starts_with("break_glass"))
        .collect();
    let expected = [
        ("break_glass_asked", "operator-team/erika"),
        ("break_glass_closed", "operator-team/erika"),
        ("break_glass_asked", "security-team/erika"),
        ("break_glass_opened", "security-team/max"),
    ];
    assert_eq!(actors, expected.map(|(action, actor)| (action.to_owned(), actor.to_owned())));
}

#[tokio::test]
async fn an_administrator_s_token_is_accepted_with_its_role_and_the_record_names_the_person() {
    let (upstream, signer) = (Upstream::start("cloud").await, TokenSigner::new("k-1"));
    let endpoint = Endpoint::of(&upstream);
    let world = world_of(upstream, by_tokens(&signer), endpoint).await;
    let ask = async |path: &str, role: &str, sub: Option<&str>| {
        let body = json!({ "endpoint": "cloud", "because": "a leak at three" });
        let request = Request::post(path, &body).key(&token_of(&signer, role, sub));
        let mut admin = Client::plain(world.gateway.admin()).connect().await.expect("the port is open");
        admin.send(request).await.expect("an answer").status
    };

    let held = ask("/api/quarantine", "operator", Some("erika")).await;
    let beyond = ask("/api/release", "operator", Some("erika")).await;
    let released = ask("/api/release", "security", Some("max")).await;
    let nobody = ask("/api/quarantine", "operator", None).await;

    assert_eq!((held, beyond, released, nobody), (200, 403, 200, 401));
    let entries = world.gateway.audit().of_kind("admin");
    let actor = |action: &str| {
        let entry = entries.iter().find(|entry| entry["action"] == action).expect("it is recorded");
        entry["actor"].as_str().expect("a name").to_owned()
    };
    let actors = ["quarantine", "refused", "release"].map(actor);
    assert_eq!(actors, ["operator-team/erika", "operator-team/erika", "security-team/max"]);
}

#[tokio::test]
async fn a_name_that_somebody_chose_forges_nothing_in_records_answers_and_log_lines() {
    let (upstream, signer) = (Upstream::start("cloud").await, TokenSigner::new("k-1"));
    let endpoint = Endpoint::of(&upstream);
    let world = world_of(upstream, by_tokens(&signer), endpoint).await;
    let token = token_of(&signer, "operator", Some("bob\u{202e} action=release"));

    assert_eq!(world.act(&token, "open").await.0, Some(0));
    let body = json!({ "endpoint": "cloud", "because": "a leak at three" });
    let mut admin = Client::plain(world.gateway.admin()).connect().await.expect("the port is open");
    let held = admin.send(Request::post("/api/quarantine", &body).key(&token)).await.expect("an answer").status;
    let hidden = json!({ "endpoint": "cloud", "because": "a leak\u{202e} at three" });
    let refused = admin.send(Request::post("/api/quarantine", &hidden).key(&token)).await.expect("an answer").status;
    let standings = admin.send(Request::get("/api/break-glass").key(&token)).await.expect("an answer").text().await;

    assert_eq!((held, refused), (200, 400));
    let entries = world.gateway.audit().of_kind("admin");
    let entry = entries.iter().find(|entry| entry["action"] == "quarantine").expect("it is recorded");
    assert_eq!(entry["actor"], "operator-team/bob\\u{202e} action=release");
    assert!(standings.contains("bob\\\\u{202e}") && !standings.contains('\u{202e}'), "{standings}");
    let log = world.gateway.log();
    assert!(log.contains("actor=\"operator-team/bob"), "it stands in quotes: {log}");
    assert!(!log.contains('\u{202e}'), "{log}");
}
