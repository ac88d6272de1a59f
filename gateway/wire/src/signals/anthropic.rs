//! `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`.
//!
//! Source: Anthropic's API reference, "Rate limits", "Response headers". `tokens` is the most restrictive limit in effect;
//! where only input and output are told apart, the scarcer decides. A reset is a moment, and is left to the provider.

use http::HeaderMap;

use super::{Said, count};

pub(super) fn read(headers: &HeaderMap, said: &mut Said) {
    let scarcer = |kind: &str| {
        let of = |tokens: &str| count(headers, &format!("anthropic-ratelimit-{tokens}-{kind}"));
        let apart = [of("input-tokens"), of("output-tokens")].into_iter().flatten().min();
        of("tokens").or(apart)
    };
    said.limit_tokens = said.limit_tokens.or_else(|| scarcer("limit"));
    said.remaining_tokens = said.remaining_tokens.or_else(|| scarcer("remaining"));
    said.limit_requests = said.limit_requests.or(count(headers, "anthropic-ratelimit-requests-limit"));
    said.remaining_requests = said.remaining_requests.or(count(headers, "anthropic-ratelimit-requests-remaining"));
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;

    #[test]
    fn the_most_restrictive_limit_counts() {
        let both = said(&[
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2026-11-26T10:00:01Z"),
            ("anthropic-ratelimit-tokens-limit", "48000"),
            ("anthropic-ratelimit-tokens-remaining", "47000"),
            ("anthropic-ratelimit-input-tokens-remaining", "40000"),
        ]);
        let apart = said(&[
            ("anthropic-ratelimit-input-tokens-limit", "40000"),
            ("anthropic-ratelimit-output-tokens-limit", "8000"),
            ("anthropic-ratelimit-input-tokens-remaining", "100"),
            ("anthropic-ratelimit-output-tokens-remaining", "7000"),
        ]);

        assert_eq!((both.limit_tokens, both.remaining_tokens), (Some(48_000), Some(47_000)));
        assert_eq!((both.limit_requests, both.remaining_requests), (Some(50), Some(49)));
        assert_eq!((apart.limit_tokens, apart.remaining_tokens), (Some(8_000), Some(100)));
    }
}
