//! What stands in the log of callers that leave before it is written.

use super::*;

#[tokio::test]
async fn a_caller_that_leaves_before_the_disk_has_its_intent_leaves_a_whole_record_that_costs_nothing() {
    let disk = Disk::default();
    let log = AuditLog::over(Box::new(disk.clone()), Durability::Disk, None, (Path::new("epoch"), "0000000001"));

    // Nobody writes yet, so the intent waits, and its caller does not.
    let decided = intent("d-1");
    assert!(tokio::time::timeout(Duration::ZERO, log.intent(&decided)).await.is_err());
    log.flush().unwrap();

    let lines = disk.lines();
    assert_eq!(kinds(&lines), ["intent", "outcome"]);
    assert_eq!(
        (&lines[1]["outcome"]["settled_by"], &lines[1]["outcome"]["end"]),
        (&"not_sent".into(), &"disconnected".into())
    );
    assert_eq!(log.status().open, 0);
}

#[tokio::test]
async fn a_record_of_a_caller_that_left_stays_whole_while_the_disk_takes_nothing() {
    let disk = Disk::default();
    let log = AuditLog::over(Box::new(disk.clone()), Durability::Disk, None, (Path::new("epoch"), "0000000001"));
    let decided = intent("d-1");
    assert!(tokio::time::timeout(Duration::ZERO, log.intent(&decided)).await.is_err());

    disk.room(0);
    log.flush().unwrap_err();
    disk.room(usize::MAX);
    log.flush().unwrap();

    assert_eq!(kinds(&disk.lines()), ["intent", "outcome"]);
}

#[tokio::test]
async fn an_action_whose_administrator_left_before_it_was_recorded_is_not_recorded() {
    let disk = Disk::default();
    let log = AuditLog::over(Box::new(disk.clone()), Durability::Disk, None, (Path::new("epoch"), "0000000001"));
    let event =
        AdminEvent { at: now(), action: "release", actor: "sam", done: true, configuration: None, detail: "endpoint" };

    // It was not done: whoever does it waits for the record first.
    assert!(tokio::time::timeout(Duration::ZERO, log.admin(&event)).await.is_err());
    log.flush().unwrap();

    assert!(disk.lines().is_empty());
}
