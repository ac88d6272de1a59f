//! The crate from outside: what leaves, where it goes, and what comes back when something is wrong.
//!
//! Every server is on loopback and in this process. Clocks are paused only when the network is at rest: a paused clock of
//! tokio runs on whenever a task waits for a socket.
#![expect(clippy::unwrap_used, reason = "a helper of a test that cannot go on may end it")]
#![expect(clippy::disallowed_methods, reason = "the servers of the tests are on loopback")]

mod addresses;
mod bodies;
mod connections;
mod failure_codes;
mod failures;
mod http2;
mod identity;
mod lies;
mod lookups;
mod pages;
mod proxy;
mod reload;
mod tls;
mod world;
