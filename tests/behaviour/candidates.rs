//! Policies that are only proposed are asked and recorded, and decide nothing.

use serde_json::{Value, json};

use crate::testkit::{Config, Endpoint, Gateway, Request, Upstream, chat, run};

/// Permits what is approved, and beyond that what a test says.
fn policies(more: &str) -> String {
    format!(
        "@id(\"all\") @owner(\"o\") @basis(\"b\") @grant(\"base\")\n\
         permit (principal is App, action in Action::\"infer\", resource is Target);\n{more}"
    )
}

fn forbid(id: &str, target: &str) -> String {
    format!(
        "@id(\"{id}\") @owner(\"o\") @basis(\"b\")\n\
         forbid (principal, action, resource is Target) when {{ resource == Target::\"{target}\" }};\n"
    )
}

/// What the record says of each target: verdict, and what was proposed instead.
fn said(candidates: &Value) -> Vec<(String, String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let one = |note: &Value| {
        (text(&note["target"]).unwrap_or_default(), text(&note["verdict"]).unwrap_or_default(), text(&note["proposed"]))
    };
    candidates.as_array().into_iter().flatten().map(one).collect()
}

async fn gateway(enforced: &str, proposed: &str) -> (Upstream, Upstream, Gateway) {
    let (one, two) = (Upstream::start("one").await, Upstream::start("two").await);
    let config = Config::new()
        .endpoint("one", Endpoint::of(&one))
        .endpoint("two", Endpoint::of(&two))
        .model("assistant", &["one/m", "two/m"])
        .section("[policy]\nfolder = \"enforced\"\ncandidate = \"proposed\"\n")
        .file("enforced/10.cedar", &policies(enforced))
        .file("proposed/10.cedar", &policies(proposed));
    let gateway = Gateway::start(&config).await;
    (one, two, gateway)
}

#[tokio::test]
async fn where_proposed_policies_would_decide_otherwise_the_record_says_so_and_nothing_else_changes() {
    let (one, two, gateway) = gateway(&forbid("not-one", "one/m"), &forbid("not-two", "two/m")).await;

    let answer = gateway.send(Request::post("/v1/chat/completions", &chat("assistant"))).await;

    let decision = answer.decision();
    answer.of_status(200, "permitted by the enforced policies").await;
    assert_eq!((one.requests().len(), two.requests().len()), (0, 1));
    let record = gateway.audit().record(&decision).await;
    let expected = [
        ("one/m".to_owned(), "out".to_owned(), Some("in: permitted by `all`".to_owned())),
        ("two/m".to_owned(), "in".to_owned(), Some("out: forbidden by `not-two`".to_owned())),
    ];
    assert_eq!(said(&record.intent["candidates"]), expected, "{}", record.intent);
}

#[tokio::test]
async fn a_proposed_policy_never_opens_what_is_closed() {
    let both = [forbid("not-one", "one/m"), forbid("not-two", "two/m")].concat();
    let (one, two, gateway) = gateway(&both, "").await;

    let answer = gateway.send(Request::post("/v1/chat/completions", &chat("assistant"))).await;

    let decision = answer.decision();
    answer.of_status(403, "forbidden by the enforced policies").await;
    assert_eq!((one.connections(), two.connections()), (0, 0));
    let refused = gateway.audit().refusal(&decision).await;
    let proposed: Vec<Option<String>> = said(&refused["candidates"]).into_iter().map(|(_, _, other)| other).collect();
    assert_eq!(proposed, [Some("in: permitted by `all`".to_owned()), Some("in: permitted by `all`".to_owned())]);
}

#[tokio::test]
async fn where_both_agree_the_record_is_as_it_was() {
    let (_one, _two, gateway) = gateway(&forbid("not-one", "one/m"), &forbid("another-name", "one/m")).await;

    let answer = gateway.send(Request::post("/v1/chat/completions", &chat("assistant"))).await;

    let record = gateway.audit().record(&answer.decision()).await;
    assert!(!record.intent.to_string().contains("proposed"), "{}", json!(record.intent));
}

#[tokio::test]
async fn recognisers_that_are_only_proposed_are_recorded_where_they_would_decide_otherwise_and_decide_nothing() {
    let (one, two) = (Upstream::start("one").await, Upstream::start("two").await);
    let forbids = |kind: &str, target: &str| {
        format!(
            "@id(\"no-{kind}\") @owner(\"o\") @basis(\"b\")\nforbid (principal, action, resource is Target)\n\
             when {{ context.findings.contains(\"{kind}\") && resource == Target::\"{target}\" }};\n"
        )
    };
    let soon = (time::OffsetDateTime::now_utc() + time::Duration::days(40)).date();
    let suppress = format!(
        "labels = []\nsuppress = {{ iban = {{ until = {soon}, owner = \"o\", because = \"seen by the tests\" }} }}"
    );
    let config = Config::new()
        .endpoint("one", Endpoint::of(&one))
        .endpoint("two", Endpoint::of(&two))
        .model("assistant", &["one/m", "two/m"])
        .app_with_data("pays", "cw_key_of_pays", &["assistant"], &suppress)
        .section("[policy]\nfolder = \"enforced\"\ncandidate_recognisers = { card = false, iban = true }\n")
        .file("enforced/10.cedar", &policies(&[forbids("card", "one/m"), forbids("iban", "two/m")].concat()));
    let gateway = Gateway::start(&config).await;
    let mut body = chat("assistant");
    body["messages"][0]["content"] = "Card 4111 1111 1111 1111, IBAN DE89 3704 0044 0532 0130 00.".into();

    let answer = gateway.send(Request::post("/v1/chat/completions", &body).key("cw_key_of_pays")).await;

    let decision = answer.decision();
    answer.of_status(200, "permitted by what is in force").await;
    assert_eq!((one.connections(), two.requests().len()), (0, 1), "the card is seen, and the account is not");
    let record = gateway.audit().record(&decision).await;
    let expected = [
        ("one/m".to_owned(), "out".to_owned(), Some("in: permitted by `all`".to_owned())),
        ("two/m".to_owned(), "in".to_owned(), Some("out: forbidden by `no-iban`".to_owned())),
    ];
    assert_eq!(said(&record.intent["candidates"]), expected, "{}", record.intent);
}

#[tokio::test]
async fn what_apps_use_and_what_would_change_for_them_is_counted_from_the_log() {
    let (_one, _two, gateway) = gateway("", &forbid("not-two", "two/m")).await;
    for text in ["Hello.", "Refund 4111 1111 1111 1111, please."] {
        let mut body = chat("assistant");
        body["messages"][0]["content"] = text.into();
        let answer = gateway.send(Request::post("/v1/chat/completions", &body)).await;
        let decision = answer.decision();
        answer.of_status(200, text).await;
        gateway.audit().record(&decision).await;
    }

    let folder = gateway.folder().join("state/audit");
    let folder = folder.display().to_string();
    let output = run(&["onboard", "report", "--folder", &folder, "--json"], gateway.folder()).await;

    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let app = &report["apps"]["tests"];
    assert_eq!((&app["requests"], &app["models"]), (&json!(2), &json!({"assistant": 2})), "{report:#}");
    assert_eq!(app["findings"], json!({"card": 1}), "{report:#}");
    assert_eq!(app["would_change"], json!({"out: forbidden by `not-two`": 2}), "{report:#}");
    assert_eq!((&app["refused"], &app["perhaps_false"]), (&json!({}), &json!([])), "{report:#}");
}

#[tokio::test]
async fn facts_that_are_only_proposed_are_recorded_where_they_would_decide_otherwise_and_decide_nothing() {
    let (zone, own) = (Upstream::start("zone").await, Upstream::start("own").await);
    let place = "{ azure = { region = \"swedencentral\", sku = \"DataZoneStandard\" } }";
    let standard = "{ azure = { region = \"swedencentral\", sku = \"Standard\" } }";
    let (outside, inside) = ("processing = [\"US\"]", "processing = [\"SE\"]");
    let because = "because = \"read again by the tests\"";
    let config = Config::new()
        .endpoint("zone", Endpoint::of(&zone).place(Some(place)))
        .endpoint("standard", Endpoint::of(&own).place(Some(standard)))
        .model("assistant", &["zone/m", "standard/m"])
        .app_with_data("personal", "cw_key_of_personal", &["assistant"], "labels = [\"eu_personal\"]")
        .section(&format!(
            "[policy.candidate_facts.azure-data-zone-standard-eu]\n{inside}\nat_rest = [\"SE\"]\n{because}\n\n\
             [policy.candidate_facts.azure-standard]\n{outside}\n{because}\n"
        ));
    let gateway = Gateway::start(&config).await;

    let ask = Request::post("/v1/chat/completions", &chat("assistant")).key("cw_key_of_personal");
    let answer = gateway.send(ask).await;

    let decision = answer.decision();
    answer.of_status(200, "permitted by the facts in force").await;
    assert_eq!((zone.connections(), own.requests().len()), (0, 1), "nothing is opened by what is only proposed");
    let record = gateway.audit().record(&decision).await;
    let said = said(&record.intent["candidates"]);
    assert_eq!((said[0].1.as_str(), said[1].1.as_str()), ("out", "in"), "{said:?}");
    assert!(said[0].2.as_deref().is_some_and(|proposed| proposed.starts_with("in: permitted by")), "{said:?}");
    assert!(said[1].2.as_deref().is_some_and(|proposed| proposed.starts_with("out: forbidden by")), "{said:?}");
}
