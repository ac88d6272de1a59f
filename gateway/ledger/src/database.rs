//! The books in `SQLite`: one table of entries, filled behind the journal and never on a request's path, and their sums by
//! day, so that what was spent in a month is read without reading its requests.

mod insert;
mod sums;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use accounting::{Estimate, Money, SLOT_SECONDS, Settlement, Tokens, Used};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, TransactionBehavior, params};

use crate::entry::{Closing, Entry, Opening};
use crate::home::{DatabaseError, Spent, SpentBy};
use crate::line::{paid, settled_by, tier};
use insert::Insert;
use sums::Sums;

/// The format of the database that is written and read.
pub const DATABASE_VERSION: i64 = 1;

/// How long another process may hold the database before a write counts as failed; it is tried again later.
const BUSY: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS entry (
    request TEXT PRIMARY KEY, began_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,
    app TEXT NOT NULL, team TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL, target TEXT,
    held_input INTEGER NOT NULL, held_output INTEGER NOT NULL, held_nano_usd INTEGER NOT NULL,
    settled_by TEXT NOT NULL, input INTEGER NOT NULL, cached_input INTEGER NOT NULL, cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL, nano_usd INTEGER NOT NULL, priced INTEGER NOT NULL,
    lost_attempts INTEGER NOT NULL, lost_tokens INTEGER NOT NULL, lost_nano_usd INTEGER NOT NULL,
    tier TEXT NOT NULL, price TEXT, paid TEXT NOT NULL, avoidable INTEGER NOT NULL, recovered INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS told_until ON told (until);
CREATE INDEX IF NOT EXISTS entry_began ON entry (began_ms);
";

/// Who is counted of requests whose user a budget counts, and what was charged in each quarter of an hour (UTC) in which requests
/// began, by whatever a budget may ask for: any stretch of any time zone's calendar is made of whole ones.
///
/// They stand beside the entries, so that an older release writes into the same file while this one starts; what it writes has
/// no user. The user is written before the entry, for the trigger to find.
const SLOTS: &str = "
CREATE TABLE payer (request TEXT PRIMARY KEY, user TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE spent_slot (
    slot INTEGER NOT NULL, app TEXT NOT NULL, team TEXT NOT NULL, model TEXT NOT NULL, user TEXT NOT NULL,
    nano_usd INTEGER NOT NULL, PRIMARY KEY (slot, app, team, model, user)
) WITHOUT ROWID;
CREATE TRIGGER entry_spent_slot AFTER INSERT ON entry BEGIN
    INSERT OR IGNORE INTO spent_slot VALUES (NEW.began_ms / 900000, NEW.app, NEW.team, NEW.model,
        COALESCE((SELECT user FROM payer WHERE request = NEW.request), ''), 0);
    UPDATE spent_slot SET nano_usd = MIN(nano_usd + NEW.nano_usd + NEW.lost_nano_usd, 9000000000000000000)
        WHERE slot = NEW.began_ms / 900000 AND app = NEW.app AND team = NEW.team AND model = NEW.model
            AND user = COALESCE((SELECT user FROM payer WHERE request = NEW.request), '');
END;
INSERT INTO spent_slot SELECT began_ms / 900000, app, team, model, '', SUM(nano_usd + lost_nano_usd)
    FROM entry GROUP BY 1, 2, 3, 4;
";

/// What each app and key was charged with on each day (UTC) on which its requests began.
///
/// The trigger belongs to the file: an older release that writes an entry adds it to its sum by it. This one adds a batch at
/// once, see [`Sums`]. An entry that is there already fires none. A sum that would leave the integers stays at their end.
const SUMS: &str = "
CREATE TABLE spent (
    day INTEGER NOT NULL, app TEXT NOT NULL, key TEXT NOT NULL, nano_usd INTEGER NOT NULL, PRIMARY KEY (day, app, key)
) WITHOUT ROWID;
CREATE TRIGGER entry_spent AFTER INSERT ON entry BEGIN
    INSERT OR IGNORE INTO spent VALUES (NEW.began_ms / 86400000, NEW.app, NEW.key, 0);
    UPDATE spent SET nano_usd = MIN(nano_usd + NEW.nano_usd + NEW.lost_nano_usd, 9000000000000000000)
        WHERE day = NEW.began_ms / 86400000 AND app = NEW.app AND key = NEW.key;
END;
INSERT INTO spent SELECT began_ms / 86400000, app, key, SUM(nano_usd + lost_nano_usd) FROM entry GROUP BY 1, 2, 3;
";

/// An open database.
#[derive(Debug)]
pub(crate) struct Database(Connection);

impl Database {
    pub(crate) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        check_version(&connection)?;
        // The journal's file goes only after the commit is on the disk, so the commit must be.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "user_version", DATABASE_VERSION)?;
        let mut database = Self(connection);
        database.sum_up()?;
        // INVARIANT: an entry is added to its sums once, by the trigger or by `Sums`. Where it cannot be switched off, no
        // entry is taken.
        if database.0.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)? {
            let why = Some("the triggers of its file cannot be switched off".to_owned());
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISUSE);
            return Err(rusqlite::Error::SqliteFailure(code, why).into());
        }
        Ok(database)
    }

    /// Opens what another process writes, to read it.
    pub(crate) fn open_to_read(path: &Path) -> Result<Self, DatabaseError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(BUSY)?;
        check_version(&connection)?;
        Ok(Self(connection))
    }

    /// Whether somebody was told.
    pub(crate) fn was_told(&self, id: &str) -> Result<bool, DatabaseError> {
        let mut select = self.0.prepare_cached("SELECT 1 FROM told WHERE id = ?1")?;
        Ok(select.exists(params![id])?)
    }

    /// Somebody was told, which is remembered until then; what is older than `now` is forgotten.
    pub(crate) fn tell(&self, id: &str, (now, until): (u64, u64)) -> Result<(), DatabaseError> {
        self.0.execute("DELETE FROM told WHERE until < ?1", params![whole(now)])?;
        self.0.execute("INSERT OR REPLACE INTO told VALUES (?1, ?2)", params![id, whole(until)])?;
        Ok(())
    }

    /// Adds the sums to a database that has none: once, over all that is there.
    fn sum_up(&mut self) -> Result<(), DatabaseError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !transaction.table_exists(None, "spent")? {
            transaction.execute_batch(SUMS)?;
        }
        if !transaction.table_exists(None, "spent_slot")? {
            transaction.execute_batch(SLOTS)?;
        }
        Ok(transaction.commit()?)
    }

    /// Writes entries, each at most once: one whose request is there already is left as it is.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<u64, DatabaseError> {
        let transaction = self.0.transaction()?;
        let mut added = 0;
        let mut sums = Sums::default();
        {
            let mut insert = Insert::prepare(&transaction)?;
            let mut name = transaction.prepare_cached("INSERT OR IGNORE INTO payer VALUES (?1, ?2)")?;
            for entry in entries {
                if let Some(user) = &entry.opening.user {
                    name.execute(params![entry.opening.request, user])?;
                }
                if insert.write(entry)? {
                    added += 1;
                    sums.add(entry);
                }
            }
        }
        sums.write(&transaction)?;
        transaction.commit()?;
        Ok(added)
    }

    /// What each app and each key was charged with for requests that began on the days `[from, to)`, counted from 1970.
    /// At most one row is read for each day, app and key.
    pub(crate) fn spent(&self, from: u64, to: u64) -> Result<Vec<Spent>, DatabaseError> {
        let mut select = self
            .0
            .prepare_cached("SELECT app, key, nano_usd FROM spent WHERE day >= ?1 AND day < ?2 ORDER BY app, key")?;
        let mut rows = select.query(params![whole(from), whole(to)])?;
        let mut spent: Vec<Spent> = Vec::new();
        while let Some(row) = rows.next()? {
            let (app, key): (Arc<str>, Arc<str>) = (row.get(0)?, row.get(1)?);
            let money = Money(count(row, 2)?);
            match spent.last_mut() {
                Some(last) if last.app == app && last.key == key => last.money = last.money + money,
                _ => spent.push(Spent { app, key, money }),
            }
        }
        Ok(spent)
    }

    /// What was charged for requests that began in the seconds `[from, to)` since 1970, which are whole quarters of an hour.
    pub(crate) fn spent_by(&self, from: u64, to: u64) -> Result<Vec<SpentBy>, DatabaseError> {
        let mut select = self.0.prepare_cached(
            "SELECT app, team, model, user, nano_usd FROM spent_slot WHERE slot >= ?1 AND slot < ?2 ORDER BY 1, 2, 3, 4",
        )?;
        let slot = |seconds: u64| whole(seconds / SLOT_SECONDS);
        let mut rows = select.query(params![slot(from), slot(to)])?;
        // Added here and not there, where a sum that leaves the integers is an error.
        let mut spent: Vec<SpentBy> = Vec::new();
        while let Some(row) = rows.next()? {
            let user: Arc<str> = row.get(3)?;
            let user = Some(user).filter(|user| !user.is_empty());
            let (app, team, model) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let next = SpentBy { app, team, model, user, money: Money(count(row, 4)?) };
            match spent.last_mut() {
                Some(last) if last.is_of_the_same(&next) => last.money = last.money + next.money,
                _ => spent.push(next),
            }
        }
        Ok(spent)
    }

    /// Calls `each` with every entry that began in `[from_ms, to_ms)`, in the order in which they began.
    pub(crate) fn read(&self, (from_ms, to_ms): (u64, u64), mut each: impl FnMut(Entry)) -> Result<(), DatabaseError> {
        // A file that only an older release has opened has none.
        let user = match self.0.table_exists(None, "payer")? {
            true => "(SELECT user FROM payer WHERE payer.request = entry.request)",
            false => "NULL",
        };
        let mut select = self.0.prepare_cached(&format!(
            "SELECT *, {user} FROM entry WHERE began_ms >= ?1 AND began_ms < ?2 ORDER BY began_ms, request"
        ))?;
        let mut rows = select.query(params![whole(from_ms), whole(to_ms)])?;
        while let Some(row) = rows.next()? {
            each(entry(row)?);
        }
        Ok(())
    }
}

fn check_version(connection: &Connection) -> Result<(), DatabaseError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > DATABASE_VERSION { Err(DatabaseError::TooNew { found, reads: DATABASE_VERSION }) } else { Ok(()) }
}

/// `SQLite` knows signed integers only; no count of ours comes near their end, and one that did must not become negative.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn count(row: &Row<'_>, index: usize) -> Result<u64, rusqlite::Error> {
    let number: i64 = row.get(index)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, number))
}

fn entry(row: &Row<'_>) -> Result<Entry, rusqlite::Error> {
    let tokens = |index| count(row, index).map(Tokens);
    let request: Arc<str> = row.get(0)?;
    let by: String = row.get(11)?;
    let opening = Opening {
        request: Arc::clone(&request),
        at_ms: count(row, 1)?,
        app: row.get(3)?,
        team: row.get(4)?,
        key: row.get(5)?,
        model: row.get(6)?,
        user: row.get(26)?,
        estimate: Estimate { input: tokens(8)?, output: tokens(9)? },
        money: Money(count(row, 10)?),
    };
    let settlement = Settlement {
        used: Used { input: tokens(12)?, cached_input: tokens(13)?, cache_write: tokens(14)?, output: tokens(15)? },
        by: settled_by(&by).ok_or(rusqlite::Error::InvalidQuery)?,
        money: Money(count(row, 16)?),
        priced: row.get(17)?,
        lost_attempts: row.get(18)?,
        lost: tokens(19)?,
        lost_money: Money(count(row, 20)?),
    };
    let closing = Closing {
        request,
        at_ms: count(row, 2)?,
        target: row.get(7)?,
        settlement,
        tier: tier(&row.get::<_, String>(21)?).ok_or(rusqlite::Error::InvalidQuery)?,
        price: row.get(22)?,
        paid: paid(&row.get::<_, String>(23)?).ok_or(rusqlite::Error::InvalidQuery)?,
        avoidable: row.get(24)?,
    };
    Ok(Entry { opening, closing, recovered: row.get(25)? })
}
