//! Norwegian birth numbers (fødselsnummer).

use crate::checksum::{is_day, weighted};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("no_birth_number", Group::NationalId),
    what: "a Norwegian birth number or D number, with both check digits and the date",
    source: "Norwegian folkeregisterforskriften section 2-2",
    pattern: r"\b[0-7][0-9]{5}[ ]?[0-9]{5}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["fødselsnummer «151086 95088»", "«15108695088»"],
    others: &["15108695087"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let first = weighted(&digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]);
    let second = weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]);
    let is_date = is_day(digits.number(0, 2) % 40, digits.number(2, 2));
    is_date && first.is_multiple_of(11) && second.is_multiple_of(11) && !found.is_cut_out()
}
