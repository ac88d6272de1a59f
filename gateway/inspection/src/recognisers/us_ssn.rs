//! United States social security numbers.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("us_ssn", Group::NationalId),
    what: "a US social security number in its three groups, or beside a word that names it",
    source: "SSA, Social Security Number Randomization; 42 USC 405",
    pattern: r"\b[0-8][0-9]{2}[- ]?[0-9]{2}[- ]?[0-9]{4}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["SSN «536-90-4399»", "my social security number is «536904399»"],
    others: &["536904399", "000-12-3456", "666-12-3456", "078-05-1120", "536-00-4399"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let in_groups = found.value().len() == 11;
    let given = !matches!(digits.number(0, 3), 0 | 666) && digits.number(3, 2) > 0 && digits.number(5, 4) > 0;
    // Numbers that stood in advertisements and were printed on sample cards.
    let printed = matches!(digits.number(0, 9), 78_051_120 | 219_099_999 | 123_456_789);
    given && !printed && !found.is_cut_out() && (in_groups || found.has_word(&["ssn", "social security"]))
}
