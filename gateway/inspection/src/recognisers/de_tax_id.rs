//! German tax identification numbers (Steuer-ID).

use crate::checksum::mod_11_10;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("de_tax_id", Group::NationalId),
    what: "a German tax identification number, with its check digit and its rule on repeated digits",
    source: "Bundeszentralamt für Steuern, structure of the identification number (section 139b AO); ISO 7064 MOD 11,10",
    pattern: r"\b[1-9][0-9][ ]?[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{3}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["Steuer-ID «86 095 742 719»", "«47036892816»"],
    others: &["86 095 742 718", "12345678901"],
};

/// Of the first ten digits exactly one comes twice or three times, and three in a row are never the same.
fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let body = digits.as_slice().get(..10).unwrap_or_default();
    let count = |value: u8| body.iter().filter(|digit| **digit == value).count();
    let repeated = (0..10).filter(|value| count(*value) > 1).count();
    let fits = repeated == 1 && (0..10).all(|value| count(value) <= 3);
    digits.len() == 11 && fits && mod_11_10(&digits) && !found.is_cut_out()
}
