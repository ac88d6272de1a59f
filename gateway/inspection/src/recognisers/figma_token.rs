//! Access tokens of Figma.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("figma_token", Group::Secret),
    what: "a Figma access token",
    source: "Figma developers, access tokens",
    pattern: r"\bfig[do]_[0-9A-Za-z_\-]{36,50}",
    trigger: Trigger::Words(&["figd_", "figo_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "figd_", "OABWUgexSDxcMQkLwurTvNUtE9WLzo7NfHFjBHpa", "» here")],
    others: &["figd_token"],
};
