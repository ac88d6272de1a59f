//! The plain values of limits on requests.

use super::document::{Limits, ModelLimits};

/// How much an app, a key or a model may be asked; no bound where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests per minute.
    pub per_minute: Option<u32>,
    /// Requests per second.
    pub per_second: Option<u32>,
    /// Requests at once.
    pub in_flight: Option<u32>,
    /// Requests per minute of each user that is named.
    pub per_minute_of_a_user: Option<u32>,
    /// Requests per second of each of them.
    pub per_second_of_a_user: Option<u32>,
    /// Output tokens of one request.
    pub output_tokens: Option<u64>,
}

impl From<Option<&Limits>> for RequestLimits {
    fn from(limits: Option<&Limits>) -> Self {
        limits.map_or_else(Self::default, |limits| Self {
            per_minute: limits.requests_per_minute,
            per_second: limits.requests_per_second,
            in_flight: limits.in_flight,
            per_minute_of_a_user: limits.user_requests_per_minute,
            per_second_of_a_user: limits.user_requests_per_second,
            output_tokens: limits.output_tokens,
        })
    }
}

impl From<Option<&ModelLimits>> for RequestLimits {
    fn from(limits: Option<&ModelLimits>) -> Self {
        limits.map_or_else(Self::default, |limits| Self {
            per_minute: limits.requests_per_minute,
            per_second: limits.requests_per_second,
            in_flight: limits.in_flight,
            per_minute_of_a_user: None,
            per_second_of_a_user: None,
            output_tokens: None,
        })
    }
}
