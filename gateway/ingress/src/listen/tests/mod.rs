//! One connection over an in-memory pipe, with a paused clock where time matters.

mod certificates;
mod drain;
mod http;
mod limits;
mod tls;
mod unreadable;
mod wakes;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Channel, Empty, Full, channel};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Door, Drain, Handler, Incoming, ListenSettings, ServeError, serve};
use super::{DrainSwitch, drain as new_drain};
use crate::body::{self, BodyBudget, BodyError, BodyLimits};

type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// The answering end of a stream that a test drives.
type Events = channel::Sender<Bytes, Infallible>;

/// Answers by path, and tells the test what happens.
struct Answers {
    streams: mpsc::UnboundedSender<Events>,
    asked: mpsc::UnboundedSender<()>,
    gone: mpsc::UnboundedSender<()>,
}

/// Tells the test that it was dropped.
struct Tell(mpsc::UnboundedSender<()>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Handler for Answers {
    type Body = AnswerBody;

    async fn handle(self: Arc<Self>, incoming: Incoming) -> Response<AnswerBody> {
        match incoming.head.uri.path() {
            "/who" => Response::new(whole(format!("{:?}", incoming.peer))),
            "/echo" => echo(incoming).await,
            "/stream" => {
                let (events, body) = Channel::new(16);
                self.streams.send(events).unwrap();
                Response::new(body.boxed_unsync())
            }
            "/never" => {
                let _tell = Tell(self.gone.clone());
                self.asked.send(()).unwrap();
                std::future::pending().await
            }
            "/large" => Response::new(whole(vec![b'x'; 8 << 20])),
            _ => Response::new(whole("hello")),
        }
    }
}

async fn echo(incoming: Incoming) -> Response<AnswerBody> {
    let headers = incoming.head.headers;
    let (limits, budget) = (BodyLimits::default(), BodyBudget::default());
    let mut response = Response::new(whole(""));
    match body::read(incoming.body, &headers, &limits, &budget).await {
        Ok(read) => *response.body_mut() = whole(read.into_parts().0),
        Err(BodyError::Slow { .. }) => *response.status_mut() = StatusCode::REQUEST_TIMEOUT,
        Err(BodyError::TooLarge { .. }) => *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE,
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

fn whole(bytes: impl Into<Bytes>) -> AnswerBody {
    Full::new(bytes.into()).boxed_unsync()
}

/// A listener, and what a test may know of it.
struct World {
    door: Arc<Door>,
    answers: Arc<Answers>,
    streams: mpsc::UnboundedReceiver<Events>,
    asked: mpsc::UnboundedReceiver<()>,
    gone: mpsc::UnboundedReceiver<()>,
    switch: DrainSwitch,
    drain: Drain,
}

type Served = JoinHandle<Result<(), ServeError>>;

impl World {
    fn plain() -> Self {
        Self::with(Door::new(ListenSettings::default(), None))
    }

    fn with(door: Door) -> Self {
        let (stream_sender, streams) = mpsc::unbounded_channel();
        let (asked_sender, asked) = mpsc::unbounded_channel();
        let (gone_sender, gone) = mpsc::unbounded_channel();
        let (switch, drain) = new_drain();
        let answers = Answers { streams: stream_sender, asked: asked_sender, gone: gone_sender };
        Self { door: Arc::new(door), answers: Arc::new(answers), streams, asked, gone, switch, drain }
    }

    fn serve<I>(&self, io: I, sender: &str) -> Served
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let sender: SocketAddr = sender.parse().unwrap();
        let (door, drain) = (Arc::clone(&self.door), self.drain.clone());
        let answers = Arc::clone(&self.answers);
        tokio::spawn(async move { serve(io, sender, &door, answers, drain).await })
    }

    /// A connection from a caller at `192.0.2.9`.
    fn connect(&self) -> (DuplexStream, Served) {
        self.connect_from("192.0.2.9:50000")
    }

    fn connect_from(&self, sender: &str) -> (DuplexStream, Served) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        (near, self.serve(far, sender))
    }
}

/// Sends `text` and reads what comes until the connection ends.
async fn exchange<I: AsyncRead + AsyncWrite + Unpin>(io: &mut I, text: &str) -> String {
    io.write_all(text.as_bytes()).await.unwrap();
    read_to_end(io).await
}

async fn read_to_end<I: AsyncRead + Unpin>(io: &mut I) -> String {
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads until `end` has come.
async fn read_until<I: AsyncRead + Unpin>(io: &mut I, end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        answer.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

type Requests = http2::SendRequest<Full<Bytes>>;

/// An HTTP/2 client over `io`, whose connection runs on its own.
async fn http2_over<I>(io: I) -> (Requests, JoinHandle<hyper::Result<()>>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let builder = builder.timer(TokioTimer::new());
    let (requests, connection) = builder.handshake(TokioIo::new(io)).await.unwrap();
    (requests, tokio::spawn(connection))
}

async fn http1_over<I>(io: I) -> http1::SendRequest<Empty<Bytes>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (requests, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    requests
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://gateway.example{path}")).body(Full::default()).unwrap()
}

async fn text_of(response: Response<hyper::body::Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
