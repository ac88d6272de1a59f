use super::*;
use crate::home::database_in;
use crate::line::tests::{closing_of, opening_of};

#[test]
fn the_journal_is_written_at_every_round_and_the_database_takes_it_once_a_second_or_when_asked() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut keeper = Keeper::new(Books::open(folder.path(), &Home::Folder).expect("it opens"));
    let writer = Writer::create(folder.path(), "a").expect("the folder can be written");
    let (status, none) = (Mutex::default(), Mutex::new(None));
    let shared = Shared { writer: Mutex::new(writer), status, keeper: none };
    let mut settle = |request: &str, asked: Option<Ask>| {
        shared.writer.lock().open(&opening_of(request, 900)).expect("the disk has room");
        shared.writer.lock().close(&closing_of(request, 70));
        keeper.serve(&shared, asked);
        let waiting = shared.writer.lock().waiting();
        (waiting, shared.status.lock().entries, keeper.carried)
    };

    let (waiting, entries, carried) = settle("cwd_1", None);
    assert_eq!((waiting, entries), (0, 1));
    // Had a second gone by between the two rounds, the second would have carried over as well.
    let (waiting, entries, again) = settle("cwd_2", None);
    assert_eq!((waiting, entries), (0, if again == carried { 1 } else { 2 }));
    let (sender, told) = channel();
    assert_eq!(settle("cwd_3", Some(Ask::Settle(sender))).1, 3);
    assert_eq!(told.recv(), Ok(true));

    let last = keeper.carried.expect("it was just carried over");
    assert_eq!(keeper.rests(last + CARRIED_EVERY - Duration::from_millis(1)), Duration::from_millis(1));
    assert_eq!(keeper.rests(last + CARRIED_EVERY), Duration::ZERO);
}

/// Books without a keeper, as while it waits for its database, in which one request is settled.
fn with_one_settled(folder: &Path) -> Ledger {
    let writer = Writer::create(folder, "a").expect("the folder can be written");
    let shared = Shared { writer: Mutex::new(writer), status: Mutex::default(), keeper: Mutex::new(None) };
    let ledger = Ledger { shared: Arc::new(shared) };
    ledger.begin(&opening_of("cwd_1", 900)).expect("there is room");
    ledger.settle(&closing_of("cwd_1", 70));
    ledger
}

#[test]
fn what_is_settled_is_in_the_journal_when_it_is_flushed_and_the_database_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let ledger = with_one_settled(folder.path());
    let path = ledger.shared.writer.lock().path().to_owned();
    let settled = || std::fs::read_to_string(&path).expect("it is there").contains(" C\tcwd_1\t");

    let before = settled();
    ledger.flush();

    assert_eq!((before, settled()), (false, true));
    assert_eq!(ledger.status().failing, None);
}

#[test]
fn that_the_journal_takes_no_line_is_said_when_it_is_flushed_and_until_the_database_has_what_waited() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut keeper = Keeper::new(Books::open(folder.path(), &Home::Folder).expect("it opens"));
    let ledger = with_one_settled(folder.path());
    let path = ledger.shared.writer.lock().path().to_owned();
    let only_read = std::fs::File::open(path).expect("it is there");

    let file = ledger.shared.writer.lock().write_to(only_read);
    ledger.flush();
    let said = ledger.status().failing;
    ledger.shared.writer.lock().write_to(file);
    ledger.flush();
    let still = ledger.status();
    keeper.serve(&ledger.shared, None);
    let then = ledger.status();

    assert!(said.is_some_and(|said| said.starts_with("the journal of the ledger takes no line")));
    assert!(still.failing.is_some(), "the database has not taken it yet");
    assert_eq!((still.entries, then.entries, then.failing), (0, 1, None));
}

#[test]
fn at_the_bound_of_the_journal_no_request_is_let_in_and_below_it_one_is() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut writer = Writer::create(folder.path(), "a").expect("the folder can be written");
    writer.pretend(MOST_JOURNAL - 1);
    let status = Mutex::default();
    let shared = Shared { writer: Mutex::new(writer), status, keeper: Mutex::new(None) };
    let ledger = Ledger { shared: Arc::new(shared) };

    let below = ledger.begin(&opening_of("cwd_1", 900));
    let at = ledger.begin(&opening_of("cwd_2", 900));
    ledger.shared.writer.lock().taken = MOST_JOURNAL;
    let again = ledger.begin(&opening_of("cwd_3", 900));

    assert!(below.is_ok() && again.is_ok(), "{below:?} {again:?}");
    assert!(matches!(at, Err(LedgerError::Full)), "{at:?}");
}

/// The database is let go only when the files have been changed and a request has been noted: a rotation that holds
/// requests up until the database answers ends in an error.
#[test]
fn while_the_journal_is_replaced_no_request_waits_for_the_database() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut keeper = Keeper::new(Books::open(folder.path(), &Home::Folder).expect("it opens"));
    let mut writer = Writer::create(folder.path(), "a").expect("the folder can be written");
    writer.open(&opening_of("cwd_1", 900)).expect("the disk has room");
    writer.close(&closing_of("cwd_1", 70));
    writer.open(&opening_of("cwd_open", 5)).expect("the disk has room");
    let first = writer.path().to_owned();
    let shared = Shared { writer: Mutex::new(writer), status: Mutex::default(), keeper: Mutex::new(None) };
    let other = rusqlite::Connection::open(database_in(folder.path())).expect("it is there");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody else holds it");

    std::thread::scope(|scope| {
        let (shared, first) = (&shared, &first);
        scope.spawn(move || {
            while shared.writer.lock().path() == first {
                std::thread::yield_now();
            }
            shared.writer.lock().open(&opening_of("cwd_2", 3)).expect("the disk has room");
            assert!(first.exists(), "the database has not taken it yet");
            other.execute_batch("ROLLBACK").expect("it was begun");
        });
        keeper.rotate(shared).expect("the database is free again");
    });

    assert!(!first.exists());
    assert_eq!((shared.status.lock().entries, keeper.reader.open.len()), (1, 1));
}
