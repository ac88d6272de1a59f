//! Whom an app asks for is personal data: endpoints beyond one's own sites are shown a pseudonym, and nothing else changes.

use serde_json::{Value, json};

use crate::testkit::{Config, Endpoint, Expect, Gateway, Request, Upstream, chat, message};

const ELSEWHERE: &str = "{ declared = { processing = [\"DE\"], at_rest = [\"DE\"], operator = \"DE\", because = \"a stand-in of this test\" } }";

struct World {
    own: Upstream,
    cloud: Upstream,
    gateway: Gateway,
}

/// One endpoint on an own site and one that is not; three apps, of which the last has its users' names sent as they are.
async fn world() -> World {
    let (own, cloud) = (Upstream::start("own").await, Upstream::start("cloud").await);
    let config = Config::new()
        .endpoint("own", Endpoint::of(&own))
        .endpoint("cloud", Endpoint::of(&cloud).place(Some(ELSEWHERE)))
        .model("at-home", &["own/served-model"])
        .model("away", &["cloud/served-model"])
        .app_with_data("other", "cw_key_of_the_other", &["away"], "labels = []")
        .app_with_data("plain", "cw_key_of_the_plain", &["away"], "labels = []\nusers = \"as_sent\"");
    let gateway = Gateway::start(&config).await;
    World { own, cloud, gateway }
}

fn with(model: &str, extra: &Value) -> Value {
    let mut body = chat(model);
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

fn ask(body: &Value) -> Request {
    Request::post("/v1/chat/completions", body)
}

impl World {
    /// The user that the cloud was shown last, after a request with this one.
    async fn shown(&self, request: Request) -> Value {
        let answer = self.gateway.send(request).await;
        answer.of_status(200, "a request that names a user").await;
        self.cloud.requests().last().expect("it came").json()["user"].clone()
    }
}

#[tokio::test]
async fn a_cloud_is_shown_a_pseudonym_and_an_own_site_the_name_and_the_record_says_which() {
    let world = world().await;
    let body = with("away", &json!({"user": "erika@example.org", "safety_identifier": "erika"}));

    let away = world.gateway.send(ask(&body)).await;
    let home = world.gateway.send(ask(&with("at-home", &json!({"user": "erika@example.org"})))).await;

    let seen = world.cloud.only_request();
    let shown = seen.json()["user"].as_str().expect("a text").to_owned();
    assert!(shown.starts_with("p1:") && !seen.text().contains("erika"), "{}", seen.text());
    assert_ne!(seen.json()["safety_identifier"], shown.as_str(), "two names have two pseudonyms");
    assert_eq!(seen.json()["messages"], body["messages"], "nothing else changed");
    assert_eq!(world.own.only_request().json()["user"], "erika@example.org");
    for (answer, expected) in [(&away, "pseudonym"), (&home, "as_sent")] {
        let record = world.gateway.audit().record(&answer.decision()).await;
        assert_eq!(record.outcome["attempts"][0]["user"], expected);
        assert!(!record.intent.to_string().contains("erika"), "{}", record.intent);
    }
}

#[tokio::test]
async fn a_user_has_one_pseudonym_also_after_a_restart_and_another_for_another_app() {
    let mut world = world().await;
    let body = with("away", &json!({"user": "erika"}));

    let first = world.shown(ask(&body)).await;
    assert_eq!(world.shown(ask(&body)).await, first);
    assert_ne!(world.shown(ask(&with("away", &json!({"user": "max"})))).await, first);
    assert_ne!(world.shown(ask(&body).key("cw_key_of_the_other")).await, first);

    world.gateway.kill().await;
    let mut again = world.gateway.again("again.log", &[]);
    assert!(again.is_ready().await, "{}", again.log());
    world.gateway = again;
    assert_eq!(world.shown(ask(&body)).await, first, "the key is kept");
}

#[tokio::test]
async fn an_app_of_which_security_says_so_has_its_names_sent_as_they_are() {
    let world = world().await;

    let shown = world.shown(ask(&with("away", &json!({"user": "erika"}))).key("cw_key_of_the_plain")).await;

    assert_eq!(shown, "erika");
}

#[tokio::test]
async fn what_is_no_text_or_written_in_other_letters_is_not_shown_either() {
    let world = world().await;

    for extra in [json!({"user": 4711}), json!({"user": {"id": "erika-4711"}}), json!({"USER": "erika-4711"})] {
        world.gateway.send(ask(&with("away", &extra))).await.of_status(200, "an odd name").await;
        let seen = world.cloud.requests().last().expect("it came").text();
        assert!(!seen.contains("4711") && seen.contains("p1:"), "{seen}");
    }
}

#[tokio::test]
async fn anthropics_name_of_a_user_is_one_too() {
    let upstream = Upstream::playing(Expect::Anthropic, "only", None).await;
    let endpoint = Endpoint::of(&upstream).provider("anthropic").place(Some(ELSEWHERE));
    let config = Config::new().endpoint("only", endpoint).model("assistant", &["only/served-model"]);
    let gateway = Gateway::start(&config).await;
    let mut body = message("assistant");
    body["metadata"] = json!({"user_id": "erika-4711"});

    gateway.post("/v1/messages", &body).await.of_status(200, "a message").await;

    let seen = upstream.only_request();
    assert!(
        seen.json()["metadata"]["user_id"].as_str().is_some_and(|shown| shown.starts_with("p1:")),
        "{}",
        seen.text()
    );
    assert!(!seen.text().contains("erika"), "{}", seen.text());
}
