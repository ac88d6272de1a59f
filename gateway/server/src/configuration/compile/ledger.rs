//! The database of what was spent.

use super::{EndpointTlsConfig, Host, ReachConfig, Scheme, Secret, TransportConfig};

/// Where it is, how it is reached and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerConfig {
    /// `https` with TLS, `http` without.
    pub scheme: Scheme,
    /// Name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// How it is reached.
    pub reach: ReachConfig,
    /// How its certificate is checked. Present exactly with TLS.
    pub tls: Option<EndpointTlsConfig>,
    /// How its connections are made.
    pub transport: TransportConfig,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// The schema in it.
    pub schema: String,
}
