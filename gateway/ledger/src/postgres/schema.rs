//! The tables, and the format that they have.

use tokio_postgres::Client;

use crate::home::DatabaseError;

use super::client::{Intent, failed};

/// The format of the tables in PostgreSQL that is written and read.
pub const POSTGRES_VERSION: i64 = 1;

/// Held while the tables are made, so that of gateways that begin together one makes them. The number is ours alone.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4857402913755)";

/// An entry for each request, and what each gateway charged each app and key with on each day (UTC) on which its requests
/// began, so that a month is summed up without reading its requests. The same in each quarter of an hour (UTC) by app, team,
/// model and user's pseudonym, of which the stretches of every budget are made; a `payer` without a name is nobody. `told` are
/// the notices that were delivered.
///
/// Nothing that is negative is one of ours; the checks keep it out whoever writes.
const TABLES: &str = "
CREATE TABLE entry (
    request text PRIMARY KEY, gateway text NOT NULL, began_ms bigint NOT NULL CHECK (began_ms >= 0),
    ended_ms bigint NOT NULL CHECK (ended_ms >= 0), app text NOT NULL, team text NOT NULL, key text NOT NULL,
    model text NOT NULL, target text, held_input bigint NOT NULL CHECK (held_input >= 0),
    held_output bigint NOT NULL CHECK (held_output >= 0), held_nano_usd bigint NOT NULL CHECK (held_nano_usd >= 0),
    settled_by text NOT NULL, input bigint NOT NULL CHECK (input >= 0),
    cached_input bigint NOT NULL CHECK (cached_input >= 0), cache_write bigint NOT NULL CHECK (cache_write >= 0),
    output bigint NOT NULL CHECK (output >= 0), nano_usd bigint NOT NULL CHECK (nano_usd >= 0),
    priced boolean NOT NULL, lost_attempts bigint NOT NULL CHECK (lost_attempts BETWEEN 0 AND 4294967295),
    lost_tokens bigint NOT NULL CHECK (lost_tokens >= 0), lost_nano_usd bigint NOT NULL CHECK (lost_nano_usd >= 0),
    tier text NOT NULL, price text, paid text NOT NULL, avoidable boolean NOT NULL, recovered boolean NOT NULL,
    payer text
);
CREATE INDEX entry_began ON entry (began_ms, request);
CREATE TABLE spent (
    day bigint NOT NULL, app text NOT NULL, key text NOT NULL, gateway text NOT NULL,
    nano_usd bigint NOT NULL CHECK (nano_usd >= 0), PRIMARY KEY (day, app, key, gateway)
);
CREATE TABLE spent_slot (
    slot bigint NOT NULL, app text NOT NULL, team text NOT NULL, model text NOT NULL, payer text NOT NULL,
    gateway text NOT NULL, nano_usd bigint NOT NULL CHECK (nano_usd >= 0),
    PRIMARY KEY (slot, app, team, model, payer, gateway)
);
CREATE TABLE told (
    gateway text NOT NULL, id text NOT NULL, until bigint NOT NULL, PRIMARY KEY (gateway, id)
);
CREATE TABLE format (version bigint NOT NULL);
";

/// Makes the tables where there are none and the connection is for writing, and refuses those of a newer release.
pub(super) async fn prepare(client: &mut Client, schema: &str, intent: &Intent) -> Result<(), DatabaseError> {
    is_encoded(client).await?;
    let name = quoted(schema);
    client.batch_execute(&format!("SET search_path TO {name}")).await.map_err(failed)?;
    match (version(client, schema).await?, intent) {
        (Some(found), _) => judge(found),
        (None, Intent::Read) => Err(DatabaseError::Postgres(format!(
            "there is no ledger in its schema `{schema}`: no gateway has begun one"
        ))),
        (None, Intent::Write { .. }) => make(client, schema, &name).await,
    }
}

/// Whether it can hold every name: one that it cannot would stop the posting for ever.
pub(super) async fn is_encoded(client: &Client) -> Result<(), DatabaseError> {
    let encoding = client.query_one("SELECT current_setting('server_encoding')", &[]).await.map_err(failed)?;
    let encoding: String = encoding.try_get(0).map_err(failed)?;
    if matches!(encoding.as_str(), "UTF8" | "SQL_ASCII") {
        Ok(())
    } else {
        Err(DatabaseError::Postgres(format!("its database is encoded in {encoding}, and names are in UTF8")))
    }
}

async fn make(client: &mut Client, schema: &str, name: &str) -> Result<(), DatabaseError> {
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(LOCK).await.map_err(failed)?;
    // Another gateway may have been first.
    if let Some(found) = version(transaction.client(), schema).await? {
        return judge(found);
    }
    // A role that may make tables in a schema need not be one that may make schemas.
    let is_there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
    let is_there: bool = transaction.query_one(is_there, &[&schema]).await.map_err(failed)?.get(0);
    if !is_there {
        transaction.batch_execute(&format!("CREATE SCHEMA {name}")).await.map_err(failed)?;
    }
    transaction.batch_execute(TABLES).await.map_err(failed)?;
    let noted = "INSERT INTO format (version) VALUES ($1)";
    transaction.execute(noted, &[&POSTGRES_VERSION]).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    tracing::info!(schema, "the tables of the ledger were made");
    Ok(())
}

/// The format of what is there; `None` where nothing is. Of several the newest counts.
///
/// The catalogue is asked as every statement sees it, and not by the name of the table: what a session remembers of names may
/// be older than what another gateway has just made.
pub(super) async fn version(client: &Client, schema: &str) -> Result<Option<i64>, DatabaseError> {
    let known = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace space ON space.oid = relnamespace \
                 WHERE space.nspname = $1 AND relname = 'format')";
    let is_there: bool = client.query_one(known, &[&schema]).await.map_err(failed)?.get(0);
    if !is_there {
        return Ok(None);
    }
    let newest = format!("SELECT max(version) FROM {}.format", quoted(schema));
    let found = client.query_one(&newest, &[]).await.map_err(failed)?;
    found.try_get(0).map_err(failed)
}

pub(super) fn judge(found: i64) -> Result<(), DatabaseError> {
    if found > POSTGRES_VERSION {
        return Err(DatabaseError::TooNew { found, reads: POSTGRES_VERSION });
    }
    Ok(())
}

/// A name as SQL has it between quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_quotes() {
        assert_eq!(quoted("a\"; DROP TABLE entry; --"), "\"a\"\"; DROP TABLE entry; --\"");
    }
}
