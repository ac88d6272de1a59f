//! Greek social security numbers (AMKA).

use crate::checksum::{is_day, luhn};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("gr_amka", Group::NationalId),
    what: "a Greek AMKA, with its check digit and date",
    source: "Greek law 3655/2008; Luhn formula",
    pattern: r"\b[0-9]{11}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["AMKA «01013099997»"],
    others: &["01013099998", "32013099997"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    luhn(&digits) && is_day(digits.number(0, 2), digits.number(2, 2)) && !found.is_cut_out()
}
