//! Where traces, metrics and log lines go.

use std::time::Duration;

use super::super::document::OtlpProtocol;
use super::{EndpointTlsConfig, Host, ReachConfig, Scheme, TransportConfig};

/// A collector of OpenTelemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpConfig {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// What stands before the paths of the signals; empty with gRPC.
    pub base_path: String,
    /// How it is reached.
    pub reach: ReachConfig,
    /// How its certificate is checked. Present exactly where `scheme` is `https`.
    pub tls: Option<EndpointTlsConfig>,
    /// How its connections are made.
    pub transport: TransportConfig,
    /// How it is spoken to.
    pub protocol: OtlpProtocol,
    /// Whether it gets spans.
    pub traces: bool,
    /// Whether it gets figures.
    pub metrics: bool,
    /// Whether it gets log lines.
    pub logs: bool,
    /// How many of a hundred requests are traced.
    pub sample_percent: u8,
    /// Whether spans bear the pseudonyms of users.
    pub users: bool,
    /// Time between two deliveries of figures.
    pub metrics_every: Duration,
}
