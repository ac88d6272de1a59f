//! Tokens of HashiCorp Vault.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("vault_token", Group::Secret),
    what: "a Vault service, batch or recovery token",
    source: "HashiCorp Vault documentation, token prefixes",
    pattern: r"\bhv[sbr]\.[0-9A-Za-z_\-]{24,200}",
    trigger: Trigger::Words(&["hvs.", "hvb.", "hvr."]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "key «",
        "hvs.",
        "hViIMTloiODWAnnjzk19iMmmbApegA5uS0il57GHSUQZrNo6RCima7XsORqfHI66rUhKA4kmxecBW1ZFxkyZq19y4GQQlol",
        "» here"
    )],
    others: &["hvs.token"],
};
