//! Tokens of HCP Terraform.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("terraform_token", Group::Secret),
    what: "an HCP Terraform API token",
    source: "HashiCorp documentation, API tokens",
    pattern: r"\b[0-9A-Za-z]{14}\.atlasv1\.[0-9A-Za-z_\-]{60,80}",
    trigger: Trigger::Words(&[".atlasv1."]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "key «",
        "JewM2MsfG7wzAb",
        ".atlasv1.IZsNbNP0nqdzyPifDaH7pbek610MH6z1PwI4ezbpZKRrWBKgRrOJ5hNF7ti1t4tqGfi",
        "» here"
    )],
    others: &["x.atlasv1.y"],
};
