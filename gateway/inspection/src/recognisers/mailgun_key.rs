//! API keys of Mailgun.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("mailgun_key", Group::Secret),
    what: "a Mailgun API key",
    source: "Mailgun documentation, authentication",
    pattern: r"\bkey-[0-9a-f]{32}\b",
    trigger: Trigger::Words(&["key-"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("api: «", "key-", "470e53b2781a5d1089d6531aa85c9488", "» here")],
    others: &["key-value stores", "key-0000"],
};
