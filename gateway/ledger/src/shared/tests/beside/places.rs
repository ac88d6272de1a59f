//! Who is there: marks, the turn to make one, and the folder that they lie in.

use super::*;

/// A process that was stopped while it took its place.
fn hangs_in_its_turn(folder: &Path) -> File {
    let marks = marks::Marks::below(folder);
    marks.make_folder().expect("it can be made");
    marks.turn(Duration::ZERO).expect("nobody has it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_share_lets_no_other_begin() {
    let folder = folder();
    let silent = Process::starting(folder.path()).await.expect("nobody is in the way");

    let impatient = Shared::beside_within(folder.path(), Duration::from_millis(50));
    let refused = Process::made_of(impatient).await.map(|_| ()).expect_err("the first does not serve yet");
    drop(silent);
    let next = Process::starting(folder.path()).await;

    assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    assert!(next.is_ok_and(|next| next.requests.is_own()), "the mark of one that is dead stops nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_while_it_takes_its_place_is_named_to_the_next() {
    let folder = folder();
    let starting = Shared::beside_within(folder.path(), Duration::from_millis(50));
    let hangs = hangs_in_its_turn(folder.path());

    let refused = Process::made_of(starting).await.map(|_| ()).expect_err("somebody else takes its place");
    drop(hangs);

    assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    assert!(refused.to_string().contains("beside/turn"), "{refused}");
    assert!(Process::starting(folder.path()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_while_it_takes_its_place_holds_up_nobody_who_is_there() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    let new = Process::start(folder.path()).await;
    let hangs = hangs_in_its_turn(folder.path());

    old.leaves();
    new.looks(2).await;

    assert!(!new.requests.is_own(), "whoever has the turn may be about to share");
    new.ask().await.expect("the database is asked still");
    assert!(new.shared.told().is_ok());
    drop(hangs);
    new.is_alone_again().await;
    assert_eq!(new.let_in().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_no_mark_any_more_is_gone_only_where_it_makes_none_again() {
    let folder = folder();
    let stays = Process::start(folder.path()).await;
    let marks = marks::Marks::below(folder.path());
    let mark = marks.make("other").expect("nobody has it");
    while stays.requests.is_own() {
        tokio::task::yield_now().await;
    }

    marks.remove("other");
    stays.looks(2).await;
    let while_it_has_none = stays.requests.is_own();
    drop(mark);
    let mark = marks.make("other").expect("nobody has it");
    stays.looks(5).await;
    let when_it_has_one = stays.requests.is_own();
    marks.remove("other");
    stays.is_alone_again().await;

    assert_eq!([while_it_has_none, when_it_has_one], [false, false]);
    drop(mark);
}

/// Over NFS a lock needs a file that may be written. A folder may be opened to be read alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_cannot_be_opened_to_be_locked_is_named() {
    let folder = folder();
    std::fs::create_dir_all(folder.path().join("beside/odd.here")).expect("nothing is there");

    let refused = Process::starting(folder.path()).await.map(|_| ()).expect_err("nobody can say whose it is");

    assert!(refused.to_string().contains("beside/odd.here"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_start_at_once_do_not_wait_for_each_other() {
    let folder = folder();
    let old = Process::starting(folder.path()).await.expect("nobody is in the way");
    let marks = || std::fs::read_dir(folder.path().join("beside")).expect("it is there");
    let both = [(); 2].map(|()| tokio::spawn(Process::made_of(Shared::beside(folder.path()))));
    let is_mark = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "here");
    while marks().filter(|entry| entry.as_ref().is_ok_and(|entry| is_mark(&entry.path()))).count() < 3 {
        tokio::task::yield_now().await;
    }

    old.shared.serve();
    let [one, other] = both;
    let first = tokio::select! { joined = one => joined, joined = other => joined };

    assert!(first.expect("it does not panic").is_ok(), "one of them waits for the process that serves alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_was_removed_is_made_again_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let marks = folder.path().join("beside");
    std::fs::create_dir(&marks).expect("nothing is there");
    let unnamed = marks.join("dead.new");
    std::fs::write(&unnamed, "").expect("it can be written");
    let old = Process::start(folder.path()).await;
    assert!(!unnamed.exists(), "nobody needs it any more");
    old.ask().await.expect("the first of five");

    std::fs::remove_dir_all(&marks).expect("it is there");
    let has_mark = || {
        let mut names = std::fs::read_dir(&marks).into_iter().flatten().flatten().map(|entry| entry.path());
        names.any(|path| path.extension().is_some_and(|end| end == "here"))
    };
    while !has_mark() {
        tokio::task::yield_now().await;
    }
    let new = Process::start(folder.path()).await;

    assert_eq!(new.let_in().await, 4, "it is seen");
    let mode = |name: &str| std::fs::metadata(marks.join(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("leases.sqlite"), mode("leases.sqlite-wal")), (0o700, 0o600, 0o600));
}

/// Until what is done from now on has another time than what was done in the folder before.
fn the_clock_goes_on(folder: &Path) {
    let time = |path: &Path| std::fs::metadata(path).and_then(|of| of.modified()).expect("it is there");
    let before = time(folder);
    while time(tempfile::NamedTempFile::new().expect("a temporary file can be made").path()) <= before {
        std::thread::yield_now();
    }
}

/// A process that does not look by itself, and has been alone for so long that it goes by what the folder looks like; and the
/// instant of its next look.
async fn alone_for_long(folder: &Path) -> (Process, Instant) {
    let process = Process::starting(folder).await.expect("nobody is in the way");
    let begin = Instant::now();
    for seconds in [0, 4] {
        assert!(found_by(&process, begin + Duration::from_secs(seconds)).is_empty());
    }
    the_clock_goes_on(&folder.join("beside"));
    (process, begin + Duration::from_millis(4_250))
}

fn found_by(process: &Process, now: Instant) -> BTreeSet<String> {
    let beside = process.shared.inner.beside.as_ref().expect("it has a folder");
    let mut place = beside.place.lock();
    let place = place.as_mut().expect("it has a place there");
    let found = beside.look(place, now).expect("the folder can be read");
    assert!(beside.marks.has(&place.owner), "its own mark is there after each look");
    found
}

#[tokio::test]
async fn one_that_comes_after_a_long_time_is_seen_at_the_next_look() {
    let folder = folder();
    let (process, next) = alone_for_long(folder.path()).await;

    let mark = marks::Marks::below(folder.path()).make("other").expect("nobody has it");

    assert_eq!(found_by(&process, next), BTreeSet::from(["other".to_owned()]));
    drop(mark);
    assert!(found_by(&process, next).is_empty(), "that its lock ended is seen though nothing changed in the folder");
}

#[tokio::test]
async fn a_mark_or_a_folder_that_is_removed_after_a_long_time_is_made_again_at_the_next_look() {
    for folder_too in [false, true] {
        let folder = folder();
        let (process, next) = alone_for_long(folder.path()).await;
        let below = folder.path().join("beside");

        if folder_too {
            std::fs::remove_dir_all(&below).expect("it is there");
        } else {
            let marks = std::fs::read_dir(&below).expect("it is there").flatten().map(|entry| entry.path());
            let mut marks = marks.filter(|path| path.extension().is_some_and(|end| end == "here"));
            std::fs::remove_file(marks.next().expect("its own is there")).expect("it can be removed");
        }

        assert!(found_by(&process, next).is_empty());
    }
}
