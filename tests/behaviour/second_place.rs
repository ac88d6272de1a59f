//! Checkpoints of the audit log are put at a server: what it does costs no request, and is seen; what it holds is what an
//! auditor verifies the log against.

use serde_json::Value;

use crate::testkit::{Authority, Config, Gateway, Shelf, ShelfMood, Upstream, chat, run, until};

/// `Basic` of `gw:hush-hush`.
const BASIC: &str = "Basic Z3c6aHVzaC1odXNo";

fn copying(upstream: &Upstream, authority: &Authority, receiver: &Shelf, lines: &str) -> Config {
    let url = format!("https://{}/below/it", receiver.address);
    Config::serving(upstream).file("ca.pem", &authority.pem()).file("witness.key", "hush-hush\n").section(&format!(
        "[audit]\norigin = \"gw-1\"\n\n[audit.witness.http]\nurl = \"{url}\"\ntls = {{ ca = \"ca.pem\" }}\n\
         reach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\nsecret = {{ file = \"witness.key\" }}\n{lines}\n"
    ))
}

pub(super) async fn verify(gateway: &Gateway, witness: &str) -> (i32, String) {
    let arguments =
        ["audit", "verify", "--folder", "state/audit", "--key", "state/audit-keys/gw-1.pub", "--witness", witness];
    let output = run(&arguments, gateway.folder()).await;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

async fn witness_of(gateway: &Gateway) -> Option<Value> {
    let status: Value = serde_json::from_slice(&gateway.operator("/api/status").await.bytes().await).ok()?;
    Some(status["audit"]["witness"].clone())
}

#[tokio::test]
async fn checkpoints_are_put_at_a_server_and_what_is_downloaded_there_is_a_witness() {
    let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
    let receiver = Shelf::start(&authority, BASIC).await;
    let mut gateway = Gateway::start(&copying(&upstream, &authority, &receiver, "user = \"gw\"")).await;
    gateway.chat(&chat("assistant")).await;
    until("the first checkpoint to be there", async || (!receiver.names().is_empty()).then_some(())).await;
    gateway.signal("TERM");
    gateway.left().await;

    receiver.download(&gateway.folder().join("downloaded"));
    let (code, said) = verify(&gateway, "downloaded").await;
    let (alone, without) = verify(&gateway, "nowhere").await;
    let by_config = run(&["audit", "verify", "--config", "causeway.toml"], gateway.folder()).await;
    let names = receiver.names();
    std::fs::remove_dir_all(gateway.state().join("audit/gw-1/0000000001")).expect("an operator may take it away");
    let (gone, missing) = verify(&gateway, "downloaded").await;

    assert_eq!(receiver.faults(), Vec::<String>::new());
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("whole"), "{said}");
    assert_eq!(alone, 3, "{without}");
    let by_config = String::from_utf8_lossy(&by_config.stdout).into_owned();
    assert!(by_config.contains("download them, and name the folder with --witness"), "{by_config}");
    assert!(names.len() >= 2, "the first and the closing one: {names:?}");
    assert!(names.iter().all(|name| name.starts_with("gw-1.0000000001.")), "{names:?}");
    assert_eq!(gone, 1, "{missing}");
}

#[tokio::test]
async fn a_server_that_refuses_hangs_forgets_or_changes_costs_no_request_and_is_seen() {
    let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
    let receiver = Shelf::start(&authority, "Bearer hush-hush").await;
    receiver.becomes(ShelfMood::Refusing);
    let gateway = Gateway::start(&copying(&upstream, &authority, &receiver, "")).await;

    for mood in [ShelfMood::Refusing, ShelfMood::Forgetting, ShelfMood::Changing, ShelfMood::Hanging] {
        receiver.becomes(mood);
        let before = receiver.puts();
        until("another try to be made", async || (receiver.puts() > before).then_some(())).await;
        assert_eq!(gateway.chat(&chat("assistant")).await.status, 200, "{mood:?}");
        until("it to be seen", async || {
            let witness = witness_of(&gateway).await?;
            (witness["failing"] == true).then_some(())
        })
        .await;
        let metrics = gateway.operator("/metrics").await.text().await;
        assert!(metrics.contains("causeway_audit_witness_failing 1"), "{mood:?}: {metrics}");
        assert!(metrics.contains("causeway_audit_witness 1"), "{mood:?}: {metrics}");
    }
    receiver.becomes(ShelfMood::Honest);
    until("what it holds to be all that was signed", async || {
        let status: Value = serde_json::from_slice(&gateway.operator("/api/status").await.bytes().await).ok()?;
        let audit = &status["audit"];
        (audit["witness"]["failing"] == false && audit["witness"]["entries"] == audit["entries"]).then_some(())
    })
    .await;
    receiver.download(&gateway.folder().join("downloaded"));
    let (code, said) = verify(&gateway, "downloaded").await;

    assert_eq!(code, 0, "{said}");
    assert_eq!(receiver.faults(), Vec::<String>::new());
    let log = gateway.log();
    assert!(log.contains("could not be copied to the second place") && !log.contains("hush-hush"), "{log}");
}

#[tokio::test]
async fn a_server_that_takes_and_gives_nothing_is_enough_where_the_configuration_says_so() {
    let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
    let receiver = Shelf::start(&authority, "Bearer hush-hush").await;
    receiver.becomes(ShelfMood::Forgetting);

    let gateway = Gateway::start(&copying(&upstream, &authority, &receiver, "read_back = false")).await;

    until("the copy to count", async || {
        let witness = witness_of(&gateway).await?;
        (witness["entries"].as_u64()? >= 1 && witness["failing"] == false).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_with_another_certificate_gets_no_checkpoint_and_no_secret() {
    let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
    let receiver = Shelf::start(&Authority::new(), "Bearer hush-hush").await;
    let gateway = Gateway::start(&copying(&upstream, &authority, &receiver, "")).await;

    until("it to be seen", async || {
        let witness = witness_of(&gateway).await?;
        (witness["failing"] == true).then_some(())
    })
    .await;

    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
    assert_eq!((receiver.puts(), receiver.faults()), (0, Vec::<String>::new()));
}

#[tokio::test]
async fn the_server_of_checkpoints_stands_in_the_plan_of_the_network() {
    let (authority, upstream) = (Authority::new(), Upstream::start("only").await);
    let receiver = Shelf::start(&authority, "Bearer hush-hush").await;
    let config = copying(&upstream, &authority, &receiver, "");
    let gateway = Gateway::start(&config).await;

    let planned = run(&["netplan", "--config", "causeway.toml", "--format", "csv"], gateway.folder()).await;

    let planned = String::from_utf8_lossy(&planned.stdout).into_owned();
    let row = planned.lines().find(|row| row.contains("evidence"));
    assert!(row.is_some_and(|row| row.contains(&receiver.address.port().to_string())), "{planned}");
}
