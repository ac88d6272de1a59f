//! What the network team writes about the way to an endpoint: services behind private links, and how connections are made.

use schemars::JsonSchema;
use serde::Deserialize;

/// A service behind a private link, beside the shipped ones: what its names look like, and where a private answer leads.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// How its public name leads to a private address. Required.
    pub kind: ChainKind,
    /// What the host of its endpoints looks like, `"*.llm.example"`: `*` is any part of one label. Required, not empty.
    pub hosts: Vec<String>,
    /// Names to which its chain may lead, themselves or below. Absent: none but the host. Required for `"azure-cname"`.
    pub zones: Option<Vec<String>>,
    /// Names of its public front, themselves or below. Absent: none, and every other name is a foreign one.
    pub fronts: Option<Vec<String>>,
    /// Organisation or common name of its certificates' issuers. Absent: any that is trusted.
    pub issuers: Option<Vec<String>>,
    /// Whether a private address of it may be an IPv6 one; default false.
    pub ipv6: Option<bool>,
}

/// How a public name leads to a private address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChainKind {
    /// It points to a name in one of `zones`, which owns the address.
    AzureCname,
    /// The address stands on the name itself.
    SameName,
    /// It points to a name of the provider's with fixed addresses.
    VipCname,
    /// The vendor's private name is dialled.
    VendorName,
}

/// A look at the public front of a private endpoint's name. It carries no credential and no caller's content.
///
/// A front that refuses shows that public access is disabled, and the evidence level becomes `cloud`. One that answers is
/// the alarm CANARY-01.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Name of the `[resolver.NAME]` that answers as the internet does. Required. It is not the private link's own.
    pub resolver: String,
    /// Networks in CIDR form, in which every address of the front must lie. Absent: any public address.
    pub within: Option<Vec<String>>,
    /// Path on the host that is fetched with GET. Absent: the list of models for `provider = "azure-openai"`, else `"/"`.
    pub path: Option<String>,
    /// Time between two looks, in seconds; default 3_600. A refusal counts for two of them.
    #[schemars(range(min = 10, max = 86400))]
    pub interval_s: Option<u64>,
}

/// A proxy on the way, which is asked to connect by HTTP CONNECT. Proxies of the environment are never used.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Via {
    /// Where the proxy is, as `"http://proxy.corp.example:3128"`, or `"https://…"` where TLS is spoken to it. Required. It takes
    /// no credential.
    pub proxy: String,
    /// Networks in CIDR form, in which every address of the proxy must lie. Required, not empty.
    pub within: Vec<String>,
    /// How the endpoint is asked for; default `"address"`. The evidence level is then `proxied`, or `name`.
    pub connect: Option<ViaConnect>,
    /// Path of the CA certificates, PEM, that issue the proxy's. Absent: the system's. Only with `https`.
    pub ca: Option<String>,
}

/// How an endpoint is asked for at a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ViaConnect {
    /// By the address that the gateway resolved and verified.
    #[default]
    Address,
    /// By its name, which the proxy resolves. Only with `reach = { public = {} }`.
    Name,
}

/// How connections to an endpoint are made.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointTransport {
    /// When a silent connection is probed.
    pub keepalive: Option<Keepalive>,
    /// Time after which a connection is given up whose bytes are not acknowledged, in milliseconds; default 60_000.
    #[schemars(range(min = 1000))]
    pub user_timeout_ms: Option<u64>,
    /// Largest segment in bytes, below what the path carries. Absent: what the interface says.
    ///
    /// It is the way out where a tunnel loses large packets and nobody says so (NET-04).
    #[schemars(range(min = 88, max = 32767))]
    pub mss: Option<u32>,
    /// Interface by which packets leave, whatever the routes say, such as `"tun0"`. Absent: as the routes say.
    ///
    /// With it, or with `leaves_from`, the evidence level of a connection is `route`.
    pub device: Option<String>,
    /// Source address. Absent: the system chooses.
    pub source: Option<String>,
    /// Networks in CIDR form, one of which must hold the source address that the system chooses. Absent: any.
    ///
    /// Another source address means another interface, perhaps the way to the internet: nothing is sent (NET-11).
    pub leaves_from: Option<Vec<String>>,
    /// Whether IPv6 addresses are dialled; default false for `private-link`, true otherwise. They are judged in any case.
    pub ipv6: Option<bool>,
}

/// When a silent connection is probed. Firewalls forget silent flows, some after four minutes and without a word.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// Silence before the first probe, in milliseconds; default 30_000.
    #[schemars(range(min = 1000))]
    pub idle_ms: Option<u64>,
    /// Time between probes that are not answered, in milliseconds; default 10_000.
    #[schemars(range(min = 1000))]
    pub interval_ms: Option<u64>,
    /// Unanswered probes after which the connection is given up; default 3.
    #[schemars(range(min = 1, max = 127))]
    pub count: Option<u32>,
}
