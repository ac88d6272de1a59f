//! May this request's data go there.
//!
//! **For.** [`decide`] takes a [`Question`] (an app, a model, what inspection found, and the model's targets) and gives a
//! [`Permit`] for a non-empty set of targets, or a [`Denial`] that says why none was left. A permit mints a [`Warrant`]
//! for each target that it covers, and clears a request into a [`Cleared`] that only such a warrant opens. The sockets
//! take a warrant and a cleared request, so bytes without a decision do not compile.
//!
//! **Promises.** Only this crate makes the three proofs: their fields are private and none of them is `Clone` or
//! `Default`. Nothing is permitted by default. The decision is pure: no I/O, no clock, no task, no randomness.
//!
//! **Does not do.** There is no policy engine yet. A permit today says which targets this app may use for this model and
//! nothing else: targets that are not approved are out, and so are targets without the grant that a finding needs.
//! Labels, places and redaction are not read here, and a configuration that asks for them is refused when it is loaded.

mod decision;
mod proof;

pub use decision::{Action, Candidate, Cause, Denial, Grants, NO_GRANTS, Question, Ruling, TargetId, Verdict, decide};
/// What a question is asked about, from `inspection`: the crates above name a question without importing its parts.
pub use inspection::{Finding, FindingKind, Findings};
pub use proof::{Cleared, Permit, Warrant, WrongWarrant};
