use std::sync::Arc;
use std::time::Duration;

use policy::{Candidate, TargetId};

use super::{Changed, Held, Holding, MOST_RESTRICTIONS, PATIENCE, Restraint, Restrictions, RestrictionsError};
use crate::kept::{FORMAT_VERSION, KeptError};

fn held(because: &str) -> Held {
    Held { at: 1_795_680_000, by: "alice".to_owned(), because: because.to_owned(), named: None }
}

fn everything() -> Vec<Restraint> {
    let name = || "one".to_owned();
    vec![
        Restraint::Key(name()),
        Restraint::App(name()),
        Restraint::Endpoint(name()),
        Restraint::Model(name()),
        Restraint::LocalOnly,
    ]
}

/// Holds back as many apps as that at once.
fn fill(holding: &Holding, count: usize) {
    let many: Vec<_> = (0..count).map(|number| (Restraint::App(number.to_string()), held("many"))).collect();
    assert_eq!(holding.hold_all_at_once(&many).len(), count);
}

fn opened(folder: &std::path::Path) -> Holding {
    let holding = Holding::default();
    holding.open(folder).unwrap();
    holding
}

#[test]
fn what_is_held_back_outlives_the_process_and_what_is_lifted_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path());
    for what in everything() {
        assert!(matches!(first.tighten(&what, &held("a leak")), Ok(Changed::Kept)));
    }
    assert!(matches!(first.lift(&Restraint::LocalOnly), Ok(Changed::Kept)));

    let second = opened(folder.path());

    assert_eq!(second.current(), first.current());
    assert_eq!(second.current().len(), 4);
    assert_eq!(second.current().held(&Restraint::LocalOnly), None);
    assert_eq!(second.current().held(&Restraint::App("one".to_owned())), Some(&held("a leak")));
}

#[test]
fn the_first_reason_stays_and_what_stands_already_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let holding = opened(folder.path());
    holding.tighten(&Restraint::LocalOnly, &held("first")).unwrap();

    let again = holding.tighten(&Restraint::LocalOnly, &held("second")).unwrap();
    let absent = holding.lift(&Restraint::App("nobody".to_owned())).unwrap();

    assert!(matches!((again, absent), (Changed::Already, Changed::Already)));
    assert_eq!(holding.current().local_only.as_ref().unwrap().because, "first");
}

#[test]
fn another_process_of_the_same_folder_sees_the_change_and_loses_none_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (opened(folder.path()), opened(folder.path()));
    old.tighten(&Restraint::Endpoint("one".to_owned()), &held("by the old")).unwrap();

    // The new process changes something else before it has looked.
    new.tighten(&Restraint::Model("two".to_owned()), &held("by the new")).unwrap();

    assert!(old.look().unwrap());
    assert!(!old.look().unwrap(), "nothing has changed since");
    assert_eq!((old.current().len(), new.current()), (2, old.current()));
}

#[test]
fn a_file_that_is_damaged_or_newer_is_an_error_and_not_an_empty_list() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path()).tighten(&Restraint::LocalOnly, &held("a leak")).unwrap();
    let path = folder.path().join("restrictions/restrictions.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    for length in 0..whole.trim_end().len() {
        std::fs::write(&path, whole.get(..length).unwrap_or_default()).unwrap();

        let error = Holding::default().open(folder.path()).unwrap_err();

        assert!(matches!(error, RestrictionsError::Kept(KeptError::Damaged { .. })), "cut at {length}: {error}");
    }

    std::fs::write(&path, whole.replace("\"format_version\": 1", "\"format_version\": 2")).unwrap();
    let error = Holding::default().open(folder.path()).unwrap_err();

    assert!(matches!(error, RestrictionsError::Kept(KeptError::Newer { version: 2, .. })), "{error}");
    assert_eq!(FORMAT_VERSION, 1);
}

#[test]
fn a_file_that_is_damaged_while_the_process_runs_leaves_in_force_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let holding = opened(folder.path());
    holding.tighten(&Restraint::LocalOnly, &held("a leak")).unwrap();
    std::fs::write(folder.path().join("restrictions/restrictions.json"), "{").unwrap();

    let looked = holding.look();

    assert!(matches!(looked, Err(RestrictionsError::Kept(KeptError::Damaged { .. }))));
    assert!(holding.current().local_only.is_some());
}

#[test]
fn a_disk_that_takes_nothing_delays_no_restriction_and_lifts_none() {
    let folder = tempfile::tempdir().unwrap();
    let holding = opened(folder.path());
    holding.tighten(&Restraint::LocalOnly, &held("a leak")).unwrap();
    // A file where the folder should be takes no file, whoever asks.
    std::fs::remove_dir_all(folder.path().join("restrictions")).unwrap();
    std::fs::write(folder.path().join("restrictions"), "").unwrap();

    let tightened = holding.tighten(&Restraint::App("one".to_owned()), &held("another")).unwrap();
    let lifted = holding.lift(&Restraint::LocalOnly);

    assert!(matches!(tightened, Changed::NotKept(_)));
    assert!(lifted.is_err());
    assert_eq!(holding.current().len(), 2);

    std::fs::remove_file(folder.path().join("restrictions")).unwrap();
    holding.tighten(&Restraint::App("two".to_owned()), &held("later")).unwrap();
    assert_eq!(opened(folder.path()).current().len(), 3, "what was not written before is written with the next");
}

/// The writer stands still at a pipe in place of its file, into which no more than 64 KiB go unread and which cannot be synced.
#[test]
fn nothing_is_in_force_that_a_kill_would_undo_until_the_disk_has_refused_it() {
    let folder = tempfile::tempdir().unwrap();
    let holding = Arc::new(opened(folder.path()));
    holding.tighten(&Restraint::LocalOnly, &held("an attack")).unwrap();
    let pipe = folder.path().join("restrictions").join(format!(".restrictions.{}.tmp", std::process::id()));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (what, why) = (Restraint::Key("leaked".to_owned()), held(&"a leak ".repeat(20_000)));
    let tightening = {
        let (holding, what, why) = (Arc::clone(&holding), what.clone(), why.clone());
        std::thread::spawn(move || holding.tighten(&what, &why).unwrap())
    };

    // Opening waits for the writer.
    let reader = std::fs::File::open(&pipe).unwrap();
    let while_it_is_written = holding.current().held(&what).cloned();
    let after_a_kill = opened(folder.path()).current().held(&what).cloned();
    std::io::read_to_string(reader).unwrap();
    let changed = tightening.join().unwrap();

    assert!(while_it_is_written.is_none() && after_a_kill.is_none());
    assert!(matches!(changed, Changed::NotKept(_)));
    assert!(holding.current().held(&what) == Some(&why), "what the disk refuses is in force");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_delays_a_restriction_by_a_second_and_no_longer() {
    let holding = Holding::default();
    let news = [(Restraint::LocalOnly, held("an attack")), (Restraint::App("one".to_owned()), held("a leak"))];
    let (disk, mut answer) = tokio::sync::oneshot::channel();
    let in_force = || holding.current().len();
    let mut waiting = Box::pin(holding.in_time(&news, &mut answer));

    let just_before = tokio::time::timeout(PATIENCE - Duration::from_millis(1), &mut waiting).await;
    assert_eq!((just_before.is_err(), in_force()), (true, 0));
    let just_after = tokio::time::timeout(Duration::from_millis(2), &mut waiting).await;
    assert_eq!((just_after, in_force()), (Ok(None), 2), "nobody waits for that disk any longer");

    drop(waiting);
    disk.send("kept").unwrap();
    assert_eq!(answer.await, Ok("kept"), "what was begun goes on");
}

#[test]
fn what_is_held_back_at_once_is_held_up_to_the_bound_and_said_once() {
    let holding = Holding::default();
    let one = |number: usize| (Restraint::App(number.to_string()), held("many"));
    let many: Vec<_> = (0..MOST_RESTRICTIONS + 2).map(one).collect();

    let first = holding.hold_all_at_once(&many[..MOST_RESTRICTIONS - 1]).len();
    let last: Vec<_> = holding.hold_all_at_once(&many).into_iter().cloned().collect();
    let again = holding.hold_all_at_once(&many);

    assert_eq!((first, &last[..]), (MOST_RESTRICTIONS - 1, &many[MOST_RESTRICTIONS - 1..MOST_RESTRICTIONS]));
    assert_eq!(again, Vec::<&(Restraint, Held)>::new());
    assert_eq!(holding.current().len(), MOST_RESTRICTIONS);
    let [(stands, why), .., (beyond, _)] = &many[..] else { unreachable!("there are many") };
    assert!(holding.hold_at_once(stands, why));
    assert!(!holding.hold_at_once(beyond, why), "it is not held back, and that is said");
}

#[test]
fn of_several_as_many_are_held_back_as_have_room_and_the_rest_is_said() {
    let holding = Holding::default();
    fill(&holding, MOST_RESTRICTIONS - 1);

    let tightened = holding.tighten_all(&[
        (Restraint::LocalOnly, held("an attack")),
        (Restraint::Key("leaked".to_owned()), held("a leak")),
    ]);

    assert!(matches!(tightened, Err(RestrictionsError::TooMany)));
    assert!(holding.current().local_only.is_some());
    assert_eq!(holding.current().len(), MOST_RESTRICTIONS);
}

#[test]
fn what_could_not_be_written_is_said_to_be_unwritten_until_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let holding = opened(folder.path());
    std::fs::write(folder.path().join("restrictions"), "").unwrap();
    let what = Restraint::Key("leaked".to_owned());

    let first = holding.tighten(&what, &held("a leak")).unwrap();
    let again = holding.tighten(&what, &held("again")).unwrap();
    assert!(matches!((first, again), (Changed::NotKept(_), Changed::NotKept(_))), "it stands, and is not kept");
    assert!(holding.look().is_err());

    std::fs::remove_file(folder.path().join("restrictions")).unwrap();
    holding.look().unwrap();
    assert_eq!(opened(folder.path()).current().held(&what), Some(&held("a leak")));
    assert!(matches!(holding.tighten(&what, &held("once more")), Ok(Changed::Already)));
}

#[test]
fn a_file_that_vanishes_lifts_nothing_and_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (opened(folder.path()), opened(folder.path()));
    one.tighten(&Restraint::LocalOnly, &held("a leak")).unwrap();
    other.look().unwrap();
    let path = folder.path().join("restrictions/restrictions.json");

    std::fs::remove_file(&path).unwrap();
    assert!(!one.look().unwrap());
    assert!(one.current().local_only.is_some());
    assert_eq!(opened(folder.path()).current(), one.current());

    std::fs::remove_file(&path).unwrap();
    other.tighten(&Restraint::App("two".to_owned()), &held("another")).unwrap();
    assert_eq!(opened(folder.path()).current().len(), 2, "what was gone from the disk is written with the next");
}

#[test]
fn a_change_of_another_process_takes_nothing_out_of_force_that_is_not_written_here() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (opened(folder.path()), opened(folder.path()));
    other.tighten(&Restraint::LocalOnly, &held("theirs")).unwrap();
    // In force here, and the disk has not been asked yet.
    one.unwritten.lock().add(Restraint::App("ours".to_owned()), held("ours"));

    one.look().unwrap();

    assert_eq!(one.current().len(), 2);
    assert_eq!(opened(folder.path()).current().len(), 2);
}

#[test]
fn there_is_a_bound_and_at_it_nothing_more_is_taken() {
    let holding = Holding::default();
    fill(&holding, MOST_RESTRICTIONS - 1);
    holding.tighten(&Restraint::Model("last".to_owned()), &held("the last")).unwrap();

    let beyond = holding.tighten(&Restraint::LocalOnly, &held("one more"));

    assert!(matches!(beyond, Err(RestrictionsError::TooMany)));
    assert_eq!(holding.current().len(), MOST_RESTRICTIONS);
}

/// The disk is asked while there is room; what another puts in force meanwhile takes it.
#[test]
fn what_neither_the_disk_nor_the_bound_lets_in_is_not_said_to_be_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let holding = Arc::new(opened(folder.path()));
    fill(&holding, MOST_RESTRICTIONS - 1);
    std::fs::create_dir(folder.path().join("restrictions")).unwrap();
    let pipe = folder.path().join("restrictions").join(format!(".restrictions.{}.tmp", std::process::id()));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let tightening = {
        let holding = Arc::clone(&holding);
        std::thread::spawn(move || holding.tighten(&Restraint::LocalOnly, &held("an attack")))
    };

    // Opening waits for the writer, who has found room by then.
    let reader = std::fs::File::open(&pipe).unwrap();
    assert!(holding.hold_at_once(&Restraint::App("meanwhile".to_owned()), &held("a leak")));
    std::io::read_to_string(reader).unwrap();
    let tightened = tightening.join().unwrap();

    assert!(matches!(tightened, Err(RestrictionsError::TooMany)));
    assert!(holding.current().local_only.is_none());
}

#[test]
fn each_restriction_holds_back_what_it_names_and_nothing_else() {
    let mut own = Candidate::new(TargetId(0), "gpu-01/llama");
    own.own_site = true;
    let cloud = Candidate::new(TargetId(1), "cloud/gpt");
    let candidates = [own, cloud];
    let table: [(Restraint, &[u32]); 5] = [
        (Restraint::Endpoint("cloud".to_owned()), &[1]),
        (Restraint::Endpoint("gpu-01".to_owned()), &[0]),
        (Restraint::Model("chat".to_owned()), &[0, 1]),
        (Restraint::Model("other".to_owned()), &[]),
        (Restraint::LocalOnly, &[1]),
    ];
    for (what, expected) in table {
        let mut restrictions = Restrictions::default();
        restrictions.add(what.clone(), held("a test"));

        let withheld = restrictions.withheld("chat", &candidates);

        let targets: Vec<u32> = withheld.iter().map(|(target, _)| target.0).collect();
        assert_eq!(targets, expected, "{what}");
    }
    assert_eq!(Restrictions::default().withheld("chat", &candidates), Vec::<(TargetId, Arc<str>)>::new());
}
