//! A load generator that prints one line of JSON.
//!
//! - `load open   --rate N`: N requests a second; sending never waits for replies, so a slow proxy cannot slow its own test.
//! - `load closed --connections N`: N connections, each sends again when its reply is complete.
//! - `load hold   --connections N`: opens N streams, a millisecond apart, and keeps them until the time is up.
//!
//! All take `--to HOST:PORT --path PATH --body FILE --seconds S` and any number of `--header 'name: value'`. One thread.
//! A stream that does not end with `[DONE]` and a status other than 2xx are errors.

#![expect(clippy::print_stdout, reason = "the line on standard output is what this tool is for")]

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use bench::events::Events;
use bench::options::Options;
use bench::samples::Samples;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

/// Most requests that an open loop has under way; past it the proxy is so far behind that the run says so.
const MOST_IN_FLIGHT: usize = 4_000;
/// How long one request may take, and how long the last ones are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

type Sender = SendRequest<Full<Bytes>>;
type Failure = Box<dyn Error>;

/// What to send and where, and what came back.
struct Load {
    to: String,
    path: Uri,
    headers: HeaderMap,
    body: Bytes,
    idle: RefCell<Vec<Sender>>,
    seen: RefCell<Seen>,
}

#[derive(Default)]
struct Seen {
    sent: u64,
    ok: u64,
    errors: u64,
    first_error: String,
    connections: u64,
    bytes: u64,
    events: u64,
    latency: Samples,
    first_byte: Samples,
    lag: Samples,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let options = Options::read(std::env::args().skip(1))?;
    let load = Rc::new(Load::new(&options)?);
    let seconds = Duration::from_secs_f64(options.one("seconds")?);
    let started = Instant::now();

    let run = async {
        match options.word() {
            Some("open") => open_loop(&load, options.one("rate")?, seconds).await,
            Some("closed") => closed_loop(&load, options.one("connections")?, seconds).await,
            Some("hold") => hold(&load, options.one("connections")?, seconds).await,
            _ => return Err(Failure::from("the first word is `open`, `closed` or `hold`")),
        }
        Ok(())
    };
    LocalSet::new().run_until(run).await?;

    println!("{}", load.seen.take().json(started.elapsed()));
    Ok(())
}

/// Sends at a fixed rate, whatever comes back.
async fn open_loop(load: &Rc<Load>, rate: f64, seconds: Duration) {
    let count = (rate * seconds.as_secs_f64()) as u64;
    let start = Instant::now() + Duration::from_millis(5);
    let mut running = JoinSet::new();

    for number in 0..count {
        // The timer has steps of a millisecond: latency counts from the wake-up, and `lag` says how late that was.
        let due = start + Duration::from_secs_f64(number as f64 / rate);
        tokio::time::sleep_until(due).await;
        load.seen.borrow_mut().lag.add(due.elapsed());
        while running.try_join_next().is_some() {}
        if running.len() >= MOST_IN_FLIGHT {
            load.failed(&Failure::from("the proxy is 4,000 requests behind"));
            continue;
        }

        let load = Rc::clone(load);
        running.spawn_local(async move { load.call().await });
    }

    let _ = tokio::time::timeout(PATIENCE, async { while running.join_next().await.is_some() {} }).await;
}

/// Keeps a number of connections busy until the time is up.
async fn closed_loop(load: &Rc<Load>, connections: usize, seconds: Duration) {
    let end = Instant::now() + seconds;
    let mut running = JoinSet::new();
    for _ in 0..connections {
        let load = Rc::clone(load);
        running.spawn_local(async move {
            while Instant::now() < end {
                load.call().await;
            }
        });
    }

    while running.join_next().await.is_some() {}
}

/// Opens streams and keeps them; those that end early are errors of the run's set-up and are counted as replies.
async fn hold(load: &Rc<Load>, connections: u32, seconds: Duration) {
    let mut running = JoinSet::new();
    for _ in 0..connections {
        let load = Rc::clone(load);
        running.spawn_local(async move { load.call().await });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    tokio::time::sleep(seconds).await;
    running.abort_all();
    while running.join_next().await.is_some() {}
}

impl Load {
    fn new(options: &Options) -> Result<Self, Failure> {
        let to: String = options.one("to")?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, to.parse()?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for header in options.all("header") {
            let (name, value) = header.split_once(':').ok_or("a header is `name: value`")?;
            headers.insert(name.parse::<HeaderName>()?, value.trim().parse()?);
        }

        Ok(Self {
            to,
            path: options.one("path")?,
            headers,
            body: Bytes::from(std::fs::read(options.one::<String>("body")?)?),
            idle: RefCell::default(),
            seen: RefCell::default(),
        })
    }

    /// One request from its start to the end of its reply; the connection goes back when it can be used again.
    async fn call(&self) {
        let result = tokio::time::timeout(PATIENCE * 3, self.exchange()).await;
        match result {
            Ok(Ok(sender)) => self.idle.borrow_mut().push(sender),
            Ok(Err(error)) => self.failed(&error),
            Err(_) => self.failed(&Failure::from("no end within a minute")),
        }
    }

    async fn exchange(&self) -> Result<Sender, Failure> {
        let started = Instant::now();
        let mut sender = self.connection().await?;
        let mut request = Request::post(self.path.clone()).body(Full::new(self.body.clone()))?;
        request.headers_mut().clone_from(&self.headers);
        self.seen.borrow_mut().sent += 1;

        let reply = sender.send_request(request).await?;
        let status = reply.status();
        let streamed = reply.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event"));
        let mut events = Events::default();
        let mut first = None;
        let mut bytes = 0;
        let mut body = reply.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            first.get_or_insert_with(|| started.elapsed());
            bytes += data.len() as u64;
            if streamed {
                events.push(&data);
            }
        }

        if !status.is_success() {
            return Err(format!("status {status}").into());
        }
        if streamed && !events.is_complete() {
            return Err("a stream ended without [DONE]".into());
        }
        let mut seen = self.seen.borrow_mut();
        seen.ok += 1;
        seen.bytes += bytes;
        seen.events += events.count();
        seen.latency.add(started.elapsed());
        seen.first_byte.add(first.unwrap_or_default());

        Ok(sender)
    }

    /// An idle connection that is still good, or a new one.
    async fn connection(&self) -> Result<Sender, Failure> {
        loop {
            let Some(mut sender) = self.idle.borrow_mut().pop() else { break };
            // A reply's last byte comes a moment before its connection is free.
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }

        #[expect(clippy::disallowed_methods, reason = "a load generator dials what its command line names")]
        let stream = TcpStream::connect(&self.to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        self.seen.borrow_mut().connections += 1;

        Ok(sender)
    }

    fn failed(&self, error: &Failure) {
        let mut seen = self.seen.borrow_mut();
        seen.errors += 1;
        if seen.first_error.is_empty() {
            seen.first_error = error.to_string();
        }
    }
}

impl Seen {
    fn json(self, took: Duration) -> String {
        format!(
            concat!(
                r#"{{"sent":{},"ok":{},"errors":{},"first_error":{:?},"seconds":{:.3},"connections":{},"#,
                r#""bytes":{},"events":{},"latency_us":{},"first_byte_us":{},"lag_us":{}}}"#
            ),
            self.sent,
            self.ok,
            self.errors,
            self.first_error.escape_default().to_string(),
            took.as_secs_f64(),
            self.connections,
            self.bytes,
            self.events,
            self.latency.json(),
            self.first_byte.json(),
            self.lag.json()
        )
    }
}
