//! API keys of Linear.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("linear_key", Group::Secret),
    what: "a Linear API key",
    source: "Linear developers, personal API keys",
    pattern: r"\blin_(?:api|oauth)_[0-9A-Za-z]{32,64}",
    trigger: Trigger::Words(&["lin_api_", "lin_oauth_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "lin_api_", "HwLb1o5b4yx98eB9tvgLG0jgrwNaXjWHfZdxqVJT", "» here")],
    others: &["lin_api_key"],
};
