//! Indian Aadhaar numbers.

use crate::checksum::verhoeff;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("in_aadhaar", Group::NationalId),
    what: "an Aadhaar number in groups of four, or beside a word that names it",
    source: "UIDAI, Aadhaar number structure; Verhoeff formula",
    pattern: r"\b[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["«2341 2341 2346»", "Aadhaar «234123412346»"],
    others: &["234123412346", "2341 2341 2347"],
};

fn check(found: &Found<'_>) -> bool {
    let in_groups = found.value().len() == 14;
    (in_groups || found.has_word(&["aadhaar", "uid", "uidai"])) && verhoeff(&found.digits()) && !found.is_cut_out()
}
