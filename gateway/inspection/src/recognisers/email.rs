//! E-mail addresses.
//!
//! The quoted form of RFC 5322 (`"any thing"@example.org`) is not recognised: it is as good as unused, and in JSON text a
//! quote is nearly always something else.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("email", Group::Contact),
    what: "an e-mail address",
    source: "RFC 5322 section 3.4.1, dot-atom form; lengths of RFC 5321 section 4.5.3.1",
    pattern: r"[0-9A-Za-z][0-9A-Za-z.!#$%&'*+/=?^_{|}~-]{0,63}@(?:[0-9A-Za-z\x80-\xFF][0-9A-Za-z\x80-\xFF-]{0,62}\.){1,4}[A-Za-z\x80-\xFF][0-9A-Za-z\x80-\xFF-]{0,22}[0-9A-Za-z\x80-\xFF]",
    trigger: Trigger::At,
    check,
    context: Context::Free,
    end: whole,
    examples: &[
        "write to «anna.meier+offers@example.co.uk», please",
        "<«a_b-c@xn--bcher-kva.example»>",
        "mailto:«X@sub.domain.example»?subject=hello",
        "Post an «jens@müller.example».",
        "«anna@example.org»- and so on",
    ],
    others: &["meet @noon.today", "user@localhost", "a@b.c", "git@github", "1.5@2.5", "x@.example"],
};

/// No dot stands behind another.
fn check(found: &Found<'_>) -> bool {
    !found.value().windows(2).any(|pair| pair == b"..")
}
