//! Logs of real gateways' threads, changed in every way that somebody might try.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::bundle::Entries;
use super::super::checkpoint::Checkpoint;
use super::super::tree::{Growth, leaf};
use super::super::{
    AuditLog, CandidateNote, Durability, EstimateNote, Intent, Outcome, SecondPlace, Settings, SigningKey, VerifierKey,
};
use super::*;

mod lag;

const FIRST: &str = "gw-1/0000000001";
const KILLED: &str = "gw-1/0000000002";
const LATEST: &str = "gw-1/0000000003";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_795_472_224, 123_456_789)
}

fn key(seed: u8) -> SigningKey {
    SigningKey::new("gw-1", &[seed; 32]).unwrap()
}

fn keys() -> Vec<VerifierKey> {
    vec![key(1).public().clone()]
}

fn settings(state: &Path) -> Settings {
    Settings {
        folder: state.join("audit"),
        scratch: state.join("scratch"),
        origin: "gw-1".to_owned(),
        durability: Durability::Os,
        key: key(1),
        witness: Some(SecondPlace::Folder(state.join("witness"))),
        reserve: state.join("reserve"),
    }
}

fn ask(log: &AuditLog, decisions: impl IntoIterator<Item = String>) {
    ask_at(log, decisions, now());
}

fn ask_at(log: &AuditLog, decisions: impl IntoIterator<Item = String>, at: SystemTime) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for decision in decisions {
        let intent = Intent {
            decision: &decision,
            at,
            waited: None,
            app: "claims",
            team: "insurance",
            key: Some("claims-1"),
            user: None,
            model: "chat-large",
            api: "chat",
            stream: true,
            peer: Some("192.168.1.9".parse().unwrap()),
            trace: None,
            policy: "sha256:aa",
            pack: "2026-11-27 sha256:00",
            configuration: "sha256:bb",
            candidates: &[CandidateNote { target: "gpu-01/llama", verdict: "in", ..CandidateNote::default() }],
            basis: &[],
            plan: &["gpu-01/llama"],
            reason: "own capacity: first token in 0.41 s, within 1.50 s",
            estimate: EstimateNote { input: 100, output: 1024 },
            money: 1_500,
            prices: "2026-11-26 sha256:00",
            features: &[],
            data: None,
            findings: &[],
            break_glass: None,
            capture: None,
        };
        runtime.block_on(log.intent(&intent)).unwrap().close(Outcome {
            at,
            status: Some(200),
            code: None,
            usage: None,
            settled_by: "reported",
            lost_tokens: 0,
            charged: 700,
            priced: true,
            to_first_byte: None,
            total: Duration::from_millis(80),
            end: super::super::End::Complete,
        });
    }
}

fn seal(log: &AuditLog) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(log.seal("drained", now())).unwrap();
}

/// Lets go of a log here and now. Its own threads hold it for moments; whoever lets go last writes what waits.
fn leave(log: AuditLog) {
    let mut shared = log.shared;
    while let Err(held) = Arc::try_unwrap(shared) {
        thread::yield_now();
        shared = held;
    }
}

/// A first epoch of three bundles that was closed; a second that was killed while it wrote, with entries behind its last
/// checkpoint and half of one at its end; a third that runs.
struct World(TempDir);

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let state = tempfile::tempdir().unwrap();
    let open = || AuditLog::open(settings(state.path()), now()).unwrap();
    let first = open();
    ask(&first, (0..300).map(|number| format!("first-{number}")));
    first.checkpoint().unwrap();
    seal(&first);
    drop(first);
    let killed = open();
    ask(&killed, (0..20).map(|number| format!("killed-{number}")));
    killed.checkpoint().unwrap();
    ask(&killed, (20..25).map(|number| format!("killed-{number}")));
    leave(killed);
    let bundle = state.path().join("audit").join(KILLED).join("tile/entries/000");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes.extend_from_slice(b"\x01\x00{\"kind\":\"int");
    fs::write(&bundle, bytes).unwrap();
    let latest = open();
    ask(&latest, (0..10).map(|number| format!("latest-{number}")));
    latest.flush().unwrap();
    latest.checkpoint().unwrap();
    latest.shared.settle();
    leave(latest);
    World(state)
});

impl World {
    /// A copy to be spoilt.
    fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.0.path(), copy.path());
        copy
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            drop(fs::copy(entry.path(), to));
        }
    }
}

fn verify_at(state: &Path) -> Report {
    let witness = state.join("witness");
    verify(&state.join("audit"), &Trust { keys: &keys(), witness: Some(&witness), fleet: None }).unwrap()
}

fn verify_unwitnessed(state: &Path) -> Report {
    verify(&state.join("audit"), &Trust { keys: &keys(), witness: None, fleet: None }).unwrap()
}

fn entries_of(bundle: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(bundle).unwrap();
    Entries::new(&bytes).map_while(Result::ok).map(<[u8]>::to_owned).collect()
}

fn write_entries(bundle: &Path, entries: &[Vec<u8>]) {
    let frame = |entry: &Vec<u8>| [&(entry.len() as u16).to_be_bytes()[..], entry].concat();
    fs::write(bundle, entries.iter().flat_map(frame).collect::<Vec<u8>>()).unwrap();
}

/// Changes the entries of a bundle, and leaves alone what stands behind them.
fn edit(bundle: &Path, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut entries = entries_of(bundle);
    let length: usize = entries.iter().map(|entry| entry.len() + 2).sum();
    let rest = fs::read(bundle).unwrap().split_off(length);
    change(&mut entries);
    write_entries(bundle, &entries);
    let changed = fs::read(bundle).unwrap();
    fs::write(bundle, [changed, rest].concat()).unwrap();
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn replace(file: &Path, from: &str, to: &str) {
    edit(file, |entries| {
        let entry =
            entries.iter_mut().find(|entry| String::from_utf8_lossy(entry).contains(from)).expect("it is there");
        *entry = String::from_utf8_lossy(entry).replace(from, to).into_bytes();
    });
}

#[test]
fn a_log_that_nobody_touched_is_whole_and_the_crash_in_it_is_told() {
    let report = verify_at(WORLD.0.path());

    assert_eq!(report.verdict(), Verdict::Whole, "{report:?}");
    assert_eq!((report.origins, report.epochs), (1, 3));
    assert_eq!((report.entries, report.vouched), (602 + 51 + 21, 602 + 51 + 21));
    assert_eq!(report.kinds["intent"], 335);
    assert_eq!(report.unsigned, 0);
    let notes: Vec<String> = report.notes.iter().map(ToString::to_string).collect();
    assert!(notes.iter().any(|note| note.starts_with(KILLED) && note.contains("half an entry")), "{notes:?}");
}

#[test]
fn without_a_second_place_a_log_is_only_consistent_with_itself() {
    let report = verify_unwitnessed(WORLD.0.path());

    assert_eq!(report.verdict(), Verdict::Unwitnessed);
    assert!(report.damage.is_empty());
    assert_eq!(report.vouched, 0);
}

/// A way to change a log: its name, where it is found, and how it is done to the copy at this path.
type Tampering = (&'static str, &'static str, fn(&Path));

const TAMPERINGS: &[Tampering] = &[
    ("one byte of an entry is changed", FIRST, |log| {
        replace(&log.join(FIRST).join("tile/entries/001"), "claims-1", "claims-2");
    }),
    ("an entry is changed where no checkpoint came after", KILLED, |log| {
        replace(&log.join(KILLED).join("tile/entries/000"), "killed-24", "killed-42");
    }),
    ("an entry is no JSON any more", "tile/entries/000 entry 1 ", |log| {
        edit(&log.join(FIRST).join("tile/entries/000"), |entries| entries[1][1] = b'!');
    }),
    ("an entry is removed", FIRST, |log| {
        edit(&log.join(FIRST).join("tile/entries/000"), |entries| drop(entries.remove(7)));
    }),
    ("an entry is removed at the end of a killed epoch", KILLED, |log| {
        edit(&log.join(KILLED).join("tile/entries/000"), |entries| drop(entries.pop()));
    }),
    ("an entry is put in", FIRST, |log| {
        edit(&log.join(FIRST).join("tile/entries/002.p/90"), |entries| entries.insert(3, entries[2].clone()));
    }),
    ("two entries change places", FIRST, |log| {
        edit(&log.join(FIRST).join("tile/entries/001"), |entries| entries.swap(4, 9));
    }),
    ("an entry stands twice instead of another", FIRST, |log| {
        edit(&log.join(FIRST).join("tile/entries/001"), |entries| entries[5] = entries[4].clone());
    }),
    ("the length of an entry is changed", "tile/entries/001 byte 0", |log| {
        flip(&log.join(FIRST).join("tile/entries/001"), 1);
    }),
    ("two bundles change places", FIRST, |log| {
        let (a, b) = (log.join(FIRST).join("tile/entries/000"), log.join(FIRST).join("tile/entries/001"));
        let bytes = fs::read(&a).unwrap();
        fs::copy(&b, &a).unwrap();
        fs::write(&b, bytes).unwrap();
    }),
    ("a bundle is removed", "entries 256 to 511", |log| {
        fs::remove_file(log.join(FIRST).join("tile/entries/001")).unwrap();
    }),
    ("the last bundle is removed", FIRST, |log| {
        fs::remove_dir_all(log.join(FIRST).join("tile/entries/002.p")).unwrap();
    }),
    ("a bundle is cut short", FIRST, |log| {
        let bundle = log.join(FIRST).join("tile/entries/002.p/90");
        let bytes = fs::read(&bundle).unwrap();
        fs::write(bundle, &bytes[..bytes.len() - 40]).unwrap();
    }),
    ("the closing entry is removed and the bundle renamed", FIRST, |log| {
        let folder = log.join(FIRST).join("tile/entries/002.p");
        edit(&folder.join("90"), |entries| drop(entries.pop()));
        fs::rename(folder.join("90"), folder.join("89")).unwrap();
    }),
    ("a bundle is named for another number of entries", "002.p/91", |log| {
        let folder = log.join(FIRST).join("tile/entries/002.p");
        fs::rename(folder.join("90"), folder.join("91")).unwrap();
    }),
    ("bytes are written behind the last entry", LATEST, |log| {
        let bundle = log.join(LATEST).join("tile/entries/000");
        let bytes = fs::read(&bundle).unwrap();
        fs::write(bundle, [&bytes[..], b"more"].concat()).unwrap();
    }),
    ("entries are written behind the closing one", FIRST, |log| {
        edit(&log.join(FIRST).join("tile/entries/002.p/90"), |entries| entries.push(entries[0].clone()));
    }),
    ("half an entry that the next epoch owned up to is changed", KILLED, |log| {
        let bundle = log.join(KILLED).join("tile/entries/000");
        let last = fs::read(&bundle).unwrap().len() - 1;
        flip(&bundle, last);
    }),
    ("the checkpoint is removed", "0000000001/checkpoint", |log| {
        fs::remove_file(log.join(FIRST).join("checkpoint")).unwrap();
    }),
    ("the checkpoint is the one of another epoch", "0000000001/checkpoint", |log| {
        fs::copy(log.join(LATEST).join("checkpoint"), log.join(FIRST).join("checkpoint")).unwrap();
    }),
    ("the checkpoint is signed by a stranger", "0000000003/checkpoint", |log| {
        let path = log.join(LATEST).join("checkpoint");
        let claimed = Checkpoint::claimed(&fs::read_to_string(&path).unwrap()).unwrap();
        fs::write(path, claimed.sign([&key(9)])).unwrap();
    }),
    ("the signature is changed", "0000000003/checkpoint", |log| {
        let path = log.join(LATEST).join("checkpoint");
        let at = fs::read(&path).unwrap().len() - 20;
        flip(&path, at);
    }),
    ("the root in the checkpoint is changed", "0000000003/checkpoint", |log| {
        let path = log.join(LATEST).join("checkpoint");
        let mut claimed = Checkpoint::claimed(&fs::read_to_string(&path).unwrap()).unwrap();
        let note = fs::read_to_string(&path).unwrap();
        claimed.root[0] ^= 1;
        let forged = claimed.sign([&key(9)]);
        let signatures = note.split_once("\n\n").unwrap().1;
        fs::write(path, format!("{}\n\n{signatures}", forged.split_once("\n\n").unwrap().0)).unwrap();
    }),
    ("an older state is put back whole, checkpoint and all", LATEST, |log| {
        let epoch = log.join(LATEST);
        edit(&epoch.join("tile/entries/000"), |entries| entries.truncate(5));
        let mut growth = Growth::default();
        entries_of(&epoch.join("tile/entries/000")).iter().for_each(|entry| growth.push(leaf(entry)));
        let older = Checkpoint { log: LATEST.to_owned(), size: 5, root: growth.root() };
        // Even with the key that signed it.
        fs::write(epoch.join("checkpoint"), older.sign([&key(1)])).unwrap();
    }),
    ("a tile of hashes is changed", "tile/0/001", |log| flip(&log.join(FIRST).join("tile/0/001"), 40)),
    ("a tile of hashes is removed", "tile/0/000", |log| fs::remove_file(log.join(FIRST).join("tile/0/000")).unwrap()),
    ("the hashes of the last tile are changed", "tile/0/002.p/90", |log| {
        flip(&log.join(FIRST).join("tile/0/002.p/90"), 40);
    }),
    ("an epoch in the middle is removed", KILLED, |log| fs::remove_dir_all(log.join(KILLED)).unwrap()),
    ("the first epoch is removed", FIRST, |log| fs::remove_dir_all(log.join(FIRST)).unwrap()),
    ("the latest epoch is removed", LATEST, |log| fs::remove_dir_all(log.join(LATEST)).unwrap()),
    ("two epochs change places", FIRST, |log| {
        fs::rename(log.join(FIRST), log.join("elsewhere")).unwrap();
        fs::rename(log.join(LATEST), log.join(FIRST)).unwrap();
        fs::rename(log.join("elsewhere"), log.join(LATEST)).unwrap();
    }),
    ("an epoch is put in", "gw-1/0000000004", |log| copy_folder(&log.join(LATEST), &log.join("gw-1/0000000004"))),
    ("a file is put beside the bundles", "tile/entries/003.bak", |log| {
        fs::write(log.join(FIRST).join("tile/entries/003.bak"), "x").unwrap();
    }),
    ("a file is put into an epoch", "0000000001/notes.txt", |log| {
        fs::write(log.join(FIRST).join("notes.txt"), "").unwrap();
    }),
    ("an empty folder is put into an epoch", "0000000001/more", |log| {
        fs::create_dir(log.join(FIRST).join("more")).unwrap();
    }),
    ("a file is put beside the epochs", "gw-1/readme", |log| fs::write(log.join("gw-1/readme"), "x").unwrap()),
    ("a file is put beside the logs", ".hidden", |log| fs::write(log.join(".hidden"), "x").unwrap()),
    ("the log of one of two gateways is removed whole", "gw-1", |log| {
        let other =
            Settings { origin: "gw-2".to_owned(), key: key(2), witness: None, ..settings(log.parent().unwrap()) };
        seal(&AuditLog::open(other, now()).unwrap());
        fs::remove_dir_all(log.join("gw-1")).unwrap();
    }),
    ("the whole log is written anew with its own key", "gw-1", |log| {
        let state = log.parent().unwrap();
        fs::remove_dir_all(log).unwrap();
        let forged = AuditLog::open(Settings { witness: None, ..settings(state) }, now()).unwrap();
        ask(&forged, (0..335).map(|number| format!("forged-{number}")));
        seal(&forged);
    }),
];

#[test]
fn every_kind_of_tampering_is_found_with_its_place() {
    assert!(TAMPERINGS.len() >= 20);
    let mut missed = Vec::new();

    for (name, place, tamper) in TAMPERINGS {
        let copy = WORLD.copy();
        tamper(&copy.path().join("audit"));

        let report = verify_at(copy.path());

        let told = report.damage.iter().any(|damage| damage.place.contains(place.trim_end()));
        if report.verdict() != Verdict::Damaged || !told {
            missed.push(format!("{name}: {:?} {:?}", report.verdict(), report.damage));
        }
    }

    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_log_that_was_written_anew_with_its_own_key_is_consistent_with_itself_and_only_the_second_place_shows_it() {
    let copy = WORLD.copy();
    let (_, _, tamper) = TAMPERINGS.last().unwrap();
    tamper(&copy.path().join("audit"));

    assert_eq!(verify_unwitnessed(copy.path()).verdict(), Verdict::Unwitnessed);
    assert_eq!(verify_at(copy.path()).verdict(), Verdict::Damaged);
}

#[test]
fn a_gateway_that_shares_the_second_place_and_whose_key_was_not_given_is_only_mentioned() {
    let copy = WORLD.copy();
    let witness = copy.path().join("witness");
    fs::create_dir(witness.join("gw-2")).unwrap();
    let other = Checkpoint { log: "gw-2/0000000001".to_owned(), size: 1, root: [0; 32] };
    fs::write(witness.join("gw-2/0000000001.checkpoints"), other.sign([&key(2)])).unwrap();
    let with = |keys: &[VerifierKey]| {
        verify(&copy.path().join("audit"), &Trust { keys, witness: Some(&witness), fleet: None }).unwrap()
    };

    let one = with(&keys());
    let both = with(&[key(1).public().clone(), key(2).public().clone()]);

    assert_eq!(one.verdict(), Verdict::Whole, "{one:?}");
    assert!(one.notes.iter().any(|note| note.place == "gw-2"), "{one:?}");
    assert_eq!(both.damage.iter().map(|damage| damage.place.as_str()).collect::<Vec<_>>(), ["gw-2"]);
}

#[test]
fn a_folder_beside_the_log_is_told_from_it_and_a_log_with_another_inside_is_not() {
    let state = WORLD.0.path().canonicalize().unwrap();
    let log = state.join("audit");

    assert_eq!(meant(&log), None);
    for beside in [state.clone(), log.join("gw-1"), log.join("gw-1/0000000001")] {
        assert_eq!(meant(&beside), Some(log.clone()), "{}", beside.display());
    }
    let copy = WORLD.copy();
    let inside = copy.path().join("audit/audit/gw-1/0000000001/tile/entries");
    fs::create_dir_all(inside).unwrap();
    assert_eq!(meant(&copy.path().join("audit")), None);
    assert_eq!(verify_at(copy.path()).verdict(), Verdict::Damaged);
    assert_eq!(meant(tempfile::tempdir().unwrap().path()), None);
}

#[test]
fn an_origin_that_is_missing_or_foreign_is_told_from_the_fleet() {
    let of = |fleet: &[&str]| {
        let fleet: Vec<String> = fleet.iter().map(|origin| (*origin).to_owned()).collect();
        let trust = Trust { keys: &keys(), witness: None, fleet: Some(&fleet) };
        verify(&WORLD.0.path().join("audit"), &trust).unwrap().damage
    };

    assert_eq!(of(&["gw-1"]), []);
    assert_eq!(of(&["gw-1", "gw-2"])[0].place, "gw-2");
    assert_eq!(of(&["gw-2"]).len(), 2);
}

#[test]
fn what_may_not_be_read_is_unknown_and_a_folder_without_logs_as_well() {
    let empty = tempfile::tempdir().unwrap();
    let trust = Trust { keys: &keys(), witness: None, fleet: None };

    assert_eq!(verify(empty.path(), &trust).unwrap().verdict(), Verdict::Unreadable);
    assert!(verify(&empty.path().join("nowhere"), &trust).is_err());
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = files_below(folder).unwrap();
    files.retain(|file| fs::metadata(file).unwrap().len() > 0);
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_byte_of_any_file_can_be_changed_unseen(file: prop::sample::Index, at: prop::sample::Index, bit in 0_u8..8) {
        let copy = WORLD.copy();
        let files = all_files(&copy.path().join("audit"));
        let file = file.get(&files);
        let mut bytes = fs::read(file).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(file, bytes).unwrap();

        let report = verify_at(copy.path());

        prop_assert_eq!(report.verdict(), Verdict::Damaged, "{} byte {}", file.display(), at);
    }
}

#[test]
fn a_shown_record_is_believed_by_itself_and_not_when_anything_of_it_is_changed() {
    for decision in ["first-0", "first-299", "killed-3", "latest-9"] {
        let shown = show(&WORLD.0.path().join("audit"), decision).unwrap();

        assert_eq!(shown.len(), 2, "{decision}");
        for shown in shown {
            shown.verify(&keys()).unwrap();
            assert!(shown.verify(&[key(2).public().clone()]).is_err());
            let changed = Shown { entry: shown.entry.replace("claims", "others"), ..shown.clone() };
            assert!(changed.verify(&keys()).is_err() || changed.entry == shown.entry);
            assert!(Shown { index: shown.index + 1, ..shown.clone() }.verify(&keys()).is_err());
            assert!(Shown { epoch: "0000000009".to_owned(), ..shown.clone() }.verify(&keys()).is_err());
            assert!(Shown { proof: None, ..shown }.verify(&keys()).is_err());
        }
    }
}

#[test]
fn an_entry_behind_the_last_checkpoint_is_shown_without_a_proof() {
    let shown = show(&WORLD.0.path().join("audit"), "killed-24").unwrap();

    assert_eq!(shown.len(), 2);
    assert!(shown.iter().all(|shown| shown.proof.is_none()));
}

#[test]
fn a_new_key_is_believed_because_the_old_one_signed_its_coming() {
    let state = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let first = AuditLog::open(settings(state.path()), now()).unwrap();
    runtime.block_on(first.rotate(key(2), "file", now())).unwrap();
    ask(&first, ["after".to_owned()]);
    seal(&first);
    let second = AuditLog::open(Settings { key: key(2), ..settings(state.path()) }, now()).unwrap();
    seal(&second);

    assert_eq!(verify_at(state.path()).verdict(), Verdict::Whole, "{:?}", verify_at(state.path()));

    let third = AuditLog::open(Settings { key: key(3), ..settings(state.path()) }, now()).unwrap();
    seal(&third);
    let damage = verify_at(state.path()).damage;
    assert!(damage.iter().any(|damage| damage.place == "gw-1/0000000003/checkpoint"), "{damage:?}");
}

#[test]
fn scanning_shows_every_entry_once_and_in_order() {
    let mut seen = Vec::new();

    scan(
        &WORLD.0.path().join("audit"),
        |_| true,
        |stand, entry| {
            assert!(Line::parse(entry).is_some());
            seen.push((stand.epoch.to_owned(), stand.index));
            Ok(())
        },
    )
    .unwrap();

    assert_eq!(seen.len(), 602 + 51 + 21);
    assert!(seen.is_sorted());
}
