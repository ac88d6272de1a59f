//! Incoming webhooks of Slack.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("slack_webhook", Group::Secret),
    what: "the address of a Slack webhook",
    source: "Slack API documentation, incoming webhooks",
    pattern: r"hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z_/]{20,120}",
    trigger: Trigger::Words(&["hooks.slack.com/"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "https://«",
        "hooks.slack.com/services/",
        "T00000001/B00000001/qsR6RZ24lPoQj3oPUlieI2nV",
        "» here"
    )],
    others: &["hooks.slack.com/services/T/B/x"],
};
