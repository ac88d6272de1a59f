//! Hardware addresses of network interfaces.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("mac_address", Group::NetworkAddress),
    what: "a MAC address (EUI-48), with colons or hyphens",
    source: "IEEE 802-2014 section 8.1; RFC 9542",
    pattern: r"\b[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})\b",
    trigger: Trigger::Colons,
    check,
    context: Context::Free,
    end: whole,
    examples: &["interface «00:1b:44:11:3a:b7» up", "«AC-DE-48-FA-BB-CC»"],
    others: &[
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
        "00:1b:44:11:3a",
        "01:02:03:04:05:06:07:08",
        "2026-01-02-03-04-05",
    ],
};

/// Neither nobody's nor everybody's address, and no piece of a longer chain (a fingerprint, a key).
fn check(found: &Found<'_>) -> bool {
    let value = found.value();
    let one_letter = value.iter().filter(|byte| byte.is_ascii_hexdigit()).all(|byte| matches!(byte, b'0'))
        || value.iter().filter(|byte| byte.is_ascii_hexdigit()).all(|byte| matches!(byte, b'f' | b'F'));
    let joins = |byte: Option<&u8>| matches!(byte, Some(b':' | b'-'));
    !one_letter && !joins(found.before().last()) && !joins(found.behind().first())
}
