//! Bot tokens of Discord.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("discord_token", Group::Secret),
    what: "the token of a Discord bot, beside a word that names it",
    source: "Discord developers, authentication",
    pattern: r"\b[MNO][0-9A-Za-z_\-]{23,28}\.[0-9A-Za-z_\-]{6}\.[0-9A-Za-z_\-]{27,40}",
    trigger: Trigger::Near(&["discord", "Discord", "DISCORD"]),
    check: is_random,
    context: Context::Needed(&["discord"]),
    end: whole,
    examples: &[concat!(
        "discord «",
        "MTIzNDU2Nzg5MDEyMzQ1Njc4",
        ".Gabcd1.nqybmozUKaPZqRwTl90bsR42exagBwBYWg3zGL",
        "» here"
    )],
    others: &["discord MTIz.ab.cd"],
};
