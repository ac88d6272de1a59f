//! How fast the log is written and verified. Not a check: run by hand, in release, on the disk that matters.
//!
//! `CAUSEWAY_REQUESTS=5000000` makes ten million entries instead of one.
//!
//! `TMPDIR=/var/lib cargo test -p telemetry --release --test speed -- --ignored --nocapture --test-threads 1`

use std::io::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use telemetry::audit::read::{self, Question, Trust};
use telemetry::audit::{
    AttemptNote, AuditLog, BasisNote, CandidateNote, Durability, End, EstimateNote, Intent, Outcome, PlaceFacts,
    PlaceNote, SecondPlace, SeenNote, Settings, SigningKey, UsageNote,
};

const SPAN: Duration = Duration::from_secs(5);

fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn key() -> SigningKey {
    SigningKey::new("gw-1", &[1; 32]).expect("a seed makes a key")
}

fn open(state: &Path, durability: Durability) -> AuditLog {
    let settings = Settings {
        folder: state.join("audit"),
        scratch: state.join("audit-scratch"),
        origin: "gw-1".to_owned(),
        durability,
        key: key(),
        witness: Some(SecondPlace::Folder(state.join("witness"))),
        reserve: state.join("audit-reserve"),
    };
    AuditLog::open(settings, SystemTime::now()).expect("a temporary folder can be written")
}

/// Made once, as a snapshot makes them.
static BASIS: LazyLock<BasisNote> = LazyLock::new(|| {
    BasisNote::new("approved-targets", "GDPR Art. 5(2), 24: the controller decides which processors are used")
});

/// Of a data zone of the EU: the longest that there are.
static PLACE: LazyLock<PlaceNote> = LazyLock::new(|| {
    let members = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";
    let members: Vec<&str> = members.split(' ').collect();
    let words = "Azure OpenAI, DataZoneStandard, resource in swedencentral";
    let (operator, operator_parent) = ("IE", "US");
    let facts =
        PlaceFacts { words, processing: &members, at_rest: &["SE"], access: &members, operator, operator_parent };
    PlaceNote::new(&facts)
});

/// A request as the pipeline records it: three candidates, one attempt.
async fn request(log: &AuditLog, decision: &str) {
    let candidates = [
        CandidateNote { target: "gpu-01/llama-3.3-70b", verdict: "in", ..CandidateNote::default() },
        CandidateNote { target: "gpu-02/llama-3.3-70b", verdict: "in", ..CandidateNote::default() },
        CandidateNote {
            target: "aoai-sweden/gpt-4o",
            verdict: "out",
            why: "endpoint is not approved",
            ..CandidateNote::default()
        },
    ];
    let hash = "9a0b1c2d3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccddeef";
    let intent = Intent {
        decision,
        at: SystemTime::now(),
        waited: None,
        app: "claims",
        team: "insurance",
        key: Some("claims.keys[0]"),
        user: None,
        model: "chat-large",
        api: "chat",
        stream: true,
        peer: Some("192.168.1.9".parse().expect("an address")),
        trace: None,
        policy: hash,
        pack: "2026-11-27 sha256:9a0b1c2d3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccddeef",
        configuration: hash,
        candidates: &candidates,
        basis: &[&BASIS],
        plan: &["gpu-01/llama-3.3-70b", "gpu-02/llama-3.3-70b"],
        reason: "own capacity: first token in 0.41 s, within 1.50 s",
        estimate: EstimateNote { input: 250, output: 1024 },
        money: 10_750_000,
        prices: "2026-11-24 sha256:9a0b1c2d3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccddeef",
        features: &[],
        data: None,
        findings: &[],
        break_glass: None,
        capture: None,
    };
    let mut record = log.intent(&intent).await.expect("the disk takes it");
    let usage = Some(UsageNote { input: 250, output: 80, ..UsageNote::default() });
    record.attempt(AttemptNote {
        target: "gpu-01/llama-3.3-70b".into(),
        endpoint: "gpu-01".into(),
        place: Some(PLACE.clone()),
        outcome: "success",
        status: Some(200),
        address: Some("192.168.40.2:8000".parse().expect("an address")),
        evidence: Some("address"),
        verdict: None,
        path: None,
        took: Duration::from_micros(81_234),
        usage,
        may_have_executed: true,
        seen: SeenNote::default(),
    });
    record.close(Outcome {
        at: SystemTime::now(),
        status: Some(200),
        code: None,
        usage,
        settled_by: "reported",
        lost_tokens: 0,
        charged: 1_425_000,
        priced: true,
        to_first_byte: Some(Duration::from_micros(12_345)),
        total: Duration::from_micros(82_345),
        end: End::Complete,
    });
}

fn decision(number: u64) -> String {
    format!("01JDCJ{number:020}")
}

#[test]
#[ignore = "measures, and says nothing in a debug build"]
fn writing_with_os_durability() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let log = open(state.path(), Durability::Os);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");

    let begun = Instant::now();
    let mut requests = 0;
    while begun.elapsed() < SPAN {
        for _ in 0..100 {
            runtime.block_on(request(&log, &decision(requests)));
            requests += 1;
        }
    }
    let took = begun.elapsed().as_secs_f64();

    let records = requests as f64 * 2.0 / took;
    say(&format!("os, one thread: {records:.0} records/s, {:.2} us a request", took * 1e6 / requests as f64));
}

#[test]
#[ignore = "measures, and says nothing in a debug build"]
fn writing_with_disk_durability_and_64_in_flight() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let log = open(state.path(), Durability::Disk);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
    let requests = AtomicU64::new(0);

    let begun = Instant::now();
    runtime.block_on(async {
        let asking = (0..64).map(|_| async {
            while begun.elapsed() < SPAN {
                let number = requests.fetch_add(1, Ordering::Relaxed);
                request(&log, &decision(number)).await;
            }
        });
        futures_join(asking.collect()).await;
    });
    let took = begun.elapsed().as_secs_f64();

    say(&format!("disk, 64 in flight: {:.0} requests/s", requests.load(Ordering::Relaxed) as f64 / took));
}

/// Waits for all of them at once.
async fn futures_join<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[test]
#[ignore = "measures, and says nothing in a debug build"]
fn verifying_a_million_records_and_asking_who_was_touched() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let log = open(state.path(), Durability::Os);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let requests = std::env::var("CAUSEWAY_REQUESTS").ok().and_then(|count| count.parse().ok()).unwrap_or(500_000);
    for number in 0..requests {
        runtime.block_on(request(&log, &decision(number)));
    }
    runtime.block_on(log.seal("drained", SystemTime::now())).expect("the disk takes it");
    let folder = state.path().join("audit");
    let (keys, witness) = ([key().public().clone()], state.path().join("witness"));

    let begun = Instant::now();
    let report =
        read::verify(&folder, &Trust { keys: &keys, witness: Some(&witness), fleet: None }).expect("it is there");
    let took = begun.elapsed();
    say(&format!("verify: {} entries in {took:.2?}, {:?}", report.entries, report.verdict()));

    let begun = Instant::now();
    let question = Question { endpoints: Some(["gpu-01".to_owned()].into()), ..Question::default() };
    let exposure = read::exposure(&folder, &question).expect("it is there");
    let took = begun.elapsed();
    say(&format!("exposure: {} entries in {took:.2?}, {} requests", exposure.entries, exposure.requests()));
}
