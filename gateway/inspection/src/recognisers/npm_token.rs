//! Access tokens of npm.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("npm_token", Group::Secret),
    what: "an npm access token",
    source: "npm documentation, about access tokens",
    pattern: r"\bnpm_[0-9A-Za-z]{36}\b",
    trigger: Trigger::Words(&["npm_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "npm_", "xEEsAoCaA2QTqpOoast0vQj8VMtbYo9Mqb5j", "» here")],
    others: &["npm_config_registry"],
};
