//! How well the recognisers do on a labelled set. Not a check: run by hand.
//!
//! The set is read from `CAUSEWAY_LABELLED_SET`, in the form of presidio-research: a list of `full_text` and `spans`, each with
//! `entity_type`, `start_position` and `end_position` in letters. It is not part of the repository, because some of the names
//! in it were made by a generator with terms of its own.
//!
//! `CAUSEWAY_LABELLED_SET=set.json cargo test -p inspection accuracy -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::Value;

use crate::engine::{ENGINE, Effort};

/// What the set calls what a recogniser finds.
const LABELS: [(&str, &[&str]); 6] = [
    ("EMAIL_ADDRESS", &["email"]),
    ("IBAN_CODE", &["iban"]),
    ("CREDIT_CARD", &["card"]),
    ("PHONE_NUMBER", &["phone"]),
    ("US_SSN", &["us_ssn"]),
    ("IP_ADDRESS", &["ipv4_address", "ipv6_address"]),
];

#[derive(Default)]
struct Score {
    labelled: u32,
    met: u32,
    hits: u32,
    right: u32,
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
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    let mut wrong = String::new();
    let records = set.as_array().expect("the set is a list");
    for record in records {
        let text = record["full_text"].as_str().unwrap_or_default();
        let offset = |at: &Value| {
            let letters = at.as_u64().unwrap_or_default() as usize;
            text.char_indices().nth(letters).map_or(text.len(), |(byte, _)| byte)
        };
        let spans: Vec<(&str, std::ops::Range<usize>)> = record["spans"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|span| {
                let place = offset(&span["start_position"])..offset(&span["end_position"]);
                (span["entity_type"].as_str().unwrap_or_default(), place)
            })
            .collect();
        let mut hits = Vec::new();
        ENGINE.search(text.as_bytes(), &mut Effort::new(), |hit| hits.push(hit));
        let overlap = |one: &std::ops::Range<usize>, other: &std::ops::Range<usize>| {
            one.start < other.end && other.start < one.end
        };
        for hit in &hits {
            let label = LABELS
                .iter()
                .find(|(_, kinds)| kinds.contains(&hit.kind.name()))
                .map_or(hit.kind.name(), |(label, _)| *label);
            let score = scores.entry(label.to_owned()).or_default();
            score.hits += 1;
            if spans.iter().any(|(kind, place)| *kind == label && overlap(place, &hit.place)) {
                score.right += 1;
            } else {
                let _ = writeln!(wrong, "  {} {:?} in {text:?}", hit.kind, text.get(hit.place.clone()));
            }
        }
        for (label, place) in spans.iter().filter(|(label, _)| LABELS.iter().any(|(known, _)| known == label)) {
            let kinds = LABELS.iter().find(|(known, _)| known == label).map_or(&[][..], |(_, kinds)| kinds);
            let score = scores.entry((*label).to_owned()).or_default();
            score.labelled += 1;
            let met = hits.iter().any(|hit| kinds.contains(&hit.kind.name()) && overlap(place, &hit.place));
            score.met += u32::from(met);
            if !met {
                let _ = writeln!(wrong, "  missed {label} {:?} in {text:?}", text.get(place.clone()));
            }
        }
    }
    let share = |part: u32, whole: u32| {
        if whole == 0 { "-".to_owned() } else { format!("{:.3}", f64::from(part) / f64::from(whole)) }
    };
    let mut out = format!("{} texts\n", records.len());
    for (label, Score { labelled, met, hits, right }) in &scores {
        let (recall, precision) = (share(*met, *labelled), share(*right, *hits));
        let _ = writeln!(
            out,
            "{label:<16} labelled {labelled:>5} recall {recall:>6}   found {hits:>5} precision {precision:>6}"
        );
    }
    let _ = write!(std::io::stderr(), "{out}{wrong}");
}
