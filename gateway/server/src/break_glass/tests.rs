use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policy::{Candidate, Class, Data, TargetId};

use super::{BreakGlass, NotOpened, PATIENCE, Person, Standings, Step};
use crate::configuration::{self, BreakGlassConfig, Grant};
use crate::kept::KeptError;
use crate::snapshot::Subject;

const NOW: u64 = 1_795_680_000;
const HOURS: u64 = 4 * 3_600;
const NOTHING: [u32; 0] = [];

fn grant() -> Grant {
    Grant {
        name: "sweden".to_owned(),
        apps: vec!["claims".to_owned()],
        endpoints: vec!["cloud".to_owned()],
        open_for: Duration::from_secs(HOURS),
        until: UNIX_EPOCH + Duration::from_secs(NOW + 30 * 24 * 3_600),
        because: "the own site may fail".to_owned(),
        hash: "abc".to_owned(),
    }
}

fn config() -> BreakGlassConfig {
    BreakGlassConfig {
        grants: vec![grant()],
        never_labels: vec!["health".to_owned()],
        never_from: Some(configuration::Class::Secret),
    }
}

fn person(name: &str, is_security: bool, at: u64) -> Person {
    Person { name: name.to_owned(), subject: None, is_security, at }
}

/// Somebody who showed a token.
fn named(section: &str, (issuer, user): (&str, &str)) -> Person {
    Person {
        subject: Some(Subject { issuer: issuer.into(), claim: "sub".into(), user: user.into() }),
        ..person(section, true, NOW)
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn opened() -> Standings {
    let (_, waits) = Standings::default().asked(&grant(), person("oscar", false, NOW), "fire").unwrap();
    waits.asked(&grant(), person("sam", true, NOW + 60), "fire").unwrap().1
}

fn lifted(standings: &Standings, app: &str, data: &Data<'_>, at: u64) -> Vec<u32> {
    let candidates = [Candidate::new(TargetId(0), "own/m"), Candidate::new(TargetId(1), "cloud/m")];
    let glass = BreakGlass::default();
    glass.change(&Standings::default(), standings.clone()).unwrap();
    glass.lifted(&config(), (app, data), &candidates, self::at(at)).into_iter().map(|(target, _)| target.0).collect()
}

#[test]
fn people_are_told_apart_by_their_tokens_and_without_one_by_the_section() {
    let opens = |first: Person, second: Person| {
        let (_, waits) = Standings::default().asked(&grant(), first, "fire").unwrap();
        waits.asked(&grant(), second, "fire").is_ok()
    };
    let (erika, max, elsewhere) = (("i", "erika"), ("i", "max"), ("j", "Erika"));

    assert!(opens(named("security", erika), named("security", max)));
    assert!(!opens(named("security", erika), named("security", erika)));
    assert!(!opens(named("operators", erika), named("security", erika)), "one person under two sections");
    assert!(!opens(named("operators", erika), named("security", elsewhere)), "one directory may sign as two issuers");
    assert!(opens(named("operators", erika), named("security", ("j", "max"))));
    assert!(!opens(named("security", erika), person("security", true, NOW)), "a key of the section may be hers");
    assert!(opens(named("security", erika), person("oscar", true, NOW)));
}

#[test]
fn two_people_open_a_grant_and_one_does_not() {
    let none = Standings::default();
    let (first, waits) = none.asked(&grant(), person("oscar", false, NOW), "fire").unwrap();

    assert_eq!(first, Step::Waits { until: NOW + PATIENCE.as_secs() });
    assert_eq!(lifted(&waits, "claims", &Data::PLAIN, NOW + 1), NOTHING);
    assert_eq!(waits.asked(&grant(), person("oscar", false, NOW + 1), "fire"), Err(NotOpened::SamePerson));
    assert_eq!(waits.asked(&grant(), person("olga", false, NOW + 1), "fire"), Err(NotOpened::NobodyOfSecurity));
    let (second, open) = waits.asked(&grant(), person("sam", true, NOW + 60), "fire").unwrap();
    assert_eq!(second, Step::Opens { until: NOW + 60 + HOURS });
    assert_eq!(lifted(&open, "claims", &Data::PLAIN, NOW + 61), [1]);
    assert_eq!(open.asked(&grant(), person("vera", true, NOW + 62), "fire"), Err(NotOpened::AlreadyOpen));
}

#[test]
fn the_first_person_is_forgotten_when_nobody_comes_and_a_grant_that_ran_out_is_not_opened() {
    let (_, waits) = Standings::default().asked(&grant(), person("oscar", false, NOW), "fire").unwrap();
    let late = NOW + PATIENCE.as_secs();

    let (step, _) = waits.asked(&grant(), person("sam", true, late), "fire").unwrap();
    let ran_out = waits.asked(&grant(), person("sam", true, NOW + 31 * 24 * 3_600), "fire");

    assert_eq!(step, Step::Waits { until: late + PATIENCE.as_secs() }, "sam is the first now");
    assert_eq!(ran_out, Err(NotOpened::RanOut));
}

#[test]
fn a_grant_closes_itself_and_never_lasts_longer_than_it_was_approved() {
    let open = opened();
    let until = NOW + 60 + HOURS;

    assert_eq!(lifted(&open, "claims", &Data::PLAIN, until - 1), [1]);
    assert_eq!(lifted(&open, "claims", &Data::PLAIN, until), NOTHING);
    assert_eq!(open.swept(&config(), at(until - 1)), (vec![], open.clone()));
    assert_eq!(open.swept(&config(), at(until)), (vec!["sweden".to_owned()], Standings::default()));
    let soon = Grant { until: UNIX_EPOCH + Duration::from_secs(NOW + 120), ..grant() };
    let (_, waits) = Standings::default().asked(&soon, person("oscar", false, NOW), "fire").unwrap();
    assert_eq!(waits.asked(&soon, person("sam", true, NOW + 60), "").unwrap().0, Step::Opens { until: NOW + 120 });
}

#[test]
fn a_grant_whose_text_changed_or_that_is_gone_is_closed() {
    let changed = BreakGlassConfig { grants: vec![Grant { hash: "abd".to_owned(), ..grant() }], ..config() };
    let gone = BreakGlassConfig { grants: Vec::new(), ..config() };

    for config in [changed, gone] {
        assert_eq!(opened().swept(&config, at(NOW + 61)), (vec!["sweden".to_owned()], Standings::default()));
    }
}

#[test]
fn it_is_for_its_apps_and_never_for_what_no_break_glass_names() {
    let labels = |names: &[&str]| -> Vec<std::sync::Arc<str>> { names.iter().map(|name| (*name).into()).collect() };
    let (personal, health) = (labels(&["eu_personal"]), labels(&["eu_personal", "health"]));
    let open = opened();
    let of = |labels, class| Data { labels, class, ..Data::PLAIN };

    assert_eq!(lifted(&open, "claims", &of(&personal, Class::Confidential), NOW + 61), [1]);
    assert_eq!(lifted(&open, "search", &of(&personal, Class::Confidential), NOW + 61), NOTHING);
    assert_eq!(lifted(&open, "claims", &of(&health, Class::Internal), NOW + 61), NOTHING);
    assert_eq!(lifted(&open, "claims", &of(&personal, Class::Secret), NOW + 61), NOTHING);
}

#[test]
fn an_answer_shows_people_as_the_records_do_and_they_are_kept_as_they_are() {
    let waits = |user| Standings::default().asked(&grant(), named("security", ("i", user)), "fire").unwrap().1;
    let (turned, other) = (waits("bob\u{202e}"), waits("bob\\u{202e}"));

    let shown = turned.shown().0["sweden"].first.subject.clone().unwrap();

    assert_eq!(&*shown.user, "bob\\u{202e}");
    assert!(turned.asked(&grant(), named("security", ("i", "bob\\u{202e}")), "fire").is_ok(), "two people");
    assert_ne!(other.shown(), turned.shown());
}

#[test]
fn what_is_open_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = BreakGlass::default();
    first.open(folder.path()).unwrap();
    first.change(&Standings::default(), opened()).unwrap();

    let second = BreakGlass::default();
    second.open(folder.path()).unwrap();

    assert_eq!(second.current(), first.current());
    std::fs::write(folder.path().join("break-glass/break-glass.json"), "{}").unwrap();
    assert!(BreakGlass::default().open(folder.path()).is_err(), "what is damaged opens nothing and is said");
}

/// Two processes of one state folder, as during an upgrade.
fn two(folder: &Path) -> (BreakGlass, BreakGlass) {
    let (one, other) = (BreakGlass::default(), BreakGlass::default());
    one.open(folder).unwrap();
    other.open(folder).unwrap();
    (one, other)
}

#[test]
fn what_another_process_has_closed_meanwhile_is_not_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = two(folder.path());
    let (_, waits) = Standings::default().asked(&grant(), person("oscar", false, NOW), "fire").unwrap();
    one.change(&Standings::default(), waits.clone()).unwrap();
    other.look().unwrap();

    // The second person asks, and while that is recorded the first takes it back at the other process.
    let (_, open) = waits.asked(&grant(), person("sam", true, NOW + 60), "fire").unwrap();
    other.close(|all| all.without("sweden")).unwrap();
    let late = one.change(&waits, open);

    assert!(matches!(late, Err(KeptError::Changed(_))), "{late:?}");
    one.look().unwrap();
    assert_eq!(*one.current(), Standings::default());
    let (_, waits) = Standings::default().asked(&grant(), person("oscar", false, NOW), "fire").unwrap();
    one.change(&Standings::default(), waits).unwrap();
}

#[test]
fn closing_one_grant_leaves_what_another_process_made_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = two(folder.path());
    one.change(&Standings::default(), opened()).unwrap();
    let norway = Grant { name: "norway".to_owned(), ..grant() };
    other.look().unwrap();
    let before = Standings::clone(&other.current());
    let (_, both) = before.asked(&norway, person("oscar", false, NOW), "fire").unwrap();
    other.change(&before, both.clone()).unwrap();

    one.close(|all| all.without("sweden")).unwrap();

    assert_eq!(*one.current(), both.without("sweden"));
    other.look().unwrap();
    assert_eq!(other.current(), one.current());
}

#[test]
fn a_file_that_was_removed_by_hand_closes_all_and_keeps_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _) = two(folder.path());
    one.change(&Standings::default(), opened()).unwrap();

    std::fs::remove_file(folder.path().join("break-glass/break-glass.json")).unwrap();
    let late = one.change(&opened(), opened());
    one.look().unwrap();
    let (_, waits) = one.current().asked(&grant(), person("oscar", false, NOW), "fire").unwrap();
    one.change(&Standings::default(), waits.clone()).unwrap();

    assert!(matches!(late, Err(KeptError::Changed(_))), "{late:?}");
    assert_eq!(*one.current(), waits);
}

#[test]
fn a_grant_is_closed_although_the_file_says_nothing_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _) = two(folder.path());
    one.change(&Standings::default(), opened()).unwrap();
    std::fs::write(folder.path().join("break-glass/break-glass.json"), "{").unwrap();

    one.close(|all| all.without("sweden")).unwrap();

    assert_eq!(*one.current(), Standings::default());
    let (again, _) = two(folder.path());
    assert_eq!(*again.current(), Standings::default());
}
