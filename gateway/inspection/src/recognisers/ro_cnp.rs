//! Romanian personal numbers (CNP).

use crate::checksum::{is_day, weighted};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("ro_cnp", Group::NationalId),
    what: "a Romanian CNP, with its check digit and date",
    source: "Romanian law 105/1996; weights 279146358279",
    pattern: r"\b[1-9][0-9]{12}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["CNP «1800101221144»"],
    others: &["1800101221145", "1801301221144"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let rest = weighted(&digits, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    let check = if rest == 10 { 1 } else { rest };
    check == digits.at(12) && is_day(digits.number(5, 2), digits.number(3, 2)) && !found.is_cut_out()
}
