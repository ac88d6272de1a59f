//! Secret and restricted keys of Stripe.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("stripe_key", Group::Secret),
    what: "a Stripe secret or restricted key, live or test",
    source: "Stripe documentation, API keys",
    pattern: r"\b(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{16,128}",
    trigger: Trigger::Words(&["sk_live_", "sk_test_", "rk_live_", "rk_test_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "sk_live_", "gNSWPH8prVqsUeQCtDR3zzX6", "» here")],
    others: &["sk_live_xxxxxxxxxxxxxxxxxxxx"],
};
