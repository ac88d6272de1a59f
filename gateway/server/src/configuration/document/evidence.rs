//! Where checkpoints of the audit log are copied to.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    AwsAuth, CertificateAuth, EndpointTls, EndpointTransport, KeySource, ManagedIdentity, Reach, SecretAuth,
    WorkloadIdentity,
};

/// A second place for checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Witness {
    /// Path of a folder on another machine's disk.
    Folder(String),
    /// A server that takes files by HTTP: WebDAV, or a small receiver.
    Http(Box<WitnessHttp>),
    /// A bucket of Amazon S3, or of a store that speaks as it does.
    S3(Box<WitnessS3>),
    /// A container of Azure Blob Storage.
    AzureBlob(Box<WitnessAzureBlob>),
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

/// A bucket that each checkpoint is put into as an object of its own, named as with `http`, and never over another.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessS3 {
    /// Host, bucket and prefix, such as `"https://auditors.s3.eu-central-1.amazonaws.com/causeway"` or
    /// `"https://s3.corp.example/auditors/causeway"`. Required; `https`.
    pub url: String,
    /// How it is reached. Required.
    pub reach: Reach,
    /// How its certificate is checked.
    pub tls: Option<EndpointTls>,
    /// How connections to it are made.
    pub transport: Option<EndpointTransport>,
    /// The keys by which each request is signed. Required.
    pub auth: WitnessS3Auth,
    /// Whether each object is fetched again and compared; default true. Switch it off where the keys may write and not read.
    pub read_back: Option<bool>,
}

/// What the gateway shows a bucket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum WitnessS3Auth {
    /// A signature with keys of AWS, or of the store.
    Aws(AwsAuth),
}

/// A container that each checkpoint is put into as a block blob of its own, named as with `http`, and never over another.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessAzureBlob {
    /// Host, container and prefix, such as `"https://auditors.blob.core.windows.net/checkpoints/causeway"`. Required; `https`.
    pub url: String,
    /// How it is reached. Required.
    pub reach: Reach,
    /// How its certificate is checked.
    pub tls: Option<EndpointTls>,
    /// How connections to it are made.
    pub transport: Option<EndpointTransport>,
    /// What the gateway shows it. Required. Where a token does not say what it is for, it is for
    /// `"https://storage.azure.com/.default"`.
    pub auth: WitnessBlobAuth,
    /// Whether each blob is fetched again and compared; default true. Switch it off where the credential may write and not
    /// read.
    pub read_back: Option<bool>,
}

/// What the gateway shows a container.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum WitnessBlobAuth {
    /// A token of Entra ID for the identity that the cloud gave to this machine.
    ManagedIdentity(ManagedIdentity),
    /// A token of Entra ID for an application that shows a token of another issuer, which it trusts.
    WorkloadIdentity(WorkloadIdentity),
    /// A token of Entra ID for an application that proves that it has the key of its certificate.
    ClientCertificate(CertificateAuth),
    /// A token of Entra ID for an application with a secret.
    ClientSecret(SecretAuth),
    /// A shared access signature, `sv=…&sig=…`, that may create blobs in the container, and read them unless `read_back` is off.
    Sas(KeySource),
}
