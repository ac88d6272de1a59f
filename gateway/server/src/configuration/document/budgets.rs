//! Budgets beside the limits of apps and keys, and who is told how far they have come.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Decimal, EndpointTls, EndpointTransport, KeySource, Reach};

/// Money for the requests that it names, in each stretch of a calendar. A request must fit into every budget that names it, and
/// into the limits of its app and key.
///
/// `app`, `team` and `model` narrow it together; with none of them it is about all requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Only requests of this app.
    pub app: Option<String>,
    /// Only requests of the apps of this team.
    pub team: Option<String>,
    /// Only requests that ask for this model, whichever answers them.
    pub model: Option<String>,
    /// Each user has the amount for itself, as a request names one in `safety_identifier`, `user` or `metadata.user_id`, or its token
    /// does (`jwt.user` of the app); default false. A user is one of an app, and is kept as a pseudonym. Requests that name none have one amount together.
    ///
    /// With `replicas = true` it needs `audit.pseudonyms`, so that one user has one pseudonym in all gateways.
    pub each_user: Option<bool>,
    /// Dollars in each stretch, exact. Required.
    pub usd: Decimal,
    /// How long a stretch is; default `"month"`.
    pub period: Option<BudgetPeriod>,
    /// Whose midnight counts, as the IANA database names it, such as `"Europe/Berlin"`; default `"UTC"`.
    pub time_zone: Option<String>,
    /// What becomes of a request that does not fit; default `"hard"`.
    pub mode: Option<BudgetMode>,
    /// Percent of the amount that are announced when they are spent, each once in a stretch; rising, at most eight; default
    /// `[50, 80, 100]`. A hundred counts as reached as well when a request is refused that does not fit into what is unspent.
    pub thresholds: Option<Vec<u32>>,
    /// Name of the `[webhook.NAME]` that is told of them. Absent: only log and metrics say it.
    pub webhook: Option<String>,
}

/// How long a budget counts before it begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetPeriod {
    /// An hour of the clock.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// A month of the calendar.
    #[default]
    Month,
}

/// What becomes of a request that does not fit into a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetMode {
    /// 429 `budget_exceeded`.
    #[default]
    Hard,
    /// It is let in: the budget counts and announces, and stops nobody.
    Warning,
}

/// A receiver of notices, signed as Standard Webhooks have it. It gets names of budgets, amounts and times, and of a user the
/// pseudonym: never a prompt, an answer, a credential or a name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Scheme, host, port and path that notices are posted to, such as `"https://finance.corp.example/causeway"`. Required.
    pub url: String,
    /// How it is reached. Required.
    pub reach: Reach,
    /// What notices are signed with: `whsec_` and 24 to 64 bytes in Base64, which the receiver has as well. Required.
    pub secret: KeySource,
    /// How its certificate is checked, and which one it is shown. Only with `https`.
    pub tls: Option<EndpointTls>,
    /// How connections to it are made.
    pub transport: Option<EndpointTransport>,
}
