//! What a decision rests on, written once for all the records that carry it: where a target processes, and which rule or
//! instrument a policy serves.

use std::sync::Arc;

use super::json;

/// What is known of a place, worst case. Countries are two letters; `ZZ` is anywhere, and none at all is unknown.
#[derive(Clone, Copy, Debug)]
pub struct PlaceFacts<'a> {
    /// What the place is, in words.
    pub words: &'a str,
    /// Where prompts may be processed.
    pub processing: &'a [&'a str],
    /// Where they may be kept.
    pub at_rest: &'a [&'a str],
    /// From where people may read them.
    pub access: &'a [&'a str],
    /// Whose law the operator answers to.
    pub operator: &'a str,
    /// Whose law the operator's parent company answers to.
    pub operator_parent: &'a str,
}

/// [`PlaceFacts`] in the form in which records carry them. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceNote(Arc<[u8]>);

impl PlaceNote {
    /// Writes them.
    pub fn new(facts: &PlaceFacts<'_>) -> Self {
        let mut line = Vec::with_capacity(512);
        json::named(&mut line, "{\"is\":", facts.words);
        for (name, countries) in
            [(",\"processing\":", facts.processing), (",\"at_rest\":", facts.at_rest), (",\"access\":", facts.access)]
        {
            line.extend_from_slice(name.as_bytes());
            json::list(&mut line, countries, |line, country| json::text(line, country));
        }
        json::named(&mut line, ",\"operator\":", facts.operator);
        json::named(&mut line, ",\"operator_parent\":", facts.operator_parent);
        line.push(b'}');
        Self(line.into())
    }

    /// The JSON object.
    pub fn json(&self) -> &[u8] {
        &self.0
    }
}

/// Most bytes of a basis that a record carries: a policy may say as much as it likes, and an entry has a bound.
const MOST_BASIS: usize = 512;

/// A policy's id and its `@basis`, as a member of the object in which records carry them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasisNote(Box<[u8]>);

impl BasisNote {
    /// Writes them; of a basis of more than 512 bytes the beginning.
    pub fn new(policy: &str, basis: &str) -> Self {
        let mut member = Vec::with_capacity(policy.len() + basis.len() + 8);
        json::text(&mut member, policy);
        let start = basis.get(..basis.floor_char_boundary(MOST_BASIS)).unwrap_or_default();
        if start.len() < basis.len() {
            json::named(&mut member, ":", &format!("{start}…"));
        } else {
            json::named(&mut member, ":", basis);
        }
        Self(member.into())
    }

    /// `"policy":"basis"`.
    pub(super) fn member(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_place_is_one_json_object() {
        let facts = PlaceFacts {
            words: "Azure OpenAI, \"DataZoneStandard\"",
            processing: &["DE", "SE"],
            at_rest: &["SE"],
            access: &[],
            operator: "IE",
            operator_parent: "US",
        };

        let written: Value = serde_json::from_slice(PlaceNote::new(&facts).json()).unwrap();

        let expected = json!({
            "is": "Azure OpenAI, \"DataZoneStandard\"", "processing": ["DE", "SE"], "at_rest": ["SE"], "access": [],
            "operator": "IE", "operator_parent": "US",
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn a_basis_is_one_member_and_one_that_is_too_long_is_cut_at_its_512th_byte() {
        let read = |basis: &str| {
            let member = BasisNote::new("eu-personal", basis);
            let object = [b"{", member.member(), b"}"].concat();
            serde_json::from_slice::<Value>(&object).unwrap()["eu-personal"].as_str().unwrap().to_owned()
        };

        assert_eq!(read("GDPR Art. 44: \"adequacy\""), "GDPR Art. 44: \"adequacy\"");
        assert_eq!(read(&"a".repeat(512)), "a".repeat(512));
        assert_eq!(read(&"a".repeat(513)), "a".repeat(512) + "…");
        assert_eq!(read(&"é".repeat(257)), "é".repeat(256) + "…");
    }
}
