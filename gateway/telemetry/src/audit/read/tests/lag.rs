//! Second places that hold not all that they could: what they vouch for, and what nobody does.

use super::super::super::copies;
use super::*;

const ONLY: &str = "gw-1/0000000001";

/// Keeps of the copies of the only epoch those of at most `size` entries.
fn keep_copies(state: &Path, size: u64) {
    let file = state.join("witness/gw-1/0000000001.checkpoints");
    let (notes, _) = copies::notes(&fs::read_to_string(&file).unwrap());
    let kept = notes.into_iter().filter(|note| Checkpoint::claimed(note).unwrap().size <= size);
    fs::write(file, kept.collect::<String>()).unwrap();
}

/// Signs anew what is there, with the gateway's own key.
fn sign(state: &Path) {
    let epoch = state.join("audit").join(ONLY);
    let mut growth = Growth::default();
    entries_of(&epoch.join("tile/entries/000")).iter().for_each(|entry| growth.push(leaf(entry)));
    let forged = Checkpoint { log: ONLY.to_owned(), size: growth.size(), root: growth.root() };
    fs::write(epoch.join("checkpoint"), forged.sign([&key(1)])).unwrap();
}

fn change(state: &Path, from: &str, to: &str) {
    replace(&state.join("audit").join(ONLY).join("tile/entries/000"), from, to);
    sign(state);
}

/// A second place: its name, how many entries it vouches for of seven and one with a seal, the verdict, and how it came to
/// be so. The log has its opening, a request in the same moment, and a minute later two requests that lie `apart`.
type Lag = (&'static str, Duration, (u64, Verdict), fn(&Path));

const LAGS: &[Lag] = &[
    ("every checkpoint was copied", Duration::from_secs(3_600), (7, Verdict::Whole), |_| {}),
    ("the last copy is missing for less than an interval", Duration::from_secs(4), (3, Verdict::Whole), |state| {
        keep_copies(state, 3);
    }),
    ("the last copy is missing for just as long as it may", COPIED_WITHIN, (3, Verdict::Whole), |state| {
        keep_copies(state, 3);
    }),
    (
        "the last copy is missing for longer than it may",
        COPIED_WITHIN.saturating_add(Duration::from_micros(1)),
        (3, Verdict::Unwitnessed),
        |state| keep_copies(state, 3),
    ),
    (
        "an entry is changed and signed anew, and the copy is an early one",
        Duration::from_secs(4),
        (1, Verdict::Unwitnessed),
        |state| {
            keep_copies(state, 1);
            change(state, "claims-1", "claims-2");
        },
    ),
    (
        "an entry is changed, and the last one dated before all others",
        Duration::from_secs(3_600),
        (3, Verdict::Unwitnessed),
        |state| {
            keep_copies(state, 3);
            edit(&state.join("audit").join(ONLY).join("tile/entries/000"), |entries| {
                let last = entries.last_mut().unwrap();
                *last = String::from_utf8_lossy(last).replace("\"at\":\"2026", "\"at\":\"1970").into_bytes();
            });
            sign(state);
        },
    ),
    ("the only copy is one of nothing", Duration::from_secs(4), (0, Verdict::Unwitnessed), |state| {
        let nothing = Checkpoint { log: ONLY.to_owned(), size: 0, root: Growth::default().root() };
        let file = state.join("witness/gw-1/0000000001.checkpoints");
        fs::write(file, nothing.sign([&key(1)])).unwrap();
    }),
    ("an entry is changed that a copy covers", Duration::from_secs(4), (1, Verdict::Damaged), |state| {
        change(state, "claims-1", "claims-2");
    }),
    (
        "the log is closed, and the copy of its end is missing",
        Duration::from_secs(4),
        (7, Verdict::Unwitnessed),
        |state| {
            keep_copies(state, 7);
        },
    ),
];

#[test]
fn what_lies_beyond_the_last_copy_is_told_and_counts_as_unwitnessed_unless_it_is_of_the_last_seconds() {
    let mut wrong = Vec::new();

    for (name, apart, (vouched, verdict), spoil) in LAGS {
        let is_closed = name.contains("closed");
        let state = tempfile::tempdir().unwrap();
        let log = AuditLog::open(settings(state.path()), now()).unwrap();
        log.shared.settle();
        let later = now() + Duration::from_secs(60);
        for (decision, at) in [("first", now()), ("second", later), ("third", later + *apart)] {
            ask_at(&log, [decision.to_owned()], at);
            log.flush().unwrap();
            if decision != "second" {
                log.checkpoint().unwrap();
                log.shared.settle();
            }
        }
        if is_closed {
            seal(&log);
        }
        drop(log);
        spoil(state.path());

        let report = verify_at(state.path());

        let all = if is_closed { 8 } else { 7 };
        let told = [&report.unwitnessed, &report.notes].into_iter().flatten();
        let number = format!("the last {} of {all} entries", all - vouched);
        let is_told = *vouched == all || told.into_iter().any(|finding| finding.what.contains(&number));
        if (report.vouched, report.entries, report.verdict()) != (*vouched, all, *verdict)
            || (*verdict != Verdict::Damaged && !is_told)
        {
            wrong.push(format!("{name}: {report:?}"));
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
}
