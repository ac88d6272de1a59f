//! British NHS numbers.

use crate::checksum::weighted;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("gb_nhs", Group::NationalId),
    what: "an NHS number beside a word that names it",
    source: "NHS Data Dictionary, NHS NUMBER; modulus 11",
    pattern: r"\b[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["nhs", "national health service"]),
    end: whole,
    examples: &["NHS number: «401 023 2137»", "nhs no «4010232137»"],
    others: &["401 023 2137", "NHS number 401 023 2138"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let check = 11 - weighted(&digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    check % 11 == digits.at(9) && !digits.is_one_digit() && !found.is_cut_out()
}
