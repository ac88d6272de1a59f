//! How the gateway identifies itself to endpoints, and the hosts that it asks for tokens.

use std::path::PathBuf;
use std::time::Duration;

use super::{ClientCertificate, EndpointTlsConfig, Host, ReachConfig, Scheme, Secret, TransportConfig, ViaConfig};

/// A host that gives the gateway tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityConfig {
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
}

/// What an endpoint is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialConfig {
    /// A key.
    Key(Secret),
    /// A token.
    Token(TokenAuthConfig),
}

impl CredentialConfig {
    /// The secret that it holds itself; a file that it names is read elsewhere.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Key(secret) => Some(secret),
            Self::Token(token) => match &token.grant {
                GrantConfig::Secret { secret, .. } => Some(secret),
                GrantConfig::Certificate { .. }
                | GrantConfig::Federated { .. }
                | GrantConfig::Machine { .. }
                | GrantConfig::Arc { .. }
                | GrantConfig::AwsWebIdentity { .. }
                | GrantConfig::AwsMachine { .. }
                | GrantConfig::AwsContainer { .. } => None,
            },
        }
    }
}

/// A token, and how it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAuthConfig {
    /// Who is asked.
    pub host: IdentityHostConfig,
    /// What it is for.
    pub scope: String,
    /// What is shown for it.
    pub grant: GrantConfig,
}

/// Who is asked for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityHostConfig {
    /// The identity host with this index.
    Named(usize),
    /// The metadata service of the cloud's machine.
    Machine,
    /// The agent of Azure Arc.
    ArcAgent,
}

/// What is shown for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantConfig {
    /// A secret.
    Secret {
        /// The application.
        app: ApplicationConfig,
        /// Its secret.
        secret: Secret,
    },
    /// An assertion that is signed with the key of a certificate.
    Certificate {
        /// The application.
        app: ApplicationConfig,
        /// Its certificate, with an RSA key.
        certificate: ClientCertificate,
    },
    /// The token of another issuer.
    Federated {
        /// The application.
        app: ApplicationConfig,
        /// Absolute path of the file that holds the token.
        file: PathBuf,
    },
    /// Nothing but being this machine.
    Machine {
        /// Which of its identities.
        client: Option<String>,
    },
    /// Being able to read what the agent writes.
    Arc {
        /// Absolute path of the folder that it writes to.
        folder: PathBuf,
    },
    /// The token of another issuer, for keys of a role of AWS.
    AwsWebIdentity {
        /// The role's ARN.
        role: String,
        /// The name of the session.
        session: String,
        /// Absolute path of the file that holds the token.
        file: PathBuf,
    },
    /// Nothing but being this machine, for keys of its role.
    AwsMachine {
        /// The role's name.
        role: Option<String>,
    },
    /// Nothing but being this container, or a token beside it, for keys of its role.
    AwsContainer {
        /// Path at the agent.
        path: String,
        /// Absolute path of the file that holds the token.
        file: Option<PathBuf>,
    },
}

/// An application of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationConfig {
    /// The tenant's id or domain.
    pub tenant: String,
    /// The client id.
    pub client: String,
}

/// Where an issuer's public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKeysConfig {
    /// In a file, absolute; it has been read.
    File(PathBuf),
    /// At an identity host.
    Fetched(FetchedKeysConfig),
}

/// Keys that are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedKeysConfig {
    /// Index of the identity host that has the keys.
    pub host: usize,
    /// How they are found there.
    pub path: KeysPathConfig,
    /// Time after which they are fetched again.
    pub refresh: Duration,
    /// How long they count when they cannot be.
    pub keep: Duration,
}

/// How the keys of an issuer are found at their host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysPathConfig {
    /// At this path.
    Known(String),
    /// Where the discovery document leads, which is another's.
    Discovered {
        /// Index of the identity host that has the document.
        host: usize,
        /// Path of the document.
        path: String,
    },
}
