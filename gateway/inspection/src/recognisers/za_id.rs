//! South African identity numbers.

use crate::checksum::{is_day, luhn};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("za_id", Group::NationalId),
    what: "a South African identity number, with its check digit and date",
    source: "South African identification act 68 of 1997; Luhn formula",
    pattern: r"\b[0-9]{10}[01][0-9]{2}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["ID «9202204720083»"],
    others: &["9202204720084", "9213204720083"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    luhn(&digits) && is_day(digits.number(4, 2), digits.number(2, 2)) && !found.is_cut_out()
}
