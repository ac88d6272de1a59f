//! What is sent to somebody who helps: enough to help, and nothing that was planted.

use serde_json::Value;

use crate::testkit::{
    Act, Config, Endpoint, Gateway, KEY, Request, UPSTREAM_KEY, Upstream, causeway, chat, until, within,
};

const SECURITY: &str = "cw_planted_key_of_an_administrator";
const PROMPT: &str = "planted words of a prompt about erika.planted@corp.example";
const ANSWER: &str = "planted words of an answer";
const REASON: &str = "planted words of a reason";
const PSEUDONYMS: &str = "PSEUDONYM+KEY+00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn asking(who: &str) -> Request {
    let mut body = chat("assistant");
    body["messages"][0]["content"] = PROMPT.into();
    body["user"] = who.into();
    Request::post("/v1/chat/completions", &body)
}

async fn command(gateway: &Gateway, arguments: &[&str]) -> std::process::Output {
    let mut command = causeway(arguments, gateway.folder());
    command.env("CAUSEWAY_ADMIN_KEY", SECURITY);
    within("the command to end", command.output()).await.expect("cargo built the binary")
}

#[tokio::test]
async fn a_support_bundle_holds_what_helps_and_nothing_that_was_planted() {
    let upstream = Upstream::start("only").await;
    let planted = "planted-secret-in-a-comment";
    let config = Config::new()
        .endpoint("only", Endpoint::of(&upstream))
        .model("assistant", &["only/served-model"])
        .administrator("sam", "security", SECURITY)
        .file("pseudonyms.key", PSEUDONYMS)
        .section("[audit]\npseudonyms = { key = \"pseudonyms.key\", held_by = \"planted holder\" }\n")
        .section(&format!("# {planted}\n"));
    let gateway = Gateway::start(&config).await;
    upstream.script([Act::bytes(200, ANSWER), Act::bytes(500, ANSWER)]);
    for who in ["planted-user-1", "planted-user-2", "planted-user-3"] {
        gateway.send(asking(who)).await.bytes().await;
    }
    let key_in_content = asking("x").key("planted-key-that-nobody-knows");
    assert_eq!(gateway.send(key_in_content).await.status, 401);
    let held = command(&gateway, &["local-only", "on", "--because", REASON, "--config", "causeway.toml"]).await;
    assert!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));
    // A reload is refused with a mistake that quotes what stands in the file.
    let text = gateway.configuration_text();
    gateway.configure_text(&text.replace("[admin]", "planted_setting = \"planted-value\"\n[admin]"));
    gateway.signal("HUP");
    until("the refused reload", async || {
        gateway.audit().of_kind("admin").iter().any(|entry| entry["action"] == "reload_refused").then_some(())
    })
    .await;
    // It stays broken; the bundle is made with a copy of the good one.
    std::fs::write(gateway.folder().join("good.toml"), &text).expect("a file can be written");

    let made = command(&gateway, &["support-bundle", "--config", "good.toml", "--out", "bundle.json"]).await;

    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bundle = std::fs::read_to_string(gateway.folder().join("bundle.json")).expect("it was written");
    let signing = std::fs::read_dir(gateway.state().join("audit-keys")).expect("the log is signed");
    let private: Vec<String> = signing
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .filter(|text| text.starts_with("PRIVATE"))
        // `PRIVATE+KEY+NAME+HASH+` and the key in base64, which may hold a `+` itself.
        .map(|text| text.trim().splitn(5, '+').last().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(private.iter().map(|key| key.len() > 40).collect::<Vec<_>>(), [true]);
    let digest = crate::testkit::digest_of(KEY);
    let digits = digest.trim_start_matches("sha256:");
    let secrets =
        [UPSTREAM_KEY, KEY, SECURITY, digits, PROMPT, ANSWER, REASON, "planted", "0011223344", "erika", &private[0]];
    for secret in secrets {
        assert!(!bundle.contains(secret), "the bundle holds `{secret}`");
    }
    let bundle: Value = serde_json::from_str(&bundle).expect("a bundle is JSON");
    assert_eq!(bundle["configuration"]["endpoints"][0]["name"], "only");
    assert_eq!(bundle["audit"]["kinds"]["intent"], 3, "{}", bundle["audit"]);
    assert_eq!(bundle["status"]["restrictions"]["local_only"]["by"], "sam");
    assert_eq!(bundle["status"]["configuration"]["last_reload"]["refused"], true);
    assert!(bundle["metrics"].as_str().is_some_and(|text| text.contains("causeway_requests")));
    let actions: Vec<&str> = bundle["audit"]["actions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["action"].as_str())
        .collect();
    assert!(actions.contains(&"local_only_on") && actions.contains(&"reload_refused"), "{actions:?}");
    let again = command(&gateway, &["support-bundle", "--config", "good.toml", "--out", "bundle.json"]).await;
    assert_eq!(again.status.code(), Some(3), "a file that is there is not written over");
}

#[tokio::test]
async fn a_support_bundle_is_made_of_what_is_there_when_the_gateway_does_not_run() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&Config::serving(&upstream)).await;
    gateway.chat(&chat("assistant")).await;
    gateway.signal("TERM");
    gateway.left().await;

    let made = command(&gateway, &["support-bundle", "--config", "causeway.toml", "--out", "bundle.json"]).await;

    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bundle = std::fs::read_to_string(gateway.folder().join("bundle.json")).expect("it was written");
    let bundle: Value = serde_json::from_str(&bundle).expect("a bundle is JSON");
    assert_eq!(bundle["status"]["unreachable"], "the listener does not answer");
    assert_eq!((&bundle["audit"]["kinds"]["seal"], &bundle["audit"]["ends"]["complete"]), (&1.into(), &1.into()));
}
