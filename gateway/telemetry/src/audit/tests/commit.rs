//! Who writes for whom, what counts as written, and what happens when the disk is slow.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;

use super::super::entry::Seldom;
use super::super::pen::Pen;
use super::super::queue::{Batch, Wait};
use super::*;

/// A disk whose next write waits until it is told to go on.
struct Hanging {
    disk: Disk,
    begun: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Sink for Hanging {
    fn begin(&mut self, bundle: u64) -> io::Result<()> {
        self.disk.begin(bundle)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(());
        let _ = self.go_on.recv();
        self.disk.write(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.disk.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync()
    }
}

/// A log over a disk that hangs, what says that a write has begun, and what lets all of them go on when it is dropped.
fn over_a_hanging(disk: &Disk) -> (AuditLog, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begun, has_begun) = mpsc::channel();
    let (tell, go_on) = mpsc::channel();
    let sink = Box::new(Hanging { disk: disk.clone(), begun, go_on });
    (AuditLog::over(sink, Durability::Os, None, (Path::new("epoch"), "0000000001")), has_begun, tell)
}

fn ask(log: &AuditLog, decision: &str) -> Result<OpenRecord, AuditError> {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(log.intent(&intent(decision)))
}

#[test]
fn a_disk_that_hangs_holds_up_one_thread_and_everybody_else_is_refused() {
    let disk = Disk::default();
    let (log, has_begun, tell) = over_a_hanging(&disk);

    thread::scope(|scope| {
        let first = scope.spawn(|| ask(&log, "d-1").map(|record| record.close(outcome())));
        has_begun.recv().unwrap();
        let waited = ask(&log, "d-2").unwrap_err();
        let status = log.status();
        let at_once = ask(&log, "d-3").unwrap_err();
        log.flush().unwrap();
        drop(tell);
        first.join().unwrap().unwrap();

        assert!(matches!(waited, AuditError::Slow { .. }), "{waited}");
        assert!(matches!(at_once, AuditError::Slow { .. }), "{at_once}");
        assert!(status.failing);
    });
    drop(ask(&log, "d-4").unwrap());
    log.flush().unwrap();

    let lines = disk.lines();
    let decisions: Vec<&str> = lines.iter().map(|line| line["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["d-1", "d-1", "d-4", "d-4"], "what was refused is not in the file");
    assert!(!log.status().failing);
}

#[test]
fn refusals_are_counted_beyond_their_bound_also_before_anybody_knows_that_the_disk_hangs() {
    let disk = Disk::default();
    let (mut log, has_begun, tell) = over_a_hanging(&disk);
    // What is being written has all of the room.
    Arc::get_mut(&mut log.shared).expect("nobody else has it yet").refused_bytes = 1;

    thread::scope(|scope| {
        let first = scope.spawn(|| ask(&log, "d-1").map(|record| record.close(outcome())));
        has_begun.recv().unwrap();
        let refused = log.refused(&refused("d-2"));
        drop(tell);
        first.join().unwrap().unwrap();

        assert!(matches!(refused, Err(AuditError::Write { .. })));
        assert_eq!(log.status().refusals_lost, 1);
    });
    log.flush().unwrap();

    let lines = disk.lines();
    assert_eq!(kinds(&lines).into_iter().filter(|kind| *kind == "refused").count(), 0);
    assert_eq!(lines.iter().find(|line| line["kind"] == "lost").unwrap()["refusals"], 1);
}

#[test]
fn a_request_that_may_pass_is_sent_while_the_disk_hangs_and_recorded_once_it_goes_on() {
    let disk = Disk::default();
    let (log, has_begun, tell) = over_a_hanging(&disk);
    let pass = |decision: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(log.intent_or_pass(&intent(decision))).map(|record| record.close(outcome()))
    };

    thread::scope(|scope| {
        let first = scope.spawn(|| ask(&log, "d-1").map(|record| record.close(outcome())));
        has_begun.recv().unwrap();
        pass("waits first").unwrap();
        pass("at once").unwrap();
        drop(tell);
        first.join().unwrap().unwrap();
    });
    log.flush().unwrap();

    let lines = disk.lines();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of("passed").iter().map(|line| line["requests"].as_u64().unwrap()).sum::<u64>(), 2);
    // The first is closed once the disk goes on, behind those that did not wait for it.
    for (kind, expected) in
        [("intent", ["d-1", "waits first", "at once"]), ("outcome", ["waits first", "at once", "d-1"])]
    {
        let decisions: Vec<&str> = of(kind).iter().map(|line| line["decision"].as_str().unwrap()).collect();
        assert_eq!(decisions, expected, "{kind}");
    }
    assert_eq!((log.status().open, log.status().passed, log.status().unrecorded), (0, 2, 0));
}

#[test]
fn a_request_that_is_let_through_while_its_intent_is_being_written_says_so_in_its_outcome() {
    for fails in [false, true] {
        let disk = Disk::default();
        let (log, has_begun, tell) = over_a_hanging(&disk);
        log.shared.start_threads().unwrap();

        thread::scope(|scope| {
            let first = scope.spawn(|| ask(&log, "d-1").map(|record| record.close(outcome())));
            has_begun.recv().unwrap();
            // The clock stands still until nothing is left to be done, which is once the second is being written.
            let paused =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let asked_for = intent("d-2");
            let passed = paused.block_on(async {
                let until_it_is_written = async {
                    tell.send(()).unwrap();
                    has_begun.recv().unwrap();
                };
                tokio::join!(biased; log.intent_or_pass(&asked_for), until_it_is_written).0
            });
            first.join().unwrap().unwrap();
            if fails {
                disk.room(0);
            }
            drop(tell);
            passed.unwrap().close(outcome());
        });
        while fails && !log.status().failing {
            thread::yield_now();
        }
        disk.room(usize::MAX);
        // Waits for whoever writes, and writes what that left.
        log.shared.append_here("last", &Seldom(&serde_json::json!({"at": 1}))).unwrap();

        let lines = disk.lines();
        let late: Vec<_> = lines
            .iter()
            .filter(|line| line["decision"] == "d-2")
            .map(|line| (line["kind"].as_str(), line["late"] == true))
            .collect();
        assert_eq!(late, [(Some("intent"), false), (Some("outcome"), true)], "{fails}");
        assert_eq!((log.status().passed, log.status().unrecorded), (1, 0));
    }
}

#[test]
fn a_disk_that_hesitates_delays_requests_and_no_other_work_of_their_thread() {
    let disk = Disk::default();
    let (log, has_begun, tell) = over_a_hanging(&disk);
    log.shared.start_threads().unwrap();

    thread::scope(|scope| {
        let first = scope.spawn(|| ask(&log, "d-1").map(|record| record.close(outcome())));
        has_begun.recv().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asked_for = intent("d-2");
        let second = runtime.block_on(async {
            // Asked for first; the disk goes on by what runs on the same thread after it.
            let (asked, ()) = tokio::join!(biased; log.intent(&asked_for), async { drop(tell) });
            asked.map(|record| record.close(outcome()))
        });

        first.join().unwrap().unwrap();
        second.unwrap();
    });
    log.flush().unwrap();

    let intents: Vec<Value> = disk.lines().into_iter().filter(|line| line["kind"] == "intent").collect();
    assert_eq!(intents.iter().map(|line| &line["decision"]).collect::<Vec<_>>(), ["d-1", "d-2"]);
    assert_eq!(log.status().open, 0);
}

#[test]
fn a_caller_that_leaves_while_a_disk_hesitates_has_its_record_closed() {
    let disk = Disk::default();
    let (log, has_begun, tell) = over_a_hanging(&disk);

    thread::scope(|scope| {
        let first = scope.spawn(|| ask(&log, "d-1").map(|record| record.close(outcome())));
        has_begun.recv().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asked_for = intent("d-2");
        runtime.block_on(async {
            tokio::select! { biased;
                _ = log.intent(&asked_for) => panic!("the disk cannot have taken it"),
                () = std::future::ready(()) => {}
            }
        });
        drop(tell);
        first.join().unwrap().unwrap();
    });
    log.flush().unwrap();

    let of_the_second: Vec<Value> = disk.lines().into_iter().filter(|line| line["decision"] == "d-2").collect();
    assert_eq!(of_the_second.iter().map(|line| &line["kind"]).collect::<Vec<_>>(), ["intent", "outcome"]);
    assert_eq!(of_the_second[1]["outcome"]["end"], "disconnected");
    assert_eq!(log.status().open, 0);
}

#[test]
fn every_intent_of_many_threads_is_written_once_whoever_writes_it() {
    let disk = Disk::default();
    let log = disk.log();

    thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                (0..100).for_each(|number| ask(log, &format!("d-{thread}-{number}")).unwrap().close(outcome()));
            });
        }
    });
    log.flush().unwrap();

    let lines = disk.lines();
    let intents: BTreeSet<&str> =
        lines.iter().filter(|line| line["kind"] == "intent").map(|line| line["decision"].as_str().unwrap()).collect();
    assert_eq!((intents.len(), lines.len()), (800, 1600));
    assert_eq!(log.status().open, 0);
}

#[tokio::test]
async fn a_bundle_that_cannot_be_begun_refuses_the_request_and_is_begun_by_the_next() {
    let disk = Disk::default();
    let log = disk.log();
    for number in 0..128 {
        log.intent(&intent(&format!("d-{number}"))).await.unwrap().close(outcome());
    }
    log.flush().unwrap();
    disk.0.lock().begin_fails = true;

    assert!(matches!(log.intent(&intent("refused")).await, Err(AuditError::Write { .. })));
    assert!(log.status().failing);
    disk.0.lock().begin_fails = false;
    drop(log.intent(&intent("taken")).await.unwrap());
    log.flush().unwrap();

    let lines = disk.lines();
    assert_eq!(lines.len(), 258);
    assert_eq!(entries(&disk.0.lock().bytes).len(), 2, "256 entries fill a bundle");
    assert_eq!(lines[256]["decision"], "taken");
}

#[test]
fn what_the_disk_did_not_keep_does_not_count_and_the_bundle_ends_where_it_did_before() {
    let disk = Disk::default();
    let mut pen = Pen::new(Box::new(disk.clone()), true);
    let batch = |decision: &'static str| {
        let mut batch = Batch::default();
        batch.push("refused", &refused(decision), Wait::Nobody).unwrap();
        batch
    };
    pen.write(&mut batch("d-1")).unwrap();
    disk.0.lock().sync_fails = true;

    let mut lost = batch("d-2");
    assert!(pen.write(&mut lost).is_err());
    assert!(!lost.is_empty(), "it is still to be written");
    assert_eq!((pen.growth.size(), disk.lines().len()), (1, 1));
    disk.0.lock().sync_fails = false;
    pen.write(&mut lost).unwrap();

    assert_eq!((pen.growth.size(), disk.lines().len()), (2, 2));
    assert_eq!(disk.lines()[1]["decision"], "d-2");
    assert_eq!(disk.0.lock().syncs, 3, "each write waited for the disk");
}

#[tokio::test]
async fn with_disk_durability_many_requests_share_a_wait_and_all_are_on_the_disk() {
    let state = tempfile::tempdir().unwrap();
    let log =
        AuditLog::open(Settings { durability: Durability::Disk, ..settings(state.path(), "gw-1") }, now()).unwrap();

    let asking: Vec<_> = (0..300)
        .map(|number| {
            let log = log.clone();
            tokio::spawn(async move {
                log.intent(&intent(&format!("d-{number}"))).await.map(|record| record.close(outcome()))
            })
        })
        .collect();
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
    log.seal("drained", now()).await.unwrap();

    let lines = file_entries(&log);
    assert_eq!(lines.iter().filter(|line| line["kind"] == "intent").count(), 300);
    assert_eq!(lines.last().unwrap()["kind"], "seal");
}

#[test]
fn an_entry_that_no_bundle_can_hold_is_refused_whole() {
    let mut batch = Batch::default();
    let long = "x".repeat(MAX_ENTRY);
    let event = AdminEvent { at: now(), action: &long, actor: "", done: true, configuration: None, detail: "" };

    assert!(batch.push("admin", &Seldom(&event), Wait::Nobody).is_err());
    assert!(batch.is_empty());

    let event = AdminEvent { action: "reload_refused", detail: &long, ..event };
    batch.push("admin", &Seldom(&event), Wait::Nobody).unwrap();
    assert!(batch.first().unwrap().0.len() < 10_000, "a long detail is cut");
}
