//! Two processes of one state folder, in one process: what holds their marks are locks of open files.

mod places;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use accounting::{Ask, Book, Denied, Estimate, Flow, Limits, Moment, Reservation, Seats, Short, Tokens, Used};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A process that has counters.
struct Process {
    shared: Shared,
    requests: Arc<Flow>,
    seats: Arc<Seats>,
    book: Arc<Book>,
}

impl Process {
    /// One that has taken its place, and serves.
    async fn start(folder: &Path) -> Self {
        let process = Self::starting(folder).await.expect("nobody is in the way");
        process.shared.serve();
        process
    }

    async fn starting(folder: &Path) -> io::Result<Self> {
        Self::made_of(Shared::beside(folder)).await
    }

    async fn made_of(shared: Shared) -> io::Result<Self> {
        let joins = shared.clone();
        tokio::task::spawn_blocking(move || joins.join()).await.expect("it does not panic")?;
        let now = Instant::now();
        let (requests, seats, book) = (Flow::own(now), Seats::own(), Arc::new(Book::new(now)));
        requests.set(Some(5), MINUTE);
        seats.set(Some(3));
        book.set_limits(Limits { tokens_per_minute: Some(1_000), per_month: Some(Money(100_000)) });
        let process = Self { shared, requests: Arc::new(requests), seats: Arc::new(seats), book };
        process.shared.enrol("requests", &process.requests);
        process.shared.enrol("seats", &process.seats);
        process.shared.enrol("money", process.book.purse());
        process.shared.enrol("tokens", process.book.flow());
        Ok(process)
    }

    async fn tried<T, E>(
        &self,
        is_unleased: impl Fn(&E) -> bool,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            let latest = self.shared.latest();
            match attempt() {
                Err(error) if is_unleased(&error) => self.shared.round(latest).await.expect("the database answers"),
                tried => return tried,
            }
        }
    }

    async fn ask(&self) -> Result<(), Short> {
        let attempt = || self.requests.take(1, Instant::now()).map(drop);
        self.tried(|short| *short == Short::Unleased, attempt).await
    }

    async fn enter(&self) -> Result<(), Short> {
        self.tried(|short| *short == Short::Unleased, || self.seats.enter(Instant::now())).await
    }

    async fn reserve(&self, tokens: u64, money: u64) -> Result<Reservation, Denied> {
        let ask = Ask { estimate: Estimate { input: Tokens(tokens), output: Tokens(0) }, money: Money(money) };
        let now = || Moment { at: Instant::now(), month: 9, month_left: MINUTE };
        self.tried(|denied| *denied == Denied::Unleased, || self.book.reserve(None, ask, now())).await
    }

    /// How many requests are let in until one is refused.
    async fn let_in(&self) -> u32 {
        let mut count = 0;
        while self.ask().await.is_ok() {
            count += 1;
        }
        count
    }

    async fn is_alone_again(&self) {
        while !self.requests.is_own() {
            tokio::task::yield_now().await;
        }
        // The list of counters is held until all of them are.
        drop(self.shared.status());
    }

    /// Until it has looked so often for others, at least.
    async fn looks(&self, often: u64) {
        let mut rounds = self.shared.inner.over.subscribe();
        // The first may have looked by now.
        let until = rounds.borrow_and_update().0 + often + 1;
        let looked = tokio::time::timeout(MINUTE, rounds.wait_for(|(round, _)| *round >= until)).await;
        looked.expect("it goes on to look").expect("it is there");
    }

    fn leaves(self) {
        self.shared.part();
    }
}

fn used(tokens: u64) -> Used {
    Used { input: Tokens(tokens), ..Used::default() }
}

#[expect(clippy::mem_forget, reason = "nobody settles in a process that is killed")]
fn never_settles(held: Reservation) {
    std::mem::forget(held);
}

/// A user who is counted from now on.
fn a_user_of(process: &Process) -> Arc<Book> {
    let user = Arc::new(Book::new(Instant::now()));
    user.set_limits(Limits { tokens_per_minute: None, per_month: Some(Money(100_000)) });
    process.shared.enrol("user", user.purse());
    user
}

/// A process that is alone again after another one, a user of which had spent 30,000.
async fn after_one_whose_user_spent(folder: &Path) -> Process {
    let old = Process::start(folder).await;
    let user = a_user_of(&old);
    user.restore(9, Money(30_000));
    let new = Process::start(folder).await;
    old.leaves();
    new.is_alone_again().await;
    new
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_alone_asks_nobody_and_makes_no_database() {
    let folder = folder();
    let only = Process::start(folder.path()).await;

    let let_in = (0..6).filter(|_| only.requests.take(1, Instant::now()).is_ok()).count();

    assert_eq!((let_in, only.shared.status().rounds), (5, 0));
    assert!(!folder.path().join("beside/leases.sqlite").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_let_in_together_what_one_may() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    old.ask().await.expect("the first of five");
    old.enter().await.expect("the first of three");
    let _held = old.reserve(400, 60_000).await.expect("it is the first");

    let new = Process::start(folder.path()).await;

    assert_eq!(new.let_in().await + old.let_in().await, 4);
    assert_eq!([new.enter().await.is_ok(), old.enter().await.is_ok(), new.enter().await.is_ok()], [true, true, false]);
    assert!(matches!(new.reserve(0, 50_000).await, Err(Denied::Budget { .. })));
    assert!(matches!(new.reserve(700, 0).await, Err(Denied::Tokens { .. })));
    assert!(new.reserve(500, 40_000).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_one_that_left_had_used_is_taken_over_by_the_other() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    let held = old.reserve(100, 50_000).await.expect("it is the first");
    let new = Process::start(folder.path()).await;
    old.ask().await.expect("the first of five");
    old.enter().await.expect("the first of three");
    held.settle(used(900), Some(Money(70_000)));

    old.leaves();
    new.is_alone_again().await;

    assert_eq!(new.book.budget(9).spent, Money(70_000));
    assert!(new.reserve(0, 30_001).await.is_err());
    assert!(matches!(new.reserve(200, 0).await, Err(Denied::Tokens { .. })));
    assert_eq!(new.let_in().await, 4);
    assert_eq!([(); 4].map(|()| new.seats.enter(Instant::now()).is_ok()), [true, true, true, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_has_spent_what_it_held() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    let new = Process::start(folder.path()).await;
    let held = old.reserve(1, 80_000).await.expect("it is the first");

    // Nobody settles in a process that was killed.
    never_settles(held);
    drop(old);
    new.is_alone_again().await;

    assert_eq!(new.book.budget(9).spent, Money(80_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_of_a_counter_that_comes_after_the_other_has_left_is_not_forgotten() {
    let folder = folder();
    let new = after_one_whose_user_spent(folder.path()).await;

    let later = a_user_of(&new);

    assert_eq!(later.budget(9).spent, Money(30_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_left_is_not_forgotten_where_the_next_dies_before_it_says_anything() {
    let folder = folder();
    let stays = after_one_whose_user_spent(folder.path()).await;

    for is_damaged in [false, true] {
        let dies = Process::starting(folder.path()).await.expect("the other shares");
        if is_damaged {
            let other = rusqlite::Connection::open(folder.path().join("beside/leases.sqlite")).expect("it is there");
            other.execute_batch("DROP TABLE level; DROP TABLE flow").expect("it can be written to");
        }
        drop(dies);
        stays.is_alone_again().await;
    }

    assert_eq!(a_user_of(&stays).budget(9).spent, Money(30_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_left_counts_also_for_a_user_who_comes_back_while_the_next_starts_in_vain() {
    let folder = folder();
    let stays = after_one_whose_user_spent(folder.path()).await;
    let dies = Process::starting(folder.path()).await.expect("the other shares");

    let user = a_user_of(&stays);
    drop(dies);
    stays.is_alone_again().await;

    assert_eq!(user.budget(9).spent, Money(30_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_left_is_not_counted_beside_what_the_next_knows_of_it_from_the_ledger() {
    let folder = folder();
    let stays = after_one_whose_user_spent(folder.path()).await;
    let next = Process::starting(folder.path()).await.expect("the other shares");
    let known = a_user_of(&next);
    known.restore(9, Money(31_000));
    next.shared.serve();

    next.leaves();
    stays.is_alone_again().await;

    assert_eq!(a_user_of(&stays).budget(9).spent, Money(31_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_tells_is_known_so_that_nobody_counts_it_twice() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    drop(old.reserve(1, 10_000).await.expect("it is the first"));

    let new = Process::starting(folder.path()).await.expect("the other shares");

    let told = new.shared.told().expect("the database answers");
    assert_eq!(
        [told.of("money", 9), told.of("money", 8), told.of("tokens", 9)],
        [Money(10_000), Money::ZERO, Money::ZERO]
    );
    assert_eq!(old.shared.told().expect("the database answers"), Told::default());
}

#[test]
fn of_one_that_is_gone_what_it_held_counts_as_spent() {
    let folder = folder();
    let mut leases = leases::Leases::make(&folder.path().join("leases.sqlite")).expect("it can be made");
    let (used, kept, holds, least, need, want) = (60, 60, 60, 60, 60, 60);
    let question = Question::Level { month: Some(9), limit: 100, used, kept, spent: 20, holds, least, need, want };
    leases.ask("other", &BTreeSet::new(), [("money", question)].into_iter()).expect("it can be written to");

    let told = |living: &[&str]| {
        let living = living.iter().map(|name| (*name).to_owned()).collect();
        leases.told("me", &living).expect("it can be read").of("money", 9)
    };

    assert_eq!([told(&["other"]), told(&[])], [Money(20_000), Money(60_000)]);
}

#[test]
fn of_one_that_leaves_nothing_lies_ahead_though_it_is_not_known_yet_that_it_is_gone() {
    let folder = folder();
    let mut leases = leases::Leases::make(&folder.path().join("leases.sqlite")).expect("it can be made");
    let level = |used, want| {
        let (kept, holds, least, need) = (used, used, used, used);
        Question::Level { month: Some(9), limit: 100, used, kept, spent: used, holds, least, need, want }
    };
    let mut granted = |owner: &str, living: &str, question| {
        let living = BTreeSet::from([living.to_owned()]);
        let answers = leases.ask(owner, &living, [("money", question)].into_iter()).expect("it can be written to");
        if owner == "leaves" {
            leases.leave(owner).expect("it can be written to");
        }
        answers
    };

    let ahead = granted("leaves", "stays", level(20, 30));
    let rest = granted("stays", "leaves", level(80, 80));

    assert_eq!(ahead, [Answer::Level { ceiling: 30, others: 0, spent: 0 }]);
    assert_eq!(rest, [Answer::Level { ceiling: 80, others: 20, spent: 20 }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_take_over_what_the_ledger_says_the_second_waits_until_the_first_has_told_it() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    let new = Process::start(folder.path()).await;
    let reads_of = |process: &Process, within| {
        let shared = process.shared.clone();
        tokio::task::spawn_blocking(move || shared.reads_within(within).expect("the folder can be used"))
    };

    let reads = reads_of(&old, Duration::ZERO).await.expect("it does not panic");
    let meanwhile = reads_of(&new, Duration::from_millis(20)).await.expect("it does not panic");
    let waits = reads_of(&new, MINUTE);
    let user = a_user_of(&old);
    user.restore(9, Money(30_000));
    old.shared.tells(reads);
    let then = waits.await.expect("it does not panic");

    assert_eq!([meanwhile.0.is_some(), then.0.is_some()], [false, true]);
    assert_eq!(new.shared.told().expect("the database answers").of("user", 9), Money(30_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_turn_to_take_over_what_the_ledger_says_lasts_until_the_database_has_taken_it() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    let new = Process::start(folder.path()).await;
    let other = rusqlite::Connection::open(folder.path().join("beside/leases.sqlite")).expect("it is there");
    let full = "CREATE TRIGGER full BEFORE INSERT ON level BEGIN SELECT RAISE(ABORT, 'full'); END";
    other.execute_batch(full).expect("it can be written to");

    let reads = old.shared.reads_within(Duration::ZERO).expect("the folder can be used");
    let user = a_user_of(&old);
    user.restore(9, Money(30_000));
    old.shared.tells(reads);
    old.looks(2).await;
    let while_it_fails = new.shared.reads_within(Duration::ZERO).expect("the folder can be used");
    other.execute_batch("DROP TRIGGER full").expect("it can be written to");
    let shared = new.shared.clone();
    let then = tokio::task::spawn_blocking(move || shared.reads_within(MINUTE)).await.expect("it does not panic");

    assert!(while_it_fails.0.is_none());
    assert!(then.expect("the folder can be used").0.is_some());
    assert_eq!(new.shared.told().expect("the database answers").of("user", 9), Money(30_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_settled_a_moment_before_one_leaves_is_told() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    let new = Process::start(folder.path()).await;
    let held = old.reserve(0, 50_000).await.expect("it is the first");
    // It was told a moment ago what is held, and nothing is asked again of what was.
    held.settle(used(0), Some(Money(1_000)));

    old.leaves();
    new.is_alone_again().await;

    assert_eq!(new.book.budget(9).spent, Money(1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_fails_once_does_not_keep_a_new_process_out() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    old.ask().await.expect("the first of five");
    let path = folder.path().join("beside/leases.sqlite");
    drop(leases::Leases::make(&path).expect("it can be made"));
    let other = rusqlite::Connection::open(&path).expect("it is there");
    let full = "CREATE TRIGGER full BEFORE INSERT ON flow BEGIN SELECT RAISE(ABORT, 'full'); END";
    other.execute_batch(full).expect("it can be written to");
    let mut rounds = old.shared.inner.over.subscribe();

    let starts = tokio::spawn(Process::made_of(Shared::beside(folder.path())));
    rounds.wait_for(|(_, succeeded)| !succeeded).await.expect("somebody asks");
    other.execute_batch("DROP TRIGGER full").expect("it can be written to");
    let new = starts.await.expect("it does not panic").expect("it is told in a later round");

    new.shared.serve();
    assert_eq!(new.let_in().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_opened_at_first_is_tried_again() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    old.ask().await.expect("the first of five");
    let path = folder.path().join("beside/leases.sqlite");
    std::fs::create_dir(&path).expect("nothing is there");
    let mut rounds = old.shared.inner.over.subscribe();

    let starts = tokio::spawn(Process::made_of(Shared::beside(folder.path())));
    rounds.wait_for(|(_, succeeded)| !succeeded).await.expect("somebody asks");
    std::fs::remove_dir(&path).expect("nothing is in it");
    let new = starts.await.expect("it does not panic").expect("it is told in a later round");

    new.shared.serve();
    assert_eq!(new.let_in().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_shares_limits_in_another_format_is_refused_by_name() {
    let folder = folder();
    let _old = Process::start(folder.path()).await;
    let _new = Process::start(folder.path()).await;
    let other = rusqlite::Connection::open(folder.path().join("beside/leases.sqlite")).expect("it is there");
    other.pragma_update(None, "user_version", 2).expect("it can be written to");

    let third = Shared::beside_within(folder.path(), Duration::from_millis(700));
    let refused = Process::made_of(third).await.map(|_| ()).expect_err("it cannot read what they share");

    assert!(refused.to_string().contains("in format 2, and this one in format 1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_release_left_is_made_anew_by_whoever_is_there() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    old.ask().await.expect("the first of five");
    let other = rusqlite::Connection::open(folder.path().join("beside/leases.sqlite")).expect("it can be made");
    other.execute_batch("CREATE TABLE flow (other); PRAGMA user_version = 2").expect("it can be written to");

    let new = Process::start(folder.path()).await;

    assert_eq!(new.let_in().await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stays_is_alone_again_also_where_the_database_is_damaged() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    let new = Process::start(folder.path()).await;
    let held = old.reserve(0, 70_000).await.expect("it is the first");
    assert!(new.reserve(0, 40_000).await.is_err(), "which makes it ask");
    old.ask().await.expect("the first of five");
    new.ask().await.expect("the second of five");
    let other = rusqlite::Connection::open(folder.path().join("beside/leases.sqlite")).expect("it is there");

    other.execute_batch("DROP TABLE level; DROP TABLE flow").expect("it can be written to");
    never_settles(held);
    drop(old);
    new.is_alone_again().await;

    assert_eq!(new.book.budget(9).spent, Money(70_000), "as it was told last");
    assert!(new.reserve(0, 30_000).await.is_ok());
    assert_eq!(new.let_in().await, 3);
    let next = Process::start(folder.path()).await;
    assert!(next.reserve(0, 1_000).await.is_err(), "and it shares with the next one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_that_one_process_has_lower_than_the_other_is_used_up_for_as_long_and_no_longer() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    old.requests.set(Some(1_000_000), MINUTE);
    old.requests.take(1_000_000, Instant::now()).expect("it is full");
    let new = Process::starting(folder.path()).await.expect("the other shares");
    new.requests.set(Some(10), MINUTE);
    new.shared.serve();

    let beside = new.ask().await.expect_err("all is used");
    old.leaves();
    new.is_alone_again().await;
    let alone = new.requests.take(10, Instant::now()).expect_err("all is used still");

    for short in [beside, alone] {
        assert!(matches!(short, Short::Refused { retry_after } if retry_after <= MINUTE), "{short:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_ledger_says_of_an_account_takes_the_place_of_what_the_other_left() {
    let folder = folder();
    let new = after_one_whose_user_spent(folder.path()).await;

    let later = Arc::new(Book::new(Instant::now()));
    new.shared.forget(|name| name == "user");
    new.shared.enrol("user", later.purse());
    later.restore(9, Money(30_000));

    assert_eq!(later.budget(9).spent, Money(30_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_told_also_by_one_that_has_no_limit_of_it() {
    let folder = folder();
    let old = Process::start(folder.path()).await;
    old.book.set_limits(Limits::default());
    drop(old.reserve(1, 60_000).await.expect("nothing limits it"));

    let new = Process::start(folder.path()).await;
    let told = new.shared.told().expect("the database answers");
    let held = old.reserve(1, 10_000).await.expect("nothing limits it");
    old.book.set_limits(Limits { tokens_per_minute: None, per_month: Some(Money(100_000)) });
    assert!(old.reserve(1, 30_001).await.is_err(), "which makes it tell");

    assert_eq!(told.of("money", 9), Money(60_000));
    assert!(new.reserve(1, 30_001).await.is_err());
    assert!(new.reserve(1, 30_000).await.is_ok());
    drop(held);
    old.leaves();
    new.is_alone_again().await;
    assert_eq!(new.book.budget(9).spent, Money(100_000));
}

/// Both press as hard as they can, while one of them leaves and comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_comes_and_goes_the_sum_of_money_stays_within_the_limit() {
    const LIMIT: u64 = 3_000_000;
    let limits = Limits { tokens_per_minute: None, per_month: Some(Money(LIMIT)) };
    let folder = folder();
    let spent = AtomicU64::new(0);
    let first = Process::start(folder.path()).await;
    first.book.set_limits(limits);
    let press = async |process: &Process, times: u32| {
        let mut let_in = 0;
        for _ in 0..times {
            if let Ok(held) = process.reserve(0, 3_000).await {
                let settled = held.settle(used(0), Some(Money(2_000)));
                spent.fetch_add(settled.charged().0, Ordering::Relaxed);
                let_in += 1;
            }
            tokio::task::yield_now().await;
        }
        let_in
    };

    for _ in 0..3 {
        assert_eq!(press(&first, 50).await, 50, "alone, or until a look finds that the other has left");
        let other = Process::start(folder.path()).await;
        other.book.set_limits(limits);
        assert_eq!(tokio::join!(press(&first, 100), press(&other, 100)), (100, 100), "both spend of one amount");
        let (_, pressed) =
            tokio::join!(async { tokio::task::block_in_place(|| other.shared.part()) }, press(&first, 50));
        assert_eq!(pressed, 50);
    }
    let last = Process::start(folder.path()).await;
    last.book.set_limits(limits);
    assert_eq!(press(&last, 1).await, 1, "there is some left for whoever comes");
    let (by_first, by_last) = tokio::join!(press(&first, 1_500), press(&last, 1_500));
    last.leaves();
    first.is_alone_again().await;

    let spent = spent.load(Ordering::Relaxed);
    assert!(by_first + by_last < 3_000, "{by_first} and {by_last}: some are refused");
    assert_eq!(first.book.budget(9).spent, Money(spent), "nothing is forgotten");
    assert!((LIMIT - 3_000..=LIMIT).contains(&spent), "{spent}");
}
