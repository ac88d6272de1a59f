//! What is in a request that policy must know about.
//!
//! **For.** [`Findings`] is the list that `policy` decides over: each [`Finding`] names its kind and the JSON path where
//! it stands, never the content itself.
//!
//! **Promises.** This crate is pure: it does no I/O, reads no clock and spawns no task. A finding holds no prompt text;
//! a hosted tool's `type` is the one word it takes over from the request.
//!
//! **Does not do.** It does not read text yet. Today every finding comes from the structure that `wire` saw while it
//! decoded the request (a remote URL, a tool that the provider runs, state that the provider would keep), and `server`
//! hands it over. An empty list therefore says "none of these three", and nothing about names, health data or account
//! numbers in the prompt.

mod findings;
mod kind;

pub use findings::{Finding, Findings, MAX_LISTED, MAX_PLACES};
pub use kind::{FindingKind, Group, TextKind, names};
