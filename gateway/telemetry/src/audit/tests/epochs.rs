//! Epochs: how they begin, what they say of the one before, and who may read them.

use super::super::bundle::entries_path;
use super::super::epoch::{Tail, survey};
use super::*;

#[tokio::test]
async fn two_logs_at_once_get_different_epochs_and_each_names_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let second = open(folder.path());
    first.seal("upgrade", now()).await.unwrap();
    second.seal("sigterm", now()).await.unwrap();

    let third = open(folder.path());

    assert_eq!([first.epoch(), second.epoch(), third.epoch()], ["0000000001", "0000000002", "0000000003"]);
    assert_eq!(file_entries(&first)[0]["predecessor"], Value::Null);
    assert_eq!(file_entries(&second)[0]["predecessor"]["epoch"], "0000000001");
    assert_eq!(file_entries(&second)[0]["predecessor"]["end"], "open");
    assert_eq!(file_entries(&third)[0]["predecessor"]["end"], "sealed");
}

#[test]
fn sixteen_processes_that_start_together_get_sixteen_epochs() {
    let folder = tempfile::tempdir().unwrap();

    let mut epochs: Vec<String> = std::thread::scope(|scope| {
        let open = || open(folder.path()).epoch().to_owned();
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    epochs.sort();
    epochs.dedup();
    assert_eq!(epochs.len(), 16);
}

#[tokio::test]
async fn a_crash_at_any_byte_leaves_a_log_whose_torn_tail_the_next_opening_reports() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    log.intent(&intent("d-1")).await.unwrap().close(outcome());
    log.seal("sigterm", now()).await.unwrap();
    let bundle = entries_path(log.folder(), 0);
    let whole = read_bundle(log.folder(), 0).unwrap().unwrap();
    std::fs::remove_dir_all(log.folder().join("tile")).unwrap();
    std::fs::create_dir_all(bundle.parent().unwrap()).unwrap();
    let ends: Vec<usize> = {
        let mut entries = Entries::new(&whole);
        std::iter::from_fn(|| entries.next().map(|_| entries.at())).collect()
    };

    for length in 0..=whole.len() {
        std::fs::write(&bundle, &whole[..length]).unwrap();
        let found = survey(log.folder()).unwrap().predecessor("0000000001".to_owned());

        let good = ends.iter().rev().find(|end| **end <= length).copied().unwrap_or(0);
        assert_eq!(found.torn_bytes, (length - good) as u64, "cut at {length}");
        assert_eq!(found.size, ends.iter().filter(|end| **end <= length).count() as u64, "cut at {length}");
        let expected = match (length, length - good) {
            (0, _) => Tail::Empty,
            (_, 1..) => Tail::Torn,
            _ if length == whole.len() => Tail::Sealed,
            _ => Tail::Open,
        };
        assert_eq!(found.end, expected, "cut at {length}");
    }

    std::fs::write(&bundle, &whole[..whole.len() - 5]).unwrap();
    let next = open(folder.path());
    let opening = &file_entries(&next)[0];
    assert_eq!(opening["predecessor"]["end"], "torn");
    assert!(opening["predecessor"]["torn_bytes"].as_u64().unwrap() > 0);
    assert_eq!(std::fs::read(&bundle).unwrap().len(), whole.len() - 5, "the evidence of the crash is left as it is");
}

#[test]
fn an_epoch_without_a_file_is_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("audit/gw-1/0000000041")).unwrap();
    std::fs::create_dir_all(folder.path().join("audit/gw-1/lost+found")).unwrap();
    let log = open(folder.path());

    assert_eq!(log.epoch(), "0000000042");
    assert_eq!(file_entries(&log)[0]["predecessor"]["end"], "empty");
}

#[test]
fn an_origin_that_could_leave_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();

    for origin in ["", "..", ".hidden", "a/b", "Ä", "UPPER", &"a".repeat(65)] {
        let opened = AuditLog::open(settings(folder.path(), origin), now());
        assert!(matches!(opened, Err(AuditError::Origin(_))), "{origin}");
    }
    assert!(AuditLog::open(settings(folder.path(), &"a".repeat(64)), now()).is_ok());
}

#[test]
fn only_the_gateways_own_user_can_read_the_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();

    let log = open(folder.path());

    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let bundle = entries_path(log.folder(), 0);
    assert_eq!(mode(&bundle), 0o600);
    assert_eq!(mode(&log.folder().join("checkpoint")), 0o600);
    for folder in bundle.ancestors().skip(1).take(5) {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
}

#[test]
fn what_a_crash_left_where_files_are_made_is_removed_by_a_later_process_and_what_another_may_be_making_is_not() {
    let state = tempfile::tempdir().unwrap();
    let scratch = state.path().join("audit-scratch");
    std::fs::create_dir_all(scratch.join("gw-1-0000000041")).unwrap();
    let left = |name: &str, age: Duration| {
        let file = std::fs::File::create(scratch.join(name)).unwrap();
        file.set_modified(now() - age).unwrap();
    };
    let hour = Duration::from_secs(3600);
    left("gw-1-0000000007.63", hour + Duration::from_secs(1));
    left("gw-1-0000000008.0", hour);
    left("gw-2-0000000001", Duration::ZERO);

    let log = open(state.path());

    let mut found: Vec<_> = std::fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, ["gw-1-0000000008.0", "gw-1-0000000041", "gw-2-0000000001"]);
    drop(log);
}
