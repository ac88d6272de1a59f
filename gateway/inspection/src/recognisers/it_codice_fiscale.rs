//! Italian tax codes (codice fiscale).
//!
//! Where two people would have the same code, digits are replaced by letters (omocodia). Such a code is not recognised.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("it_codice_fiscale", Group::NationalId),
    what: "an Italian tax code with its check letter",
    source: "Italian DM 23 December 1976 (n. 13815)",
    pattern: r"\b[A-Za-z]{6}[0-9]{2}[A-EHLMPR-Ta-ehlmpr-t][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["C.F. «RSSMRA85T10A562S»", "«rssmra85t10a562s»"],
    others: &["RSSMRA85T10A562T"],
};

fn check(found: &Found<'_>) -> bool {
    const ODD: &[u8; 26] =
        &[1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let value = found.value().to_ascii_uppercase();
    let place = |byte: u8| usize::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
    let worth = |(at, byte): (usize, &u8)| {
        if at % 2 == 0 { ODD.get(place(*byte)).copied().map_or(0, usize::from) } else { place(*byte) }
    };
    let sum: usize = value.iter().take(15).enumerate().map(worth).sum();
    value.last().is_some_and(|last| place(*last) == sum % 26)
}
