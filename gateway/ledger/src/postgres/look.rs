//! A look at the database: is the role let in, are the tables there and ours, and may they be written?

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::client::{Connected, NotIn, log_in};
use super::schema::{self, POSTGRES_VERSION};
use super::{Postgres, client};
use crate::home::DatabaseError;
use crate::look::{Look, LookFault, LookKind, LookStep, in_time};

/// What gateways do to each table, the right behind the last of a list with them. What is old in `told` is deleted where that is
/// permitted.
const RIGHTS: [(&str, &[&str]); 5] = [
    ("entry", &["SELECT", "INSERT"]),
    ("spent", &["SELECT", "INSERT", "UPDATE"]),
    ("spent_slot", &["SELECT", "INSERT", "UPDATE"]),
    ("told", &["SELECT", "INSERT", "UPDATE"]),
    ("format", &["SELECT"]),
];

impl Postgres {
    /// Looks at the database as a gateway would meet it, with so much time for each step; nothing is made or changed there.
    pub async fn look(&self, limit: Duration) -> Vec<LookStep> {
        let mut look = Look::new();
        let Some(connected) = look.step("login", in_time(limit, logged_in(self)).await) else { return look.steps() };
        let format = in_time(limit, format(&connected.client, &self.schema)).await;
        let Some(format) = look.step("format", format) else { return look.steps() };
        look.step("rights", in_time(limit, rights(&connected.client, &self.schema, format)).await);
        look.steps()
    }
}

async fn logged_in(postgres: &Postgres) -> Result<(Connected, String), LookFault> {
    let connected = log_in(postgres).await.map_err(|error| match error {
        NotIn::Dial(said) => LookFault::of(LookKind::Other, said),
        NotIn::Postgres(error) => fault(error),
    })?;
    let asked = "SELECT current_setting('server_version'), current_user::text";
    let row = connected.client.query_one(asked, &[]).await.map_err(fault)?;
    let (version, user): (String, String) = (row.try_get(0).map_err(fault)?, row.try_get(1).map_err(fault)?);
    Ok((connected, format!("PostgreSQL {version} lets in `{user}`, database `{}`", postgres.database)))
}

/// The format of the tables; none where there are none yet.
async fn format(client: &Client, schema: &str) -> Result<(Option<i64>, String), LookFault> {
    schema::is_encoded(client).await.map_err(known)?;
    match schema::version(client, schema).await.map_err(known)? {
        None => Ok((None, format!("no tables in schema `{schema}` yet; the first gateway that starts makes them"))),
        Some(found) => {
            schema::judge(found).map_err(known)?;
            Ok((
                Some(found),
                format!("tables of format {found} in schema `{schema}`; this version reads up to {POSTGRES_VERSION}"),
            ))
        }
    }
}

async fn rights(client: &Client, schema: &str, format: Option<i64>) -> Result<((), String), LookFault> {
    let reads_only = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'";
    if client.query_one(reads_only, &[]).await.map_err(fault)?.try_get(0).map_err(fault)? {
        return Err(LookFault::of(
            LookKind::ReadOnly,
            "it takes no writes: a standby, or one that is set to be read only",
        ));
    }
    let missing = match format {
        Some(_) => of_tables(client, schema).await?,
        None => of_schema(client, schema).await?,
    };
    match missing {
        Some(missing) => Err(LookFault::of(LookKind::Rights, missing)),
        None => Ok(((), "everything that a gateway does is permitted".to_owned())),
    }
}

/// What the role may not do to the tables that are there.
async fn of_tables(client: &Client, schema: &str) -> Result<Option<String>, LookFault> {
    let question = "SELECT has_table_privilege(format('%I.%I', $1::text, $2::text)::regclass, $3::text)";
    for (table, rights) in RIGHTS {
        for right in rights {
            let row = client.query_one(question, &[&schema, &table, right]).await.map_err(fault)?;
            if !row.try_get::<_, bool>(0).map_err(fault)? {
                return Ok(Some(format!("the role may not {right} in `{schema}.{table}`")));
            }
        }
    }
    Ok(None)
}

/// Whether the role may make tables, and the schema where that is not there.
async fn of_schema(client: &Client, schema: &str) -> Result<Option<String>, LookFault> {
    let question = "SELECT COALESCE((SELECT has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE') \
                    FROM pg_catalog.pg_namespace WHERE nspname = $1), \
                    has_database_privilege(current_database(), 'CREATE'))";
    let may: bool = client.query_one(question, &[&schema]).await.map_err(fault)?.try_get(0).map_err(fault)?;
    Ok((!may).then(|| format!("the role may not make schema `{schema}`, or tables in it")))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` is given")]
fn known(error: DatabaseError) -> LookFault {
    let kind = match &error {
        DatabaseError::TooNew { .. } => LookKind::Format,
        DatabaseError::Sqlite(_)
        | DatabaseError::Postgres(_)
        | DatabaseError::Foreign { .. }
        | DatabaseError::Unreadable { .. } => LookKind::Other,
    };
    LookFault::of(kind, error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` is given")]
fn fault(error: tokio_postgres::Error) -> LookFault {
    let kind = match error.code() {
        Some(code) if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) => {
            LookKind::Login
        }
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => LookKind::Missing,
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => LookKind::Rights,
        Some(_) => LookKind::Other,
        None if asks_for_a_password(&error) => LookKind::Login,
        None => LookKind::Other,
    };
    LookFault::of(kind, client::said(&error))
}

/// The server wants one, and none was given. The client has no code for it.
fn asks_for_a_password(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.to_string() == "password missing")
}
