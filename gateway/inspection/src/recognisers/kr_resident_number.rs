//! South Korean resident registration numbers.

use crate::checksum::is_day;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("kr_resident_number", Group::NationalId),
    what: "a South Korean resident registration number with its hyphen and date",
    source: "Korean resident registration act, enforcement rule article 2; no check digit since 2020",
    pattern: r"\b[0-9]{6}-[1-8][0-9]{6}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["«900101-1234567»"],
    others: &["901301-1234567", "900101-9234567"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    is_day(digits.number(4, 2), digits.number(2, 2)) && !found.is_cut_out()
}
