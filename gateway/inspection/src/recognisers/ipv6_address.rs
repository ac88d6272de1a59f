//! IPv6 addresses.
//!
//! `a::b` is an address too, but in a prompt it is a name in source code: an address has a digit, and three colons or the
//! beginning of an address in use.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(crate) const KIND: TextKind = TextKind::new("ipv6_address", Group::NetworkAddress);

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: KIND,
    what: "an IPv6 address other than :: and ::1",
    source: "RFC 4291 section 2.2; IANA IPv6 address space registry",
    pattern: r"[0-9A-Fa-f:]{2,38}:(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{1,4})|[0-9A-Fa-f:]{3,38}::",
    trigger: Trigger::Colons,
    check,
    context: Context::Free,
    end: whole,
    examples: &["host «2001:db8::8a2e:370:7334» answers", "[«fe80::1»]", "«::ffff:192.0.2.128»"],
    others: &["std::vec", "a::b", "12:30:45", "::1", "dead::beef", "aa:bb:cc:dd:ee:f1"],
};

fn check(found: &Found<'_>) -> bool {
    let value = found.value();
    let Some(address) = std::str::from_utf8(value).ok().and_then(|text| text.parse::<std::net::Ipv6Addr>().ok()) else {
        return false;
    };
    let in_use = matches!(address.segments()[0], 0x2000..=0x3fff | 0xfc00..=0xfdff | 0xfe80..=0xfebf | 0xff00..)
        || address.to_ipv4_mapped().is_some();
    let joins = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b':';
    let is_whole = !found.before().last().is_some_and(joins) && !found.behind().first().is_some_and(joins);
    let colons = value.iter().filter(|byte| **byte == b':').count();
    is_whole && !address.is_loopback() && value.iter().any(u8::is_ascii_digit) && (in_use || colons > 3)
}
