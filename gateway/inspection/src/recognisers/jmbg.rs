//! Personal numbers of the former Yugoslavia (JMBG, EMŠO).

use crate::checksum::{is_day, weighted};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("jmbg", Group::NationalId),
    what: "a JMBG or EMŠO, with its check digit and date",
    source: "Slovenian act on the central population register; Serbian act on the JMBG",
    pattern: r"\b[0-3][0-9][01][0-9]{10}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["EMŠO «0101006500006»", "ЕМБГ: «1208988410300»"],
    others: &["0101006500007", "3201006500006"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let check = 11 - weighted(&digits, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    // A number that leaves 10 is given nobody, says the act; others read it as a 0, and such numbers are about.
    check % 11 % 10 == digits.at(12) && is_day(digits.number(0, 2), digits.number(2, 2)) && !found.is_cut_out()
}
