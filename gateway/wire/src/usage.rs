//! What a reply says it cost, in tokens.

mod plain;

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;

use crate::{Api, answer};

/// Tokens that an upstream reports.
///
/// OpenAI counts cached tokens within the input and Anthropic beside it; here they are always within.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens, those read from or written to a cache included.
    pub input: u64,
    /// Output tokens, those spent on reasoning included.
    pub output: u64,
    /// Input tokens that were read from a cache.
    pub cached_input: u64,
    /// Input tokens that were written into a cache, where the upstream charges for that.
    pub cache_write: u64,
    /// Output tokens spent on reasoning, where the upstream tells them apart.
    pub reasoning: u64,
    /// Whether an answer can have cost this: a prompt has a token at least, and who wrote something wrote one at least.
    pub is_plausible: bool,
    /// The usage object as the upstream wrote it. Of a messages stream, which reports in parts, the parts as one object.
    pub raw: Bytes,
}

/// The usage that a whole (not streamed) reply reports; `None` where it reports none that can be read, or does not say how
/// much it wrote. Only embeddings and rerankings write nothing.
///
/// An answer that states no output is read for whether it is empty.
#[must_use]
pub fn usage_of_reply(api: Api, body: &[u8]) -> Option<Usage> {
    let mut usage = stated_by(api, body)?;
    usage.is_beside(|| writes(api) && answer::is_in_reply(body));
    Some(usage)
}

fn stated_by(api: Api, body: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
        #[serde(borrow)]
        meta: Option<Meta<'a>>,
    }
    /// Where Cohere's rerank puts it.
    #[derive(Deserialize)]
    struct Meta<'a> {
        #[serde(borrow)]
        tokens: Option<&'a RawValue>,
    }
    if api == Api::CountTokens {
        return None; // Its answer is a count, and counting costs nothing.
    }
    let mut fields = Fields::default();
    if let Some(raw) = last_mentioned(body, &mut fields) {
        return fields.usage(writes(api), Bytes::copy_from_slice(raw));
    }
    let reply: Reply<'_> = serde_json::from_slice(body).ok()?;
    let raw = reply.usage.or_else(|| reply.meta.and_then(|meta| meta.tokens))?;
    from_raw(api, raw.get().as_bytes())
}

/// Reads the usage object of a reply, and gives it as it is written. It is found from the end, where nearly all servers write
/// it: reading all that stands before it was a twelfth of the instructions of a small request. `None` where it stands
/// elsewhere, or is none.
///
/// A quote within a JSON string is escaped, so text cannot show the word with its quotes. That it is a member of the reply
/// itself, and not of something in it, is seen by what closes behind it.
fn last_mentioned<'a>(body: &'a [u8], fields: &mut Fields) -> Option<&'a [u8]> {
    let behind = body.get(behind_last_word(body)?..)?.trim_ascii_start();
    let value = behind.strip_prefix(b":")?.trim_ascii_start();
    let length = plain::read(value, fields).or_else(|| anyhow(value, fields))?;
    let (raw, tail) = value.split_at_checked(length)?;
    let is_member = body.trim_ascii_start().starts_with(b"{") && closes_one_object(tail);
    is_member.then_some(raw)
}

/// The offset behind the last `"usage"`, looked for by its letter that is the rarest where tokens are counted.
fn behind_last_word(body: &[u8]) -> Option<usize> {
    let mut places = memchr::memrchr_iter(b'g', body);
    let is_word = |g: usize| g.checked_sub(4).and_then(|start| body.get(start..g + 3)) == Some(b"\"usage\"");
    Some(places.find(|g| is_word(*g))? + 3)
}

/// Reads an object in any form that JSON allows, and gives its length in bytes.
fn anyhow(value: &[u8], fields: &mut Fields) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(value).into_iter::<&RawValue>();
    let raw = values.next()?.ok()?.get();
    *fields = raw.starts_with('{').then(|| serde_json::from_str(raw).ok())??;
    Some(raw.len())
}

/// Whether `tail` ends one object that was open before it, and nothing follows.
fn closes_one_object(tail: &[u8]) -> bool {
    let (mut open, mut at) = (1_usize, 0);
    while let Some(byte) = tail.get(at) {
        at += 1;
        match byte {
            b'"' => {
                while let Some(byte) = tail.get(at)
                    && *byte != b'"'
                {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' if open == 1 => {
                return *byte == b'}' && tail.get(at..).is_some_and(|rest| rest.trim_ascii().is_empty());
            }
            b'}' | b']' => open -= 1,
            _ => {}
        }
    }
    false
}

/// Reads one usage object of an answer of `api`.
pub(crate) fn from_raw(api: Api, raw: &[u8]) -> Option<Usage> {
    let mut fields = Fields::default();
    if plain::read(raw, &mut fields) != Some(raw.len()) {
        fields = serde_json::from_slice(raw).ok()?;
    }
    fields.usage(writes(api), Bytes::copy_from_slice(raw))
}

fn writes(api: Api) -> bool {
    !matches!(api, Api::Embeddings | Api::Rerank)
}

impl Usage {
    /// The answer beside it may hold something that was written, which is asked only where that matters.
    pub(crate) fn is_beside(&mut self, written: impl FnOnce() -> bool) {
        self.is_plausible &= self.output > 0 || !written();
    }
}

/// Whether this object speaks of tokens at all, whole or in part.
pub(crate) fn is_usage(raw: &[u8]) -> bool {
    from_raw(Api::Embeddings, raw).is_some()
}

/// One usage object from two, members of the later one first; for a stream that reports in parts.
pub(crate) fn merged(earlier: &[u8], later: &[u8]) -> Option<Vec<u8>> {
    type Members<'a> = std::collections::BTreeMap<&'a str, &'a RawValue>;
    let mut members: Members<'_> = serde_json::from_slice(earlier).ok()?;
    let later: Members<'_> = serde_json::from_slice(later).ok()?;
    // A later null or zero takes nothing back that an earlier part has said: servers of the Messages API have ended streams with
    // `"input_tokens": 0`.
    for (name, value) in later {
        if !members.contains_key(name) || !matches!(value.get(), "null" | "0") {
            members.insert(name, value);
        }
    }
    serde_json::to_vec(&members).ok()
}

/// Every name under which an upstream of these dialects reports tokens.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields {
    prompt_tokens: Count,
    completion_tokens: Count,
    input_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    prompt_cache_hit_tokens: Count,
    prompt_tokens_details: Option<Details>,
    input_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
struct Details {
    cached_tokens: Count,
    reasoning_tokens: Count,
    thinking_tokens: Count,
}

impl Fields {
    /// `writes` says that an answer without a number of output tokens is one of which it is not known.
    fn usage(&self, writes: bool, raw: Bytes) -> Option<Usage> {
        let beside = self.cache_read_input_tokens.or_zero().saturating_add(self.cache_creation_input_tokens.or_zero());
        let read = counted(self.prompt_tokens.0, self.input_tokens.0.map(|tokens| tokens.saturating_add(beside)));
        let stated = counted(self.completion_tokens.0, self.output_tokens.0);
        let rest = self.total_tokens.0.zip(read).map(|(total, read)| total.saturating_sub(read));
        // Who sums up more than the prompt and what it calls output wrote the rest as well: xAI, and proxies in front of Gemini, leave
        // the tokens of thinking out of `completion_tokens`, and charge for them. Where the prompt is unknown the sum tells nothing.
        // What `input_tokens` counts beside itself is in `read` already; beside `prompt_tokens` it may be in the sum only.
        let is_in_sum_only = self.prompt_tokens.or_zero() > 0;
        let rest_of_sum = rest.filter(|_| writes && read > Some(0)).unwrap_or_default();
        let unnamed = rest_of_sum.saturating_sub(if is_in_sum_only { beside } else { 0 });
        let output = stated.map(|stated| stated.max(unnamed)).or(rest);
        let input = read.or_else(|| self.total_tokens.0.map(|total| total.saturating_sub(output.unwrap_or_default())));
        // Said and no number: how much was written is not known, and not nothing.
        let is_said = self.completion_tokens.1 || self.output_tokens.1;
        if output.is_none() && (input.is_none() || is_said || writes) {
            return None;
        }
        let cached = |details: &Option<Details>| details.as_ref()?.cached_tokens.0;
        let cached = counted(cached(&self.prompt_tokens_details), cached(&self.input_tokens_details));
        let cached = cached.or(self.cache_read_input_tokens.0).or(self.prompt_cache_hit_tokens.0);
        let thought = |details: &Option<Details>| {
            let details = details.as_ref()?;
            details.reasoning_tokens.0.or(details.thinking_tokens.0)
        };
        let reasoning = counted(thought(&self.completion_tokens_details), thought(&self.output_tokens_details));
        Some(Usage {
            input: input.unwrap_or_default(),
            output: output.unwrap_or_default(),
            cached_input: cached.unwrap_or_default(),
            cache_write: self.cache_creation_input_tokens.or_zero(),
            reasoning: reasoning.unwrap_or_default(),
            is_plausible: input.unwrap_or_default() > 0
                && (output.unwrap_or_default() > 0 || reasoning.unwrap_or_default() == 0),
            raw,
        })
    }
}

/// Of one number under two names the first, or the second where the first is zero: servers that write the names of both dialects
/// have counted under one of them.
fn counted(first: Option<u64>, second: Option<u64>) -> Option<u64> {
    let is_counted = |number: &u64| *number > 0;
    first.filter(is_counted).or(second.filter(is_counted)).or(first).or(second)
}

/// A number of tokens, however a server writes it: some write `12.0`, some `null`; and whether it was written at all.
#[derive(Default, Clone, Copy)]
struct Count(Option<u64>, bool);

impl Count {
    fn or_zero(self) -> u64 {
        self.0.unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Count;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of tokens or null")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Count, E> {
                Ok(Count(Some(value), true))
            }

            fn visit_i64<E: de::Error>(self, _negative: i64) -> Result<Count, E> {
                Ok(Count(None, true))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Count, E> {
                let whole = value.is_finite() && (0.0..9.0e15).contains(&value) && value.fract() == 0.0;
                // Exact: a whole number below 2^53.
                Ok(Count(whole.then_some(value as u64), true))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Count, E> {
                Ok(Count(None, true))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(usage: Option<Usage>) -> Option<[u64; 4]> {
        usage.map(|usage| [usage.input, usage.output, usage.cached_input, usage.reasoning])
    }

    #[test]
    fn what_is_written_must_be_said_but_where_nothing_is() {
        let parts = [r#"{"prompt_tokens":7}"#, r#"{"total_tokens":7}"#, r#"{"input_tokens":7,"cached_tokens":1}"#];
        for raw in parts {
            for api in [Api::Embeddings, Api::Rerank] {
                assert_eq!(numbers(from_raw(api, raw.as_bytes())), Some([7, 0, 0, 0]), "{api:?} {raw}");
            }
            for api in [Api::Chat, Api::Completions, Api::Responses, Api::Messages] {
                assert_eq!(from_raw(api, raw.as_bytes()), None, "{api:?} {raw}");
                let reply = format!(r#"{{"id":"x","usage":{raw}}}"#);
                assert_eq!(usage_of_reply(api, reply.as_bytes()), None, "{api:?} {raw}");
            }
        }
        let whole = br#"{"prompt_tokens":7,"total_tokens":7}"#;
        assert_eq!(numbers(from_raw(Api::Chat, whole)), Some([7, 0, 0, 0]), "what is left of the total is nothing");
    }

    #[test]
    fn every_form_of_usage_is_read() {
        let table = [
            (r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}"#, Some([10, 5, 0, 0])),
            (
                r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},
                    "completion_tokens_details":{"reasoning_tokens":3}}"#,
                Some([10, 5, 4, 3]),
            ),
            (
                r#"{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,
                    "output_tokens_details":{"reasoning_tokens":3}}"#,
                Some([10, 5, 4, 3]),
            ),
            (
                r#"{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":1000,"output_tokens":5}"#,
                Some([1110, 5, 100, 0]),
            ),
            (r#"{"input_tokens":10,"cache_read_input_tokens":null,"output_tokens":5.0}"#, Some([10, 5, 0, 0])),
            (
                r#"{"input_tokens":18446744073709551615,"cache_read_input_tokens":18446744073709551615,
                    "cache_creation_input_tokens":18446744073709551615,"output_tokens":18446744073709551615}"#,
                Some([u64::MAX, u64::MAX, u64::MAX, 0]),
            ),
            (r#"{"total_tokens":1,"completion_tokens":18446744073709551615}"#, Some([0, u64::MAX, 0, 0])),
            (r#"{"total_tokens":7}"#, Some([7, 0, 0, 0])),
            (r#"{"prompt_tokens":7,"total_tokens":7}"#, Some([7, 0, 0, 0])),
            (r#"{"prompt_tokens":7,"total_tokens":20}"#, Some([7, 13, 0, 0])),
            (r#"{"prompt_tokens":7,"completion_tokens":null,"total_tokens":20}"#, Some([7, 13, 0, 0])),
            (r#"{"prompt_tokens":7}"#, Some([7, 0, 0, 0])),
            (r#"{"prompt_tokens":7,"completion_tokens":null}"#, None),
            (r#"{"prompt_tokens":7,"completion_tokens":-1}"#, None),
            (r#"{"input_tokens":7,"output_tokens":null}"#, None),
            (r#"{"prompt_tokens":7,"completion_tokens":1,"prompt_tokens_details":null}"#, Some([7, 1, 0, 0])),
            ("{}", None),
            ("null", None),
            (r#"{"prompt_tokens":"many"}"#, None),
        ];
        for (raw, expected) in table {
            assert_eq!(numbers(from_raw(Api::Embeddings, raw.as_bytes())), expected, "{raw}");
        }
    }

    #[test]
    fn of_the_names_of_two_dialects_the_one_that_was_counted_under_is_read() {
        let table = [
            (r#"{"prompt_tokens":0,"completion_tokens":0,"input_tokens":12,"output_tokens":5}"#, [12, 5, 0, 0]),
            (r#"{"prompt_tokens":12,"completion_tokens":5,"input_tokens":0,"output_tokens":0}"#, [12, 5, 0, 0]),
            (r#"{"prompt_tokens":12,"completion_tokens":0,"input_tokens":0,"output_tokens":5}"#, [12, 5, 0, 0]),
            (r#"{"prompt_tokens":12,"completion_tokens":5,"input_tokens":11,"output_tokens":4}"#, [12, 5, 0, 0]),
            (
                r#"{"prompt_tokens":0,"input_tokens":2,"cache_read_input_tokens":10,"completion_tokens":null,"output_tokens":5}"#,
                [12, 5, 10, 0],
            ),
            (
                r#"{"prompt_tokens":0,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":0},
                    "completion_tokens_details":{"reasoning_tokens":0},"input_tokens":12,"output_tokens":5,
                    "input_tokens_details":{"cached_tokens":4},"output_tokens_details":{"reasoning_tokens":3}}"#,
                [12, 5, 4, 3],
            ),
        ];
        for (raw, expected) in table {
            let usage = from_raw(Api::Chat, raw.as_bytes()).expect("it states usage");
            assert!(usage.is_plausible, "{raw}");
            assert_eq!(numbers(Some(usage)), Some(expected), "{raw}");
        }
        let nothing = br#"{"prompt_tokens":0,"completion_tokens":0,"input_tokens":0,"output_tokens":0}"#;
        assert!(!from_raw(Api::Chat, nothing).expect("it states usage").is_plausible);
    }

    #[test]
    fn what_a_total_names_beyond_the_prompt_was_written_also_where_the_output_is_said_to_be_less() {
        let table = [
            // As xAI, and proxies in front of Gemini, write it.
            (
                r#"{"prompt_tokens":12,"completion_tokens":1,"total_tokens":399,
                    "completion_tokens_details":{"reasoning_tokens":386}}"#,
                [12, 387, 0, 386],
            ),
            (r#"{"prompt_tokens":20,"completion_tokens":198,"total_tokens":623}"#, [20, 603, 0, 0]),
            (
                r#"{"prompt_tokens":21,"completion_tokens":0,"total_tokens":81,
                    "completion_tokens_details":{"reasoning_tokens":60}}"#,
                [21, 60, 0, 60],
            ),
            // As OpenAI does.
            (
                r#"{"prompt_tokens":10,"completion_tokens":387,"total_tokens":397,
                    "completion_tokens_details":{"reasoning_tokens":386}}"#,
                [10, 387, 0, 386],
            ),
            // A total that is less, or that leaves the output out, takes nothing away.
            (r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":10}"#, [10, 5, 0, 0]),
            // A total of the prompt, of caches beside it, and of the output.
            (
                r#"{"prompt_tokens":10,"cache_read_input_tokens":100,"completion_tokens":5,"total_tokens":115}"#,
                [10, 5, 100, 0],
            ),
            (
                r#"{"input_tokens":10,"cache_read_input_tokens":100,"output_tokens":5,"total_tokens":115}"#,
                [110, 5, 100, 0],
            ),
            // And of something that was written and is not called output: the caches beside the input are taken off once.
            (
                r#"{"input_tokens":10,"cache_read_input_tokens":100,"output_tokens":5,"total_tokens":415}"#,
                [110, 305, 100, 0],
            ),
            (
                r#"{"prompt_tokens":0,"input_tokens":10,"cache_creation_input_tokens":100,"output_tokens":5,"total_tokens":415}"#,
                [110, 305, 0, 0],
            ),
            (
                r#"{"prompt_tokens":10,"cache_read_input_tokens":100,"completion_tokens":5,"total_tokens":415}"#,
                [10, 305, 100, 0],
            ),
        ];
        for (raw, expected) in table {
            let usage = from_raw(Api::Chat, raw.as_bytes()).expect("it states usage");
            assert!(usage.is_plausible, "{raw}");
            assert_eq!(numbers(Some(usage)), Some(expected), "{raw}");
        }
        let no_prompt = br#"{"prompt_tokens":0,"completion_tokens":5,"total_tokens":12}"#;
        assert_eq!(numbers(from_raw(Api::Chat, no_prompt)), Some([0, 5, 0, 0]), "it is not believed either way");
        let vectors = br#"{"prompt_tokens":8,"completion_tokens":0,"total_tokens":20}"#;
        assert_eq!(numbers(from_raw(Api::Embeddings, vectors)), Some([8, 0, 0, 0]), "nothing is written there");
    }

    #[test]
    fn a_reply_gives_its_usage_as_it_was_written() {
        let body =
            br#"{"id":"x","choices":[{"text":"\"usage\""}],"usage": {"prompt_tokens":1, "completion_tokens":2} }"#;

        let usage = usage_of_reply(Api::Chat, body).expect("the reply reports usage");

        assert_eq!((usage.input, usage.output), (1, 2));
        assert_eq!(&usage.raw[..], br#"{"prompt_tokens":1, "completion_tokens":2}"#);
        assert_eq!(usage_of_reply(Api::Chat, b"{}"), None);
        assert_eq!(usage_of_reply(Api::Chat, b"no json"), None);
        assert_eq!(usage_of_reply(Api::CountTokens, br#"{"input_tokens":3}"#), None);
    }

    #[test]
    fn only_the_usage_of_the_reply_itself_counts_wherever_it_stands() {
        let table = [
            (r#"{"choices":[{"text":"a"}],"usage":{"prompt_tokens":1},"system_fingerprint":"f}]\"x"}"#, Some(1)),
            (r#"{"usage":{"prompt_tokens":1},"choices":[{"text":"\"usage\":{\"prompt_tokens\":9}"}]}"#, Some(1)),
            (r#"{"usage":{"prompt_tokens":1},"choices":[{"usage":{"prompt_tokens":9}}]}"#, Some(1)),
            (r#"{"usage":{"prompt_tokens":1},"kind":"usage"}"#, Some(1)),
            (r#"{"usage":{"prompt_tokens":1,"usage":{"prompt_tokens":9}}}"#, Some(1)),
            (" {\n \"usage\" : { \"prompt_tokens\" : 1 }\n } \n", Some(1)),
            (r#"{"choices":[{"usage":{"prompt_tokens":9}}]}"#, None),
            (r#"[{"usage":{"prompt_tokens":9}}]"#, None),
            (r#"{"choices":[],"usage":null}"#, None),
            (r#"{"usage":{"prompt_tokens":9}"#, None),
            (r#"{"usage":{"prompt_tokens":9}]"#, None),
            (r#"{"usage":{"prompt_tokens":9}} more"#, None),
            (r#"{"usage":{"prompt_tokens":9}}}"#, None),
        ];
        for (body, input) in table {
            assert_eq!(usage_of_reply(Api::Embeddings, body.as_bytes()).map(|usage| usage.input), input, "{body}");
        }
    }

    #[test]
    fn who_states_no_input_or_no_output_beside_something_written_is_not_believed() {
        let (chat, empty) = (r#""choices":[{"message":{"content":"a"}}]"#, r#""choices":[{"message":{"content":""}}]"#);
        let (text, output) = (r#""choices":[{"text":"a"}]"#, r#""output":[{"content":[{"text":"a"}]}]"#);
        let content = r#""content":[{"type":"text","text":"a"}]"#;
        let table = [
            (Api::Chat, chat, r#"{"prompt_tokens":0,"completion_tokens":0}"#, false),
            (Api::Chat, chat, r#"{"prompt_tokens":0,"completion_tokens":3}"#, false),
            (Api::Chat, chat, r#"{"completion_tokens":3}"#, false),
            (Api::Chat, chat, r#"{"prompt_tokens":5,"completion_tokens":0}"#, false),
            (Api::Chat, chat, r#"{"prompt_tokens":5,"total_tokens":5}"#, false),
            (Api::Chat, chat, r#"{"prompt_tokens":5,"completion_tokens":1}"#, true),
            (Api::Chat, empty, r#"{"prompt_tokens":5,"completion_tokens":0}"#, true),
            (Api::Chat, empty, r#"{"prompt_tokens":0,"completion_tokens":0}"#, false),
            (
                Api::Chat,
                chat,
                r#"{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":5},"completion_tokens":1}"#,
                true,
            ),
            // Cut off while it thought: nothing is shown, and something was written all the same.
            (
                Api::Chat,
                r#""choices":[]"#,
                r#"{"prompt_tokens":5,"completion_tokens":0,"completion_tokens_details":{"reasoning_tokens":60}}"#,
                false,
            ),
            (Api::Completions, text, r#"{"prompt_tokens":5,"completion_tokens":0}"#, false),
            (Api::Completions, text, r#"{"prompt_tokens":5,"completion_tokens":1}"#, true),
            (Api::Responses, output, r#"{"input_tokens":0,"output_tokens":0}"#, false),
            (Api::Responses, output, r#"{"input_tokens":5,"output_tokens":0}"#, false),
            (Api::Responses, output, r#"{"input_tokens":5,"output_tokens":1}"#, true),
            (Api::Messages, content, r#"{"input_tokens":0,"output_tokens":1}"#, false),
            (Api::Messages, content, r#"{"input_tokens":0,"cache_read_input_tokens":5,"output_tokens":1}"#, true),
            (Api::Messages, content, r#"{"input_tokens":0,"cache_creation_input_tokens":5,"output_tokens":1}"#, true),
            (Api::Messages, content, r#"{"input_tokens":5,"output_tokens":0}"#, false),
            (Api::Embeddings, r#""data":[]"#, r#"{"prompt_tokens":0,"total_tokens":0}"#, false),
            (Api::Embeddings, r#""data":[]"#, r#"{"prompt_tokens":8,"completion_tokens":0,"total_tokens":8}"#, true),
            (Api::Rerank, r#""results":[]"#, r#"{"total_tokens":0}"#, false),
            (Api::Rerank, r#""results":[]"#, r#"{"total_tokens":8}"#, true),
        ];
        for (api, answer, usage, is_plausible) in table {
            for reply in [format!(r#"{{{answer},"usage":{usage}}}"#), format!(r#"{{"usage":{usage},{answer}}}"#)] {
                let usage = usage_of_reply(api, reply.as_bytes()).expect("it states usage");
                assert_eq!(usage.is_plausible, is_plausible, "{api:?} {reply}");
            }
        }
    }

    #[test]
    fn a_rerank_reply_may_report_where_cohere_does() {
        let body = br#"{"results":[],"meta":{"tokens":{"input_tokens":5.0,"output_tokens":0}}}"#;
        assert_eq!(numbers(usage_of_reply(Api::Rerank, body)), Some([5, 0, 0, 0]));
    }

    #[test]
    fn parts_are_merged_with_the_later_one_first() {
        let merged = merged(br#"{"input_tokens":9,"output_tokens":1}"#, br#"{"output_tokens":7,"input_tokens":null}"#);
        assert_eq!(merged.as_deref(), Some(&br#"{"input_tokens":9,"output_tokens":7}"#[..]));
    }

    #[test]
    fn a_later_zero_takes_nothing_back() {
        let of = |earlier: &str, later: &str| {
            merged(earlier.as_bytes(), later.as_bytes()).map(|both| String::from_utf8_lossy(&both).into_owned())
        };

        let kept = of(r#"{"input_tokens":15,"output_tokens":1}"#, r#"{"input_tokens":0,"output_tokens":40}"#);
        let new = of(r#"{"input_tokens":15}"#, r#"{"output_tokens":0}"#);
        let counted = of(r#"{"input_tokens":0,"output_tokens":1}"#, r#"{"input_tokens":15,"output_tokens":40}"#);

        assert_eq!(kept.as_deref(), Some(r#"{"input_tokens":15,"output_tokens":40}"#));
        assert_eq!(new.as_deref(), Some(r#"{"input_tokens":15,"output_tokens":0}"#));
        assert_eq!(counted, kept);
    }
}
