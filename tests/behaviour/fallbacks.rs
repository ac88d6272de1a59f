//! Models that stand in: only where they are named, only within what policy permits, and never without saying so.

use serde_json::{Value, json};

use crate::testkit::{Act, Answer, Client, Config, Endpoint, Gateway, Request, Upstream, causeway, chat, run, within};

const KEY: &str = "cw_test_falling";
const NARROW: &str = "cw_test_narrow";
const CLAIMS: &str = "cw_test_claims";
const OPERATOR: &str = "cw_key_of_an_operator";

struct World {
    large: Upstream,
    abroad: Upstream,
    small: Upstream,
    gateway: Gateway,
}

/// The model `large`, and `small` with a target that nobody knows the place of and one on the own site; `large` falls back
/// to `small`.
async fn world(small_settings: &str) -> World {
    let (large, abroad, small) =
        (Upstream::start("large").await, Upstream::start("abroad").await, Upstream::start("small").await);
    let config = Config::new()
        .endpoint("large", Endpoint::of(&large))
        .endpoint("abroad", Endpoint::of(&abroad).place(None))
        .endpoint("small", Endpoint::of(&small))
        .model_with("large", &["large/big"], "fallbacks = [\"small\"]")
        .model_with("small", &["abroad/tiny", "small/tiny"], small_settings)
        .app("falling", KEY, &["large", "small"], "explain = true")
        .app("narrow", NARROW, &["large"], "")
        .app_with_data("claims", CLAIMS, &["large", "small"], "labels = [\"eu_personal\"]")
        .administrator("oscar", "operator", OPERATOR);
    let gateway = Gateway::start(&config).await;
    World { large, abroad, small, gateway }
}

impl World {
    async fn ask(&self, key: &str) -> Answer {
        let request = Request::post("/v1/chat/completions", &chat("large")).key(key);
        self.gateway.send(request.header("x-causeway-explain", "1")).await
    }

    fn asked(&self) -> [usize; 3] {
        [&self.large, &self.abroad, &self.small].map(|upstream| upstream.requests().len())
    }
}

#[tokio::test]
async fn a_model_stands_in_once_every_target_of_the_one_that_was_asked_for_has_failed() {
    let world = world("").await;

    let well = world.ask(KEY).await;
    let plan = well.header("x-causeway-plan").unwrap_or_default().to_owned();
    assert_eq!((well.header("x-causeway-endpoint"), well.header("x-causeway-model")), (Some("large"), None));
    world.large.script([Act::error(503)]);
    let answer = world.ask(KEY).await;

    assert_eq!((answer.status, answer.header("x-causeway-model")), (200, Some("small")));
    assert!(plan.contains("; then model small: "), "{plan}");
    let record = world.gateway.audit().record(&answer.decision()).await;
    assert_eq!(answer.json().await["model"], "served", "the answer names the model as its server does");
    assert_eq!(record.intent["model"], "large");
    assert_eq!(record.attempts()[0], "large/big status_503");
    assert_eq!(record.tried().len(), 2);
    let candidates = record.intent["candidates"].as_array().expect("a list").clone();
    let fallbacks: Vec<&Value> = candidates.iter().map(|candidate| &candidate["fallback"]).collect();
    assert_eq!(fallbacks, [&Value::Null, &json!("small"), &json!("small")]);
    assert_eq!(record.intent["plan"].as_array().expect("a list").len(), 3, "{}", record.intent["plan"]);
    let page = world.gateway.send(Request::get("/metrics")).await;
    assert_ne!(page.status, 200, "callers read no metrics");
    let operators = Client::plain(world.gateway.admin());
    let page = operators.send(Request::get("/metrics").key(OPERATOR)).await.text().await;
    assert!(page.contains("causeway_fallbacks_total{model=\"large\"} 1"), "{page}");
}

#[tokio::test]
async fn what_policy_denies_of_a_model_that_stands_in_is_never_sent_to() {
    let world = world("").await;
    world.large.script([Act::error(503), Act::error(503)]);
    world.small.script([Act::error(503)]);

    let failed = world.ask(CLAIMS).await;
    let answered = world.ask(CLAIMS).await;

    assert_eq!((failed.status, answered.status), (503, 200));
    assert_eq!(world.asked(), [2, 0, 2]);
    let record = world.gateway.audit().record(&answered.decision()).await;
    let abroad =
        record.intent["candidates"].as_array().expect("a list").iter().find(|one| one["target"] == "abroad/tiny");
    assert_eq!(abroad.map(|one| &one["verdict"]), Some(&json!("out")), "{}", record.intent);
}

#[tokio::test]
async fn a_model_that_stands_in_brings_the_labels_and_the_class_of_its_own_route() {
    let added = [
        ("", "", 200, [1, 1]),
        ("labels = [\"special_category\"]", "labels of its route: special_category", 503, [1, 0]),
        ("class = \"secret\"", "class of its route: secret", 503, [1, 0]),
    ];
    for (labels, said, status, asked) in added {
        let (own, abroad) = (Upstream::start("own").await, Upstream::start("abroad").await);
        let place = "{ declared = { processing = [\"US\"], at_rest = [\"US\"], operator = \"US\", because = \"a stand-in of this test\" } }";
        let config = Config::new()
            .endpoint("own", Endpoint::of(&own))
            .endpoint("abroad", Endpoint::of(&abroad).place(Some(place)))
            .model_with("large", &["own/big"], "fallbacks = [\"small\"]")
            .model_with("small", &["abroad/tiny"], labels)
            .app("falling", KEY, &["large", "small"], "");
        let gateway = Gateway::start(&config).await;
        own.script([Act::error(503)]);

        let answer = gateway.send(Request::post("/v1/chat/completions", &chat("large")).key(KEY)).await;

        assert_eq!(answer.status, status, "{labels}");
        assert_eq!([&own, &abroad].map(|upstream| upstream.requests().len()), asked, "{labels}");
        let record = gateway.audit().record(&answer.decision()).await;
        let candidates = record.intent["candidates"].as_array().expect("a list").clone();
        let behind =
            candidates.iter().find(|one| one["fallback"] == "small").expect("the record has what stands behind");
        let why = behind["why"].as_str().unwrap_or_default();
        assert_eq!(behind["verdict"], if labels.is_empty() { "in" } else { "out" }, "{behind}");
        assert_eq!(why.contains("of its route"), !labels.is_empty(), "{why}");
        assert!(why.contains(said), "{why}");
        assert_eq!(
            record.intent["data"]["labels"],
            json!([]),
            "they are no labels of what goes to the model asked for"
        );
        assert_eq!(record.intent["data"]["class"], "internal", "nor is it its class");
    }
}

#[tokio::test]
async fn an_app_that_may_not_use_a_model_does_not_fall_back_to_it() {
    let world = world("").await;
    world.large.script([Act::error(503)]);

    let answer = world.ask(NARROW).await;

    assert_eq!((answer.status, world.asked()), (503, [1, 0, 0]));
}

#[tokio::test]
async fn a_denial_is_an_answer_that_no_model_stands_in_for() {
    let (abroad, small) = (Upstream::start("abroad").await, Upstream::start("small").await);
    let config = Config::new()
        .endpoint("abroad", Endpoint::of(&abroad).place(None))
        .endpoint("small", Endpoint::of(&small))
        .model_with("large", &["abroad/big"], "fallbacks = [\"small\"]")
        .model("small", &["small/tiny"])
        .app_with_data("claims", CLAIMS, &["large", "small"], "labels = [\"eu_personal\"]");
    let gateway = Gateway::start(&config).await;

    let answer = gateway.send(Request::post("/v1/chat/completions", &chat("large")).key(CLAIMS)).await;

    assert_eq!((answer.status, answer.code().await.as_str()), (403, "residency_denied"));
    assert_eq!((abroad.requests().len(), small.requests().len()), (0, 0));
}

#[tokio::test]
async fn a_model_in_quarantine_stands_in_for_none() {
    let world = world("").await;
    let arguments = ["quarantine", "model", "small", "--because", "a leak at three", "--config", "causeway.toml"];
    let mut command = causeway(&arguments, world.gateway.folder());
    command.env("CAUSEWAY_ADMIN_KEY", OPERATOR);
    let output = within("the command to end", command.output()).await.expect("cargo built the binary");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.large.script([Act::error(503)]);

    let answer = world.ask(KEY).await;

    assert_eq!((answer.status, world.asked()), (503, [1, 0, 0]));
}

#[tokio::test]
async fn the_bounds_of_a_model_hold_for_what_falls_back_to_it() {
    // The answer that it gives uses 18 tokens.
    for bound in ["requests_per_minute = 1", "tokens_per_minute = 20"] {
        let world = world(&format!("limits = {{ {bound} }}")).await;
        world.large.script([Act::error(503), Act::error(503)]);

        let (first, second) = (world.ask(KEY).await, world.ask(KEY).await);

        assert_eq!((first.status, second.status), (200, 503), "{bound}");
        assert_eq!(world.asked()[1] + world.asked()[2], 1, "{bound}");
    }
}

#[tokio::test]
async fn explain_says_what_stands_behind_a_model() {
    let world = world("").await;
    let arguments = ["explain", "--config", "causeway.toml", "--app", "claims", "--model", "large"];

    let text = run(&arguments, world.gateway.folder()).await;
    let answer = run(&[&arguments[..], &["--json"]].concat(), world.gateway.folder()).await;

    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("If all of these fail, model small is asked"), "{text}");
    let value: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let behind = &value["fallbacks"][0];
    assert_eq!((&behind["model"], &behind["usable"]), (&json!("small"), &json!(true)));
    let permitted = |index: usize| &behind["targets"][index]["permitted"];
    assert_eq!((permitted(0), permitted(1)), (&json!(false), &json!(true)), "{value}");
}
