//! What happened: the audit log, the metrics and the log lines.
//!
//! **For.** Every request leaves evidence of what was decided and where its bytes went ([`audit`]), figures that
//! an operator watches ([`metrics`]) and lines that a person reads at three in the morning ([`log`]).
//!
//! **Promises.**
//! - A decision is in the audit file before [`audit::AuditLog::intent`] returns, or the caller gets an error and
//!   must refuse the request.
//! - Every intent gets an outcome: on success, on error, and when the record is dropped half-way.
//! - Every buffer and every set of metric labels has a bound, and the bound is tested at its edge.
//! - No type of this crate has a field for a prompt, a reply, a key or a token.
//!
//! **Not here.** No decision is made here and nothing is sent anywhere: no socket, no database. The log is not yet
//! tamper-evident; a record that somebody edited in place still reads as a record.

pub mod audit;
pub mod log;
pub mod metrics;
