//! What a plan means for an Azure hub: private zones, the resolver's inbound endpoint, and firewall rules.
//!
//! Bicep and Terraform say the same in two languages; here is what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::plan::{Destination, Flow, Plan, PrivateName};

/// How one language says the parts of a plan.
pub(super) struct Language {
    /// What stands first.
    pub(super) head: &'static str,
    /// The resolver, where it has inbound endpoints.
    pub(super) resolver: &'static str,
    pub(super) private_zone: fn(&Zone) -> String,
    /// The inbound endpoint of this number, from 1 on, and this address.
    pub(super) inbound_endpoint: fn(usize, &str) -> String,
    pub(super) rules: fn(&Plan) -> String,
}

/// The plan in one language.
pub(super) fn print(plan: &Plan, language: &Language) -> String {
    let mut text = language.head.to_owned();
    for zone in zones(plan) {
        text.push_str(&(language.private_zone)(&zone));
    }
    let inbound = inbound(plan);
    if !inbound.is_empty() {
        text.push_str(language.resolver);
    }
    for (number, address) in inbound.iter().enumerate() {
        text.push_str(&(language.inbound_endpoint)(number + 1, &address.to_string()));
    }
    text.push_str(&(language.rules)(plan));
    text
}

/// A private DNS zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    /// The zone to create.
    pub(super) private: String,
    /// The endpoints of the configuration whose names it makes private, with spaces between.
    pub(super) endpoints: String,
}

/// The private zones of every Azure service that the plan names, each once.
pub(super) fn zones(plan: &Plan) -> Vec<Zone> {
    let mut zones: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in azure_names(plan) {
        for zone in &name.private_zones {
            zones.entry(zone).or_default().insert(&name.endpoint);
        }
    }
    let zone = |(private, endpoints): (&str, BTreeSet<&str>)| Zone {
        private: private.to_owned(),
        endpoints: endpoints.into_iter().collect::<Vec<_>>().join(" "),
    };
    zones.into_iter().map(zone).collect()
}

/// The servers that answer for those names: the addresses that the resolver's inbound endpoint must have.
pub(super) fn inbound(plan: &Plan) -> Vec<IpAddr> {
    let holds = |zone: &str, host: &str| {
        zone == "." || host == zone || host.strip_suffix(zone).is_some_and(|before| before.ends_with('.'))
    };
    let asked = |name: &&PrivateName| {
        plan.forwarders.iter().filter(|forwarder| holds(&forwarder.zone, &name.host)).max_by_key(|one| one.zone.len())
    };
    let zones: BTreeSet<&str> =
        azure_names(plan).filter_map(|name| asked(&name)).map(|one| one.zone.as_str()).collect();
    let servers: BTreeSet<IpAddr> = plan
        .forwarders
        .iter()
        .filter(|forwarder| zones.contains(forwarder.zone.as_str()))
        .map(|forwarder| forwarder.server.ip())
        .collect();
    servers.into_iter().collect()
}

fn azure_names(plan: &Plan) -> impl Iterator<Item = &PrivateName> {
    plan.private.iter().filter(|name| !name.private_zones.is_empty())
}

/// A rule of the firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Unique in its collection.
    pub(super) name: String,
    /// `TCP` or `UDP`.
    pub(super) protocol: &'static str,
    pub(super) to: Vec<String>,
    pub(super) port: u16,
}

/// The rules for addresses.
pub(super) fn network_rules(plan: &Plan) -> Vec<Rule> {
    let rule = |flow: &Flow| Rule {
        name: rule_name(flow),
        protocol: flow.protocol.as_capitals(),
        to: flow.networks().map(|network| network.to_string()).collect(),
        port: flow.port,
    };
    numbered(plan.flows.iter().map(rule).filter(|rule| !rule.to.is_empty()))
}

/// The rules for names on the internet, which this firewall can hold by the name that TLS shows.
pub(super) fn name_rules(plan: &Plan) -> Vec<Rule> {
    let rule = |flow: &Flow| match &flow.destination {
        Destination::Internet(host) => {
            Some(Rule { name: rule_name(flow), protocol: "Https", to: vec![host.clone()], port: flow.port })
        }
        Destination::Networks(_) | Destination::System => None,
    };
    numbered(plan.flows.iter().filter_map(rule))
}

fn rule_name(flow: &Flow) -> String {
    format!("{}-{}-{}-{}", flow.purpose.as_str(), symbol(&flow.name), flow.protocol.as_str(), flow.port)
}

/// A resolver with two servers has two rules of one name; the second gets a number.
fn numbered(rules: impl Iterator<Item = Rule>) -> Vec<Rule> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut all: Vec<Rule> = rules.collect();
    for rule in &mut all {
        let count = seen.entry(rule.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            rule.name = format!("{}-{count}", rule.name);
        }
    }
    all
}

/// Without what would end a comment or a string of either language: a line end, or another control character.
pub(super) fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// A name in the characters that every tool takes: letters, digits and hyphens.
pub(super) fn symbol(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}
