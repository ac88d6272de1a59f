//! The books on disk.
//!
//! **For.** [`Ledger::begin`] writes what a request holds into a journal before it is sent, [`Ledger::settle`] what it was
//! settled at; a thread carries both over into a database, where [`read_in`] and [`Ledger::spent`] find them: into `SQLite`
//! in the same folder, or into a PostgreSQL that several gateways share. [`Home`] says which. [`read_in`] finds in the journal what
//! the database has not taken.
//!
//! [`Shared`] keeps the counters that several gateways share.
//!
//! **Promises.** A request that was begun is in the books exactly once, whatever becomes of the process: a request that
//! nobody settled is settled at what it held when the next process reads the journal, and stays flagged. No request waits
//! for the database; while it takes nothing the journal grows to a bound, and beyond it requests are refused. A sum over
//! entries is a sum over settlements, to the last unit. Two processes never write one journal. A line with a changed byte
//! is not believed, and its file is kept.
//!
//! **Does not do.** The journal survives the death of the process, not the loss of power: its lines are handed to the
//! system and not forced to the disk. It dials no database: whoever opens the books hands over a [`Dial`].

mod database;
mod each;
mod entry;
#[doc(hidden)]
pub mod fuzz;
mod home;
mod journal;
mod journaled;
mod keeper;
mod line;
mod look;
mod postgres;
mod shared;
mod texts;
mod turn;

pub use database::DATABASE_VERSION;
pub use each::OfGateway;
pub use entry::{Closing, Entry, Opening};
pub use home::{DatabaseError, Home, Spent, SpentBy, Whose, is_there, read_in};
pub use journaled::Unsettled;
pub use keeper::{Ledger, LedgerError, LedgerStatus, MOST_JOURNAL};
pub use look::{LookFault, LookKind, LookStep};
pub use postgres::{POSTGRES_VERSION, Postgres};
pub use shared::{
    Board, Dial, Dialled, Known, Notice, OnLoss, Reads, Settings as SharedSettings, Shared, StoreLost, StoreStatus,
    Told, Undertaken, Wire,
};
pub use turn::turn;

#[cfg(test)]
mod tests;
