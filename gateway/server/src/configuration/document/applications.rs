//! What the application teams write: models, apps and keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Decimal, Moment};

/// A model by the name that callers ask for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Where it is served, in order, each as `"endpoint/upstream-model"`. Required, not empty.
    ///
    /// What stands after the first `/` is the model's name at that endpoint; it may itself hold a `/`.
    pub targets: Vec<String>,
    /// How fast the first token should come. Absent: no target.
    pub first_token: Option<Target95>,
}

/// A time that 95 of 100 requests should meet.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target95 {
    /// Milliseconds that 95 of 100 requests should stay below. Required.
    #[schemars(range(min = 1))]
    pub p95_ms: u64,
}

/// A registered caller.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// The team that owns it. Required. Stands in records, decides nothing.
    pub team: String,
    /// Digests of its API keys, each `"sha256:"` and 64 lower-case hex digits. `causeway keys new` makes a key and its digest.
    pub keys: Option<Vec<String>>,
    /// Tokens that it may show instead of a key.
    pub jwt: Option<Jwt>,
    /// SPIFFE URI of the client certificate that it may show instead of a key.
    pub certificate: Option<String>,
    /// Models that it may use. Required, not empty.
    pub models: Vec<String>,
    /// How much it may ask for.
    pub limits: Option<Limits>,
}

/// Tokens that an app may show.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Issuer, as in the claim `iss`. Required.
    pub issuer: String,
    /// Audience, as in the claim `aud`. Required.
    pub audience: String,
    /// Claims that must have these values. Absent: none.
    pub claims: Option<BTreeMap<String, String>>,
}

/// An API key with a name of its own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The app that the key stands for. Required.
    pub app: String,
    /// Digest of the key, `"sha256:"` and 64 lower-case hex digits. Required.
    pub digest: String,
    /// When it stops to be accepted: a date (its first instant, UTC), or a date and time with offset. Absent: never.
    pub expires: Option<Moment>,
    /// Those of the app's models that this key may use. Absent: all of them.
    pub models: Option<Vec<String>>,
    /// How much this key may ask for, within the app's own limits.
    pub limits: Option<Limits>,
}

/// How much may be asked for. Zero is refused: leave the setting out, or the app.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests per minute. Absent: no bound. N lets N through at once; above it: 429 `rate_limit_exceeded`.
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u32>,
    /// Tokens per minute, input and output together. Absent: no bound. N lets N through at once; above it: 429 `rate_limit_exceeded`.
    ///
    /// A request takes its estimate, and what it used replaces that at its end; what it used beyond is waited for by those
    /// after it.
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
    /// Dollars per calendar month in UTC, exact. Absent: no bound. Above it: 429 `budget_exceeded`.
    ///
    /// A request holds the most that its dearest attempt can cost, and what it cost replaces that at its end.
    pub usd_per_month: Option<Decimal>,
}
