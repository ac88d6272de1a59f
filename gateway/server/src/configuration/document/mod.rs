//! The document as its authors write it: one struct per table, every setting with unit, default and effect.
//!
//! These structs hold what was written and nothing else: no default is filled in, no reference resolved. `walk` has
//! already held the text against the schema made from them, so that every mistake of form has its line and column;
//! `check` then builds the plain values of `compile`. The reference page is made from the comments below.

mod administration;
mod applications;
mod budgets;
mod control;
mod data;
mod evidence;
mod identity;
mod ledger;
mod network;
mod recogniser;
mod security;
mod store;
mod telemetry;
mod transport;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use administration::{Administrator, Role};
pub use applications::{
    App, Burst, Issuer, IssuerKeys, Jwt, Key, KeysByDiscovery, KeysByPath, Limits, Model, ModelLimits, Prefer,
    Target95, TokenAlgorithm, Traffic,
};
pub use budgets::{Budget, BudgetMode, BudgetPeriod, Webhook};
pub use control::{AwsAuth, AzureControl, BedrockControl, Control, ControlAuth, EndpointControl};
pub use data::{Capture, ClaimMeaning, OnCaptureFailure, Suppression, Users};
pub use evidence::{
    AwsContainer, AwsMachine, AwsWebIdentity, Witness, WitnessAzureBlob, WitnessBlobAuth, WitnessHttp, WitnessS3,
    WitnessS3Auth,
};
pub use identity::{Auth, CertificateAuth, Identity, ManagedIdentity, ManagedSource, SecretAuth, WorkloadIdentity};
pub use ledger::Ledger;
pub use network::{
    Admin, AnthropicPlace, Api, AzurePlace, BedrockPlace, Capacity, Cost, DeclaredPlace, Endpoint, EndpointTimeouts,
    EndpointTls, Health, Http2, KeySource, Listen, ListenTimeouts, ListenTls, OpenAiPlace, PerToken, Place, Pool,
    Prices, Probe, Quota, Reach, RegionPlace, Resolver, Signals, Site, State, Transport, VertexPlace,
};
pub use recogniser::{FindingGroup, Recogniser, RecogniserChecksum};
pub use security::{
    Audit, BreakGlass, Class, Data, Durability, Evidence, Fact, Grant, Group, Label, Policy, Pseudonyms, Retention,
};
pub use store::{Deny, LocalShare, OnLoss, Store};
pub use telemetry::{Otlp, OtlpProtocol, OtlpSignal, Telemetry};
pub use transport::{Canary, ChainKind, EndpointTransport, Keepalive, Service, Via, ViaConnect};

/// The whole configuration of a gateway.
///
/// It is one TOML file, or a folder of `*.toml` files that are read together as one document; names that begin with
/// a dot are left out. Relative paths start at the folder of the file that names them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Where callers connect. Required, once in the whole document.
    pub listen: Option<Listen>,
    /// The listener for operators: health, metrics, status, and what administrators do. Absent: there is none.
    pub admin: Option<Admin>,
    /// Who may ask the listener for operators. Absent: on loopback everybody may read, and nobody may act.
    #[serde(default)]
    pub administrator: BTreeMap<String, Administrator>,
    /// The plaintext listener for load balancers' probes. Absent: there is none.
    pub health: Option<Health>,
    /// Where the gateway keeps what must outlive it. Required, once in the whole document.
    pub state: Option<State>,
    /// Whether several gateways act as one and share counters; default false.
    /// Needs `[store]` and `[ledger]`: without them the start is refused.
    pub replicas: Option<bool>,
    /// Where gateways that act as one share their counters. Required with `replicas = true`.
    pub store: Option<Store>,
    /// Where what was spent is kept. Required with `replicas = true`. Absent: in SQLite in `state.folder`, for this gateway alone.
    pub ledger: Option<Ledger>,
    /// DNS servers and the zones they are asked for.
    #[serde(default)]
    pub resolver: BTreeMap<String, Resolver>,
    /// Services behind private links, beside the shipped ones.
    #[serde(default)]
    pub service: BTreeMap<String, Service>,
    /// Places of one's own, for endpoints that stand there.
    #[serde(default)]
    pub site: BTreeMap<String, Site>,
    /// Hosts that give the gateway the tokens by which it identifies itself to endpoints, or the keys of issuers.
    #[serde(default)]
    pub identity: BTreeMap<String, Identity>,
    /// Control planes of clouds, which are asked where the deployments of endpoints process.
    #[serde(default)]
    pub control: BTreeMap<String, Control>,
    /// Places that serve models. The name has no `/`.
    #[serde(default)]
    pub endpoint: BTreeMap<String, Endpoint>,
    /// Models by the names that callers ask for.
    #[serde(default)]
    pub model: BTreeMap<String, Model>,
    /// Issuers of tokens that apps may show instead of a key.
    #[serde(default)]
    pub issuer: BTreeMap<String, Issuer>,
    /// Registered callers. Each needs a `[data.NAME]` of the same name.
    #[serde(default)]
    pub app: BTreeMap<String, App>,
    /// API keys with a name of their own, beside the `keys` of an app.
    #[serde(default)]
    pub key: BTreeMap<String, Key>,
    /// Money for the requests of an app, a team, a model or each user, beside the limits of apps and keys.
    #[serde(default)]
    pub budget: BTreeMap<String, Budget>,
    /// Receivers of notices, which budgets name.
    #[serde(default)]
    pub webhook: BTreeMap<String, Webhook>,
    /// What the security team permits. Absent: only endpoints with `reach = { local = … }` are used.
    pub policy: Option<Policy>,
    /// Changes to rows of the data pack, by the row's id.
    #[serde(default)]
    pub fact: BTreeMap<String, Fact>,
    /// Groups of countries of the data pack that hold beyond their date. A policy that asks about one that has run out cannot be
    /// evaluated, which denies.
    #[serde(default)]
    pub group: BTreeMap<String, Group>,
    /// Data classes in addition to the shipped ones.
    #[serde(default)]
    pub label: BTreeMap<String, Label>,
    /// Recognisers of one's own, beside the shipped ones.
    #[serde(default)]
    pub recogniser: BTreeMap<String, Recogniser>,
    /// What data each app handles, by the app's name. Required for every app.
    #[serde(default)]
    pub data: BTreeMap<String, Data>,
    /// Where prices by the token come from. Absent: the catalogue that is shipped with this version.
    pub prices: Option<Prices>,
    /// How the audit log is kept.
    pub audit: Option<Audit>,
    /// Where traces, metrics and log lines go. Absent: nowhere but the log and `/metrics`.
    pub telemetry: Option<Telemetry>,
    /// Where evidence may be kept.
    pub evidence: Option<Evidence>,
    /// Who may write what: file names of the folder with the sections that each may hold. Absent: any file may hold any.
    ///
    /// A section in a file that does not list it is a mistake. A section that no file lists belongs to the file that
    /// holds `[authors]`. A single file has one author, so there it has no effect.
    #[serde(default)]
    pub authors: BTreeMap<String, Vec<String>>,
}

/// An amount of money, exact: an integer or a decimal of at most nine places, kept as the digits that were written.
///
/// `walk` has checked the digits; the text never passes through a float on its way here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Decimal(String);

impl Decimal {
    /// The most decimal places that an amount may have: a billionth of a dollar.
    pub const PLACES: usize = 9;

    /// Reads `text`; `None` where it is not plain digits with at most one point and [`Self::PLACES`] decimals.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let fits = whole.len() <= 12 && fraction.len() <= Self::PLACES;
        (digits(whole) && digits(fraction) && fits).then(|| Self(text.to_owned()))
    }

    /// The amount in billionths, exactly.
    pub fn billionths(&self) -> u128 {
        let (whole, fraction) = self.0.split_once('.').unwrap_or((&self.0, ""));
        let digits = whole.bytes().chain(fraction.bytes());
        let missing = u32::try_from(Self::PLACES - fraction.len()).unwrap_or(0);
        let value = digits.fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
        value * 10_u128.pow(missing)
    }

    /// The digits as they were written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"], "format": "decimal", "minimum": 0 })
    }
}

/// A date or a date with time and offset, as TOML writes it.
///
/// A date alone means the first instant of that day in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Moment(String);

impl Moment {
    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_kept_to_the_last_digit() {
        let amount = Decimal::parse("0.1").unwrap();

        assert_eq!(amount.billionths(), 100_000_000);
        assert_eq!(Decimal::parse("2500").unwrap().billionths(), 2_500_000_000_000);
        assert_eq!(Decimal::parse("19.910000001").unwrap().billionths(), 19_910_000_001);
    }

    #[test]
    fn an_amount_is_digits_only() {
        for text in ["", ".", "1.", ".5", "-1", "1e3", "inf", "nan", "1,5", "0.1234567891", "1.2.3"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }
}
