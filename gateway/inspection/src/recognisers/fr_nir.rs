//! French social security numbers (NIR).

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("fr_nir", Group::NationalId),
    what: "a French NIR with its key, Corsica included",
    source: "French Code de la sécurité sociale R115-1; INSEE, NIR and its key",
    pattern: r"\b[1-478][ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9][0-9AB][ ]?[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{2}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["NIR «2 55 08 14 168 025 38»", "«255081416802538»"],
    others: &["2 55 08 14 168 025 39"],
};

/// Corsica's departments `2A` and `2B` count as 19 and 18.
fn check(found: &Found<'_>) -> bool {
    let letter = found.value().iter().find(|byte| byte.is_ascii_alphabetic());
    let digits = found.digits();
    let (body, key) = match letter {
        None => (digits.number(0, 13), digits.number(13, 2)),
        Some(letter) => {
            let county = if *letter == b'A' { 19 } else { 18 };
            let body = digits.number(0, 5) * 100_000_000 + county * 1_000_000 + digits.number(6, 6);
            (body, digits.number(12, 2))
        }
    };
    97 - body % 97 == key && !found.is_cut_out()
}
