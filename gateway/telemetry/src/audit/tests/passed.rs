//! Requests that may be sent while the log takes no entries.

use super::*;

/// A log whose records of such requests may wait beside so many bytes.
fn log_with_late_bytes(disk: &Disk, late_bytes: usize) -> AuditLog {
    let mut log = disk.log();
    Arc::get_mut(&mut log.shared).expect("nobody else has it yet").late_bytes = late_bytes;
    log
}

fn at(seconds: u64, decision: &str) -> Intent<'_> {
    Intent { at: now() + Duration::from_secs(seconds), ..intent(decision) }
}

#[tokio::test]
async fn what_was_sent_while_the_disk_was_full_is_recorded_late_behind_an_entry_that_says_so() {
    let disk = Disk::default();
    let log = disk.log();
    disk.room(0);

    let refused = log.intent(&at(0, "refused")).await.unwrap_err();
    let first = log.intent_or_pass(&at(1, "first")).await.unwrap();
    let last = log.intent_or_pass(&at(2, "last")).await.unwrap();
    first.close(outcome());
    let full = log.status();
    disk.room(usize::MAX);
    log.flush().unwrap();
    last.close(outcome());
    log.intent(&at(3, "after")).await.unwrap().close(outcome());
    log.flush().unwrap();

    assert!(matches!(refused, AuditError::Write { .. }), "{refused}");
    assert_eq!((full.failing, full.passed, full.unrecorded), (true, 2, 0));
    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["passed", "intent", "intent", "outcome", "outcome", "intent", "outcome"]);
    let decisions: Vec<_> = lines.iter().filter_map(|line| line["decision"].as_str()).collect();
    assert_eq!(decisions, ["first", "last", "first", "last", "after", "after"]);
    let late: Vec<bool> = lines.iter().map(|line| line["late"] == true).collect();
    assert_eq!(late, [false, true, true, true, true, false, false], "intents and outcomes of what passed");
    assert_eq!((&lines[0]["requests"], &lines[0]["unrecorded"]), (&2.into(), &0.into()));
    assert_eq!((&lines[0]["from"], &lines[0]["until"]), (&lines[1]["at"], &lines[2]["at"]));
    assert_eq!((log.status().open, log.status().failing), (0, false));
}

#[tokio::test(start_paused = true)]
async fn what_was_let_through_while_its_intent_was_on_its_way_says_so_in_the_outcome_also_where_the_disk_failed_then() {
    for fails in [false, true] {
        let disk = Disk::default();
        let log = AuditLog::over(Box::new(disk.clone()), Durability::Disk, None, (Path::new("epoch"), "0000000001"));

        // Nobody writes yet, so it is let through at the end of its patience.
        let record = log.intent_or_pass(&intent("d-1")).await.unwrap();
        if fails {
            disk.room(0);
            log.flush().unwrap_err();
            disk.room(usize::MAX);
        }
        record.close(outcome());
        log.flush().unwrap();

        let lines = disk.lines();
        assert_eq!(kinds(&lines), ["passed", "intent", "outcome"], "{fails}");
        assert_eq!((&lines[1]["late"], &lines[2]["late"]), (&Value::Null, &true.into()), "{fails}");
        assert_eq!((log.status().open, log.status().passed, log.status().unrecorded), (0, 1, 0));
    }
}

#[tokio::test]
async fn what_finds_no_room_to_wait_is_counted_and_leaves_no_outcome() {
    let disk = Disk::default();
    let log = log_with_late_bytes(&disk, 1);
    disk.room(0);

    // The first finds less than a byte waiting, the others what it left.
    for (second, decision) in ["kept", "counted", "counted too"].into_iter().enumerate() {
        log.intent_or_pass(&at(second as u64, decision)).await.unwrap().close(outcome());
    }
    let full = log.status();
    disk.room(usize::MAX);
    log.flush().unwrap();

    assert_eq!((full.passed, full.unrecorded), (3, 2));
    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["passed", "intent", "outcome"]);
    assert_eq!((&lines[0]["requests"], &lines[0]["unrecorded"]), (&3.into(), &2.into()));
    assert_eq!(lines[1]["decision"], "kept");
    assert_eq!((log.status().open, log.status().lost), (0, 0));
}

#[tokio::test]
async fn each_stretch_is_told_once_and_one_that_could_not_be_told_is_told_with_the_next() {
    let disk = Disk::default();
    let log = log_with_late_bytes(&disk, 0);
    let requests = async |count: usize| {
        for _ in 0..count {
            log.intent_or_pass(&intent("d")).await.unwrap().close(outcome());
        }
    };

    disk.room(0);
    requests(2).await;
    log.flush().unwrap_err();
    requests(3).await;
    disk.room(usize::MAX);
    log.flush().unwrap();
    log.flush().unwrap();
    disk.room(0);
    log.intent(&intent("refused")).await.unwrap_err();
    requests(1).await;
    disk.room(usize::MAX);
    log.seal("drained", now()).await.unwrap();

    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["passed", "passed", "seal"]);
    assert_eq!((&lines[0]["requests"], &lines[1]["requests"]), (&5.into(), &1.into()));
}

#[tokio::test]
async fn a_reload_meanwhile_is_recorded_late_between_the_requests_that_came_before_and_after_it() {
    let disk = Disk::default();
    let log = disk.log();
    let reload = |configuration: &'static str| AdminEvent {
        at: now(),
        action: "reload",
        actor: "file",
        done: true,
        configuration: Some(configuration),
        detail: "",
    };

    let at_once = log.admin_or_late(&reload("sha256:00")).await.unwrap();
    disk.room(0);
    let waits = log.admin_or_late(&reload("sha256:aa")).await.unwrap();
    let before = log.intent_or_pass(&at(1, "before")).await.unwrap();
    let waits_too = log.admin_or_late(&reload("sha256:bb")).await.unwrap();
    let after = log.intent_or_pass(&at(2, "after")).await.unwrap();
    disk.room(usize::MAX);
    log.flush().unwrap();
    drop((before, after));

    assert_eq!([at_once, waits, waits_too], [true, false, false]);
    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["admin", "passed", "admin", "intent", "admin", "intent"]);
    let reloads: Vec<_> = lines.iter().filter(|line| line["kind"] == "admin").collect();
    let said: Vec<_> = reloads.iter().map(|line| (line["configuration"].as_str().unwrap(), &line["late"])).collect();
    assert_eq!(said, [("sha256:00", &Value::Null), ("sha256:aa", &true.into()), ("sha256:bb", &true.into())]);
}

#[tokio::test]
async fn a_reload_that_finds_no_room_to_wait_is_an_error() {
    let disk = Disk::default();
    let log = disk.log_with_backlog(1);
    let reload = AdminEvent { at: now(), action: "reload", actor: "file", done: true, configuration: None, detail: "" };
    disk.room(0);

    // The first finds less than a byte waiting.
    assert!(!log.admin_or_late(&reload).await.unwrap());
    assert!(matches!(log.admin_or_late(&reload).await, Err(AuditError::Write { .. })));
    disk.room(usize::MAX);
    log.flush().unwrap();
    log.seal("drained", now()).await.unwrap();

    assert!(matches!(log.admin_or_late(&reload).await, Err(AuditError::Sealed)));
    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["admin", "lost", "seal"]);
    assert_eq!((&lines[1]["count"], &lines[1]["actions"], &lines[1]["refusals"]), (&0.into(), &1.into(), &Value::Null));
    let sums = ["lost", "lost_actions", "lost_refusals"].map(|name| lines[2][name].as_u64());
    assert_eq!(sums, [Some(0), Some(1), Some(0)]);
    assert_eq!((log.status().lost, log.status().actions_lost), (0, 1));
}

#[tokio::test]
async fn actions_wait_beside_requests_up_to_a_bound_of_their_own() {
    let disk = Disk::default();
    let mut log = disk.log();
    let action = AdminEvent { at: now(), action: "revoke", actor: "ops", done: true, configuration: None, detail: "" };
    drop(log.intent(&intent("d-1")).await.unwrap());
    disk.room(0);
    log.intent(&intent("d-2")).await.unwrap_err();
    let of_requests = log.status().waiting_bytes;
    assert!(!log.admin_or_late(&action).await.unwrap());
    let one = log.status().waiting_bytes - of_requests;

    // The second finds a byte less than the bound of actions waiting, however much of requests; the third more.
    Arc::get_mut(&mut log.shared).expect("nobody else has it yet").actions_bytes = one + 1;
    assert!(of_requests > 1 && !log.admin_or_late(&action).await.unwrap());
    assert!(matches!(log.admin_or_late(&action).await, Err(AuditError::Write { .. })));
    disk.room(usize::MAX);
    log.flush().unwrap();

    assert_eq!(kinds(&disk.lines()), ["intent", "outcome", "admin", "admin", "lost"]);
    assert_eq!((log.status().lost, log.status().actions_lost), (0, 1));
}

#[tokio::test]
async fn a_refusal_meanwhile_is_recorded_late_up_to_its_bound_and_counted_beyond_it() {
    let disk = Disk::default();
    let mut log = disk.log();
    let record = log.intent(&intent("d-1")).await.unwrap();
    drop(record);
    log.flush().unwrap();
    disk.room(0);
    log.intent(&intent("d-2")).await.unwrap_err();
    log.refused(&refused("first")).unwrap();
    let one = log.status().waiting_bytes;
    // The second finds a byte less than the bound waiting, the third more.
    Arc::get_mut(&mut log.shared).expect("nobody else has it yet").refused_bytes = one + 1;

    log.refused(&refused("second")).unwrap();
    let third = log.refused(&refused("third"));
    let fourth = log.refused(&refused("fourth"));
    disk.room(usize::MAX);
    log.flush().unwrap();
    log.refused(&refused("after")).unwrap();
    log.flush().unwrap();

    assert!(matches!((third, fourth), (Err(AuditError::Write { .. }), Err(AuditError::Write { .. }))));
    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["intent", "outcome", "refused", "refused", "lost", "refused"]);
    let said: Vec<_> = lines.iter().map(|line| (line["decision"].as_str(), line["late"] == true)).skip(2).collect();
    assert_eq!(said, [(Some("first"), true), (Some("second"), true), (None, false), (Some("after"), false)]);
    assert_eq!((&lines[4]["count"], &lines[4]["refusals"]), (&0.into(), &2.into()));
    assert_eq!((log.status().lost, log.status().refusals_lost), (0, 2));
}

#[tokio::test]
async fn at_the_bound_itself_a_refusal_is_counted() {
    let disk = Disk::default();
    let mut log = disk.log();
    disk.room(0);
    log.intent(&intent("d-1")).await.unwrap_err();
    log.refused(&refused("first")).unwrap();
    let one = log.status().waiting_bytes;
    Arc::get_mut(&mut log.shared).expect("nobody else has it yet").refused_bytes = one;

    let second = log.refused(&refused("second"));

    assert!(matches!(second, Err(AuditError::Write { .. })));
    assert_eq!((log.status().waiting_bytes, log.status().refusals_lost), (one, 1));
}

#[tokio::test]
async fn what_tells_of_refusals_waits_like_one_and_where_it_finds_no_room_all_of_them_are_counted() {
    let disk = Disk::default();
    let mut log = disk.log();
    let tells = |detail: &'static str| AdminEvent {
        at: now(),
        action: "refusals_not_written",
        actor: "process",
        done: true,
        configuration: None,
        detail,
    };
    log.admin_refused(&tells("before"), 7).unwrap();
    let written = kinds(&disk.lines()).len();
    disk.room(0);
    log.intent(&intent("d-1")).await.unwrap_err();
    log.admin_refused(&tells("waits"), 8).unwrap();
    let waits = log.status().waiting_bytes;
    Arc::get_mut(&mut log.shared).expect("nobody else has it yet").refused_bytes = waits;

    let counted = log.admin_refused(&tells("counted"), 9);
    log.refused(&refused("d-2")).unwrap_err();
    disk.room(usize::MAX);
    log.flush().unwrap();

    assert_eq!(written, 1, "at once on a disk that is free");
    assert!(matches!(counted, Err(AuditError::Write { .. })));
    let lines = disk.lines();
    let said: Vec<_> = lines.iter().map(|line| (line["detail"].as_str(), line["late"] == true)).collect();
    assert_eq!(said, [(Some("before"), false), (Some("waits"), true), (None, false)]);
    assert_eq!((&lines[2]["kind"], &lines[2]["refusals"]), (&"lost".into(), &10.into()));
    assert_eq!((log.status().refusals_lost, log.status().actions_lost), (10, 0));
}

#[tokio::test]
async fn on_a_disk_that_works_a_refusal_keeps_to_the_same_bound() {
    for (beyond, expected) in [(1, [1, 0]), (0, [0, 1])] {
        let disk = Disk::default();
        let mut log = disk.log();
        drop(log.intent(&intent("d-1")).await.unwrap());
        let waits = log.status().waiting_bytes;
        Arc::get_mut(&mut log.shared).expect("nobody else has it yet").refused_bytes = waits + beyond;

        let is_kept = log.refused(&refused("d-2")).is_ok();
        log.flush().unwrap();

        let lines = disk.lines();
        let of = |kind: &str| kinds(&lines).into_iter().filter(|one| *one == kind).count();
        assert_eq!((is_kept, [of("refused"), of("lost")]), (beyond == 1, expected));
        assert!(lines.iter().all(|line| line["late"] != true), "{lines:?}");
    }
}

#[tokio::test]
async fn a_log_that_takes_entries_records_such_a_request_like_any_other() {
    let disk = Disk::default();
    let log = disk.log();

    log.intent_or_pass(&intent("d-1")).await.unwrap().close(outcome());
    log.flush().unwrap();

    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["intent", "outcome"]);
    assert_eq!((&lines[0]["late"], log.status().passed), (&Value::Null, 0));
}

#[tokio::test]
async fn neither_a_record_that_is_too_long_nor_a_log_that_is_sealed_lets_anything_through() {
    let disk = Disk::default();
    let log = disk.log();
    let long = "x".repeat(MAX_ENTRY);

    let whole = log.intent_or_pass(&Intent { reason: &long, ..intent("d-1") }).await.unwrap_err();
    disk.room(0);
    log.intent(&intent("d-2")).await.unwrap_err();
    let full = log.intent_or_pass(&Intent { reason: &long, ..intent("d-3") }).await.unwrap_err();
    disk.room(usize::MAX);
    log.seal("drained", now()).await.unwrap();
    let sealed = log.intent_or_pass(&intent("d-4")).await.unwrap_err();

    assert!(matches!((whole, full), (AuditError::TooLong, AuditError::TooLong)));
    assert!(matches!(sealed, AuditError::Sealed));
    assert_eq!(log.status().passed, 0);
}
