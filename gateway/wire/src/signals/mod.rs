//! What the head of an answer says about its endpoint: quota left, throughput in use, requests that wait.
//!
//! A provider's form is one file and one line in [`READERS`]. Names that no reader knows say nothing.
//!
//! Most answers say nothing. To see that no name begins as a form's do costs a twentieth of asking for each of its names.

mod anthropic;
mod openai;
mod orca;
mod place;
mod provisioned;

use std::time::Duration;

use http::{HeaderMap, HeaderName};

pub use place::{DEPLOYMENT_HEADER, GEO_MEMBER, REGION_HEADER, deployment_said, geo_said, geo_said_first, region_said};

/// What one answer's head said; what it did not say is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Said {
    /// Tokens a minute that the account may use.
    pub limit_tokens: Option<u64>,
    /// Tokens left.
    pub remaining_tokens: Option<u64>,
    /// When the tokens are all there again.
    pub reset_tokens: Option<Duration>,
    /// Requests a minute that the account may send.
    pub limit_requests: Option<u64>,
    /// Requests left.
    pub remaining_requests: Option<u64>,
    /// When the requests are all there again.
    pub reset_requests: Option<Duration>,
    /// Percent of the provisioned throughput in use.
    pub utilisation: Option<f64>,
    /// Requests that the server has not begun.
    pub waiting: Option<u32>,
    /// The part of the server's key-value cache in use, from 0 to 1.
    pub cache_usage: Option<f64>,
}

impl Said {
    /// Whether anything was said.
    #[must_use]
    pub fn is_anything(&self) -> bool {
        *self != Self::default()
    }
}

/// Reads one form into what is known so far.
type Reader = fn(&HeaderMap, &mut Said);

/// How the names of each form begin, and who reads it. The later ones add what the earlier ones have not said.
const READERS: [(&str, Reader); 4] = [
    ("x-ratelimit-", openai::read),
    ("anthropic-ratelimit-", anthropic::read),
    (provisioned::NAME, provisioned::read),
    (orca::NAME, orca::read),
];

/// Reads the head of an answer. `retry-after` is read by [`retry_after`](crate::retry_after).
#[must_use]
pub fn said_by(headers: &HeaderMap) -> Said {
    let mut said = Said::default();
    let mut is_there = [false; READERS.len()];
    for name in headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with(['x', 'a', 'e'])) {
        for (is_there, (beginning, _)) in is_there.iter_mut().zip(READERS) {
            *is_there |= name.starts_with(beginning);
        }
    }
    for (_, (_, read)) in is_there.into_iter().zip(READERS).filter(|(is_there, _)| *is_there) {
        read(headers, &mut said);
    }
    said
}

/// The header by which an endpoint is asked for its load in each answer, and the form that is read here.
pub const ASK_FOR_LOAD: (&str, &str) = ("endpoint-load-metrics-format", "TEXT");

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A number of tokens or requests. A provider that has no limit says `-1` or nothing.
fn count(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn said(list: &[(&'static str, &'static str)]) -> Said {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        said_by(&list.iter().map(header).collect())
    }

    #[test]
    fn an_answer_without_signals_says_nothing() {
        let said = said(&[("content-type", "application/json"), ("x-ratelimit-remaining-tokens", "many")]);

        assert!(!said.is_anything(), "{said:?}");
    }
}
