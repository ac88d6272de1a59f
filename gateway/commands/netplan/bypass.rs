//! The names that a TLS-inspecting proxy must leave alone.
//!
//! Inspection puts its own certificate in the place of the service's. The gateway takes that for what it is, somebody in
//! between, and refuses the endpoint.

use super::plan::{Plan, Purpose};

/// Each host behind TLS that the gateway itself speaks to, by name: endpoints, identity hosts and control planes, store and database,
/// collector, webhooks and the second place of the audit log.
pub(super) fn hosts(plan: &Plan) -> Vec<(&str, &str)> {
    let mut hosts: Vec<(&str, &str)> = plan
        .flows
        .iter()
        .filter(|flow| {
            let speaks = match flow.purpose {
                Purpose::Endpoint
                | Purpose::Identity
                | Purpose::Control
                | Purpose::Store
                | Purpose::Ledger
                | Purpose::Telemetry
                | Purpose::Webhook
                | Purpose::Evidence => true,
                Purpose::Resolver | Purpose::Canary | Purpose::Time => false,
            };
            speaks && flow.is_tls && !flow.stays_here()
        })
        .map(|flow| (flow.name.as_str(), flow.host.as_str()))
        .collect();
    hosts.dedup();
    hosts
}

pub(super) fn print(plan: &Plan) -> String {
    let mut names: Vec<&str> = hosts(plan).into_iter().map(|(_, host)| host).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| format!("{name}\n")).collect()
}
