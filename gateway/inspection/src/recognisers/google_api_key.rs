//! API keys of Google Cloud.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("google_api_key", Group::Secret),
    what: "a Google API key",
    source: "Google Cloud documentation, API keys",
    pattern: r"\bAIza[0-9A-Za-z_\-]{35}",
    trigger: Trigger::Words(&["AIza"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "AIza", "ox9yimTcfipZGnzPbDFDyFKm51zfFoWbSrH", "» here")],
    others: &["AIzaxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"],
};
