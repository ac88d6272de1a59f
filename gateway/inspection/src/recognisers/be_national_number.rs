//! Belgian national register numbers.

use crate::checksum::is_day;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("be_national_number", Group::NationalId),
    what: "a Belgian national register number, with its check digits and date",
    source: "Royal decree of 3 April 1984, article 4",
    pattern: r"\b[0-9]{2}[. ]?[0-9]{2}[. ]?[0-9]{2}[ -]?[0-9]{3}[. -]?[0-9]{2}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["rijksregister «85.07.30-033.28»", "«85073003328»"],
    others: &["85.07.30-033.29", "85.13.30-033.28"],
};

/// Whoever was born since 2000 has a 2 in front for the checksum; months are 20 or 40 higher in bis numbers.
fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let (body, rest) = (digits.number(0, 9), 97 - digits.number(9, 2).min(97));
    let (month, day) = (digits.number(2, 2) % 20, digits.number(4, 2));
    let is_date = is_day(day, month) || (month == 0 && day <= 31);
    digits.len() == 11
        && is_date
        && (body % 97 == rest % 97 || (2_000_000_000 + body) % 97 == rest % 97)
        && !found.is_cut_out()
}
