//! Croatian personal numbers (OIB).

use crate::checksum::mod_11_10;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("hr_oib", Group::NationalId),
    what: "a Croatian OIB beside a word that names it",
    source: "Croatian act on the personal identification number; ISO 7064 MOD 11,10",
    pattern: r"\b[0-9]{11}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["oib", "osobni identifikacijski broj"]),
    end: whole,
    examples: &["OIB: «33392005961»"],
    others: &["33392005961", "OIB 33392005962"],
};

fn check(found: &Found<'_>) -> bool {
    mod_11_10(&found.digits()) && !found.is_cut_out()
}
