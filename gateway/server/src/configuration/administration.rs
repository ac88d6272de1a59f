//! The plain values of `[admin]` and `[administrator.NAME]`.

use super::compile::{ListenTlsConfig, TokenConfig};
use super::document::Role;

/// How the operators' listener is protected, and who may ask it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdministrationConfig {
    /// Files of its certificate. Present wherever other machines can reach it.
    pub tls: Option<ListenTlsConfig>,
    /// Who may ask, by name. At least one wherever other machines can reach it.
    pub administrators: Vec<AdministratorConfig>,
}

/// One administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdministratorConfig {
    /// Its name, as records have it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of each of its keys; none of them is an app's.
    pub keys: Vec<[u8; 32]>,
    /// Its tokens; `app` is its own place in the list.
    pub token: Option<TokenConfig>,
    /// The name in its certificate.
    pub certificate: Option<ingress::auth::CertificateName>,
}
