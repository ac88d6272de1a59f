//! Finnish personal identity codes (HETU).

use crate::checksum::is_day;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("fi_personal_code", Group::NationalId),
    what: "a Finnish personal identity code, with its check character and date",
    source: "Finnish act 661/2009; further century signs since 2023",
    pattern: r"\b[0-9]{6}[-+A-FU-Ya-fu-y][0-9]{3}[0-9A-FHJ-NPR-Ya-fhj-npr-y]\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["hetu «131052-308T»", "«131052A308t»"],
    others: &["131052-308U", "321052-308T"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let number = digits.number(0, 9);
    let expected = b"0123456789ABCDEFHJKLMNPRSTUVWXY".get((number % 31) as usize);
    let last = found.value().last().map(u8::to_ascii_uppercase);
    last.as_ref() == expected && is_day(digits.number(0, 2), digits.number(2, 2)) && !found.is_cut_out()
}
