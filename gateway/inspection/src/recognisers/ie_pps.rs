//! Irish personal public service numbers (PPS).

use crate::checksum::weighted;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("ie_pps", Group::NationalId),
    what: "an Irish PPS number with its check letter",
    source: "Irish Department of Social Protection; modulus 23",
    pattern: r"\b[0-9]{7}[A-Wa-w][A-IWTXa-iwtx]?\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["PPS «1234567T»", "«1234567FA»"],
    others: &["1234567S", "1234567FB"],
};

fn check(found: &Found<'_>) -> bool {
    let value = found.value().to_ascii_uppercase();
    let number = |byte: &u8| if *byte == b'W' { 0 } else { u32::from(byte - b'A') + 1 };
    let second = value.get(8).filter(|byte| byte.is_ascii_uppercase() && **byte <= b'I').map_or(0, number);
    let sum = weighted(&found.digits(), &[8, 7, 6, 5, 4, 3, 2]) + second * 9;
    value.get(7).is_some_and(|letter| number(letter) == sum % 23) && !found.is_cut_out()
}
