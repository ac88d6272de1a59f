//! The user whom a verified token names: limits, budgets and records go by it, and no body says otherwise.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::spending::PSEUDONYMS;
use crate::testkit::{Config, Endpoint, Gateway, Request, TokenSigner, Upstream, chat, run, run_with_input};

const ISSUER: &str = "https://login.corp.example/realms/people";

/// A thousand dollars per million tokens: 18 tokens, as the scripted answer reports them, are 0.018 dollars.
const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

struct World {
    signer: TokenSigner,
    gateway: Gateway,
    upstream: Upstream,
}

/// An app whose tokens name their user in `sub`, with these lines more.
async fn world(limits: &str, sections: &str) -> World {
    let (signer, upstream) = (TokenSigner::new("k-1"), Upstream::start("only").await);
    let config = Config::new()
        .endpoint("only", Endpoint::of(&upstream).with(DEAR))
        .model("assistant", &["only/served-model"])
        .file("issuer.json", &signer.key_set().to_string())
        .file("pseudonyms.key", PSEUDONYMS)
        .section("[audit]\npseudonyms = { key = \"pseudonyms.key\", held_by = \"data protection office\" }\n")
        .section(&format!(
            "[issuer.corp]\nissuer = \"{ISSUER}\"\nkeys = {{ file = \"issuer.json\" }}\nalgorithms = [\"ES256\"]\n"
        ))
        .section(&format!(
            "[app.claims]\nteam = \"testers\"\nmodels = [\"assistant\"]\n{limits}\n\
             jwt = {{ issuer = \"{ISSUER}\", audience = \"causeway\", user = \"sub\" }}\n\n[data.claims]\nlabels = []\n"
        ))
        .section(sections);
    let gateway = Gateway::start(&config).await;
    World { signer, gateway, upstream }
}

impl World {
    /// A request with a token of this `sub`, whose body says this beside the prompt.
    fn of(&self, sub: &Value, body: &Value) -> Request {
        let end = SystemTime::now() + Duration::from_secs(600);
        let seconds = end.duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
        let token = self.signer.token(&json!({ "iss": ISSUER, "aud": "causeway", "exp": seconds, "sub": sub }));
        let mut asked = chat("assistant");
        asked["max_tokens"] = 20.into();
        asked.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
        Request::post("/v1/chat/completions", &asked).key(&token)
    }

    async fn status_of(&self, sub: &str, body: &Value) -> u16 {
        let answer = self.gateway.send(self.of(&sub.into(), body)).await;
        let status = answer.status;
        // Read to its end, so that what it used is settled.
        answer.text().await;
        status
    }
}

#[tokio::test]
async fn the_user_of_a_token_is_bound_and_recorded_whatever_the_body_says_or_leaves_out() {
    let world = world("limits = { user_requests_per_minute = 2 }", "").await;
    let (nobody, another) = (json!({}), json!({"user": "max", "safety_identifier": "max"}));

    let first = world.gateway.send(world.of(&"erika".into(), &nobody)).await;
    let others = [
        world.status_of("erika", &another).await,
        world.status_of("erika", &nobody).await,
        world.status_of("erika", &another).await,
        world.status_of("max", &nobody).await,
    ];

    assert_eq!((first.status, others), (200, [200, 429, 429, 200]));
    let recorded = world.gateway.audit().record(&first.decision()).await.intent["user"].clone();
    let asked = ["keys", "pseudonym-of", "--key", "pseudonyms.key", "--app", "claims"];
    let found = run_with_input(&asked, world.gateway.folder(), "erika\n").await;
    let erika = String::from_utf8(found.stdout).expect("a pseudonym is plain text").trim().to_owned();
    assert_eq!(recorded, Value::from(erika.clone()));
    let asked = ["audit", "exposure", "--config", "causeway.toml", "--json", "--since", "2026-01-01"];
    let said = run(&asked, world.gateway.folder()).await;
    let touched = &serde_json::from_slice::<Value>(&said.stdout).expect("JSON")["apps"]["claims"]["users"];
    assert_eq!((&touched[&erika], touched.as_object().map(serde_json::Map::len)), (&json!(2), Some(2)));
    assert!(!world.gateway.log().contains("erika"), "a name of a user is in no log");
}

#[tokio::test]
async fn three_requests_that_name_nobody_at_two_a_minute_are_let_in_twice() {
    let world = world("limits = { user_requests_per_minute = 2 }", "").await;
    let ask = async |sub: &str| world.status_of(sub, &json!({})).await;

    let statuses = [ask("erika").await, ask("erika").await, ask("erika").await];

    assert_eq!((statuses, ask("max").await), ([200, 200, 429], 200));
    assert_eq!(world.upstream.requests().len(), 3);
}

#[tokio::test]
async fn each_user_of_a_token_spends_its_own_amount() {
    let world = world("", "[budget.each]\napp = \"claims\"\neach_user = true\nusd = 0.04\n").await;
    let (nobody, another) = (json!({}), json!({"user": "max"}));

    let erika = [world.status_of("erika", &nobody).await, world.status_of("erika", &another).await];

    assert_eq!((erika, world.status_of("max", &nobody).await), ([200, 429], 200));
}

#[tokio::test]
async fn no_body_stands_in_for_a_user_that_the_token_does_not_name() {
    let world = world("", "").await;

    for sub in [json!(null), json!(""), json!(7), json!(["erika"]), json!("u".repeat(257))] {
        let answer = world.gateway.send(world.of(&sub, &json!({"user": "erika"}))).await;

        assert_eq!((answer.status, answer.code().await.as_str()), (401, "invalid_api_key"), "{sub}");
    }
    assert_eq!(world.status_of(&"u".repeat(256), &json!({})).await, 200);
    assert_eq!(world.upstream.requests().len(), 1);
    assert!(world.gateway.log().contains("the token's claim that names the user is not there"));
}
