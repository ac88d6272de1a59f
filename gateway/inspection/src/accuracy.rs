//! How well the recognisers do on a labelled set. Not a check: run by hand.
//!
//! The set is read from `CAUSEWAY_LABELLED_SET`, in the form of presidio-research: a list of `full_text` and `spans`, each with
//! `entity_type`, `start_position` and `end_position` in letters. Theirs is not part of the repository, because some of the names
//! in it were made by a generator with terms of its own. `tests/labelled/make` makes others, of identifiers that theirs has not.
//!
//! `CAUSEWAY_LABELLED_SET=set.json cargo test -p inspection accuracy -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;

use serde_json::Value;

use crate::engine::{ENGINE, Effort};
use crate::kind::TextKind;

/// What the set calls what a recogniser finds.
const LABELS: [(&str, &[&str]); 6] = [
    ("EMAIL_ADDRESS", &["email"]),
    ("IBAN_CODE", &["iban"]),
    ("CREDIT_CARD", &["card"]),
    ("PHONE_NUMBER", &["phone"]),
    ("US_SSN", &["us_ssn"]),
    ("IP_ADDRESS", &["ipv4_address", "ipv6_address"]),
];

/// What a set calls what a recogniser of this name finds: its own name, where it has no other.
fn label_of(kind: &str) -> &str {
    LABELS.iter().find(|(_, kinds)| kinds.contains(&kind)).map_or(kind, |(label, _)| *label)
}

/// Whether any recogniser is meant for it.
fn is_known(label: &str) -> bool {
    TextKind::all().filter_map(|kind| kind.shipped_name()).any(|kind| label_of(kind) == label)
}

/// A place in a text that bears a label, or was found.
struct Marked<'a> {
    label: &'a str,
    place: Range<usize>,
}

impl Marked<'_> {
    fn is_met_by(&self, others: &[Marked<'_>]) -> bool {
        let meets = |other: &Marked<'_>| self.place.start < other.place.end && other.place.start < self.place.end;
        others.iter().any(|other| other.label == self.label && meets(other))
    }
}

/// The places of a record that bear a label.
fn labelled<'a>(record: &'a Value, text: &str) -> Vec<Marked<'a>> {
    let offset = |at: &Value| {
        let letters = at.as_u64().unwrap_or_default() as usize;
        text.char_indices().nth(letters).map_or(text.len(), |(byte, _)| byte)
    };
    let spans = record["spans"].as_array().into_iter().flatten();
    let marked = |span: &'a Value| Marked {
        label: label_of(span["entity_type"].as_str().unwrap_or_default()),
        place: offset(&span["start_position"])..offset(&span["end_position"]),
    };
    spans.map(marked).collect()
}

#[derive(Default)]
struct Score {
    labelled: u32,
    met: u32,
    hits: u32,
    right: u32,
}

#[derive(Default)]
struct Scores {
    of: BTreeMap<String, Score>,
    wrong: String,
}

impl Scores {
    /// Counts what was found in a text against what it bears. Labels that no recogniser is meant for, such as names, count nothing.
    fn count(&mut self, text: &str, labels: &[Marked<'_>]) {
        let mut hits = Vec::new();
        ENGINE.search(text.as_bytes(), &mut Effort::new(), |hit| hits.push(hit));
        let found = hits.iter().map(|hit| Marked { label: label_of(hit.kind.name()), place: hit.place.clone() });
        let found: Vec<Marked<'_>> = found.collect();
        for one in &found {
            let is_right = one.is_met_by(labels);
            let score = self.of.entry(one.label.to_owned()).or_default();
            score.hits += 1;
            score.right += u32::from(is_right);
            if !is_right {
                let _ = writeln!(self.wrong, "  {} {:?} in {text:?}", one.label, text.get(one.place.clone()));
            }
        }
        for one in labels.iter().filter(|one| is_known(one.label)) {
            let is_met = one.is_met_by(&found);
            let score = self.of.entry(one.label.to_owned()).or_default();
            score.labelled += 1;
            score.met += u32::from(is_met);
            if !is_met {
                let _ = writeln!(self.wrong, "  missed {} {:?} in {text:?}", one.label, text.get(one.place.clone()));
            }
        }
    }

    fn told(&self) -> String {
        let share = |part: u32, whole: u32| {
            if whole == 0 { "-".to_owned() } else { format!("{:.3}", f64::from(part) / f64::from(whole)) }
        };
        let mut out = String::new();
        for (label, Score { labelled, met, hits, right }) in &self.of {
            let (recall, precision) = (share(*met, *labelled), share(*right, *hits));
            let _ = writeln!(
                out,
                "{label:<20} labelled {labelled:>5} recall {recall:>6}   found {hits:>5} precision {precision:>6}"
            );
        }
        out + &self.wrong
    }
}

#[test]
#[ignore = "needs a labelled set and gives figures, not a verdict"]
fn precision_and_recall_on_a_labelled_set() {
    let Some(path) = std::env::var_os("CAUSEWAY_LABELLED_SET") else {
        let _ = writeln!(std::io::stderr(), "!! NOT MEASURED: CAUSEWAY_LABELLED_SET names no file");
        return;
    };
    let set: Value =
        serde_json::from_slice(&std::fs::read(path).expect("the set can be read")).expect("the set is JSON");
    let mut scores = Scores::default();
    let records = set.as_array().expect("the set is a list");
    for record in records {
        let text = record["full_text"].as_str().unwrap_or_default();
        scores.count(text, &labelled(record, text));
    }
    let _ = write!(std::io::stderr(), "{} texts\n{}", records.len(), scores.told());
}
