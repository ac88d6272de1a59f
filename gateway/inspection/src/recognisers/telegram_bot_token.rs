//! Bot tokens of Telegram.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("telegram_bot_token", Group::Secret),
    what: "the token of a Telegram bot",
    source: "Telegram bot API, authorizing your bot",
    pattern: r"\b[0-9]{8,10}:AA[0-9A-Za-z_\-]{33}",
    trigger: Trigger::Words(&[":AA"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "123456789:", "AA7X8s51fbLtByHwiUmrCaoND5bgfTFAbGO", "» here")],
    others: &["123456789:AA"],
};
