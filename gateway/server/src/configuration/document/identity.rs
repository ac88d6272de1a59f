//! How the gateway identifies itself to an endpoint, and where it asks for the tokens that it shows.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{EndpointTls, EndpointTransport, KeySource, Reach, Via};

/// A host that gives the gateway tokens by which it identifies itself to endpoints, or the keys by which it knows the tokens of
/// an `[issuer]`. Nothing of a caller goes there.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Scheme and host, without a path, such as `"https://login.microsoftonline.com"`. Required.
    pub url: String,
    /// How it is reached. Required. Entra ID has no private link, so it is `{ public = {} }`.
    pub reach: Reach,
    /// How its certificate is checked. Only with `https`.
    pub tls: Option<EndpointTls>,
    /// How its connections are made.
    pub transport: Option<EndpointTransport>,
    /// A proxy on the way to it. Absent: it is connected to directly.
    pub via: Option<Via>,
}

/// The credential that the gateway shows an endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Auth {
    /// A key, read when the configuration is loaded and never written anywhere.
    Key(KeySource),
    /// A token of Entra ID for the identity that the cloud gave to this machine.
    ManagedIdentity(ManagedIdentity),
    /// A token of Entra ID for an application that shows a token of another issuer, which it trusts.
    WorkloadIdentity(WorkloadIdentity),
    /// A token of Entra ID for an application that proves that it has the key of its certificate.
    ClientCertificate(CertificateAuth),
    /// A token of Entra ID for an application with a secret.
    ClientSecret(SecretAuth),
}

/// The identity that the cloud gave to this machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedIdentity {
    /// Who gives the token; default `"machine"`.
    pub source: Option<ManagedSource>,
    /// The client id of the identity, where the machine has several. Only with `source = "machine"`.
    pub client: Option<String>,
    /// Name of the `[identity.NAME]` that is asked. Absent: the service's usual address, `http://169.254.169.254` or
    /// `http://127.0.0.1:40342`.
    pub identity: Option<String>,
    /// What the token is for. Absent: what `provider = "azure-openai"` needs in the cloud of the url; other providers need it.
    pub scope: Option<String>,
    /// Folder of the Arc agent's challenges; default `"/var/opt/azcmagent/tokens"`. Only with `source = "arc"`.
    pub challenges: Option<String>,
}

/// Who gives the token of a managed identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ManagedSource {
    /// The metadata service of a machine in Azure.
    #[default]
    Machine,
    /// The agent of Azure Arc on a server of one's own.
    Arc,
}

/// An application that shows a token of another issuer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadIdentity {
    /// Name of the `[identity.NAME]` that is asked. Required.
    pub identity: String,
    /// Id or domain of the tenant. Required.
    pub tenant: String,
    /// Client id of the application. Required.
    pub client: String,
    /// Path of the file that holds the other issuer's token. Required. It is read for each token that is asked for.
    pub token_file: String,
    /// What the token is for. Absent: what `provider = "azure-openai"` needs in the cloud of the url; other providers need it.
    pub scope: Option<String>,
}

/// An application that has the key of a certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateAuth {
    /// Name of the `[identity.NAME]` that is asked. Required.
    pub identity: String,
    /// Id or domain of the tenant. Required.
    pub tenant: String,
    /// Client id of the application. Required.
    pub client: String,
    /// Path of the certificate, PEM, that the application has in the tenant. Required.
    pub certificate: String,
    /// Path of its private key, PEM, RSA. Required.
    pub key: String,
    /// What the token is for. Absent: what `provider = "azure-openai"` needs in the cloud of the url; other providers need it.
    pub scope: Option<String>,
}

/// An application that has a secret.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretAuth {
    /// Name of the `[identity.NAME]` that is asked. Required.
    pub identity: String,
    /// Id or domain of the tenant. Required.
    pub tenant: String,
    /// Client id of the application. Required.
    pub client: String,
    /// Where the secret is read from. Required. It is read when the configuration is loaded and never written anywhere.
    pub secret: KeySource,
    /// What the token is for. Absent: what `provider = "azure-openai"` needs in the cloud of the url; other providers need it.
    pub scope: Option<String>,
}
