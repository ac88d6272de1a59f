//! Mexican population registry codes (CURP).

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("mx_curp", Group::NationalId),
    what: "a Mexican CURP with its check digit",
    source: "Mexican RENAPO, Instructivo normativo para la asignación de la CURP",
    pattern: r"\b[A-Za-z]{4}[0-9]{6}[HMXhmx][A-Za-z]{5}[0-9A-Za-z][0-9]\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["CURP «BOXW310820HNERXN09»"],
    others: &["BOXW310820HNERXN08"],
};

/// Letters count their place in the Spanish alphabet, whose Ñ stands behind N, behind the ten digits.
fn check(found: &Found<'_>) -> bool {
    let worth = |byte: u8| match byte.to_ascii_uppercase() {
        digit @ b'0'..=b'9' => u32::from(digit - b'0'),
        letter @ b'A'..=b'N' => u32::from(letter - b'A') + 10,
        letter => u32::from(letter.saturating_sub(b'A')) + 11,
    };
    let weights = (2..=18_u32).rev();
    let sum: u32 = found.value().iter().zip(weights).map(|(byte, weight)| worth(*byte) * weight).sum();
    found.value().last().is_some_and(|last| u32::from(last - b'0') == (10 - sum % 10) % 10)
}
