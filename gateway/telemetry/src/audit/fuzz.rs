//! What must hold for any bytes at all, as plain functions: seeded property tests call them, and so can a fuzzer.

use std::sync::LazyLock;

use super::bundle::Entries;
use super::checkpoint::Checkpoint;
use super::copies;
use super::note::SigningKey;
use super::read::{Line, Shown, proof_text};
use super::tree::{Growth, Hash, TILE, inclusion, is_included, leaf};

/// Any bytes are read as a bundle, as a checkpoint and as a record with its proof, and none that nobody signed is believed.
pub fn log(bytes: &[u8]) {
    bundle(bytes);
    let text = String::from_utf8_lossy(bytes);
    checkpoint(&text);
    shown(&text);
    proof(bytes);
    changed(bytes);
}

/// Entries stand in a bundle as they are read out of it, one behind the other up to where it is torn.
fn bundle(bytes: &[u8]) {
    let mut put_together = Vec::new();
    let mut torn = None;
    for entry in Entries::new(bytes) {
        assert_eq!(torn, None, "nothing is read behind a tear");
        match entry {
            Ok(entry) => {
                let length = u16::try_from(entry.len()).expect("a length has two bytes");
                put_together.extend_from_slice(&length.to_be_bytes());
                put_together.extend_from_slice(entry);
                if let Some(line) = Line::parse(entry) {
                    let _ = (line.time(), line.class(), line.written());
                }
            }
            Err(tear) => torn = Some(tear.at),
        }
    }
    assert_eq!(put_together, bytes.get(..torn.unwrap_or(bytes.len())).unwrap_or_default());
}

/// The log that is believed here.
struct Honest {
    key: SigningKey,
    note: String,
    checkpoint: Checkpoint,
    leaves: Vec<Hash>,
    /// The first, the last of a full tile, the first of the next, and the last: each as `audit show --json` prints it.
    shown: Vec<(Shown, Vec<u8>)>,
}

/// More than one tile, and not two.
const ENTRIES: u64 = 300;

static HONEST: LazyLock<Honest> = LazyLock::new(|| {
    let key = SigningKey::new("gw-1", &[7; 32]).expect("a seed makes a key");
    let entry = |index: u64| format!("{{\"kind\":\"intent\",\"decision\":\"cwd_{index}\"}}\n");
    let leaves: Vec<Hash> = (0..ENTRIES).map(|index| leaf(entry(index).as_bytes())).collect();
    let mut growth = Growth::default();
    leaves.iter().for_each(|leaf| growth.push(*leaf));
    let checkpoint = Checkpoint { log: "gw-1/0000000001".to_owned(), size: ENTRIES, root: growth.root() };
    let note = checkpoint.sign([&key]);
    let shown = [0, TILE - 1, TILE, ENTRIES - 1].map(|index| {
        let hashes = proof_of(&leaves, index).expect("the tree holds it");
        let shown = Shown {
            origin: "gw-1".to_owned(),
            epoch: "0000000001".to_owned(),
            index,
            entry: entry(index),
            proof: Some(proof_text(index, &hashes, &note)),
        };
        let json = serde_json::to_vec(&shown).expect("texts and numbers are JSON");
        (shown, json)
    });
    Honest { key, note, checkpoint, leaves, shown: shown.into() }
});

/// From the tiles that such a log has.
fn proof_of(leaves: &[Hash], index: u64) -> Option<Vec<Hash>> {
    let tile = |level: u8, number: u64| {
        let full = usize::try_from(TILE).ok()?;
        let of_leaves = |number: u64| leaves.chunks(full).nth(usize::try_from(number).ok()?).map(<[Hash]>::to_vec);
        if level == 0 {
            return of_leaves(number);
        }
        let whole = leaves.chunks_exact(full).map(|leaves| {
            let mut growth = Growth::default();
            leaves.iter().for_each(|leaf| growth.push(*leaf));
            growth.root()
        });
        (level == 1 && number == 0).then(|| whole.collect())
    };
    inclusion(index, leaves.len() as u64, &tile)
}

/// What opens says what was signed, and a file of copies is cut into its notes without a loss.
fn checkpoint(text: &str) {
    let keys = [HONEST.key.public().clone()];
    if let Ok(opened) = Checkpoint::open(text, &keys) {
        assert_eq!(opened, HONEST.checkpoint, "nobody signed this: {text:?}");
    }
    if let Some(claimed) = Checkpoint::claimed(text) {
        let signed = claimed.sign([&HONEST.key]);
        assert_eq!(Checkpoint::open(&signed, &keys), Ok(claimed), "what is signed is read back");
    }
    let (notes, _) = copies::notes(&format!("{}{text}", HONEST.note));
    assert!(notes.first().is_some_and(|note| note.starts_with(&HONEST.note)), "a copy is found before anything");
}

/// A record that nobody wrote is not believed, whatever proof it brings.
fn shown(text: &str) {
    let Ok(shown) = serde_json::from_str::<Shown>(text) else { return };
    is_honest_or_not_believed(&shown);
    // The same with a proof that holds for another.
    for (honest, _) in &HONEST.shown {
        is_honest_or_not_believed(&Shown { proof: honest.proof.clone(), ..shown.clone() });
    }
}

fn is_honest_or_not_believed(shown: &Shown) {
    if shown.verify(&[HONEST.key.public().clone()]).is_ok() {
        let same = |honest: &Shown| {
            let of = |shown: &Shown| (shown.origin.clone(), shown.epoch.clone(), shown.index, shown.entry.clone());
            of(honest) == of(shown)
        };
        assert!(HONEST.shown.iter().any(|(honest, _)| same(honest)), "nobody wrote this: {shown:?}");
    }
}

/// Hashes that are drawn from the bytes prove nothing.
fn proof(bytes: &[u8]) {
    let Some((place, hashes)) = bytes.split_first_chunk::<2>() else { return };
    let index = u64::from(u16::from_le_bytes(*place)) % (2 * ENTRIES);
    let hashes = hashes.as_chunks::<32>().0;
    let Checkpoint { size, root, .. } = &HONEST.checkpoint;
    let entry = leaf(bytes);
    assert!(!is_included(&entry, (index, *size), hashes, root), "{bytes:?} is no entry");
    if let Some(own) = HONEST.leaves.get(usize::try_from(index).unwrap_or(usize::MAX)) {
        let true_proof = proof_of(&HONEST.leaves, index);
        let holds = is_included(own, (index, *size), hashes, root);
        assert_eq!(holds, true_proof.as_deref() == Some(hashes), "entry {index} has one proof");
    }
}

/// One byte of what is believed, changed: it is not any more, unless it says the same.
fn changed(bytes: &[u8]) {
    let Some(([low, high, with], _)) = bytes.split_first_chunk::<3>() else { return };
    let place = usize::from(u16::from_le_bytes([*low, *high]));
    let with = (*with).max(1);
    let mut note = HONEST.note.clone().into_bytes();
    let at = place % note.len();
    note[at] ^= with;
    if let Ok(note) = String::from_utf8(note) {
        assert!(Checkpoint::open(&note, &[HONEST.key.public().clone()]).is_err(), "{note:?}");
    }
    let (honest, json) = &HONEST.shown[place % HONEST.shown.len()];
    assert!(honest.verify(&[HONEST.key.public().clone()]).is_ok());
    let mut json = json.clone();
    let at = place % json.len();
    json[at] ^= with;
    if let Ok(shown) = serde_json::from_slice::<Shown>(&json) {
        is_honest_or_not_believed(&shown);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_as_a_log(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            log(&bytes);
        }

        #[test]
        fn bytes_with_the_marks_of_a_log_are(
            pieces in proptest::collection::vec(
                prop_oneof![
                    any::<Vec<u8>>(), Just(b"\n\n".to_vec()), Just("\n— gw-1 ".as_bytes().to_vec()),
                    Just(HONEST.note.clone().into_bytes()), Just(HONEST.shown[1].1.clone()), Just(b"\0\x03{}\n".to_vec()),
                    Just(b"gw-1/0000000001\n300\n".to_vec()),
                ],
                0..6,
            ),
        ) {
            log(&pieces.concat());
        }
    }
}
