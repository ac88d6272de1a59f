//! What a policy says of itself, and what it has to say.

use std::collections::BTreeSet;
use std::time::SystemTime;

use cedar_policy::Policy;

use super::lint::Report;
use super::reads::Reads;
use super::text::Parsed;
use super::{About, Guard, permits};
use crate::facts::day_of;

/// The annotations that mean something; any other is a slip of the pen.
const KNOWN: [&str; 8] = ["id", "owner", "basis", "grant", "expires", "review_by", "obligation", "note"];

pub(super) fn read(parsed: &Parsed, report: &mut Report) -> Option<About> {
    let policy = &parsed.policy;
    for (name, _) in policy.annotations().filter(|(name, _)| !KNOWN.contains(name)) {
        let remedy = format!("the annotations are @{}", KNOWN.join(", @"));
        report.fault(parsed.place(), format!("`@{name}` is no annotation"), &remedy);
    }
    let Some(id) = policy.annotation("id").filter(|id| is_name(id)) else {
        let remedy =
            "begin it with `@id(\"…\")`: letters, digits, `.`, `_` and `-`, at most 64; records name it by that";
        report.error(parsed.place(), "the policy has no usable `@id`".to_owned(), remedy);
        return None;
    };
    for (name, what) in [("owner", "who answers for it"), ("basis", "the rule or transfer instrument that it serves")] {
        if policy.annotation(name).is_none_or(|value| value.trim().is_empty()) {
            report.fault(parsed.place(), format!("policy `{id}` has no `@{name}`"), &format!("say {what}"));
        }
    }
    let expires = end(parsed, id, report);
    let review_by = date(parsed, id, "review_by", report);
    Some(About {
        id: id.into(),
        permits: permits(policy),
        owner: policy.annotation("owner").unwrap_or_default().to_owned(),
        basis: policy.annotation("basis").unwrap_or_default().to_owned(),
        expires,
        expires_written: policy.annotation("expires").map(str::to_owned),
        review_by,
        review_written: policy.annotation("review_by").map(str::to_owned),
        redact: obligation(parsed, id, report),
        reads: Reads::of(policy),
        guard: Guard::of(policy),
        file: parsed.file.clone(),
        line: parsed.line,
    })
}

/// Time never widens anything: a permit may end, a `forbid` may not.
fn end(parsed: &Parsed, id: &str, report: &mut Report) -> Option<SystemTime> {
    let policy = &parsed.policy;
    let is_base = grant(policy) == Some("base");
    let end = date(parsed, id, "expires", report);
    if !permits(policy) {
        if policy.annotation("expires").is_some() {
            let message = format!("`forbid` `{id}` has an `@expires`: when it ran out, more would be allowed");
            report.error(parsed.place(), message, "write `@review_by`, which reminds and changes no decision");
        }
        return None;
    }
    if let Some(other) = grant(policy).filter(|grant| *grant != "base") {
        let message = format!("permit `{id}` has `@grant(\"{other}\")`");
        report.fault(parsed.place(), message, "the one grant is `@grant(\"base\")`; anything else is an exception");
    }
    if !is_base && policy.annotation("expires").is_none() {
        let message = format!("permit `{id}` is an exception without an end");
        let remedy = "write `@expires(\"2027-06-30\")`, or `@grant(\"base\")` if it belongs to the base grant";
        report.fault(parsed.place(), message, remedy);
    }
    end
}

fn grant(policy: &Policy) -> Option<&str> {
    policy.annotation("grant")
}

fn date(parsed: &Parsed, id: &str, name: &str, report: &mut Report) -> Option<SystemTime> {
    let written = parsed.policy.annotation(name)?;
    let day = day_of(written);
    if day.is_none() {
        let message = format!("policy `{id}`: `@{name}(\"{written}\")` is no date");
        report.error(parsed.place(), message, "write the day as `2027-06-30`; it counts from its first instant, UTC");
    }
    day
}

fn obligation(parsed: &Parsed, id: &str, report: &mut Report) -> BTreeSet<String> {
    let Some(written) = parsed.policy.annotation("obligation") else { return BTreeSet::new() };
    let kinds = written.strip_prefix("redact:").unwrap_or_default().split(',').map(str::trim);
    let is_kind = |kind: &str| is_name(kind.strip_prefix(inspection::OWN).unwrap_or(kind));
    let is_one = kinds.clone().all(is_kind);
    let kinds: BTreeSet<String> = if is_one { kinds.map(str::to_owned).collect() } else { BTreeSet::new() };
    if kinds.is_empty() {
        let message = format!("policy `{id}`: `@obligation(\"{written}\")` is no obligation");
        report.error(parsed.place(), message, "write `@obligation(\"redact:iban,card\")`");
    } else if !permits(&parsed.policy) {
        let message = format!("`forbid` `{id}` has an `@obligation`, which only a permit can have");
        report.error(parsed.place(), message, "put it on a permit that matches the same requests");
    }
    kinds
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(plain)
}
