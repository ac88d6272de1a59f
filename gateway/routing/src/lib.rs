//! Which of the permitted targets, in what order.
//!
//! **For.** [`TargetHealth`] follows one target through failures, ejection, probe and recovery, and through the waiting
//! time that a 429 asks for. [`plan`] orders the targets of a permit by their [`Standing`] and hands out a warrant for
//! each attempt.
//!
//! **Promises.** A plan holds exactly the targets of its permit: health never widens what is permitted, and never refuses
//! a request that a poor target might still answer. At most half of the targets are ejected at a time. This crate is
//! pure: `Instant`s come in as arguments, and nothing here does I/O or spawns a task.
//!
//! **Does not do.** There is no scoring by load, latency or price yet: the plan keeps the declared order, and moves what
//! failed to the end. The retry budget is not here either; the attempt loop in `server` holds it.

mod health;
mod plan;

pub use health::{
    DEFAULT_BLOCK, EJECTED_AFTER, EJECTION, FORGIVEN_AFTER, LONGEST_BLOCK, MOST_EJECTIONS, PROBE_LEASE, Standing,
    TargetHealth,
};
pub use plan::{Plan, Ranked, Why, plan};
