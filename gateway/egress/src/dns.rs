//! Asking DNS servers: one question to one server, several servers in their order, a chain of names to its end.
//!
//! It is our own because a verdict needs what the usual resolvers hide: which server gave which record, the whole chain
//! also where it ends in nothing, and a second server that is asked in the declared order and not raced. The wire format is
//! hickory's.

mod answer;
mod ask;
mod exchange;
mod walk;

pub(crate) use ask::{Asker, Freshness};
#[cfg(any(test, feature = "lies"))]
pub(crate) use exchange::Script;
pub use exchange::{Failure, Trouble};
pub(crate) use exchange::{Server, Via};
pub use walk::Hop;
pub(crate) use walk::{Chain, End, Route, readable, walk};
