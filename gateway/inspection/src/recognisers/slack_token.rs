//! Tokens of Slack.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("slack_token", Group::Secret),
    what: "a Slack token",
    source: "Slack API documentation, token types",
    pattern: r"\b(?:xox[abeoprs]-[0-9A-Za-z\-]{10,160}|xapp-[0-9]-[0-9A-Za-z\-]{10,160})",
    trigger: Trigger::Words(&["xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "xoxb-", "1234567890-ErQHQwjyaxErPZDS3MoJaQNj", "» here")],
    others: &["xoxb-", "xoxb-token"],
};
