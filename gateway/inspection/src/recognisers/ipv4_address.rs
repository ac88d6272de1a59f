//! IPv4 addresses.
//!
//! A loopback or unspecified address says nothing of anybody, and a version number of four parts follows a word or a `v`.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("ipv4_address", Group::NetworkAddress),
    what: "an IPv4 address other than 0.0.0.0 and 127.0.0.0/8",
    source: "RFC 791 section 3.2; RFC 6890 for the special ones",
    pattern: r"\b(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\b",
    trigger: Trigger::DottedDigits,
    check,
    context: Context::Free,
    end: whole,
    examples: &["from «192.0.2.17» at noon", "«10.1.2.3»:8080", "http://«198.51.100.7»/x"],
    others: &["version 1.2.3.4", "v2.10.0.1", "1.2.3.4.5", "127.0.0.1", "0.0.0.0", "256.1.1.1", "3.14"],
};

fn check(found: &Found<'_>) -> bool {
    let digits = found.value();
    let ahead = found.before();
    let is_version = ahead.ends_with(b"v") || ahead.ends_with(b"V") || found.follows(&["version", "release", "ver."]);
    !is_version && !found.is_cut_out() && !digits.starts_with(b"127.") && digits != b"0.0.0.0"
}
