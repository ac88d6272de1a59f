//! Tokens of DigitalOcean.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("digitalocean_token", Group::Secret),
    what: "a DigitalOcean token",
    source: "DigitalOcean API documentation, tokens",
    pattern: r"\bdo[opr]_v1_[0-9a-f]{64}\b",
    trigger: Trigger::Words(&["doo_v1_", "dop_v1_", "dor_v1_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "key «",
        "dop_v1_",
        "f896228a8bc577f22dd1eb0f84a743c9125e48150e4bd29eeb0b585fb1756f2a",
        "» here"
    )],
    others: &["dop_v1_token"],
};
