//! API keys of Twilio.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("twilio_key", Group::Secret),
    what: "a Twilio API key or account id, beside a word that names it",
    source: "Twilio documentation, API keys",
    pattern: r"\b(?:SK|AC)[0-9a-f]{32}\b",
    trigger: Trigger::Near(&["twilio", "Twilio", "TWILIO"]),
    check: is_random,
    context: Context::Needed(&["twilio"]),
    end: whole,
    examples: &[concat!("twilio «", "SK", "5dd9f6f5700bd24771dde1af3b04230e", "» here")],
    others: &["SK0123"],
};
