//! International bank account numbers.

use crate::checksum::mod_97;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("iban", Group::Financial),
    what: "an IBAN of one of the 85 countries that have them, with the country's length and the check digits",
    source: "ISO 13616-1; lengths from the SWIFT IBAN registry, release 97",
    pattern: r"\b[A-Za-z]{2}[0-9]{2}(?:[ -]?[0-9A-Za-z]{1,4}){3,8}",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end,
    examples: &[
        "pay to «DE89 3704 0044 0532 0130 00» by Friday",
        "«GB82WEST12345698765432»",
        "iban:«nl91abna0417164300»",
        "«CH93-0076-2011-6238-5295-7».",
        "«MT84 MALT 0110 0001 2345 MTLC AST0 01S» is in Malta",
        "«DE89370400440532013000»and more",
    ],
    others: &[
        "DE89 3704 0044 0532 0130 01 has a wrong digit",
        "XX89 3704 0044 0532 0130 00 is of no country",
        "DE89 3704 0044 0532 is too short",
        "AB12 3456 7890 1234 5678",
    ],
};

/// Whether the first characters, as many as the country's IBANs have, are one.
fn check(found: &Found<'_>) -> bool {
    length(found.value()).is_some()
}

/// What follows may be the next word: the pattern does not know where it ends.
fn end(found: &Found<'_>) -> usize {
    let length = length(found.value()).unwrap_or_default();
    let characters = found.value().iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric());
    found.start + characters.map(|(at, _)| at + 1).nth(length.saturating_sub(1)).unwrap_or(found.end - found.start)
}

fn length(value: &[u8]) -> Option<usize> {
    let country = [value.first()?.to_ascii_uppercase(), value.get(1)?.to_ascii_uppercase()];
    let (_, length) = LENGTHS.iter().find(|(code, _)| **code == country)?;
    let compact = value.iter().filter(|byte| byte.is_ascii_alphanumeric()).copied();
    let compact: Vec<u8> = compact.collect();
    let (head, body) = compact.get(..*length)?.split_at(4);
    (mod_97(body.iter().chain(head).copied()) == 1).then_some(*length)
}

/// Characters of an IBAN, by country.
const LENGTHS: [(&[u8; 2], usize); 85] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"XK", 20),
];
