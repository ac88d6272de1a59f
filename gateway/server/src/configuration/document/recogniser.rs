//! `[recogniser.NAME]`: what the security team has recognised beside the shipped formats.

use schemars::JsonSchema;
use serde::Deserialize;

/// A recogniser of one's own, beside the shipped ones. Policies see what it finds as `custom:NAME`.
///
/// A name has 1 to 24 of `a-z`, `0-9` and `_`, and begins with a letter. There may be 64. Everything is checked, examples
/// included, before a configuration takes effect.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recogniser {
    /// What it finds, for people. Required.
    pub description: String,
    /// The shape, as a regular expression of at most 512 bytes, in a literal string such as `'\bM-[0-9]{4}\b'`. Required. A match
    /// has 3 to 128 bytes, 40 with `checksum`, so that `+` and `*` are out. No look-around, no back references, neither `^` nor
    /// `$`; classes such as `[^,]` and `.` match ASCII alone, and `(?i)` holds for ASCII letters: write both forms of others.
    pub pattern: String,
    /// Words in lower case of which one must stand within 64 bytes before, where the name of the JSON member counts as text, or
    /// 24 bytes behind; at most 32. Capitals are found as well. Absent: the shape is enough.
    pub words: Option<Vec<String>>,
    /// How the digits of a match must add up. Where a match can end at several places, the last one counts at which they do.
    /// Absent: they need not.
    pub checksum: Option<RecogniserChecksum>,
    /// The group of findings that policies count it to as well. Absent: none.
    pub group: Option<FindingGroup>,
    /// Whether it is only tried: what it finds is counted in the record, seen by what is asked beside what is in force
    /// (`[policy] candidate`), and neither seen by policies in force nor replaced by redaction. Default `false`.
    pub tried: Option<bool>,
    /// 1 to 32 texts in which it must find what stands between `«` and `»`, and nothing else. Required.
    pub examples: Vec<String>,
    /// 1 to 32 texts in which it must find nothing. Required.
    pub counterexamples: Vec<String>,
}

/// The check digits of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecogniserChecksum {
    /// Luhn's formula over the digits.
    Luhn,
    /// ISO 7064 MOD 11,10 over the digits.
    Mod11And10,
    /// ISO 7064 MOD 97-10 over all letters and digits of the match, in their order: the remainder is 1.
    Mod97,
    /// Verhoeff's formula over the digits.
    Verhoeff,
    /// EAN-13 over thirteen digits.
    Ean13,
}

/// A group of kinds of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingGroup {
    /// Ways to reach a person.
    Contact,
    /// Addresses of machines.
    NetworkAddress,
    /// Accounts and payment cards.
    Financial,
    /// Numbers that a state or its insurers give to a person.
    NationalId,
    /// What opens something.
    Secret,
}
