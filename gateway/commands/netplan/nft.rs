//! The plan as an nftables table for the gateway's machine.
//!
//! Loading it twice gives the same table. Everything that is not listed is dropped in both directions, except what
//! belongs to a connection that was let through, and the ICMP errors without which packets of the wrong size vanish.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::plan::{Destination, Flow, Plan};

const INTO_STRING: &str = "writing into a String cannot fail";

pub(super) fn print(plan: &Plan) -> String {
    let mut text = String::from(
        "#!/usr/sbin/nft -f\n# Printed by `causeway netplan --format nft`; change the configuration, not this file.\n",
    );
    match &plan.surroundings.user {
        Some(user) => comment(&mut text, &format!("It restricts the processes of user {user} only.")),
        None => comment(&mut text, "It restricts the whole machine: without --manage-from nobody gets in by SSH."),
    }
    text.push_str("\nadd table inet causeway\ndelete table inet causeway\ntable inet causeway {\n");
    output(&mut text, plan);
    // Who may call a user's sockets cannot be told from the user.
    if plan.surroundings.user.is_none() {
        input(&mut text, plan);
        text.push_str("\n    chain forward {\n        type filter hook forward priority filter; policy drop;\n    }\n");
    }
    text.push_str("}\n");
    text
}

fn output(text: &mut String, plan: &Plan) {
    text.push_str("    chain output {\n        type filter hook output priority filter; policy ");
    let user = plan.surroundings.user.as_deref();
    text.push_str(if user.is_some() { "accept;\n" } else { "drop;\n" });
    if let Some(user) = user {
        writeln!(text, "        meta skuid != {} accept", quoted_user(user)).expect(INTO_STRING);
    }
    rule(text, "oifname \"lo\" accept", "this machine");
    rule(text, "ct state established,related accept", "answers to callers, and what was let through");
    if user.is_none() {
        neighbours(text);
    }
    for flow in &plan.flows {
        outgoing(text, flow);
    }
    if user.is_some() {
        rule(text, "counter drop", "nothing else");
    }
    text.push_str("    }\n");
}

fn outgoing(text: &mut String, flow: &Flow) {
    let what = format!("{} {}", flow.purpose.as_str(), flow.name);
    match &flow.destination {
        Destination::Internet(host) => {
            comment_in(text, &format!("{what}: {host} is on the internet, and its addresses are not known; blocked"));
        }
        Destination::System => {
            comment_in(text, &format!("{what}: the servers of /etc/resolv.conf are not known here; blocked"));
        }
        Destination::Networks(_) => {
            let to = format!("{} dport {} accept", flow.protocol.as_str(), flow.port);
            for family in families(flow.networks()) {
                rule(text, &format!("{} daddr {} {to}", family.0, family.1), &what);
            }
        }
    }
}

fn input(text: &mut String, plan: &Plan) {
    text.push_str("\n    chain input {\n        type filter hook input priority filter; policy drop;\n");
    rule(text, "iifname \"lo\" accept", "this machine");
    rule(text, "ct state established,related accept", "answers to the gateway");
    neighbours(text);
    for door in &plan.doors {
        from(text, &plan.surroundings.callers, &format!("tcp dport {} accept", door.port), door.who);
    }
    if !plan.surroundings.managers.is_empty() {
        from(text, &plan.surroundings.managers, "tcp dport 22 accept", "management");
    }
    text.push_str("    }\n");
}

/// Without these IPv6 has no neighbours, and a path with a smaller MTU swallows packets silently.
fn neighbours(text: &mut String) {
    rule(text, "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept", "IPv6 neighbours");
    rule(text, "icmp type destination-unreachable accept", "the size of packets");
    rule(text, "icmpv6 type packet-too-big accept", "the size of packets");
}

fn from(text: &mut String, networks: &[IpNet], to: &str, who: &str) {
    if networks.is_empty() {
        rule(text, to, who);
    }
    for family in families(networks.iter().copied()) {
        rule(text, &format!("{} saddr {} {to}", family.0, family.1), who);
    }
}

/// The networks by family, as the words of a rule: `("ip", "{ 10.20.0.0/16 }")`.
fn families(networks: impl Iterator<Item = IpNet>) -> Vec<(&'static str, String)> {
    // Ranges inside others would be refused by nft as overlapping.
    let (v4, v6): (Vec<IpNet>, Vec<IpNet>) =
        IpNet::aggregate(&networks.collect()).into_iter().partition(|network| matches!(network, IpNet::V4(_)));
    let words = |family: &'static str, mut networks: Vec<IpNet>| {
        networks.sort();
        let all: Vec<String> = networks.iter().map(ToString::to_string).collect();
        (!all.is_empty()).then(|| (family, format!("{{ {} }}", all.join(", "))))
    };
    [words("ip", v4), words("ip6", v6)].into_iter().flatten().collect()
}

fn quoted_user(user: &str) -> String {
    if user.bytes().all(|byte| byte.is_ascii_digit()) { user.to_owned() } else { format!("\"{}\"", tame(user)) }
}

/// A name from the command line is any text, and may end neither a string nor a line. (Those of the configuration are
/// checked when it is read.)
fn tame(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\') || *c == ' ').take(100).collect()
}

fn comment(text: &mut String, what: &str) {
    writeln!(text, "# {}", tame(what)).expect(INTO_STRING);
}

fn comment_in(text: &mut String, what: &str) {
    writeln!(text, "        # {what}").expect(INTO_STRING);
}

fn rule(text: &mut String, words: &str, why: &str) {
    writeln!(text, "        {words} comment \"{why}\"").expect(INTO_STRING);
}
