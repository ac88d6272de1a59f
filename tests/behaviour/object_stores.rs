//! Checkpoints of the audit log are put into a bucket or a container: each request is one that the store takes as its document
//! says, none takes the place of another, and what the store does costs no request.

use std::path::Path;

use serde_json::Value;

use super::second_place::verify;
use crate::testkit::{
    AWS_ID, AWS_SECRET, AWS_TOKEN, Authority, Bucket, BucketKind, CLOUD_SECRET, Config, Gateway, SHARED, ShelfMood,
    Upstream, bucket_sections, chat, run, until,
};

const KINDS: [BucketKind; 3] = [BucketKind::S3, BucketKind::AzureToken, BucketKind::AzureShared];

/// What must not be seen anywhere.
const SECRETS: [&str; 5] = [AWS_SECRET, AWS_TOKEN, CLOUD_SECRET, "c2hhcmVkLXNlY3JldA", "storage-token-"];

fn copying(upstream: &Upstream, authority: &Authority, bucket: &Bucket) -> Config {
    Config::serving(upstream)
        .file("ca.pem", &authority.pem())
        .file("aws.id", AWS_ID)
        .file("aws.secret", AWS_SECRET)
        .file("aws.token", AWS_TOKEN)
        .file("app.secret", CLOUD_SECRET)
        // As the portal gives it.
        .file("shared", &format!("?{SHARED}\n"))
        .section(&bucket_sections(bucket))
}

async fn audit_of(gateway: &Gateway) -> Option<Value> {
    let status: Value = serde_json::from_slice(&gateway.operator("/api/status").await.bytes().await).ok()?;
    Some(status["audit"].clone())
}

async fn is_failing(gateway: &Gateway, failing: bool) {
    until("it to be seen how the copies stand", async || {
        (audit_of(gateway).await?["witness"]["failing"] == failing).then_some(())
    })
    .await;
}

#[tokio::test]
async fn checkpoints_are_put_into_an_object_store_and_what_is_downloaded_there_is_a_witness() {
    for kind in KINDS {
        let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
        let bucket = Bucket::start(&authority, kind).await;
        let mut gateway = Gateway::start(&copying(&upstream, &authority, &bucket)).await;
        gateway.chat(&chat("assistant")).await;
        until("the first checkpoint to be there", async || (!bucket.names().is_empty()).then_some(())).await;
        gateway.signal("TERM");
        gateway.left().await;

        bucket.download(&gateway.folder().join("downloaded"));
        let (code, said) = verify(&gateway, "downloaded").await;
        let names = bucket.names();

        assert_eq!(bucket.faults(), Vec::<String>::new(), "{kind:?}");
        assert_eq!(code, 0, "{kind:?}: {said}");
        assert!(said.starts_with("whole"), "{kind:?}: {said}");
        assert!(names.len() >= 2, "{kind:?}: the first and the closing one: {names:?}");
        assert!(names.iter().all(|name| name.starts_with("gw-1.0000000001.")), "{kind:?}: {names:?}");
        assert!(SECRETS.iter().all(|secret| !gateway.log().contains(secret)), "{kind:?}: {}", gateway.log());
    }
}

#[tokio::test]
async fn a_store_that_refuses_hangs_forgets_or_changes_costs_no_request_and_is_seen() {
    // Each waits for what the gateway tries again, so they wait together.
    let [s3, token, shared] = KINDS.map(goes_wrong);
    tokio::join!(s3, token, shared);
}

async fn goes_wrong(kind: BucketKind) {
    let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
    let bucket = Bucket::start(&authority, kind).await;
    bucket.becomes(ShelfMood::Refusing);
    let gateway = Gateway::start(&copying(&upstream, &authority, &bucket)).await;

    for mood in [ShelfMood::Refusing, ShelfMood::Forgetting, ShelfMood::Changing, ShelfMood::Hanging] {
        bucket.becomes(mood);
        let before = bucket.puts();
        until("another try to be made", async || (bucket.puts() > before).then_some(())).await;
        assert_eq!(gateway.chat(&chat("assistant")).await.status, 200, "{kind:?} {mood:?}");
        is_failing(&gateway, true).await;
        let metrics = gateway.operator("/metrics").await.text().await;
        assert!(metrics.contains("causeway_audit_witness_failing 1"), "{kind:?} {mood:?}: {metrics}");
    }
    bucket.becomes(ShelfMood::Honest);
    until("what it holds to be all that was signed", async || {
        let audit = audit_of(&gateway).await?;
        let witness = &audit["witness"];
        (witness["failing"] == false && witness["entries"] == audit["entries"]).then_some(())
    })
    .await;
    bucket.download(&gateway.folder().join("downloaded"));
    let (code, said) = verify(&gateway, "downloaded").await;

    assert_eq!(code, 0, "{kind:?}: {said}");
    assert_eq!(bucket.faults(), Vec::<String>::new(), "{kind:?}");
    let log = gateway.log();
    assert!(log.contains("it answers 503 (ServerBusy)"), "{kind:?}: {log}");
    let everything = [log, gateway.operator("/api/status").await.text().await].concat();
    assert!(SECRETS.iter().all(|secret| !everything.contains(secret)), "{kind:?}: {everything}");
}

#[tokio::test]
async fn what_has_the_name_of_a_checkpoint_already_is_not_written_over_and_is_no_copy() {
    for kind in KINDS {
        let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
        let bucket = Bucket::start(&authority, kind).await;
        // Every name that the first checkpoints can have.
        let names: Vec<String> = (0..64).map(|size| format!("gw-1.0000000001.{size:020}.checkpoint")).collect();
        names.iter().for_each(|name| bucket.plant(name));

        let gateway = Gateway::start(&copying(&upstream, &authority, &bucket)).await;
        is_failing(&gateway, true).await;
        assert_eq!(gateway.chat(&chat("assistant")).await.status, 200, "{kind:?}");
        bucket.download(&gateway.folder().join("downloaded"));

        assert!(bucket.kept() > 0, "{kind:?}");
        for name in names {
            let bytes = std::fs::read(gateway.folder().join("downloaded").join(&name)).expect("it was downloaded");
            assert_eq!(bytes, b"planted", "{kind:?}: {name}");
        }
        assert_eq!(audit_of(&gateway).await.map(|audit| audit["witness"]["entries"].clone()), Some(0.into()));
        assert!(gateway.log().contains("it gives something else than what it took"), "{kind:?}: {}", gateway.log());
        assert_eq!(bucket.faults(), Vec::<String>::new(), "{kind:?}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_know_the_keys_says_why_and_gets_no_checkpoint() {
    let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
    let bucket = Bucket::start(&authority, BucketKind::S3).await;
    let config = copying(&upstream, &authority, &bucket);

    let gateway = Gateway::start(&config.file("aws.secret", "another+secret/key")).await;
    is_failing(&gateway, true).await;

    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
    assert_eq!(bucket.names(), Vec::<String>::new());
    assert!(gateway.log().contains("it answers 403 (SignatureDoesNotMatch)"), "{}", gateway.log());
}

#[tokio::test]
async fn a_store_stands_in_the_plan_of_the_network() {
    for kind in KINDS {
        let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
        let bucket = Bucket::start(&authority, kind).await;
        let gateway = Gateway::start(&copying(&upstream, &authority, &bucket)).await;

        let planned = run(&["netplan", "--config", "causeway.toml", "--format", "csv"], gateway.folder()).await;

        let planned = String::from_utf8_lossy(&planned.stdout).into_owned();
        let row = planned.lines().find(|row| row.contains("evidence"));
        assert!(row.is_some_and(|row| row.contains(&bucket.address.port().to_string())), "{kind:?}: {planned}");
    }
}

#[tokio::test]
async fn the_plan_of_the_network_names_who_gives_the_token_for_a_container() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");

    let planned = run(&["netplan", "--config", "second-place-azure.toml", "--format", "csv"], &examples).await;

    let planned = String::from_utf8_lossy(&planned.stdout).into_owned();
    let row = |kind: &str| planned.lines().find(|row| row.starts_with(kind)).unwrap_or_default();
    assert!(row("egress-identity").contains("169.254.169.254/32,tcp,80"), "{planned}");
    assert!(row("egress-evidence").contains("10.20.1.0/24,tcp,443,auditors.blob.core.windows.net"), "{planned}");
}
