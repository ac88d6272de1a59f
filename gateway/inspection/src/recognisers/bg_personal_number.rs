//! Bulgarian personal numbers (EGN).

use crate::checksum::{is_day, weighted};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("bg_personal_number", Group::NationalId),
    what: "a Bulgarian EGN beside a word that names it",
    source: "Bulgarian civil registration act; weights as published by GRAO",
    pattern: r"\b[0-9]{10}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["egn", "егн", "ЕГН", "единен граждански номер"]),
    end: whole,
    examples: &["EGN: «7523169263»", "ЕГН «8032056031»"],
    others: &["7523169263", "EGN 7523169264"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let month = digits.number(2, 2) % 20;
    weighted(&digits, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == digits.at(9) && is_day(digits.number(4, 2), month)
}
