//! The plain values that a document becomes, complete and consistent: nothing after this checks them again.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accounting::{Limits, Pricing};
use policy::Facts;
use routing::Class as Traffic;

mod audit;
mod azure;
mod budgets;
mod control;
mod data;
mod identity;
mod ledger;
mod store;
mod telemetry;
mod way;

use super::administration::AdministrationConfig;
pub use super::check::prices::PriceList;
use super::check::{self, PolicyConfig};
use super::document::{Api, Class, Document, Http2, Place};
use super::grant::BreakGlassConfig;
use super::limits::RequestLimits;
use super::mistakes::{Mistakes, Note};
use super::network::Network;
use super::report::Report;
use super::sources::Sources;
use super::stamps::Stamps;
pub use super::steering::{QuotaConfig, RoutingConfig};
use super::url::{Host, Scheme};
use super::{authors, enforcement, read, walk};
pub use audit::{AuditConfig, AwsCredentialConfig, BlobCredentialConfig, WitnessConfig, WitnessKindConfig};
pub use budgets::{BudgetConfig, WebhookConfig};
pub use control::{AwsKeysConfig, ControlConfig, ControlCredentialConfig, EndpointControlConfig};
pub use data::{CaptureConfig, ClaimConfig, DataConfig, SuppressionConfig};
pub use identity::{
    ApplicationConfig, CredentialConfig, FetchedKeysConfig, GrantConfig, IdentityConfig, IdentityHostConfig,
    IssuerKeysConfig, KeysPathConfig, TokenAuthConfig,
};
pub use ledger::LedgerConfig;
pub use store::{StoreConfig, StoreLoss};
pub use telemetry::OtlpConfig;
pub use way::{
    CanaryConfig, ClientCertificate, EndpointTlsConfig, PoolConfig, ProbeConfig, TransportConfig, ViaConfig,
};

/// What the caller knows and a document may name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The providers there are.
    pub providers: &'a [Provider<'a>],
    /// Settings that other parts enforce although this module would note them, as `enforcement` writes
    /// them: `endpoint.*.tls.pin`, `resolver.*.transport=tls`.
    pub enforced: &'a [&'a str],
}

/// What the configuration has to know of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Provider<'a> {
    /// The name as documents write it.
    pub name: &'a str,
    /// Names of the APIs that it speaks where an endpoint says nothing of its own.
    pub default_apis: &'a [&'a str],
    /// Whether `api_version` has a meaning for it.
    pub has_api_version: bool,
}

/// Whether keys are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// Keys are read; one that is missing is a mistake.
    #[default]
    Read,
    /// Neither keys of endpoints nor private keys are looked at, so that a document can be checked where it is
    /// written. What comes out has no credentials and must not serve.
    Skip,
    /// As [`Self::Skip`], but what opens the ledger's database is read, for a report on what is in it.
    ReadOfLedger,
}

/// How a document is loaded.
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// What a document may name.
    pub known: Known<'a>,
    /// Whether keys are read.
    pub secrets: Secrets,
    /// The time against which dates are held.
    pub now: SystemTime,
    /// Reads an environment variable.
    pub environment: fn(&str) -> Option<String>,
}

impl<'a> LoadOptions<'a> {
    /// Keys are read, from this process' environment.
    pub fn new(known: Known<'a>, now: SystemTime) -> Self {
        Self { known, secrets: Secrets::Read, now, environment: |name| std::env::var(name).ok() }
    }
}

impl fmt::Debug for LoadOptions<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LoadOptions").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// A credential. It is shown by no `Debug`, has no `Display` and cannot be serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The credential itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// A document that has been checked whole. Indices point into the lists beside them.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Where callers connect.
    pub listen: ListenConfig,
    /// The listener for operators.
    pub admin: Option<SocketAddr>,
    /// How it is protected, and who may ask it.
    pub administration: AdministrationConfig,
    /// The plaintext listener for probes.
    pub health: Option<SocketAddr>,
    /// Absolute path of the state folder.
    pub state_folder: PathBuf,
    /// Where several gateways share their counters; none for one that has them for itself.
    pub store: Option<StoreConfig>,
    /// The database of what was spent; none where that is in the state folder.
    pub ledger: Option<LedgerConfig>,
    /// How the audit log is kept.
    pub audit: AuditConfig,
    /// DNS servers with their zones, by name.
    pub resolvers: Vec<ResolverConfig>,
    /// Hosts that give the gateway tokens, by name.
    pub identities: Vec<IdentityConfig>,
    /// Control planes of clouds, by name.
    pub controls: Vec<ControlConfig>,
    /// The collector of traces, metrics and log lines.
    pub otlp: Option<OtlpConfig>,
    /// Endpoints by name, including those that no model names.
    pub endpoints: Vec<EndpointConfig>,
    /// Targets, each once, in the order in which models first name them.
    pub targets: Vec<TargetConfig>,
    /// Models by name.
    pub models: Vec<ModelConfig>,
    /// Apps by name.
    pub apps: Vec<AppConfig>,
    /// What decides where data may go.
    pub policy: PolicyConfig,
    /// Recognisers of one's own.
    pub recognisers: Arc<inspection::OwnRecognisers>,
    /// Grants that two people may open.
    pub break_glass: BreakGlassConfig,
    /// Keys of all apps. No digest stands twice.
    pub keys: Vec<KeyConfig>,
    /// Budgets by name.
    pub budgets: Vec<BudgetConfig>,
    /// Receivers of notices, by name.
    pub webhooks: Vec<WebhookConfig>,
    /// The prices by the token that endpoints were priced with.
    pub prices: PriceList,
    /// Issuers of tokens, by name.
    pub issuers: Vec<IssuerConfig>,
    /// Which tokens are which app's.
    pub tokens: Vec<TokenConfig>,
    /// Which names in client certificates are which app's. No name stands twice.
    pub certificates: Vec<CertificateConfig>,
    /// SHA-256 over names and texts of all files, in hex.
    pub hash: String,
    /// Each file with the SHA-256 of its text.
    pub sources: Vec<(PathBuf, String)>,
    /// The files and folders that it was read from: documents, certificates, keys. A change to one of them is a reason to load again.
    pub material: Stamps,
    /// What is not enforced yet, what looks odd and what runs out, in the order of the files.
    pub notes: Vec<Note>,
    /// The document as it was written, for parts that read settings which have no effect yet.
    pub document: Document,
}

/// Where callers connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Address and port; loopback where `tls` is absent.
    pub address: SocketAddr,
    /// Files of the gateway's certificate.
    pub tls: Option<ListenTlsConfig>,
    /// From these networks, and only these, a connection begins with a PROXY protocol v2 header.
    pub proxy_protocol_from: Vec<Network>,
    /// Whoever has one of these names in its certificate says whose certificate it saw.
    pub forwarded_client_cert_from: Vec<ingress::auth::CertificateName>,
    /// Time for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Time for the head of a request.
    pub header_timeout: Duration,
    /// Time for the body of a request.
    pub body_timeout: Duration,
    /// Time between requests on one connection.
    pub idle_timeout: Duration,
    /// Time that running requests have when the gateway is told to leave.
    pub drain_timeout: Duration,
    /// Silence after which a stream gets a comment.
    pub stream_comment: Duration,
    /// Largest body in bytes, after decompression.
    pub max_body_bytes: u64,
    /// Most bytes of bodies held at once.
    pub max_buffered_bytes: u64,
    /// Most requests at once.
    pub max_in_flight: u32,
    /// Most connections at once.
    pub max_connections: u32,
}

/// Files of the gateway's certificate, absolute; all have been read and fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTlsConfig {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Issuers of callers' certificates; with them a certificate is required.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of those issuers.
    pub crl: Option<PathBuf>,
}

/// DNS servers with their zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// Its name.
    pub name: String,
    /// Zones in lower case, without a dot at the end; `"."` is every name. No zone stands in two resolvers.
    pub zones: Vec<String>,
    /// Who is asked.
    pub servers: ResolverServers,
    /// How long what was verified outlives its answer while nobody answers.
    pub stale_grace: Duration,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolverServers {
    /// The resolver of the operating system; only for endpoints that are `public`.
    System,
    /// These servers, in this order.
    Addresses {
        /// Address and port of each; at least one.
        servers: Vec<SocketAddr>,
        /// How they are asked.
        transport: ResolverTransport,
    },
}

/// How DNS servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolverTransport {
    /// UDP, and TCP where an answer was cut short.
    UdpTcp,
    /// DNS over TLS.
    Tls(ResolverTls),
    /// DNS over HTTPS.
    Https(ResolverTls),
}

/// How DNS servers prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverTls {
    /// Name in their certificates.
    pub server_name: String,
    /// Their issuers; the system's trust roots where absent.
    pub ca: Option<PathBuf>,
}

/// One place that serves models.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Its name.
    pub name: String,
    /// The dialect that it speaks, one of those that were given as known.
    pub provider: String,
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// Path below which its APIs lie, without a `/` at its end; empty for the root.
    pub base_path: String,
    /// How it is reached.
    pub reach: ReachConfig,
    /// Where it processes data, as it was written.
    pub place: Option<Place>,
    /// Where the control plane of its cloud tells of it.
    pub control: Option<EndpointControlConfig>,
    /// How its certificate is checked. Present exactly where `scheme` is `https`.
    pub tls: Option<EndpointTlsConfig>,
    /// What it is shown. Absent where it needs none, and where it is a secret with [`Secrets::Skip`].
    pub credential: Option<CredentialConfig>,
    /// Time limits of calls to it.
    pub timeouts: TimeoutsConfig,
    /// Most calls in flight; no bound where absent.
    pub in_flight: Option<u32>,
    /// Bounds on its connections.
    pub pool: PoolConfig,
    /// Whether HTTP/2 is spoken.
    pub http2: Http2,
    /// How its connections are made.
    pub transport: TransportConfig,
    /// Its active probe.
    pub health: Option<ProbeConfig>,
    /// The proxy on the way to it.
    pub via: Option<ViaConfig>,
    /// The look at its public front.
    pub canary: Option<CanaryConfig>,
    /// The APIs that it speaks, in the order of [`Api`]; at least one.
    pub apis: Vec<Api>,
    /// Value of `api-version`.
    pub api_version: Option<String>,
    /// It stands on a site of one's own and is reached locally.
    pub own_site: bool,
    /// It is not generally available yet.
    pub preview: bool,
    /// Whether callers' content may be sent there: `local`, or approved by the security team.
    pub approved: bool,
    /// What callers may make it do beyond answering.
    pub grants: GrantsConfig,
    /// What it costs.
    pub cost: CostConfig,
    /// What its provider allows.
    pub quota: QuotaConfig,
    /// Path of the page that says how busy it is.
    pub page: Option<String>,
    /// Whether it is asked to say so in each answer.
    pub asks_for_load: bool,
    /// It is told which trace a request belongs to.
    pub trace_context: bool,
    /// How many gateways send to it, this one included.
    pub gateways: u32,
}

/// What an endpoint costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CostConfig {
    /// How it is paid for, overrides applied.
    pub pricing: Pricing,
    /// The entry of the catalogue, where it names one.
    pub entry: Option<String>,
}

/// How an endpoint is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReachConfig {
    /// On one's own network.
    Local {
        /// Every address of the host lies in one of these.
        within: Vec<Network>,
    },
    /// Over a private endpoint.
    PrivateLink {
        /// The service behind it.
        service: Arc<egress::Service>,
        /// Every address of the host lies in one of these.
        within: Vec<Network>,
        /// Index of the resolver that must answer; the one whose zone holds the host where absent.
        resolver: Option<usize>,
        /// Names to which the DNS chain may lead; those of the service where empty.
        expect: Vec<String>,
    },
    /// Over the internet.
    Public,
}

/// Time limits of calls to an endpoint; none is longer than `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutsConfig {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request's last byte to the answer's first.
    pub first_byte: Duration,
    /// Silence inside an answer.
    pub idle: Duration,
    /// The whole call.
    pub total: Duration,
}

/// What callers may make an endpoint do beyond answering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantsConfig {
    /// Keep state between calls.
    pub keep_state: bool,
    /// Fetch URLs that stand in the content.
    pub fetch_remote: bool,
    /// Run tools of its own.
    pub use_hosted_tool: bool,
}

/// One upstream model at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// `endpoint/upstream-model`.
    pub name: String,
    /// Index of the endpoint.
    pub endpoint: usize,
    /// The model's name there.
    pub upstream_model: String,
    /// Where it processes, keeps and shows data.
    pub facts: Arc<Facts>,
    /// The same with changes that are only proposed; none where nothing is.
    pub candidate_facts: Option<Arc<Facts>>,
}

/// A model that callers ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Its name.
    pub name: String,
    /// Indices of its targets, in order; at least one, and at least one of an approved endpoint.
    pub targets: Vec<usize>,
    /// How its targets are chosen.
    pub routing: RoutingConfig,
    /// Requests of all apps together.
    pub requests: RequestLimits,
    /// And their tokens.
    pub tokens_per_minute: Option<u64>,
    /// Labels of whatever is sent to it.
    pub labels: Vec<String>,
    /// Class of whatever is sent to it.
    pub class: Option<Class>,
}

/// A registered caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppConfig {
    /// Its name.
    pub name: String,
    /// Its team.
    pub team: String,
    /// Indices of its models; at least one.
    pub models: Vec<usize>,
    /// Requests.
    pub requests: RequestLimits,
    /// Tokens and money; no bound where absent.
    pub limits: Limits,
    /// Whether somebody waits for its answers; as its model says where absent.
    pub traffic: Option<Traffic>,
    /// Whether it may see why a request went where it went.
    pub may_explain: bool,
    /// Labels of its data.
    pub labels: Vec<String>,
    /// How confidential its data is.
    pub class: Class,
    /// Whether the document says so; it is the default otherwise.
    pub is_class_stated: bool,
    /// Purposes that are registered for it; none binds nothing.
    pub purposes: Vec<String>,
    /// What else is known of its data.
    pub data: DataConfig,
}

/// A key of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConfig {
    /// Its name; `app.keys[0]` for one that has none.
    pub name: String,
    /// SHA-256 of the key.
    pub digest: [u8; 32],
    /// Index of its app.
    pub app: usize,
    /// From this instant on it is no longer accepted.
    pub expires: Option<SystemTime>,
    /// Indices of those of the app's models that it may use; all where absent.
    pub models: Option<Vec<usize>>,
    /// Requests of this key, within the app's own bounds.
    pub requests: RequestLimits,
    /// Tokens and money of this key, within the app's own bounds; no bound where absent.
    pub limits: Limits,
}

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// Its name in the document.
    pub name: String,
    /// The claim `iss`. No two issuers have the same.
    pub issuer: String,
    /// Where its public keys are.
    pub keys: IssuerKeysConfig,
    /// The algorithms that are accepted; at least one.
    pub algorithms: Vec<ingress::auth::Algorithm>,
    /// How far its clock may be off.
    pub skew: Duration,
    /// By whom its tokens may come; by anybody where it is empty.
    pub only_from: Vec<ingress::auth::CertificateName>,
}

/// The tokens of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// Its name for records: `claims.jwt`.
    pub name: String,
    /// Index of the app.
    pub app: usize,
    /// The claim `iss` of one of the issuers.
    pub issuer: String,
    /// One of the claim `aud`.
    pub audience: String,
    /// Claims that must have these values.
    pub claims: Vec<(String, String)>,
    /// The claim that names the user.
    pub user: Option<String>,
}

/// The client certificate of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateConfig {
    /// Its name for records: `claims.certificate`.
    pub name: String,
    /// Index of the app.
    pub app: usize,
    /// The name that the certificate carries.
    pub certificate: ingress::auth::CertificateName,
}

/// Reads and checks `sources` whole.
///
/// # Errors
///
/// Every mistake there is, with its place.
pub fn load_sources(sources: &Sources, options: &LoadOptions<'_>) -> Result<Compiled, Mistakes> {
    let mut report = Report::new(sources);
    let tree = read::read(sources, &mut report);
    let walked = walk::walk(&tree, &mut report);
    let mut compiled = None;
    if tree.is_complete {
        authors::check(sources, &tree, &walked, &mut report);
        enforcement::check(&tree, &options.known, &mut report);
        compiled = check::check(sources, &tree, &walked, options, &mut report);
    }
    if let Some(compiled) = compiled.as_ref().filter(|_| report.mistakes.is_empty()) {
        check::look_ahead(compiled, &tree, options, &mut report);
    }
    report.notes.sort_by(|a, b| (&a.at, a.kind, &a.message).cmp(&(&b.at, b.kind, &b.message)));
    report.mistakes.sort();
    match compiled {
        Some(compiled) if report.mistakes.is_empty() => Ok(Compiled { notes: report.notes, ..compiled }),
        _ => Err(report.mistakes.with_material(report.material)),
    }
}
