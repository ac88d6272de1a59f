//! User keys of New Relic.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("new_relic_key", Group::Secret),
    what: "a New Relic key",
    source: "New Relic documentation, API keys",
    pattern: r"\bNR(?:AK|JS|II|SP)-[0-9A-Za-z_\-]{19,40}",
    trigger: Trigger::Words(&["NRAK-", "NRJS-", "NRII-", "NRSP-"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "NRAK-", "ENJTP5BCGU6VD74XA8I7A5MSM2F", "» here")],
    others: &["NRAK-KEY"],
};
