//! What a request to a gateway can look like, as a policy that forbids everything else.
//!
//! A proof does without it: PROVED holds for any entities whatever. A counterexample is looked for inside of it first,
//! because one with a class of -7 and a country named `""` convinces nobody.

use std::collections::BTreeSet;

use cedar_policy::{Policy, PolicyId, PolicySet};
use policy::{Action, Mention, Reach, Reads, SHIPPED_LABELS};
use server::configuration;

use super::containment::Side;

/// Countries that tell the groups of the data pack apart, and `ZZ` for anywhere.
const COUNTRIES: [&str; 7] = ["DE", "FR", "NO", "CH", "GB", "US", "ZZ"];

/// Certificates that occur; policies that ask for others are not restricted by this list.
const CERTIFICATES: [&str; 4] = ["HDS", "HIPAA_BAA", "C5", "ISO27001"];

/// What `inner` permits, and nothing that is not usual.
pub(super) fn only(inner: &Side, outer: &Side) -> Option<PolicySet> {
    let text = bounds(&inner.reads().with(&outer.reads()));
    // No policy of a set can have this id: an `@id` holds no blank.
    let bounds = Policy::parse(Some(PolicyId::new("what is usual")), &text).ok()?;
    let mut set = inner.set.clone();
    set.add(bounds).ok()?;
    Some(set)
}

fn bounds(reads: &Reads) -> String {
    let named = |pick: fn(&Mention) -> Option<&str>| reads.mentions.iter().filter_map(pick).collect::<BTreeSet<_>>();
    let mut labels = named(|mention| if let Mention::Label(name) = mention { Some(name) } else { None });
    labels.extend(SHIPPED_LABELS);
    let findings = named(|mention| if let Mention::Finding(name) = mention { Some(name) } else { None });
    let mut countries = named(|mention| if let Mention::Country(code) = mention { Some(code) } else { None });
    countries.extend(COUNTRIES);
    let zones = named(|mention| if let Mention::Zone(name) = mention { Some(name) } else { None });

    let country = |code: &str| format!("Country::{}", quoted(code));
    let all_countries = set(countries.iter().map(|code| country(code)));
    let mut all = vec![
        "context.class >= 0 && context.class <= 3".to_owned(),
        format!("{}.containsAll(context.labels)", texts(&labels)),
        format!("{}.contains(resource.reach)", set(Reach::ALL.map(|reach| quoted(reach.name())).into_iter())),
        format!("{}.containsAll(resource.grants)", set(Action::ALL.map(|action| quoted(action.name())).into_iter())),
        "resource.retention_days >= 0 && resource.retention_days <= 3650".to_owned(),
        r#"(!resource.own_site || resource.reach == "local")"#.to_owned(),
        format!("{}.containsAll(resource.certifications)", set(CERTIFICATES.map(quoted).into_iter())),
    ];
    // A set literal may not be empty.
    if findings.is_empty() {
        all.push("context.findings.isEmpty() && context.redacted.isEmpty()".to_owned());
    } else {
        all.push(format!("{}.containsAll(context.findings)", texts(&findings)));
        all.push("context.findings.containsAll(context.redacted)".to_owned());
    }
    for place in ["processing", "at_rest", "access"] {
        all.push(format!("{all_countries}.containsAll(resource.{place})"));
    }
    for operator in ["operator", "operator_parent"] {
        all.push(format!("{all_countries}.contains(resource.{operator})"));
    }
    for (zone, members) in configuration::pack().groups().iter().filter(|(zone, _)| zones.contains(zone.as_str())) {
        let members = set(members.0.iter().map(|code| country(code.code())));
        all.push(format!("Zone::{}.countries == {members}", quoted(zone)));
    }
    format!("forbid (principal, action, resource) unless {{ {} }};", all.join(" && "))
}

fn texts(names: &BTreeSet<&str>) -> String {
    set(names.iter().map(|name| quoted(name)))
}

fn set(members: impl Iterator<Item = String>) -> String {
    format!("[{}]", members.collect::<Vec<_>>().join(", "))
}

/// As a literal of Cedar; its escapes are those of Rust.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
