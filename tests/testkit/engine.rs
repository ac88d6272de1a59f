//! A stand-in for an inference server that reads prompts one after another, at a given rate.
//!
//! When a prompt will have been read is counted and not measured: the queue is exact on a machine that stalls, and only the
//! moment at which the answer goes out is late.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bodies::{DONE, chunk, completion, event, finish};
use super::script::Act;

/// The queue of one server.
#[derive(Debug)]
pub(crate) struct Engine {
    tokens_per_second: f64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// When each prompt came, when it was begun, when it was read, and its tokens.
    prompts: Vec<Prompt>,
}

#[derive(Clone, Copy, Debug)]
struct Prompt {
    came: Instant,
    begun: Instant,
    read: Instant,
    tokens: u64,
}

impl Engine {
    pub(crate) fn new(tokens_per_second: u32) -> Self {
        Self { tokens_per_second: tokens_per_second.into(), queue: Mutex::default() }
    }

    /// Takes a prompt; gives the moment at which it will have been read, and the answer.
    pub(crate) fn take(&self, asked: &Value, name: &str) -> (Instant, Act) {
        let tokens = tokens_of(asked);
        let now = Instant::now();
        let mut queue = self.queue.lock().expect("no test panics while it holds the queue");
        let begun = queue.prompts.last().map_or(now, |before| before.read.max(now));
        let read = begun + Duration::from_secs_f64(tokens as f64 / self.tokens_per_second);
        queue.prompts.push(Prompt { came: now, begun, read, tokens });
        (read, answer(asked, tokens, name))
    }

    /// How long each prompt took from its arrival until it was read, in the order of arrival.
    pub(crate) fn took(&self) -> Vec<Duration> {
        self.prompts().iter().map(|prompt| prompt.read - prompt.came).collect()
    }

    /// Prompt tokens that came.
    pub(crate) fn tokens(&self) -> u64 {
        self.prompts().iter().map(|prompt| prompt.tokens).sum()
    }

    /// What llama.cpp would say of this queue on its page.
    pub(crate) fn page(&self) -> String {
        let (now, prompts) = (Instant::now(), self.prompts());
        let waiting = prompts.iter().filter(|prompt| prompt.begun > now).count();
        let reading = prompts.iter().filter(|prompt| prompt.begun <= now && prompt.read > now).count();
        let read: u64 = prompts.iter().filter(|prompt| prompt.read <= now).map(|prompt| prompt.tokens).sum();
        format!(
            "llamacpp:prompt_tokens_total {read}\nllamacpp:requests_processing {reading}\n\
             llamacpp:requests_deferred {waiting}\n"
        )
    }

    fn prompts(&self) -> Vec<Prompt> {
        self.queue.lock().expect("no test panics while it holds the queue").prompts.clone()
    }
}

/// Four bytes a token, which is what the gateway takes a text for before it has learnt better.
fn tokens_of(asked: &Value) -> u64 {
    let text = asked["messages"][0]["content"].as_str().unwrap_or_default();
    (text.len() as u64 / 4).max(1)
}

fn answer(asked: &Value, tokens: u64, name: &str) -> Act {
    let usage = json!({"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1});
    if asked["stream"] != true {
        let mut whole = completion(name);
        whole["usage"] = usage;
        return Act::reply(200, &whole);
    }
    let last = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "served",
                      "choices": [], "usage": usage});
    Act::stream([chunk(name), finish(), event(&last), DONE.to_owned()])
}
