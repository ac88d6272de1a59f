//! The store of what several gateways share.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{EndpointTls, EndpointTransport, KeySource, Reach};

/// A Valkey (7.2 or later) or Redis (7 or later) that every gateway of `replicas = true` reaches: limits, budgets and what
/// administrators hold back are shared in it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Scheme, host and port, such as `"valkeys://counters.corp.example:6379"`. Required. `valkeys` and `rediss` speak TLS,
    /// `valkey` and `redis` do not; the port is 6379 where none stands.
    pub url: String,
    /// How it is reached. Required.
    pub reach: Reach,
    /// How its certificate is checked. Only with `valkeys` and `rediss`.
    pub tls: Option<EndpointTls>,
    /// How its connections are made.
    pub transport: Option<EndpointTransport>,
    /// The name to log in with. Absent: the store's default. Needs `password`.
    pub user: Option<String>,
    /// The password. Absent: none is shown.
    pub password: Option<KeySource>,
    /// What every key in the store begins with; default `"causeway"`. Two fleets in one store need two.
    pub prefix: Option<String>,
    /// What becomes of requests while the store is away; default `{ deny = {} }`.
    pub on_loss: Option<OnLoss>,
}

/// What becomes of requests while the store is away.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum OnLoss {
    /// Requests that need more of a limit than was granted already are refused with 503.
    Deny(Deny),
    /// Each gateway goes on by itself with its share of every limit.
    LocalShare(LocalShare),
}

/// Nothing more is to be said.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deny {}

/// Each gateway goes on by itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalShare {
    /// How many gateways there are. Required. With more of them than it says a limit is passed while the store is away.
    #[schemars(range(min = 1, max = 1000))]
    pub of: u32,
}
