//! What the control planes of clouds tell of where deployments process: a contradiction holds the endpoint back as one in an
//! answer does, and whoever tells nothing contradicts nothing.

use serde_json::{Value, json};

use crate::testkit::{
    ACCOUNT, AWS_ID, AWS_SECRET, AWS_TOKEN, Authority, CLOUD_SECRET, Client, Cloud, Config, Endpoint, Gateway, Request,
    Upstream, azure_sections, bedrock_sections, chat, run, until,
};

const SECURITY: &str = "cw_key_of_security";
const PROFILE: &str = "eu.anthropic.claude-sonnet-4-20250514-v1:0";
const PROFILE_PATH: &str = "/inference-profiles/eu.anthropic.claude-sonnet-4-20250514-v1%3A0";

fn deployment_path() -> String {
    format!("{ACCOUNT}/deployments/gpt-4o")
}

pub(super) fn tell_of_azure(cloud: &Cloud, sku: &str, location: &str) {
    let id = deployment_path();
    let kind = "Microsoft.CognitiveServices/accounts/deployments";
    cloud.put(
        &id,
        json!({"id": id, "type": kind, "name": "gpt-4o", "sku": {"name": sku, "capacity": 10},
               "properties": {"model": {"format": "OpenAI", "name": "gpt-4o"}, "provisioningState": "Succeeded"}}),
    );
    cloud.put(ACCOUNT, json!({"id": ACCOUNT, "name": "contoso", "location": location, "kind": "OpenAI"}));
}

pub(super) fn tell_of_bedrock(cloud: &Cloud, regions: &[&str]) {
    let models: Vec<Value> = regions
        .iter()
        .map(|region| json!({"modelArn": format!("arn:aws:bedrock:{region}::foundation-model/anthropic.claude-sonnet-4-20250514-v1:0")}))
        .collect();
    let arn = format!("arn:aws:bedrock:eu-central-1:123456789012:inference-profile/{PROFILE}");
    cloud.put(
        PROFILE_PATH,
        json!({"inferenceProfileArn": arn, "inferenceProfileId": PROFILE, "inferenceProfileName": "EU Sonnet",
               "models": models, "status": "ACTIVE", "type": "SYSTEM_DEFINED"}),
    );
}

fn config(authority: &Authority) -> Config {
    Config::new()
        .file("cloud-ca.pem", &authority.pem())
        .file("app.secret", CLOUD_SECRET)
        .file("aws.id", AWS_ID)
        .file("aws.secret", AWS_SECRET)
        .file("aws.token", AWS_TOKEN)
        .administrator("sam", "security", SECURITY)
}

/// An account in Sweden whose deployment is declared to be of the type `Standard`, and an own site behind it.
pub(super) fn on_azure(authority: &Authority, cloud: &Cloud, upstreams: (&Upstream, &Upstream)) -> Config {
    let place = "{ azure = { region = \"swedencentral\", sku = \"Standard\" } }";
    let control = format!("control = {{ azure = {{ host = \"azure\", account = \"{ACCOUNT}\" }} }}");
    config(authority)
        .section(&azure_sections(cloud))
        .endpoint("cloud", Endpoint::of(upstreams.0).place(Some(place)).with(&control))
        .endpoint("own", Endpoint::of(upstreams.1))
        .model("assistant", &["cloud/gpt-4o", "own/m"])
}

pub(super) fn on_bedrock(authority: &Authority, cloud: &Cloud, upstreams: (&Upstream, &Upstream)) -> Config {
    let place = "{ bedrock = { region = \"eu-central-1\", profile = \"eu\" } }";
    let control = "control = { bedrock = { host = \"bedrock\" } }";
    config(authority)
        .section(&bedrock_sections(cloud))
        .endpoint("cloud", Endpoint::of(upstreams.0).place(Some(place)).with(control))
        .endpoint("own", Endpoint::of(upstreams.1))
        .model("assistant", &[&format!("cloud/{PROFILE}"), "own/m"])
}

async fn metrics(gateway: &Gateway) -> String {
    Client::plain(gateway.admin()).send(Request::get("/metrics").key(SECURITY)).await.text().await
}

async fn checked(gateway: &Gateway, result: &str) {
    let line = format!("causeway_place_checks_total{{endpoint=\"cloud\",result=\"{result}\"}}");
    until(&line, async || metrics(gateway).await.contains(&line).then_some(())).await;
}

async fn held_back(gateway: &Gateway) -> Value {
    until("the record of the drift", async || {
        gateway
            .audit()
            .of_kind("admin")
            .into_iter()
            .find(|record| record["action"] == "place_drift")
            .map(|record| json!({"actor": record["actor"], "done": record["done"], "detail": record["detail"]}))
    })
    .await
}

async fn verify(gateway: &Gateway) -> (Option<i32>, Value, String) {
    let arguments = ["policy", "verify-places", "--config", "causeway.toml", "--ask", "--json"];
    let output = run(&arguments, gateway.folder()).await;
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), value, String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn ask(gateway: &Gateway) {
    gateway.chat(&chat("assistant")).await.of_status(200, "a question").await;
}

#[tokio::test]
async fn a_deployment_of_the_declared_type_and_region_agrees_and_nothing_changes() {
    let authority = Authority::new();
    let cloud = Cloud::azure(&authority).await;
    let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
    tell_of_azure(&cloud, "Standard", "Sweden Central");
    let gateway = Gateway::start(&on_azure(&authority, &cloud, (&upstream, &own))).await;

    checked(&gateway, "agrees").await;
    ask(&gateway).await;
    let (code, value, errors) = verify(&gateway).await;

    assert_eq!((upstream.requests().len(), own.requests().len()), (1, 0));
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(value["targets"][0]["verdict"], "agrees", "{value:#}");
    assert_eq!(value["targets"][0]["said"][0]["by"], "sku.name", "{value:#}");
    assert_eq!(value["targets"][0]["said"][0]["said"], "Standard in Sweden Central", "{value:#}");
    assert!(cloud.answered(&deployment_path(), 200) >= 2 && cloud.answered(ACCOUNT, 200) >= 2, "{:?}", cloud.seen());
    assert_eq!((upstream.probes(), own.probes()), (1, 0), "an endpoint whose answer could say nothing is not asked");
}

#[tokio::test]
async fn a_deployment_of_another_type_or_region_holds_the_endpoint_back() {
    for (sku, location, why) in [
        ("GlobalStandard", "swedencentral", "it says `GlobalStandard in swedencentral`, which is anywhere"),
        ("DataZoneStandard", "swedencentral", "it says `DataZoneStandard in swedencentral`"),
        ("Standard", "eastus", "it says `Standard in eastus`, which is US"),
        ("Standard", "atlantisnorth", "it says `Standard in atlantisnorth`, which is anywhere"),
        ("SomethingNew", "swedencentral", "it says `SomethingNew in swedencentral`, which is anywhere"),
    ] {
        let authority = Authority::new();
        let cloud = Cloud::azure(&authority).await;
        let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
        tell_of_azure(&cloud, sku, location);
        let gateway = Gateway::start(&on_azure(&authority, &cloud, (&upstream, &own))).await;

        let record = held_back(&gateway).await;
        ask(&gateway).await;
        let (code, value, errors) = verify(&gateway).await;

        assert_eq!((upstream.requests().len(), own.requests().len()), (0, 1), "{sku} in {location}");
        assert_eq!((&record["actor"], &record["done"]), (&json!("process"), &json!(true)));
        assert!(record["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{record}");
        assert!(gateway.log().contains("ALARM place_drift"), "{}", gateway.log());
        assert_eq!(code, Some(1), "{errors}");
        assert_eq!(value["targets"][0]["verdict"], "drift", "{value:#}");
    }
}

/// What Azure cannot take in the deployment that is asked it sends to another one of the account, where it is told to.
#[tokio::test]
async fn a_deployment_that_sends_on_to_one_of_another_type_holds_the_endpoint_back_before_it_does() {
    for (other, agrees) in [("Standard", true), ("GlobalStandard", false)] {
        let authority = Authority::new();
        let cloud = Cloud::azure(&authority).await;
        let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
        tell_of_azure(&cloud, "ProvisionedManaged", "swedencentral");
        let (id, other_id) = (deployment_path(), deployment_path().replace("gpt-4o", "overflow"));
        let properties = json!({"spilloverDeploymentName": "overflow", "provisioningState": "Succeeded"});
        cloud.put(&id, json!({"name": "gpt-4o", "sku": {"name": "ProvisionedManaged"}, "properties": properties}));
        cloud.put(&other_id, json!({"name": "overflow", "sku": {"name": other}, "properties": {}}));
        let gateway = Gateway::start(&on_azure(&authority, &cloud, (&upstream, &own))).await;

        if agrees {
            checked(&gateway, "agrees").await;
        } else {
            let record = held_back(&gateway).await;
            let why = "it says `GlobalStandard in swedencentral`, which is anywhere";
            assert!(record["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{record}");
        }
        let (code, value, errors) = verify(&gateway).await;

        assert_eq!(code, Some(i32::from(!agrees)), "{errors}");
        let said = &value["targets"][0]["said"][0]["said"];
        let whole = format!("ProvisionedManaged in swedencentral, and sends what it cannot take to overflow, {other}");
        assert_eq!(*said, json!(whole), "{value:#}");
        assert!(cloud.answered(&other_id, 200) >= 2, "{:?}", cloud.seen());
    }
}

/// What cannot be read of the other deployment hides nothing of the one that is asked about, and lets nothing pass for confirmed.
#[tokio::test]
async fn a_deployment_is_compared_also_where_the_one_that_it_sends_on_to_cannot_be_read() {
    for (sku, drifts) in [("Standard", false), ("GlobalStandard", true)] {
        for other in ["overflow", "not a name"] {
            let authority = Authority::new();
            let cloud = Cloud::azure(&authority).await;
            let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
            tell_of_azure(&cloud, sku, "swedencentral");
            let (id, other_id) = (deployment_path(), deployment_path().replace("gpt-4o", "overflow"));
            let properties = json!({"spilloverDeploymentName": other});
            cloud.put(&id, json!({"name": "gpt-4o", "sku": {"name": sku}, "properties": properties}));
            cloud.put(&other_id, json!({"name": "another", "sku": {"name": "Standard"}}));
            let gateway = Gateway::start(&on_azure(&authority, &cloud, (&upstream, &own))).await;

            if drifts {
                let record = held_back(&gateway).await;
                let why = "it says `GlobalStandard in swedencentral`, which is anywhere";
                assert!(record["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{record}");
            }
            checked(&gateway, "failed").await;
            let (code, value, errors) = verify(&gateway).await;

            let log = gateway.log();
            assert!(log.contains("cannot be asked") && log.contains("that it spills over to is"), "{log}");
            assert!(!metrics(&gateway).await.contains("endpoint=\"cloud\",result=\"agrees\""), "nothing is confirmed");
            assert!(errors.contains("does not tell to what it spills over"), "{errors}");
            let wanted = if drifts { (Some(1), "drift") } else { (Some(3), "silent") };
            assert_eq!((code, value["targets"][0]["verdict"].as_str().unwrap()), wanted, "{sku}, {other}: {value:#}");
        }
    }
}

#[tokio::test]
async fn a_profile_that_sends_to_the_declared_countries_agrees_and_one_that_sends_elsewhere_is_held_back() {
    let declared = ["eu-central-1", "eu-north-1", "eu-west-3", "eu-west-2"];
    for (regions, agrees) in [
        (&declared[..], true),
        (&["eu-central-1", "us-east-1"][..], false),
        (&["eu-central-1", ""][..], false),
        (&["eu-central-1", "eu-atlantis-1"][..], false),
    ] {
        let authority = Authority::new();
        let cloud = Cloud::bedrock(&authority).await;
        let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
        tell_of_bedrock(&cloud, regions);
        let gateway = Gateway::start(&on_bedrock(&authority, &cloud, (&upstream, &own))).await;

        if agrees {
            checked(&gateway, "agrees").await;
        } else {
            let record = held_back(&gateway).await;
            assert!(record["detail"].as_str().is_some_and(|text| text.contains("GetInferenceProfile")), "{record}");
        }
        ask(&gateway).await;
        let (code, value, errors) = verify(&gateway).await;

        let sent = (upstream.requests().len(), own.requests().len());
        assert_eq!(sent, if agrees { (1, 0) } else { (0, 1) }, "{regions:?}");
        assert_eq!(code, Some(if agrees { 0 } else { 1 }), "{errors}");
        assert_eq!(value["targets"][0]["verdict"], if agrees { "agrees" } else { "drift" }, "{value:#}");
        assert!(cloud.seen().iter().all(|(path, status)| path == PROFILE_PATH && *status == 200), "{:?}", cloud.seen());
    }
}

#[tokio::test]
async fn a_control_plane_that_refuses_or_talks_nonsense_contradicts_nothing_and_says_what_to_do() {
    let error = |code: &str| json!({"error": {"code": code, "message": "said at length"}});
    for (status, headers, body, wanted) in [
        (401, &[][..], error("ExpiredAuthenticationToken"), "401 ExpiredAuthenticationToken: the credential"),
        (403, &[], error("AuthorizationFailed"), "403 AuthorizationFailed: the identity of `control` may not read"),
        (404, &[], error("DeploymentNotFound"), "404 DeploymentNotFound: there is no deployment `gpt-4o`"),
        (429, &[("retry-after", "17")], error("TooManyRequests"), "429 TooManyRequests: it is asked too often"),
        (503, &[], json!("<html>"), "503: it is asked too often"),
        (302, &[("location", "https://evil.example/")], json!({}), "302: nothing is known"),
        (
            200,
            &[],
            json!({"name": "another", "sku": {"name": "Standard"}, "location": "swedencentral"}),
            "that of another",
        ),
        (200, &[], json!({"name": "gpt-4o", "sku": {}}), "no document of the kind"),
        (
            200,
            &[],
            json!({"name": "gpt-4o", "sku": {"name": "Standard"}, "location": "swedencentral", "nextLink": "https://evil.example/2"}),
            "one page of several",
        ),
        (200, &[], json!({"name": "gpt-4o", "sku": {"name": "a\nb"}, "location": "x"}), "no plain word"),
    ] {
        let authority = Authority::new();
        let cloud = Cloud::azure(&authority).await;
        let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
        cloud.refuse(status, headers, body);
        let gateway = Gateway::start(&on_azure(&authority, &cloud, (&upstream, &own))).await;

        checked(&gateway, "failed").await;
        ask(&gateway).await;
        let (code, value, errors) = verify(&gateway).await;

        assert_eq!((upstream.requests().len(), own.requests().len()), (1, 0), "silence contradicts nothing");
        assert_eq!(code, Some(3), "{status}: {errors}");
        assert_eq!(value["targets"][0]["verdict"], "silent", "{value:#}");
        assert!(errors.contains(wanted), "{status}: {errors}");
        let log = gateway.log();
        assert!(log.contains("where it processes cannot be asked") && log.contains(wanted), "{log}");
        assert!(!log.contains("said at length") && !log.contains("arm-token"), "{log}");
    }
}

/// `place` names the region alone; what the upstream model says decides what is asked.
fn in_its_region(authority: &Authority, cloud: &Cloud, upstream: &Upstream, model: &str) -> Config {
    config(authority)
        .section(&bedrock_sections(cloud))
        .endpoint(
            "cloud",
            Endpoint::of(upstream)
                .place(Some("{ bedrock = { region = \"eu-central-1\" } }"))
                .with("control = { bedrock = { host = \"bedrock\" } }"),
        )
        .model("assistant", &[&format!("cloud/{model}")])
}

#[tokio::test]
async fn nobody_is_asked_about_a_model_of_bedrock_that_is_called_in_its_region() {
    let authority = Authority::new();
    let cloud = Cloud::bedrock(&authority).await;
    let upstream = Upstream::start("cloud").await;
    let model = "anthropic.claude-3-5-haiku-20241022-v1:0";
    let gateway = Gateway::start(&in_its_region(&authority, &cloud, &upstream, model)).await;

    ask(&gateway).await;
    let (code, value, errors) = verify(&gateway).await;

    assert_eq!(cloud.seen(), []);
    assert_eq!(code, Some(3), "{errors}");
    assert_eq!(value["targets"][0]["verdict"], "silent", "{value:#}");
    let declared = value["targets"][0]["declared"].to_string();
    assert!(["DE", "GR", "PL", "TR"].iter().all(|country| declared.contains(country)), "{value:#}");
}

#[tokio::test]
async fn a_profile_of_a_geography_that_is_newer_than_the_pack_is_asked_about() {
    let authority = Authority::new();
    let cloud = Cloud::bedrock(&authority).await;
    let upstream = Upstream::start("cloud").await;
    let model = "ca.anthropic.claude-sonnet-4-20250514-v1:0";
    let gateway = Gateway::start(&in_its_region(&authority, &cloud, &upstream, model)).await;

    checked(&gateway, "failed").await;

    assert!(cloud.seen().iter().all(|(path, _)| path.starts_with("/inference-profiles/ca.")), "{:?}", cloud.seen());
    assert!(gateway.log().contains("there is no inference profile `ca."), "{}", gateway.log());
}

#[tokio::test]
async fn a_wrong_key_of_aws_is_refused_and_contradicts_nothing() {
    let authority = Authority::new();
    let cloud = Cloud::bedrock(&authority).await;
    let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
    tell_of_bedrock(&cloud, &["us-east-1"]);
    let config = on_bedrock(&authority, &cloud, (&upstream, &own)).file("aws.secret", "another-secret");
    let gateway = Gateway::start(&config).await;

    checked(&gateway, "failed").await;
    let (code, _, errors) = verify(&gateway).await;

    assert_eq!(code, Some(3));
    assert!(errors.contains("403 InvalidSignatureException"), "{errors}");
    assert!(!format!("{errors}{}", gateway.log()).contains("another-secret"));
}

#[tokio::test]
async fn keys_that_were_renewed_in_their_file_are_used_without_a_restart() {
    let authority = Authority::new();
    let cloud = Cloud::bedrock(&authority).await;
    let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
    tell_of_bedrock(&cloud, &["eu-central-1"]);
    let config = on_bedrock(&authority, &cloud, (&upstream, &own)).file("aws.token", "has-run-out");
    let gateway = Gateway::start(&config).await;
    checked(&gateway, "failed").await;

    gateway.replace_file("aws.token", AWS_TOKEN);
    gateway.signal("HUP");

    checked(&gateway, "agrees").await;
}

#[tokio::test]
async fn what_a_control_plane_is_asked_about_must_fit_what_is_declared() {
    let authority = Authority::new();
    let (azure, bedrock) = (Cloud::azure(&authority).await, Cloud::bedrock(&authority).await);
    let upstream = Upstream::start("cloud").await;
    let endpoint = |place: &'static str, control: &str| Endpoint::of(&upstream).place(Some(place)).with(control);
    let frankfurt = "{ bedrock = { region = \"eu-central-1\", profile = \"eu\" } }";
    let sweden = "{ azure = { region = \"swedencentral\", sku = \"Standard\" } }";
    for (endpoint, wanted) in [
        (
            endpoint(sweden, "control = { azure = { host = \"azure\", account = \"/subscriptions/x/../y\" } }"),
            "no id of an account",
        ),
        (
            endpoint(sweden, &format!("control = {{ azure = {{ host = \"bedrock\", account = \"{ACCOUNT}\" }} }}")),
            "control `bedrock` is one of AWS",
        ),
        (endpoint(sweden, "control = { bedrock = { host = \"bedrock\" } }"), "has nothing to compare with"),
        (endpoint(frankfurt, "control = { bedrock = { host = \"azure\" } }"), "control `azure` is none of AWS"),
        (
            endpoint(
                "{ bedrock = { region = \"eu-north-1\", profile = \"eu\" } }",
                "control = { bedrock = { host = \"bedrock\" } }",
            ),
            "is called in `eu-north-1`, and control `bedrock` is of `eu-central-1`",
        ),
        (endpoint(frankfurt, "control = { bedrock = { host = \"nobody\" } }"), "names control `nobody`"),
    ] {
        let config = config(&authority)
            .section(&azure_sections(&azure))
            .section(&bedrock_sections(&bedrock))
            .endpoint("cloud", endpoint)
            .model("assistant", &["cloud/m"]);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(folder.path().join("causeway.toml"), config.text([1, 2, 3])).expect("it can be written");
        for (name, content) in &config.files {
            std::fs::write(folder.path().join(name), content).expect("it can be written");
        }

        let output = run(&["check", "--config", "causeway.toml"], folder.path()).await;

        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(wanted), "{wanted}:\n{text}");
    }
}

#[tokio::test]
async fn the_network_plan_lets_the_gateway_reach_its_control_planes() {
    let authority = Authority::new();
    let cloud = Cloud::bedrock(&authority).await;
    let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
    let gateway = Gateway::start(&on_bedrock(&authority, &cloud, (&upstream, &own))).await;

    let output = run(&["netplan", "--config", "causeway.toml", "--format", "csv"], gateway.folder()).await;

    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().any(|line| line.contains("control") && line.contains("bedrock")), "{text}");
}

#[tokio::test]
async fn a_control_plane_that_is_throttled_is_not_asked_for_every_target() {
    let authority = Authority::new();
    let cloud = Cloud::azure(&authority).await;
    let (upstream, own) = (Upstream::start("cloud").await, Upstream::start("own").await);
    cloud.refuse(429, &[("retry-after", "3600")], json!({"error": {"code": "TooManyRequests"}}));
    let config =
        on_azure(&authority, &cloud, (&upstream, &own)).model("other", &["cloud/gpt-4o-mini", "cloud/gpt-4.1"]);
    let asked = || cloud.seen().iter().filter(|(path, _)| path.starts_with(ACCOUNT)).count();

    let gateway = Gateway::start(&config).await;
    // A round for each configuration.
    for round in 1..=3 {
        until("the first question of a round", async || (asked() >= round).then_some(())).await;
        gateway.signal("HUP");
        let reloads = || gateway.log().matches("configuration reloaded").count();
        until("the reload", async || (reloads() >= round).then_some(())).await;
    }
    until("the last round", async || (asked() >= 4).then_some(())).await;

    assert_eq!(asked(), 4, "{:?}", cloud.seen());
}
