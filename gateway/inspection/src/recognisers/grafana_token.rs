//! Tokens of Grafana.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("grafana_token", Group::Secret),
    what: "a Grafana service account or cloud token",
    source: "Grafana documentation, service accounts",
    pattern: r"\bgl(?:sa_[0-9A-Za-z]{32}_[0-9a-fA-F]{8}|c_[0-9A-Za-z+/]{32,200}={0,2})",
    trigger: Trigger::Words(&["glsa_", "glc_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "glsa_", "aEhWzjRci8hIoTWijVcQdioIUCHAnLfh_0a1b2c3d", "» here")],
    others: &["glsa_token"],
};
