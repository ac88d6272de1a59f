//! Tokens by which the gateway identifies itself to an endpoint, where keys are switched off.
//!
//! Azure resources of a hardened estate take no keys, only tokens of Entra ID. Such a token comes from an *identity host*,
//! which is reached through the same door as every endpoint and under a reach of its own: the sign-in host of the cloud
//! (which has no private link), the metadata service of the machine, or the agent of an Arc server. What goes there is
//! the gateway's own identity and never anything of a caller.
//!
//! A token is kept by whoever needs it ([`keeper`]), asked for anew when half of its life is over, and used until it ends
//! while no new one is to be had. How it is asked for is [`ask`]'s.

mod ask;
mod assertion;
mod aws;
mod keeper;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

pub(crate) use ask::Lent;
pub(crate) use aws::blames_keys;
pub(crate) use keeper::Keeper;

use crate::credentials::Secret;
use crate::fault::Verdict;
use crate::spec::{ClientCertificate, EndpointSpec};

/// A token, and how it is asked for. Endpoints with the same one share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSpec {
    /// Where it is asked for.
    pub host: Arc<EndpointSpec>,
    /// What it is for, for example `https://cognitiveservices.azure.com/.default`.
    pub scope: String,
    /// What is shown for it.
    pub grant: Grant,
}

/// What the gateway shows for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The secret of an application.
    ClientSecret {
        /// The application.
        app: Application,
        /// Its secret.
        secret: Secret,
    },
    /// An assertion, signed with the key of a certificate that the application has. RSA only: Entra ID takes no other.
    ClientCertificate {
        /// The application.
        app: Application,
        /// The certificate and its key.
        certificate: ClientCertificate,
    },
    /// A token of another issuer that the application trusts (workload identity federation), read from a file that
    /// somebody keeps fresh. It is read again for every request.
    Federated {
        /// The application.
        app: Application,
        /// The file.
        file: PathBuf,
    },
    /// The identity that the cloud gave to this machine, from its metadata service.
    Machine {
        /// Which one, where the machine has several.
        client: Option<String>,
    },
    /// A token of another issuer that a role of AWS trusts, read from a file that somebody keeps fresh; for keys of that role, from
    /// the security token service. The file is read again for every request.
    AwsWebIdentity {
        /// The role's ARN.
        role: String,
        /// How the session is named in AWS's own logs.
        session: String,
        /// The file.
        file: PathBuf,
    },
    /// The role that AWS gave to this machine, from its metadata service, version 2; for keys of that role.
    AwsMachine {
        /// Its name; whatever the machine has where absent.
        role: Option<String>,
    },
    /// The role that AWS gave to this container or pod, from the agent beside it; for keys of that role.
    AwsContainer {
        /// Path at the agent.
        path: String,
        /// The file of the token that the agent wants to see. It is read again for every request.
        file: Option<PathBuf>,
    },
    /// The identity of a server that Azure Arc manages, from the agent on it. The agent wants to see that the asker may
    /// read a file, which lies in this folder.
    Arc {
        /// Where the agent puts its files.
        folder: PathBuf,
    },
}

/// An application of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The tenant's id or domain.
    pub tenant: String,
    /// The application's (client) id.
    pub client: String,
}

/// Keys of AWS that run out.
#[derive(Clone)]
pub(crate) struct LentKeys {
    pub(crate) access_key: Secret,
    pub(crate) secret_key: Secret,
    pub(crate) session_token: Secret,
}

/// Whether what is shown can be used.
///
/// # Errors
///
/// Why not.
pub(crate) fn check(token: &TokenSpec) -> Result<(), String> {
    match &token.grant {
        Grant::ClientCertificate { certificate, .. } => {
            assertion::check(certificate).map_err(|error| error.to_string())
        }
        Grant::ClientSecret { .. }
        | Grant::Federated { .. }
        | Grant::Machine { .. }
        | Grant::Arc { .. }
        | Grant::AwsWebIdentity { .. }
        | Grant::AwsMachine { .. }
        | Grant::AwsContainer { .. } => Ok(()),
    }
}

/// Begins to keep a token fresh, once.
pub(crate) fn start(keeper: &Arc<Keeper>) {
    if keeper.start_once() {
        tokio::spawn(keeper::keep_fresh(Arc::downgrade(keeper)));
    }
}

impl Grant {
    /// The name as reports have it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ClientSecret { .. } => "client-secret",
            Self::ClientCertificate { .. } => "client-certificate",
            Self::Federated { .. } => "workload-identity",
            Self::Machine { .. } => "managed-identity",
            Self::Arc { .. } => "managed-identity (arc)",
            Self::AwsWebIdentity { .. } => "aws-web-identity",
            Self::AwsMachine { .. } => "aws-machine",
            Self::AwsContainer { .. } => "aws-container",
        }
    }
}

/// The state of one token at one moment. The token itself is nowhere in it.
#[derive(Clone, Debug)]
pub struct TokenStatus {
    /// The identity host.
    pub host: Arc<str>,
    /// What is shown for it.
    pub grant: &'static str,
    /// What it is for.
    pub scope: String,
    /// When the token at hand ends; `None` while there is none.
    pub expires: Option<SystemTime>,
    /// Why the last try gave none; `None` after one that did.
    pub failed: Option<Verdict>,
    /// Seconds by which this machine's clock was ahead of the identity host's when it last answered.
    pub clock_ahead_s: Option<i64>,
}
