//! Portuguese tax numbers (NIF).

use crate::checksum::weighted;
use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("pt_nif", Group::NationalId),
    what: "a Portuguese NIF beside a word that names it",
    source: "Portuguese Decreto-Lei 14/2013; modulus 11",
    pattern: r"\b[1-35689][0-9]{2}[ ]?[0-9]{3}[ ]?[0-9]{3}\b",
    trigger: Trigger::Digits,
    check,
    context: Context::Needed(&["nif", "contribuinte", "contribuinte n.º", "número fiscal", "nipc"]),
    end: whole,
    examples: &["NIF «123456789»", "contribuinte n.º «501 964 843»"],
    others: &["123456789", "NIF 123456780"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.digits();
    let rest = weighted(&digits, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest < 2 { 0 } else { 11 - rest };
    check == digits.at(8) && !found.is_cut_out()
}
