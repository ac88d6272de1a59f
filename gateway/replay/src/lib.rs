//! The same decisions again, on a recorded trace and in virtual time.
//!
//! **For.** [`run`] plays a trace (Causeway's own records, the Azure LLM inference traces, Mooncake's) against models of
//! inference servers and clouds, with the code that serves requests deciding: `policy::decide`, `routing::route` and the
//! books of `accounting`. The same run under another router shows what ours is worth, and under another policy, price
//! list or fleet what would change. [`replan`] puts recorded questions to that code with what their attempts really met.
//!
//! **Promises.** The decisions are those of the gateway, not a copy of its rules: a request is sent with a warrant of its
//! permit and no other way. The result depends on the arguments alone: time is the trace's own, randomness comes from a
//! seed.
//!
//! **Does not do.** It sends nothing. The servers behind the targets are models with stated constants; they have no prefix
//! cache, no preemption and no callers who leave. It reads no files: the command `causeway replay` does.

mod baseline;
mod cloud;
mod compare;
mod engine;
mod gateway;
mod outcome;
pub mod page;
mod permits;
mod random;
mod replan;
mod report;
mod scenario;
mod simulation;
mod trace;
mod wants;

pub use baseline::Router;
pub use cloud::CloudSpec;
pub use compare::{Comparison, Difference, compare};
pub use engine::EngineSpec;
pub use outcome::{End, Outcome, Run, Summary};
pub use permits::{permit_all, permit_each};
pub use replan::{Attempt, Fleet, Met, Recorded, Replanned, replan};
pub use report::{Page, Played, html};
pub use scenario::{Fault, Scenario, ScenarioError, Target};
pub use simulation::{Job, run};
pub use trace::{Profile, Row, Trace, TraceError, read_any, read_audit, read_azure, read_mooncake};
pub use wants::Wants;
