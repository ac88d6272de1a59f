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
    /// The same with keys of a role that run out, which the security token service gives for a token of another issuer.
    AwsWebIdentity(AwsWebIdentity),
    /// The same with keys of the role that AWS gave to this machine.
    AwsMachine(AwsMachine),
    /// The same with keys of the role that AWS gave to this container or pod.
    AwsContainer(AwsContainer),
}

/// A role of AWS that trusts another issuer, such as a cluster of Kubernetes, and is taken with its token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsWebIdentity {
    /// Region of what is asked with the keys, such as `"eu-central-1"`. Required.
    pub region: String,
    /// Name of the `[identity.NAME]` that is asked: the security token service, such as
    /// `"https://sts.eu-central-1.amazonaws.com"`, or that of the store. Required.
    pub identity: String,
    /// The role, such as `"arn:aws:iam::111122223333:role/causeway-audit"`. Required.
    pub role: String,
    /// Path of the file that holds the other issuer's token. Required. It is read for each time that keys are asked for.
    pub token_file: String,
    /// How the session is named in AWS's own logs, 2 to 64 characters; default `"causeway"`.
    pub session: Option<String>,
}

/// The role that AWS gave to this machine. Version 2 of its metadata service is spoken, never version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsMachine {
    /// Region of what is asked with the keys, such as `"eu-central-1"`. Required.
    pub region: String,
    /// Name of the role, so that keys of no other are taken. Absent: whichever the machine has.
    pub role: Option<String>,
    /// Name of the `[identity.NAME]` that is asked. Absent: the service's usual address, `http://169.254.169.254`.
    pub identity: Option<String>,
}

/// The role that AWS gave to this container (ECS) or pod (EKS Pod Identity).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsContainer {
    /// Region of what is asked with the keys, such as `"eu-central-1"`. Required.
    pub region: String,
    /// Name of the `[identity.NAME]` that is asked: the agent, `"http://169.254.170.2"` (ECS) or `"http://169.254.170.23"` (EKS),
    /// with `reach = { local = { within = ["169.254.170.0/24"] } }`. Required.
    pub identity: String,
    /// Path at the agent: what `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` holds (ECS), or `"/v1/credentials"` (EKS). Required.
    pub path: String,
    /// Path of the file whose content the agent wants to see, as `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` names it. It is read
    /// for each time that keys are asked for. Absent: nothing is shown.
    pub token_file: Option<String>,
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
