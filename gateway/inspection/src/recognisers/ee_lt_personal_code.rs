//! Estonian and Lithuanian personal codes.

use crate::checksum::{is_day, weighted};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("ee_lt_personal_code", Group::NationalId),
    what: "an Estonian or Lithuanian personal code, with its check digit and date",
    source: "Estonian standard EVS 585:2007; Lithuanian act I-2237 on the population register",
    pattern: r"\b[1-8][0-9]{10}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["isikukood «37605030299»", "«38703181745»"],
    others: &["37605030298", "37699030299"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let first = weighted(&digits, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
    let second = weighted(&digits, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11;
    let expected = if first < 10 { first } else { second % 10 };
    expected == digits.at(10) && is_day(digits.number(5, 2), digits.number(3, 2)) && !found.is_cut_out()
}
