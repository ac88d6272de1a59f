//! Control planes of clouds, which know where a deployment really processes.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    CertificateAuth, EndpointTls, EndpointTransport, KeySource, ManagedIdentity, Reach, SecretAuth, Via,
    WorkloadIdentity,
};

/// The control plane of a cloud, which is asked where the deployments of endpoints process. It is only read, and nothing of a
/// caller goes there.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Scheme and host, without a path, such as `"https://management.azure.com"` or
    /// `"https://bedrock.eu-central-1.amazonaws.com"`. Required.
    pub url: String,
    /// How it is reached. Required.
    pub reach: Reach,
    /// What the gateway shows it. Required.
    pub auth: ControlAuth,
    /// How its certificate is checked.
    pub tls: Option<EndpointTls>,
    /// How its connections are made.
    pub transport: Option<EndpointTransport>,
    /// A proxy on the way to it. Absent: it is connected to directly.
    pub via: Option<Via>,
    /// Time between two askings, in seconds; default 3_600. It is asked at the start and after a reload as well.
    #[schemars(range(min = 60, max = 86_400))]
    pub every_s: Option<u64>,
}

/// What the gateway shows a control plane.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum ControlAuth {
    /// A token of Entra ID for the identity that the cloud gave to this machine.
    ManagedIdentity(ManagedIdentity),
    /// A token of Entra ID for an application that shows a token of another issuer, which it trusts.
    WorkloadIdentity(WorkloadIdentity),
    /// A token of Entra ID for an application that proves that it has the key of its certificate.
    ClientCertificate(CertificateAuth),
    /// A token of Entra ID for an application with a secret.
    ClientSecret(SecretAuth),
    /// A signature with keys of AWS.
    Aws(AwsAuth),
}

/// Keys of AWS, by which each request is signed (Signature Version 4).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsAuth {
    /// Region of what is asked, such as `"eu-central-1"`. Required.
    pub region: String,
    /// Where the id of the access key is read from. Required.
    pub access_key: KeySource,
    /// Where the secret access key is read from. Required. It is read when the configuration is loaded and never written anywhere.
    pub secret_key: KeySource,
    /// Where the session token is read from, for keys that run out. Absent: none is sent. A file that changes is read again.
    pub session_token: Option<KeySource>,
}

/// Where the control plane of a cloud tells of an endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum EndpointControl {
    /// Azure Resource Manager: the deployment type of each target, `sku.name`, and the region of the account.
    Azure(AzureControl),
    /// Amazon Bedrock: the regions of each target's inference profile.
    Bedrock(BedrockControl),
}

/// Where Azure Resource Manager tells of an endpoint. Its targets' upstream models are the names of the deployments.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AzureControl {
    /// Name of the `[control.NAME]` that is asked. Required.
    pub host: String,
    /// Id of the account:
    /// `"/subscriptions/…/resourceGroups/…/providers/Microsoft.CognitiveServices/accounts/…"`. Required.
    pub account: String,
}

/// Where Amazon Bedrock tells of an endpoint. The profile is that of `place`, where it is a whole id or ARN, else the target's
/// upstream model; a model that is called in its region has none, and is not asked about.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BedrockControl {
    /// Name of the `[control.NAME]` that is asked, in the region that is called. Required.
    pub host: String,
}
