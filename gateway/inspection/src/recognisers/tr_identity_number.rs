//! Turkish identity numbers.

use crate::checksum::weighted;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("tr_identity_number", Group::NationalId),
    what: "a Turkish identity number, with both check digits",
    source: "Turkish population services act 5490; rule of Nüfus ve Vatandaşlık İşleri",
    pattern: r"\b[1-9][0-9]{10}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["T.C. kimlik «10000000146»"],
    others: &["10000000147", "00000000146"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let odd = weighted(&digits, &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted(&digits, &[0, 1, 0, 1, 0, 1, 0, 1]);
    let tenth = (odd * 7 + 100 - even) % 10;
    let last = weighted(&digits, &[1; 10]) % 10;
    tenth == digits.at(9) && last == digits.at(10) && !found.is_cut_out()
}
