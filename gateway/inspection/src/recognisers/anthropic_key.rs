//! API keys of Anthropic.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("anthropic_key", Group::Secret),
    what: "an Anthropic API key",
    source: "Anthropic API reference, authentication",
    pattern: r"\bsk-ant-[0-9A-Za-z_\-]{24,160}",
    trigger: Trigger::Words(&["sk-ant-"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "key «",
        "sk-ant-",
        "api03-k-Heas8VOcI-z0myHl2QlU0G4mzLmfzU-ydUF3MTplzoINzW9CrAbyvcQNVW",
        "» here"
    )],
    others: &["sk-ant-...", "sk-ant-your-key"],
};
