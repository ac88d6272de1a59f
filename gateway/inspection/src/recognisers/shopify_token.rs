//! Tokens of Shopify.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("shopify_token", Group::Secret),
    what: "a Shopify access token or shared secret",
    source: "Shopify documentation, authentication",
    pattern: r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b",
    trigger: Trigger::Words(&["shpat_", "shpca_", "shppa_", "shpss_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "shpat_", "c565652490ee305fe9f285a92b16aa29", "» here")],
    others: &["shpat_token"],
};
