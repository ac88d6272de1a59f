//! The world around a gateway under test: the process itself, scripted upstreams, a client that shows every byte.
//!
//! Nothing here knows the gateway's code. It writes a configuration as an operator would, starts the binary, and
//! speaks HTTP to it from both sides.

mod audit;
mod between;
mod bodies;
mod bucket;
mod certificates;
mod client;
mod clouds;
mod command;
mod config;
mod database;
mod dns;
mod engine;
mod gateway;
mod lender;
mod page;
mod prometheus;
mod receiver;
mod script;
mod shared;
mod shelf;
mod socket;
mod store;
mod tokens;
mod upstream;

use std::future::Future;
use std::time::Duration;

pub(crate) use audit::{Audit, Record};
pub(crate) use between::Between;
pub(crate) use bodies::*;
pub(crate) use bucket::{Bucket, BucketKind, SHARED, bucket_sections};
pub(crate) use certificates::{Authority, DnType, Issued, client_trusting, make_example_certificates};
pub(crate) use client::{Answer, Client, Request};
pub(crate) use clouds::{
    ACCOUNT, AWS_ID, AWS_SECRET, AWS_TOKEN, CLOUD_SECRET, Cloud, azure_sections, bedrock_sections,
};
pub(crate) use command::{Running, causeway, run, run_with_input};
pub(crate) use config::{Config, Endpoint, digest_of};
pub(crate) use database::{PASSWORD, Postgres};
pub(crate) use dns::{Dns, Says};
pub(crate) use engine::Engine;
pub(crate) use gateway::{Gateway, binary};
pub(crate) use lender::{LENT_CLIENT, LENT_ROLE, Lender, Lends};
pub(crate) use page::{Block, Reader, Shell, blocks_of, lacking, repository};
pub(crate) use prometheus::Prometheus;
pub(crate) use receiver::{Mood, Receiver, Taken, WEBHOOK_SECRET, section as webhook_at};
pub(crate) use script::{Act, Gate, Step};
pub(crate) use shared::Shared;
pub(crate) use shelf::{Shelf, ShelfMood};
pub(crate) use socket::{Hanging, Refusing, free_port};
pub(crate) use store::Store;
pub(crate) use tokens::TokenSigner;
pub(crate) use upstream::{Expect, Upstream};

/// The key of the app `tests`, which may use every model of the configuration.
pub(crate) const KEY: &str = "cw_test_key_of_the_app_tests";

/// The credential that only the gateway knows; a strict upstream wants to see it.
pub(crate) const UPSTREAM_KEY: &str = "upstream-secret";

/// How long a test waits for something that ought to happen: far longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what ought to happen, and says what did not happen when it does not.
pub(crate) async fn within<T>(what: &str, happening: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, happening).await;
    assert!(outcome.is_ok(), "waited {PATIENCE:?} in vain for: {what}");
    outcome.expect("checked on the line above")
}

/// The same for what is made of so many bytes: reading 32 MiB takes a program that is not optimised some seconds by itself.
pub(crate) async fn within_of<T>(bytes: usize, what: &str, happening: impl Future<Output = T>) -> T {
    let patience = PATIENCE + Duration::from_secs((bytes >> 18) as u64);
    let outcome = tokio::time::timeout(patience, Box::pin(happening)).await;
    assert!(outcome.is_ok(), "waited {patience:?} in vain for: {what}");
    outcome.expect("checked on the line above")
}

/// Looks until `look` finds something. For what another process does without telling: files, ports, its end.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        loop {
            pace.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    })
    .await
}

/// The same for what comes only after a `known` time, which is waited for beside the usual patience.
pub(crate) async fn until_after<T>(known: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = tokio::time::Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    loop {
        pace.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < known + PATIENCE, "waited {:?} in vain for: {what}", known + PATIENCE);
    }
}

/// Whether the long suites run whole (`tests/run --full`).
pub(crate) fn full() -> bool {
    std::env::var_os("CAUSEWAY_FULL").is_some_and(|value| value != "0")
}

/// Says that a test could not be made here, where a person sees it: `tests/run` repeats it in its last lines.
#[expect(clippy::print_stderr, reason = "a promise that was not tested is said aloud")]
pub(crate) fn not_tested(what: &str) {
    eprintln!("!! NOT TESTED: {what}");
    if let Some(list) = std::env::var_os("CAUSEWAY_NOT_TESTED") {
        use std::io::Write as _;

        let file = std::fs::OpenOptions::new().create(true).append(true).open(list);
        let said = file.and_then(|mut file| writeln!(file, "{what}"));
        said.expect("the list of what was not tested can be written");
    }
}
