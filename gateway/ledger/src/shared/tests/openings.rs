//! What a real Valkey or Redis settles when a connection is opened: whether it remembers, whose format it keeps, and which
//! connection counts.

use accounting::{Answer, Money, Question};

use super::super::opening::{self, Opening};
use super::super::resp::{Link, Reply};
use super::super::scripts::{self, Asker, Scripts};
use super::levels::{Server, connected};
use super::*;

const FLOW: Question = Question::Flow { limit: 100, period: Duration::from_secs(60), owed: 0, least: 1, most: 4 };

/// Of which this much was spent by this gateway.
fn money(spent: u64) -> Question {
    let need = spent + 10;
    let (used, kept, holds) = (spent, need, spent);
    Question::Level { month: Some(7), limit: 1_000, used, kept, spent, holds, least: need, need, want: need }
}

/// Opens one connection of `owner`, the `turn`th, and asks over it in the same breath.
async fn opens_and_asks(link: &mut Link, (owner, turn): (&str, u64), questions: &[Question]) -> Vec<Reply> {
    let mut commands = Commands::default();
    Scripts::load(&mut commands);
    let replies = link.ask(&commands).await.expect("the store answers");
    let scripts = Scripts::loaded(&replies).expect("the store takes the scripts");
    let mut commands = Commands::default();
    Opening { prefix: "test", owner, word: owner, turn: Some(turn) }.ask(&mut commands);
    let asker = Asker { prefix: "test", owner, turn, adopt: "" };
    questions.iter().for_each(|question| scripts.ask(&mut commands, "a", question, &asker));
    link.ask(&commands).await.expect("the store answers")
}

/// Opens the first connection of `owner`.
async fn opens(link: &mut Link, owner: &str) -> Scripts {
    opens_and_asks(link, (owner, 1), &[]).await;
    let mut commands = Commands::default();
    Scripts::load(&mut commands);
    Scripts::loaded(&link.ask(&commands).await.expect("the store answers")).expect("the store takes the scripts")
}

/// It has been met long ago.
async fn speaks_again(link: &mut Link) {
    let spoken = link.ask(&Commands::of(&[b"DEL", opening::hush_of("test").as_bytes()])).await;
    assert!(matches!(spoken.expect("the store answers")[..], [Reply::Integer(0 | 1)]));
}

/// Has `owner` say that it has spent so much, and gives what it hears.
async fn says(link: &mut Link, scripts: &Scripts, (owner, spent): (&str, u64)) -> (u64, u64, u64) {
    let mut commands = Commands::default();
    scripts.ask(&mut commands, "a", &money(spent), &Asker { prefix: "test", owner, turn: 1, adopt: "" });
    level(&link.ask(&commands).await.expect("the store answers")[0])
}

/// Has `owner` tell what the ledger knows of each.
async fn tells(link: &mut Link, scripts: &Scripts, owner: &str, spent: &[(&str, u64)]) {
    let spent = spent.iter().map(|(ledger, units)| (Arc::from(*ledger), Money(units * 1_000))).collect();
    let mut commands = Commands::default();
    let asker = Asker { prefix: "test", owner, turn: 1, adopt: "" };
    scripts.tell(&mut commands, &Known { account: "a".into(), month: 7, spent }, &asker);
    assert_eq!(link.ask(&commands).await.expect("the store answers"), [Reply::Integer(1)]);
}

fn level(reply: &Reply) -> (u64, u64, u64) {
    let answer = scripts::answer(&money(0), reply).expect("it answers what it was asked");
    let Some(Answer::Level { ceiling, others, spent }) = answer else { unreachable!("{reply:?}") };
    (ceiling, others, spent)
}

#[tokio::test]
async fn a_store_that_remembers_nothing_grants_nothing_to_whoever_is_the_first_to_meet_it() {
    let Some(server) = Server::start("the first to meet an empty store") else { return };
    let mut link = server.link().await;

    let replies = opens_and_asks(&mut link, ("a/1", 1), &[FLOW, money(0)]).await;

    let of_flow = scripts::answer(&FLOW, &replies[1]).expect("it answers");
    let Some(Answer::Flow { granted: 0, left: 100, wait }) = of_flow else { unreachable!("{of_flow:?}") };
    assert!(wait > Duration::from_secs(3), "{wait:?}");
    assert_eq!(scripts::answer(&money(0), &replies[2]), Ok(None));
    // The second finds a memory, and the same silence.
    let replies = opens_and_asks(&mut link, ("b/1", 1), &[money(0)]).await;
    assert_eq!(replies[0], Reply::Bulk(b"a/1".to_vec()));
}

#[tokio::test]
async fn what_is_asked_behind_an_emptying_changes_nothing() {
    let Some(server) = Server::start("a question behind an emptying") else { return };
    let mut link = server.link().await;
    let scripts = opens(&mut link, "a/1").await;
    speaks_again(&mut link).await;

    // As where another's FLUSHALL comes between the first command of an exchange and the next.
    let mut commands = Commands::default();
    opening::ask_for_memory(&mut commands, "test");
    commands.add(&[b"FLUSHALL"]);
    let asker = Asker { prefix: "test", owner: "a/1", turn: 1, adopt: "" };
    [FLOW, money(0)].iter().for_each(|question| scripts.ask(&mut commands, "a", question, &asker));
    commands.add(&[b"DBSIZE"]);
    let replies = link.ask(&commands).await.expect("it answers");

    assert_eq!(opening::remembers(&replies[0], b"a/1"), Ok(()));
    let refused = [&replies[2], &replies[3]].map(|reply| scripts::complaint(std::slice::from_ref(reply)));
    assert_eq!(refused, ["the store answers STALE"; 2]);
    assert_eq!(replies[4], Reply::Integer(0));
}

#[tokio::test]
async fn a_question_over_a_connection_that_was_followed_by_another_changes_nothing() {
    let Some(server) = Server::start("an old connection behind a newer one") else { return };
    let (mut old, mut new) = (server.link().await, server.link().await);
    opens_and_asks(&mut old, ("a/1", 1), &[]).await;
    speaks_again(&mut old).await;
    let replies = opens_and_asks(&mut new, ("a/1", 2), &[money(700)]).await;
    assert_eq!(level(&replies[1]), (710, 0, 0));

    // It is late, whether it was opened before or is opened now.
    let replies = opens_and_asks(&mut old, ("a/1", 1), &[FLOW, money(0)]).await;

    assert_eq!(replies[0], Reply::Bulk(b"a/1".to_vec()));
    let refused = [&replies[1], &replies[2]].map(|reply| scripts::complaint(std::slice::from_ref(reply)));
    assert_eq!(refused, ["the store answers STALE"; 2]);
    // Another gateway finds what was said last.
    let replies = opens_and_asks(&mut new, ("b/1", 1), &[money(0)]).await;
    assert_eq!(level(&replies[1]), (10, 710, 700));
}

#[tokio::test]
async fn what_the_ledger_knows_of_a_gateway_is_counted_until_it_tells_that_itself() {
    let Some(server) = Server::start("what is known from the ledger") else { return };
    let mut link = server.link().await;
    let scripts = opens(&mut link, "a/1/A").await;
    opens(&mut link, "b/1/B").await;
    speaks_again(&mut link).await;
    let mut other = server.link().await;
    let mut says = async |owner: &str, spent: u64| says(&mut link, &scripts, (owner, spent)).await;
    let mut known = async |spent: &[(&str, u64)]| tells(&mut other, &scripts, "a/1/A", spent).await;
    assert_eq!(says("a/1/A", 100).await, (110, 0, 0));

    // Of A less than it told itself, of B and C what nobody told.
    known(&[("A", 105), ("B", 300), ("C", 200)]).await;

    assert_eq!(says("a/1/A", 250).await, (260, 500, 500));
    // B is back, and goes on from what it had spent.
    assert_eq!(says("b/1/B", 320).await, (330, 460, 450));
    assert_eq!(says("b/1/B", 350).await, (360, 460, 450));
    assert_eq!(says("a/1/A", 250).await, (260, 560, 550));
    // Said again it is counted once.
    known(&[("A", 250), ("B", 350), ("C", 200)]).await;
    assert_eq!(says("a/1/A", 250).await, (260, 560, 550));
    // What is left is little, and nobody gets more.
    known(&[("C", 400)]).await;
    assert_eq!(says("a/1/A", 250).await, (250, 760, 750));
}

#[tokio::test]
async fn a_gateway_that_was_cut_off_from_the_store_alone_is_not_counted_twice_when_it_is_back() {
    let Some(server) = Server::start("a gateway that comes back with the line it had") else { return };
    let mut link = server.link().await;
    let scripts = opens(&mut link, "a/1/A").await;
    opens(&mut link, "b/1/B").await;
    speaks_again(&mut link).await;
    let key = &b"test:1:level:a:7"[..];
    assert_eq!(says(&mut link, &scripts, ("a/1/A", 100)).await, (110, 0, 0));
    // Three seconds later its line is over. It goes on with what it has, and posts that into the ledger.
    let over = Commands::of(&[b"HSET", key, b"a/1/A", b"1 110 110 100"]);
    assert_eq!(link.ask(&over).await.expect("the store answers"), [Reply::Integer(0)]);
    tells(&mut link, &scripts, "b/1/B", &[("A", 300)]).await;
    assert_eq!(says(&mut link, &scripts, ("b/1/B", 0)).await, (10, 300, 290));

    // It is back. What it tells less than the ledger knew stays; nobody else can have spent that.
    assert_eq!(says(&mut link, &scripts, ("a/1/A", 250)).await, (260, 60, 50));
    assert_eq!(says(&mut link, &scripts, ("b/1/B", 0)).await, (10, 310, 300));
    // What it spends from now on, while its line stands, is not what the ledger knew.
    assert_eq!(says(&mut link, &scripts, ("a/1/A", 270)).await, (280, 60, 50));
    // Cut off again, it tells the rest.
    let over = Commands::of(&[b"HSET", key, b"a/1/A", b"1 280 280 270"]);
    assert_eq!(link.ask(&over).await.expect("the store answers"), [Reply::Integer(0)]);
    assert_eq!(says(&mut link, &scripts, ("a/1/A", 330)).await, (340, 10, 0));
    assert_eq!(says(&mut link, &scripts, ("b/1/B", 0)).await, (10, 340, 330));
}

#[tokio::test]
async fn what_an_earlier_release_tells_is_not_counted_twice_beside_what_the_ledger_knows() {
    let Some(server) = Server::start("what is known beside an earlier release") else { return };
    let mut link = server.link().await;
    let scripts = opens(&mut link, "a/1/A").await;
    speaks_again(&mut link).await;
    // It does not say which of the ledgers is its own.
    let line = Commands::of(&[b"HSET", b"test:1:level:a:7", b"b/1", b"0 0 300 300"]);
    assert_eq!(link.ask(&line).await.expect("it answers"), [Reply::Integer(1)]);

    let mut commands = Commands::default();
    let asker = Asker { prefix: "test", owner: "a/1/A", turn: 1, adopt: "" };
    let spent = vec![("B".into(), Money(300_000)), ("C".into(), Money(50_000))];
    scripts.tell(&mut commands, &Known { account: "a".into(), month: 7, spent }, &asker);
    scripts.ask(&mut commands, "a", &money(0), &asker);
    let replies = link.ask(&commands).await.expect("it answers");

    assert_eq!(level(&replies[1]), (10, 350, 350));
}

fn dials(server: &Server) -> Dial {
    let socket = server.socket();
    Arc::new(move || {
        let socket = socket.clone();
        Box::pin(async move {
            let wire: Box<dyn Wire> = Box::new(connected(&socket).await);
            Ok(wire)
        })
    })
}

/// The counters of a process that reaches this store, and the folder of its state.
fn process(server: &Server) -> (Shared, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let shared = Shared::open(folder.path(), folder.path(), settings(OnLoss::Deny)).expect("the folder can be used");
    shared.reach_by(dials(server));
    (shared, folder)
}

/// Has a process ask for as long as this task is not ended.
fn begins(shared: &Shared) -> tokio::task::JoinHandle<()> {
    let keeper = shared.clone();
    tokio::spawn(async move { keeper.run().await })
}

/// Waits until it is said of the store what is expected.
async fn comes_to(shared: &Shared, is: impl Fn(&StoreStatus) -> bool) {
    for _ in 0..3_000 {
        if is(&shared.status()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("after 30 s: {:?}", shared.status());
}

#[tokio::test]
async fn a_store_in_which_a_newer_release_counts_is_lost_to_this_one_also_while_it_runs() {
    let Some(server) = Server::start("counters of a newer release") else { return };
    let mut link = server.link().await;
    let (shared, _folder) = process(&server);
    let running = begins(&shared);
    comes_to(&shared, |status| status.connected).await;
    let format = Commands::of(&[b"GET", b"test:format"]);
    assert_eq!(link.ask(&format).await.expect("it answers"), [Reply::Bulk(b"1".to_vec())]);

    let newer = Commands::of(&[b"SET", b"test:format", b"2"]);
    assert_eq!(link.ask(&newer).await.expect("it answers"), [Reply::Simple("OK".to_owned())]);

    let why = "a newer release keeps its counters in the store, in format 2; this one reads format 1";
    comes_to(&shared, |status| status.lost.as_deref() == Some(why)).await;
    running.abort();
    assert_eq!(link.ask(&format).await.expect("it answers"), [Reply::Bulk(b"2".to_vec())]);
    // Nor does a new process begin there.
    let replies = opens_and_asks(&mut link, ("new/1", 1), &[FLOW]).await;
    assert_eq!(opening::opened(&replies[0]), Err(why.to_owned()));
    assert_eq!(scripts::complaint(&replies[1..2]), "the store answers STALE");
}

#[tokio::test]
async fn a_connection_that_the_store_no_longer_knows_is_opened_anew_and_nobody_calls_that_a_loss() {
    let Some(server) = Server::start("a connection that is old") else { return };
    let mut link = server.link().await;
    let (shared, _folder) = process(&server);
    let counter = Arc::new(Wants::default());
    shared.enrol("a", &counter);
    let running = begins(&shared);
    comes_to(&shared, |status| status.connected).await;
    speaks_again(&mut link).await;

    // As it is a day after it was used last.
    let of_owner = opening::turn_of("test", &shared.inner.owner);
    let forgotten = link.ask(&Commands::of(&[b"DEL", of_owner.as_bytes()])).await.expect("it answers");
    counter.questions.lock().push(FLOW);
    shared.serve();
    while counter.learned.lock().is_empty() {
        let _ = shared.round(shared.latest()).await;
    }

    running.abort();
    assert_eq!(forgotten, [Reply::Integer(1)]);
    assert!(matches!(counter.learned.lock()[..], [Some(Answer::Flow { granted: 4, .. })]));
    assert_eq!((shared.status().losses, shared.status().lost), (0, None));
}

#[tokio::test]
async fn over_a_connection_that_the_store_no_longer_knows_the_ledger_is_told_over_a_new_one() {
    let Some(server) = Server::start("telling over a connection that is old") else { return };
    let mut link = server.link().await;
    let (shared, _folder) = process(&server);
    let running = begins(&shared);
    comes_to(&shared, |status| status.connected).await;

    let of_owner = opening::turn_of("test", &shared.inner.owner);
    let forgotten = link.ask(&Commands::of(&[b"DEL", of_owner.as_bytes()])).await.expect("it answers");
    shared.tell(vec![Known { account: "a".into(), month: 7, spent: vec![("C".into(), Money(200_000))] }]);
    comes_to(&shared, |_| shared.inner.untold.lock().is_empty()).await;

    running.abort();
    assert_eq!(forgotten, [Reply::Integer(1)]);
    let line = Commands::of(&[b"HGET", b"test:1:level:a:7", b"C/ledger"]);
    assert_eq!(link.ask(&line).await.expect("it answers"), [Reply::Bulk(b"0 0 200 200".to_vec())]);
    assert_eq!((shared.status().losses, shared.status().lost), (0, None));
}

#[tokio::test]
async fn money_waits_until_a_long_list_was_told_and_rates_do_not() {
    let Some(server) = Server::start("a long list of what is known") else { return };
    let mut link = server.link().await;
    let (shared, _folder) = process(&server);
    let counter = Arc::new(Wants::default());
    shared.enrol("a", &counter);
    opens(&mut link, "b/1").await;
    speaks_again(&mut link).await;
    // More than one round tells, and at its end what matters here.
    let of = |account: &str| Known { account: account.into(), month: 7, spent: vec![("C".into(), Money(200_000))] };
    let others = (0..1_500).map(|number| of(&format!("user {number}")));
    shared.tell(others.chain([of("a")]).collect());
    counter.questions.lock().extend([FLOW, money(0)]);
    shared.serve();

    let running = begins(&shared);
    let mut learned: Vec<Option<Answer>> = Vec::new();
    while !learned.iter().any(|answer| matches!(answer, Some(Answer::Level { .. }))) {
        let after = shared.latest();
        let _ = shared.round(after).await;
        learned.clone_from(&counter.learned.lock());
        // As a request that is still short asks again.
        if learned.last() == Some(&None) || counter.questions.lock().is_empty() {
            counter.questions.lock().push(money(0));
        }
    }

    running.abort();
    // Money is put off first, and rates are answered in the same round.
    assert!(matches!(learned[..2], [None, Some(Answer::Flow { granted: 4, .. })]), "{learned:?}");
    let granted = learned.iter().flatten().find(|answer| matches!(answer, Answer::Level { .. }));
    assert_eq!(granted, Some(&Answer::Level { ceiling: 10, others: 200, spent: 200 }));
}

#[tokio::test]
async fn what_an_earlier_release_left_without_a_format_is_kept_and_marked() {
    let Some(server) = Server::start("counters of an earlier release") else { return };
    let mut link = server.link().await;
    let earlier = Commands::of(&[b"SET", b"test:1:memory", b"before"]);
    link.ask(&earlier).await.expect("it answers");

    let replies = opens_and_asks(&mut link, ("a/1", 1), &[money(0)]).await;

    // It has a memory, so nobody waits.
    assert_eq!((opening::opened(&replies[0]), level(&replies[1])), (Ok(b"before".to_vec()), (10, 0, 0)));
    let format = Commands::of(&[b"GET", b"test:format"]);
    assert_eq!(link.ask(&format).await.expect("it answers"), [Reply::Bulk(b"1".to_vec())]);
}
