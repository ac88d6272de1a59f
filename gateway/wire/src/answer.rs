//! Whether an answer holds anything that a model wrote. It is asked where the upstream states that nothing was written.
//!
//! A part of an answer holds something where a text in it is not empty, whatever it is called: servers give reasoning, tool
//! calls and refusals names of their own. The few members that only say what a part is do not count.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Whether a whole answer holds something written. What cannot be read does: that nothing was written is not known of it.
pub(crate) fn is_in_reply(reply: &[u8]) -> bool {
    written_in(reply).unwrap_or(true)
}

/// Whether one event of a stream of chats or completions holds something written. Of one that cannot be read the others
/// tell.
pub(crate) fn is_in_chunk(chunk: &[u8]) -> bool {
    written_in(chunk).unwrap_or(false)
}

fn written_in(reply: &[u8]) -> Option<bool> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Reply {
        choices: Option<Vec<Choice>>,
        /// Of the Responses API.
        output: Written,
        /// Of the Messages API.
        content: Written,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Choice {
        message: Written,
        delta: Written,
        text: Written,
    }
    let reply: Reply = serde_json::from_slice(reply).ok()?;
    let mut choices = reply.choices.iter().flatten();
    Some(reply.output.0 || reply.content.0 || choices.any(|choice| choice.message.0 || choice.delta.0 || choice.text.0))
}

/// Whether one event of the Responses or Messages API, which is none of those that begin or end the answer, holds something
/// written.
pub(crate) fn is_in_event(data: &[u8]) -> bool {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Event {
        delta: Written,
        content_block: Written,
    }
    serde_json::from_slice::<Event>(data).is_ok_and(|event| event.delta.0 || event.content_block.0)
}

/// Whether the event that ends a response repeats something written in it.
pub(crate) fn is_in_ended(data: &[u8]) -> bool {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Event {
        response: Response,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Response {
        output: Written,
    }
    serde_json::from_slice::<Event>(data).is_ok_and(|event| event.response.output.0)
}

/// Members that say what a part is, and nothing that it says.
const LABELS: [&str; 7] = ["type", "role", "id", "status", "phase", "stop_reason", "stop_sequence"];

/// Whether there is a text that is not empty in a value, beside its labels.
#[derive(Default)]
struct Written(bool);

/// Whether a member is one of [`LABELS`].
struct IsLabel(bool);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Part;
        impl<'de> Visitor<'de> for Part {
            type Value = Written;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a part of an answer")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
                Ok(Written(!text.is_empty()))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Written, E> {
                Ok(Written(false))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Written, E> {
                Ok(Written(false))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Written, E> {
                Ok(Written(false))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Written, E> {
                Ok(Written(false))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Written, E> {
                Ok(Written(false))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Written, A::Error> {
                let mut found = false;
                while let Some(Written(part)) = parts.next_element()? {
                    found |= part;
                }
                Ok(Written(found))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Written, A::Error> {
                let mut found = false;
                while let Some(IsLabel(is_label)) = members.next_key()? {
                    if is_label {
                        members.next_value::<IgnoredAny>()?;
                    } else {
                        found |= members.next_value::<Written>()?.0;
                    }
                }
                Ok(Written(found))
            }
        }
        deserializer.deserialize_any(Part)
    }
}

impl<'de> Deserialize<'de> for IsLabel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = IsLabel;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a member")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<IsLabel, E> {
                Ok(IsLabel(LABELS.contains(&name)))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_something_where_any_text_of_it_beside_its_labels_is_not_empty() {
        let table = [
            (r#"{"choices":[{"message":{"role":"assistant","content":"a"}}]}"#, true),
            (r#"{"choices":[{"message":{"role":"assistant","content":""},"finish_reason":"stop"}]}"#, false),
            (r#"{"choices":[{"message":{"content":null}},{"message":{"content":"b"}}]}"#, true),
            (r#"{"choices":[{"message":{"content":null,"reasoning_content":"hm"}}]}"#, true),
            (r#"{"choices":[{"message":{"content":null,"refusal":"no"}}]}"#, true),
            (
                r#"{"choices":[{"message":{"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
                true,
            ),
            (r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#, false),
            (r#"{"choices":[{"delta":{"content":"a"}}],"obfuscation":"x"}"#, true),
            (
                r#"{"choices":[{"delta":{},"content_filter_results":{"hate":{"severity":"safe"}}}],"obfuscation":"x"}"#,
                false,
            ),
            (r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#, false),
            (r#"{"choices":[{"text":"a"}]}"#, true),
            (r#"{"choices":[{"text":"","logprobs":{"tokens":["a"]}}]}"#, false),
            (
                r#"{"output":[{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":""}]}]}"#,
                false,
            ),
            (r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]}"#, true),
            (r#"{"output":[{"type":"reasoning","id":"r","summary":[]}]}"#, false),
            (r#"{"output":[{"type":"function_call","id":"f","name":"f","arguments":"{}"}]}"#, true),
            (r#"{"output":[]}"#, false),
            (r#"{"content":[{"type":"text","text":"a"}],"stop_reason":"end_turn"}"#, true),
            (r#"{"content":[],"role":"assistant","stop_reason":"end_turn"}"#, false),
            (r#"{"choices":[{"message":{"content":"\ud83d"}}]}"#, true),
            ("no json", true),
        ];
        for (reply, expected) in table {
            assert_eq!(is_in_reply(reply.as_bytes()), expected, "{reply}");
        }
        assert!(!is_in_chunk(b"[DONE]") && is_in_chunk(br#"{"choices":[{"delta":{"content":"a"}}]}"#));
    }

    #[test]
    fn an_event_holds_something_where_its_delta_or_its_block_does() {
        let table = [
            (r#"{"type":"response.output_text.delta","item_id":"m","delta":"a"}"#, true),
            (r#"{"type":"response.output_text.delta","item_id":"m","delta":""}"#, false),
            (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#, true),
            (r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#, false),
            (
                r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
                true,
            ),
            (r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":"x"}}"#, false),
            (r#"{"type":"ping"}"#, false),
        ];
        for (event, expected) in table {
            assert_eq!(is_in_event(event.as_bytes()), expected, "{event}");
        }
        assert!(is_in_ended(br#"{"response":{"output":[{"type":"message","content":[{"text":"a"}]}]}}"#));
        assert!(!is_in_ended(br#"{"response":{"output":[],"instructions":"be short"}}"#));
    }
}
