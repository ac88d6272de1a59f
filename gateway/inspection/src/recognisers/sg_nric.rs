//! Singaporean identity numbers (NRIC, FIN).

use crate::checksum::weighted;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("sg_nric", Group::NationalId),
    what: "a Singaporean NRIC or FIN with its letter",
    source: "Singapore Immigration and Checkpoints Authority; weights 2765432",
    pattern: r"\b[STFGMstfgm][0-9]{7}[A-Za-z]\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["NRIC «S1234567D»", "«t1234567j»"],
    others: &["S1234567A"],
};

fn check(found: &Found<'_>) -> bool {
    let Some((first, last)) = found.value().first().zip(found.value().last()) else { return false };
    let (offset, letters): (u32, &[u8; 11]) = match first.to_ascii_uppercase() {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        _ => (3, b"XWUTRQPNJLK"),
    };
    let sum = offset + weighted(&found.digits(), &[2, 7, 6, 5, 4, 3, 2]);
    letters.get((sum % 11) as usize) == Some(&last.to_ascii_uppercase()) && !found.is_cut_out()
}
