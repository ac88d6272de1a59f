//! One connection, made again when it is gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use accounting::{Money, SLOT_SECONDS};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Statement};

use super::rows::{self, APPEND, COLUMNS};
use super::{Postgres, schema};
use crate::entry::Entry;
use crate::home::{DatabaseError, Spent, SpentBy, Whose};

/// The longest that a connection may take from the first packet to the first question.
const TO_CONNECT: Duration = Duration::from_secs(5);

/// The longest that an answer may take. The server is told a little less, so that it gives up first and says so.
const TO_ANSWER: Duration = Duration::from_secs(10);

/// For every connection. What was posted is taken off the journal, so it must be on the server's disk: a default of `off`
/// is not believed, and one that is stricter than ours is left.
const SETTINGS: &str = "
SET statement_timeout = 8000; SET lock_timeout = 5000; SET idle_in_transaction_session_timeout = 60000;
SET client_min_messages = warning; SET standard_conforming_strings = on;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

/// Most entries that are written with one statement, or read with one.
const AT_ONCE: usize = 4_096;

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// To write entries; the tables are made where there are none.
    Write {
        /// Whose entries they are: the name of the ledger's folder, which every process that uses it has.
        gateway: String,
    },
    /// To read what others write; nothing is made or changed.
    Read,
}

/// A client of the database. None of its functions may be called on a runtime's thread.
#[derive(Debug)]
pub(crate) struct Client {
    postgres: Postgres,
    intent: Intent,
    /// INVARIANT: there until it is dropped.
    runtime: Option<Runtime>,
    connected: Option<Connected>,
}

/// A connection, and the task that moves its bytes.
pub(crate) struct Connected {
    pub(crate) client: tokio_postgres::Client,
    /// The statement that posts, as the server knows it: each posting is one question and one answer.
    posting: Option<Statement>,
    task: JoinHandle<()>,
}

impl Drop for Connected {
    /// A server that does not answer would hold the task for ever.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").finish_non_exhaustive()
    }
}

impl Drop for Client {
    /// Dropping a runtime waits for it, which nobody may on the thread of another.
    fn drop(&mut self) {
        self.connected = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// A client that has dialled nobody yet.
    ///
    /// It has a runtime with a thread of its own, which runs on between two questions: what the dialling leaves behind,
    /// such as the refresh of a name that others wait for, must not stand still.
    pub(crate) fn new(postgres: &Postgres, intent: Intent) -> std::io::Result<Self> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("ledger-postgres").enable_all().build()?;
        Ok(Self { postgres: postgres.clone(), intent, runtime: Some(runtime), connected: None })
    }

    /// The next question has a connection that is made so: what was connected may be a server that was left.
    pub(crate) fn reach_by(&mut self, postgres: Postgres) {
        self.connected = None;
        self.postgres = postgres;
    }

    /// Connects, and finds out that the tables are there and are ours.
    pub(crate) fn connect(&mut self) -> Result<(), DatabaseError> {
        self.ask(async |_| Ok(()))
    }

    /// Asks over the connection that there is, or over a new one. After an error the next question has a new one: what
    /// went wrong with this one is not known, and a name may lead to another server by then.
    pub(crate) fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut Connected) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let Some(runtime) = &self.runtime else { return Err(silent()) };
        let kept = self.connected.take().filter(|connected| !connected.client.is_closed());
        let (postgres, intent) = (&self.postgres, &self.intent);
        let (connected, answer) = runtime.block_on(async {
            let mut connected = match kept {
                Some(connected) => connected,
                None => timeout(TO_CONNECT, connect(postgres, intent)).await.map_err(|_| silent())??,
            };
            let answer = question(&mut connected).await?;
            Ok::<_, DatabaseError>((connected, answer))
        })?;
        self.connected = Some(connected);
        Ok(answer)
    }

    /// Whose entries are written; nobody's where none are.
    fn gateway(&self) -> String {
        match &self.intent {
            Intent::Write { gateway } => gateway.clone(),
            Intent::Read => String::new(),
        }
    }

    /// Writes entries, each at most once, however often it is offered: one that is there already is left as it is, if it is
    /// the same.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<u64, DatabaseError> {
        let mut added = 0;
        let gateway = self.gateway();
        for some in entries.chunks(AT_ONCE) {
            added += self.ask(async |connected| in_time(append(connected, &gateway, some)).await)?;
        }
        Ok(added)
    }

    /// What each app and key was charged with on the days `[from, to)`.
    pub(crate) fn spent(&mut self, (from, to): (u64, u64), whose: Whose) -> Result<Vec<Spent>, DatabaseError> {
        let gateway = self.gateway();
        let of = (whose == Whose::OfThisGateway).then_some(gateway.as_str());
        self.ask(async |connected| in_time(spent(&connected.client, (day(from), day(to)), of)).await)
    }

    /// What was charged for requests that began in the seconds `[from, to)` since 1970, which are whole quarters of an hour.
    pub(crate) fn spent_by(&mut self, (from, to): (u64, u64), whose: Whose) -> Result<Vec<SpentBy>, DatabaseError> {
        let gateway = self.gateway();
        let of = (whose == Whose::OfThisGateway).then_some(gateway.as_str());
        let slot = |seconds: u64| day(seconds / SLOT_SECONDS);
        self.ask(async |connected| in_time(spent_by(&connected.client, (slot(from), slot(to)), of)).await)
    }

    /// Whether a notice of this gateway was delivered.
    pub(crate) fn was_told(&mut self, id: &str) -> Result<bool, DatabaseError> {
        let gateway = self.gateway();
        self.ask(async |connected| {
            let question = "SELECT EXISTS (SELECT FROM told WHERE gateway = $1 AND id = $2)";
            let client = &connected.client;
            in_time(async {
                let told = client.query_one(question, &[&gateway, &id]).await.map_err(failed)?;
                told.try_get(0).map_err(failed)
            })
            .await
        })
    }

    /// It was, which is remembered until then; what is older than `now` is forgotten.
    pub(crate) fn tell(&mut self, id: &str, (now, until): (u64, u64)) -> Result<(), DatabaseError> {
        let gateway = self.gateway();
        let (now, until) = (day(now), day(until));
        self.ask(async |connected| {
            let noted = "INSERT INTO told (gateway, id, until) VALUES ($1, $2, $3) \
                         ON CONFLICT (gateway, id) DO UPDATE SET until = excluded.until";
            let client = &connected.client;
            in_time(async {
                client.execute(noted, &[&gateway, &id, &until]).await.map_err(failed)?;
                // A role that may delete nothing keeps what is old.
                let forget = "DELETE FROM told WHERE gateway = $1 AND until < $2";
                let _ = client.execute(forget, &[&gateway, &now]).await;
                Ok(())
            })
            .await
        })
    }

    /// Calls `each` with every entry that began in `[from_ms, to_ms)`, as the database was when this began.
    pub(crate) fn read(&mut self, (from, to): (u64, u64), mut each: impl FnMut(Entry)) -> Result<(), DatabaseError> {
        self.ask(async |connected| {
            let client = &connected.client;
            in_time(async {
                let begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
                client.batch_execute(begin).await.map_err(failed)
            })
            .await?;
            let page = format!(
                "SELECT {COLUMNS} FROM entry WHERE (began_ms, request) > ($1, $2) AND began_ms < $3 \
                 ORDER BY began_ms, request LIMIT {AT_ONCE}"
            );
            // No request has an empty name, so this one lies before all that began at `from`.
            let (mut after, mut name) = (day(from), String::new());
            loop {
                let rows =
                    in_time(async { client.query(&page, &[&after, &name, &day(to)]).await.map_err(failed) }).await?;
                let is_last = rows.len() < AT_ONCE;
                for row in &rows {
                    let entry = rows::entry(row)?;
                    (after, name) = (day(entry.opening.at_ms), entry.opening.request.to_string());
                    each(entry);
                }
                if is_last {
                    return in_time(async { client.batch_execute("COMMIT").await.map_err(failed) }).await;
                }
            }
        })
    }
}

/// A time as the database has it.
pub(crate) fn day(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) async fn in_time<T>(answer: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, DatabaseError> {
    timeout(TO_ANSWER, answer).await.map_err(|_| silent())?
}

fn silent() -> DatabaseError {
    DatabaseError::Postgres("it does not answer in time".to_owned())
}

/// What the server says, with its code, or what became of the connection. The server's details are left out: they quote rows.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` is given")]
pub(crate) fn failed(error: tokio_postgres::Error) -> DatabaseError {
    DatabaseError::Postgres(said(&error))
}

pub(super) fn said(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

async fn connect(postgres: &Postgres, intent: &Intent) -> Result<Connected, DatabaseError> {
    let mut connected = log_in(postgres).await.map_err(|error| match error {
        NotIn::Dial(said) => DatabaseError::Postgres(said),
        NotIn::Postgres(error) => failed(error),
    })?;
    schema::prepare(&mut connected.client, &postgres.schema, intent).await?;
    Ok(connected)
}

/// Why there is no connection.
pub(super) enum NotIn {
    /// The server was not reached.
    Dial(String),
    /// It was, and did not let us in.
    Postgres(tokio_postgres::Error),
}

/// Dials, logs in and says how the connection is to be; nothing is asked of the tables.
pub(super) async fn log_in(postgres: &Postgres) -> Result<Connected, NotIn> {
    let stream = (postgres.dial)().await.map_err(NotIn::Dial)?;
    let mut config = Config::new();
    // The stream is in TLS already where TLS is spoken.
    config.ssl_mode(SslMode::Disable).application_name("causeway");
    config.dbname(&postgres.database).user(&postgres.user);
    if let Some(password) = &postgres.password {
        config.password(password);
    }
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(NotIn::Postgres)?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the ledger's PostgreSQL is gone");
        }
    });
    let connected = Connected { client, posting: None, task };
    connected.client.batch_execute(SETTINGS).await.map_err(NotIn::Postgres)?;
    Ok(connected)
}

async fn append(connected: &mut Connected, gateway: &str, entries: &[Entry]) -> Result<u64, DatabaseError> {
    let client = &connected.client;
    let posting = match connected.posting.take() {
        Some(posting) => posting,
        None => client.prepare(APPEND).await.map_err(failed)?,
    };
    let columns = rows::columns(gateway, entries);
    let values: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| &**column as &(dyn ToSql + Sync)).collect();
    let added = client.query(&posting, &values).await.map_err(failed)?;
    connected.posting = Some(posting);
    if added.len() < entries.len() {
        let added: HashSet<&str> = added.iter().map(|row| row.get(0)).collect();
        let there: Vec<&Entry> = entries.iter().filter(|entry| !added.contains(&*entry.opening.request)).collect();
        are_the_same(client, &there).await?;
    }
    Ok(added.len() as u64)
}

/// Whether what is there already is what was offered: posted before, by this process or by one that died before it could
/// note so. A request that nobody settled in time may stand there as settled, or the other way about; what was there first
/// counts. Anything else was written by somebody else, and taking it for ours would lose an entry.
async fn are_the_same(client: &tokio_postgres::Client, offered: &[&Entry]) -> Result<(), DatabaseError> {
    let offered: HashMap<&str, &Entry> = offered.iter().map(|entry| (&*entry.opening.request, *entry)).collect();
    let names: Vec<&str> = offered.keys().copied().collect();
    let question = format!("SELECT {COLUMNS} FROM entry WHERE request = ANY($1)");
    let rows = client.query(&question, &[&names]).await.map_err(failed)?;
    if rows.len() < names.len() {
        // A trigger or a rule has swallowed it, or somebody deletes; what is not there is not posted.
        return Err(DatabaseError::Postgres("an entry was neither added nor is it there".to_owned()));
    }
    for row in &rows {
        let found = rows::entry(row)?;
        let Some(offered) = offered.get(&*found.opening.request) else { continue };
        let is_settled = !found.recovered && !offered.recovered;
        if found.opening != offered.opening || is_settled && found.closing != offered.closing {
            return Err(DatabaseError::Foreign { request: found.opening.request });
        }
    }
    Ok(())
}

async fn spent(
    client: &tokio_postgres::Client,
    (from, to): (i64, i64),
    gateway: Option<&str>,
) -> Result<Vec<Spent>, DatabaseError> {
    let question = "SELECT app, key, LEAST(sum(nano_usd), 9000000000000000000)::bigint AS nano_usd FROM spent \
                    WHERE day >= $1 AND day < $2 AND ($3::text IS NULL OR gateway = $3) \
                    GROUP BY app, key ORDER BY app, key";
    let rows = client.query(question, &[&from, &to, &gateway]).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            let (app, key): (&str, &str) = (row.get(0), row.get(1));
            Ok(Spent { app: Arc::from(app), key: Arc::from(key), money: Money(rows::number(row, "nano_usd")?) })
        })
        .collect()
}

async fn spent_by(
    client: &tokio_postgres::Client,
    (from, to): (i64, i64),
    gateway: Option<&str>,
) -> Result<Vec<SpentBy>, DatabaseError> {
    let question = "SELECT app, team, model, payer, LEAST(sum(nano_usd), 9000000000000000000)::bigint AS nano_usd \
                    FROM spent_slot WHERE slot >= $1 AND slot < $2 AND ($3::text IS NULL OR gateway = $3) \
                    GROUP BY app, team, model, payer ORDER BY app, team, model, payer";
    let rows = client.query(question, &[&from, &to, &gateway]).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            let text = |column| row.try_get::<_, &str>(column).map(Arc::<str>::from).map_err(failed);
            let user = Some(text(3)?).filter(|user| !user.is_empty());
            let money = Money(rows::number(row, "nano_usd")?);
            Ok(SpentBy { app: text(0)?, team: text(1)?, model: text(2)?, user, money })
        })
        .collect()
}
