//! The decisions of [`super::scripts`] for the processes of one state folder, in a database there.
//!
//! They differ in two things. Who is gone is known at once, by the lock that a process holds, and not when its part is over. And
//! nobody comes after the one before in its name: what was spent by those who are gone is taken over when the last has left.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accounting::{Answer, Question, in_money};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::beside::LeftOf;
use super::told::Told;

/// How long the other process may hold the database.
const BUSY: Duration = Duration::from_secs(2);

/// The month of what is no matter of months.
const NO_MONTH: u32 = 0;

/// A debt is no more than so many limits, as where nobody shares it.
const LONGEST_DEBT: f64 = 60.0;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS flow (
    account TEXT PRIMARY KEY, used REAL NOT NULL, at_us INTEGER NOT NULL, allowed INTEGER NOT NULL, period_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS level (
    account TEXT NOT NULL, month INTEGER NOT NULL, owner TEXT NOT NULL,
    ceiling INTEGER NOT NULL, kept INTEGER NOT NULL, spent INTEGER NOT NULL, PRIMARY KEY (account, month, owner)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (owner TEXT NOT NULL, other TEXT NOT NULL, PRIMARY KEY (owner, other)) WITHOUT ROWID;
";

/// The format of what processes of one state folder share. Two releases meet in one database while one takes the place of the other.
///
/// A change that the release before cannot read and be read by raises it: then the newer one does not start beside the older.
const FORMAT: i64 = 1;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeasesError {
    /// Its file cannot be made.
    #[error(transparent)]
    Unmade(#[from] io::Error),
    /// It cannot be read or written.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// Another release made it.
    #[error(
        "another release of causeway shares limits there, in format {0}, and this one in format {FORMAT}; \
         end it before this one starts"
    )]
    Format(i64),
}

/// An open database of leases.
#[derive(Debug)]
pub(super) struct Leases(Connection);

type Result<T, E = rusqlite::Error> = std::result::Result<T, E>;

impl Leases {
    /// Makes the database of those who share from now on, empty and of this format. Nobody shares in it yet.
    pub(super) fn make(path: &Path) -> Result<Self, LeasesError> {
        // It is for this user alone from the beginning; what lies beside it gets the same permissions.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let mut connection = connect(path)?;
        connection.execute_batch("PRAGMA journal_mode = WAL")?;
        // INVARIANT: in one step. Whoever waits to be told reads it at any moment, and writes nothing before it was.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if ![0, FORMAT].contains(&format_of(&transaction)?) {
            drop_tables(&transaction)?;
        }
        transaction.execute_batch(SCHEMA)?;
        transaction.execute_batch("DELETE FROM flow; DELETE FROM level; DELETE FROM told;")?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()?;
        Ok(Self(connection))
    }

    /// Opens the one that somebody else has made; none where nobody has yet.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, LeasesError> {
        if !path.exists() {
            return Ok(None);
        }
        let leases = Self(connect(path)?);
        Ok(leases.is_made()?.then_some(leases))
    }

    fn is_made(&self) -> Result<bool, LeasesError> {
        match format_of(&self.0)? {
            0 => Ok(false),
            FORMAT => Ok(true),
            other => Err(LeasesError::Format(other)),
        }
    }

    /// Removes what processes that are gone have left, in whatever state it is.
    pub(super) fn remove(path: &Path) -> io::Result<()> {
        for end in ["", "-wal", "-shm"] {
            let mut file = path.as_os_str().to_owned();
            file.push(end);
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether all of these have told what they had used, and share with `me`.
    ///
    /// # Errors
    ///
    /// Also where another release has made it anew since it was opened.
    pub(super) fn share_with(&self, me: &str, others: &BTreeSet<String>) -> Result<bool, LeasesError> {
        if !self.is_made()? {
            return Ok(false);
        }
        let mut told = self.0.prepare_cached("SELECT 1 FROM told WHERE owner = ?1 AND other = ?2")?;
        for other in others {
            if !told.exists(params![other, me])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `me` has told what it had used, and shares with these.
    pub(super) fn tell(&mut self, me: &str, others: &BTreeSet<String>) -> Result<()> {
        for other in others {
            self.0.execute("INSERT OR IGNORE INTO told VALUES (?1, ?2)", params![me, other])?;
        }
        Ok(())
    }

    /// What others than `me` tell that was spent: those that are `living` what they have spent, and others what they held as well.
    pub(super) fn told(&self, me: &str, living: &BTreeSet<String>) -> Result<Told> {
        let mut told = Told::default();
        let mut level =
            self.0.prepare("SELECT account, month, owner, kept, spent FROM level WHERE owner <> ?1 AND month <> ?2")?;
        let mut rows = level.query(params![me, NO_MONTH])?;
        while let Some(row) = rows.next()? {
            let owner: Arc<str> = row.get(2)?;
            let counts = if living.contains(&*owner) { row.get(4)? } else { row.get(3)? };
            told.add(row.get(0)?, row.get(1)?, in_money(whole(counts)));
        }
        Ok(told)
    }

    /// `me` leaves: nothing lies ahead for it any more, also where it counts for a moment still as one that lives.
    pub(super) fn leave(&self, me: &str) -> Result<()> {
        self.0.execute("UPDATE level SET ceiling = kept WHERE owner = ?1", params![me]).map(drop)
    }

    /// Decides all of these together. `living` are the others that are there.
    pub(super) fn ask<'a>(
        &mut self,
        me: &str,
        living: &BTreeSet<String>,
        questions: impl Iterator<Item = (&'a str, Question)>,
    ) -> Result<Vec<Answer>> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let asker = Asker { transaction: &transaction, me, living, now_us: now_us() };
        let answers = questions.map(|(account, question)| asker.decide(account, question)).collect::<Result<_>>()?;
        transaction.commit()?;
        Ok(answers)
    }

    /// What others than `me`, who are gone, have left used.
    pub(super) fn left(&self, me: &str) -> Result<LeftOf> {
        let mut of = LeftOf::new();
        let mut level =
            self.0.prepare("SELECT account, month, SUM(kept) FROM level WHERE owner <> ?1 GROUP BY 1, 2")?;
        let mut rows = level.query(params![me])?;
        while let Some(row) = rows.next()? {
            let (account, month, kept): (Arc<str>, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if month != NO_MONTH {
                of.entry(account).or_default().levels.push((month, whole(kept)));
            }
        }
        let mut flow = self.0.prepare("SELECT account, used, at_us, allowed, period_us FROM flow")?;
        let mut rows = flow.query([])?;
        let now_us = now_us();
        while let Some(row) = rows.next()? {
            let (account, used, at_us): (Arc<str>, f64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (allowed, period_us) = (whole(row.get(3)?), whole(row.get(4)?));
            let used = left_of(used, now_us - at_us, (allowed, period_us));
            let back_in_us = used * float(period_us) / float(allowed.max(1));
            of.entry(account).or_default().flow = Some(Duration::from_micros(units(back_in_us.ceil())));
        }
        Ok(of)
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // It is worth nothing after a crash of the machine.
    connection.execute_batch("PRAGMA synchronous = OFF")?;
    Ok(connection)
}

fn format_of(connection: &Connection) -> Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// What another release left there.
fn drop_tables(transaction: &Transaction<'_>) -> Result<()> {
    let mut tables =
        transaction.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    names
        .iter()
        .try_for_each(|name| transaction.execute_batch(&format!("DROP TABLE \"{}\"", name.replace('"', "\"\""))))
}

struct Asker<'a> {
    transaction: &'a Transaction<'a>,
    me: &'a str,
    living: &'a BTreeSet<String>,
    now_us: i64,
}

impl Asker<'_> {
    fn decide(&self, account: &str, question: Question) -> Result<Answer> {
        match question {
            Question::Flow { limit, period, owed, least, most } => {
                let period_us = u64::try_from(period.as_micros()).unwrap_or(u64::MAX).max(1);
                self.flow(account, (limit, period_us), (owed, least, most))
            }
            Question::Level { .. } => self.level(account, question),
        }
    }

    /// One bucket: what is used of it runs out by itself.
    fn flow(&self, account: &str, terms: (u64, u64), (owed, least, most): (i64, u64, u64)) -> Result<Answer> {
        let (limit, period_us) = terms;
        let mut select =
            self.transaction.prepare_cached("SELECT used, at_us, allowed, period_us FROM flow WHERE account = ?1")?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, (row.get(2)?, row.get(3)?)));
        let kept: Option<(f64, i64, (i64, i64))> = select.query_row(params![account], row).optional()?;
        // Whoever asked last may have had another limit. What is used comes back in the same time, as where nobody shares it: by
        // units, what a large limit had let in would shut a small one for hours.
        let used = kept.map_or(0.0, |(used, at_us, (allowed, kept_us))| {
            let before = (whole(allowed), whole(kept_us));
            let used = left_of(used, self.now_us - at_us, before);
            if before == terms { used } else { used * share_of(terms) / share_of(before).max(f64::MIN_POSITIVE) }
        });
        let used = (used + signed(owed)).max(0.0).min(used.max(float(limit) * LONGEST_DEBT));
        let free = float(limit) - used;
        let (mut granted, mut wait) = (0, Duration::ZERO);
        if free >= float(least) {
            granted = most.min(units(free));
        } else {
            let us = (float(least) - free) * float(period_us) / float(limit.max(1));
            wait = Duration::from_micros(units(us.ceil()));
        }
        let used = used + float(granted);
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO flow VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![account, used, self.now_us, stored(limit), stored(period_us)])?;
        Ok(Answer::Flow { granted, left: units(float(limit) - used), wait })
    }

    /// One level: each owner has what it may go up to; one that is gone counts with what it kept.
    fn level(&self, account: &str, question: Question) -> Result<Answer> {
        let Question::Level { month, limit, used, kept, spent, holds, least, need, want } = question else {
            unreachable!("a question is of a flow or of a level")
        };
        let month = month.unwrap_or(NO_MONTH);
        let (mut others, mut gone) = (0_u64, 0_u64);
        let mut select = self
            .transaction
            .prepare_cached("SELECT owner, ceiling, kept, spent FROM level WHERE account = ?1 AND month = ?2")?;
        let mut rows = select.query(params![account, month])?;
        while let Some(row) = rows.next()? {
            let owner: Arc<str> = row.get(0)?;
            if *owner == *self.me {
                continue;
            }
            let counts = if self.living.contains(&*owner) { row.get(1)? } else { row.get(2)? };
            others = others.saturating_add(whole(counts));
            gone = gone.saturating_add(whole(row.get(3)?));
        }
        let room = limit.saturating_sub(others);
        let (ceiling, answer) = if room >= want.saturating_add(2 * (want - need)) {
            (want, None)
        } else if room >= need {
            (holds.min(room).max(need), Some(need))
        } else if room >= least {
            (room, None)
        } else {
            (holds.min(room), None)
        };
        let ceiling = ceiling.max(used);
        let kept = kept.min(ceiling);
        if ceiling == 0 && kept == 0 {
            self.transaction
                .prepare_cached("DELETE FROM level WHERE account = ?1 AND month = ?2 AND owner = ?3")?
                .execute(params![account, month, self.me])?;
        } else {
            self.transaction
                .prepare_cached("INSERT OR REPLACE INTO level VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![account, month, self.me, stored(ceiling), stored(kept), stored(spent)])?;
        }
        Ok(Answer::Level { ceiling: answer.unwrap_or(ceiling).max(used), others, spent: gone })
    }
}

/// The clock that both processes have. Set ahead it gives a rate back early; set back it gives nothing back for so long.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// What is used still after a time.
fn left_of(used: f64, passed_us: i64, (limit, period_us): (u64, u64)) -> f64 {
    (used - signed(passed_us.max(0)) * float(limit) / float(period_us.max(1))).max(0.0)
}

/// Units by the microsecond.
fn share_of((limit, period_us): (u64, u64)) -> f64 {
    float(limit) / float(period_us.max(1))
}

fn stored(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

fn whole(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "limits lie far below 2^52")]
fn float(units: u64) -> f64 {
    units as f64
}

#[expect(clippy::cast_precision_loss, reason = "limits lie far below 2^52")]
fn signed(units: i64) -> f64 {
    units as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float stops at the ends")]
fn units(units: f64) -> u64 {
    units.max(0.0) as u64
}
