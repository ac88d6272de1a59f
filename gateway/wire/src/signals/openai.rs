//! `x-ratelimit-{limit,remaining,reset}-{tokens,requests}`, as OpenAI and Azure's pay-as-you-go deployments send them.
//!
//! Source: OpenAI's guide "Rate limits", section "Rate limits in headers"; a reset is written `6m0s`, `1.5s` or `20ms`.

use std::time::Duration;

use http::HeaderMap;

use super::{Said, count, text};

pub(super) fn read(headers: &HeaderMap, said: &mut Said) {
    said.limit_tokens = said.limit_tokens.or(count(headers, "x-ratelimit-limit-tokens"));
    said.remaining_tokens = said.remaining_tokens.or(count(headers, "x-ratelimit-remaining-tokens"));
    said.reset_tokens = said.reset_tokens.or(span(text(headers, "x-ratelimit-reset-tokens")));
    said.limit_requests = said.limit_requests.or(count(headers, "x-ratelimit-limit-requests"));
    said.remaining_requests = said.remaining_requests.or(count(headers, "x-ratelimit-remaining-requests"));
    said.reset_requests = said.reset_requests.or(span(text(headers, "x-ratelimit-reset-requests")));
}

/// `1h2m3.5s`, `20ms`; a number alone is seconds, as Azure writes it.
fn span(text: Option<&str>) -> Option<Duration> {
    let text = text?;
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, tail) = rest.split_at_checked(end)?;
        let (unit, tail) =
            ["ms", "s", "m", "h", "d"].into_iter().find_map(|unit| Some((unit, tail.strip_prefix(unit)?)))?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => 86_400.0,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn quota_and_reset_are_read() {
        let said = said(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-limit-tokens", "150000"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]);

        assert_eq!((said.limit_requests, said.remaining_requests), (Some(60), Some(59)));
        assert_eq!((said.limit_tokens, said.remaining_tokens), (Some(150_000), Some(149_984)));
        assert_eq!(said.reset_tokens, Some(Duration::from_secs(360)));
    }

    #[test]
    fn a_span_is_read_in_every_form() {
        let table = [
            ("6m0s", Some(360_000)),
            ("20ms", Some(20)),
            ("1.5s", Some(1_500)),
            ("1h1m1s", Some(3_661_000)),
            ("12", Some(12_000)),
            ("-1", None),
            ("soon", None),
            ("6m0", None),
        ];
        for (text, ms) in table {
            assert_eq!(span(Some(text)).map(|span| span.as_millis()), ms, "{text}");
        }
    }
}
