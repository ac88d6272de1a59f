//! The plan as a Kubernetes `NetworkPolicy` (`networking.k8s.io/v1`).
//!
//! A policy that names both directions denies what it does not list. It is JSON's own subset of YAML that is written
//! here, through a serialiser, so that no name can break out of its place.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::plan::{Destination, Plan};

pub(super) fn print(plan: &Plan) -> String {
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "causeway", "annotations": annotations(plan) },
        "spec": {
            "podSelector": { "matchLabels": { "app.kubernetes.io/name": "causeway" } },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress(plan),
            "egress": egress(plan),
        },
    });
    let mut text = String::from(
        "# Printed by `causeway netplan --format networkpolicy`; change the configuration, not this file.\n",
    );
    yaml(&policy, 0, &mut text);
    text
}

/// What addresses cannot say.
fn annotations(plan: &Plan) -> Value {
    let mut notes = BTreeMap::new();
    for flow in &plan.flows {
        let note = match &flow.destination {
            Destination::Internet(host) => {
                format!("{host} is on the internet; a NetworkPolicy cannot name it: blocked")
            }
            Destination::System => "the system's name servers are not known: blocked".to_owned(),
            Destination::Networks(_) => continue,
        };
        notes.insert(format!("causeway.invalid/{}-{}", flow.purpose.as_str(), flow.name), note);
    }
    json!(notes)
}

fn ingress(plan: &Plan) -> Value {
    let ports: Vec<Value> = plan.doors.iter().map(|door| json!({ "protocol": "TCP", "port": door.port })).collect();
    if ports.is_empty() {
        return json!([]);
    }
    let callers: Vec<Value> = plan.surroundings.callers.iter().copied().map(block).collect();
    if callers.is_empty() { json!([{ "ports": ports }]) } else { json!([{ "from": callers, "ports": ports }]) }
}

fn egress(plan: &Plan) -> Value {
    let rule = |flow: &super::plan::Flow| {
        let to: Vec<Value> = flow.networks().map(block).collect();
        let port = json!({ "protocol": flow.protocol.as_capitals(), "port": flow.port });
        (!to.is_empty()).then(|| json!({ "to": to, "ports": [port] }))
    };
    let mut rules: Vec<Value> = plan.flows.iter().filter_map(rule).collect();
    rules.dedup();
    json!(rules)
}

fn block(network: IpNet) -> Value {
    json!({ "ipBlock": { "cidr": network.to_string() } })
}

/// Block style, with every string quoted as JSON, which YAML reads as well.
fn yaml(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                text.push_str(&format!("{indent}{}:", json!(key)));
                nested(value, depth + 1, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                text.push_str(&format!("{indent}-"));
                nested(item, depth + 1, text);
            }
        }
        leaf => text.push_str(&format!("{indent}{leaf}\n")),
    }
}

fn nested(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            yaml(value, depth, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            yaml(value, depth, text);
        }
        leaf => text.push_str(&format!(" {leaf}\n")),
    }
}
