//! Telephone numbers.
//!
//! With a `+` or `00` in front, or in the North American form, a number stands for itself. In a national form it is only one when a
//! word says so, because any other number looks the same.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(crate) const KIND: TextKind = TextKind::new("phone", Group::Contact);

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: KIND,
    what: "a telephone number: international, North American, or national beside a word such as `tel`",
    source: "ITU-T E.164 and E.123; North American Numbering Plan",
    pattern: r"(?:\+|\b00)[1-9][0-9]{0,2}(?:[ ().\-/]{0,3}[0-9]{1,9}){1,7}|(?:\+?1[ .\-])?(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[.\- ])[2-9][0-9]{2}[.\- ][0-9]{4}(?: ?(?:x|ext\.?) ?[0-9]{1,5})?|\(?\b0[0-9]{1,5}\)?(?:[ \-/.]{0,3}[0-9]{2,8}){1,5}|\b[0-9]{2,4}(?:[ \-.][0-9]{2,4}){2,4}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &[
        "call «+49 30 901820» today",
        "«+44 (0)20 7946 0018»",
        "«0049-89-636-48018»",
        "ring «(202) 555-0143»",
        "«202-555-0143» is in Washington",
        "Tel.: «030/901820»",
        "mobile «07700 900123»",
        "téléphone «01 99 00 12 34»",
        "phone «555 012 3456»",
    ],
    others: &[
        "in 2024-2025",
        "invoice 030 901820",
        "2026-01-31",
        "+1",
        "the years 1998 2003 2011",
        "1.234.567",
        "00000000",
        "ISBN 978-3-16-148410-0",
        "202-155-0143",
    ],
};

const WORDS: &[&str] = &[
    "phone",
    "tel",
    "telephone",
    "telefon",
    "téléphone",
    "teléfono",
    "telefono",
    "telefoon",
    "mobile",
    "mobil",
    "mob",
    "cell",
    "cellphone",
    "handy",
    "fax",
    "call",
    "fon",
    "whatsapp",
    "sms",
    "hotline",
    "puhelin",
    "gsm",
    "portable",
];

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let value = found.value();
    if found.is_cut_out() || digits.is_one_digit() {
        return false;
    }
    match value {
        [b'+', ..] => (8..=15).contains(&digits.len()),
        [b'0', b'0', ..] => (10..=17).contains(&digits.len()) && digits.at(2) != 0,
        [b'0', ..] | [b'(', b'0', ..] => (7..=13).contains(&digits.len()) && found.has_word(WORDS),
        _ => is_north_american(value) || ((7..=13).contains(&digits.len()) && found.has_word(WORDS)),
    }
}

/// Groups of three, three and four digits, perhaps behind a 1 and before an extension; area code and exchange begin with 2
/// to 9, and neither is one of the services `N11`.
fn is_north_american(value: &[u8]) -> bool {
    let mut groups = value.split(|byte| !byte.is_ascii_digit()).filter(|group| !group.is_empty()).peekable();
    groups.next_if_eq(&&b"1"[..]);
    let is_code =
        |group: Option<&[u8]>| matches!(group, Some([b'2'..=b'9', rest @ ..]) if rest.len() == 2 && rest != b"11");
    is_code(groups.next()) && is_code(groups.next()) && groups.next().is_some_and(|line| line.len() == 4)
}
