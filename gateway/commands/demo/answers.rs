//! What a stand-in says, in the form of the API that was called: whole, or as the events of a stream.

use bytes::Bytes;
use serde_json::{Value, json};

/// The time at which every answer claims to have been made.
const CREATED: u64 = 1_700_000_000;

/// An API that the stand-ins serve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Chat,
    Completions,
    Responses,
    Embeddings,
}

impl Api {
    /// The API at this path below the server's base.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/chat/completions" => Some(Self::Chat),
            "/completions" => Some(Self::Completions),
            "/responses" => Some(Self::Responses),
            "/embeddings" => Some(Self::Embeddings),
            _ => None,
        }
    }
}

/// One answer, before its pace is known.
pub(super) struct Answer {
    /// The body, for a caller who did not ask for a stream.
    pub(super) whole: Value,
    /// The events in order, for one who did.
    pub(super) events: Option<Vec<Bytes>>,
    /// Tokens of the answer.
    pub(super) tokens: u64,
}

/// The answer of the stand-in `name` to a call whose prompt has this many tokens.
pub(super) fn answer(api: Api, name: &str, call: &Value, prompt: u64) -> Answer {
    let words: Vec<String> = SENTENCE.split_inclusive(' ').map(|word| word.replace("NAME", name)).collect();
    let said = Said { words: &words, model: &call["model"], prompt };
    let (whole, events) = match api {
        Api::Chat => (said.chat(), said.chat_events(call["stream_options"]["include_usage"] == true)),
        Api::Completions => {
            (said.completion(), said.completion_events(call["stream_options"]["include_usage"] == true))
        }
        Api::Responses => (said.response("completed"), said.response_events()),
        Api::Embeddings => return embeddings(call, prompt),
    };
    let events = (call["stream"] == true).then_some(events);
    Answer { whole, events, tokens: words.len() as u64 }
}

const SENTENCE: &str =
    "This answer comes from the stand-in `NAME`; no model ran, and the record of this decision says why it was chosen.";

fn embeddings(call: &Value, prompt: u64) -> Answer {
    let inputs = call["input"].as_array().map_or(1, Vec::len);
    let one = |index| json!({ "object": "embedding", "index": index, "embedding": [0.1, 0.2, 0.3] });
    let data: Vec<Value> = (0..inputs).map(one).collect();
    let usage = json!({ "prompt_tokens": prompt, "total_tokens": prompt });
    let whole = json!({ "object": "list", "data": data, "model": call["model"], "usage": usage });
    Answer { whole, events: None, tokens: 0 }
}

/// What is said, whatever its form.
struct Said<'a> {
    words: &'a [String],
    model: &'a Value,
    prompt: u64,
}

impl Said<'_> {
    fn text(&self) -> String {
        self.words.concat()
    }

    fn usage(&self) -> Value {
        let output = self.words.len() as u64;
        json!({ "prompt_tokens": self.prompt, "completion_tokens": output, "total_tokens": self.prompt + output })
    }

    fn object(&self, kind: &str, choices: &Value) -> Value {
        json!({ "id": "chatcmpl-standin", "object": kind, "created": CREATED, "model": self.model, "choices": choices })
    }

    fn chat(&self) -> Value {
        let message = json!({ "role": "assistant", "content": self.text() });
        let choices = json!([{ "index": 0, "finish_reason": "stop", "message": message }]);
        with_usage(self.object("chat.completion", &choices), self.usage())
    }

    fn chat_events(&self, usage_asked: bool) -> Vec<Bytes> {
        let chunk = |delta: Value, finish: Value| {
            let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
            self.object("chat.completion.chunk", &choices)
        };
        let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
        events.extend(self.words.iter().map(|word| chunk(json!({ "content": word }), Value::Null)));
        events.push(chunk(json!({}), json!("stop")));
        if usage_asked {
            events.push(with_usage(self.object("chat.completion.chunk", &json!([])), self.usage()));
        }
        unnamed(&events)
    }

    fn completion(&self) -> Value {
        let choices = json!([{ "index": 0, "text": self.text(), "finish_reason": "stop", "logprobs": null }]);
        with_usage(self.object("text_completion", &choices), self.usage())
    }

    fn completion_events(&self, usage_asked: bool) -> Vec<Bytes> {
        let chunk = |text: &str, finish: Value| {
            let choices = json!([{ "index": 0, "text": text, "finish_reason": finish, "logprobs": null }]);
            self.object("text_completion", &choices)
        };
        let mut events: Vec<Value> = self.words.iter().map(|word| chunk(word, Value::Null)).collect();
        events.push(chunk("", json!("stop")));
        if usage_asked {
            events.push(with_usage(self.object("text_completion", &json!([])), self.usage()));
        }
        unnamed(&events)
    }

    fn response(&self, status: &str) -> Value {
        let done = status == "completed";
        let output = self.words.len() as u64;
        let usage = json!({
            "input_tokens": self.prompt, "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": output, "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": self.prompt + output,
        });
        json!({
            "id": "resp_standin", "object": "response", "created_at": CREATED, "status": status, "error": null,
            "incomplete_details": null, "instructions": null, "metadata": {}, "model": self.model,
            "output": if done { json!([self.item("completed")]) } else { json!([]) },
            "parallel_tool_calls": false, "store": false, "tool_choice": "auto", "tools": [],
            "usage": if done { usage } else { Value::Null },
        })
    }

    /// The one message of a response.
    fn item(&self, status: &str) -> Value {
        let content = if status == "completed" { json!([part(&self.text())]) } else { json!([]) };
        json!({ "id": "msg_standin", "type": "message", "role": "assistant", "status": status, "content": content })
    }

    fn response_events(&self) -> Vec<Bytes> {
        let place =
            |kind: &str| json!({ "type": kind, "item_id": "msg_standin", "output_index": 0, "content_index": 0 });
        let mut events = vec![
            json!({ "type": "response.created", "response": self.response("in_progress") }),
            json!({ "type": "response.output_item.added", "output_index": 0, "item": self.item("in_progress") }),
            with(place("response.content_part.added"), "part", part("")),
        ];
        let delta = |word: &String| {
            let event = with(place("response.output_text.delta"), "delta", json!(word));
            with(event, "logprobs", json!([]))
        };
        events.extend(self.words.iter().map(delta));
        events.extend([
            with(with(place("response.output_text.done"), "text", json!(self.text())), "logprobs", json!([])),
            with(place("response.content_part.done"), "part", part(&self.text())),
            json!({ "type": "response.output_item.done", "output_index": 0, "item": self.item("completed") }),
            json!({ "type": "response.completed", "response": self.response("completed") }),
        ]);
        let numbered = events.into_iter().enumerate();
        let named = numbered.map(|(number, event)| {
            let event = with(event, "sequence_number", json!(number));
            Bytes::from(format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
        });
        named.collect()
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn with(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

fn with_usage(event: Value, usage: Value) -> Value {
    with(event, "usage", usage)
}

/// Events without a name, and the last line that OpenAI's streams have.
fn unnamed(events: &[Value]) -> Vec<Bytes> {
    let frames = events.iter().map(|event| Bytes::from(format!("data: {event}\n\n")));
    frames.chain([Bytes::from_static(b"data: [DONE]\n\n")]).collect()
}
