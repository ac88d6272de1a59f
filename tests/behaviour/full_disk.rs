//! What happens while the audit log cannot be written, where the configuration lets requests of low classes through.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::testkit::{Audit, Config, Gateway, Request, Upstream, causeway, chat, not_tested, until, within};

const PATH: &str = "/v1/chat/completions";

/// Public requests that are sent meanwhile: their lines of the journal take more than is left of the last block of a file.
const PASSED: usize = 40;

/// Apps whose data is public, internal, and of a class that nobody states. Of the models one says that it is for public data,
/// and for another a model of internal data stands in.
fn config(upstream: &Upstream) -> Config {
    let all = &["assistant", "open", "careful", "vault"];
    Config::serving(upstream)
        .section("[model.open]\ntargets = [\"only/served-model\"]\nclass = \"public\"\n")
        .section("[model.careful]\ntargets = [\"only/served-model\"]\nfallbacks = [\"vault\"]\n")
        .section("[model.vault]\ntargets = [\"only/vault-model\"]\nclass = \"internal\"\n")
        .app_with_data("leaflets", "cw_of_leaflets", all, "labels = []\nclass = \"public\"")
        .app_with_data("intranet", "cw_of_the_intranet", &["assistant"], "labels = []\nclass = \"internal\"")
        .app_with_data("unsaid", "cw_of_nobody_knows", all, "labels = []")
        .section("[audit]\nrefuse_from = \"internal\"\n")
}

async fn status_of(gateway: &Gateway, key: &str) -> u16 {
    gateway.send(Request::post(PATH, &chat("assistant")).key(key)).await.status
}

/// Asks for the intranet until the log takes no more.
async fn fill_the_log(gateway: &Gateway) {
    for _ in 0..1_000 {
        match status_of(gateway, "cw_of_the_intranet").await {
            200 => {}
            503 => return,
            other => unreachable!("{other} is neither an answer nor a refusal because of the log"),
        }
    }
    unreachable!("the log never fills");
}

async fn status(gateway: &Gateway) -> Value {
    serde_json::from_slice(&gateway.operator("/api/status").await.bytes().await).expect("JSON")
}

/// Public requests are answered, all others refused, also one of which nobody says what it holds; a listing names no class.
async fn only_public_requests_pass(gateway: &Gateway, upstream: &Upstream) {
    let before = upstream.requests().len();
    for _ in 0..PASSED {
        assert_eq!(status_of(gateway, "cw_of_leaflets").await, 200);
    }
    let of_others = [
        ("cw_of_the_intranet", "assistant"),
        ("cw_of_nobody_knows", "assistant"),
        // The caller chooses the model, so what that says lets nothing through.
        ("cw_of_nobody_knows", "open"),
        // It might go to the model that stands in.
        ("cw_of_leaflets", "careful"),
    ];
    for (key, model) in of_others {
        let refused = gateway.send(Request::post(PATH, &chat(model)).key(key)).await;
        assert_eq!((refused.status, refused.code().await.as_str()), (503, "audit_unavailable"), "{key} {model}");
    }
    assert_eq!(gateway.send(Request::get("/v1/models").key("cw_of_leaflets")).await.status, 503);
    assert_eq!(upstream.requests().len(), before + PASSED);
    let status = status(gateway).await;
    let audit = &status["audit"];
    assert_eq!((&audit["failing"], &audit["passed"], &audit["unrecorded"]), (&json!(true), &json!(PASSED), &json!(0)));
    assert_eq!(audit["refuse_from"], "internal");
    let metrics = gateway.operator("/metrics").await.text().await;
    assert!(metrics.contains(&format!("causeway_audit_passed_total {PASSED}\n")), "{metrics}");
}

/// Once there is room again: all classes are answered, and the log has what passed, behind an entry that says how much.
async fn the_log_tells_of_them(gateway: &Gateway, audit: &Audit) {
    until("the log to take entries again", async || {
        (status_of(gateway, "cw_of_the_intranet").await == 200).then_some(())
    })
    .await;
    let lines = until("the outcomes of what passed", async || {
        let lines = audit.lines();
        let outcomes = lines.iter().filter(|line| line["kind"] == "outcome").count();
        let intents = lines.iter().filter(|line| line["kind"] == "intent").count();
        (outcomes == intents).then_some(lines)
    })
    .await;

    let passed: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "passed").collect();
    let sum = |field: &str| passed.iter().filter_map(|line| line[field].as_u64()).sum::<u64>();
    assert_eq!((sum("requests"), sum("unrecorded")), (PASSED as u64, 0), "{passed:?}");
    let late = |kind: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["kind"] == kind && line["late"] == true).collect()
    };
    assert_eq!((late("intent").len(), late("outcome").len()), (PASSED, PASSED));
    assert!(late("intent").iter().all(|line| line["app"] == "leaflets"), "{lines:?}");
    let told = lines.iter().position(|line| line["kind"] == "passed");
    assert!(told < lines.iter().position(|line| line["late"] == true), "it stands before them");
}

/// The public half of the key that signs the log.
fn public_key(gateway: &Gateway) -> PathBuf {
    let keys = std::fs::read_dir(gateway.state().join("audit-keys")).expect("the key was made at the start");
    let mut names = keys.filter_map(|entry| Some(entry.ok()?.path()));
    names.find(|path| path.extension().is_some_and(|ending| ending == "pub")).expect("its public half lies beside it")
}

async fn verify(folder: &Path, key: &Path) -> (Option<i32>, String) {
    let (folder, key) = (folder.to_string_lossy(), key.to_string_lossy());
    let output = crate::testkit::run(&["audit", "verify", "--folder", &folder, "--key", &key], Path::new("/")).await;
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn while_no_file_can_grow_only_requests_below_the_named_class_are_sent_and_they_are_recorded_late() {
    let upstream = Upstream::start("only").await;
    // Only the soft limit, which may be lifted again.
    let gateway = Gateway::start_under(&config(&upstream), "trap '' XFSZ; ulimit -S -f 256").await;
    fill_the_log(&gateway).await;

    only_public_requests_pass(&gateway, &upstream).await;
    let lifted = Command::new("prlimit").args(["--pid", &gateway.id().to_string(), "--fsize=unlimited"]).status();

    assert!(lifted.is_ok_and(|status| status.success()), "`prlimit` of util-linux is there");
    the_log_tells_of_them(&gateway, &gateway.audit()).await;
    let (code, said) = verify(&gateway.state().join("audit"), &public_key(&gateway)).await;
    assert_eq!(code, Some(3), "not witnessed, and nothing worse: {said}");
}

#[tokio::test]
async fn a_reload_that_lets_more_classes_through_while_the_log_takes_nothing_is_in_it_afterwards() {
    let upstream = Upstream::start("only").await;
    let config = config(&upstream);
    let gateway = Gateway::start_under(&config, "trap '' XFSZ; ulimit -S -f 256").await;
    fill_the_log(&gateway).await;

    let text = gateway.configuration_text();
    gateway.configure_text(&text.replace("refuse_from = \"internal\"", "refuse_from = \"confidential\""));
    gateway.signal("HUP");
    until("the reload to take effect", async || {
        let refuse_from = status(&gateway).await["audit"]["refuse_from"].clone();
        (refuse_from == "confidential").then_some(())
    })
    .await;
    let sent = gateway.send(Request::post(PATH, &chat("assistant")).key("cw_of_the_intranet")).await;
    let decision = sent.decision();
    let lifted = Command::new("prlimit").args(["--pid", &gateway.id().to_string(), "--fsize=unlimited"]).status();

    assert_eq!(sent.status, 200);
    assert!(lifted.is_ok_and(|status| status.success()), "`prlimit` of util-linux is there");
    let audit = gateway.audit();
    let intent = audit.record(&decision).await.intent;
    let reloads: Vec<Value> = audit.of_kind("admin").into_iter().filter(|entry| entry["action"] == "reload").collect();
    let said = reloads.iter().any(|entry| entry["late"] == true && entry["configuration"] == intent["configuration"]);
    assert!(said, "the hash under which it was sent has been said: {reloads:?}");
}

/// A disk of its own below `state`, in a world of its own, so that nobody else's fills.
const ON_A_SMALL_DISK: &str = "mkdir -p state; exec unshare --user --map-root-user --mount sh -c \
    'mount -t tmpfs -o size=48m tmpfs state && exec \"$0\" \"$@\" >/dev/null 2>&1' \"$0\" \"$@\"";

#[tokio::test]
async fn on_a_disk_that_is_really_full_the_journal_goes_on_and_public_requests_pass() {
    let may_mount = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        return not_tested("a disk that is really full: no user namespaces here");
    }
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start_under(&config(&upstream), ON_A_SMALL_DISK).await;
    // As the gateway sees it.
    let inside = |path: PathBuf| PathBuf::from(format!("/proc/{}/root{}", gateway.id(), path.display()));
    let state = inside(gateway.state().canonicalize().expect("it was made at the start"));
    until("room to be kept back for the end", async || state.join("audit-reserve").exists().then_some(())).await;
    fill(&state.join("filler"));
    fill_the_log(&gateway).await;

    only_public_requests_pass(&gateway, &upstream).await;
    std::fs::remove_file(state.join("filler")).expect("it was made above");

    the_log_tells_of_them(&gateway, &Audit::at(&state)).await;
}

/// Writes a file until the disk is full.
fn fill(path: &Path) {
    use std::io::Write as _;

    let mut file = std::fs::File::create(path).expect("the disk has some room yet");
    for size in [64 << 10, 4 << 10, 1] {
        while file.write_all(&vec![0xA5; size]).is_ok() {}
    }
}

#[tokio::test]
async fn what_is_held_back_and_refused_while_the_log_takes_nothing_is_in_it_afterwards() {
    let upstream = Upstream::start("only").await;
    let config = config(&upstream).administrator("oscar", "operator", "cw_key_of_an_operator");
    let gateway = Gateway::start_under(&config, "trap '' XFSZ; ulimit -S -f 256").await;
    fill_the_log(&gateway).await;

    let arguments = ["revoke", "app", "intranet", "--because", "a leak at three", "--config", "causeway.toml"];
    let mut command = causeway(&arguments, gateway.folder());
    command.env("CAUSEWAY_ADMIN_KEY", "cw_key_of_an_operator");
    let revoked = within("the command to end", command.output()).await.expect("cargo built the binary");
    let refused = gateway.send(Request::post(PATH, &chat("assistant")).key("cw_of_nobody_knows")).await;
    let decision = refused.decision();
    let lifted = Command::new("prlimit").args(["--pid", &gateway.id().to_string(), "--fsize=unlimited"]).status();

    assert_eq!((revoked.status.code(), refused.status), (Some(1), 503), "in force, and not recorded yet");
    let said = String::from_utf8_lossy(&revoked.stderr);
    assert!(said.contains("NOT RECORDED") && !said.contains("NOT KEPT"), "{said}");
    assert!(lifted.is_ok_and(|status| status.success()), "`prlimit` of util-linux is there");
    let audit = gateway.audit();
    let late =
        |kind: &str| -> Vec<Value> { audit.of_kind(kind).into_iter().filter(|entry| entry["late"] == true).collect() };
    until("the log to tell of both", async || {
        let is_told = late("admin").iter().any(|entry| entry["action"] == "revoke" && entry["done"] == true)
            && late("refused").iter().any(|entry| entry["decision"] == *decision);
        is_told.then_some(())
    })
    .await;
    let (code, said) = verify(&gateway.state().join("audit"), &public_key(&gateway)).await;
    assert_eq!(code, Some(3), "not witnessed, and nothing worse: {said}");
}
