//! What decisions rest on, in the words of their records: written once here, so that a request only copies it.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;
use std::time::SystemTime;

use policy::{Countries, Country, Facts, Rules, Verdict};
use telemetry::audit::{BasisNote, PlaceFacts, PlaceNote};

use crate::configuration::DataPack;

/// The data pack, and what each policy serves.
pub(crate) struct Grounds {
    /// Version and hash of the data pack.
    pub(crate) pack: Arc<str>,
    basis: BTreeMap<Arc<str>, BasisNote>,
}

impl Grounds {
    pub(super) fn of(rules: &Rules, pack: &DataPack) -> Self {
        let stated = rules.policies().filter(|about| !about.basis.is_empty());
        Self {
            pack: format!("{} sha256:{}", pack.version, pack.hash()).into(),
            basis: stated.map(|about| (Arc::clone(&about.id), BasisNote::new(&about.id, &about.basis))).collect(),
        }
    }

    /// What the policies serve by which these were decided, each once.
    pub(crate) fn basis_of<'a>(&self, verdicts: impl Iterator<Item = &'a Verdict>) -> Vec<&BasisNote> {
        let mut found: Vec<&BasisNote> = Vec::new();
        let mut before = None;
        for ids in verdicts.filter_map(|verdict| verdict.ruling.policies()) {
            // Most targets of a model are decided by the same policies.
            if before.replace(ids) == Some(ids) {
                continue;
            }
            for note in ids.iter().filter_map(|id| self.basis.get(id)) {
                if !found.iter().any(|known| ptr::eq(*known, note)) {
                    found.push(note);
                }
            }
        }
        found
    }
}

/// What is known of a place, and what counts once that has run out.
pub(crate) struct PlaceNotes {
    known: PlaceNote,
    run_out: Option<(SystemTime, PlaceNote)>,
}

impl PlaceNotes {
    pub(super) fn of(facts: &Facts) -> Self {
        let run_out = facts.provenance.valid_until.map(|end| (end, note(&facts.at(end))));
        Self { known: note(facts), run_out }
    }

    /// What counts at `now`.
    pub(crate) fn at(&self, now: SystemTime) -> &PlaceNote {
        match &self.run_out {
            Some((end, run_out)) if *end <= now => run_out,
            _ => &self.known,
        }
    }
}

fn note(facts: &Facts) -> PlaceNote {
    let codes = |countries: &Countries| -> Vec<String> { countries.0.iter().map(Country::to_string).collect() };
    let sets = [&facts.processing, &facts.at_rest, &facts.access].map(codes);
    let [processing, at_rest, access] = sets.each_ref().map(|set| set.iter().map(String::as_str).collect::<Vec<_>>());
    PlaceNote::new(&PlaceFacts {
        words: &facts.provenance.words,
        processing: &processing,
        at_rest: &at_rest,
        access: &access,
        operator: facts.operator.code(),
        operator_parent: facts.operator_parent.code(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policy::Provenance;
    use serde_json::{Value, json};

    use super::*;

    fn read(note: &PlaceNote) -> Value {
        serde_json::from_slice(note.json()).unwrap()
    }

    #[test]
    fn a_place_whose_facts_have_run_out_is_anywhere_from_that_instant_on() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let germany: Countries = ["DE".parse().unwrap()].into_iter().collect();
        let facts = Facts {
            processing: germany,
            operator: "US".parse().unwrap(),
            provenance: Provenance { words: "a place".to_owned(), valid_until: Some(end), ..Provenance::default() },
            ..Facts::unknown()
        };

        let notes = PlaceNotes::of(&facts);

        let before = read(notes.at(end - Duration::from_nanos(1)));
        assert_eq!((&before["processing"], &before["operator"]), (&json!(["DE"]), &json!("US")));
        let after = read(notes.at(end));
        assert_eq!((&after["processing"], &after["operator"]), (&json!(["ZZ"]), &json!("ZZ")));
        assert_eq!(after["is"], "a place; the facts have run out");
    }
}
