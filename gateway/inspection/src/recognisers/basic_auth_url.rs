//! Passwords in addresses.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("basic_auth_url", Group::Secret),
    what: "a user and a password in a URL",
    source: "RFC 3986 section 3.2.1",
    pattern: r"[a-z][a-z0-9+.\-]{1,20}://[0-9A-Za-z_.~%!$&*+,;=\-]{0,64}:[0-9A-Za-z_.~%!$&*+,;=?#^\-]{3,100}@",
    trigger: Trigger::BareWords(&["://"]),
    check,
    context: Context::Free,
    end: whole,
    examples: &[concat!("at «", "postgres://", "app:s3cr3t-Pass@", "»")],
    others: &["https://example.org:8080/a@b", "http://user@host"],
};

/// A placeholder such as `user:password@` in a manual opens nothing.
fn check(found: &Found<'_>) -> bool {
    let value = found.value();
    let password = value.iter().position(|byte| *byte == b'@').and_then(|at| value.get(..at));
    let password = password.and_then(|head| head.rsplit(|byte| *byte == b':').next()).unwrap_or_default();
    !matches!(password, b"password" | b"pass" | b"passwd" | b"secret" | b"xxx" | b"xxxx" | b"pwd")
}
