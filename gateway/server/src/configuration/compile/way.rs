//! The way to an endpoint: how connections are made and certificates checked, a proxy before it, and the other front of its name.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Host, Network};

/// How connections to an endpoint are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportConfig {
    /// Silence before the first probe.
    pub keepalive_idle: Duration,
    /// Time between probes.
    pub keepalive_interval: Duration,
    /// Unanswered probes before a connection is given up.
    pub keepalive_count: u32,
    /// Time after which a connection is given up whose bytes are not acknowledged.
    pub user_timeout: Duration,
    /// Largest segment.
    pub mss: Option<u32>,
    /// Interface by which packets leave.
    pub device: Option<String>,
    /// Source address.
    pub source: Option<IpAddr>,
    /// Networks of which one holds the source address; any where empty.
    pub leaves_from: Vec<Network>,
    /// Whether IPv6 addresses are dialled.
    pub ipv6: bool,
}

/// A proxy that is asked to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViaConfig {
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// Whether TLS is spoken to it.
    pub is_tls: bool,
    /// Who issues its certificate; the system's roots where absent.
    pub ca: Option<PathBuf>,
    /// Networks in which its addresses lie.
    pub within: Vec<Network>,
    /// Whether it resolves the name itself; only for what is public.
    pub by_name: bool,
}

/// A look at the public front of an endpoint's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// Index of the resolver that answers as the internet does.
    pub resolver: usize,
    /// Networks in which the front's addresses lie; any public one where empty.
    pub within: Vec<Network>,
    /// Path on the host, with its leading `/`.
    pub path: String,
    /// Time between two looks.
    pub interval: Duration,
}

/// Bounds on an endpoint's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Most connections at once.
    pub max_connections: u32,
    /// Time after which an unused one is closed.
    pub idle: Duration,
    /// Age after which one takes no further call.
    pub lifetime: Duration,
    /// Connections kept open ahead.
    pub warm: u32,
}

/// An active probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Path on the endpoint's host, with its leading `/`.
    pub path: String,
    /// Time between probes.
    pub interval: Duration,
}

/// How an endpoint's certificate is checked; paths are absolute and the files have been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointTlsConfig {
    /// Issuers; the system's trust roots where absent.
    pub ca: Option<PathBuf>,
    /// SHA-256 of the public key that its certificate must carry.
    pub pin: Option<[u8; 32]>,
    /// Names that its issuer may have; any where empty.
    pub issuers: Vec<String>,
    /// The certificate that it is shown.
    pub client: Option<ClientCertificate>,
    /// Whether the post-quantum key exchange is offered.
    pub post_quantum: bool,
}

/// The certificate that an endpoint is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
