//! Which of the permitted targets, in what order.
//!
//! **For.** [`TargetHealth`] follows one target through failures, ejection, probe and recovery, and through the waiting
//! time that a 429 asks for. [`Signals`] follows what the target can do now: when a prompt sent to it would be read, how
//! fast its streams are, what its quota leaves. [`route`] makes an ordered [`Plan`] of both, with a warrant for each
//! attempt, the reason for each place, and an [`Advice`] whether to send or to wait. [`Queue`] holds what waits,
//! [`BurstState`] says when own capacity is saturated, [`Ring`] and [`Sessions`] keep sessions where their prompts are
//! cached, [`Habits`] and [`Calibration`] learn what an app uses and how far predictions can be trusted.
//!
//! **Promises.** A plan holds exactly the targets of its permit: neither health nor load nor price widens what is
//! permitted. Health never refuses a request that a poor target might still answer. At most half of the targets are
//! ejected at a time. Each update and each judgement of a target takes constant time; every estimate has an age and is
//! unknown when it is old. A decision allocates one list. This crate is pure: `Instant`s and random numbers come in as
//! arguments, and nothing here does I/O or spawns a task.
//!
//! **Does not do.** Prices here order targets; what is charged is counted by `accounting`. Nothing is sent twice to be
//! sooner. The retry budget is not here; the attempt loop in `server` holds it.

mod affinity;
mod ask;
mod burst;
mod calibration;
mod choice;
mod clock;
mod habits;
mod health;
mod latency;
mod outlook;
mod pace;
mod plan;
mod queue;
mod quota;
mod signals;

pub use affinity::{BOUND, FORGOTTEN, Ring, Sessions, session_of};
pub use ask::{Ask, Burst, Class, DEFAULT_DEADLINE, DEFAULT_PER_TOKEN, Expected, Knobs, Prefer, Prefix, Priority};
pub use burst::{BurstState, CLOSES_AFTER, OPENS_AT, Turn};
pub use calibration::{Calibration, Tightness};
pub use choice::{BATCH_LATEST, BATCH_SLACK, Demand, Why};
pub use habits::Habits;
pub use health::{
    DEFAULT_BLOCK, EJECTED_AFTER, EJECTION, FORGIVEN_AFTER, LONGEST_BLOCK, MOST_EJECTIONS, PROBE_LEASE, Standing,
    TargetHealth,
};
pub use outlook::{Left, Outlook};
pub use plan::{Advice, Plan, Ranked, Reason, plan, route};
pub use queue::{Bounds, Full, Place, Queue, Waiting};
pub use signals::{Paid, Prices, QuotaHeaders, Sent, Signals, Terms, Tier, TokenPrices, Used};
