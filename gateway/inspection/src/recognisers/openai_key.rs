//! API keys of OpenAI and of those who took over its form.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("openai_key", Group::Secret),
    what: "an API key that begins with `sk-`",
    source: "OpenAI API reference, authentication",
    pattern: r"\bsk-(?:proj-|svcacct-|admin-|or-v1-)?[0-9A-Za-z_\-]{20,200}",
    trigger: Trigger::Words(&["sk-"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "sk-", "proj-u8jzPde0IgxLd6GncfBAepfJBd0Kh8oOOL8dKLzdocJ2isAj", "» here")],
    others: &["sk-learn-and-other-libraries-for-python", "sk-...", "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"],
};
