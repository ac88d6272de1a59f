//! Spanish identity numbers (DNI, NIF).

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("es_dni", Group::NationalId),
    what: "a Spanish DNI with its letter",
    source: "Spanish Real Decreto 1553/2005; letter by remainder of 23",
    pattern: r"\b[0-9]{8}[ -]?[A-Za-z]\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["DNI «12345678Z»", "«12345678-z»"],
    others: &["12345678A"],
};

fn check(found: &Found<'_>) -> bool {
    let letter = found.value().last().map(u8::to_ascii_uppercase);
    let digits = found.digits();
    letter.as_ref() == b"TRWAGMYFPDXBNJZSQVHLCKE".get((digits.number(0, 8) % 23) as usize) && !found.is_cut_out()
}
