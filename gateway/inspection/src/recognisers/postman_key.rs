//! API keys of Postman.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("postman_key", Group::Secret),
    what: "a Postman API key",
    source: "Postman documentation, API keys",
    pattern: r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b",
    trigger: Trigger::Words(&["PMAK-"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "PMAK-", "a10920578db82dfcbc7c53f6-21be3e9cde412d29bdb16d200b270ab500", "» here")],
    others: &["PMAK-key"],
};
