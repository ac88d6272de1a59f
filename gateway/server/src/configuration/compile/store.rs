//! The store of what several gateways share.

use super::{EndpointTlsConfig, Host, ReachConfig, Scheme, Secret, TransportConfig};

/// Where it is, how it is reached and what is done without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
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
    /// The name to log in with.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// What every key begins with.
    pub prefix: String,
    /// What becomes of requests while it is away.
    pub on_loss: StoreLoss,
}

/// What becomes of requests while the store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreLoss {
    /// They are refused where they need more than was granted.
    Deny,
    /// Each of so many gateways goes on with its share.
    LocalShare {
        /// How many there are.
        of: u32,
    },
}
