//! Australian tax file numbers.

use crate::checksum::weighted;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("au_tfn", Group::NationalId),
    what: "an Australian tax file number beside a word that names it",
    source: "Australian Taxation Office, TFN check digit algorithm",
    pattern: r"\b[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["tfn", "tax file number"]),
    end: whole,
    examples: &["TFN «123 456 782»"],
    others: &["123 456 782", "TFN 123 456 783"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    weighted(&digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
        && digits.number(0, 9) > 0
        && !found.is_cut_out()
}
