//! How the keys of issuers stand that are fetched.

use std::time::SystemTime;

use serde_json::{Value, json};
use telemetry::metrics::IssuerKeys;

use super::status::stamp;
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;

pub(super) fn gauge(gateway: &Gateway, snapshot: &Snapshot) {
    let statuses: Vec<_> = snapshot.key_sources.iter().map(|source| source.status()).collect();
    let now = SystemTime::now();
    gateway.metrics.set_issuers(statuses.iter().map(|status| IssuerKeys {
        issuer: &status.issuer,
        age: status.fetched.map(|fetched| now.duration_since(fetched).unwrap_or_default()),
        keys: status.keys,
        failures: status.failures,
    }));
}

pub(super) fn report(snapshot: &Snapshot) -> Vec<Value> {
    let statuses = snapshot.key_sources.iter().map(|source| source.status());
    statuses
        .map(|status| {
            json!({
                "issuer": status.issuer,
                "identity": status.host,
                "keys": status.keys,
                "fetched_at": status.fetched.map(stamp),
                "failed": status.failed,
                "failures": status.failures,
            })
        })
        .collect()
}
