//! The database of what was spent.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{EndpointTls, EndpointTransport, KeySource, Reach};

/// A PostgreSQL (13 or later) that keeps the entries of every gateway: what was held, what was charged, for whom.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Host, port and database, such as `"postgresql://ledger.corp.example:5432/causeway"`. Required. TLS is spoken, and the
    /// certificate checked by the name of the host, unless `?sslmode=disable` ends it; the port is 5432 where none stands.
    pub url: String,
    /// How it is reached. Required.
    pub reach: Reach,
    /// How its certificate is checked, and which one is shown. Not with `sslmode=disable`.
    pub tls: Option<EndpointTls>,
    /// How its connections are made.
    pub transport: Option<EndpointTransport>,
    /// The role to log in as. Required.
    pub user: String,
    /// Its password. Absent: none is shown, which does where a client certificate or the server's rules let the role in.
    pub password: Option<KeySource>,
    /// The schema that holds the tables; default `"causeway"`. It is made when it is not there. Two fleets in one database
    /// need two.
    pub schema: Option<String>,
}
