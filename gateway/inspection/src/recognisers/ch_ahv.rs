//! Swiss social security numbers (AHV, AVS).

use crate::checksum::ean_13;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("ch_ahv", Group::NationalId),
    what: "a Swiss AHV number, with its check digit",
    source: "Swiss AHVV article 133; GS1 check digit",
    pattern: r"\b756[. ]?[0-9]{4}[. ]?[0-9]{4}[. ]?[0-9]{2}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["AHV «756.9217.0769.85»", "«7569217076985»"],
    others: &["756.9217.0769.86", "755.9217.0769.85"],
};

fn check(found: &Found<'_>) -> bool {
    ean_13(&found.digits()) && !found.is_cut_out()
}
