//! What clients send and what upstreams answer, as small as they are real.

use bytes::Bytes;
use serde_json::{Value, json};

use super::script::Act;

/// The last line of a stream of OpenAI's.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// A chat request for `model`.
pub(crate) fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Where does the ferry go?"}]})
}

/// A streamed chat request for `model`.
pub(crate) fn chat_stream(model: &str) -> Value {
    let mut body = chat(model);
    body["stream"] = true.into();
    body
}

/// A streamed chat request that asks for usage.
pub(crate) fn chat_stream_with_usage(model: &str) -> Value {
    let mut body = chat_stream(model);
    body["stream_options"] = json!({"include_usage": true});
    body
}

/// A message request in Anthropic's form.
pub(crate) fn message(model: &str) -> Value {
    json!({"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "Where does the ferry go?"}]})
}

/// A chat completion that says `text` and used 11 and 7 tokens.
pub(crate) fn completion(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "served",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    })
}

/// One `data:` event.
pub(crate) fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// One event with a name, as Anthropic's and the responses API send them.
pub(crate) fn named_event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
}

/// A chunk of a streamed chat that says `text`.
pub(crate) fn chunk(text: &str) -> String {
    event(&chunk_of(&json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}])))
}

/// The chunk that says why a streamed chat ended.
pub(crate) fn finish() -> String {
    event(&chunk_of(&json!([{"index": 0, "delta": {}, "finish_reason": "stop"}])))
}

/// The chunk without choices that carries usage: 11 and 7 tokens.
pub(crate) fn usage_chunk() -> String {
    let mut body = chunk_of(&json!([]));
    body["usage"] = json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18});
    event(&body)
}

fn chunk_of(choices: &Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "served", "choices": choices})
}

/// A whole streamed chat, with usage and `[DONE]`.
pub(crate) fn spoken(words: &[&str]) -> Vec<String> {
    let mut events: Vec<String> = words.iter().map(|word| chunk(word)).collect();
    events.extend([finish(), usage_chunk(), DONE.to_owned()]);
    events
}

/// The events of a streamed message of Anthropic's: 11 and 7 tokens.
pub(crate) fn message_events(text: &str) -> Vec<String> {
    [
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "served", "stop_reason": null, "usage": {"input_tokens": 11, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 7}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(named_event)
    .collect()
}

/// The events of a streamed response: 11 and 7 tokens.
pub(crate) fn response_events(text: &str) -> Vec<String> {
    let response =
        |status: &str| json!({"id": "resp_1", "object": "response", "status": status, "model": "served", "output": []});
    let mut completed = response("completed");
    completed["usage"] = json!({"input_tokens": 11, "output_tokens": 7, "total_tokens": 18});
    [
        json!({"type": "response.created", "sequence_number": 0, "response": response("in_progress")}),
        json!({"type": "response.output_text.delta", "sequence_number": 1, "item_id": "m", "output_index": 0, "content_index": 0, "delta": text}),
        json!({"type": "response.completed", "sequence_number": 2, "response": completed}),
    ]
    .iter()
    .map(named_event)
    .collect()
}

/// What an upstream answers when the test scripted nothing: the right kind of answer, saying `name`.
pub(crate) fn usual_answer(path: &str, asked: &Value, name: &str) -> Act {
    let streamed = asked["stream"] == true;
    let tail = path.split('?').next().unwrap_or(path);
    let usage = json!({"input_tokens": 11, "output_tokens": 7, "total_tokens": 18});
    if tail.ends_with("/messages/count_tokens") {
        return Act::reply(200, &json!({"input_tokens": 11}));
    }
    if tail.ends_with("/messages") {
        let content = json!([{"type": "text", "text": name}]);
        let whole = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "served", "content": content, "stop_reason": "end_turn", "usage": usage});
        return if streamed { Act::stream(message_events(name)) } else { Act::reply(200, &whole) };
    }
    if tail.ends_with("/responses") {
        let content = json!([{"type": "output_text", "text": name}]);
        let output = json!([{"type": "message", "role": "assistant", "content": content}]);
        let whole = json!({"id": "resp_1", "object": "response", "status": "completed", "model": "served", "output": output, "usage": usage});
        return if streamed { Act::stream(response_events(name)) } else { Act::reply(200, &whole) };
    }
    if tail.ends_with("/embeddings") {
        let data = json!([{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]);
        return Act::reply(
            200,
            &json!({"object": "list", "model": "served", "data": data, "usage": {"prompt_tokens": 11, "total_tokens": 11}}),
        );
    }
    if tail.ends_with("/rerank") {
        return Act::reply(200, &json!({"id": "rr-1", "results": [{"index": 0, "relevance_score": 0.5}]}));
    }
    if !streamed {
        return Act::reply(200, &completion(name));
    }
    let mut events = vec![chunk(name), finish()];
    if asked["stream_options"]["include_usage"] == true {
        events.push(usage_chunk());
    }
    events.push(DONE.to_owned());
    Act::stream(events)
}

/// The events of a body, split after each blank line.
pub(crate) fn events_of(body: &Bytes) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    text.split_inclusive("\n\n").map(ToOwned::to_owned).collect()
}
