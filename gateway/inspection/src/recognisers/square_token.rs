//! Access tokens of Square.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("square_token", Group::Secret),
    what: "a Square access token",
    source: "Square documentation, access tokens",
    pattern: r"\b(?:sq0(?:atp|csp|idp)-[0-9A-Za-z_\-]{22,43}|EAAA[lE][0-9A-Za-z_\-]{59})",
    trigger: Trigger::Words(&["sq0atp-", "sq0csp-", "sq0idp-", "EAAAl", "EAAAE"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "sq0atp-", "yX711an73tOEc28WqctKBg", "» here")],
    others: &["sq0atp-token"],
};
