//! Chinese resident identity numbers.

use crate::checksum::{is_day, weighted};
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("cn_resident_id", Group::NationalId),
    what: "a Chinese resident identity number, with its check character and date",
    source: "GB 11643-1999; ISO 7064 MOD 11-2",
    pattern: r"\b[1-9][0-9]{5}(?:19|20)[0-9]{9}[0-9Xx]\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["身份证 «11010519491231002X»"],
    others: &["110105194912310021", "11010519491331002X"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let sum = weighted(&digits, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]) % 11;
    let expected = b"10X98765432".get(sum as usize);
    let last = found.value().last().map(u8::to_ascii_uppercase);
    last.as_ref() == expected && is_day(digits.number(12, 2), digits.number(10, 2))
}
