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

use super::answers::{self, Answer, Api};

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
    /// The region that its answers name, as Azure's do in `x-ms-region`; a local server names none.
    pub(super) region: Option<&'static str>,
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

const MINUTE: Duration = Duration::from_secs(60);

impl StandIn {
    /// A stand-in of this name below this path, healthy and with a wide quota.
    pub(super) fn new(name: &'static str, base: &'static str, first_token_ms: u64, per_token_ms: u64) -> Self {
        Self {
            name,
            base,
            key: None,
            first_token: Duration::from_millis(first_token_ms),
            per_token: Duration::from_millis(per_token_ms),
            region: None,
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
        let Some(api) = request.uri().path().strip_prefix(self.base).and_then(Api::at) else {
            let served = "the stand-in serves chat, completions, responses and embeddings";
            return error(StatusCode::NOT_FOUND, served, "invalid_request_error", None);
        };
        if request.method() != Method::POST {
            return error(StatusCode::METHOD_NOT_ALLOWED, "POST only", "invalid_request_error", None);
        }
        let Ok(body) = request.into_body().collect().await else {
            return error(StatusCode::BAD_REQUEST, "the body broke off", "invalid_request_error", None);
        };
        let body = body.to_bytes();
        let Ok(call) = serde_json::from_slice::<Value>(&body) else {
            return error(StatusCode::BAD_REQUEST, "the body is not JSON", "invalid_request_error", None);
        };
        let prompt = (body.len() as u64 / 4).max(1);
        let answer = answers::answer(api, self.name, &call, prompt);
        if let Some(refused) = self.charge(prompt + answer.tokens).await {
            return refused;
        }
        let mut response = self.speak(answer).await;
        if let Some(region) = self.region {
            response.headers_mut().insert("x-ms-region", HeaderValue::from_static(region));
        }
        response
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

    /// Gives the answer at the pace of a model: a wait before the first token, and one for each after it.
    async fn speak(&self, answer: Answer) -> Response<Reply> {
        tokio::time::sleep(self.first_token).await;
        if let Some(mut events) = answer.events {
            events.reverse();
            let mut response = Response::new(Reply::Events { left: events, pause: None, every: self.per_token });
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            return response;
        }
        tokio::time::sleep(self.per_token * u32::try_from(answer.tokens).unwrap_or(0)).await;
        whole(StatusCode::OK, &answer.whole)
    }
}

/// A whole body, or events with a pause between.
enum Reply {
    Whole(Option<Bytes>),
    /// The last one first.
    Events {
        left: Vec<Bytes>,
        pause: Option<Pin<Box<Sleep>>>,
        every: Duration,
    },
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events { left, pause, every } => {
                if let Some(sleep) = pause
                    && sleep.as_mut().poll(cx).is_pending()
                {
                    return Poll::Pending;
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
