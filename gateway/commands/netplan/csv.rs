//! The plan as one table, for tickets and spreadsheets (RFC 4180, with plain line ends).

use std::fmt::Write as _;

use super::plan::{Destination, Flow, Plan};
use super::{azure, bypass};

const HEAD: &str = "kind,name,from,to,protocol,port,host,note\n";

/// One line of the table, in the order of its head.
#[derive(Default)]
struct Row<'a> {
    kind: &'a str,
    name: &'a str,
    from: &'a str,
    to: &'a str,
    protocol: &'a str,
    port: String,
    host: &'a str,
    note: &'a str,
}

pub(super) fn print(plan: &Plan) -> String {
    let mut text = HEAD.to_owned();
    for forwarder in &plan.forwarders {
        let server = forwarder.server.ip().to_string();
        let port = forwarder.server.port().to_string();
        let note = "the gateway asks this server itself; a forwarder is for everybody else's clients";
        let (name, host) = (forwarder.resolver.as_str(), forwarder.zone.as_str());
        row(&mut text, &Row { kind: "forwarder", name, to: &server, port, host, note, ..Row::default() });
    }
    for zone in azure::zones(plan) {
        let note = "create it, link it to the resolver's network, and give the private endpoint a zone group in it";
        let (name, host) = (zone.endpoints.as_str(), zone.private.as_str());
        row(&mut text, &Row { kind: "private-zone", name, host, note, ..Row::default() });
    }
    for flow in &plan.flows {
        egress(&mut text, flow);
    }
    for door in &plan.doors {
        let callers: Vec<String> = plan.surroundings.callers.iter().map(ToString::to_string).collect();
        let from = if callers.is_empty() { "any".to_owned() } else { callers.join(" ") };
        let (port, protocol) = (door.port.to_string(), "tcp");
        row(
            &mut text,
            &Row { kind: "ingress", name: door.who, from: &from, to: "gateway", protocol, port, ..Row::default() },
        );
    }
    for (endpoint, host) in bypass::hosts(plan) {
        let note = "do not inspect: the gateway accepts the service's own certificate and no other";
        row(&mut text, &Row { kind: "tls-inspection-bypass", name: endpoint, host, note, ..Row::default() });
    }
    text
}

fn egress(text: &mut String, flow: &Flow) {
    let (to, note) = match &flow.destination {
        Destination::Networks(networks) => {
            let all: Vec<String> = networks.iter().map(ToString::to_string).collect();
            (all.join(" "), if flow.stays_here() { "stays on the machine".to_owned() } else { String::new() })
        }
        Destination::Internet(host) => (host.clone(), "on the internet, by name".to_owned()),
        Destination::System => ("system".to_owned(), "the servers of the machine's /etc/resolv.conf".to_owned()),
    };
    let note = flow.over.as_ref().map_or(note, |proxy| format!("over the proxy {proxy}, by CONNECT"));
    let (protocol, port) = (flow.protocol.as_str(), flow.port.to_string());
    let (kind, name, host) = (flow.purpose.as_str(), flow.name.as_str(), flow.host.as_str());
    row(
        text,
        &Row { kind: &format!("egress-{kind}"), name, from: "gateway", to: &to, protocol, port, host, note: &note },
    );
}

fn row(text: &mut String, row: &Row<'_>) {
    let Row { kind, name, from, to, protocol, port, host, note } = row;
    let cells = [kind, name, from, to, protocol, port.as_str(), host, note].map(cell);
    writeln!(text, "{}", cells.join(",")).expect("writing into a String cannot fail");
}

/// A cell that holds a separator is quoted.
fn cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
