//! One HTTP connection: the handshake, what drives it, and the lease under which a request uses it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::alarm::Alarm;
use crate::body::UpstreamBody;
use crate::connect::{ConnectionProof, Protocol, Stream};
use crate::error::ExchangeError;
use crate::http1;

/// A dead HTTP/2 connection behind a load balancer swallows new requests without a word; a ping while requests are open
/// finds it. Faster pings are answered with GOAWAY by some servers.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// What one slow reader may leave waiting here, and all of them on one connection.
const WINDOWS: (u32, u32) = (256 * 1024, 16 * 1024 * 1024);

/// One connection counted against `pool.max_connections`; given back when it is dropped.
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// Takes a slot unless all are taken.
    pub(crate) fn take(open: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |open: usize| (open < most).then_some(open + 1);
        open.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Self(Arc::clone(open)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What both kinds of connection have.
pub(crate) struct Facts {
    pub(crate) proof: Arc<ConnectionProof>,
    /// When it gets no further request.
    pub(crate) expires: Instant,
    /// Held for its drop alone.
    pub(crate) _slot: Slot,
}

/// An HTTP/1.1 connection. Whoever holds the box is its only user, and drives it.
pub(crate) struct H1 {
    connection: http1::Connection<Stream>,
    pub(crate) facts: Facts,
    /// How long it may lie idle: the pool's limit, or less if the server said so.
    pub(crate) idle_time: Duration,
    /// Watches for replies that do not begin. It stays armed from request to request and is moved only when it fires:
    /// hardly any request touches the timer wheel.
    timer: Option<Alarm>,
}

/// An HTTP/2 connection that requests share.
pub(crate) struct H2 {
    sender: http2::SendRequest<UpstreamBody>,
    pub(crate) facts: Facts,
    streams: AtomicUsize,
    most_streams: MostStreams,
}

/// Asks the connection how many streams the server allows now; it says so only some time after the handshake.
type MostStreams = Box<dyn Fn() -> usize + Send + Sync>;

/// The right to send one request over a connection.
pub(crate) enum Lease {
    H1(Box<H1>),
    H2(H2Stream),
}

/// The body of a reply, which is read through the lease that it came by.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// It lies in the connection.
    Http1,
    /// It has a stream of its own.
    Http2(hyper::body::Incoming),
}

/// The head of a reply, and its body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
}

/// Why there is no reply.
pub(crate) struct NoAnswer {
    pub(crate) error: ExchangeError,
    /// The request, where nothing of it was written.
    pub(crate) given_back: Option<Box<Request<UpstreamBody>>>,
}

/// One stream's place on a shared connection; given back when it is dropped.
pub(crate) struct H2Stream(Arc<H2>);

impl Drop for H2Stream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Speaks the protocol that the connection agreed on.
pub(crate) async fn establish(stream: Stream, facts: Facts, idle_time: Duration) -> Result<Lease, ExchangeError> {
    match facts.proof.protocol {
        Protocol::Http1 => {
            let connection = http1::Connection::new(stream, facts.proof.tls.is_some());
            Ok(Lease::H1(Box::new(H1 { connection, facts, idle_time, timer: None })))
        }
        Protocol::Http2 => {
            let (sender, most_streams) = http2_over(stream).await?;
            // This lease is the first stream.
            let streams = AtomicUsize::new(1);
            Ok(Lease::H2(H2Stream(Arc::new(H2 { sender, facts, streams, most_streams }))))
        }
    }
}

async fn http2_over(io: Stream) -> hyper::Result<(http2::SendRequest<UpstreamBody>, MostStreams)> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1);
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
    let connection = Arc::new(Mutex::new(Some(connection)));
    let asked = Arc::clone(&connection);
    tokio::spawn(async move {
        let ended = poll_fn(|context| {
            let mut connection = connection.lock();
            let Some(running) = connection.as_mut() else { return Poll::Ready(Ok(())) };
            let result = ready!(Pin::new(running).poll(context));
            // What it holds must go now: senders learn from it that the connection is closed.
            *connection = None;
            Poll::Ready(result)
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "an upstream connection ended with an error");
        }
    });
    let most_streams = move || asked.lock().as_ref().map_or(0, |connection| connection.current_max_send_streams());
    Ok((sender, Box::new(most_streams)))
}

impl H1 {
    /// Whether it takes another request, by all that is known now.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.connection.is_ready()
    }

    /// Whether its last reply left it ready; that its server closed it since is found out when it is looked at.
    pub(crate) fn may_be_kept(&self) -> bool {
        self.connection.may_be_kept()
    }
}

impl H2 {
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Acquire)
    }

    /// A place on this connection, if the server allows one more stream.
    pub(crate) fn join(self: &Arc<Self>) -> Option<H2Stream> {
        let most = (self.most_streams)();
        let more = |streams: usize| (streams < most).then_some(streams + 1);
        self.streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(H2Stream(Arc::clone(self)))
    }
}

impl H2Stream {
    pub(crate) fn connection(&self) -> &Arc<H2> {
        &self.0
    }
}

impl Lease {
    pub(crate) fn facts(&self) -> &Facts {
        match self {
            Self::H1(connection) => &connection.facts,
            Self::H2(stream) => &stream.0.facts,
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::H1(_) => Protocol::Http1,
            Self::H2(_) => Protocol::Http2,
        }
    }

    /// The next piece of a reply that came over it. Only this reads the socket of an HTTP/1.1 connection.
    pub(crate) fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        match (self, incoming) {
            (Self::H1(held), _) => {
                let piece = ready!(held.connection.poll_body(context));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(ExchangeError::Http1)))
            }
            (Self::H2(_), Incoming::Http2(body)) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(ExchangeError::Http2)))
            }
            (Self::H2(_), Incoming::Http1) => Poll::Ready(None),
        }
    }

    /// Whether nothing more of the reply will come.
    pub(crate) fn is_over(&self, incoming: &Incoming) -> bool {
        match (self, incoming) {
            (Self::H1(held), _) => held.connection.is_over(),
            (Self::H2(_), Incoming::Http2(body)) => body.is_end_stream(),
            (Self::H2(_), Incoming::Http1) => true,
        }
    }

    /// How many bytes of the reply will come, as far as it says.
    pub(crate) fn size_hint(&self, incoming: &Incoming) -> SizeHint {
        match (self, incoming) {
            (Self::H1(held), _) => held.connection.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            (Self::H2(_), Incoming::Http2(body)) => body.size_hint(),
            (Self::H2(_), Incoming::Http1) => SizeHint::with_exact(0),
        }
    }

    /// Sends the request and waits for the head of its reply, at most until `due`: then it gives nothing.
    pub(crate) async fn try_send(
        &mut self,
        request: Request<UpstreamBody>,
        due: Instant,
    ) -> Option<Result<Answer, NoAnswer>> {
        match self {
            Self::H1(held) => {
                let H1 { connection, timer, .. } = &mut **held;
                connection.ask(&request);
                let answered = poll_fn(|context| match connection.poll_head(context) {
                    Poll::Ready(answered) => Poll::Ready(Some(answered)),
                    Poll::Pending => poll_due(timer, due, context).map(|()| None),
                });
                let (status, headers) = match answered.await? {
                    Ok(head) => head,
                    Err(fault) => {
                        let given_back = connection.is_untouched().then(|| Box::new(request));
                        return Some(Err(NoAnswer { error: fault.into(), given_back }));
                    }
                };
                Some(Ok(Answer { status, headers, body: Incoming::Http1 }))
            }
            Self::H2(stream) => {
                let sent = timeout_at(due, stream.0.sender.clone().try_send_request(request)).await.ok()?;
                Some(match sent {
                    Ok(response) => {
                        let (head, body) = response.into_parts();
                        Ok(Answer { status: head.status, headers: head.headers, body: Incoming::Http2(body) })
                    }
                    Err(mut error) => {
                        let given_back = error.take_message().map(Box::new);
                        Err(NoAnswer { error: error.into_error().into(), given_back })
                    }
                })
            }
        }
    }
}

/// Ready when `due` is past, by a timer that may still be armed for an earlier request.
fn poll_due(timer: &mut Option<Alarm>, due: Instant, context: &mut Context<'_>) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Alarm::at(due));
    if timer.due() > due {
        timer.set(due);
    }
    loop {
        ready!(timer.poll(context));
        if timer.due() >= due {
            return Poll::Ready(());
        }
        timer.set(due);
    }
}

/// Whether the error says that the upstream has not acted on the request: a stream refused, or above the last one that
/// a GOAWAY names (RFC 9113 section 8.7).
pub(crate) fn is_unprocessed(error: &ExchangeError) -> bool {
    let ExchangeError::Http2(error) = error else { return false };
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_armed_for_another_request_neither_hurries_nor_delays_this_one() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut timer = None;

        // The first reply begins in time, and leaves the timer armed for 20 s.
        assert!(poll_fn(|context| Poll::Ready(poll_due(&mut timer, after(20), context).is_pending())).await);
        tokio::time::advance(Duration::from_secs(15)).await;
        poll_fn(|context| poll_due(&mut timer, after(35), context)).await;
        assert_eq!(start.elapsed().as_secs(), 35);

        // One that fired while nobody waited.
        tokio::time::advance(Duration::from_secs(5)).await;
        poll_fn(|context| poll_due(&mut timer, after(60), context)).await;
        assert_eq!(start.elapsed().as_secs(), 60);

        // One that is armed for later than what is due now.
        assert!(poll_fn(|context| Poll::Ready(poll_due(&mut timer, after(100), context).is_pending())).await);
        poll_fn(|context| poll_due(&mut timer, after(70), context)).await;
        assert_eq!(start.elapsed().as_secs(), 70);
    }

    /// A connection to a server that this test holds in its hand.
    async fn leased() -> (Lease, tokio::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a connection of the test's own, to the test's own listener")]
        let (client, server) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let proof = ConnectionProof {
            endpoint: "gpu-1".into(),
            address,
            peer: address,
            via: None,
            source: address,
            resolved_by: "literal".into(),
            resolution: Arc::new(crate::resolve::Resolution::fixed("127.0.0.1", "literal", Vec::new())),
            stale: false,
            level: crate::connect::Level::Address,
            tls: None,
            protocol: Protocol::Http1,
            note: crate::connect::nothing_noted(address),
        };
        let slot = Slot::take(&Arc::default(), 1).unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        let facts = Facts { proof: Arc::new(proof), expires: later, _slot: slot };
        let lease =
            establish(Stream::Left(tokio_util::either::Either::Left(client.unwrap())), facts, Duration::from_secs(60))
                .await
                .unwrap();
        (lease, server.unwrap().0)
    }

    fn is_ready(lease: &mut Lease) -> bool {
        match lease {
            Lease::H1(connection) => connection.is_ready(),
            Lease::H2(stream) => !stream.0.is_closed(),
        }
    }

    /// The pool may look at hundreds of connections in one poll of a request's task.
    #[tokio::test]
    async fn a_closed_connection_is_seen_as_closed_though_its_task_has_used_up_its_budget() {
        let (mut lease, server) = leased().await;
        assert!(is_ready(&mut lease));
        drop(server);
        tokio::task::yield_now().await; // The runtime learns of the end.
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        (0..1_000).for_each(|number| sender.send(number).unwrap());

        let ready = poll_fn(|context| {
            while receiver.poll_recv(context).is_ready() {}
            Poll::Ready(is_ready(&mut lease))
        });

        assert!(!ready.await);
        assert!(!receiver.is_empty(), "the budget ended before the messages did");
    }

    /// The pool looks before it hands a connection out; what happens between that look and the request is met here.
    #[tokio::test]
    async fn a_request_on_a_connection_that_turns_out_to_be_closed_comes_back_whole() {
        let (mut lease, server) = leased().await;
        let later = Instant::now() + Duration::from_secs(60);
        assert!(is_ready(&mut lease));
        drop(server);
        // The runtime learns of the end here, and the connection with the request.
        tokio::task::yield_now().await;

        let body = UpstreamBody::new(vec![Bytes::from_static(b"{}")]);
        let refused = lease.try_send(Request::new(body), later).await.unwrap();

        assert!(refused.is_err_and(|refused| refused.given_back.is_some()));
        assert!(!is_ready(&mut lease));
    }
}
