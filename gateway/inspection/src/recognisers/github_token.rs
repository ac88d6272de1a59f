//! Tokens of GitHub.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("github_token", Group::Secret),
    what: "a GitHub personal, OAuth, application or refresh token",
    source: "GitHub documentation, token formats; the last six characters are a CRC-32",
    pattern: r"\b(?:gh[oprsu]_[0-9A-Za-z]{36,255}|github_pat_[0-9A-Za-z_]{60,240})",
    trigger: Trigger::Words(&["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "ghp_", "KcBEKanD0F0rPZkcHFuep88VxcA3iMwyAs0R", "» here")],
    others: &["ghp_short", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"],
};
