//! A stand-in model server in this process: OpenAI's wire format, a first token that takes its time, usage, quotas.
//!
//! It is for the demonstration only. It holds no model: its answer says who answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Sleep;

/// What a stand-in pretends to be.
pub(super) struct StandIn {
    /// Its name, which its answers repeat.
    pub(super) name: &'static str,
    /// The path below which it serves: `/v1`, or `/openai/v1` for an Azure-style endpoint.
    pub(super) base: &'static str,
    /// The `api-key` that it demands; a local server demands none.
    pub(super) key: Option<String>,
    /// Time to the first token.
    pub(super) first_token: Duration,
    /// Time from one token to the next.
    pub(super) per_token: Duration,
    /// Tokens per minute before it answers 429.
    pub(super) quota: u64,
    /// Answers 503 to everything.
    pub(super) failing: AtomicBool,
    spent: Mutex<Spent>,
}

/// Tokens used in the running minute.
struct Spent {
    since: Instant,
    tokens: u64,
}

impl StandIn {
    /// A stand-in of this name below this path, healthy and with a wide quota.
    pub(super) fn new(name: &'static str, base: &'static str, first_token_ms: u64, per_token_ms: u64) -> Self {
        Self {
            name,
            base,
            key: None,
            first_token: Duration::from_millis(first_token_ms),
            per_token: Duration::from_millis(per_token_ms),
            quota: 100_000,
            failing: AtomicBool::new(false),
            spent: Mutex::new(Spent { since: Instant::now(), tokens: 0 }),
        }
    }

    /// Serves on a port of its own on loopback.
    pub(super) async fn start(self) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let stand_in = Arc::new(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let stand_in = Arc::clone(&stand_in);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let stand_in = Arc::clone(&stand_in);
                        async move { Ok::<_, Infallible>(stand_in.answer(request).await) }
                    });
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(address)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        if self.failing.load(Ordering::Relaxed) {
            return error(StatusCode::SERVICE_UNAVAILABLE, "the stand-in was told to fail", "server_error", None);
        }
        if let Some(refused) = self.refuse_credential(request.headers()) {
            return refused;
        }
        let path = request.uri().path().to_owned();
        let Some(api) = path.strip_prefix(self.base) else {
            return error(StatusCode::NOT_FOUND, "no such path", "invalid_request_error", None);
        };
        if request.method() != Method::POST {
            return error(StatusCode::METHOD_NOT_ALLOWED, "POST only", "invalid_request_error", None);
        }
        let api = api.to_owned();
        let Ok(body) = request.into_body().collect().await else {
            return error(StatusCode::BAD_REQUEST, "the body broke off", "invalid_request_error", None);
        };
        let body = body.to_bytes();
        let Ok(call) = serde_json::from_slice::<Value>(&body) else {
            return error(StatusCode::BAD_REQUEST, "the body is not JSON", "invalid_request_error", None);
        };
        let prompt = (body.len() as u64 / 4).max(1);
        if let Some(refused) = self.charge(prompt + WORDS.len() as u64).await {
            return refused;
        }
        match api.as_str() {
            "/chat/completions" => self.chat(&call, prompt).await,
            "/embeddings" => self.embed(&call, prompt).await,
            _ => error(StatusCode::NOT_FOUND, "the stand-in serves chat and embeddings", "invalid_request_error", None),
        }
    }

    fn refuse_credential(&self, headers: &HeaderMap) -> Option<Response<Reply>> {
        let key = self.key.as_ref()?;
        let given = headers.get("api-key").and_then(|value| value.to_str().ok());
        (given != Some(key))
            .then(|| error(StatusCode::UNAUTHORIZED, "wrong or missing api-key", "invalid_request_error", None))
    }

    /// Takes from the minute's quota, or says when the next minute begins.
    async fn charge(&self, tokens: u64) -> Option<Response<Reply>> {
        let mut spent = self.spent.lock().await;
        if spent.since.elapsed() >= MINUTE {
            *spent = Spent { since: Instant::now(), tokens: 0 };
        }
        if spent.tokens + tokens > self.quota {
            let wait = MINUTE.saturating_sub(spent.since.elapsed());
            return Some(error(StatusCode::TOO_MANY_REQUESTS, "token quota used up", "rate_limit_error", Some(wait)));
        }
        spent.tokens += tokens;
        None
    }

    async fn chat(&self, call: &Value, prompt: u64) -> Response<Reply> {
        let model = call["model"].as_str().unwrap_or_default().to_owned();
        let words: Vec<String> = WORDS.iter().map(|word| word.replace("NAME", self.name)).collect();
        let usage = json!({ "prompt_tokens": prompt, "completion_tokens": words.len(), "total_tokens": prompt + words.len() as u64 });
        tokio::time::sleep(self.first_token).await;
        if call["stream"] == json!(true) {
            return self.stream(&model, &words, &usage, call["stream_options"]["include_usage"] == json!(true));
        }
        tokio::time::sleep(self.per_token * words.len() as u32).await;
        let reply = json!({
            "id": "chatcmpl-standin", "object": "chat.completion", "created": 1_700_000_000, "model": model,
            "choices": [{ "index": 0, "finish_reason": "stop",
                          "message": { "role": "assistant", "content": words.concat() } }],
            "usage": usage,
        });
        whole(StatusCode::OK, &reply)
    }

    fn stream(&self, model: &str, words: &[String], usage: &Value, with_usage: bool) -> Response<Reply> {
        let chunk = |delta: Value, finish: Value| {
            json!({ "id": "chatcmpl-standin", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model,
                    "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
        };
        let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
        events.extend(words.iter().map(|word| chunk(json!({ "content": word }), Value::Null)));
        events.push(chunk(json!({}), json!("stop")));
        if with_usage {
            let mut last = chunk(json!({}), Value::Null);
            last["choices"] = json!([]);
            last["usage"] = usage.clone();
            events.push(last);
        }
        let mut frames: Vec<Bytes> = events.iter().map(|event| Bytes::from(format!("data: {event}\n\n"))).collect();
        frames.push(Bytes::from_static(b"data: [DONE]\n\n"));
        frames.reverse();
        let mut response = Response::new(Reply::Events { left: frames, pause: None, every: self.per_token });
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response
    }

    async fn embed(&self, call: &Value, prompt: u64) -> Response<Reply> {
        tokio::time::sleep(self.first_token / 4).await;
        let inputs = call["input"].as_array().map_or(1, Vec::len);
        let data: Vec<Value> = (0..inputs)
            .map(|index| json!({ "object": "embedding", "index": index, "embedding": [0.1, 0.2, 0.3] }))
            .collect();
        whole(
            StatusCode::OK,
            &json!({ "object": "list", "data": data, "model": call["model"],
                     "usage": { "prompt_tokens": prompt, "total_tokens": prompt } }),
        )
    }
}

const MINUTE: Duration = Duration::from_secs(60);

const WORDS: &[&str] = &[
    "This",
    " answer",
    " comes",
    " from",
    " the",
    " stand-in",
    " `NAME`",
    ";",
    " no",
    " model",
    " ran",
    ",",
    " and",
    " the",
    " record",
    " of",
    " this",
    " decision",
    " says",
    " why",
    " it",
    " was",
    " chosen",
    ".",
];

/// A whole body, or events with a pause between.
enum Reply {
    Whole(Option<Bytes>),
    Events { left: Vec<Bytes>, pause: Option<Pin<Box<Sleep>>>, every: Duration },
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events { left, pause, every } => {
                if let Some(sleep) = pause {
                    if sleep.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                *pause = Some(Box::pin(tokio::time::sleep(*every)));
                Poll::Ready(left.pop().map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }
}

fn whole(status: StatusCode, body: &Value) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(Some(Bytes::from(body.to_string()))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn error(status: StatusCode, message: &str, kind: &str, retry_after: Option<Duration>) -> Response<Reply> {
    let code = status.as_u16().to_string();
    let mut response =
        whole(status, &json!({ "error": { "message": message, "type": kind, "code": code, "param": null } }));
    if let Some(wait) = retry_after {
        let ms = wait.as_millis().max(1) as u64;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        response.headers_mut().insert("retry-after-ms", HeaderValue::from(ms));
    }
    response
}
