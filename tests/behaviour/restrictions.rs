//! Hands at three in the morning: what is held back is held back at once, is kept over a restart, and is a record.

use std::process::Output;

use serde_json::Value;

use crate::testkit::{
    Act, Client, Config, DONE, Endpoint, Gate, Gateway, KEY, Request, Step, Upstream, causeway, chat, chat_stream,
    chunk, digest_of, finish, until, within,
};

const OPERATOR: &str = "cw_key_of_an_operator";
const SECURITY: &str = "cw_key_of_security";

struct World {
    own: Upstream,
    cloud: Upstream,
    gateway: Gateway,
}

/// Two endpoints, one on an own site and one that is not; the model `assistant` prefers the second.
async fn world() -> World {
    let (own, cloud) = (Upstream::start("own").await, Upstream::start("cloud").await);
    let elsewhere = "{ declared = { processing = [\"DE\"], at_rest = [\"DE\"], operator = \"DE\", because = \"a stand-in of this test\" } }";
    let config = Config::new()
        .endpoint("cloud", Endpoint::of(&cloud).place(Some(elsewhere)))
        .endpoint("own", Endpoint::of(&own))
        .model("assistant", &["cloud/served-model", "own/served-model"])
        .model("other", &["own/served-model"])
        .app("second", "cw_key_of_the_second", &["assistant"], "")
        .administrator("oscar", "operator", OPERATOR)
        .administrator("sam", "security", SECURITY);
    let gateway = Gateway::start(&config).await;
    World { own, cloud, gateway }
}

impl World {
    /// Runs a command as the administrator with this key.
    async fn act(&self, key: &str, arguments: &[&str]) -> Output {
        let arguments = [arguments, &["--because", "a leak at three", "--config", "causeway.toml"]].concat();
        let mut command = causeway(&arguments, self.gateway.folder());
        command.env("CAUSEWAY_ADMIN_KEY", key);
        within("the command to end", command.output()).await.expect("cargo built the binary")
    }

    async fn done(&self, key: &str, arguments: &[&str]) {
        let output = self.act(key, arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    async fn refused(&self, key: &str, arguments: &[&str], word: &str) {
        let output = self.act(key, arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }

    async fn status_of(&self, request: Request) -> u16 {
        self.gateway.send(request).await.status
    }

    fn asked(&self) -> (usize, usize) {
        (self.own.requests().len(), self.cloud.requests().len())
    }
}

fn ask(model: &str) -> Request {
    Request::post("/v1/chat/completions", &chat(model))
}

#[tokio::test]
async fn an_endpoint_in_quarantine_is_sent_nothing_until_security_releases_it() {
    let world = world().await;
    assert_eq!(world.status_of(ask("assistant")).await, 200);
    assert_eq!(world.asked(), (0, 1));

    world.done(OPERATOR, &["quarantine", "endpoint", "cloud"]).await;
    let answer = world.gateway.send(ask("assistant")).await;

    assert_eq!((answer.status, world.asked()), (200, (1, 1)), "the next request goes elsewhere");
    let record = world.gateway.audit().record(&answer.decision()).await;
    let why = record.intent["candidates"][0]["why"].as_str().expect("every candidate says why").to_owned();
    assert!(why.contains("endpoint `cloud` is in quarantine"), "{why}");
    world.refused(OPERATOR, &["quarantine", "endpoint", "cloud", "--lift"], "needs the role `security`").await;
    world.done(SECURITY, &["quarantine", "endpoint", "cloud", "--lift"]).await;
    assert_eq!(world.status_of(ask("assistant")).await, 200);
    assert_eq!(world.asked(), (1, 2));
}

#[tokio::test]
async fn when_all_is_held_back_the_request_is_refused_and_the_record_says_by_what() {
    let world = world().await;
    world.done(OPERATOR, &["quarantine", "model", "assistant"]).await;

    let refused = world.gateway.send(ask("assistant")).await;
    let decision = refused.decision();

    let said = refused.of_status(403, "a model in quarantine").await;
    assert!(said.contains("residency_denied") && said.contains("model `assistant` is in quarantine"), "{said}");
    let record = world.gateway.audit().refusal(&decision).await;
    assert_eq!(record["candidates"].as_array().map(Vec::len), Some(2));
    assert_eq!((world.asked(), world.status_of(ask("other")).await), ((0, 0), 200));
}

#[tokio::test]
async fn local_only_uses_own_sites_only_and_outlives_a_restart() {
    let mut world = world().await;
    world.done(OPERATOR, &["local-only", "on"]).await;
    assert_eq!((world.status_of(ask("assistant")).await, world.asked()), (200, (1, 0)));

    world.gateway.kill().await;
    let mut again = world.gateway.again("again.log", &[]);
    assert!(again.is_ready().await, "{}", again.log());
    world.gateway = again;

    assert_eq!((world.status_of(ask("assistant")).await, world.asked()), (200, (2, 0)));
    world.done(SECURITY, &["local-only", "off"]).await;
    assert_eq!((world.status_of(ask("assistant")).await, world.asked()), (200, (2, 1)));
}

#[tokio::test]
async fn a_revoked_key_and_a_revoked_app_are_nobody_and_the_record_says_whose_they_were() {
    let world = world().await;
    world.done(OPERATOR, &["revoke", "key", &digest_of(KEY)]).await;

    let refused = world.gateway.send(ask("assistant")).await;
    let decision = refused.decision();

    assert_eq!(refused.code().await, "invalid_api_key");
    assert_eq!(world.gateway.audit().refusal(&decision).await["app"], "tests");
    assert_eq!(world.status_of(ask("assistant").key("cw_key_of_the_second")).await, 200, "others are untouched");
    world.done(OPERATOR, &["revoke", "app", "second"]).await;
    assert_eq!(world.status_of(ask("assistant").key("cw_key_of_the_second")).await, 401);
    world.done(SECURITY, &["revoke", "key", "tests.keys[0]", "--lift"]).await;
    assert_eq!(world.status_of(ask("assistant")).await, 200, "its name leads to the same key");
    assert_eq!(world.asked(), (0, 2));
}

#[tokio::test]
async fn every_action_is_a_record_with_who_and_why_and_a_mistake_changes_nothing() {
    let world = world().await;
    world.done(OPERATOR, &["local-only", "on"]).await;
    world.done(OPERATOR, &["local-only", "on"]).await;
    world.done(SECURITY, &["local-only", "off"]).await;
    world.refused(OPERATOR, &["quarantine", "endpoint", "clout"], "there is no endpoint `clout`").await;
    world.refused("cw_unknown", &["local-only", "on"], "administrator").await;

    let records: Vec<Value> = world.gateway.audit().of_kind("admin");
    let actions: Vec<(String, String)> = records
        .iter()
        .filter(|record| record["action"].as_str().is_some_and(|action| action.starts_with("local_only")))
        .map(|record| (record["action"].to_string(), record["actor"].to_string()))
        .collect();
    let (oscar, sam) = ("\"oscar\"".to_owned(), "\"sam\"".to_owned());
    let (on, off) = ("\"local_only_on\"".to_owned(), "\"local_only_off\"".to_owned());
    assert_eq!(actions, [(on.clone(), oscar.clone()), (on, oscar), (off, sam)]);
    let reason = records.iter().rfind(|record| record["actor"] == "sam").expect("it was recorded");
    assert_eq!(reason["detail"], "local only, by role security: a leak at three");
    assert_eq!(world.status_of(ask("assistant")).await, 200);
    assert_eq!(world.asked(), (0, 1));
}

#[tokio::test]
async fn an_endpoint_that_is_held_back_while_a_request_runs_gets_no_further_attempt() {
    let world = world().await;
    let failing = Gate::closed();
    world.cloud.script([Act::error(503).after(&failing)]);
    let client = world.gateway.client();
    let running = tokio::spawn(async move { client.send(ask("assistant")).await.status });
    world.cloud.request(0).await;

    world.done(OPERATOR, &["quarantine", "endpoint", "own"]).await;
    failing.open();

    assert_eq!((running.await.expect("no panic"), world.asked()), (503, (0, 1)));
}

#[tokio::test]
async fn a_stream_that_runs_is_not_cut_by_what_is_held_back() {
    let world = world().await;
    let gate = Gate::closed();
    world.cloud.script([Act::steps([
        Step::Send(chunk("ferry").into()),
        Step::Wait(gate.clone()),
        Step::Send((finish() + DONE).into()),
    ])]);
    let mut stream = world.gateway.chat(&chat_stream("assistant")).await;
    assert_eq!(stream.event().await, Some(chunk("ferry")));

    world.done(OPERATOR, &["quarantine", "endpoint", "cloud"]).await;
    gate.open();

    assert_eq!(stream.text().await, finish() + DONE, "the stream that ran goes on");
    assert_eq!((world.status_of(ask("assistant")).await, world.asked()), (200, (1, 1)));
}

#[tokio::test]
async fn what_is_held_back_is_in_force_for_the_process_that_takes_over_too() {
    let world = world().await;
    let mut new = world.gateway.again("new.log", &["--upgrade"]);
    until("the new process to wait for the sockets", async || {
        world.gateway.state().join("upgrade.sock").exists().then_some(())
    })
    .await;
    world.done(OPERATOR, &["quarantine", "endpoint", "cloud"]).await;
    world.gateway.signal("QUIT");
    assert!(new.is_ready().await, "{}", new.log());

    until("the new process to know", async || {
        let status = new.send(ask("assistant")).await.status;
        (status == 200 && world.asked().0 > 0).then_some(())
    })
    .await;
    let (own, cloud) = world.asked();
    assert_eq!(world.status_of(ask("assistant")).await, 200);
    assert_eq!(world.asked(), (own + 1, cloud));
}

/// The disk of the state folder hangs for as long as this lives: whoever writes what is held back waits for a lock.
fn hanging_disk(world: &World) -> std::fs::File {
    let folder = world.gateway.state().join("restrictions");
    std::fs::create_dir_all(&folder).expect("the state folder is there");
    let lock = std::fs::File::create(folder.join("lock")).expect("the folder can be written");
    lock.lock().expect("nobody has it");
    lock
}

#[tokio::test]
async fn whoever_holds_something_back_at_a_disk_that_hangs_is_told_that_it_is_in_force_and_not_kept() {
    let world = world().await;
    let disk = hanging_disk(&world);

    let output = world.act(OPERATOR, &["quarantine", "endpoint", "cloud"]).await;

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("NOT KEPT") && said.contains("does not answer") && !said.contains("NOT RECORDED"), "{said}");
    assert_eq!((world.status_of(ask("assistant")).await, world.asked()), (200, (1, 0)));
    let recorded = world.gateway.audit().of_kind("admin");
    assert!(recorded.iter().any(|record| record["action"] == "quarantine"), "{recorded:?}");
    drop(disk);
    let kept = world.gateway.state().join("restrictions/restrictions.json");
    until("it to be kept", async || std::fs::read_to_string(&kept).ok().filter(|kept| kept.contains("cloud"))).await;
}

#[tokio::test]
async fn what_is_held_back_at_a_disk_that_hangs_is_in_force_also_where_the_administrator_is_gone() {
    let world = world().await;
    let _disk = hanging_disk(&world);
    let order = serde_json::json!({ "app": "second", "because": "a leak at three" });
    let client = Client::plain(world.gateway.admin());
    let asking = tokio::spawn(async move {
        drop(client.send(Request::post("/api/revoke", &order).key(OPERATOR)).await);
    });
    // The gateway waits for the lock: it has what was asked for.
    until("the gateway to write", async || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", world.gateway.id())).expect("this is Linux");
        let mut files = open.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        files.any(|file| file.ends_with("restrictions/lock")).then_some(())
    })
    .await;

    asking.abort();

    let second = || ask("assistant").key("cw_key_of_the_second");
    until("the app to be revoked", async || (world.status_of(second()).await == 401).then_some(())).await;
    until("the record", async || {
        let recorded = world.gateway.audit().of_kind("admin");
        recorded.iter().any(|record| record["action"] == "revoke").then_some(())
    })
    .await;
}
