//! May this request's data go there.
//!
//! **For.** [`Rules`] are Cedar policies, read whole and validated. [`Pack`] knows where offers process prompts, and turns
//! what is stated of a place into [`Facts`]. A [`Judge`] holds both, and [`decide`] puts a [`Question`] to it: an app, a
//! model, what the data is, what inspection found, and the model's targets. The answer is a [`Permit`] for a non-empty
//! set of targets with what has to be done before ([`Obligations`]), or a [`Denial`] that says why none was left. A permit
//! mints a [`Warrant`] for each target that it covers, and clears a request into a [`Cleared`] that only such a warrant
//! opens. The sockets take a warrant and a cleared request, so bytes without a decision do not compile.
//!
//! **Promises.** Only this crate makes the three proofs: their fields are private and none of them is `Clone` or
//! `Default`. Nothing is permitted by default, a policy that cannot be evaluated denies, an unknown place is no place, and
//! time takes away and never gives. A request is cleared only with what its permit obliges to done. The decision is pure: no I/O, no clock, no task, no randomness; decisions made before
//! are kept within a bound and belong to one judge.
//!
//! **Does not do.** It does not know whether a label is right or a fact is true, and finds nothing in texts. Nor does it do
//! what obligations name: `inspection` replaces, `server` asks it to, and a warrant takes the proof of it. Proofs about policies are
//! made by a command with a solver, not here.

mod decision;
mod facts;
mod judge;
mod proof;
mod question;
mod rules;
mod why;

pub use decision::{Cause, Denial, PolicyIds, Ruling, Verdict, decide};
pub use facts::{
    Adjustment, Adjustments, Change, Column, Countries, Country, Declared, Drift, Echo, Extension, Facts, Pack,
    PackError, PackFiles, Place, PlaceError, Provenance, Row, Site, UNKNOWN_RETENTION_DAYS, UnknownCountry, Zone,
    Zones, day_of, pack_schema,
};
/// What a question is asked about, from `inspection`: the crates above name a question without importing its parts.
pub use inspection::{Finding, FindingKind, Findings, Group, TextKind};
pub use judge::{Judge, Touch, WorldError};
pub use proof::{Cleared, Obligations, Owed, Permit, Warrant, WrongWarrant};
pub use question::{Action, Asker, Candidate, Class, Data, Grants, NO_GRANTS, Operation, Question, Reach, TargetId};
pub use rules::{
    About, Fault, Mention, Names, PolicyFile, ReadOptions, Reads, Rules, SHIPPED, SHIPPED_CERTIFICATES, SHIPPED_GOALS,
    SHIPPED_LABELS, SHIPPED_SCHEMA, SHIPPED_TESTS, Severity, Strictness,
};
pub use why::{Because, Objection, Why, why};
