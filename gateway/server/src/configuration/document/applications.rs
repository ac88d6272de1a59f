//! What the application teams write: models, apps and keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Class, Decimal, Moment};

/// A model by the name that callers ask for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Where it is served, each as `"endpoint/upstream-model"`; routing orders them, and this order breaks ties. Required, not empty.
    ///
    /// What stands after the first `/` is the model's name at that endpoint; it may itself hold a `/`.
    pub targets: Vec<String>,
    /// How fast the first token should come. Absent: no target, so that nothing is too slow and saturation sends nothing
    /// elsewhere.
    pub first_token: Option<Target95>,
    /// Milliseconds within which a request of `traffic = "batch"` must be on its way; at most and by default the shortest
    /// `timeouts.total_ms` of its endpoints. For an interactive request: how long it may wait for a place; default
    /// `first_token.p95_ms`.
    #[schemars(range(min = 1))]
    pub deadline_ms: Option<u64>,
    /// What decides among the targets that are fast enough; default `"cost"`.
    pub prefer: Option<Prefer>,
    /// Whether saturation of own capacity may send requests to targets that charge by the token; default `"allowed"`.
    pub burst: Option<Burst>,
    /// Whether somebody waits for the answers; default `"interactive"`. An app's own word goes before it, and a request's
    /// `service_tier` before that: `flex` is batch, `priority` is interactive and goes first.
    pub traffic: Option<Traffic>,
    /// Percent of the traffic that a target takes whatever it costs, by its name in `targets`, for a migration by steps or
    /// a trial. Absent: none.
    pub shares: Option<BTreeMap<String, u8>>,
    /// Other models that stand in, in order, once every target of this one that policy permits has failed before its first
    /// byte. Policy is asked for the targets of each as for a request for that model, and only apps that may use it fall back to
    /// it; what stands behind it is not followed. A denial is an answer, and nothing stands in for it. Absent: none.
    pub fallbacks: Option<Vec<String>>,
    /// How much all apps together may ask for it.
    pub limits: Option<ModelLimits>,
    /// Labels of whatever is sent to it, beside those of the app; default none.
    pub labels: Option<Vec<String>>,
    /// Class of whatever is sent to it; of this, the app's and what the request says the highest counts. Absent: it says none.
    pub class: Option<Class>,
}

/// What decides among targets that are fast enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Prefer {
    /// Own capacity first, then the cheapest.
    Cost,
    /// The one whose first token is expected soonest.
    Latency,
}

/// Whether saturation may cost money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Burst {
    /// What own capacity cannot serve in time goes to the cheapest target that can.
    Allowed,
    /// Targets that charge by the token stay out wherever own capacity is permitted, also when that fails.
    Never,
}

/// Whether somebody waits for the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// Somebody does.
    Interactive,
    /// Nobody does: requests take what the others leave over, and go out at 90 % of their deadline.
    Batch,
}

/// How much all apps together may ask for a model.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelLimits {
    /// Requests per minute. Absent: no bound. N lets N through at once; above it: 429 `rate_limit_exceeded`.
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u32>,
    /// Requests per second, in the same way.
    #[schemars(range(min = 1))]
    pub requests_per_second: Option<u32>,
    /// Requests worked on at once, each for as long as its stream runs. Absent: no bound. Above it: 429 `rate_limit_exceeded`.
    #[schemars(range(min = 1))]
    pub in_flight: Option<u32>,
    /// Tokens per minute, input and output together. Absent: no bound. N lets N through at once; above it: 429 `rate_limit_exceeded`.
    ///
    /// A request takes its estimate, and what it used replaces that at its end; what it used beyond is waited for by those
    /// after it. One that goes on to a model that stands in takes its estimate there, and leaves here what failed attempts used.
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
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
    /// Name in the client certificate that it may show instead of a key: a URI such as `"spiffe://corp.example/claims"`, or
    /// `"dns:"` and a host name, or `"subject:"` and the whole subject as RFC 4514 writes it, such as `"subject:CN=claims,O=Corp"`:
    /// the same attributes in the same order, letter by letter. Needs `listen.tls.client_ca`.
    pub certificate: Option<String>,
    /// Models that it may use. Required, not empty.
    pub models: Vec<String>,
    /// How much it may ask for.
    pub limits: Option<Limits>,
    /// Whether somebody waits for its answers. Absent: as its model says.
    pub traffic: Option<Traffic>,
    /// Whether an answer says in `x-causeway-why` and `x-causeway-plan` why it came from where it did, when the request
    /// has `x-causeway-explain: 1`; default false.
    pub explain: Option<bool>,
    /// Whether the app's owner agrees that its prompts and answers are kept, sealed, as `[data.NAME] capture` says; default
    /// false. Nothing is kept unless both say so.
    pub capture: Option<bool>,
}

/// Tokens that an app may show.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Issuer, as in the claim `iss`; an `[issuer.NAME]` has it as its `issuer`. Required.
    pub issuer: String,
    /// Audience, as in the claim `aud`: the gateway's own name at the issuer. Required.
    pub audience: String,
    /// Claims that must have these values: a claim that is a list must hold the value. Absent: none. `scp` and `scope` are lists of
    /// words, and `realm_access.roles` is a way into a nested claim.
    pub claims: Option<BTreeMap<String, String>>,
    /// Claim that names the user, such as `"sub"` or `"oid"`, or a way into a nested one. Absent: none does. What it says goes
    /// before what a body says of its user, for `user_requests_per_minute`, budgets of each user, records and traces.
    ///
    /// A token in which it is missing, or no text of 1 to 256 bytes without control characters, is refused. An app that has it shows
    /// tokens alone. Of an administrator's tokens it names the person, by default `"sub"`, for the record and for break glass; it is
    /// the same for all administrators of an issuer.
    pub user: Option<String>,
}

/// Who issues tokens that apps may show.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its name for itself, as in the claim `iss`, compared byte by byte. Required.
    pub issuer: String,
    /// Where its public keys are. Required.
    pub keys: IssuerKeys,
    /// How its tokens are signed; default `["RS256"]`. There is no symmetric way.
    pub algorithms: Option<Vec<TokenAlgorithm>>,
    /// How far its clock may be off, in seconds; default 60. A token is accepted so long after `exp` and before `nbf`.
    #[schemars(range(max = 300))]
    pub clock_skew_s: Option<u64>,
    /// Names in the client certificates of those by whom its tokens may come, such as an F5 or an API Management that mints them: each a
    /// URI such as `"spiffe://corp.example/f5"`, `"dns:"` and a host name, or `"subject:"` and a whole subject; default: by anybody.
    ///
    /// On every other connection a token of this issuer is refused with 401 `invalid_api_key`, whatever else is shown beside it. Needs
    /// `tls.client_ca` at the listener of whoever shows them.
    pub only_from: Option<Vec<String>>,
}

/// Where an issuer's public keys are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum IssuerKeys {
    /// Path of a JSON Web Key Set. A change to the file is a reload.
    File(String),
    /// They are fetched from where the issuer's discovery document says (OpenID Connect Discovery 1.0).
    Discovery(KeysByDiscovery),
    /// They are fetched from a path that stands here.
    Jwks(KeysByPath),
}

/// Keys that an issuer's discovery document leads to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysByDiscovery {
    /// Name of the `[identity.NAME]` that has the document. Required. It has `https`, or is this machine.
    pub identity: String,
    /// Path of the document; default the path of `issuer` and `/.well-known/openid-configuration`. The document must name
    /// `issuer` as its issuer, byte by byte.
    pub path: Option<String>,
    /// Name of the `[identity.NAME]` that has the keys, where that is another host. Absent: the same. A document that leads
    /// anywhere else is refused.
    pub keys_identity: Option<String>,
    /// Time after which the keys are fetched again, in seconds; default 3600.
    #[schemars(range(min = 1, max = 86_400))]
    pub refresh_s: Option<u64>,
    /// How long keys count that could not be fetched again, in seconds; default 86400. Then no token of the issuer is accepted.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub keep_s: Option<u64>,
}

/// Keys at a path that is known.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysByPath {
    /// Name of the `[identity.NAME]` that has the keys. Required. It has `https`, or is this machine.
    pub identity: String,
    /// Path of the JSON Web Key Set there, such as `"/openid/v1/jwks"`. Required.
    pub path: String,
    /// Time after which the keys are fetched again, in seconds; default 3600.
    #[schemars(range(min = 1, max = 86_400))]
    pub refresh_s: Option<u64>,
    /// How long keys count that could not be fetched again, in seconds; default 86400. Then no token of the issuer is accepted.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub keep_s: Option<u64>,
}

/// How a token is signed (RFC 7518, section 3.1; RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TokenAlgorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256: what Entra ID, Keycloak and Kubernetes use.
    RS256,
    /// The same with SHA-384.
    RS384,
    /// The same with SHA-512.
    RS512,
    /// RSA-PSS with SHA-256.
    PS256,
    /// The same with SHA-384.
    PS384,
    /// The same with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
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
    /// Requests per second, beside those per minute. Absent: no bound. N lets N through at once; above it: 429
    /// `rate_limit_exceeded`.
    #[schemars(range(min = 1))]
    pub requests_per_second: Option<u32>,
    /// Requests worked on at once, each for as long as its stream runs. Absent: no bound. Above it: 429 `rate_limit_exceeded`.
    #[schemars(range(min = 1))]
    pub in_flight: Option<u32>,
    /// Requests per minute of each user that a request names in `safety_identifier`, `user` or `metadata.user_id`, or that its
    /// token names (`jwt.user`). Absent: no bound. A request that names none is not counted here.
    #[schemars(range(min = 1))]
    pub user_requests_per_minute: Option<u32>,
    /// Requests per second of each of these users, beside those per minute. Absent: no bound. N lets N through at once; above it: 429
    /// `rate_limit_exceeded`.
    #[schemars(range(min = 1))]
    pub user_requests_per_second: Option<u32>,
    /// Output tokens that one request may ask for. Absent: no bound. What asks for more is sent with this, and so is what asks for
    /// no bound; what asks for less keeps its own.
    #[schemars(range(min = 1))]
    pub output_tokens: Option<u64>,
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
