//! Canadian social insurance numbers (SIN).

use crate::checksum::luhn;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("ca_sin", Group::NationalId),
    what: "a Canadian SIN beside a word that names it",
    source: "Employment and Social Development Canada; Luhn formula",
    pattern: r"\b[1-79][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}\b|\b0[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["sin", "social insurance", "nas", "assurance sociale"]),
    end: whole,
    examples: &["SIN: «046 454 286»", "social insurance number «046454286»"],
    others: &["046 454 286", "SIN 046 454 287", "single 046 454 286"],
};

fn check(found: &Found<'_>) -> bool {
    luhn(&found.digits()) && !found.is_cut_out()
}
