//! Latvian personal codes.

use crate::checksum::{is_day, weighted};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("lv_personal_code", Group::NationalId),
    what: "a Latvian personal code with its hyphen: with a date and check digit, or of the form since 2017",
    source: "Latvian act on the register of natural persons, section 11",
    pattern: r"\b[0-3][0-9]{5}-[0-9]{5}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["personas kods «161175-19997»", "«321234-56789»"],
    others: &["161175-19998", "161375-19997"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    if digits.number(0, 2) >= 32 {
        return !found.is_cut_out();
    }
    let sum = 1 + weighted(&digits, &[10, 5, 8, 4, 2, 1, 6, 3, 7, 9]);
    sum % 11 % 10 == digits.at(10) && is_day(digits.number(0, 2), digits.number(2, 2)) && !found.is_cut_out()
}
