//! Access tokens of Databricks.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("databricks_token", Group::Secret),
    what: "a Databricks access token",
    source: "Databricks documentation, personal access tokens",
    pattern: r"\bdapi[0-9a-f]{32}(?:-[0-9])?\b",
    trigger: Trigger::Words(&["dapi"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "dapi", "66d14f15d7d607446fcb7009310eaadd", "» here")],
    others: &["dapi0000"],
};
