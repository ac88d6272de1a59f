//! Czech and Slovak birth numbers (rodné číslo).

use crate::checksum::is_day;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("cz_birth_number", Group::NationalId),
    what: "a Czech or Slovak birth number with its slash, date and divisor",
    source: "Czech act 133/2000, section 13; Slovak act 301/1995",
    pattern: r"\b[0-9]{6}/[0-9]{3,4}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["r.č. «710319/2745»", "«736028/5163»"],
    others: &["710319/2746", "719919/2745"],
};

/// Months of women are 50 higher, and 20 higher where a day ran out of numbers; nine digits were given until 1953.
fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let month = digits.number(2, 2) % 50 % 20;
    let is_divisible = digits.number(0, 10).is_multiple_of(11) || digits.number(0, 9) % 11 == 10 && digits.at(9) == 0;
    is_day(digits.number(4, 2), month) && (digits.len() == 9 || is_divisible)
}
