//! Client secrets of Microsoft Entra applications.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("azure_client_secret", Group::Secret),
    what: "a client secret of a Microsoft Entra application",
    source: "Microsoft Purview, Azure AD client secret entity definition",
    pattern: r"[0-9A-Za-z_~.\-]{3}[0-9]Q~[0-9A-Za-z_~.\-]{31,34}",
    trigger: Trigger::Words(&["7Q~", "8Q~", "9Q~", "0Q~", "1Q~", "2Q~", "3Q~", "4Q~", "5Q~", "6Q~"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "abc8Q~", "ptgUzEjfebzJ6sZWdoHIxrXl0gqn87b", "» here")],
    others: &["8Q~ is short"],
};
