//! What is kept, what is not, and when it goes.

use super::*;

const KEY: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

fn rules() -> Rules {
    Rules { recipients: vec![Recipient::parse(KEY).unwrap()], days: 30, bytes_a_day: 10_000 }
}

fn at(day: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((20_000 + day) * 86_400 + 3_600)
}

fn subject(decision: &str, day: u64) -> Subject<'_> {
    Subject { app: "claims", decision, at: at(day) }
}

fn answer(vault: &Vault, subject: Subject<'_>, text: &[u8]) -> Result<String, CaptureError> {
    let mut held = vault.hold();
    held.push(text);
    vault.answer(subject, &rules(), &held)
}

fn opened(folder: &Path) -> Vault {
    let vault = Vault::default();
    vault.open(folder.join("captures"));
    vault
}

#[tokio::test]
async fn a_request_is_in_its_file_when_its_digest_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path());

    let hash = vault.request(subject("d-1", 0), &rules(), b"a prompt").await.unwrap();

    let file = folder.path().join("captures/claims/2024-10-04.30d/d-1.request.age");
    let bytes = fs::read(&file).unwrap();
    let digest: String = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, digest);
    assert!(!bytes.windows(8).any(|window| window == b"a prompt"));
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
    assert_eq!(vault.status(), CaptureStatus { kept: 1, ..CaptureStatus::default() });
}

#[tokio::test]
async fn an_app_keeps_no_more_a_day_than_it_may_also_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path());
    vault.request(subject("d-1", 0), &rules(), &[b'x'; 6_000]).await.unwrap();

    let again = opened(folder.path());
    let beyond = again.request(subject("d-2", 0), &rules(), &[b'x'; 6_000]).await;
    let answer = answer(&again, subject("d-2", 0), &[b'x'; 6_000]);
    let next_day = again.request(subject("d-3", 1), &rules(), &[b'x'; 6_000]).await;

    assert!(matches!(beyond, Err(CaptureError::DayIsFull(held)) if held > 6_000), "{beyond:?}");
    assert!(matches!(answer, Err(CaptureError::DayIsFull(_))), "{answer:?}");
    assert!(next_day.is_ok(), "{next_day:?}");
    assert_eq!(again.status().failed, 2);
}

#[tokio::test]
async fn an_answer_that_the_writer_finds_to_be_beyond_its_day_is_not_kept_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path()).request(subject("d-1", 0), &rules(), &[b'x'; 6_000]).await.unwrap();

    let again = opened(folder.path());
    let answer = answer(&again, subject("d-2", 0), &[b'x'; 6_000]);
    // The writer takes one after the other: when this one is written, the answer is done with.
    let after = again.request(subject("d-3", 1), &rules(), b"a prompt").await;

    assert!(answer.is_ok() && after.is_ok(), "{answer:?} {after:?}");
    assert_eq!(again.status(), CaptureStatus { kept: 1, failed: 1, ..CaptureStatus::default() });
    assert!(!folder.path().join("captures/claims/2024-10-04.30d/d-2.answer.age").exists());
}

#[tokio::test]
async fn yesterdays_answers_count_towards_yesterday_and_leave_today_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path());
    for day in [0, 1] {
        vault.request(subject("d-1", day), &rules(), &[b'x'; 6_000]).await.unwrap();
    }

    let answers = [0, 1].map(|day| answer(&vault, subject("d-1", day), &[b'x'; 2_000]));
    let beyond = [0, 1].map(|day| answer(&vault, subject("d-2", day), &[b'x'; 2_000]));

    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(beyond.iter().all(|one| matches!(one, Err(CaptureError::DayIsFull(_)))), "{beyond:?}");
}

#[tokio::test]
async fn what_the_disk_did_not_take_does_not_count_towards_the_day() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("captures"), "a file where the folder should be").unwrap();
    let vault = opened(folder.path());

    let refused = vault.request(subject("d-1", 0), &rules(), &[b'x'; 6_000]).await;
    fs::remove_file(folder.path().join("captures")).unwrap();
    let taken = vault.request(subject("d-2", 0), &rules(), &[b'x'; 6_000]).await;

    assert!(matches!(refused, Err(CaptureError::Disk(_))), "{refused:?}");
    assert!(taken.is_ok(), "{taken:?}");
}

#[tokio::test]
async fn a_disk_that_takes_nothing_fails_the_request_and_is_shown_until_it_takes_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("captures"), "a file where the folder should be").unwrap();
    let vault = opened(folder.path());

    let refused = vault.request(subject("d-1", 0), &rules(), b"a prompt").await;
    let failing = vault.status();
    fs::remove_file(folder.path().join("captures")).unwrap();
    let taken = vault.request(subject("d-2", 0), &rules(), b"a prompt").await;

    assert!(matches!(refused, Err(CaptureError::Disk(_))), "{refused:?}");
    assert_eq!((failing.failed, failing.failing, failing.waiting_bytes), (1, true, 0));
    assert!(taken.is_ok() && !vault.status().failing);
}

#[tokio::test]
async fn what_would_wait_beyond_the_bound_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path());
    vault.0.figures.waiting.store(MOST_WAITING - 100, Ordering::Relaxed);

    let beyond = answer(&vault, subject("d-1", 0), b"an answer");
    let closed = answer(&Vault::default(), subject("d-1", 0), b"an answer");

    assert!(matches!(beyond, Err(CaptureError::Waiting)), "{beyond:?}");
    assert!(matches!(closed, Err(CaptureError::Disk(_))), "{closed:?}");
    assert_eq!(vault.status().waiting_bytes, MOST_WAITING - 100);
}

#[tokio::test]
async fn an_answer_for_which_there_is_no_memory_is_not_kept_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path());
    vault.0.figures.held.store(MOST_HELD - 4, Ordering::Relaxed);

    let beginning = answer(&vault, subject("d-1", 0), b"an answer");
    vault.0.figures.held.store(MOST_HELD, Ordering::Relaxed);
    let nothing = answer(&vault, subject("d-2", 0), b"an answer");

    assert!(beginning.is_ok(), "{beginning:?}");
    assert!(matches!(nothing, Err(CaptureError::Memory)), "{nothing:?}");
    let status = vault.status();
    assert_eq!((status.cut, status.failed, status.held_bytes), (2, 1, MOST_HELD));
}

#[tokio::test]
async fn whole_days_go_when_their_time_is_over_or_when_fewer_are_kept_by_now() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path());
    for day in [0, 10, 29] {
        vault.request(subject("d-1", day), &rules(), b"a prompt").await.unwrap();
    }
    let left = || listed(&folder.path().join("captures/claims")).unwrap().len();

    let none = vault.retire(at(30), |_| None).unwrap();
    let first = vault.retire(at(31), |_| None).unwrap();
    let after_first = left();
    let second = vault.retire(at(31), |app| (app == "claims").then_some(20)).unwrap();

    assert_eq!((none, first, after_first, second, left()), (0, 1, 2, 1, 1));
    assert_eq!(vault.retire(at(4_000), |_| Some(9_999)).unwrap(), 1);
}

#[tokio::test]
async fn what_cannot_be_listed_is_told_and_holds_up_no_other_day() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path());
    for app in ["claims", "triage"] {
        vault.request(Subject { app, ..subject("d-1", 0) }, &rules(), b"a prompt").await.unwrap();
    }
    let captures = folder.path().join("captures");
    for stray in ["notes.txt", "claims/2024-10-04.1d", "triage/lost"] {
        fs::write(captures.join(stray), "a stray file").unwrap();
    }

    let first = vault.retire(at(31), |app| (app == "claims").then_some(30)).unwrap();
    vault.request(subject("d-2", 40), &rules(), b"a prompt").await.unwrap();
    for looped in ["a-loop", "z-loop", "claims/a-loop", "claims/z-loop"] {
        std::os::unix::fs::symlink(captures.join(looped), captures.join(looped)).unwrap();
    }
    let second = vault.retire(at(80), |_| None).unwrap_err();

    assert_eq!(first, 2, "stray files are passed over");
    assert!(second.to_string().contains("-loop: "), "{second}");
    assert!(!captures.join("claims/2024-11-13.30d").exists(), "it went all the same");
    assert!(captures.join("claims/2024-10-04.1d").exists());
}

#[test]
fn the_name_of_a_day_is_read_back_and_no_other_name_is_one() {
    let day = Date::from_calendar_date(2026, Month::November, 6).unwrap();

    assert_eq!(day_name(day, 183), "2026-11-06.183d");
    assert_eq!(day_of("2026-11-06.183d"), Some((day, 183)));
    for other in ["", "2026-11-06", "2026-11-06.d", "2026-13-06.1d", "2026-11-06.1", "notes.1d"] {
        assert_eq!(day_of(other), None, "{other}");
    }
}
