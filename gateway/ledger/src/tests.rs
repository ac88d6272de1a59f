use std::path::Path;

use accounting::{Money, SettledBy};
use proptest::prelude::*;

use super::*;
use crate::home::read_database;
use crate::journal::{ROTATED_AT, Writer};
use crate::journaled::Journaled;
use crate::line::tests::{closing_of, opening_of};

const ALWAYS: (u64, u64) = (0, u64::MAX);

fn entries(folder: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    read_database(folder, &Home::Folder, ALWAYS, |entry| entries.push(entry)).expect("the database can be read");
    entries
}

/// Requests with what each is charged, and those that are open with what they hold, as a report has them.
type Report = (Vec<(String, u64)>, Vec<(String, u64)>);

fn report(folder: &Path, period: (u64, u64)) -> Report {
    let mut entries = Vec::new();
    let each = |entry: Entry| entries.push((entry.opening.request.to_string(), entry.charged().0));
    let unsettled = read_in(folder, &Home::Folder, period, each).expect("both can be read");
    let open = unsettled.open.into_iter().map(|opening| (opening.request.to_string(), opening.money.0)).collect();
    (entries, open)
}

fn named<const N: usize>(amounts: [(&str, u64); N]) -> Vec<(String, u64)> {
    amounts.map(|(request, amount)| (request.to_owned(), amount)).to_vec()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn journals(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("it is there").flatten();
    let mut names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("journal"));
    names
}

#[test]
fn a_settled_request_is_in_the_books_as_it_was_settled() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");

    ledger.begin(&opening_of("cwd_1", 900)).expect("there is room");
    ledger.settle(&closing_of("cwd_1", 70));
    ledger.carry_over().expect("the database takes it");

    let entry = Entry { opening: opening_of("cwd_1", 900), closing: closing_of("cwd_1", 70), recovered: false };
    assert_eq!(entries(folder.path()), [entry]);
    let spent = ledger.spent((0, u64::MAX), Whose::OfAll).expect("it can be read");
    assert_eq!(spent, [Spent { app: "claims".into(), key: "claims.keys[0]".into(), money: Money(70) }]);
    assert_eq!((ledger.status().open, ledger.status().entries), (0, 1));
}

#[test]
fn a_request_whose_process_died_is_settled_once_at_what_it_held_and_flagged() {
    let folder = folder();
    // A writer without a keeper is a process that died before it carried anything over.
    let mut dead = Writer::create(folder.path(), "dead").expect("the folder can be written");
    dead.open(&opening_of("cwd_1", 900)).expect("the disk has room");
    dead.open(&opening_of("cwd_2", 800)).expect("the disk has room");
    dead.close(&closing_of("cwd_2", 7));
    dead.flush().expect("the disk has room");
    drop(dead);

    let first = Ledger::open(folder.path(), "b", Home::Folder).expect("it opens");
    let status = first.status();
    first.leave();
    let second = Ledger::open(folder.path(), "c", Home::Folder).expect("it opens");

    assert_eq!((status.recovered, status.entries, second.status().recovered), (1, 1, 0));
    let found = entries(folder.path());
    let charged: Vec<_> =
        found.iter().map(|entry| (&*entry.opening.request, entry.charged(), entry.flagged())).collect();
    assert_eq!(charged, [("cwd_1", Money(900), true), ("cwd_2", Money(7), false)]);
    assert_eq!(found[0].closing.settlement.by, SettledBy::Reservation);
    assert_eq!(journals(folder.path()), ["journal-c-0.log"]);
}

#[test]
fn the_journal_of_a_process_that_runs_is_left_alone() {
    let folder = folder();
    let old = Ledger::open(folder.path(), "old", Home::Folder).expect("it opens");
    old.begin(&opening_of("cwd_1", 900)).expect("there is room");

    let new = Ledger::open(folder.path(), "new", Home::Folder).expect("it opens");
    old.settle(&closing_of("cwd_1", 70));
    old.leave();

    assert_eq!(new.status().recovered, 0);
    assert_eq!(entries(folder.path()).iter().map(Entry::charged).collect::<Vec<_>>(), [Money(70)]);
    assert_eq!(journals(folder.path()), ["journal-new-0.log"]);
}

#[test]
fn what_is_open_when_a_process_leaves_is_settled_by_the_next() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");
    ledger.begin(&opening_of("cwd_1", 900)).expect("there is room");
    ledger.leave();
    drop(ledger);

    let next = Ledger::open(folder.path(), "b", Home::Folder).expect("it opens");

    assert_eq!(next.status().recovered, 1);
}

#[test]
fn a_torn_last_line_was_never_acted_upon_and_a_damaged_one_keeps_its_file() {
    let folder = folder();
    let mut dead = Writer::create(folder.path(), "dead").expect("the folder can be written");
    dead.open(&opening_of("cwd_1", 900)).expect("the disk has room");
    dead.open(&opening_of("cwd_2", 800)).expect("the disk has room");
    let path = dead.path().to_owned();
    drop(dead);
    let whole = std::fs::read_to_string(&path).expect("it was written");
    std::fs::write(&path, whole.replacen("900", "000", 1).trim_end()).expect("it can be changed");

    let ledger = Ledger::open(folder.path(), "b", Home::Folder).expect("it opens");

    assert_eq!((ledger.status().damaged, ledger.status().recovered), (1, 0));
    assert!(path.with_extension("damaged").exists());
}

#[test]
fn a_database_of_a_newer_release_is_refused_by_name() {
    let folder = folder();
    Ledger::open(folder.path(), "a", Home::Folder).expect("it opens").leave();
    let path = folder.path().join("ledger.sqlite");
    let newer = rusqlite::Connection::open(&path).expect("it is there");
    newer.pragma_update(None, "user_version", DATABASE_VERSION + 1).expect("it can be written");
    drop(newer);

    let refused = Ledger::open(folder.path(), "b", Home::Folder).expect_err("it is newer");

    assert!(refused.to_string().contains("has format 2"), "{refused}");
}

#[test]
fn while_the_database_is_held_by_another_the_journal_keeps_everything() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");
    let path = folder.path().join("ledger.sqlite");
    let other = rusqlite::Connection::open(&path).expect("it is there");
    other.execute_batch("BEGIN EXCLUSIVE").expect("nobody else holds it");

    for number in 0..100 {
        ledger.begin(&opening_of(&format!("cwd_{number}"), 900)).expect("the journal has room");
        ledger.settle(&closing_of(&format!("cwd_{number}"), 1));
    }
    other.execute_batch("ROLLBACK").expect("it was begun");
    // A keeper that met the lock waits for it, or tries again.
    let began = std::time::Instant::now();
    while ledger.status().entries < 100 {
        assert!(began.elapsed().as_secs() < 30, "{:?}", ledger.status().entries);
        let _ = ledger.carry_over();
    }

    assert_eq!(entries(folder.path()).iter().map(Entry::charged).sum::<Money>(), Money(100));
}

#[test]
fn whoever_asks_what_was_spent_learns_that_the_database_is_behind() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");
    let other = rusqlite::Connection::open(folder.path().join("ledger.sqlite")).expect("it is there");
    other.execute_batch("DROP TABLE entry").expect("it is there");
    ledger.begin(&opening_of("cwd_1", 900)).expect("the journal has room");
    ledger.settle(&closing_of("cwd_1", 1));

    let carried = ledger.carry_over();

    assert!(matches!(carried, Err(LedgerError::Behind)), "{carried:?}");
}

#[test]
fn sums_are_those_of_the_entries_also_of_a_database_that_had_none() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");
    for (request, charged) in [("cwd_1", 70), ("cwd_2", 5)] {
        ledger.begin(&opening_of(request, 900)).expect("there is room");
        ledger.settle(&closing_of(request, charged));
    }
    ledger.leave();
    let path = folder.path().join("ledger.sqlite");
    let older = rusqlite::Connection::open(&path).expect("it is there");
    older.execute_batch("DROP TRIGGER entry_spent; DROP TABLE spent;").expect("they are there");
    drop(older);

    let ledger = Ledger::open(folder.path(), "b", Home::Folder).expect("it opens");
    ledger.begin(&opening_of("cwd_3", 900)).expect("there is room");
    ledger.settle(&closing_of("cwd_3", 1));
    ledger.carry_over().expect("the database takes it");

    let day = opening_of("cwd_1", 900).at_ms / 86_400_000;
    let spent = |from, to| {
        ledger
            .spent((from, to), Whose::OfThisGateway)
            .expect("it can be read")
            .iter()
            .map(|one| one.money)
            .sum::<Money>()
    };
    assert_eq!((spent(day, day + 1), spent(0, day), spent(day + 1, u64::MAX)), (Money(76), Money(0), Money(0)));
}

#[test]
fn what_was_spent_is_told_by_app_team_model_and_user_in_quarters_of_an_hour() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");
    let at = opening_of("cwd_1", 900).at_ms / 1_000;
    assert_eq!(at % accounting::SLOT_SECONDS, 0);
    let requests = [
        ("cwd_1", 0, None, 70),
        ("cwd_2", 899, Some("p1:a"), 5),
        ("cwd_3", 1, Some("p1:a"), 2),
        ("cwd_4", 900, None, 9),
    ];
    for (request, later, user, charged) in requests {
        let opening = Opening { at_ms: (at + later) * 1_000, user: user.map(Into::into), ..opening_of(request, 900) };
        ledger.begin(&opening).expect("there is room");
        ledger.settle(&closing_of(request, charged));
    }
    ledger.carry_over().expect("the database takes it");

    let of = |from, to| {
        let spent = ledger.spent_by((from, to), Whose::OfAll).expect("it can be read");
        assert!(spent.iter().all(|one| (&*one.app, &*one.team, &*one.model) == ("claims", "insurance", "chat")));
        spent.into_iter().map(|one| (one.user.map(|user| user.to_string()), one.money.0)).collect::<Vec<_>>()
    };
    assert_eq!(of(at, at + 900), [(None, 70), (Some("p1:a".to_owned()), 7)]);
    assert_eq!(of(at, at + 1_800), [(None, 79), (Some("p1:a".to_owned()), 7)]);
    assert_eq!(of(at + 900, u64::MAX), [(None, 9)]);
    let users: Vec<_> = entries(folder.path()).into_iter().map(|entry| entry.opening.user).collect();
    assert_eq!(users.iter().flatten().count(), 2);
}

#[test]
fn a_database_of_the_release_before_is_read_summed_once_and_written_by_both() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");
    ledger.begin(&opening_of("cwd_1", 900)).expect("there is room");
    ledger.settle(&closing_of("cwd_1", 70));
    ledger.leave();
    let path = folder.path().join("ledger.sqlite");
    let older = rusqlite::Connection::open(&path).expect("it is there");
    older
        .execute_batch("DROP TRIGGER entry_spent_slot; DROP TABLE spent_slot; DROP TABLE payer;")
        .expect("they are there");
    assert_eq!(entries(folder.path()).len(), 1, "a report reads it as it is");

    let ledger = Ledger::open(folder.path(), "b", Home::Folder).expect("it opens");
    let copied = "INSERT INTO entry SELECT 'cwd_2', began_ms, ended_ms, app, team, key, model, target, held_input, held_output, \
        held_nano_usd, settled_by, input, cached_input, cache_write, output, nano_usd, priced, lost_attempts, lost_tokens, \
        lost_nano_usd, tier, price, paid, avoidable, recovered FROM entry";
    older.execute_batch(copied).expect("an older release writes all its columns and no other");

    let spent = ledger.spent_by((0, u64::MAX), Whose::OfAll).expect("it can be read");
    assert_eq!(spent.iter().map(|one| one.money).sum::<Money>(), Money(140));
}

#[test]
fn what_was_told_is_remembered_over_a_restart_until_its_time_is_over() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");
    assert!(!ledger.was_told("msg_1").expect("it can be read"));
    ledger.tell("msg_1", (100, 200)).expect("it can be written");
    ledger.leave();

    let ledger = Ledger::open(folder.path(), "b", Home::Folder).expect("it opens");

    assert!(ledger.was_told("msg_1").expect("it can be read"));
    ledger.tell("msg_2", (201, 300)).expect("it can be written");
    assert_eq!(["msg_1", "msg_2"].map(|id| ledger.was_told(id).expect("it can be read")), [false, true]);
}

#[test]
fn a_file_that_stands_in_the_way_of_the_next_journal_does_so_once() {
    let folder = folder();
    let mut writer = Writer::create(folder.path(), "a").expect("the folder can be written");
    std::fs::write(folder.path().join("journal-a-1.log"), "").expect("the folder can be written");

    writer.rotate(std::iter::empty()).expect_err("the name is taken");
    let old = writer.rotate(std::iter::empty()).expect("the next is not");

    assert!(writer.path().ends_with("journal-a-2.log"));
    old.remove().expect("the folder can be written");
    assert_eq!(journals(folder.path()), ["journal-a-1.log", "journal-a-2.log"]);
}

#[test]
fn a_journal_that_is_full_of_settled_requests_is_replaced_and_loses_none() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");
    ledger.begin(&opening_of("cwd_open", 5)).expect("there is room");
    let long = "m".repeat(10_000);

    let requests = 1_700_u64;
    for number in 0..requests {
        let mut opening = opening_of(&format!("cwd_{number:06}"), 900);
        opening.model = long.as_str().into();
        ledger.begin(&opening).expect("there is room");
        ledger.settle(&closing_of(&opening.request, 3));
    }
    ledger.carry_over().expect("the database takes it");
    ledger.carry_over().expect("the database takes it");
    ledger.settle(&closing_of("cwd_open", 4));
    ledger.carry_over().expect("the database takes it");

    assert_eq!(journals(folder.path()), ["journal-a-1.log"]);
    assert_eq!(ledger.status().entries, requests + 1);
    assert_eq!(entries(folder.path()).iter().map(Entry::charged).sum::<Money>(), Money(3 * requests + 4));
}

/// So many milliseconds after the others.
fn opening_at(request: &str, later: u64) -> Opening {
    let opening = opening_of(request, 900);
    Opening { at_ms: opening.at_ms + later, ..opening }
}

#[test]
fn a_report_has_once_what_the_database_or_a_journal_has_and_in_order_whoever_lives() {
    let folder = folder();
    let ledger = Ledger::open(folder.path(), "a", Home::Folder).expect("it opens");
    ledger.begin(&opening_at("cwd_2", 2)).expect("there is room");
    ledger.settle(&closing_of("cwd_2", 2));
    ledger.carry_over().expect("the database takes it");
    let mut dead = Writer::create(folder.path(), "dead").expect("the folder can be written");
    for request in [("cwd_1", 1), ("cwd_3", 2), ("cwd_4", 4)] {
        dead.open(&opening_at(request.0, request.1)).expect("the disk has room");
    }
    dead.close(&closing_of("cwd_3", 30));
    dead.close(&closing_of("cwd_1", 1));
    dead.flush().expect("the disk has room");
    drop(dead);
    // It holds its lock, and no keeper carries over what it writes.
    let mut living = Writer::create(folder.path(), "living").expect("the folder can be written");
    living.open(&opening_at("cwd_5", 5)).expect("the disk has room");
    living.open(&opening_at("cwd_6", 6)).expect("the disk has room");
    living.close(&closing_of("cwd_5", 500));
    living.flush().expect("the disk has room");

    let before = report(folder.path(), ALWAYS);
    let at = opening_at("cwd_1", 0).at_ms;
    let within = report(folder.path(), (at + 2, at + 5));
    ledger.leave();
    let next = Ledger::open(folder.path(), "b", Home::Folder).expect("it opens");

    let settled = [("cwd_1", 1), ("cwd_2", 2), ("cwd_3", 30), ("cwd_5", 500)];
    assert_eq!(before, (named(settled), named([("cwd_4", 900), ("cwd_6", 900)])));
    assert_eq!(within, (named([("cwd_2", 2), ("cwd_3", 30)]), named([("cwd_4", 900)])));
    assert_eq!(
        (entries(folder.path()).len(), next.status().recovered),
        (4, 1),
        "the living one's is its own to carry over"
    );
    let [one, two, three, five] = settled;
    let recovered = [one, two, three, ("cwd_4", 900), five];
    assert_eq!(report(folder.path(), ALWAYS), (named(recovered), named([("cwd_6", 900)])));
}

#[test]
fn what_is_settled_by_whoever_starts_while_a_report_is_made_is_in_it_once() {
    let folder = folder();
    let mut dead = Writer::create(folder.path(), "dead").expect("the folder can be written");
    dead.open(&opening_of("cwd_1", 900)).expect("the disk has room");
    let (path, journal) = (dead.path().to_owned(), std::fs::read(dead.path()).expect("it was written"));
    drop(dead);
    Ledger::open(folder.path(), "b", Home::Folder).expect("it opens").leave();

    // As if it had been read before the start, and the database after it.
    std::fs::write(&path, journal).expect("the folder can be written");

    assert_eq!(report(folder.path(), ALWAYS), (named([("cwd_1", 900)]), Vec::new()));
}

#[test]
fn what_stands_in_a_journal_and_in_the_one_that_replaces_it_is_in_a_report_once() {
    let folder = folder();
    Ledger::open(folder.path(), "a", Home::Folder).expect("it opens").leave();
    let mut writer = Writer::create(folder.path(), "living").expect("the folder can be written");
    let (first, second) = (opening_of("cwd_1", 900), opening_of("cwd_2", 800));
    writer.open(&first).expect("the disk has room");
    writer.open(&second).expect("the disk has room");

    let old = writer.rotate([&first, &second].into_iter()).expect("the folder can be written");
    writer.close(&closing_of("cwd_1", 7));
    writer.flush().expect("the disk has room");

    let both = report(folder.path(), ALWAYS);
    old.remove().expect("the folder can be written");
    assert_eq!(both, (named([("cwd_1", 7)]), named([("cwd_2", 800)])));
    assert_eq!(report(folder.path(), ALWAYS), both, "the one that goes on has all of it");
}

#[test]
fn a_report_says_how_many_lines_of_journals_it_could_not_read() {
    let folder = folder();
    Ledger::open(folder.path(), "a", Home::Folder).expect("it opens").leave();
    let mut dead = Writer::create(folder.path(), "dead").expect("the folder can be written");
    dead.open(&opening_of("cwd_1", 900)).expect("the disk has room");
    let path = dead.path().to_owned();
    drop(dead);
    let whole = std::fs::read_to_string(&path).expect("it was written");
    std::fs::write(&path, whole.replacen("900", "000", 1)).expect("it can be changed");

    let read = read_in(folder.path(), &Home::Folder, ALWAYS, |_| unreachable!("nothing was settled"));

    let unsettled = read.expect("the rest can be read");
    assert_eq!((unsettled.open.len(), unsettled.damaged), (0, 1));
    let none = Journaled::read(&folder.path().join("none"), ALWAYS).expect("no gateway ran there");
    assert!(none.finish(drop).open.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn cut_at_any_byte_every_whole_opening_is_charged_exactly_once(
        requests in proptest::collection::vec((1..1_000_u64, proptest::option::of(0..1_000_u64)), 1..12), cut: prop::sample::Index,
    ) {
        let folder = folder();
        Ledger::open(folder.path(), "a", Home::Folder).expect("it opens").leave();
        let mut writer = Writer::create(folder.path(), "dead").expect("the folder can be written");
        let mut ends = Vec::new();
        for (number, (held, charged)) in requests.iter().enumerate() {
            writer.open(&opening_of(&format!("cwd_{number:03}"), *held)).expect("the disk has room");
            let opened = writer.length();
            if let Some(charged) = charged {
                writer.close(&closing_of(&format!("cwd_{number:03}"), *charged));
                writer.flush().expect("the disk has room");
            }
            ends.push((opened, writer.length(), *held, *charged));
        }
        let path = writer.path().to_owned();
        drop(writer);
        let length = cut.index(usize::try_from(std::fs::metadata(&path).expect("it is there").len()).expect("small") + 1);
        std::fs::OpenOptions::new().write(true).open(&path).expect("it is there").set_len(length as u64).expect("it can be cut");

        let (settled, open) = report(folder.path(), ALWAYS);
        Ledger::open(folder.path(), "b", Home::Folder).expect("it opens").leave();

        let length = length as u64;
        let expected: u64 = ends
            .iter()
            .filter(|(opened, ..)| *opened <= length)
            .map(|(_, closed, held, charged)| charged.filter(|_| *closed <= length).unwrap_or(*held))
            .sum();
        prop_assert_eq!(entries(folder.path()).iter().map(Entry::charged).sum::<Money>(), Money(expected));
        prop_assert_eq!(settled.iter().chain(&open).map(|(_, amount)| amount).sum::<u64>(), expected);
    }
}

#[test]
fn a_journal_has_its_room_on_the_disk_before_it_is_filled() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let writer = Writer::create(folder.path(), "a").expect("the folder can be written");

    let file = std::fs::metadata(writer.path()).expect("it is there");
    assert_eq!(file.len(), line::HEAD.len() as u64, "its length is what was written");
    assert!(file.blocks() * 512 >= ROTATED_AT, "{} blocks", file.blocks());
}
