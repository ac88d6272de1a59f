//! What a request costs: an estimate before it is sent, a reservation while it runs, one settlement at its end.
//!
//! **For.** [`estimate`] turns the size of a request into [`Tokens`]; [`Book::reserve`] takes them from an app's book; the
//! [`Reservation`] is settled exactly once, by what the upstream reported, by the reservation itself where nothing was
//! reported, or at zero where the request never left.
//!
//! **Promises.** A reservation is settled by value, so it cannot be settled twice; one that is dropped (a disconnect, a
//! panic, a forgotten path) settles itself at what was reserved and is flagged, never at zero. A book counts what any
//! caller or upstream claims without ever wrapping around. This crate is pure: no I/O, no clock, no task.
//!
//! **Does not do.** It counts tokens, not money: there are no prices yet, and no limit is refused on these counts. A
//! book lives in memory; a restart begins with an empty one until the ledger keeps them.

mod book;
mod tokens;

pub use book::{Book, Reported, Reservation, SettledBy, Settlement, Totals};
pub use tokens::{BYTES_PER_TOKEN, DEFAULT_OUTPUT, Estimate, Tokens, estimate};
