//! Budgets and receivers of notices.

use accounting::{Calendar, Terms};

use super::{EndpointTlsConfig, Host, ReachConfig, Scheme, Secret, TransportConfig};

/// Money for the requests that fit all that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Its name.
    pub name: String,
    /// Only of the app with this index.
    pub app: Option<usize>,
    /// Only of this team's apps.
    pub team: Option<String>,
    /// Only for this model.
    pub model: Option<String>,
    /// Each user has the amount.
    pub each_user: bool,
    /// How much, and what becomes of a request beyond it.
    pub terms: Terms,
    /// In which stretches.
    pub calendar: Calendar,
    /// Percent that are announced, rising.
    pub thresholds: Vec<u32>,
    /// The receiver that is told.
    pub webhook: Option<String>,
}

/// A receiver of notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Its name.
    pub name: String,
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// Where notices are posted to; empty for the root.
    pub path: String,
    /// How it is reached.
    pub reach: ReachConfig,
    /// How its certificate is checked. Present exactly where `scheme` is `https`.
    pub tls: Option<EndpointTlsConfig>,
    /// How its connections are made.
    pub transport: TransportConfig,
    /// `whsec_` and the key in Base64; none where secrets were not read.
    pub secret: Option<Secret>,
}
