//! British national insurance numbers.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("gb_nino", Group::NationalId),
    what: "a national insurance number, without the prefixes that are not given",
    source: "HMRC NIM39110, national insurance number format",
    pattern: r"\b[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z][ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[A-Da-d]\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["NI number «AB 12 34 56 C»", "«ab123456c»"],
    others: &["QQ123456C", "GB123456C", "AB123456E"],
};

fn check(found: &Found<'_>) -> bool {
    let prefix = found.value().get(..2).unwrap_or_default().to_ascii_uppercase();
    !matches!(&*prefix, b"BG" | b"GB" | b"NK" | b"KN" | b"TN" | b"NT" | b"ZZ") && !found.is_cut_out()
}
