//! Access tokens of Docker.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("docker_token", Group::Secret),
    what: "a Docker access token",
    source: "Docker documentation, personal access tokens",
    pattern: r"\bdckr_(?:pat|oat)_[0-9A-Za-z_\-]{20,40}",
    trigger: Trigger::Words(&["dckr_pat_", "dckr_oat_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "dckr_pat_", "lhQCvpm8FOFlEsD4qmq5ShuHRWY", "» here")],
    others: &["dckr_pat_"],
};
