//! Shared access signatures of Azure.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("azure_sas_token", Group::Secret),
    what: "the signature of an Azure shared access token",
    source: "Microsoft Learn, create a service SAS",
    pattern: r"\bsig=[0-9A-Za-z%+/]{43,60}(?:=|%3D|%3d)",
    trigger: Trigger::Words(&["sig="]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "?sv=2024-11-04&se=2026-01-01&«",
        "sig=",
        "NqVwYS81VP7Hb1DX8pPd5khxE3pyIgKpaUnArl63Xyk%3D",
        "» end"
    )],
    others: &["sig=abc"],
};
