//! What the two tools of the overhead benchmark share: their command line and their statistics.
//!
//! `upstream` answers like an OpenAI server at no cost worth mentioning, `load` calls it at a fixed rate, directly or through
//! a proxy. `run` beside this crate starts both and prints the table. Each tool is one thread, so that it can be
//! pinned to one core and its work does not land on the proxy's.

pub mod events;
pub mod options;
pub mod samples;
