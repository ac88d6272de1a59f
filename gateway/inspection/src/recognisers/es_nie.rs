//! Spanish identity numbers of foreigners (NIE).

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("es_nie", Group::NationalId),
    what: "a Spanish NIE with its letter",
    source: "Spanish Real Decreto 557/2011, article 206",
    pattern: r"\b[XYZxyz][ -]?[0-9]{7}[ -]?[A-Za-z]\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["NIE «X1234567L»", "«Z-1234567-R»"],
    others: &["X1234567M"],
};

fn check(found: &Found<'_>) -> bool {
    let Some((first, last)) = found.value().first().zip(found.value().last()) else { return false };
    let lead = u64::from(first.to_ascii_uppercase() - b'X') * 10_000_000;
    let number = lead + found.digits().number(0, 7);
    b"TRWAGMYFPDXBNJZSQVHLCKE".get((number % 23) as usize) == Some(&last.to_ascii_uppercase()) && !found.is_cut_out()
}
