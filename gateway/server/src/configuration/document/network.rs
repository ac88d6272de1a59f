//! What the network team writes: listeners, resolvers, sites and endpoints.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Auth, Canary, Decimal, EndpointControl, EndpointTransport, Via};

/// Where callers connect, and how much they may ask for at once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port, `"0.0.0.0:8443"`. Required.
    ///
    /// Without `tls` it must be a loopback address: keys and prompts never cross a network in the clear.
    pub address: String,
    /// Certificate and key of the gateway. Absent: plaintext, on loopback only.
    pub tls: Option<ListenTls>,
    /// Networks whose connections begin with a PROXY protocol v2 header; default none.
    ///
    /// From a listed address the header is required, from any other it is refused, so that nobody can forge a caller's address.
    pub proxy_protocol_from: Option<Vec<String>>,
    /// Names in the client certificates of proxies whose header `x-forwarded-client-cert` is believed, each a URI such as
    /// `"spiffe://corp.example/f5"`, `"dns:"` and a host name, or `"subject:"` and a whole subject; default none. Needs
    /// `tls.client_ca`.
    ///
    /// The app is then the one whose `certificate` the header names. From everybody else the header is ignored, and it never goes
    /// to an endpoint.
    pub forwarded_client_cert_from: Option<Vec<String>>,
    /// Time limits of a caller's connection.
    pub timeouts: Option<ListenTimeouts>,
    /// Largest request body accepted, in bytes; default 33_554_432 (32 MiB).
    ///
    /// Counted after decompression: a small compressed body can unfold into a very large one.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_body_bytes: Option<u64>,
    /// Most bytes of request bodies held in memory at once, over all callers; default 536_870_912 (512 MiB).
    ///
    /// A request that does not fit is answered 503 `overloaded`. At least `max_body_bytes`.
    #[schemars(range(min = 1024))]
    pub max_buffered_bytes: Option<u64>,
    /// Most requests worked on at once, open streams included; default 4_096. Above it: 503 `overloaded`.
    #[schemars(range(min = 1))]
    pub max_in_flight: Option<u32>,
    /// Most connections open at once; default 16_384. Above it a new connection is closed at once.
    #[schemars(range(min = 1))]
    pub max_connections: Option<u32>,
    /// Silence on a stream after which the caller is sent an SSE comment, in milliseconds; default 15_000.
    ///
    /// It keeps proxies between caller and gateway from cutting a stream that is only thinking.
    #[schemars(range(min = 1000))]
    pub stream_comment_ms: Option<u64>,
}

/// The certificate that the gateway shows, and those it asks callers for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenTls {
    /// Path of the certificate chain, PEM, the gateway's own first. Required. Read again when the file changes.
    pub certificate: String,
    /// Path of the private key of `certificate`, PEM. Required. Read again when the file changes.
    pub key: String,
    /// Path of the CA certificates, PEM, that issue callers' certificates. Absent: callers are asked for none.
    ///
    /// With it every caller must show a certificate of these issuers, beside its key; an app that names one as its `certificate`
    /// needs no key.
    pub client_ca: Option<String>,
    /// Path of revocation lists, PEM, of `client_ca`. Absent: no certificate counts as revoked. Needs `client_ca`.
    pub crl: Option<String>,
}

/// Time limits of a caller's connection.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenTimeouts {
    /// Time for the TLS handshake, in milliseconds; default 10_000.
    #[schemars(range(min = 1))]
    pub handshake_ms: Option<u64>,
    /// Time from the first byte of a request to the end of its head, in milliseconds; default 10_000.
    #[schemars(range(min = 1))]
    pub header_ms: Option<u64>,
    /// Time to read the whole body of a request, in milliseconds; default 60_000.
    #[schemars(range(min = 1))]
    pub body_ms: Option<u64>,
    /// Time a connection may stay open between requests, in milliseconds; default 75_000.
    #[schemars(range(min = 1))]
    pub idle_ms: Option<u64>,
    /// Time that running requests are given to finish when the gateway is told to leave, in milliseconds; default 900_000.
    ///
    /// Keep it below `TimeoutStopSec=` of the systemd unit, or systemd cuts the streams.
    #[schemars(range(min = 1))]
    pub drain_ms: Option<u64>,
}

/// The listener for operators: `/livez`, `/readyz`, `/metrics`, `/api/…`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address and port, `"127.0.0.1:9443"`. Required.
    ///
    /// One that other machines can reach needs `tls` and at least one `[administrator.NAME]`.
    pub address: String,
    /// Certificate and key of this listener. Absent: plaintext, on loopback only.
    pub tls: Option<ListenTls>,
}

/// The listener for load balancers: plaintext, `/livez` and `/readyz` and nothing else.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Address and port, `"0.0.0.0:8080"`. Required.
    pub address: String,
}

/// Where the gateway keeps what must outlive it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Folder for the audit log and the last good configuration. Required. Made at start if it is missing.
    pub folder: String,
}

/// DNS servers, and the zones for which they and no others are asked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolver {
    /// Zones that these servers answer for, such as `"corp.example"`; `"."` is every name. Required.
    ///
    /// The longest zone that holds a name wins; a name in no zone is asked of no one.
    pub zones: Vec<String>,
    /// Servers as `"address:port"`, asked in this order; or `"system"` alone, which serves only `reach = { public = {} }`. Required.
    pub servers: Vec<String>,
    /// How the servers are asked; default `"udp-tcp"`.
    pub transport: Option<Transport>,
    /// The name in the servers' certificates. Required with `transport = "tls"` and `"https"`, without effect otherwise.
    pub server_name: Option<String>,
    /// Path of the CA certificates, PEM, that issue the servers' certificates. Absent: the system's trust roots.
    pub ca: Option<String>,
    /// How long verified addresses count beyond their lifetime while none of the servers answers, as `"15min"`, `"90s"`,
    /// `"2h"` or `"0"`; default `"15min"`, at most `"24h"`.
    ///
    /// An answer that contradicts them ends it at once. The first use of it is an error in the log.
    pub stale_grace: Option<String>,
}

/// How a DNS server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// UDP, and TCP where an answer was cut short.
    UdpTcp,
    /// DNS over TLS, port 853.
    Tls,
    /// DNS over HTTPS, path `/dns-query`.
    Https,
}

/// A place of one's own: where it lies, and under whose law it is run.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Country as two capital letters, ISO 3166-1. Required.
    pub country: String,
    /// Country whose law the operator answers to, as two capital letters; default `country`.
    pub operator: Option<String>,
}

/// One place that serves models.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The dialect that it speaks: `"openai"`, `"azure-openai"` or `"anthropic"`. Required.
    pub provider: String,
    /// Where it is: scheme, host, port and the path below which its APIs lie. Required.
    ///
    /// For `provider = "openai"` it includes `/v1`. `http` only where `reach` is `local` or the host is a loopback address.
    pub url: String,
    /// How it is reached, which decides what its address must be. Required.
    pub reach: Reach,
    /// Where it processes and keeps data. Absent: unknown, which is inside no group of countries.
    pub place: Option<Place>,
    /// Where the control plane of its cloud tells of it, which is held against `place`. Absent: it is not asked.
    pub control: Option<EndpointControl>,
    /// How much it can do at once. Absent: no bound of the gateway's.
    pub capacity: Option<Capacity>,
    /// What it costs. Absent: nothing more where `place` is a site of one's own, else unknown.
    ///
    /// An unknown price sorts last, is reserved and charged at 15 dollars per million input and 75 per million output
    /// tokens, and is flagged.
    pub cost: Option<Cost>,
    /// Where it says how busy it is. Absent: nowhere.
    pub signals: Option<Signals>,
    /// The credential that the gateway shows it. Absent: none.
    pub auth: Option<Auth>,
    /// How its certificate is checked, and which one it is shown. Only with `https`.
    pub tls: Option<EndpointTls>,
    /// What the provider allows this account. Absent: no bound known.
    pub quota: Option<Quota>,
    /// The APIs that it speaks; default what its provider speaks (all six for `"openai"`).
    pub apis: Option<Vec<Api>>,
    /// Value of Azure's `api-version`. Absent: the path `/openai/v1/`, which needs none. Only for providers that have versions.
    pub api_version: Option<String>,
    /// Time limits of calls to it.
    pub timeouts: Option<EndpointTimeouts>,
    /// Bounds on the connections kept to it.
    pub pool: Option<Pool>,
    /// Whether HTTP/2 is spoken; default `"auto"`.
    pub http2: Option<Http2>,
    /// How its connections are made.
    pub transport: Option<EndpointTransport>,
    /// An active probe. Absent: its health is judged by its answers alone.
    pub health: Option<Probe>,
    /// A proxy on the way to it. Absent: it is connected to directly.
    pub via: Option<Via>,
    /// A look at the public front of its name, which must turn it away. Absent: none. Only with `private-link`.
    pub canary: Option<Canary>,
    /// Whether it is not generally available yet; default false. The shipped policies allow it public data only.
    pub preview: Option<bool>,
    /// Whether it is told which trace a request belongs to (`traceparent`, `tracestate`); default false, and what a caller sent of
    /// these is not passed on.
    pub trace_context: Option<bool>,
}

/// How an endpoint is reached.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Reach {
    /// On one's own network.
    Local {
        /// Networks in CIDR form, in which every address of the host must lie. Required, not empty.
        within: Vec<String>,
    },
    /// Over a private endpoint in a cloud.
    PrivateLink {
        /// The service behind the private endpoint: a shipped one such as `"azure-openai"`, a `[service.NAME]`, or `"own"`. Required.
        ///
        /// It says what the host looks like, where the chain of DNS names may lead, and who issues the certificate.
        service: String,
        /// Networks in CIDR form, in which every address of the host must lie. Required, not empty.
        within: Vec<String>,
        /// Name of the `[resolver.NAME]` that must answer. Absent: the one whose zone holds the host.
        resolver: Option<String>,
        /// Names to which the DNS chain may lead, themselves or below. Absent: those of the service.
        expect: Option<Vec<String>>,
    },
    /// Over the internet, on purpose.
    Public {},
}

/// Where an endpoint processes and keeps data.
///
/// Looked up in the data pack; what an endpoint's host name says plays no part.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Place {
    /// A `[site.NAME]` of one's own.
    Site(String),
    /// A deployment of Azure OpenAI.
    Azure(AzurePlace),
    /// A model of Amazon Bedrock.
    Bedrock(BedrockPlace),
    /// A model of Google Vertex AI.
    Vertex(VertexPlace),
    /// A project of OpenAI.
    Openai(OpenAiPlace),
    /// A workspace of Anthropic.
    Anthropic(AnthropicPlace),
    /// A region of Mistral.
    Mistral(RegionPlace),
    /// Stated by hand, with the reason.
    Declared(DeclaredPlace),
}

/// A deployment of Azure OpenAI.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AzurePlace {
    /// Azure region of the resource, such as `"swedencentral"`. Required.
    pub region: String,
    /// Deployment type as in Azure's `sku.name`, such as `"Standard"` or `"GlobalStandard"`. Required: it, not the region, says where prompts are processed.
    pub sku: String,
}

/// A model of Amazon Bedrock.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BedrockPlace {
    /// AWS region that is called, such as `"eu-central-1"`. Required.
    pub region: String,
    /// Inference profile or its prefix, such as `"eu"`. Absent: the model is called in the region itself.
    pub profile: Option<String>,
}

/// A model of Google Vertex AI.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VertexPlace {
    /// Location that is called, such as `"europe-west4"` or `"global"`. Required.
    pub location: String,
    /// Model whose residency row counts. Absent: the upstream model of the target.
    pub model: Option<String>,
}

/// A project of OpenAI.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAiPlace {
    /// Region of the project, such as `"eu"`. Required.
    pub project_region: String,
}

/// A workspace of Anthropic.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnthropicPlace {
    /// Where inference runs, such as `"us"` or `"global"`. Required.
    pub inference_geo: String,
}

/// A provider's region.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionPlace {
    /// Region that is called. Required.
    pub region: String,
}

/// A place stated by hand.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredPlace {
    /// Countries where prompts may be processed, as two capital letters each. Required, not empty.
    pub processing: Vec<String>,
    /// Countries where data may be kept. Required, not empty.
    pub at_rest: Vec<String>,
    /// Country whose law the operator answers to. Required.
    pub operator: String,
    /// Country of the operator's parent company; default `operator`.
    pub operator_parent: Option<String>,
    /// Countries from which people may read the data; default `processing`.
    pub access_from: Option<Vec<String>>,
    /// Days for which data is kept; default 0.
    pub retention_days: Option<u32>,
    /// Whether the data may train models; default false.
    pub training: Option<bool>,
    /// Why this is so: a contract, a document, a name. Required, not blank.
    pub because: String,
}

/// How much an endpoint can do at once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Most calls in flight to it, streams included. Required, at least 1. Above it the next target is tried.
    #[schemars(range(min = 1))]
    pub in_flight: u32,
}

/// What an endpoint costs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Cost {
    /// Paid for by the hour, whether used or not.
    Fixed {
        /// Dollars per hour, exact. Required.
        usd_per_hour: Decimal,
    },
    /// Throughput that is provisioned at a provider (Azure's PTU): paid for by the hour, whether used or not.
    ///
    /// It is used after own servers and before what is paid for by the token.
    Provisioned {
        /// Dollars per hour, exact. Required.
        usd_per_hour: Decimal,
    },
    /// Paid for by the token. Prices given here override those of the catalogue, in every tier.
    PerToken(PerToken),
}

/// Prices by the token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerToken {
    /// Entry of the price catalogue, such as `"azure/eu/gpt-4o"`. Absent: only the prices given here.
    pub catalogue: Option<String>,
    /// Dollars per million input tokens, exact.
    pub input_usd_per_million: Option<Decimal>,
    /// Dollars per million output tokens, exact.
    pub output_usd_per_million: Option<Decimal>,
    /// Dollars per million input tokens read from the provider's cache, exact; default `input_usd_per_million`.
    pub cached_input_usd_per_million: Option<Decimal>,
    /// Dollars per million input tokens that go into the provider's cache, exact; default `input_usd_per_million`.
    pub cache_write_usd_per_million: Option<Decimal>,
}

/// Where prices by the token come from. They are never fetched.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Path of a catalogue that `causeway prices import` wrote. Required. Read again when the file changes.
    pub file: String,
}

/// Where an endpoint says how busy it is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signals {
    /// URL of its metrics page: `/metrics` of vLLM, SGLang or llama.cpp, `/api/ps` of Ollama. Absent: none is read.
    ///
    /// It lies on the host and port of `url`, and is read over connections that are verified as those are. It is read
    /// five times a second while requests go there, and every two seconds while none do.
    pub metrics: Option<String>,
    /// Whether it is asked to say in each answer how busy it is, by the header `endpoint-load-metrics-format`; default
    /// false. vLLM answers it (release 0.26: with whole answers, not with streams), and Triton.
    pub load_header: Option<bool>,
    /// How many gateways send to the endpoint, this one included; default 1. Each takes its part of `quota`, and takes the
    /// others to send as much as itself between two reports of the endpoint's load.
    #[schemars(range(min = 1, max = 1_000))]
    pub gateways: Option<u32>,
}

/// Where a key is read from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum KeySource {
    /// Name of the environment variable that holds the key.
    Env(String),
    /// Path of the file that holds the key; one line end after it is left out.
    File(String),
}

/// How an endpoint's certificate is checked, and which one it is shown.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointTls {
    /// Path of the CA certificates, PEM, that may issue its certificate. Absent: the system's trust roots.
    ///
    /// It replaces the trust roots and the service's usual issuers.
    pub ca: Option<String>,
    /// SHA-256 of the public key its certificate must carry, `"sha256:"` and 64 hex digits. Absent: any key.
    pub pin: Option<String>,
    /// Names of the issuers its certificate may have. Absent: those of the service.
    pub issuers: Option<Vec<String>>,
    /// Path of the certificate chain, PEM, that the gateway shows it. Absent: none. Needs `client_key`.
    pub client_certificate: Option<String>,
    /// Path of the private key of `client_certificate`, PEM. Needs `client_certificate`.
    pub client_key: Option<String>,
    /// Whether the post-quantum key exchange is offered; default true.
    ///
    /// It makes the first packet large; some middleboxes drop it.
    pub post_quantum: Option<bool>,
}

/// What a provider allows an account.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Tokens per minute. Absent: unknown.
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
    /// Requests per minute. Absent: unknown.
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u64>,
    /// Output tokens that a request may ask for there which bounds them nowhere, neither by itself nor by the limits of its app:
    /// it is sent with `max_tokens`, or what its API calls that. Absent: it is sent without. Azure and others hold the model's
    /// whole maximum against the quota for such a request.
    #[schemars(range(min = 1))]
    pub output_tokens: Option<u64>,
}

/// An API that an endpoint may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `POST …/chat/completions`.
    Chat,
    /// `POST …/completions`.
    Completions,
    /// `POST …/responses`.
    Responses,
    /// `POST …/embeddings`.
    Embeddings,
    /// `POST …/rerank`.
    Rerank,
    /// Anthropic's `POST …/messages`, and `…/messages/count_tokens`.
    Messages,
}

impl Api {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 6] =
        [Self::Chat, Self::Completions, Self::Responses, Self::Embeddings, Self::Rerank, Self::Messages];

    /// The name as the document writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Messages => "messages",
        }
    }
}

/// Time limits of calls to an endpoint. Each has its own error.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointTimeouts {
    /// Time to connect, TLS included, in milliseconds; default 5_000.
    #[schemars(range(min = 1))]
    pub connect_ms: Option<u64>,
    /// Time from the request's last byte to the answer's first, in milliseconds; default 300_000.
    ///
    /// An answer that is not streamed begins only when the model is done.
    #[schemars(range(min = 1))]
    pub first_byte_ms: Option<u64>,
    /// Longest silence inside an answer, in milliseconds; default 120_000.
    #[schemars(range(min = 1))]
    pub idle_ms: Option<u64>,
    /// Time for the whole call, in milliseconds; default 900_000. The other limits are never longer.
    #[schemars(range(min = 1))]
    pub total_ms: Option<u64>,
}

/// Bounds on the connections kept to an endpoint.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Most connections at once; default 4_096.
    #[schemars(range(min = 1))]
    pub max_connections: Option<u32>,
    /// Time after which an unused connection is closed, in milliseconds; default 60_000.
    #[schemars(range(min = 1))]
    pub idle_ms: Option<u64>,
    /// Age after which a connection takes no further call, in milliseconds; default 600_000.
    ///
    /// It bounds how long a change of DNS or of a certificate goes unseen.
    #[schemars(range(min = 1))]
    pub lifetime_ms: Option<u64>,
    /// Connections that are opened ahead and kept open; default 0. At most `max_connections`.
    pub warm: Option<u32>,
}

/// Whether HTTP/2 is spoken to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Http2 {
    /// Where TLS negotiates it; `http` is HTTP/1.1.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always, without asking. Over `http` it is the only way to HTTP/2.
    PriorKnowledge,
}

/// An active probe of an endpoint. It carries no caller's content.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Path on the endpoint's host that is fetched with GET, such as `"/health"`. Required. A 2xx answer is healthy.
    pub path: String,
    /// Time between probes, in milliseconds; default 10_000.
    #[schemars(range(min = 1000))]
    pub interval_ms: Option<u64>,
}
