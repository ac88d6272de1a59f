//! How the audit log is kept.

use std::path::PathBuf;

use telemetry::audit::Retention;

use super::{EndpointTlsConfig, Host, ReachConfig, Scheme, Secret, TransportConfig};

/// How the audit log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Whether an intent must be on the disk before its request leaves.
    pub on_disk: bool,
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
    /// The name to log in with; `secret` is a bearer token where absent.
    pub user: Option<String>,
    /// The password or the token.
    pub secret: Option<Secret>,
    /// Whether each file is fetched again and compared.
    pub read_back: bool,
}
