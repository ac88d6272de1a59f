//! Puts the stages in order and owns the process.
//!
//! **For.** [`pipeline`] is the life of a request; [`configuration`] reads the one document of three authors;
//! [`snapshot`] is what a request carries from start to end; [`run`] owns listeners, reload, drain and hand-over;
//! [`admin`] answers operators; [`restrictions`] is what they hold back for now.
//!
//! **Promises.** A configuration is read whole, checked whole and swapped whole. A request keeps the snapshot that it
//! started with. Its intent is written before its first byte leaves, and its books are closed exactly once.
//!
//! **Does not do.** It decides nothing: where data may go is `policy`'s, in what order `routing`'s, what the words mean
//! `wire`'s. It is the only crate that knows all the others.

pub mod admin;
pub mod break_glass;
pub mod configuration;
pub mod control_planes;
mod endings;
pub mod export;
pub mod gateway;
mod issuers;
pub mod kept;
mod known_spending;
pub mod last_used;
pub mod load;
pub mod notices;
pub mod outlook;
pub mod pipeline;
pub mod restrictions;
pub mod run;
mod second_place;
pub mod snapshot;
