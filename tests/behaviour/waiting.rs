//! Requests that wait for a place: for how long, with how many bytes, and what holds for them when they go.

use std::time::Duration;

use serde_json::{Value, json};

use crate::testkit::{
    Act, Client, Config, Endpoint, Gate, Gateway, Request, Upstream, causeway, chat, completion, until, within,
};

const KEY: &str = "cw_test_waiting";
const OPERATOR: &str = "cw_key_of_an_operator";

struct World {
    own: Upstream,
    cloud: Upstream,
    /// What charges more than the cloud, for the model `paid`.
    spare: Upstream,
    gateway: Gateway,
    /// Opens the answer of the own server to its first request.
    gate: Gate,
    first: tokio::task::JoinHandle<u16>,
}

/// An own server that is busy with one prompt, and a cloud; the model `assistant`, whose requests nobody waits for.
async fn world(listen: &str, cloud_settings: &str) -> World {
    let (own, cloud, spare) =
        (Upstream::start("own").await, Upstream::start("cloud").await, Upstream::start("spare").await);
    let config = Config::new()
        .listen(listen)
        .endpoint(
            "own",
            Endpoint::of(&own).with("cost = { fixed = { usd_per_hour = 20 } }\ncapacity = { in_flight = 1 }"),
        )
        .endpoint("cloud", Endpoint::of(&cloud).with(cloud_settings))
        .endpoint("spare", Endpoint::of(&spare))
        .model_with("assistant", &["own/m", "cloud/m"], "first_token = { p95_ms = 60000 }\ntraffic = \"batch\"")
        .model("paid", &["cloud/m", "spare/m"])
        .app("waiting", KEY, &["assistant", "paid"], "")
        .administrator("oscar", "operator", OPERATOR);
    let gateway = Gateway::start(&config).await;
    let gate = Gate::closed();
    own.script([Act::reply(200, &completion("late")).after(&gate)]);
    let first = send(&gateway, prompt(1_600));
    own.request(0).await;
    World { own, cloud, spare, gateway, gate, first }
}

fn prompt(words: usize) -> Value {
    let mut body = chat("assistant");
    body["messages"] = json!([{"role": "user", "content": "word ".repeat(words)}]);
    body
}

fn send(gateway: &Gateway, body: Value) -> tokio::task::JoinHandle<u16> {
    let client = gateway.client();
    tokio::spawn(async move {
        let answer = client.send(Request::post("/v1/chat/completions", &body).key(KEY)).await;
        let status = answer.status;
        answer.text().await;
        status
    })
}

impl World {
    async fn waits(&self, count: u64) {
        let operators = Client::plain(self.gateway.admin());
        until("so many to wait", async || {
            let status = operators.send(Request::get("/api/status").key(OPERATOR)).await.json().await;
            let models = status["models"].as_array().expect("a list").clone();
            models.iter().any(|model| model["waiting"] == count).then_some(())
        })
        .await;
    }

    async fn act(&self, arguments: &[&str]) {
        let arguments = [arguments, &["--because", "a leak at three", "--config", "causeway.toml"]].concat();
        let mut command = causeway(&arguments, self.gateway.folder());
        command.env("CAUSEWAY_ADMIN_KEY", OPERATOR);
        let output = within("the command to end", command.output()).await.expect("cargo built the binary");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What was sent is not cut, whatever is held back.
    async fn first_ends(&mut self) {
        self.gate.open();
        assert_eq!((&mut self.first).await.expect("no panic"), 200);
    }

    fn asked(&self) -> (usize, usize) {
        (self.own.requests().len(), self.cloud.requests().len())
    }
}

#[tokio::test]
async fn a_batch_request_that_only_a_cloud_may_serve_goes_out_at_once() {
    let mut world = world("", "").await;
    let mut body = chat("paid");
    body["service_tier"] = "flex".into();

    assert_eq!(send(&world.gateway, body).await.expect("no panic"), 200);

    assert_eq!(world.asked(), (1, 1));
    world.first_ends().await;
}

/// The wait ends before a call to any of the targets could be over, and the time of the call begins then.
#[tokio::test]
async fn a_request_that_has_waited_has_all_of_its_time_left() {
    let total = Duration::from_secs(6);
    let settings = "timeouts = { total_ms = 6000, connect_ms = 5000, first_byte_ms = 6000, idle_ms = 6000 }";
    let mut world = world("", settings).await;
    let slow = Gate::closed();
    world.cloud.script([Act::reply(200, &completion("from the cloud")).after(&slow)]);
    let began = std::time::Instant::now();

    let waited = send(&world.gateway, prompt(1_600));
    world.cloud.request(0).await;
    let arrived = began.elapsed();
    // Counted from its arrival its time would be over by then.
    tokio::time::sleep(total.saturating_sub(arrived) + Duration::from_millis(300)).await;
    slow.open();

    assert_eq!(waited.await.expect("no panic"), 200);
    assert!(arrived >= total.mul_f64(0.89), "it waited first: {arrived:?}");
    world.first_ends().await;
}

#[tokio::test]
async fn what_is_held_back_binds_those_that_wait() {
    for (arguments, status) in [
        (["revoke", "app", "waiting"], 401),
        (["quarantine", "model", "assistant"], 403),
        (["revoke", "key", "waiting.keys[0]"], 401),
    ] {
        let mut world = world("", "").await;
        let waiting = send(&world.gateway, prompt(1_600));
        world.waits(1).await;

        world.act(&arguments).await;
        world.gate.open();

        assert_eq!(waiting.await.expect("no panic"), status, "{arguments:?}");
        world.first_ends().await;
        assert_eq!(world.asked(), (1, 0), "{arguments:?}");
    }
}

/// The next attempt is one that begins: what was held back since the first is sent nowhere else.
#[tokio::test]
async fn what_is_held_back_gets_no_further_attempt() {
    for arguments in [["revoke", "app", "waiting"], ["quarantine", "model", "paid"]] {
        let mut world = world("", "").await;
        let failing = Gate::closed();
        world.cloud.script([Act::error(503).after(&failing)]);
        let running = send(&world.gateway, chat("paid"));
        world.cloud.request(0).await;

        world.act(&arguments).await;
        failing.open();

        assert_eq!(running.await.expect("no panic"), 503, "{arguments:?}");
        assert_eq!((world.asked(), world.spare.requests().len()), ((1, 1), 0), "{arguments:?}");
        world.first_ends().await;
    }
}

/// 64 KiB of a mebibyte may wait for one app: one of these prompts, and not two.
#[tokio::test]
async fn those_that_wait_leave_room_and_what_has_none_to_wait_is_sent() {
    let mut world = world("max_buffered_bytes = 1048576\nmax_body_bytes = 1048576", "").await;
    let waiting = send(&world.gateway, prompt(8_000));
    world.waits(1).await;

    assert_eq!(send(&world.gateway, prompt(8_000)).await.expect("no panic"), 200);

    world.waits(1).await;
    world.gate.open();
    assert_eq!(waiting.await.expect("no panic"), 200);
    world.first_ends().await;
}

/// Nothing is left of the bytes that callers' bodies may hold, and an administrator is heard all the same.
#[tokio::test]
async fn an_administrator_needs_none_of_the_bytes_that_callers_hold() {
    let body = prompt(1_600);
    let bytes = body.to_string().len();
    let listen = format!("max_buffered_bytes = {bytes}\nmax_body_bytes = {bytes}");
    let mut world = world(&listen, "").await;

    world.act(&["quarantine", "endpoint", "cloud"]).await;

    world.first_ends().await;
}
