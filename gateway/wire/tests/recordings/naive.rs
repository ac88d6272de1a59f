//! The same results the slow and obvious way, to compare with.

use serde_json::{Map, Value};
use wire::{Api, EncodeTarget, Usage};

/// Input, output, cached input and reasoning tokens.
pub(crate) type Numbers = [u64; 4];

pub(crate) fn numbers_of(usage: &Usage) -> Numbers {
    [usage.input, usage.output, usage.cached_input, usage.reasoning]
}

/// The request's JSON with the stated splices.
pub(crate) fn spliced(mut body: Value, api: Api, target: &EncodeTarget<'_>) -> Value {
    body["model"] = Value::from(target.upstream_model);
    let streams = body["stream"] == Value::Bool(true);
    if streams && matches!(api, Api::Chat | Api::Completions) {
        if body["stream_options"].is_null() {
            body["stream_options"] = Value::Object(Map::new());
        }
        body["stream_options"]["include_usage"] = Value::Bool(true);
    }
    let keeps = body.get("store").is_some_and(|store| !store.is_null());
    if !target.keep_state && (api == Api::Responses || (api == Api::Chat && keeps)) {
        body["store"] = Value::Bool(false);
    }
    // Indexing put a null where nothing was.
    if let Some(object) = body.as_object_mut()
        && !streams
        && object.get("stream") == Some(&Value::Null)
    {
        object.remove("stream");
    }
    body
}

/// The usage in a whole reply.
pub(crate) fn usage_of(api: Api, reply: &Value) -> Option<Numbers> {
    if api == Api::CountTokens { None } else { numbers(reply.get("usage")?) }
}

fn numbers(usage: &Value) -> Option<Numbers> {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    if usage.get("prompt_tokens").is_some() {
        return Some([
            number(&usage["prompt_tokens"]),
            number(&usage["completion_tokens"]),
            number(&usage["prompt_tokens_details"]["cached_tokens"]),
            number(&usage["completion_tokens_details"]["reasoning_tokens"]),
        ]);
    }
    usage.get("input_tokens").or_else(|| usage.get("output_tokens"))?;
    let details = &usage["input_tokens_details"]["cached_tokens"];
    let cached = if details.is_u64() { number(details) } else { number(&usage["cache_read_input_tokens"]) };
    let beside = number(&usage["cache_read_input_tokens"]) + number(&usage["cache_creation_input_tokens"]);
    let reasoning = &usage["output_tokens_details"];
    Some([
        number(&usage["input_tokens"]) + beside,
        number(&usage["output_tokens"]),
        cached,
        number(&reasoning["reasoning_tokens"]).max(number(&reasoning["thinking_tokens"])),
    ])
}

/// The usage in a stream, from every `data:` line taken as JSON.
pub(crate) fn stream_usage(api: Api, stream: &[u8]) -> Option<Numbers> {
    let text = String::from_utf8_lossy(stream);
    let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let events = events.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
    let mut last = None;
    let mut merged = Map::new();
    for event in events {
        match api {
            Api::Messages => {
                let kind = event["type"].as_str().unwrap_or_default();
                let part = if kind == "message_start" { &event["message"]["usage"] } else { &event["usage"] };
                if matches!(kind, "message_start" | "message_delta")
                    && let Some(part) = part.as_object()
                {
                    merged
                        .extend(part.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())));
                }
            }
            Api::Responses => last = numbers(&event["response"]["usage"]).or(last),
            _ => last = numbers(&event["usage"]).or(last),
        }
    }
    if api == Api::Messages { numbers(&Value::Object(merged)) } else { last }
}
