//! The log against a working disk, a failing disk and the death of its process.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::Value;

use super::bundle::Entries;
use super::epoch::read_bundle;
use super::pen::Sink;
use super::*;

mod callers;
mod commit;
mod epochs;
mod passed;

/// A disk that takes so many bytes and no more, and whose cut can fail.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<DiskState>>);

struct DiskState {
    /// The bundles before the one that is written.
    before: Vec<u8>,
    bytes: Vec<u8>,
    /// Bytes that still fit.
    room: usize,
    /// Most bytes that one write takes.
    piece: usize,
    cut_fails: bool,
    begin_fails: bool,
    sync_fails: bool,
    interrupted: bool,
    writes: usize,
    syncs: usize,
}

impl Default for DiskState {
    fn default() -> Self {
        Self {
            before: Vec::new(),
            bytes: Vec::new(),
            room: usize::MAX,
            piece: usize::MAX,
            cut_fails: false,
            begin_fails: false,
            sync_fails: false,
            interrupted: false,
            writes: 0,
            syncs: 0,
        }
    }
}

impl Sink for Disk {
    fn begin(&mut self, _bundle: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        if disk.begin_fails {
            return Err(ErrorKind::StorageFull.into());
        }
        let full = std::mem::take(&mut disk.bytes);
        disk.before.extend(full);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock();
        disk.writes += 1;
        if std::mem::take(&mut disk.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let count = bytes.len().min(disk.room).min(disk.piece);
        if count == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        disk.room -= count;
        disk.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        if disk.cut_fails {
            return Err(io::Error::other("the cut failed"));
        }
        disk.bytes.truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.syncs += 1;
        if disk.sync_fails { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl Disk {
    fn log(&self) -> AuditLog {
        AuditLog::over(Box::new(self.clone()), Durability::Os, None, (Path::new("epoch"), "0000000001"))
    }

    fn log_with_backlog(&self, backlog: usize) -> AuditLog {
        self.log().with_backlog(backlog)
    }

    fn room(&self, bytes: usize) {
        self.0.lock().room = bytes;
    }

    fn lines(&self) -> Vec<Value> {
        let disk = self.0.lock();
        let mut lines = entries(&disk.before);
        lines.extend(entries(&disk.bytes));
        lines
    }
}

/// Every entry of a bundle, none of which may be torn.
fn entries(bytes: &[u8]) -> Vec<Value> {
    Entries::new(bytes).map(|entry| serde_json::from_slice(entry.expect("no entry is torn")).unwrap()).collect()
}

fn file_entries(log: &AuditLog) -> Vec<Value> {
    let mut lines = Vec::new();
    for number in 0.. {
        let Some(bytes) = read_bundle(log.folder(), number).unwrap() else { break };
        lines.extend(entries(&bytes));
    }
    lines
}

/// Opens a log in a state folder as the gateway does.
fn open(state: &Path) -> AuditLog {
    AuditLog::open(settings(state, "gw-1"), now()).unwrap()
}

pub(super) fn settings(state: &Path, origin: &str) -> Settings {
    Settings {
        folder: state.join("audit"),
        scratch: state.join("audit-scratch"),
        origin: origin.to_owned(),
        durability: Durability::Os,
        key: SigningKey::new("gw-1", &[1; 32]).unwrap(),
        witness: None,
        reserve: state.join("reserve"),
    }
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["kind"].as_str().unwrap()).collect()
}

pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_795_472_224, 123_456_789)
}

pub(super) fn intent(decision: &str) -> Intent<'_> {
    Intent {
        decision,
        at: now(),
        waited: None,
        app: "claims",
        team: "insurance",
        key: Some("claims-1"),
        user: None,
        model: "chat-large",
        api: "chat",
        stream: true,
        peer: Some("192.168.1.9".parse().unwrap()),
        trace: None,
        policy: "sha256:aa",
        pack: "2026-11-27 sha256:00",
        configuration: "sha256:bb",
        candidates: &[
            CandidateNote {
                target: "gpu-01/llama",
                verdict: "in",
                why: "",
                proposed: None,
                fallback: None,
                facts: None,
            },
            CandidateNote {
                target: "aoai/gpt-4o",
                verdict: "out",
                why: "unapproved",
                proposed: None,
                fallback: None,
                facts: None,
            },
        ],
        basis: &[],
        plan: &["gpu-01/llama"],
        estimate: EstimateNote { input: 100, output: 1024 },
        reason: "own capacity",
        money: 1_500,
        prices: "2026-11-26 sha256:00",
        features: &[],
        data: None,
        findings: &[],
        break_glass: None,
        capture: None,
    }
}

pub(super) fn outcome() -> Outcome<'static> {
    Outcome {
        at: now(),
        status: Some(200),
        code: None,
        usage: Some(UsageNote { input: 100, output: 50, ..UsageNote::default() }),
        settled_by: "reported",
        lost_tokens: 0,
        charged: 700,
        priced: true,
        to_first_byte: Some(Duration::from_micros(12_345)),
        total: Duration::from_millis(80),
        end: End::Complete,
    }
}

fn refused(decision: &str) -> Refused<'_> {
    Refused {
        decision,
        at: now(),
        app: "claims",
        team: "insurance",
        key: None,
        model: Some("chat-large"),
        api: Some("chat"),
        peer: None,
        trace: None,
        policy: "sha256:aa",
        pack: "2026-11-27 sha256:00",
        configuration: "sha256:bb",
        status: 403,
        code: "feature_denied",
        candidates: &[],
        basis: &[],
        features: &[FeatureNote { kind: "remote_url", path: "$.messages[0].content[1].image_url.url" }],
        data: None,
        findings: &[FindingNote { kind: "iban", count: 2, suppressed: false }],
    }
}

fn attempt() -> AttemptNote {
    AttemptNote {
        target: "gpu-01/llama".into(),
        endpoint: "gpu-01".into(),
        place: None,
        outcome: "status_503",
        status: Some(503),
        address: Some("192.168.40.2:8000".parse().unwrap()),
        evidence: Some("address"),
        verdict: None,
        path: None,
        took: Duration::from_micros(1_500),
        usage: None,
        may_have_executed: false,
        seen: SeenNote::default(),
    }
}

#[tokio::test]
async fn the_intent_is_in_the_file_before_the_call_returns() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());

    let record = log.intent(&intent("d-1")).await.unwrap();

    let lines = file_entries(&log);
    assert_eq!(kinds(&lines), ["open", "intent"]);
    assert_eq!(lines[1]["decision"], "d-1");
    assert_eq!(lines[1]["at"], "2026-11-23T22:17:04.123456Z");
    assert_eq!(lines[1]["candidates"][1]["why"], "unapproved");
    drop(record);
}

#[tokio::test]
async fn an_outcome_is_in_the_file_after_a_flush_with_its_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut record = log.intent(&intent("d-1")).await.unwrap();
    record.attempt(attempt());

    record.close(outcome());
    log.flush().unwrap();

    let lines = file_entries(&log);
    assert_eq!(kinds(&lines), ["open", "intent", "outcome"]);
    assert_eq!(lines[2]["decision"], "d-1");
    assert_eq!(lines[2]["outcome"]["end"], "complete");
    assert_eq!(lines[2]["outcome"]["ms_to_first_byte"], 12.345);
    assert_eq!(lines[2]["attempts"][0]["ms"], 1.5);
    assert_eq!(lines[2]["attempts"][0]["address"], "192.168.40.2:8000");
}

#[tokio::test]
async fn a_record_that_is_dropped_is_closed_as_abandoned_with_its_attempts() {
    let disk = Disk::default();
    let log = disk.log();
    let mut record = log.intent(&intent("d-1")).await.unwrap();
    record.attempt(attempt());

    drop(record);
    log.flush().unwrap();

    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["intent", "outcome"]);
    assert_eq!(lines[1]["outcome"]["end"], "abandoned");
    assert_eq!(lines[1]["outcome"]["settled_by"], "reservation");
    assert_eq!(lines[1]["outcome"]["charged_nano_usd"], intent("d-1").money, "it pays what it held, and never nothing");
    assert_eq!(lines[1]["outcome"]["price_unknown"], true);
    assert_eq!(lines[1]["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(log.status().open, 0);
}

#[tokio::test]
async fn outcomes_that_wait_go_out_in_the_same_write_as_the_next_intent() {
    let disk = Disk::default();
    let log = disk.log();
    log.intent(&intent("d-1")).await.unwrap().close(outcome());
    let before = disk.0.lock().writes;

    let record = log.intent(&intent("d-2")).await.unwrap();

    assert_eq!(disk.0.lock().writes, before + 1);
    assert_eq!(kinds(&disk.lines()), ["intent", "outcome", "intent"]);
    drop(record);
}

#[tokio::test]
async fn waiting_lines_are_written_at_once_when_they_are_many() {
    let disk = Disk::default();
    let log = disk.log();

    while log.status().waiting_bytes == 0 || disk.0.lock().writes == 0 {
        log.refused(&refused("d")).unwrap();
    }

    assert!(disk.0.lock().bytes.len() >= FLUSH_BYTES);
    assert!(log.status().waiting_bytes < 1024);
}

#[tokio::test]
async fn the_log_is_dropped_with_nothing_left_waiting() {
    let disk = Disk::default();
    let log = disk.log();
    log.intent(&intent("d-1")).await.unwrap().close(outcome());

    drop(log);

    assert_eq!(kinds(&disk.lines()), ["intent", "outcome"]);
}

#[tokio::test]
async fn the_seal_counts_every_line_and_what_is_still_open_and_nothing_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    log.intent(&intent("d-1")).await.unwrap().close(outcome());
    let late = log.intent(&intent("d-2")).await.unwrap();
    log.admin(&AdminEvent { at: now(), action: "drain", actor: "signal", done: true, configuration: None, detail: "" })
        .await
        .unwrap();

    log.seal("sigterm", now()).await.unwrap();
    log.seal("sigterm", now()).await.unwrap();
    late.close(outcome());
    log.flush().unwrap();

    let lines = file_entries(&log);
    assert_eq!(kinds(&lines), ["open", "intent", "outcome", "intent", "admin", "seal"]);
    assert_eq!(lines[5]["count"], 6);
    assert_eq!(lines[5]["open"], 1);
    assert!(matches!(log.intent(&intent("d-3")).await, Err(AuditError::Sealed)));
}

#[tokio::test]
async fn a_full_disk_refuses_the_request_at_every_byte_and_recovers_without_a_restart() {
    let length = {
        let disk = Disk::default();
        let log = disk.log();
        drop(log.intent(&intent("d-2")).await.unwrap());
        disk.0.lock().bytes.len()
    };

    for room in 0..length {
        let disk = Disk::default();
        let log = disk.log();
        let first = log.intent(&intent("d-1")).await.unwrap();
        disk.room(room);

        let error = log.intent(&intent("d-2")).await.unwrap_err();
        assert!(matches!(error, AuditError::Write { .. }), "room for {room}");
        assert_eq!(kinds(&disk.lines()), ["intent"], "half a line was left with room for {room}");
        assert!(log.status().failing);

        disk.room(usize::MAX);
        drop(log.intent(&intent("d-3")).await.unwrap());
        first.close(outcome());
        log.flush().unwrap();

        let lines = disk.lines();
        let decisions: Vec<_> = lines.iter().map(|line| line["decision"].as_str().unwrap()).collect();
        assert_eq!(decisions, ["d-1", "d-3", "d-3", "d-1"], "room for {room}");
        let status = log.status();
        assert_eq!((status.entries, status.open, status.failing), (4, 0, false));
    }
}

#[tokio::test]
async fn a_full_disk_is_called_well_again_by_what_it_takes_and_not_because_nothing_waits() {
    let disk = Disk::default();
    let log = disk.log();
    disk.room(0);

    log.intent(&intent("refused")).await.unwrap_err();
    log.flush().unwrap();
    let nothing_waits = log.status();
    disk.room(usize::MAX);
    drop(log.intent(&intent("taken")).await.unwrap());

    assert_eq!((nothing_waits.failing, nothing_waits.waiting_bytes), (true, 0));
    assert!(!log.status().failing);
}

#[tokio::test]
async fn outcomes_outlive_a_full_disk() {
    let disk = Disk::default();
    let log = disk.log();
    let mut records = Vec::new();
    for decision in ["d-1", "d-2", "d-3"] {
        records.push(log.intent(&intent(decision)).await.unwrap());
    }
    disk.room(0);
    assert!(log.intent(&intent("d-4")).await.is_err());

    for record in records {
        record.close(outcome());
    }
    assert!(log.flush().is_err());
    // Room for one and a half outcomes: one goes out whole, half a line is cut off again.
    disk.room(500);
    assert!(log.flush().is_err());
    disk.room(usize::MAX);
    log.flush().unwrap();

    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["intent", "intent", "intent", "outcome", "outcome", "outcome"]);
    assert_eq!(lines[5]["decision"], "d-3");
}

#[tokio::test]
async fn half_a_line_that_could_not_be_cut_off_is_cut_off_before_the_next_write() {
    let disk = Disk::default();
    let log = disk.log();
    disk.room(40);
    disk.0.lock().cut_fails = true;
    assert!(log.intent(&intent("d-1")).await.is_err());
    disk.room(usize::MAX);

    assert!(log.intent(&intent("d-2")).await.is_err(), "nothing may be written behind half a line");
    disk.0.lock().cut_fails = false;
    drop(log.intent(&intent("d-3")).await.unwrap());
    log.flush().unwrap();

    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["intent", "outcome"]);
    assert_eq!(lines[0]["decision"], "d-3");
}

#[tokio::test]
async fn half_a_line_is_cut_off_by_a_flush_even_when_nothing_waits() {
    let disk = Disk::default();
    let log = disk.log();
    disk.room(1);
    disk.0.lock().cut_fails = true;
    assert!(log.intent(&intent("d-1")).await.is_err());

    disk.0.lock().cut_fails = false;
    log.flush().unwrap();

    assert!(disk.0.lock().bytes.is_empty());
}

#[tokio::test]
async fn a_write_that_takes_a_piece_or_is_interrupted_is_continued() {
    let disk = Disk::default();
    disk.0.lock().piece = 7;
    disk.0.lock().interrupted = true;
    let log = disk.log();

    let record = log.intent(&intent("d-1")).await.unwrap();

    assert_eq!(kinds(&disk.lines()), ["intent"]);
    drop(record);
}

#[tokio::test]
async fn an_outcome_past_the_bound_of_the_backlog_is_counted_and_the_count_is_written() {
    let disk = Disk::default();
    let log = disk.log_with_backlog(600);
    let mut records = Vec::new();
    for _ in 0..5 {
        records.push(log.intent(&intent("d")).await.unwrap());
    }
    disk.room(0);
    assert!(log.flush().is_ok(), "nothing waits yet");

    for record in records {
        record.close(outcome());
    }
    let status = log.status();
    assert!(status.waiting_bytes <= 600, "{status:?}");
    assert!(status.lost > 0, "{status:?}");
    disk.room(usize::MAX);
    log.flush().unwrap();

    let lines = disk.lines();
    let last = lines.last().unwrap();
    assert_eq!(last["kind"], "lost");
    assert_eq!(last["count"], status.lost);
    assert_eq!(lines.iter().filter(|line| line["kind"] == "outcome").count() as u64, 5 - status.lost);
    assert_eq!(log.status().entries, lines.len() as u64);
}

proptest! {
    #[test]
    fn any_text_in_any_field_stays_within_its_line(texts in proptest::collection::vec(any::<String>(), 6)) {
        let disk = Disk::default();
        let log = disk.log();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        runtime.block_on(async {
            let candidates = [CandidateNote { target: &texts[2], verdict: "out", why: &texts[3], ..CandidateNote::default() }];
            let plan = [texts[4].as_str()];
            let mut intent = intent(&texts[0]);
            intent.model = &texts[1];
            intent.candidates = &candidates;
            intent.plan = &plan;
            let mut record = log.intent(&intent).await.unwrap();
            record.attempt(AttemptNote { target: texts[5].as_str().into(), ..attempt() });
            record.close(Outcome { code: Some(&texts[1]), ..outcome() });
        });
        log.flush().unwrap();

        let lines = disk.lines();
        prop_assert_eq!(kinds(&lines), ["intent", "outcome"]);
        prop_assert_eq!(lines[0]["decision"].as_str(), Some(&*texts[0]));
        prop_assert_eq!(lines[0]["model"].as_str(), Some(&*texts[1]));
        prop_assert_eq!(lines[0]["candidates"][0]["target"].as_str(), Some(&*texts[2]));
        prop_assert_eq!(lines[0]["candidates"][0]["why"].as_str().unwrap_or(""), &*texts[3]);
        prop_assert_eq!(lines[0]["plan"][0].as_str(), Some(&*texts[4]));
        prop_assert_eq!(lines[1]["attempts"][0]["target"].as_str(), Some(&*texts[5]));
        prop_assert_eq!(lines[1]["outcome"]["code"].as_str(), Some(&*texts[1]));
    }

    #[test]
    fn whatever_the_disk_does_the_file_has_whole_lines_and_no_outcome_of_an_intent_is_missing(
        steps in proptest::collection::vec((0_usize..900, any::<bool>(), any::<bool>()), 1..40)
    ) {
        let disk = Disk::default();
        let log = disk.log();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut written = 0;

        for (room, cut_fails, flush) in steps {
            disk.room(room);
            disk.0.lock().cut_fails = cut_fails;
            if let Ok(record) = runtime.block_on(log.intent(&intent("d"))) {
                written += 1;
                record.close(outcome());
            }
            if flush {
                let _ = log.flush();
            }
        }
        disk.room(usize::MAX);
        disk.0.lock().cut_fails = false;
        log.flush().unwrap();

        let lines = disk.lines();
        let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
        prop_assert_eq!(count("intent"), written);
        prop_assert_eq!(count("outcome"), written);
        prop_assert_eq!(log.status().entries, lines.len() as u64);
    }
}
