//! JSON web tokens.
//!
//! The header and the beginning of the claims make one; what is found goes on to the end of the signature.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, any};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("json_web_token", Group::Secret),
    what: "a signed JSON web token",
    source: "RFC 7519 and RFC 7515, compact serialisation",
    pattern: r"\beyJ[0-9A-Za-z_\-]{10,160}\.eyJ[0-9A-Za-z_\-]{4,190}",
    trigger: Trigger::BareWords(&["eyJ"]),
    check: any,
    context: Context::Free,
    end,
    examples: &[concat!("key «", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", "» ok")],
    others: &["eyJhbGciOiJIUzI1NiJ9"],
};

/// Claims and signature may be of any length.
fn end(found: &Found<'_>) -> usize {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    found.end + found.behind().iter().take_while(is_part).count()
}
