//! Payment card numbers.

use crate::checksum::luhn;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("card", Group::Financial),
    what: "the number of a payment card (Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, Maestro)",
    source: "ISO/IEC 7812-1; issuer ranges as the schemes publish them",
    pattern: r"\b[2-6][0-9]{3}(?:[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{1,7}|[ -]?[0-9]{6}[ -]?[0-9]{4,5})\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &[
        "charge «4111 1111 1111 1111» now",
        "«5555-5555-5555-4444»",
        "«378282246310005»",
        "amex «3782 822463 10005»",
        "«30569309025904»",
        "«6011111111111117»",
        "«2223003122003222», new Mastercard range",
        "https://shop.example/pay/«4111111111111111»/now",
    ],
    others: &[
        "4111 1111 1111 1112",
        "0000 0000 0000 0000",
        "order 20260101123456",
        "1234567812345670",
        "4444444444444444",
        "4111-1111-1111-1111-9",
        "7/4111111111111111",
    ],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let prefix = |length| digits.number(0, length);
    let fits = match digits.len() {
        13 => prefix(1) == 4,
        14 => matches!(prefix(2), 36 | 38 | 39) || matches!(prefix(3), 300..=305),
        15 => matches!(prefix(2), 34 | 37),
        16 | 19 => {
            prefix(1) == 4
                || matches!(prefix(2), 51..=55 | 62 | 64 | 65)
                || matches!(prefix(4), 2221..=2720 | 6011)
                || matches!(prefix(4), 3528..=3589)
                || matches!(prefix(4), 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
        }
        17 | 18 => prefix(2) == 62 || matches!(prefix(4), 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763),
        _ => false,
    };
    fits && !digits.is_one_digit() && !found.is_cut_out_of_no_path() && luhn(&digits)
}
