//! Control planes of clouds, and where they tell of an endpoint.

use std::time::Duration;

use super::{EndpointTlsConfig, Host, ReachConfig, Scheme, Secret, TokenAuthConfig, TransportConfig, ViaConfig};

/// The control plane of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlConfig {
    /// Its name.
    pub name: String,
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// How it is reached.
    pub reach: ReachConfig,
    /// How its certificate is checked. Present exactly where `scheme` is `https`.
    pub tls: Option<EndpointTlsConfig>,
    /// How its connections are made.
    pub transport: TransportConfig,
    /// The proxy on the way to it.
    pub via: Option<ViaConfig>,
    /// What it is shown. Absent where it is a secret with [`Secrets::Skip`](super::Secrets::Skip).
    pub credential: Option<ControlCredentialConfig>,
    /// Time between two askings.
    pub every: Duration,
}

/// What a control plane is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlCredentialConfig {
    /// A token of Entra ID.
    Token(TokenAuthConfig),
    /// A signature.
    Aws(AwsKeysConfig),
}

/// Keys of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeysConfig {
    /// Region of what is asked.
    pub region: String,
    /// Id of the access key.
    pub access_key: Secret,
    /// The secret access key.
    pub secret_key: Secret,
    /// The session token.
    pub session_token: Option<Secret>,
}

/// Where a control plane tells of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointControlConfig {
    /// Azure Resource Manager.
    Azure {
        /// Index of the control plane.
        host: usize,
        /// Path of the account.
        account: String,
    },
    /// Amazon Bedrock.
    Bedrock {
        /// Index of the control plane.
        host: usize,
        /// The whole profile that `place` names.
        profile: Option<String>,
    },
}

impl EndpointControlConfig {
    /// Index of the control plane.
    #[must_use]
    pub fn host(&self) -> usize {
        match self {
            Self::Azure { host, .. } | Self::Bedrock { host, .. } => *host,
        }
    }
}
