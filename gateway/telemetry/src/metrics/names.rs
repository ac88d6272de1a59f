//! The values that labels may have.

use std::collections::HashSet;

use parking_lot::Mutex;

/// Most names of one kind (apps, models, endpoints) that get series of their own.
pub const MAX_NAMES: usize = 1_000;

/// The label of every name past [`MAX_NAMES`], and of every code, API and outcome that is not on its list.
pub const OTHER: &str = "other";

/// The values of the label `api`; anything else counts as [`OTHER`].
pub const APIS: &[&str] = &["chat", "completions", "responses", "embeddings", "rerank", "messages", "models", OTHER];

/// The values of the label `code`: `ok`, our own stable codes, and `upstream_4xx` and `upstream_5xx` for an
/// upstream's error that was passed on. Anything else counts as [`OTHER`].
pub const CODES: &[&str] = &[
    "ok",
    "invalid_api_key",
    "not_found",
    "method_not_allowed",
    "model_not_found",
    "residency_denied",
    "feature_denied",
    "redaction_failed",
    "invalid_request",
    "request_too_large",
    "request_head_too_large",
    "request_timeout",
    "rate_limit_exceeded",
    "budget_exceeded",
    "no_private_path",
    "upstream_unavailable",
    "upstream_timeout",
    "overloaded",
    "audit_unavailable",
    "ledger_unavailable",
    "internal_error",
    "upstream_4xx",
    "upstream_5xx",
    "truncated",
    "disconnected",
    OTHER,
];

/// The values of the label `outcome` of an attempt; anything else counts as [`OTHER`].
pub const OUTCOMES: &[&str] = &[
    "success",
    "not_sent",
    "refused",
    "connect_failed",
    "tls_failed",
    "no_private_path",
    "saturated",
    "timeout_connect",
    "timeout_first_byte",
    "timeout_idle",
    "timeout_total",
    "status_408",
    "status_429",
    "status_4xx",
    "status_503",
    "status_529",
    "status_5xx",
    "broken_head",
    "broken_body",
    "error_event",
    "disconnected",
    OTHER,
];

/// Where `value` stands in `list`; the last place is [`OTHER`]'s.
///
/// The lists are so short that comparing strings is cheaper than hashing one.
pub(super) fn place(list: &[&str], value: &str) -> usize {
    list.iter().position(|known| *known == value).unwrap_or(list.len() - 1)
}

/// The names of one kind that have series of their own: first come, first served, until the process ends.
#[derive(Debug, Default)]
pub(super) struct Names {
    seen: Mutex<HashSet<String>>,
}

impl Names {
    /// The label for `name`: itself, or [`OTHER`] when there are too many.
    pub(super) fn label(&self, name: &str) -> String {
        let mut seen = self.seen.lock();
        if seen.contains(name) {
            return name.to_owned();
        }
        if seen.len() >= MAX_NAMES {
            return OTHER.to_owned();
        }
        seen.insert(name.to_owned());

        name.to_owned()
    }
}
