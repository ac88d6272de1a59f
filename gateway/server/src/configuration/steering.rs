//! What the configuration wants of routing, as plain values.

use routing::{Class as Traffic, Knobs};

/// What a provider allows; no bound known where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaConfig {
    /// Tokens per minute.
    pub tokens_per_minute: Option<u64>,
    /// Requests per minute.
    pub requests_per_minute: Option<u64>,
    /// Output tokens that a request may ask for there which says nothing of it.
    pub output_tokens: Option<u64>,
}

/// How the targets of a model are chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutingConfig {
    /// What is wanted.
    pub knobs: Knobs,
    /// Whether somebody waits for the answers.
    pub traffic: Traffic,
    /// Percent of the traffic by index of the target; together at most 100.
    pub shares: Vec<(usize, u8)>,
    /// Indices of the models that stand in, in order.
    pub fallbacks: Vec<usize>,
}
