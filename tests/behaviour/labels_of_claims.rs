//! What a verified token and the model say of the data: it only adds, in the order of trust, and the record says who said it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::testkit::{Config, Endpoint, Gateway, Request, TokenSigner, Upstream, chat};

const ISSUER: &str = "https://login.corp.example/realms/apps";

struct World {
    signer: TokenSigner,
    gateway: Gateway,
    site: Upstream,
    cloud: Upstream,
}

/// A site that may see everything and a cloud that may see what no label is on; an app whose tokens say more of its data.
async fn world(data: &str) -> World {
    let signer = TokenSigner::new("k-1");
    let (site, cloud) = (Upstream::start("site").await, Upstream::start("cloud").await);
    let abroad = "{ declared = { processing = [\"US\"], at_rest = [\"US\"], operator = \"US\", because = \"a stand-in of this test\" } }";
    let config = Config::new()
        .endpoint("cloud", Endpoint::of(&cloud).place(Some(abroad)))
        .endpoint("site", Endpoint::of(&site))
        .model("assistant", &["cloud/m", "site/m"])
        .model_with("drafts", &["cloud/m", "site/m"], "class = \"secret\"")
        .model_with("medical", &["cloud/m", "site/m"], "labels = [\"special_category\"]")
        .file("issuer.json", &signer.key_set().to_string())
        .section(&format!(
            "[issuer.corp]\nissuer = \"{ISSUER}\"\nkeys = {{ file = \"issuer.json\" }}\nalgorithms = [\"ES256\"]\n"
        ))
        .section(&format!(
            "[app.claims]\nteam = \"testers\"\nmodels = [\"assistant\", \"medical\", \"drafts\"]\n\
             jwt = {{ issuer = \"{ISSUER}\", audience = \"causeway\" }}\n\n[data.claims]\n{data}\n"
        ));
    let gateway = Gateway::start(&config).await;
    World { signer, gateway, site, cloud }
}

const DATA: &str = "labels = []\npurposes = [\"fraud\", \"answering\"]\n\
    claims.roles.medical = { labels = [\"eu_personal\"], class = \"confidential\" }\n\
    claims.desk.fraud = { purpose = \"fraud\" }";

impl World {
    fn ask(&self, model: &str, more: &Value) -> Request {
        self.ask_with(&chat(model), more)
    }

    fn ask_with(&self, body: &Value, more: &Value) -> Request {
        let end = SystemTime::now() + Duration::from_secs(600);
        let seconds = end.duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
        let mut claims = json!({ "iss": ISSUER, "aud": "causeway", "exp": seconds });
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        Request::post("/v1/chat/completions", body).key(&self.signer.token(&claims))
    }

    /// What the record says of the data, and how many requests each endpoint has seen.
    async fn data_of(&self, request: Request) -> (Value, (usize, usize)) {
        let answer = self.gateway.send(request).await;
        let decision = answer.decision();
        answer.of_status(200, "a permitted request").await;
        let record = self.gateway.audit().record(&decision).await;
        (record.intent["data"].clone(), self.seen())
    }

    fn seen(&self) -> (usize, usize) {
        (self.cloud.requests().len(), self.site.requests().len())
    }
}

#[tokio::test]
async fn a_claim_adds_labels_and_raises_the_class_and_the_record_says_so() {
    let world = world(DATA).await;
    let answering = |request: Request| request.header("x-causeway-purpose", "answering");

    let plain = world.data_of(answering(world.ask("assistant", &json!({})))).await;
    let medical = world.data_of(answering(world.ask("assistant", &json!({"roles": ["other", "medical"]})))).await;

    let expected = json!({"labels": [], "class": "internal", "purpose": "answering", "purpose_from": "header"});
    assert_eq!(plain, (expected, (1, 0)));
    let expected = json!({
        "labels": ["eu_personal"], "from": ["claims"], "class": "confidential", "class_from": "claims",
        "purpose": "answering", "purpose_from": "header",
    });
    assert_eq!(medical, (expected, (1, 1)), "personal data does not go abroad");
}

#[tokio::test]
async fn each_label_has_the_most_trusted_source_that_names_it() {
    let world = world(&DATA.replace("labels = []", "labels = [\"payment\"]")).await;
    let request = world
        .ask("medical", &json!({"roles": "medical", "desk": "fraud"}))
        .header("x-causeway-labels", "payment, eu_personal, special_category, source_code");

    let (data, seen) = world.data_of(request).await;

    assert_eq!(data["labels"], json!(["eu_personal", "payment", "source_code", "special_category"]));
    assert_eq!(data["from"], json!(["claims", "registration", "header", "route"]));
    assert_eq!((&data["purpose"], &data["purpose_from"]), (&json!("fraud"), &json!("claims")));
    assert_eq!(seen, (0, 1));
}

#[tokio::test]
async fn the_highest_class_counts_and_the_record_has_the_most_trusted_who_says_it() {
    let world = world("labels = []\nclaims.roles.medical = { class = \"confidential\" }").await;
    let secret = json!({"metadata": {"x-causeway-class": "secret"}});
    let ask = |model: &str, claims: &Value, more: &Value| {
        let mut body = chat(model);
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        world.ask_with(&body, claims)
    };
    let (none, medical) = (json!({}), json!({"roles": "medical"}));
    let of = |request: Request| world.data_of(request);

    let rows = [
        (of(ask("assistant", &none, &none).header("x-causeway-class", "public")).await, "internal", None),
        (
            of(ask("assistant", &none, &none).header("x-causeway-class", "confidential")).await,
            "confidential",
            Some("header"),
        ),
        (
            of(ask("assistant", &medical, &none).header("x-causeway-class", "confidential")).await,
            "confidential",
            Some("claims"),
        ),
        (
            of(ask("assistant", &medical, &secret).header("x-causeway-class", "internal")).await,
            "secret",
            Some("metadata"),
        ),
        (of(ask("drafts", &medical, &secret).header("x-causeway-class", "secret")).await, "secret", Some("route")),
    ];

    for ((data, _), class, from) in &rows {
        assert_eq!((data["class"].as_str(), data["class_from"].as_str()), (Some(*class), *from), "{data}");
    }
    // Secret data stays on own sites; what is confidential may go to the cloud, which is reached locally here.
    assert_eq!(world.seen(), (3, 2));
    for sent in [world.cloud.requests(), world.site.requests()].concat() {
        assert!(sent.header("x-causeway-class").is_none(), "a header of ours goes no further");
    }
}

#[tokio::test]
async fn a_request_can_not_say_another_purpose_than_its_token() {
    let world = world(DATA).await;
    let ask = |purpose: &str| world.ask("assistant", &json!({"desk": "fraud"})).header("x-causeway-purpose", purpose);

    let same = world.gateway.send(ask("fraud")).await.status;
    let other = world.gateway.send(ask("answering")).await;

    assert_eq!((same, other.status), (200, 400));
    assert!(other.text().await.contains("the token says that the purpose is `fraud`"));
    assert_eq!(world.seen(), (1, 0));
}

#[tokio::test]
async fn a_purpose_in_metadata_counts_as_in_the_header_and_whoever_names_one_names_the_same() {
    let world = world(DATA).await;
    let with = |metadata: Value| {
        let mut body = chat("assistant");
        body["metadata"] = metadata;
        body
    };
    let named = |purpose: Value| with(json!({"x-causeway-purpose": purpose, "other": "of the caller's own"}));
    let header = |request: Request, purpose: &str| request.header("x-causeway-purpose", purpose);
    let (none, desk) = (json!({}), json!({"desk": "fraud"}));
    let ask = |body: &Value| world.ask_with(body, &none);
    let fraud = named(json!("fraud"));

    for (what, request, from) in [
        ("metadata alone", ask(&fraud), "metadata"),
        ("in other letters, with spaces", ask(&with(json!({"X-Causeway-Purpose": " fraud "}))), "metadata"),
        ("the same in both", header(ask(&fraud), "fraud"), "header"),
        ("the same twice", header(header(ask(&chat("assistant")), "fraud"), "fraud"), "header"),
        ("the same as the token", world.ask_with(&fraud, &desk), "claims"),
    ] {
        let (data, _) = world.data_of(request).await;
        assert_eq!((&data["purpose"], &data["purpose_from"]), (&json!("fraud"), &json!(from)), "{what}");
    }
    let reached = world.seen();
    for (what, request, param, words) in [
        (
            "another in the header",
            header(ask(&fraud), "answering"),
            "metadata.x-causeway-purpose",
            "the request names two purposes, `answering` and `fraud`; name one",
        ),
        (
            "another in two headers",
            header(header(ask(&chat("assistant")), "fraud"), "answering"),
            "x-causeway-purpose",
            "the request names two purposes, `fraud` and `answering`; name one",
        ),
        (
            "one that is not registered",
            ask(&named(json!("marketing"))),
            "metadata.x-causeway-purpose",
            "`metadata.x-causeway-purpose` must name one of: fraud, answering",
        ),
        (
            "one beside the header's that is not registered",
            header(ask(&named(json!("marketing"))), "fraud"),
            "metadata.x-causeway-purpose",
            "`metadata.x-causeway-purpose` must name one of: fraud, answering",
        ),
        (
            "no text",
            ask(&named(json!(["fraud"]))),
            "metadata.x-causeway-purpose",
            "`metadata.x-causeway-purpose` must name one of: fraud, answering",
        ),
        (
            "another than the token",
            world.ask_with(&named(json!("answering")), &desk),
            "metadata.x-causeway-purpose",
            "the token says that the purpose is `fraud`; leave `metadata.x-causeway-purpose` out",
        ),
        (
            "none at all",
            ask(&with(json!({"purpose": "fraud"}))),
            "x-causeway-purpose",
            "`x-causeway-purpose` must name one of: fraud, answering",
        ),
    ] {
        let answer = world.gateway.send(request).await;
        let (status, error) = (answer.status, answer.json().await["error"].take());
        assert_eq!((status, &error["code"]), (400, &json!("invalid_request")), "{what}: {error}");
        assert_eq!((&error["param"], &error["message"]), (&json!(param), &json!(words)), "{what}");
    }
    assert_eq!(world.seen(), reached, "what is refused reaches nobody");
}

/// It is refused nowhere else: there it is the caller's own, as the header is without effect.
#[tokio::test]
async fn a_purpose_is_without_effect_for_an_app_that_has_registered_none() {
    let world = world("labels = []").await;
    let mut body = chat("assistant");
    body["metadata"] = json!({"x-causeway-purpose": 7});

    let (data, _) = world.data_of(world.ask_with(&body, &json!({})).header("x-causeway-purpose", "fraud")).await;

    assert_eq!(data, json!({"labels": [], "class": "internal"}));
}

#[tokio::test]
async fn a_model_says_what_is_sent_to_it() {
    let world = world("labels = []").await;

    let (data, seen) = world.data_of(world.ask("medical", &json!({"roles": "medical"}))).await;

    assert_eq!(data, json!({"labels": ["special_category"], "from": ["route"], "class": "internal"}));
    assert_eq!(seen, (0, 1), "a special category is under no third country's law");
}
