//! A mock OpenAI server: `upstream --listen 127.0.0.1:9000`.
//!
//! `GET /ctl?first_byte_ms=&chunks=&delay_ms=` sets how it behaves, `GET /stat` says what it has seen. Any POST is
//! read whole and answered: a body with `"stream":true` gets `chunks` events of 183 bytes that are `delay_ms` apart, the
//! closing chunk, the usage chunk if it was asked for, and `[DONE]`; any other gets one JSON reply of 981 bytes. One thread.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bench::options::Options;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio::time::{Instant, Sleep};

/// Length of the whole reply, in bytes: what OpenAI sends for a hundred words or so.
const REPLY_BYTES: usize = 981;
/// Length of one streamed event, in bytes: what OpenAI sends for one token.
const CHUNK_BYTES: usize = 183;
const DONE: &[u8] = b"data: [DONE]\n\n";

type Reply = Response<Either<Full<Bytes>, Stream>>;

/// How to behave, what was seen, and the bytes to send.
struct Upstream {
    first_byte_ms: Cell<u64>,
    chunks: Cell<u64>,
    delay_ms: Cell<u64>,
    /// How many connections were accepted, those of `/ctl` and `/stat` as well.
    connections: Cell<u64>,
    requests: Cell<u64>,
    body_bytes: Cell<u64>,
    streams: Cell<u64>,
    /// Streams that are being sent now.
    open: Rc<Cell<u64>>,
    reply: Bytes,
    chunk: Bytes,
    last: Bytes,
    usage: Bytes,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read(std::env::args().skip(1))?;
    let listener = TcpListener::bind(options.one::<String>("listen")?).await?;
    let upstream = Rc::new(Upstream::new());

    LocalSet::new().run_until(serve(listener, upstream)).await
}

async fn serve(listener: TcpListener, upstream: Rc<Upstream>) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        add(&upstream.connections, 1);
        let upstream = Rc::clone(&upstream);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| answer(request, Rc::clone(&upstream)));
            // A caller that leaves in the middle is part of the benchmark.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, upstream: Rc<Upstream>) -> Result<Reply, Infallible> {
    if request.method() == Method::GET {
        return Ok(upstream.control(&request));
    }
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    add(&upstream.requests, 1);
    add(&upstream.body_bytes, body.len() as u64);

    if upstream.first_byte_ms.get() > 0 {
        tokio::time::sleep(Duration::from_millis(upstream.first_byte_ms.get())).await;
    }
    if !mentions(&body, br#""stream":true"#) {
        return Ok(reply("application/json", Either::Left(Full::new(upstream.reply.clone()))));
    }
    add(&upstream.streams, 1);

    Ok(reply("text/event-stream", Either::Right(upstream.stream(&body))))
}

impl Upstream {
    fn new() -> Self {
        Self {
            first_byte_ms: Cell::new(0),
            chunks: Cell::new(100),
            delay_ms: Cell::new(0),
            connections: Cell::new(0),
            requests: Cell::new(0),
            body_bytes: Cell::new(0),
            streams: Cell::new(0),
            open: Rc::default(),
            reply: sized(REPLY_BYTES, whole_reply),
            chunk: sized(CHUNK_BYTES, |text| event(&delta(text))),
            last: event(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#).into(),
            usage: event(&format!(r#""choices":[],{USAGE}"#)).into(),
        }
    }

    /// Sets the behaviour, or tells what was seen.
    fn control(&self, request: &Request<Incoming>) -> Reply {
        let query = request.uri().query().unwrap_or_default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let setting = match name {
                "first_byte_ms" => &self.first_byte_ms,
                "chunks" => &self.chunks,
                "delay_ms" => &self.delay_ms,
                _ => continue,
            };
            setting.set(value.parse().unwrap_or_else(|_| setting.get()));
        }

        let text = format!(
            r#"{{"connections":{},"requests":{},"streams":{},"open":{},"body_bytes":{}}}"#,
            self.connections.get(),
            self.requests.get(),
            self.streams.get(),
            self.open.get(),
            self.body_bytes.get()
        );
        reply("application/json", Either::Left(Full::new(Bytes::from(text))))
    }

    fn stream(&self, body: &[u8]) -> Stream {
        let mut tail = vec![Bytes::from_static(DONE)];
        if mentions(body, br#""include_usage":true"#) {
            tail.push(self.usage.clone());
        }
        tail.push(self.last.clone());
        add(&self.open, 1);

        Stream {
            chunk: self.chunk.clone(),
            left: self.chunks.get(),
            delay: Duration::from_millis(self.delay_ms.get()),
            tail,
            timer: None,
            open: Rc::clone(&self.open),
        }
    }
}

/// The body of a streamed reply.
struct Stream {
    chunk: Bytes,
    left: u64,
    delay: Duration,
    /// What follows the chunks, last first.
    tail: Vec<Bytes>,
    timer: Option<Pin<Box<Sleep>>>,
    open: Rc<Cell<u64>>,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(self.tail.pop().map(|event| Ok(Frame::data(event))));
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
        }

        self.left -= 1;
        if !self.delay.is_zero() {
            let next = Instant::now() + self.delay;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(next),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(next))),
            }
        }

        Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

const HEAD: &str = r#""id":"chatcmpl-bench","created":1764000000,"model":"bench-model""#;
const USAGE: &str = r#""usage":{"prompt_tokens":100,"completion_tokens":100,"total_tokens":200}"#;

fn whole_reply(text: &str) -> String {
    format!(
        r#"{{{HEAD},"object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],{USAGE}}}"#
    )
}

fn event(fields: &str) -> String {
    format!("data: {{{HEAD},\"object\":\"chat.completion.chunk\",{fields}}}\n\n")
}

fn delta(text: &str) -> String {
    format!(r#""choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]"#)
}

/// What `make` gives for a text that brings it to `bytes` bytes.
fn sized(bytes: usize, make: impl Fn(&str) -> String) -> Bytes {
    let text = "a word and ".chars().cycle().take(bytes.saturating_sub(make("").len())).collect::<String>();
    make(&text).into()
}

fn reply(content_type: &str, body: Either<Full<Bytes>, Stream>) -> Reply {
    let mut reply = Response::new(body);
    if let Ok(value) = content_type.parse() {
        reply.headers_mut().insert(hyper::header::CONTENT_TYPE, value);
    }
    reply
}

/// Looks at both ends only: a body of a megabyte is an image in the middle, and the fields stand around it.
fn mentions(body: &[u8], field: &[u8]) -> bool {
    let end = 4096.min(body.len());
    let (head, tail) = (body.get(..end), body.get(body.len() - end..));
    [head, tail].into_iter().flatten().any(|part| part.windows(field.len()).any(|window| window == field))
}

fn add(counter: &Cell<u64>, count: u64) {
    counter.set(counter.get() + count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_and_a_chunk_have_the_stated_length() {
        let upstream = Upstream::new();

        assert_eq!(upstream.reply.len(), REPLY_BYTES);
        assert_eq!(upstream.chunk.len(), CHUNK_BYTES);
    }

    #[test]
    fn fields_are_seen_at_both_ends_of_a_large_body() {
        let mut body = vec![b'x'; 100_000];
        assert!(!mentions(&body, b"abc"));
        body.extend_from_slice(b"abc");

        assert!(mentions(&body, b"abc"));
        assert!(mentions(b"abc", b"abc"));
        assert!(!mentions(b"", b"abc"));
    }

    #[tokio::test]
    async fn a_stream_has_its_chunks_a_closing_one_and_the_usage_when_it_was_asked_for() {
        let upstream = Upstream::new();
        upstream.chunks.set(3);

        let plain = upstream.stream(b"{}").collect().await.unwrap().to_bytes();
        let asked = upstream.stream(br#"{"include_usage":true}"#).collect().await.unwrap().to_bytes();

        let count = |bytes: &[u8]| bytes.windows(2).filter(|pair| pair == b"\n\n").count();
        assert_eq!(count(&plain), 5);
        assert_eq!(count(&asked), 6);
        assert!(asked.ends_with(DONE));
        assert_eq!(upstream.open.get(), 0);
    }
}
