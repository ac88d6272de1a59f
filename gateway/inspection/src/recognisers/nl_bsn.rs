//! Dutch citizen service numbers (BSN).

use crate::checksum::weighted;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("nl_bsn", Group::NationalId),
    what: "a Dutch BSN beside a word that names it",
    source: "Dutch Wet algemene bepalingen burgerservicenummer; the eleven test",
    pattern: r"\b[0-9]{3}[. ]?[0-9]{3}[. ]?[0-9]{3}\b|\b[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["bsn", "burgerservicenummer", "sofinummer", "sofi-nummer", "persoonsnummer"]),
    end: whole,
    examples: &["BSN «111222333»", "burgerservicenummer: «111.222.333»"],
    others: &["111222333", "BSN 111222334"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let sum = weighted(&digits, &[9, 8, 7, 6, 5, 4, 3, 2]);
    sum % 11 == digits.at(8) % 11 && digits.number(0, 9) > 0 && !found.is_cut_out()
}
