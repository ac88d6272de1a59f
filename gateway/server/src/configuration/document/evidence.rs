//! Where checkpoints of the audit log are copied to.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{EndpointTls, EndpointTransport, KeySource, Reach};

/// A second place for checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Witness {
    /// Path of a folder on another machine's disk.
    Folder(String),
    /// A server that takes files by HTTP: WebDAV, an object store behind a key of its own, or a small receiver.
    Http(Box<WitnessHttp>),
}

/// A server that takes files by HTTP. Each checkpoint is put there as a file of its own, `ORIGIN.EPOCH.SIZE.checkpoint`, at most
/// one every five seconds.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessHttp {
    /// Scheme, host, port and the folder below which the files are put, such as `"https://auditors.corp.example/causeway"`.
    /// Required. The folder must be there.
    pub url: String,
    /// How it is reached. Required.
    pub reach: Reach,
    /// How its certificate is checked, and which one it is shown. Only with `https`.
    pub tls: Option<EndpointTls>,
    /// How connections to it are made.
    pub transport: Option<EndpointTransport>,
    /// The name to log in with, by HTTP Basic. Absent: `secret` is a bearer token. Needs `secret`.
    pub user: Option<String>,
    /// The password of `user`, or a bearer token. Absent: none is shown.
    pub secret: Option<KeySource>,
    /// Whether each file is fetched again and compared, so that a server which only says that it took one is found; default
    /// true. Switch it off where the credential may write and not read.
    pub read_back: Option<bool>,
}
