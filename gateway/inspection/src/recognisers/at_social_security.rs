//! Austrian social security numbers (SVNR).

use crate::checksum::{is_day, weighted};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("at_social_security", Group::NationalId),
    what: "an Austrian social security number, with its check digit and date",
    source: "Austrian ASVG section 30c; Dachverband der Sozialversicherungsträger",
    pattern: r"\b[1-9][0-9]{3}[ -]?[0-9]{6}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["SVNR «1237 010180»", "«1237010180»"],
    others: &["1238 010180", "1237 320180", "0237 010180"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let sum = weighted(&digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
    digits.len() == 10
        && sum % 11 == digits.at(3)
        && is_day(digits.number(4, 2), digits.number(6, 2))
        && !found.is_cut_out()
}
