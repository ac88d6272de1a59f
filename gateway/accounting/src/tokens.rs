//! Tokens, and the estimate of a request's tokens before anyone has counted them.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// A number of tokens. Sums stop at the largest number instead of wrapping around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens(pub u64);

impl Tokens {
    /// No tokens.
    pub const ZERO: Self = Self(0);

    /// The most that one request counts for: 2^40, about a trillion.
    ///
    /// An upstream may report any usage; with this bound it takes sixteen million such requests in flight before a sum
    /// reaches the end of a `u64`. No context window comes near it.
    pub const MOST: Self = Self(1 << 40);

    /// This number, or [`Tokens::MOST`] where it is larger.
    #[must_use]
    pub fn bounded(self) -> Self {
        self.min(Self::MOST)
    }
}

impl Add for Tokens {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl Sum for Tokens {
    fn sum<I: Iterator<Item = Self>>(tokens: I) -> Self {
        tokens.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes of text that are taken for one token.
///
/// The rule of thumb of `OpenAI`'s help page "What are tokens and how to count them?": one token is about four characters
/// of English. It is read as bytes here, which agrees for English and counts more for every script that needs several
/// bytes a character, as tokenizers do too. It is an estimate: code and rare words cost more than it says.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Output tokens that are reserved where the caller names no maximum.
///
/// In the Azure LLM inference traces of November 2023 (conversation and code, 28,185 requests) the mean output is 211 and
/// 28 tokens, the 99th percentile 601 and 249, and all but two requests stay below 1,024. Models that think at length
/// write more; what they report replaces this number when the request ends.
pub const DEFAULT_OUTPUT: Tokens = Tokens(1_024);

/// The most output tokens that are reserved for one request, whatever its caller allows and however many answers it asks
/// for.
///
/// A caller may write any `max_tokens`. The longest answer that a provider sells is far below it; it leaves room for many
/// answers of that length in one request.
pub const MOST_OUTPUT: Tokens = Tokens(2_000_000);

/// What a request is expected to use, before anyone has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens read by the model.
    pub input: Tokens,
    /// Tokens written by the model, at most.
    pub output: Tokens,
}

impl Estimate {
    /// This estimate within what one request can count for: [`Tokens::MOST`] of input, [`MOST_OUTPUT`] of output.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { input: self.input.bounded(), output: self.output.min(MOST_OUTPUT) }
    }

    /// Input and output together.
    #[must_use]
    pub fn total(self) -> Tokens {
        self.input + self.output
    }
}

/// Estimates a request from `input_bytes`, its text without media, and the caller's bound on the output.
///
/// Input is rounded up; media counts for nothing yet. It is bounded as [`Estimate::bounded`] says.
///
/// ```
/// use accounting::{Tokens, estimate};
///
/// let estimate = estimate(4_001, None);
///
/// assert_eq!((estimate.input, estimate.output), (Tokens(1_001), Tokens(1_024)));
/// ```
#[must_use]
pub fn estimate(input_bytes: usize, max_output: Option<u64>) -> Estimate {
    let input_bytes = u64::try_from(input_bytes).unwrap_or(u64::MAX);
    let estimate = Estimate {
        input: Tokens(input_bytes.div_ceil(BYTES_PER_TOKEN)),
        output: max_output.map_or(DEFAULT_OUTPUT, Tokens),
    };
    estimate.bounded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_on_the_output_replaces_the_default() {
        assert_eq!(estimate(0, Some(7)).output, Tokens(7));
        assert_eq!(estimate(0, None).output, DEFAULT_OUTPUT);
    }

    #[test]
    fn input_is_rounded_up_to_whole_tokens() {
        assert_eq!([0, 1, 4, 5].map(|bytes| estimate(bytes, None).input), [0, 1, 1, 2].map(Tokens));
    }

    #[test]
    fn an_absurd_bound_is_counted_as_the_most_one_request_can_be() {
        let outputs = [2_000_000, 2_000_001, u64::MAX].map(|bound| estimate(0, Some(bound)).output);

        assert_eq!(estimate(0, Some(1_999_999)).output, Tokens(1_999_999));
        assert_eq!(outputs, [Tokens(2_000_000); 3]);
        assert_eq!(estimate(usize::MAX, None).input, Tokens::MOST);
    }

    #[test]
    fn a_sum_of_tokens_never_wraps_around() {
        assert_eq!([Tokens(u64::MAX), Tokens(9)].into_iter().sum::<Tokens>(), Tokens(u64::MAX));
    }
}
