//! What the gateway is lent for who it is, end to end: tokens of Entra ID for the machine and for a workload, which an endpoint
//! takes, and keys of AWS that run out, with which checkpoints are put into a bucket.

use std::time::Duration;

use serde_json::Value;

use super::second_place::verify;
use crate::testkit::{
    AWS_SECRET, AWS_TOKEN, Authority, Bucket, BucketKind, Config, Endpoint, Gateway, LENT_CLIENT, LENT_ROLE, Lender,
    Lends, UPSTREAM_KEY, Upstream, bucket_sections, chat, until,
};

/// Tokens of another issuer, as somebody writes them into a file; what has no place in a form is left out.
const FIRST: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.Zmlyc3Q";
const SECOND: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2Vjb25k";

const IN_AZURE: [Lends; 2] = [Lends::AzureMachine, Lends::Workload];
const IN_AWS: [Lends; 3] = [Lends::WebIdentity, Lends::AwsMachine, Lends::AwsContainer];

async fn tokens(gateway: &Gateway) -> Value {
    gateway.operator("/api/status").await.json().await["tokens"].clone()
}

/// Two endpoints, the first of which takes tokens only.
fn shown_to_an_endpoint(lends: Lends, lender: &Lender, authority: &Authority, ends: (&Upstream, &Upstream)) -> Config {
    let (cloud, spare) = ends;
    let scope = "scope = \"https://models.example/.default\"";
    let auth = match lends {
        Lends::AzureMachine => {
            format!("managed-identity = {{ identity = \"lender\", client = \"{LENT_CLIENT}\", {scope} }}")
        }
        _ => format!(
            "workload-identity = {{ identity = \"lender\", tenant = \"contoso.example\", client = \"{LENT_CLIENT}\", \
             token_file = \"token\", {scope} }}"
        ),
    };
    Config::new()
        .file("ca.pem", &authority.pem())
        .file("token", &format!("{FIRST}\n"))
        .section(&lender.section())
        .endpoint("cloud", Endpoint::of(cloud).with(&format!("auth = {{ {auth} }}")))
        .endpoint("spare", Endpoint::of(spare))
        .model("assistant", &["cloud/m", "spare/m"])
}

#[tokio::test]
async fn a_token_of_the_machine_or_of_a_workload_is_asked_for_once_and_shown_to_the_endpoint() {
    for lends in IN_AZURE {
        let authority = Authority::new();
        let (cloud, spare) = (Upstream::start("cloud").await, Upstream::start("spare").await);
        let lender = Lender::start(&authority, lends, FIRST).await;
        let gateway = Gateway::start(&shown_to_an_endpoint(lends, &lender, &authority, (&cloud, &spare))).await;

        for _ in 0..3 {
            // The upstream refuses whoever does not show it the token.
            let answer = gateway.chat(&chat("assistant")).await;
            assert_eq!((answer.status, answer.text().await.contains("cloud")), (200, true), "{lends:?}");
        }

        assert_eq!((lender.lent(), lender.faults()), (1, Vec::new()), "{lends:?}");
        let tokens = tokens(&gateway).await;
        let grant = if lends == Lends::Workload { "workload-identity" } else { "managed-identity" };
        assert_eq!((&tokens[0]["identity"], &tokens[0]["grant"]), (&"identity.lender".into(), &grant.into()));
        assert!(tokens[0]["expires_at"].is_string() && tokens[0]["failed"].is_null(), "{tokens}");
        let seen = format!("{tokens}{}", gateway.log());
        assert!(!seen.contains(FIRST) && !seen.contains(UPSTREAM_KEY), "{lends:?}: {seen}");
    }
}

#[tokio::test]
async fn a_workloads_file_is_read_anew_each_time_and_without_what_it_stands_for_nothing_is_sent() {
    let authority = Authority::new();
    let (cloud, spare) = (Upstream::start("cloud").await, Upstream::start("spare").await);
    let lender = Lender::start(&authority, Lends::Workload, SECOND).await;
    let config = shown_to_an_endpoint(Lends::Workload, &lender, &authority, (&cloud, &spare));
    let gateway = Gateway::start(&config).await;

    let answer = gateway.chat(&chat("assistant")).await;
    let decision = answer.headers["x-causeway-decision"].to_str().expect("text").to_owned();
    assert_eq!((answer.status, answer.text().await.contains("spare")), (200, true));
    let record = gateway.audit().record(&decision).await;
    assert_eq!(record.attempts(), ["cloud/m no_credential", "spare/m success"]);
    assert_eq!((record.outcome["attempts"][0]["verdict"].as_str(), cloud.connections()), (Some("ID-02"), 0));
    let failed = tokens(&gateway).await[0]["failed"].clone();
    assert!(failed["seen"].as_str().is_some_and(|seen| seen.contains("401 invalid_client (AADSTS700213)")), "{failed}");

    // What lies there is replaced, as a kubelet does before it runs out.
    lender.lends_for(Duration::from_secs(2));
    gateway.replace_file("token", SECOND);
    let back = async || gateway.chat(&chat("assistant")).await.text().await.contains("cloud").then_some(());
    until("a token to be had", back).await;
    lender.wants(FIRST);
    gateway.replace_file("token", FIRST);
    let lent = lender.lent();
    until("it to be asked for again ahead of its end", async || (lender.lent() > lent).then_some(())).await;
    assert!(!gateway.log().contains(SECOND));
}

fn copying(lends: Lends, lender: &Lender, authority: &Authority, (upstream, bucket): (&Upstream, &Bucket)) -> Config {
    let region = "region = \"eu-central-1\"";
    let auth = match lends {
        Lends::WebIdentity => format!(
            "aws-web-identity = {{ {region}, identity = \"lender\", role = \"{LENT_ROLE}\", token_file = \"token\" }}"
        ),
        Lends::AwsMachine => format!("aws-machine = {{ {region}, identity = \"lender\" }}"),
        _ => format!(
            "aws-container = {{ {region}, identity = \"lender\", path = \"/v1/credentials\", token_file = \"token\" }}"
        ),
    };
    let sections = bucket_sections(bucket);
    let (before, rest) = sections.split_once("auth = ").expect("it says how it is signed");
    let (_, after) = rest.split_once('\n').expect("on one line");
    Config::serving(upstream)
        .file("ca.pem", &authority.pem())
        .file("token", &format!("{FIRST}\n"))
        .section(&format!("{before}auth = {{ {auth} }}\n{after}\n{}", lender.section()))
}

#[tokio::test]
async fn checkpoints_are_put_into_a_bucket_with_keys_that_are_lent() {
    for lends in IN_AWS {
        let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
        let bucket = Bucket::start(&authority, BucketKind::S3).await;
        let lender = Lender::start(&authority, lends, FIRST).await;
        let mut gateway = Gateway::start(&copying(lends, &lender, &authority, (&upstream, &bucket))).await;
        gateway.chat(&chat("assistant")).await;
        until("the first checkpoint to be there", async || (!bucket.names().is_empty()).then_some(())).await;
        let tokens = tokens(&gateway).await;
        gateway.signal("TERM");
        gateway.left().await;

        bucket.download(&gateway.folder().join("downloaded"));
        let (code, said) = verify(&gateway, "downloaded").await;

        assert_eq!((bucket.faults(), lender.faults()), (Vec::new(), Vec::new()), "{lends:?}");
        assert_eq!((code, said.starts_with("whole")), (0, true), "{lends:?}: {said}");
        assert_eq!(lender.lent(), 1, "{lends:?}");
        assert!(tokens[0]["expires_at"].is_string() && tokens[0]["failed"].is_null(), "{lends:?}: {tokens}");
        let seen = format!("{tokens}{}", gateway.log());
        assert!([AWS_SECRET, AWS_TOKEN, FIRST].iter().all(|secret| !seen.contains(secret)), "{lends:?}: {seen}");
    }
}

#[tokio::test]
async fn keys_are_asked_for_anew_ahead_of_their_end_and_what_is_refused_costs_no_request() {
    let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
    let bucket = Bucket::start(&authority, BucketKind::S3).await;
    let lender = Lender::start(&authority, Lends::WebIdentity, SECOND).await;
    let gateway = Gateway::start(&copying(Lends::WebIdentity, &lender, &authority, (&upstream, &bucket))).await;

    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
    let failed = until("the refusal to be seen", async || {
        tokens(&gateway).await[0]["failed"]["seen"].as_str().map(str::to_owned)
    })
    .await;
    assert!(failed.ends_with("the identity host answers 400 (InvalidIdentityToken)"), "{failed}");
    assert_eq!((bucket.puts(), lender.lent()), (0, 0), "nothing is sent that is not signed");

    lender.lends_for(Duration::from_secs(2));
    gateway.replace_file("token", SECOND);
    until("a checkpoint to be there", async || (!bucket.names().is_empty()).then_some(())).await;
    until("keys to be asked for again", async || (lender.lent() >= 2).then_some(())).await;
    assert_eq!(bucket.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn keys_that_a_bucket_blames_are_asked_for_anew_once_and_those_that_it_denies_are_not() {
    let table = [
        ((400, "ExpiredToken"), 2),
        ((400, "InvalidToken"), 2),
        ((403, "InvalidAccessKeyId"), 2),
        ((400, "TokenRefreshRequired"), 2),
        ((403, "AccessDenied"), 1),
        ((403, "SignatureDoesNotMatch"), 1),
    ];
    // Each waits for what the gateway tries again, so they wait together.
    let [expired, invalid, unknown, stale, denied, unsigned] = table.map(is_turned_away);
    tokio::join!(expired, invalid, unknown, stale, denied, unsigned);
}

/// A bucket that goes on turning away costs no more askings; one that takes keys again gets its checkpoint.
async fn is_turned_away((answer, lent): ((u16, &'static str), usize)) {
    let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
    let bucket = Bucket::start(&authority, BucketKind::S3).await;
    bucket.turns_away(Some(answer));
    let lender = Lender::start(&authority, Lends::WebIdentity, FIRST).await;
    let gateway = Gateway::start(&copying(Lends::WebIdentity, &lender, &authority, (&upstream, &bucket))).await;

    // Keys that were lent anew are shown at the second of these.
    until("it to be turned away thrice", async || (bucket.puts() >= 3).then_some(())).await;
    assert_eq!(lender.lent(), lent, "{answer:?}");

    bucket.turns_away(None);
    until("a checkpoint to be there", async || (!bucket.names().is_empty()).then_some(())).await;
    assert_eq!((lender.lent(), bucket.faults()), (lent, Vec::new()), "{answer:?}");
    assert_eq!(gateway.log().contains("an endpoint refuses the token"), lent == 2, "{answer:?}");
    assert!(!gateway.log().contains(AWS_TOKEN));
}
