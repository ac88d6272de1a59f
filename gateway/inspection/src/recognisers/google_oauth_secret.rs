//! OAuth client secrets of Google.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("google_oauth_secret", Group::Secret),
    what: "a Google OAuth client secret",
    source: "Google Identity documentation, OAuth 2.0 client secrets",
    pattern: r"\bGOCSPX-[0-9A-Za-z_\-]{28}",
    trigger: Trigger::Words(&["GOCSPX-"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "GOCSPX-", "DNxril3RavGD5MfvJ7NScUykT8C8", "» here")],
    others: &["GOCSPX-secret"],
};
