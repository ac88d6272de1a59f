//! How the audit log is kept.

use std::path::PathBuf;

use telemetry::audit::Retention;

use super::{
    AwsKeysConfig, Class, EndpointTlsConfig, Host, ReachConfig, Scheme, Secret, TokenAuthConfig, TransportConfig,
};

/// How the audit log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Whether an intent must be on the disk before its request leaves.
    pub on_disk: bool,
    /// Class from which on requests are refused while the log cannot be written; all are where absent.
    pub refuse_from: Option<Class>,
    /// Absolute path of the second place for checkpoints, where it is a folder.
    pub witness: Option<PathBuf>,
    /// The second place, where it is a server.
    pub witness_http: Option<WitnessConfig>,
    /// How long records are kept; for as long as there is a hold where absent.
    pub retention: Option<Retention>,
    /// Name of this gateway's log; the machine's name where absent.
    pub origin: Option<String>,
    /// Names of all logs; empty where there is no fleet.
    pub origins: Vec<String>,
    /// Absolute path of the key that signs checkpoints; below the state folder where absent.
    pub signing_key: Option<PathBuf>,
    /// Absolute path of the key that makes pseudonyms of users, which has been read; users are not recorded where absent.
    pub pseudonyms: Option<PathBuf>,
}

/// A server that checkpoints are put at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessConfig {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// What stands before the names of the files, without a slash at its end.
    pub base_path: String,
    /// How it is reached.
    pub reach: ReachConfig,
    /// How its certificate is checked. Present exactly where `scheme` is `https`.
    pub tls: Option<EndpointTlsConfig>,
    /// How its connections are made.
    pub transport: TransportConfig,
    /// What the server is, and what it is shown.
    pub kind: WitnessKindConfig,
    /// Whether each file is fetched again and compared.
    pub read_back: bool,
}

/// What the server is that checkpoints are put at. What it is shown is absent where it is a secret with
/// [`Secrets::Skip`](super::Secrets::Skip).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessKindConfig {
    /// One that takes files by HTTP.
    Plain {
        /// The name to log in with; `secret` is a bearer token where absent.
        user: Option<String>,
        /// The password or the token; none is shown where the document names none.
        secret: Option<Secret>,
    },
    /// A bucket of S3.
    S3(Option<AwsCredentialConfig>),
    /// A container of Azure.
    AzureBlob(Option<BlobCredentialConfig>),
}

/// What a bucket is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsCredentialConfig {
    /// A signature with keys that stand in the document's files.
    Keys(AwsKeysConfig),
    /// A signature with keys that are asked for.
    Lent {
        /// Region of the bucket.
        region: String,
        /// How they are asked for.
        keys: TokenAuthConfig,
    },
}

/// What a container is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobCredentialConfig {
    /// A token of Entra ID.
    Token(TokenAuthConfig),
    /// A shared access signature, without a `?`.
    Sas(Secret),
}

impl WitnessConfig {
    /// The token that it is shown, where it is shown one.
    #[must_use]
    pub fn token(&self) -> Option<&TokenAuthConfig> {
        match &self.kind {
            WitnessKindConfig::AzureBlob(Some(BlobCredentialConfig::Token(token)))
            | WitnessKindConfig::S3(Some(AwsCredentialConfig::Lent { keys: token, .. })) => Some(token),
            WitnessKindConfig::AzureBlob(_) | WitnessKindConfig::S3(_) | WitnessKindConfig::Plain { .. } => None,
        }
    }
}
