//! The books in PostgreSQL, which gateways share: the same entries as in `SQLite`, each with the name of the gateway that
//! let it in.
//!
//! The stream comes from a [`Dial`], already in TLS: nobody is dialled here. What is asked runs on a runtime of its own, so
//! that neither a request nor whoever asks waits for a server that does not answer.

mod client;
mod look;
mod rows;
mod schema;

use std::fmt;

use crate::shared::Dial;

pub(crate) use client::{Client, Connected, Intent, day, failed, in_time};
pub(crate) use rows::number;
pub use schema::POSTGRES_VERSION;

/// How the database is reached, and as whom.
#[derive(Clone)]
pub struct Postgres {
    /// Opens a stream to the server.
    pub dial: Dial,
    /// The role.
    pub user: String,
    /// Its password; none where a certificate speaks for it.
    pub password: Option<String>,
    /// The database.
    pub database: String,
    /// The schema in it, which is made when it is not there.
    pub schema: String,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dial: _, user, password, database, schema } = self;
        f.debug_struct("Postgres")
            .field("user", user)
            .field("password", &password.as_ref().map(|_| "…"))
            .field("database", database)
            .field("schema", schema)
            .finish_non_exhaustive()
    }
}
