//! Polish personal numbers (PESEL).

use crate::checksum::{is_day, weighted};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("pl_pesel", Group::NationalId),
    what: "a Polish PESEL beside a word that names it",
    source: "Polish act on the population register, article 15",
    pattern: r"\b[0-9]{11}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["pesel"]),
    end: whole,
    examples: &["PESEL «44051401359»"],
    others: &["44051401359", "PESEL 44051401358"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let sum = weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    sum.is_multiple_of(10) && is_day(digits.number(4, 2), digits.number(2, 2) % 20)
}
