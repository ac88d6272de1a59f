//! What is in a request that policy must know about.
//!
//! **For.** [`inspect`] reads every string of a request's body and gives [`Findings`], the list that `policy` decides
//! over: each [`Finding`] names its kind and the JSON path where it stands, never the content itself. [`redact()`] replaces what
//! was found by placeholders, and a [`Restorer`] puts the answer right.
//!
//! **Promises.** This crate is pure: it does no I/O, reads no clock and spawns no task. A finding holds no prompt text;
//! a hosted tool's `type` is the one word it takes over from the request. The work for a body is linear in its length, and
//! bounded; what was not read for it is a finding of its own, never taken for "nothing found".
//!
//! **Does not do.** It knows formats, not meanings: no names, no street addresses, no health data in free text. It reads no
//! images, sound or documents. What asks for more than an answer (remote URLs, hosted tools, stored state) `wire` sees while
//! it decodes a request, and `server` adds to the list.

#[cfg(test)]
mod accuracy;
mod catalogue;
mod checksum;
mod engine;
mod findings;
#[doc(hidden)]
pub mod fuzz;
mod inspect;
mod kind;
mod own;
mod reading;
mod recogniser;
mod recognisers;
mod redact;
mod restore;
#[cfg(test)]
mod seeded;
mod sieve;

pub use catalogue::{Entry, catalogue};
pub use findings::{Finding, Findings, MAX_LISTED, MAX_PLACES};
pub use inspect::{inspect, inspect_with, prepare};
pub use kind::{FindingKind, Group, MOST_OWN_NAME, OWN, TextKind, names};
pub use own::{
    Checksum, LONGEST_CHECKED, LONGEST_MATCH, LONGEST_PATTERN, MOST_OWN, MOST_WORDS, OwnRecogniser, OwnRecognisers,
    SHORTEST_MATCH, ShapeError, TogetherError,
};
pub use redact::{MOST_VALUES, RedactError, Redacted, redact, redact_with};
pub use restore::{Restorer, StreamRestorer};
