//! Hungarian tax identification numbers.

use crate::checksum::weighted;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("hu_tax_id", Group::NationalId),
    what: "a Hungarian tax identification number beside a word that names it",
    source: "Hungarian act CL of 2017, annex on the tax identification sign",
    pattern: r"\b8[0-9]{9}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["adóazonosító", "adoazonosito", "adóazonosító jel", "tax identification"]),
    end: whole,
    examples: &["adóazonosító jel: «8071592153»"],
    others: &["8071592153", "adóazonosító 8071592154"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    weighted(&digits, &[1, 2, 3, 4, 5, 6, 7, 8, 9]) % 11 == digits.at(9) && !found.is_cut_out()
}
