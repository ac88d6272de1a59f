//! What happened: the audit log, the metrics and the log lines.
//!
//! **For.** Every request leaves evidence of what was decided and where its bytes went ([`audit`]), figures that
//! an operator watches ([`metrics`]) and lines that a person reads at three in the morning ([`log`]).
//!
//! **Promises.**
//! - A decision is in the audit log before [`audit::AuditLog::intent`] returns, or the caller gets an error and
//!   must refuse the request.
//! - Every intent gets an outcome: on success, on error, and when the record is dropped half-way.
//! - Every buffer and every set of metric labels has a bound, and the bound is tested at its edge.
//! - No type of this crate has a field for a prompt, a reply, a key or a token, but for [`capture`], which seals what two
//!   people asked it to keep before it lets go of it.
//! - A change to the audit log is found up to the last checkpoint that was copied where the gateway's operator cannot
//!   write ([`audit::read`]).
//!
//! - What waits for a collector ([`otlp`]) is bounded, and no request waits for it.
//!
//! **Not here.** No decision is made here and nothing is sent anywhere: no socket, no database.

pub mod audit;
pub mod capture;
pub mod log;
pub mod metrics;
pub mod otlp;
pub mod pseudonym;
