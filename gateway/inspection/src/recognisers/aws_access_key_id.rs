//! Access key ids of Amazon Web Services.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("aws_access_key_id", Group::Secret),
    what: "an AWS access key id, long-lived or temporary",
    source: "AWS IAM user guide, unique identifiers",
    pattern: r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    trigger: Trigger::Words(&["AKIA", "ASIA"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "AKIA", "IEQH746YNG7BY3A4", "» here")],
    others: &["AKIAXXXXXXXXXXXXXXXX", "AKIA in Kenya"],
};
