//! Swedish personal identity numbers (personnummer).

use crate::checksum::{is_day, luhn};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Digits, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("se_personal_number", Group::NationalId),
    what: "a Swedish personal identity or coordination number, with its check digit and date",
    source: "Swedish folkbokföringslagen section 18; Skatteverket SKV 704",
    pattern: r"\b(?:(?:19|20)?[0-9]{6}[-+][0-9]{4}|(?:19|20)[0-9]{10})\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["personnummer «811228-9874»", "«198112289874»"],
    others: &["811228-9875", "811328-9874"],
};

/// The century is not part of the checksum; a coordination number's day is 60 higher.
fn check(found: &Found<'_>) -> bool {
    let all = found.digits();
    let from = all.len().saturating_sub(10);
    let digits = Digits::from_values(all.as_slice().get(from..).unwrap_or_default());
    luhn(&digits) && is_day(digits.number(4, 2) % 60, digits.number(2, 2)) && !found.is_cut_out()
}
