//! Private keys in PEM and OpenSSH form.
//!
//! The line that opens one is enough, since whoever pastes it pastes the key as well. What is replaced goes on to the line that
//! closes it, where that line follows within 16 KiB.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, any};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("private_key", Group::Secret),
    what: "a private key: PEM of every kind, OpenSSH, PGP",
    source: "RFC 7468; RFC 4880 section 6.2; OpenSSH PROTOCOL.key",
    pattern: r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
    trigger: Trigger::BareWords(&["PRIVATE KEY"]),
    check: any,
    context: Context::Free,
    end,
    examples: &[
        "«-----BEGIN RSA PRIVATE KEY-----» MIIE",
        "«-----BEGIN PRIVATE KEY-----»",
        "«-----BEGIN PGP PRIVATE KEY BLOCK-----»",
        "a «-----BEGIN EC PRIVATE KEY-----\nMHQCAQEE\n-----END EC PRIVATE KEY-----» b",
    ],
    others: &["-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----", "a PRIVATE KEY"],
};

/// Longest key that is looked for behind the line that opens it; RSA of 16,384 bits takes 13 KiB.
const LONGEST_KEY: usize = 16 << 10;

/// Up to the line that closes the key, where there is one: else the opening line alone.
fn end(found: &Found<'_>) -> usize {
    let behind = found.behind();
    let behind = behind.get(..LONGEST_KEY).unwrap_or(behind);
    let value_end = behind.iter().position(|byte| *byte < b'\t').unwrap_or(behind.len());
    let behind = behind.get(..value_end).unwrap_or_default();
    let closes = behind.windows(8).position(|here| here == b"-----END");
    let rest = closes.and_then(|at| Some((at, behind.get(at + 8..)?)));
    let ends = rest.and_then(|(at, rest)| Some(at + 8 + rest.windows(5).position(|here| here == b"-----")? + 5));
    found.end + ends.unwrap_or(0)
}
