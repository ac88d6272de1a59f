//! German pension insurance numbers (Rentenversicherungsnummer).

use crate::checksum::is_day;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("de_social_security", Group::NationalId),
    what: "a German pension insurance number, with its check digit and date",
    source: "German VKVV section 2 and its annex",
    pattern: r"\b[0-9]{2}[ ]?[0-9]{6}[ ]?[A-Za-z][ ]?[0-9]{3}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["Rentenversicherungsnummer «65 170839 J 003»", "«65170839J003»"],
    others: &["65 170839 J 004", "65 320839 J 003"],
};

/// Area, date of birth, initial, serial number, check digit. The initial counts as two digits.
fn check(found: &Found<'_>) -> bool {
    let Some(letter) = found.value().iter().find(|byte| byte.is_ascii_alphabetic()) else { return false };
    let initial = u32::from(letter.to_ascii_uppercase() - b'A') + 1;
    let digits = found.digits();
    let spread =
        (0..8).map(|place| digits.at(place)).chain([initial / 10, initial % 10]).chain([digits.at(8), digits.at(9)]);
    let weights = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
    let sum: u32 = spread.zip(weights).map(|(digit, weight)| digit * weight).map(|n| n / 10 + n % 10).sum();
    sum % 10 == digits.at(10) && is_day(digits.number(2, 2) % 50, digits.number(4, 2)) && !found.is_cut_out()
}
