//! United States taxpayer numbers of non-residents (ITIN).

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("us_itin", Group::NationalId),
    what: "a US ITIN in its three groups",
    source: "IRS, Individual taxpayer identification number, ranges of the middle group",
    pattern: r"\b9[0-9]{2}[- ][0-9]{2}[- ][0-9]{4}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["ITIN «912-70-1234»"],
    others: &["912-69-1234", "912-93-1234"],
};

fn check(found: &Found<'_>) -> bool {
    let middle = found.digits().number(3, 2);
    matches!(middle, 50..=65 | 70..=88 | 90..=92 | 94..=99) && !found.is_cut_out()
}
