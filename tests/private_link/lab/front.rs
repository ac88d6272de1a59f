//! Servers of the lab: the service behind its private endpoint, its public front, another customer's resource, a GPU.
//!
//! Each speaks real TLS and enough HTTP/1.1 for the gateway's requests, and counts what reached it. How it behaves can be
//! changed while it runs, from the next connection or request on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::Space;

/// How a front answers requests.
#[derive(Clone, Debug, Default)]
pub(crate) enum Manner {
    /// As the service does.
    #[default]
    Serves,
    /// With this status and body, whatever is asked.
    Says(u16, String),
    /// Streams one event, waits for [`Front::go_on`], and streams the rest.
    Pauses,
    /// As the service does, with a clock that is wrong by this many seconds.
    HasClockAhead(i64),
}

/// How a front opens a connection.
#[derive(Clone, Default)]
pub(crate) enum Greeting {
    /// In plain HTTP.
    #[default]
    Plain,
    /// With this TLS configuration.
    Tls(Arc<rustls::ServerConfig>),
}

/// A server at an address, for as long as its space lives.
pub(crate) struct Front {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    greeting: Mutex<Greeting>,
    manner: Mutex<Manner>,
    connections: AtomicUsize,
    posts: AtomicUsize,
    go_on: Notify,
}

/// What Azure's public front says once public access is disabled.
pub(crate) const REFUSAL: &str =
    r#"{"error":{"code":"403","message":"Public access is disabled. Please configure private endpoint."}}"#;

impl Front {
    pub(crate) fn at(space: &Space, name: &'static str, addresses: &[SocketAddr], greeting: Greeting) -> Self {
        let shared = Arc::new(Shared {
            name,
            greeting: Mutex::new(greeting),
            manner: Mutex::default(),
            connections: AtomicUsize::new(0),
            posts: AtomicUsize::new(0),
            go_on: Notify::new(),
        });
        for address in addresses.iter().copied() {
            let shared = Arc::clone(&shared);
            let listener = space.block_on(async move { TcpListener::bind(address).await });
            let listener = listener.unwrap_or_else(|error| unreachable!("{name} cannot listen on {address}: {error}"));
            space.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(Arc::clone(&shared).greet(stream));
                }
            });
        }
        Self { shared }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().expect("nobody panics while it is held") = manner;
    }

    pub(crate) fn greet_with(&self, greeting: Greeting) {
        *self.shared.greeting.lock().expect("nobody panics while it is held") = greeting;
    }

    /// Lets a paused stream go on.
    pub(crate) fn go_on(&self) {
        self.shared.go_on.notify_waiters();
    }

    /// How many requests with a body came so far: callers' content.
    pub(crate) fn posts(&self) -> usize {
        self.shared.posts.load(Ordering::SeqCst)
    }

    /// How many connections were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn greet(self: Arc<Self>, stream: TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let greeting = self.greeting.lock().expect("nobody panics while it is held").clone();
        match greeting {
            Greeting::Plain => self.serve(stream).await,
            Greeting::Tls(config) => {
                // A caller that does not like the certificate leaves here.
                if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                    self.serve(stream).await;
                }
            }
        }
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut unread = Vec::new();
        while let Some((is_post, body)) = read_request(&mut stream, &mut unread).await {
            if is_post {
                self.posts.fetch_add(1, Ordering::SeqCst);
            }
            let manner = self.manner.lock().expect("nobody panics while it is held").clone();
            let answered = match manner {
                Manner::Says(status, text) => stream.write_all(&whole(status, &text, 0)).await,
                Manner::Pauses if is_post => self.pause(&mut stream).await,
                Manner::HasClockAhead(seconds) => stream.write_all(&self.usual(is_post, seconds)).await,
                Manner::Serves | Manner::Pauses if body.contains("\"stream\":true") => {
                    let all = [STREAM_HEAD, FIRST_EVENT, LAST_EVENTS].concat();
                    stream.write_all(all.as_bytes()).await
                }
                Manner::Serves | Manner::Pauses => stream.write_all(&self.usual(is_post, 0)).await,
            };
            if answered.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }

    fn usual(&self, is_post: bool, clock_ahead: i64) -> Vec<u8> {
        if !is_post {
            let text = r#"{"error":{"code":"404","message":"Resource not found"}}"#;
            return whole(404, text, clock_ahead);
        }
        let text = format!(
            r#"{{"id":"1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{{"index":0,"finish_reason":"stop","message":{{"role":"assistant","content":"answered by {}"}}}}],"usage":{{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}}}"#,
            self.name
        );
        whole(200, &text, clock_ahead)
    }

    async fn pause(&self, stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let gate = self.go_on.notified();
        stream.write_all([STREAM_HEAD, FIRST_EVENT].concat().as_bytes()).await?;
        stream.flush().await?;
        gate.await;
        stream.write_all(LAST_EVENTS.as_bytes()).await
    }
}

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n";
const FIRST_EVENT: &str = concat!(
    "80\r\n",
    r#"data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":[{"index":0,"delta":{"content":"one"}}]}"#,
    "\r\n2\r\n\n\n\r\n"
);
const LAST_EVENTS: &str = concat!(
    "80\r\n",
    r#"data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":[{"index":0,"delta":{"content":"two"}}]}"#,
    "\r\n2\r\n\n\n\r\n",
    "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
);

fn whole(status: u16, text: &str, clock_ahead: i64) -> Vec<u8> {
    let shift = Duration::from_secs(clock_ahead.unsigned_abs());
    let now = SystemTime::now();
    let date = httpdate::fmt_http_date(if clock_ahead < 0 { now - shift } else { now + shift });
    format!(
        "HTTP/1.1 {status} Lab\r\ncontent-type: application/json\r\ndate: {date}\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

/// Whether it has a body that a caller may have written, and that body; none at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin), unread: &mut Vec<u8>) -> Option<(bool, String)> {
    let end = loop {
        // TLS where none is spoken: a server of plain HTTP has no more to say.
        if unread.first() == Some(&0x16) {
            return None;
        }
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&unread[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    while unread.len() < end + length {
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
    let request: Vec<u8> = unread.drain(..end + length).collect();
    let body: String = String::from_utf8_lossy(&request[end..]).into_owned();
    Some((head.starts_with("post "), body.replace(": ", ":")))
}
