//! Integration tokens of Notion.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("notion_token", Group::Secret),
    what: "a Notion integration token",
    source: "Notion developers, authorization",
    pattern: r"\bntn_[0-9A-Za-z]{40,50}\b",
    trigger: Trigger::Words(&["ntn_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "ntn_", "JvWiVv3jsB9qKdVHW37ZrPxZT6L7Wgxa9GagUFxUbvRFdb", "» here")],
    others: &["ntn_token"],
};
