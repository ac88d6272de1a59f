//! Secret keys of age.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("age_key", Group::Secret),
    what: "an age secret key",
    source: "age specification, recipients",
    pattern: r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b",
    trigger: Trigger::Words(&["AGE-SECRET-KEY-1"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "key «",
        "AGE-SECRET-KEY-1",
        "AZ0JDGK3UPGRVART58S5FX6R54WFN2NJA2DLMY2DQ9AN8V0AAX74AJ0YZF",
        "» here"
    )],
    others: &["AGE-SECRET-KEY-1"],
};
