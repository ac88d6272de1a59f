//! Danish personal numbers (CPR).

use crate::checksum::is_day;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("dk_cpr", Group::NationalId),
    what: "a Danish CPR number beside a word that names it",
    source: "Danish CPR office, structure of the CPR number; no check digit since 2007",
    pattern: r"\b[0-9]{6}[ -]?[0-9]{4}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["cpr", "cpr-nr", "cpr-nummer"]),
    end: whole,
    examples: &["CPR-nr. «211062-5629»", "cpr «2110625629»"],
    others: &["211062-5629", "CPR 321062-5629"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    is_day(digits.number(0, 2) % 60, digits.number(2, 2)) && !found.is_cut_out()
}
