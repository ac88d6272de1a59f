//! What a provider says of where it answered, held against what is declared: a contradiction holds the endpoint back.

use serde_json::{Value, json};

use crate::testkit::{
    Act, Client, Config, Endpoint, Expect, Gateway, Request, Upstream, causeway, chat, completion, message,
    message_events, run, until, within,
};

const SECURITY: &str = "cw_key_of_security";
const SWEDEN: &str = "{ azure = { region = \"swedencentral\", sku = \"Standard\" } }";
const ANYWHERE: &str = "{ azure = { region = \"swedencentral\", sku = \"GlobalStandard\" } }";
const AMERICA: &str = "{ anthropic = { inference_geo = \"us\" } }";

struct World {
    cloud: Upstream,
    own: Upstream,
    gateway: Gateway,
}

/// A cloud that is declared to lie in Sweden, and an own site behind it.
async fn world() -> World {
    let (cloud, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
    let config = Config::new()
        .endpoint("cloud", Endpoint::of(&cloud).place(Some(SWEDEN)))
        .endpoint("own", Endpoint::of(&own))
        .model("assistant", &["cloud/m", "own/m"])
        .administrator("sam", "security", SECURITY);
    let gateway = Gateway::start(&config).await;
    World { cloud, own, gateway }
}

fn said(region: &str) -> Act {
    Act::reply(200, &completion("cloud")).header("x-ms-region", region)
}

impl World {
    async fn ask(&self) -> String {
        let answer = self.gateway.chat(&chat("assistant")).await;
        let decision = answer.decision();
        answer.of_status(200, "a question").await;
        decision
    }

    fn seen(&self) -> (usize, usize) {
        (self.cloud.requests().len(), self.own.requests().len())
    }
}

#[tokio::test]
async fn an_answer_from_where_it_was_declared_is_recorded_and_changes_nothing() {
    let world = world().await;
    for region in ["Sweden Central", "swedencentral"] {
        world.cloud.script([said(region)]);
        let decision = world.ask().await;
        let record = world.gateway.audit().record(&decision).await;
        assert_eq!(record.outcome["attempts"][0]["place_said"], json!([{"by": "x-ms-region", "said": region}]));
    }

    world.ask().await;
    assert_eq!(world.seen(), (3, 0), "one that says nothing contradicts nothing");
}

#[tokio::test]
async fn an_answer_from_elsewhere_holds_the_endpoint_back_loudly_until_security_lets_it_go() {
    let mut world = world().await;
    world.cloud.script([said("East US 2")]);

    world.ask().await;
    world.ask().await;

    assert_eq!(world.seen(), (1, 1), "the next request goes elsewhere");
    let log = world.gateway.log();
    assert!(log.contains("ALARM place_drift") && log.contains("it says `East US 2`, which is US"), "{log}");
    let operators = Client::plain(world.gateway.admin());
    let metrics = operators.send(Request::get("/metrics").key(SECURITY)).await.text().await;
    assert!(metrics.contains("causeway_place_drift_total{endpoint=\"cloud\"} 1"), "{metrics}");
    let record = until("the record of it", async || {
        world.gateway.audit().of_kind("admin").into_iter().find(|record| record["action"] == "place_drift")
    })
    .await;
    assert_eq!((&record["actor"], &record["done"]), (&json!("process"), &json!(true)));
    assert!(record["detail"].as_str().is_some_and(|detail| detail.contains("endpoint `cloud`")), "{record}");

    world.gateway.kill().await;
    let mut again = world.gateway.again("again.log", &[]);
    assert!(again.is_ready().await, "{}", again.log());
    world.gateway = again;
    world.ask().await;
    assert_eq!(world.seen(), (1, 2), "it is kept over a restart");

    let lift = [
        "quarantine",
        "endpoint",
        "cloud",
        "--lift",
        "--because",
        "the place is right now",
        "--config",
        "causeway.toml",
    ];
    let mut command = causeway(&lift, world.gateway.folder());
    command.env("CAUSEWAY_ADMIN_KEY", SECURITY);
    let output = within("the command to end", command.output()).await.expect("cargo built the binary");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.ask().await;
    assert_eq!(world.seen(), (2, 2));
}

/// A provisioned deployment that is full spills over to another one, whose type nobody declared.
#[tokio::test]
async fn an_answer_by_a_deployment_that_nobody_declared_holds_the_endpoint_back() {
    let served = |by: &str| Act::reply(200, &completion("cloud")).header("x-ms-deployment-name", by);
    let world = world().await;
    world.cloud.script([served("M"), served("overflow")]);

    world.ask().await;
    let decision = world.ask().await;
    world.ask().await;

    assert_eq!(world.seen(), (2, 1), "its own deployment changes nothing, another one does");
    let record = world.gateway.audit().record(&decision).await;
    let said = json!([{"by": "x-ms-deployment-name", "said": "overflow"}]);
    assert_eq!(record.outcome["attempts"][0]["place_said"], said);
    let log = world.gateway.log();
    assert!(log.contains("overflow, a deployment that no target at its URL names`, which is anywhere"), "{log}");
    let verify = ["policy", "verify-places", "--config", "causeway.toml"];
    let looked = run(&verify, world.gateway.folder()).await;
    let text = String::from_utf8_lossy(&looked.stdout);
    assert_eq!(looked.status.code(), Some(1), "{text}");
    assert!(text.contains("x-ms-deployment-name `overflow` in 1 answers"), "{text}");
}

#[tokio::test]
async fn an_answer_by_a_deployment_that_is_a_target_of_the_endpoint_contradicts_nothing() {
    let cloud = Upstream::start("cloud").await;
    let config = Config::new()
        .endpoint("cloud", Endpoint::of(&cloud).place(Some(SWEDEN)))
        .model("assistant", &["cloud/m"])
        .model("overflow", &["cloud/overflow"]);
    let gateway = Gateway::start(&config).await;
    cloud.script([Act::reply(200, &completion("cloud")).header("x-ms-deployment-name", "overflow")]);

    for _ in 0..2 {
        gateway.chat(&chat("assistant")).await.of_status(200, "a question").await;
    }

    assert_eq!(cloud.requests().len(), 2);
}

/// One resource of Azure with deployments of two types is two endpoints, since each states one type.
#[tokio::test]
async fn an_answer_by_a_deployment_of_another_endpoint_at_the_same_url_counts_as_what_is_declared_of_that_one() {
    for (others, agrees) in
        [(&["Standard"][..], true), (&["GlobalStandard"][..], false), (&["Standard", "GlobalStandard"][..], false)]
    {
        let (cloud, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
        let mut config = Config::new()
            .endpoint("cloud", Endpoint::of(&cloud).place(Some(SWEDEN)))
            .endpoint("own", Endpoint::of(&own))
            .model("assistant", &["cloud/m", "own/m"]);
        for sku in others {
            let place = if *sku == "Standard" { SWEDEN } else { ANYWHERE };
            config = config.endpoint(sku, Endpoint::of(&cloud).place(Some(place)));
            config = config.model(&format!("overflow-{sku}"), &[&format!("{sku}/overflow")]);
        }
        let gateway = Gateway::start(&config).await;
        cloud.script([Act::reply(200, &completion("cloud")).header("x-ms-deployment-name", "overflow")]);

        let answer = gateway.chat(&chat("assistant")).await;
        let decision = answer.decision();
        answer.of_status(200, "a question").await;
        gateway.audit().record(&decision).await;
        gateway.chat(&chat("assistant")).await.of_status(200, "the next question").await;

        let seen = (cloud.requests().len(), own.requests().len());
        assert_eq!(seen, if agrees { (2, 0) } else { (1, 1) }, "{others:?}");
        let log = gateway.log();
        assert_eq!(
            log.contains("it says `overflow`, which is ") && log.contains("anywhere"),
            !agrees,
            "{others:?}: {log}"
        );
        let looked = run(&["policy", "verify-places", "--config", "causeway.toml"], gateway.folder()).await;
        let text = String::from_utf8_lossy(&looked.stdout);
        assert_eq!(looked.status.code(), Some(i32::from(!agrees)), "{others:?}: {text}");
    }
}

/// The same name at another URL is another deployment.
#[tokio::test]
async fn a_deployment_of_that_name_at_another_url_is_not_the_one_that_answered() {
    let (cloud, other) = (Upstream::start("cloud").await, Upstream::start("other").await);
    let config = Config::new()
        .endpoint("cloud", Endpoint::of(&cloud).place(Some(SWEDEN)))
        .endpoint("other", Endpoint::of(&other).place(Some(SWEDEN)))
        .model("assistant", &["cloud/m", "other/overflow"]);
    let gateway = Gateway::start(&config).await;
    cloud.script([Act::reply(200, &completion("cloud")).header("x-ms-deployment-name", "overflow")]);

    for _ in 0..2 {
        gateway.chat(&chat("assistant")).await.of_status(200, "a question").await;
    }

    assert_eq!((cloud.requests().len(), other.requests().len()), (1, 1));
    assert!(gateway.log().contains("a deployment that no target at its URL names"), "{}", gateway.log());
}

#[tokio::test]
async fn a_caller_chooses_no_deployment_that_azure_would_send_its_request_on_to() {
    let world = world().await;
    let request = Request::post("/v1/chat/completions", &chat("assistant"))
        .header("x-ms-spillover-deployment", "gpt-4o-global")
        .header("azureml-model-deployment", "blue");

    world.gateway.send(request).await.of_status(200, "the request goes without them").await;

    let seen = world.cloud.only_request();
    assert_eq!((seen.header("x-ms-spillover-deployment"), seen.header("azureml-model-deployment")), (None, None));
}

#[tokio::test]
async fn a_region_is_heard_from_azure_alone() {
    let (cloud, other) = (Upstream::start("cloud").await, Upstream::start("other").await);
    let declared = "{ openai = { project_region = \"eu\" } }";
    let config = Config::new()
        .endpoint("cloud", Endpoint::of(&cloud).place(Some(declared)))
        .endpoint("other", Endpoint::of(&other))
        .model("assistant", &["cloud/m", "other/m"]);
    let gateway = Gateway::start(&config).await;
    cloud.script([said("East US 2")]);

    for _ in 0..2 {
        gateway.chat(&chat("assistant")).await.of_status(200, "a question").await;
    }

    assert_eq!((cloud.requests().len(), other.requests().len()), (2, 0), "no word of Azure's, so no contradiction");
}

#[tokio::test]
async fn a_region_that_nobody_knows_is_no_part_of_what_was_declared() {
    let world = world().await;
    world.cloud.script([said("Atlantis North")]);

    world.ask().await;
    world.ask().await;

    assert_eq!(world.seen(), (1, 1));
}

#[tokio::test]
async fn anthropic_says_it_in_its_usage_whole_and_as_a_stream() {
    for streamed in [false, true] {
        let upstream = Upstream::playing(Expect::Anthropic, "cloud", None).await;
        let endpoint = Endpoint::of(&upstream).provider("anthropic").place(Some(AMERICA));
        let config = Config::new().endpoint("cloud", endpoint).model("assistant", &["cloud/m"]);
        let gateway = Gateway::start(&config).await;
        let mut body = message("assistant");
        let act = |geo: &str| {
            if streamed {
                let mut events = message_events("hello");
                events[0] = events[0].replacen("\"usage\":{", &format!("\"usage\":{{\"inference_geo\":\"{geo}\","), 1);
                assert!(events[0].contains(geo), "{}", events[0]);
                return Act::stream(events);
            }
            let usage = json!({"input_tokens": 1, "output_tokens": 1, "inference_geo": geo});
            let content = json!([{"type": "text", "text": "hello"}]);
            Act::reply(
                200,
                &json!({"type": "message", "role": "assistant", "model": "m", "content": content, "usage": usage}),
            )
        };
        if streamed {
            body["stream"] = true.into();
        }
        upstream.script([act("us"), act("not_available"), act("global")]);

        let mut statuses = Vec::new();
        for _ in 0..4 {
            let answer = gateway.send(Request::post("/v1/messages", &body)).await;
            statuses.push(answer.status);
            let _ = answer.try_bytes().await;
        }

        assert_eq!(statuses, [200, 200, 200, 403], "streamed: {streamed}");
        assert_eq!(upstream.requests().len(), 3);
    }
}

#[tokio::test]
async fn a_caller_that_names_the_place_is_refused_and_the_endpoint_sees_nothing_and_is_not_held_back() {
    let upstream = Upstream::playing(Expect::Anthropic, "cloud", None).await;
    let endpoint = Endpoint::of(&upstream).provider("anthropic").place(Some(AMERICA));
    let config = Config::new().endpoint("cloud", endpoint).model("assistant", &["cloud/m"]);
    let gateway = Gateway::start(&config).await;
    let naming = [
        ("inference_geo", json!("global")),
        ("inference_geo", json!("us")),
        ("inference_geo", Value::Null),
        ("Inference_Geo", json!("global")),
        ("extra_body", json!({"inference_geo": "global"})),
    ];

    for (member, value) in naming {
        let mut body = message("assistant");
        body[member] = value;
        let answer = gateway.send(Request::post("/v1/messages", &body)).await;

        assert_eq!(answer.status, 400, "{body}");
        let text = answer.text().await;
        assert!(text.contains("invalid_request") && text.contains("configuration decides the place"), "{text}");
    }
    assert!(upstream.requests().is_empty());
    let usage = json!({"input_tokens": 1, "output_tokens": 1, "inference_geo": "us"});
    let content = json!([{"type": "text", "text": "hello"}]);
    let reply = json!({"type": "message", "role": "assistant", "model": "m", "content": content, "usage": usage});
    upstream.script([Act::reply(200, &reply)]);
    let answer = gateway.send(Request::post("/v1/messages", &message("assistant"))).await;
    answer.of_status(200, "who names no place").await;
}

#[tokio::test]
async fn what_was_heard_is_held_against_what_is_declared_from_the_log() {
    let world = world().await;
    let verify = || run(&["policy", "verify-places", "--config", "causeway.toml", "--json"], world.gateway.folder());

    let silent = verify().await;
    world.cloud.script([said("Sweden Central")]);
    let decision = world.ask().await;
    world.gateway.audit().record(&decision).await;
    let agreed = verify().await;
    world.cloud.script([said("East US")]);
    let decision = world.ask().await;
    world.gateway.audit().record(&decision).await;
    let drifted = verify().await;

    let codes = [&silent, &agreed, &drifted].map(|output| output.status.code());
    assert_eq!(codes, [Some(3), Some(0), Some(1)], "{}", String::from_utf8_lossy(&drifted.stderr));
    let value: Value = serde_json::from_slice(&drifted.stdout).expect("JSON");
    let cloud = value["targets"].as_array().unwrap().iter().find(|target| target["target"] == "cloud/m").unwrap();
    assert_eq!(cloud["verdict"], "drift", "{value:#}");
    assert_eq!(cloud["said"][0]["said"], "East US", "{value:#}");
    assert_eq!(cloud["declared"], json!(["SE"]), "{value:#}");
}

#[tokio::test]
async fn an_endpoint_that_is_asked_says_it_with_its_list_of_models() {
    let world = world().await;
    world.cloud.answer_probes(said("East US"));

    let asked =
        run(&["policy", "verify-places", "--config", "causeway.toml", "--ask", "--json"], world.gateway.folder()).await;

    assert_eq!(asked.status.code(), Some(1), "{}", String::from_utf8_lossy(&asked.stderr));
    let value: Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    let verdicts: Vec<(&str, &str)> = value["targets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|target| (target["target"].as_str().expect("a name"), target["verdict"].as_str().expect("a word")))
        .collect();
    assert_eq!(verdicts, [("cloud/m", "drift"), ("own/m", "silent")], "{value:#}");
    assert_eq!((world.cloud.probes(), world.seen()), (1, (0, 0)), "nothing of a caller goes along");
}

#[tokio::test]
async fn before_the_first_answer_nothing_was_heard_and_that_is_said() {
    let (cloud, folder) =
        (Upstream::start("cloud").await, tempfile::tempdir().expect("a temporary folder can be made"));
    let config =
        Config::new().endpoint("cloud", Endpoint::of(&cloud).place(Some(SWEDEN))).model("assistant", &["cloud/m"]);
    std::fs::write(folder.path().join("causeway.toml"), config.text([1, 2, 3])).expect("it can be written");

    let output = run(&["policy", "verify-places", "--config", "causeway.toml", "--json"], folder.path()).await;

    assert_eq!(output.status.code(), Some(3));
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["targets"][0]["verdict"], "silent", "{value:#}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("there is no audit log") && errors.contains("no answer was heard"), "{errors}");
}
