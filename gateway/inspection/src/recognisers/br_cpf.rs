//! Brazilian taxpayer numbers (CPF).

use crate::checksum::weighted;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("br_cpf", Group::NationalId),
    what: "a Brazilian CPF, with both check digits",
    source: "Receita Federal, Instrução Normativa 1548/2015",
    pattern: r"\b[0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["CPF «390.533.447-05»", "«39053344705»"],
    others: &["390.533.447-06", "111.111.111-11"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let first = weighted(&digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) * 10 % 11 % 10;
    let second = weighted(&digits, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) * 10 % 11 % 10;
    first == digits.at(9) && second == digits.at(10) && !digits.is_one_digit() && !found.is_cut_out()
}
