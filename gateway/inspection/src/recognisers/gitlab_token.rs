//! Tokens of GitLab.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("gitlab_token", Group::Secret),
    what: "a GitLab token",
    source: "GitLab documentation, token prefixes",
    pattern: r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-[0-9A-Za-z_\-]{20,64}",
    trigger: Trigger::Words(&[
        "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-",
    ]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "glpat-", "C3J27XDCG2LmlZGEONYl", "» here")],
    others: &["glpat-short"],
};
