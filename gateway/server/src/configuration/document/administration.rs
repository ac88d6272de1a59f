//! Who may ask the operators' listener.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Jwt;

/// A person, or a program that acts for some, who may ask the `[admin]` listener. At least one of `keys`, `jwt` and
/// `certificate` is required.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Administrator {
    /// What it may do. Required.
    pub role: Role,
    /// Digests of its keys, each `"sha256:"` and 64 lower-case hex digits. `causeway keys new` makes a key and its digest.
    /// Two at once are how one is replaced.
    pub keys: Option<Vec<String>>,
    /// Tokens that it may show instead of a key.
    pub jwt: Option<Jwt>,
    /// Name in the client certificate that it may show instead of a key: a URI such as `"spiffe://corp.example/oncall"`, or
    /// `"dns:"` and a host name, or `"subject:"` and a whole subject. Needs `admin.tls.client_ca`.
    pub certificate: Option<String>,
}

/// What an administrator may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read status, metrics and what is held back.
    Viewer,
    /// Hold back: revoke keys and apps, put endpoints and models in quarantine, use own sites only; and reload.
    Operator,
    /// Let go again what was held back.
    Security,
}

impl Role {
    /// Its name in the configuration and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Security => "security",
        }
    }
}
