//! Where the entries are kept: in the state folder, or in a database that gateways share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use accounting::Money;

use crate::database::Database;
use crate::entry::Entry;
use crate::journaled::{Journaled, Unsettled};
use crate::keeper::LedgerError;
use crate::postgres::{Client, Intent, Postgres};
use crate::shared::family_of;

/// Where the entries are kept. The journal before them is always in the folder of the process.
#[derive(Clone, Debug)]
pub enum Home {
    /// In `SQLite`, in the folder of the journal: the entries of this gateway alone.
    Folder,
    /// In PostgreSQL, together with those of other gateways.
    Postgres(Postgres),
}

/// What is wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// `SQLite` says no.
    #[error("the ledger's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL says no, or was not reached.
    #[error("the ledger's PostgreSQL: {0}")]
    Postgres(String),
    /// A newer release wrote it.
    #[error("the ledger's database has format {found}, and this version reads up to {reads}; run the newer release")]
    TooNew {
        /// What was found.
        found: i64,
        /// What is read.
        reads: i64,
    },
    /// Somebody else has written an entry under the name of a request of ours.
    #[error(
        "the ledger's database holds another entry for the request `{request}`; nobody but gateways may write there, \
         and nothing more is written until that row is gone"
    )]
    Foreign {
        /// Whose it should be.
        request: Arc<str>,
    },
    /// No gateway has written this entry like this.
    #[error("the ledger's database holds an entry that no gateway has written: request `{request}`, column `{column}`")]
    Unreadable {
        /// Which one.
        request: String,
        /// What of it.
        column: &'static str,
    },
}

/// What was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The app.
    pub app: Arc<str>,
    /// The key, by its name.
    pub key: Arc<str>,
    /// How much.
    pub money: Money,
}

/// What was charged for the requests of an app for a model, and of a user where users are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentBy {
    /// The app.
    pub app: Arc<str>,
    /// Its team when they came.
    pub team: Arc<str>,
    /// The model that was asked for.
    pub model: Arc<str>,
    /// The user's pseudonym; nothing where none was counted.
    pub user: Option<Arc<str>>,
    /// How much.
    pub money: Money,
}

impl SpentBy {
    pub(crate) fn is_of_the_same(&self, other: &Self) -> bool {
        (&self.app, &self.team, &self.model, &self.user) == (&other.app, &other.team, &other.model, &other.user)
    }
}

/// Whose requests a sum is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those that this gateway let in, this process or one before it.
    OfThisGateway,
    /// All that the database knows.
    OfAll,
}

/// Open books.
#[derive(Debug)]
pub(crate) enum Books {
    Sqlite(Database),
    Postgres(Client),
}

impl Books {
    /// Opens the books of a gateway whose journal is in `folder`.
    pub(crate) fn open(folder: &Path, home: &Home) -> Result<Self, LedgerError> {
        match home {
            Home::Folder => Ok(Self::Sqlite(Database::open(&database_in(folder))?)),
            Home::Postgres(postgres) => {
                let at = |source| LedgerError::Folder { path: folder.to_owned(), source };
                let mut client =
                    Client::new(postgres, Intent::Write { gateway: family_of(folder).map_err(at)? }).map_err(at)?;
                client.connect()?;
                Ok(Self::Postgres(client))
            }
        }
    }

    /// Writes entries, each at most once, and gives how many were not there before.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<u64, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.append(entries),
            Self::Postgres(client) => client.append(entries),
        }
    }

    /// What each app and key was charged with for requests that began on the days `[from, to)`, counted from 1970.
    pub(crate) fn spent(&mut self, (from, to): (u64, u64), whose: Whose) -> Result<Vec<Spent>, DatabaseError> {
        match self {
            // There is nobody else in it.
            Self::Sqlite(database) => database.spent(from, to),
            Self::Postgres(client) => client.spent((from, to), whose),
        }
    }

    /// What was charged for requests that began in the seconds `[from, to)` since 1970, which are whole quarters of an hour.
    pub(crate) fn spent_by(&mut self, (from, to): (u64, u64), whose: Whose) -> Result<Vec<SpentBy>, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.spent_by(from, to),
            Self::Postgres(client) => client.spent_by((from, to), whose),
        }
    }

    /// Whether a notice of this gateway was delivered.
    pub(crate) fn was_told(&mut self, id: &str) -> Result<bool, DatabaseError> {
        match self {
            Self::Sqlite(database) => database.was_told(id),
            Self::Postgres(client) => client.was_told(id),
        }
    }

    /// It was, which is remembered from `now` until `until`, in seconds since 1970.
    pub(crate) fn tell(&mut self, id: &str, (now, until): (u64, u64)) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(database) => database.tell(id, (now, until)),
            Self::Postgres(client) => client.tell(id, (now, until)),
        }
    }

    /// From now on the database is reached so.
    pub(crate) fn reach_by(&mut self, postgres: Postgres) {
        if let Self::Postgres(client) = self {
            client.reach_by(postgres);
        }
    }
}

/// The database in the folder of a ledger.
pub(crate) fn database_in(folder: &Path) -> PathBuf {
    folder.join("ledger.sqlite")
}

/// Whether the books of a gateway can be opened. They are made where there are none, and closed again.
///
/// # Errors
///
/// [`LedgerError`] where they cannot.
pub fn is_there(folder: &Path, home: &Home) -> Result<(), LedgerError> {
    let at = |source| LedgerError::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(at)?;
    // The thread of whoever asks may belong to a runtime, and those of a client of PostgreSQL must not.
    let looked = std::thread::scope(|scope| scope.spawn(|| Books::open(folder, home).map(drop)).join());
    looked.unwrap_or_else(|_| Err(at(std::io::Error::other("opening the ledger has panicked"))))
}

/// Calls `each` once with every entry that began in `[from_ms, to_ms)`, in the order in which they began, by the database of
/// the ledger in `folder`, which may be in use, and by the journals there, which it may not have taken. It must not be called on a
/// runtime's thread.
///
/// Gives what is in none of them.
///
/// # Errors
///
/// [`LedgerError`] where one of the two cannot be read.
pub fn read_in(
    folder: &Path,
    home: &Home,
    period: (u64, u64),
    mut each: impl FnMut(Entry),
) -> Result<Unsettled, LedgerError> {
    // Before the database: what that takes in between is in both, and not in neither.
    let mut journaled = Journaled::read(folder, period)?;
    read_database(folder, home, period, |entry| journaled.hand_on(entry, &mut each))?;
    Ok(journaled.finish(each))
}

/// The same by the database alone.
pub(crate) fn read_database(
    folder: &Path,
    home: &Home,
    period: (u64, u64),
    each: impl FnMut(Entry),
) -> Result<(), LedgerError> {
    match home {
        Home::Folder => Ok(Database::open_to_read(&database_in(folder))?.read(period, each)?),
        Home::Postgres(postgres) => {
            let at = |source| LedgerError::Folder { path: folder.to_owned(), source };
            Ok(Client::new(postgres, Intent::Read).map_err(at)?.read(period, each)?)
        }
    }
}
