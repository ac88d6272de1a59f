//! One connection, from its first byte to its last.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::gather::Gathering;
use super::proxy::{self, ProxyError};
use super::pulse::{Flight, InFlight, Protocol, Pulse, Watched};
use super::quiet::{Quiet, RequestBody};
use super::stall::Streams;
use super::standing::{NoLonger, Standing};
use super::unreadable::{Bounds, Telling};
use super::{Drain, Handler, Incoming, ListenSettings, Peer, TlsFacts, TlsServer};
use crate::auth::ShownCertificate;

/// How long an HTTP/2 peer may take to say that it is still there.
const H2_PONG: Duration = Duration::from_secs(20);

/// Most bytes of one HTTP/2 answer that wait for a peer to take them.
const H2_SEND_BUFFER: usize = 64 * 1024;

/// Longest time that a connection's timer is set for.
///
/// A timer that becomes the earliest of its runtime costs a write to the runtime's own wake-up and another turn of its
/// loop, some 5 us. The timers that requests set for themselves (a slow body, a silent upstream) are longer than this,
/// so while their connection is there they never are the earliest.
const TICK: Duration = Duration::from_secs(10);

/// hyper accepts no smaller buffer for heads.
const LEAST_HEADER_BYTES: usize = 8_192;

/// The bound on header fields that hyper has of itself.
///
/// One that is set is kept by filling a table of as many places for each head, which costs as much as reading it; hyper's
/// own is kept by a table that nobody fills.
const HYPERS_MAX_HEADERS: usize = 100;

/// What a listener's connections have in common.
#[derive(Debug)]
pub struct Door {
    settings: ListenSettings,
    tls: Option<TlsServer>,
    either: auto::Builder<Streams>,
    http1: auto::Builder<Streams>,
    http2: auto::Builder<Streams>,
}

/// Why a connection ended otherwise than by the peer leaving, by being idle, or by a drain.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// PROXY protocol and TLS handshake were not through in time.
    #[error("the handshake took longer than {0:?}")]
    HandshakeTimeout(Duration),
    /// A listed load balancer sent no acceptable PROXY protocol header.
    #[error("load balancer {sender} was refused")]
    Proxy {
        /// The load balancer.
        sender: SocketAddr,
        /// What was wrong with its header.
        #[source]
        source: ProxyError,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The head of a request was not whole in time.
    #[error("the head of a request took longer than {0:?}")]
    HeaderTimeout(Duration),
    /// The peer took nothing of its answer for too long.
    #[error("the peer took nothing of its answer for {0:?}")]
    WriteTimeout(Duration),
    /// Malformed HTTP, or a connection that broke within a request.
    #[error("the connection failed")]
    Http(#[source] Box<dyn Error + Send + Sync>),
}

impl Door {
    /// Puts a listener together: plaintext, unless `tls` is given.
    pub fn new(settings: ListenSettings, tls: Option<TlsServer>) -> Self {
        let either = builder(&settings);
        Self { http1: either.clone().http1_only(), http2: either.clone().http2_only(), either, settings, tls }
    }

    /// The TLS side, for replacing its certificate; `None` on a plaintext listener.
    pub fn tls(&self) -> Option<&TlsServer> {
        self.tls.as_ref()
    }

    /// The limits of this listener.
    pub fn settings(&self) -> &ListenSettings {
        &self.settings
    }

    fn expects_proxy_header(&self, sender: SocketAddr) -> bool {
        let mut listed = self.settings.proxy_protocol_from.iter();
        listed.any(|net| net.contains(sender.ip()))
    }
}

fn builder(settings: &ListenSettings) -> auto::Builder<Streams> {
    let head = settings.max_header_bytes.max(LEAST_HEADER_BYTES);
    let mut builder = auto::Builder::new(Streams { limit: settings.write_timeout });
    builder
        .http1()
        .timer(TokioTimer::new())
        // The connection's pulse limits heads, because it can tell a slow one from an idle peer.
        .header_read_timeout(None)
        .keep_alive(true)
        // A caller that closed its side is gone, and its request is cancelled.
        .half_close(false)
        // Head, length, text and end of line of what goes down are put together as they come, and leave in one piece.
        .writev(false)
        .max_buf_size(head);
    if settings.max_headers != HYPERS_MAX_HEADERS {
        builder.http1().max_headers(settings.max_headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(settings.h2_ping)
        .keep_alive_timeout(H2_PONG)
        .max_concurrent_streams(settings.max_h2_streams)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_send_buf_size(H2_SEND_BUFFER);
    builder
}

/// Serves one accepted stream until it ends.
///
/// The stream's socket should have `TCP_NODELAY` set. When `drain` begins, requests in flight are
/// finished, HTTP/1.1 says `connection: close` and HTTP/2 sends GOAWAY; the returned future ends
/// with the last of them, and how long that may take is up to the caller.
///
/// # Errors
///
/// [`ServeError`] says why a connection was cut or broke. It is for a log at low level and for
/// counting: most of what is met on an open port ends in an error.
pub async fn serve<I, H>(
    io: I,
    sender: SocketAddr,
    door: &Door,
    handler: Arc<H>,
    drain: Drain,
) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let limit = door.settings.handshake_timeout;
    let (transport, peer, standing) =
        timeout(limit, open(Gathering(io), sender, door)).await.map_err(|_| ServeError::HandshakeTimeout(limit))??;
    let (builder, protocol) = match peer.tls.as_ref().and_then(|tls| tls.alpn) {
        Some("h2") => (&door.http2, Protocol::Http2),
        Some(_) => (&door.http1, Protocol::Http1),
        None => (&door.either, Protocol::Unknown),
    };
    let pulse = Arc::new(Pulse::new(protocol));
    let watched = Watched::new(transport, Arc::clone(&pulse));
    let bounds = Bounds::of(&door.settings);
    let io = TokioIo::new(Telling::new(watched, Arc::clone(&pulse), bounds, Arc::clone(&handler)));
    let peer = Arc::new(peer);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let flight = Flight::begin(&pulse, request.version());
        let stands = match (&standing, &door.tls) {
            (Some(standing), Some(tls)) => standing.check(tls, Instant::now()),
            // It came without a certificate; since a reload the listener may want one of everybody.
            (None, Some(tls)) if tls.asks_everybody() => Err(NoLonger),
            _ => Ok(()),
        };
        let answer = stands.map(|()| {
            let (head, body) = request.into_parts();
            let body = RequestBody::new(body, head.version);
            Arc::clone(&handler).handle(Incoming { head, body, peer: Arc::clone(&peer) })
        });
        async move { Ok::<_, NoLonger>(in_flight(answer?.await, flight)) }
    });

    let mut connection = pin!(builder.serve_connection(io, service));
    let news = drain.clone();
    let mut drain = drain;
    // INVARIANT: it is asked once for each waker, so the task's budget must not keep it from remembering it.
    let mut drain = pin!(unconstrained(drain.begun()));
    // Who is woken, and what hyper is given for it.
    let mut known: Option<(Waker, Waker)> = None;
    let timer = pin!(sleep_until(Instant::now() + TICK));
    let mut keeper = Keeper::new(&door.settings, &pulse, timer);
    poll_fn(|context| {
        // Drain and timer know whom to wake. A request wakes this several times, and asking them each time costs more
        // than looking whether they have something to say.
        let waker_changed = !known.as_ref().is_some_and(|(known, _)| known.will_wake(context.waker()));
        if waker_changed {
            known = None;
            keeper.must_poll = true;
        }
        let (_, quiet) = known.get_or_insert_with(|| (context.waker().clone(), Quiet::waker(context.waker())));
        pulse.begin_turn();
        loop {
            // The drain comes first: a request that is read with it already knows that it is the last.
            let asks = waker_changed || news.may_have_begun();
            if asks && keeper.drained.is_none() && drain.as_mut().poll(context).is_ready() {
                keeper.begin_drain();
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(&mut Context::from_waker(quiet)) {
                return Poll::Ready(keeper.conclude(ended));
            }
            match keeper.look(context) {
                Look::Wait => return Poll::Pending,
                Look::Close => connection.as_mut().graceful_shutdown(),
                Look::Cut(result) => return Poll::Ready(result),
            }
        }
    })
    .await
}

fn in_flight<B>(mut response: Response<B>, flight: Flight) -> Response<InFlight<B>> {
    if flight.is_last() {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| InFlight::new(body, flight))
}

/// The bytes of HTTP: plain, or in TLS.
type Transport<I> = Either<I, Box<TlsStream<I>>>;

/// Everything before HTTP: who is there, and the handshake.
async fn open<I>(
    mut io: I,
    sender: SocketAddr,
    door: &Door,
) -> Result<(Transport<I>, Peer, Option<Standing>), ServeError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let mut peer = Peer { address: sender, via: None, tls: None };
    if door.expects_proxy_header(sender) {
        let named = proxy::read(&mut io).await;
        if let Some(caller) = named.map_err(|source| ServeError::Proxy { sender, source })? {
            peer.address = caller;
            peer.via = Some(sender);
        }
    }
    let Some(tls) = &door.tls else {
        return Ok((Either::Left(io), peer, None));
    };
    let material = tls.material();
    let accepted = TlsAcceptor::from(material.config()).accept(io).await;
    let stream = Box::new(accepted.map_err(ServeError::Tls)?);
    peer.tls = Some(facts(&stream));
    let shown = stream.get_ref().1.peer_certificates();
    let standing = shown.map(|chain| Standing::verified(chain, material, Instant::now()));
    Ok((Either::Right(stream), peer, standing))
}

fn facts<I>(stream: &TlsStream<I>) -> TlsFacts {
    let (_, connection) = stream.get_ref();
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    TlsFacts {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        },
        cipher: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown"),
        alpn: match connection.alpn_protocol() {
            Some(b"h2") => Some("h2"),
            Some(_) => Some("http/1.1"),
            None => None,
        },
        client_certificate: shown.map(|leaf| ShownCertificate::read(leaf)),
    }
}

/// What is to be done about a connection.
enum Look {
    /// Nothing yet; the timer is set.
    Wait,
    /// Finish what runs and take nothing new.
    Close,
    /// Leave at once.
    Cut(Result<(), ServeError>),
}

/// What a connection's time is up for.
#[derive(Clone, Copy)]
enum Limit {
    /// The peer takes nothing of what is written.
    Write,
    /// A head is not whole.
    Head,
    /// It was quiet for long enough, or is drained: it is to finish.
    Quiet,
    /// It was to finish, and did not.
    Closing,
}

/// The limit that is reached first.
fn sooner(one: Option<(Instant, Limit)>, other: Option<(Instant, Limit)>) -> Option<(Instant, Limit)> {
    match (one, other) {
        (Some((at, _)), Some((earlier, limit))) if earlier < at => Some((earlier, limit)),
        (Some(one), _) => Some(one),
        (None, other) => other,
    }
}

/// Keeps a connection within its time limits, with one timer that is moved only when it has to
/// fire earlier, or has fired.
struct Keeper<'a> {
    settings: &'a ListenSettings,
    pulse: &'a Pulse,
    timer: Pin<&'a mut Sleep>,
    /// Whether the timer was moved, or does not know yet whom to wake.
    must_poll: bool,
    /// When the drain began.
    drained: Option<Instant>,
    /// When the connection was asked to finish.
    closing: Option<Instant>,
}

impl<'a> Keeper<'a> {
    fn new(settings: &'a ListenSettings, pulse: &'a Pulse, timer: Pin<&'a mut Sleep>) -> Self {
        Self { settings, pulse, timer, must_poll: true, drained: None, closing: None }
    }

    fn begin_drain(&mut self) {
        self.drained = Some(Instant::now());
        self.pulse.begin_drain();
    }

    fn look(&mut self, context: &mut Context<'_>) -> Look {
        self.pulse.settle();
        loop {
            let next = self.next_limit();
            if let Some((at, _)) = next
                && at < self.timer.deadline()
            {
                self.move_timer(at);
            }
            if !self.has_fired(context) {
                return Look::Wait;
            }
            match next {
                Some((at, limit)) if at <= self.timer.deadline() => return self.reached(limit),
                // INVARIANT: no limit can come to be that lies before the timer, other than through
                // this connection's own bytes, which are followed by another look.
                next => {
                    let soon = Instant::now() + TICK;
                    self.move_timer(next.map_or(soon, |(at, _)| at.min(soon)));
                }
            }
        }
    }

    fn reached(&mut self, limit: Limit) -> Look {
        match limit {
            Limit::Write => Look::Cut(Err(ServeError::WriteTimeout(self.settings.write_timeout))),
            Limit::Head => Look::Cut(Err(ServeError::HeaderTimeout(self.settings.header_timeout))),
            Limit::Quiet => {
                self.closing = Some(Instant::now());
                Look::Close
            }
            Limit::Closing => Look::Cut(Ok(())),
        }
    }

    fn move_timer(&mut self, at: Instant) {
        self.timer.as_mut().reset(at);
        self.must_poll = true;
    }

    fn has_fired(&mut self, context: &mut Context<'_>) -> bool {
        if !self.must_poll && !self.timer.is_elapsed() {
            return false;
        }
        // INVARIANT: whoever is not asked again must have been told whom to wake, budget or not.
        let fired = pin!(unconstrained(self.timer.as_mut())).poll(context).is_ready();
        self.must_poll = fired;
        fired
    }

    /// The limit that is reached first if nothing happens any more.
    fn next_limit(&self) -> Option<(Instant, Limit)> {
        if self.drained.is_none() && self.closing.is_none() && self.pulse.is_at_work() {
            return None;
        }
        let blocked = self.pulse.blocked_since().map(|since| (since + self.settings.write_timeout, Limit::Write));
        let head = self.pulse.head_since().or(self.pulse.silent_since());
        let head = head.filter(|_| !self.pulse.is_busy());
        let head = head.map(|since| (since + self.settings.header_timeout, Limit::Head));
        sooner(sooner(blocked, head), self.end())
    }

    /// When the connection is to finish, or to be cut because it did not.
    fn end(&self) -> Option<(Instant, Limit)> {
        let busy = self.pulse.is_busy();
        let quiet_since = self.pulse.quiet_since();
        if let Some(closing) = self.closing {
            let overdue = closing.max(quiet_since) + self.settings.header_timeout;
            return (!busy).then_some((overdue, Limit::Closing));
        }
        // A head that has begun is waited for, within its own limit.
        let waits = self.pulse.head_since().is_some() && !busy;
        if waits {
            return None;
        }
        if let Some(drained) = self.drained {
            let at_once = busy || (self.pulse.is_http2() && self.pulse.was_asked());
            let linger = if at_once { Duration::ZERO } else { self.settings.drain_linger };
            return Some((drained + linger, Limit::Quiet));
        }
        (!busy).then_some((quiet_since + self.settings.idle_timeout, Limit::Quiet))
    }

    /// What the end of the connection means.
    fn conclude(&self, ended: Result<(), Box<dyn Error + Send + Sync>>) -> Result<(), ServeError> {
        // A peer that was asked to leave may do so while we still write it a last frame.
        match ended {
            Err(error) if self.closing.is_none() || self.pulse.is_busy() => Err(ServeError::Http(error)),
            _ => Ok(()),
        }
    }
}
