//! What the configuration says about an endpoint and a resolver, in the form that this crate works from.
//!
//! The values are compared over a reload: an endpoint whose specification did not change keeps its connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::canary::CanarySpec;
use crate::catalogue::Service;
use crate::credentials::Own;
use crate::via::ViaSpec;

/// One place that serves models, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// The name of its section in the configuration; unique in a fleet.
    pub name: Arc<str>,
    /// Plain HTTP, or HTTP over TLS.
    pub scheme: Scheme,
    /// The host of the endpoint's URL. It is resolved, and it is the name that the certificate must carry.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
    /// What the upstream reads as `Host` or `:authority`, with the port where it is not the scheme's own.
    pub authority: String,
    /// The path of the endpoint's URL without a trailing `/`, for example `/v1`; empty for none.
    pub base_path: String,
    /// Which addresses it may have.
    pub reach: Reach,
    /// What its certificate must be, and ours.
    pub tls: TlsSpec,
    /// How the gateway identifies itself to it.
    pub credential: Option<Own>,
    /// How long to wait for it.
    pub timeouts: Timeouts,
    /// Most requests in flight at once, counted until their replies end; `None` for no bound.
    pub in_flight: Option<usize>,
    /// The bounds of its connections.
    pub pool: PoolSpec,
    /// Whether to speak HTTP/2.
    pub http2: Http2,
    /// Path on its host of the page that says how busy it is, if there is one.
    pub page: Option<String>,
    /// The active health probe, if there is one.
    pub probe: Option<ProbeSpec>,
    /// How its connections are made.
    pub transport: TransportSpec,
    /// The proxy on the way to it, if there is one.
    pub via: Option<ViaSpec>,
    /// The look at the public front of its name, if there is one.
    pub canary: Option<CanarySpec>,
}

/// Whether TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS 1.2 or 1.3.
    Https,
}

impl Scheme {
    /// The name as it stands in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The host of an endpoint's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name in ASCII (an international name in its `xn--` form), with or without the final dot.
    Name(String),
    /// An address, which needs no resolver but is judged like an answer.
    Address(IpAddr),
}

impl EndpointSpec {
    /// What is asked for where nothing is to be had but an answer: what the canary asks for, or something that every server of
    /// the dialect answers and that costs nothing. A front that turns away what it serves may be silent at other paths.
    #[must_use]
    pub fn harmless_path(&self) -> String {
        match (&self.canary, &self.reach) {
            (Some(canary), _) => canary.path.clone(),
            (None, Reach::PrivateLink { service, .. }) if service.name.starts_with("azure-") => {
                "/openai/models?api-version=2024-10-21".to_owned()
            }
            (None, _) => format!("{}/models", self.base_path),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// How an endpoint is reached: which addresses it may have, and who may say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On one's own network. Loopback and link-local addresses count only where a range lies inside theirs.
    Local {
        /// Every address of the answer must lie in one of these.
        within: Vec<IpNet>,
    },
    /// A private endpoint of a cloud service.
    PrivateLink {
        /// The service, whose rules the chain of names must keep.
        service: Arc<Service>,
        /// Every address of the answer must lie in one of these.
        within: Vec<IpNet>,
        /// The resolver to ask; without one, the resolver with the longest zone that holds the name.
        resolver: Option<String>,
        /// Names to which the chain may lead, themselves or below; those of the service where empty.
        expect: Vec<String>,
    },
    /// On the internet: every address must be a public one.
    Public,
    /// The metadata service of a cloud's machine, at its one address. Identity hosts only: no endpoint may have it.
    Metadata,
}

impl Reach {
    /// The name as the configuration has it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::PrivateLink { .. } => "private-link",
            Self::Public => "public",
            Self::Metadata => "metadata",
        }
    }

    /// Names to which the chain of its name may lead because its service's do.
    pub(crate) fn leads_to(&self) -> Vec<String> {
        match self {
            Self::PrivateLink { service, expect, .. } if expect.is_empty() => service.zones.clone(),
            Self::PrivateLink { expect, .. } => expect.clone(),
            Self::Local { .. } | Self::Public | Self::Metadata => Vec::new(),
        }
    }

    /// The declared ranges; none for [`Reach::Public`].
    #[must_use]
    pub fn within(&self) -> &[IpNet] {
        match self {
            Self::Local { within } | Self::PrivateLink { within, .. } => within,
            Self::Public | Self::Metadata => &[],
        }
    }
}

/// What the endpoint's certificate must be, and what the gateway shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSpec {
    /// Issuers to trust in place of the system's; `None` trusts the system's.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// SHA-256 over the `SubjectPublicKeyInfo` of the end-entity certificate; any of them will do, none means no pin.
    pub pin: Vec<[u8; 32]>,
    /// Organisation, common name or whole name of the issuers that the end-entity certificate may have. None means any;
    /// for a private link without `ca` it means those of the service.
    pub issuers: Vec<String>,
    /// The certificate that the gateway shows when it is asked.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether to offer the hybrid post-quantum key exchange; default true.
    ///
    /// It makes the first message larger than one packet, and some firewalls drop that.
    pub post_quantum: bool,
}

impl Default for TlsSpec {
    fn default() -> Self {
        Self { ca: None, pin: Vec::new(), issuers: Vec::new(), client_certificate: None, post_quantum: true }
    }
}

/// A certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// End entity first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first certificate.
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// How long to wait, each with its own error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For resolution, TCP and TLS together; default 5 s.
    pub connect: Duration,
    /// From the hand-over of the request to the head of the answer; default 300 s.
    ///
    /// A reply that is not streamed begins when the model has written all of it, so this is long.
    pub first_byte: Duration,
    /// Between two pieces of the body, while the caller is waiting for one; default 120 s.
    pub idle: Duration,
    /// From the call of `send` to the end of the body; default 900 s.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(120),
            total: Duration::from_secs(900),
        }
    }
}

/// The bounds of an endpoint's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Most connections open or being opened; default 4096. On HTTP/1 this bounds the requests in flight as well.
    pub max_connections: usize,
    /// Most connections kept without a request; default 256.
    pub max_idle: usize,
    /// Age at which a connection gets no further request; default 600 s, minus up to a tenth so that connections that
    /// were opened together are not closed together.
    pub max_lifetime: Duration,
    /// Time without a request after which a connection is closed; default 60 s. A server that announces a shorter
    /// `Keep-Alive: timeout` is believed.
    pub idle_time: Duration,
    /// Connections to keep open in advance; default 0. [`crate::Fleet::start`] begins it.
    pub warm: usize,
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_idle: 256,
            max_lifetime: Duration::from_secs(600),
            idle_time: Duration::from_secs(60),
            warm: 0,
        }
    }
}

/// Whether to speak HTTP/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2 {
    /// Over TLS what the server chooses (ALPN `h2`, `http/1.1`); HTTP/1.1 without TLS.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always; without TLS with prior knowledge (RFC 9113 section 3.3).
    PriorKnowledge,
    /// No HTTP of either version is spoken, and no protocol is named in the handshake: [`crate::Fleet::stream_host`].
    NoHttp,
}

/// An active health probe: a `GET` whose answer is kept for the routing and the status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSpec {
    /// The path from the root of the host (not below the base path), for example `/health`.
    pub path: String,
    /// Time between two probes.
    pub interval: Duration,
}

/// A DNS resolver and the zones that it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverSpec {
    /// The name of its section in the configuration.
    pub name: Arc<str>,
    /// The zones it is asked for, and no other; `.` is every name.
    pub zones: Vec<String>,
    /// Whom to ask.
    pub servers: Servers,
    /// How to ask them.
    pub transport: Transport,
    /// How long what was verified counts after its lifetime while none of the servers answers; default 15 minutes.
    pub stale_grace: Duration,
}

impl ResolverSpec {
    /// Servers that are asked over UDP and TCP, with the default grace.
    #[must_use]
    pub fn new(name: &str, zones: &[&str], servers: Vec<SocketAddr>) -> Self {
        Self {
            name: name.into(),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            servers: Servers::Listed(servers),
            transport: Transport::UdpTcp,
            stale_grace: STALE_GRACE,
        }
    }
}

/// The default of [`ResolverSpec::stale_grace`].
pub const STALE_GRACE: Duration = Duration::from_secs(15 * 60);

/// How DNS servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP, and TCP where an answer was cut short or does not come.
    UdpTcp,
    /// DNS over TLS.
    Tls {
        /// The name in the servers' certificates.
        server_name: String,
        /// Their issuers; `None` trusts the system's.
        ca: Option<Vec<CertificateDer<'static>>>,
    },
    /// DNS over HTTPS, at `/dns-query`.
    Https {
        /// The name in the servers' certificates.
        server_name: String,
        /// Their issuers; `None` trusts the system's.
        ca: Option<Vec<CertificateDer<'static>>>,
    },
}

/// How connections to an endpoint are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportSpec {
    /// Silence after which a connection is probed; default 30 s.
    pub keepalive_idle: Duration,
    /// Time between probes that are not answered; default 10 s.
    pub keepalive_interval: Duration,
    /// Unanswered probes after which a connection is given up; default 3.
    pub keepalive_count: u32,
    /// Time after which a connection is given up whose bytes are not acknowledged; default 60 s.
    pub user_timeout: Option<Duration>,
    /// Largest segment in bytes; the system's own where absent.
    pub mss: Option<u32>,
    /// The interface that packets leave by, whatever the routes say.
    pub device: Option<String>,
    /// The source address.
    pub source: Option<IpAddr>,
    /// Networks, one of which holds the source address that the system chooses; any where empty.
    pub leaves_from: Vec<IpNet>,
    /// Whether IPv6 addresses are dialled; they are judged in any case.
    pub ipv6: bool,
}

impl Default for TransportSpec {
    fn default() -> Self {
        Self {
            keepalive_idle: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(10),
            keepalive_count: 3,
            user_timeout: Some(Duration::from_secs(60)),
            mss: None,
            device: None,
            source: None,
            leaves_from: Vec::new(),
            ipv6: true,
        }
    }
}

/// Whom a resolver asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// These, in this order.
    Listed(Vec<SocketAddr>),
    /// The operating system's name servers; only for endpoints with [`Reach::Public`].
    System,
}
