//! One endpoint at work: a request in, a connection found or made, the head of the reply out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{Method, Request, StatusCode, Version};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::body::{Held, Limits, ReplyBody, UpstreamBody};
use crate::canary::Canary;
use crate::connect::{ConnectionProof, Connector, Level, Protocol};
use crate::connection::{self, Answer, Facts, Lease, NoAnswer};
use crate::credentials;
use crate::dns::Freshness;
use crate::error::{BodyError, Bound, BuildProblem, ExchangeError, Phase, SendError};
use crate::identity::Keeper;
use crate::pool::Pool;
use crate::resolve::{Resolvers, Source};
use crate::shown::{Shown, Shows};
use crate::spec::{EndpointSpec, Reach, Scheme, TlsSpec};
use crate::status::{Counters, EndpointStatus, Last, count};
use crate::tls::{self, SystemRoots};
use crate::verify::Verification;
use crate::via::{Dialled, Via};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A request for an endpoint, in the endpoint's own dialect.
#[derive(Debug)]
pub struct UpstreamRequest {
    /// The method.
    pub method: Method,
    /// Path and query below the endpoint's base path, for example `/chat/completions`.
    pub path_and_query: String,
    /// The headers, without any that names the caller or the connection.
    pub headers: HeaderMap,
    /// The body in parts, which are not copied.
    pub body: Vec<Bytes>,
    /// The sum of their lengths; it becomes `content-length`.
    pub body_len: u64,
}

/// The head of an endpoint's reply, and its body.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// The body, which holds the connection and the in-flight permit.
    pub body: ReplyBody,
    /// What is known of the connection.
    pub connection: Arc<ConnectionProof>,
    /// How much is shown about its path now.
    pub level: Level,
}

/// An endpoint with its connections.
pub struct Endpoint {
    spec: EndpointSpec,
    dialled: Dialled,
    connector: Connector,
    canary: Option<Canary>,
    authority: Authority,
    host: HeaderValue,
    shows: Shows,
    pool: Pool,
    /// Held while a connection is opened that others may be able to share.
    opening: tokio::sync::Mutex<()>,
    /// 0 until the first connection, then 1 or 2 as the last one spoke.
    spoken: AtomicU8,
    in_flight: AtomicUsize,
    counters: Counters,
    last: Last,
    verification: Verification,
    started: AtomicBool,
}

/// One request counted against `in_flight`; given back when it is dropped.
pub(crate) struct Permit {
    endpoint: Arc<Endpoint>,
    /// It is one of the endpoint's requests in flight.
    counts: bool,
}

impl Permit {
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.counts {
            self.endpoint.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("name", &self.spec.name).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Prepares everything that does not change from request to request; nothing is dialled.
    /// The keeper is that of the specification's token, where it has one.
    pub(crate) fn build(
        spec: EndpointSpec,
        keeper: Option<Arc<Keeper>>,
        (resolvers, roots): (&Resolvers, &SystemRoots),
    ) -> Result<Self, BuildProblem> {
        let name = || Arc::clone(&spec.name);
        let url =
            |what: &'static str, value: &str| BuildProblem::Url { endpoint: name(), what, value: value.to_owned() };
        let authority: Authority = spec.authority.parse().map_err(|_| url("the authority", &spec.authority))?;
        let host = HeaderValue::from_str(&spec.authority).map_err(|_| url("the authority", &spec.authority))?;
        let base = spec.base_path.as_str();
        if !base.is_empty() && (!base.starts_with('/') || base.ends_with('/') || base.parse::<PathAndQuery>().is_err())
        {
            return Err(url("the base path", base));
        }
        if let Some(probe) = &spec.probe
            && (!probe.path.starts_with('/') || probe.path.parse::<PathAndQuery>().is_err())
        {
            return Err(url("the path of the probe", &probe.path));
        }
        let dialled = Dialled::of(&spec, resolvers)?;
        let tls = match spec.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let settings = |reason| BuildProblem::Tls { endpoint: name(), reason };
                let config = tls::client_config(&tls_of(&spec), spec.http2, roots).map_err(settings)?;
                Some((TlsConnector::from(config), tls::server_name(&spec).map_err(settings)?))
            }
        };
        let shows = Shows::of(&spec, keeper)?;
        Ok(Self {
            canary: Canary::build(&spec, resolvers, tls.clone())?,
            connector: Connector::new(&spec, tls, Via::build(&spec, (resolvers, roots))?),
            pool: Pool::new(spec.pool),
            dialled,
            authority,
            host,
            shows,
            opening: tokio::sync::Mutex::new(()),
            spoken: AtomicU8::new(0),
            in_flight: AtomicUsize::new(0),
            counters: Counters::default(),
            last: Last::default(),
            verification: Verification::default(),
            started: AtomicBool::new(false),
            spec,
        })
    }

    /// What it was built from.
    #[must_use]
    pub fn spec(&self) -> &EndpointSpec {
        &self.spec
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    /// What it looks like now.
    #[must_use]
    pub fn status(&self) -> EndpointStatus {
        EndpointStatus {
            name: Arc::clone(&self.spec.name),
            reach: self.spec.reach.as_str(),
            connections: self.pool.connections(),
            in_flight: self.in_flight.load(Ordering::Acquire),
            counts: self.counters.read(),
            verdict: self.last.verdict.lock().clone(),
            stale_since: self.verification.silent_since(),
            last_connection: self.last.connection.lock().clone(),
            last_resolution: self.last.resolution.lock().clone(),
            last_error: self.last.error.lock().clone(),
            last_probe: self.last.probe.lock().clone(),
            canary: self.canary.as_ref().and_then(Canary::report),
        }
    }

    /// What its page said since the last time that somebody asked, and when.
    #[must_use]
    pub fn take_load(&self) -> Option<(crate::scrape::Load, std::time::Instant)> {
        self.last.load.lock().take()
    }

    /// Sends a request whose `total` time runs from `arrived`: the whole call, with the attempts before this one.
    pub(crate) async fn send(self: &Arc<Self>, request: UpstreamRequest, arrived: Instant) -> Result<Reply, SendError> {
        let own = match self.at_hand() {
            Some(own) => own,
            None => match Box::pin(self.token(arrived)).await {
                Ok(own) => own,
                Err(error) => return Err(self.noted(error)),
            },
        };
        let prepared = self.enter().and_then(|permit| {
            let request = self.prepare(&self.spec.base_path, request, own)?;
            Ok((request, permit))
        });
        self.send_prepared(prepared, arrived).await
    }

    /// The same beside the calls: it takes no place among those in flight, because it asks how many there are.
    pub(crate) async fn send_aside(self: &Arc<Self>, request: UpstreamRequest) -> Result<Reply, SendError> {
        let permit = Permit { endpoint: Arc::clone(self), counts: false };
        let own = self.identified().await?;
        let request = self.prepare("", request, own)?;
        self.exchange(request, permit, Instant::now()).await
    }

    /// The same for control traffic, whose paths begin at the root of the host, with what is shown there.
    pub(crate) async fn send_from_root(
        self: &Arc<Self>,
        request: UpstreamRequest,
        own: Shown,
    ) -> Result<Reply, SendError> {
        let prepared = self.enter().and_then(|permit| Ok((self.prepare("", request, own)?, permit)));
        self.send_prepared(prepared, Instant::now()).await
    }

    async fn send_prepared(
        self: &Arc<Self>,
        prepared: Result<(Request<UpstreamBody>, Permit), SendError>,
        arrived: Instant,
    ) -> Result<Reply, SendError> {
        let sent = Instant::now();
        let reply = match prepared {
            Ok((request, permit)) => self.exchange(request, permit, arrived).await,
            Err(error) => Err(error),
        };
        if let (Ok(Reply { status: StatusCode::UNAUTHORIZED, .. }), Some(keeper)) = (&reply, self.keeper()) {
            keeper.is_doubted(sent, Instant::now());
        }
        reply.map_err(|error| self.noted(error))
    }

    /// Somebody who was asked from `sent` on blames the keys that were lent for signing, where they are lent.
    pub(crate) fn doubt_keys(&self, sent: Instant) {
        let now = Instant::now();
        if let Some(keeper) = self.keeper().filter(|keeper| keeper.keys(now).is_some()) {
            keeper.is_doubted(sent, now);
        }
    }

    fn noted(&self, error: SendError) -> SendError {
        count(&self.counters.failed);
        self.last.note_error(error.to_string());
        error
    }

    fn enter(self: &Arc<Self>) -> Result<Permit, SendError> {
        let limit = self.spec.in_flight.unwrap_or(usize::MAX);
        let more = |running: usize| (running < limit).then_some(running + 1);
        match self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(Permit { endpoint: Arc::clone(self), counts: true }),
            Err(_) => Err(self.saturated(Bound::InFlight, limit)),
        }
    }

    async fn exchange(
        self: &Arc<Self>,
        mut request: Request<UpstreamBody>,
        permit: Permit,
        arrived: Instant,
    ) -> Result<Reply, SendError> {
        count(&self.counters.requests);
        let started = Instant::now();
        let timeouts = &self.spec.timeouts;
        let total_at = arrived + timeouts.total;
        let connect_by = |now: Instant| (now + timeouts.connect).min(total_at);
        let (mut lease, found) = self.acquire(started, connect_by(started)).await?;
        self.fit(&mut request, lease.protocol());
        let mut attempt = self.head(&mut lease, request, (found, total_at)).await?;
        if let Exchanged::GivenBack(mut unsent, _) = attempt {
            // Nothing of it was written, so a second try is the first one as far as the upstream can tell.
            count(&self.counters.sent_again);
            drop(lease);
            lease = Box::pin(self.dial(connect_by(Instant::now()))).await?;
            self.fit(&mut unsent, lease.protocol());
            attempt = self.head(&mut lease, *unsent, (Instant::now(), total_at)).await?;
        }
        let Answer { status, headers, body } = match attempt {
            Exchanged::Head(answer) => answer,
            Exchanged::GivenBack(_, source) => return Err(self.not_sent(&lease, source)),
        };
        if let Lease::H1(connection) = &mut lease
            && let Some(limit) = keep_alive(&headers)
        {
            connection.idle_time = connection.idle_time.min(limit);
        }
        let connection = Arc::clone(&lease.facts().proof);
        let limits =
            Limits { endpoint: Arc::clone(&self.spec.name), idle: timeouts.idle, total: timeouts.total, total_at };
        let body = ReplyBody::new(body, Held { lease, permit }, limits);
        let level = self.level_of(connection.level);
        Ok(Reply { status, headers, body, connection, level })
    }

    /// Puts the request into HTTP, with the endpoint's credential and none of the caller's.
    pub(crate) fn prepare(
        &self,
        base: &str,
        request: UpstreamRequest,
        own: Shown,
    ) -> Result<Request<UpstreamBody>, SendError> {
        let signing = self.signing(&request.body);
        let body = UpstreamBody::new(request.body);
        if http_body::Body::size_hint(&body).exact() != Some(request.body_len) {
            return Err(self.unsendable("the parts of the body are not as long as was said"));
        }
        let path = match base {
            "" => request.path_and_query,
            base => [base, request.path_and_query.as_str()].concat(),
        };
        if !path.starts_with('/') {
            return Err(self.unsendable("the path does not begin with `/`"));
        }
        let path = PathAndQuery::from_maybe_shared(Bytes::from(path))
            .map_err(|_| self.unsendable("the path holds a character that a URL cannot carry"))?;
        let mut http = Request::new(body);
        *http.method_mut() = request.method;
        *http.uri_mut() = Uri::from(path);
        *http.headers_mut() = request.headers;
        let headers = http.headers_mut();
        // The length of the body is counted where it is written; a second opinion is how requests are smuggled.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        credentials::replace(headers, own);
        if let Some(signing) = signing {
            signing.sign(&mut http, &self.host).map_err(|_| self.unsendable("the request cannot be signed"))?;
        }
        Ok(http)
    }

    /// Gives the request the form of a protocol: `Host` and a path, or an absolute URL.
    pub(crate) fn fit(&self, request: &mut Request<UpstreamBody>, protocol: Protocol) {
        match protocol {
            Protocol::Http1 => {
                *request.version_mut() = Version::HTTP_11;
                if let Some(path) = request.uri().path_and_query()
                    && request.uri().authority().is_some()
                {
                    *request.uri_mut() = Uri::from(path.clone());
                }
                request.headers_mut().insert(HOST, self.host.clone());
            }
            Protocol::Http2 => {
                *request.version_mut() = Version::HTTP_2;
                let mut parts = http::uri::Parts::default();
                parts.scheme = Some(match self.spec.scheme {
                    Scheme::Http => http::uri::Scheme::HTTP,
                    Scheme::Https => http::uri::Scheme::HTTPS,
                });
                parts.authority = Some(self.authority.clone());
                parts.path_and_query = request.uri().path_and_query().cloned();
                *request.uri_mut() = Uri::from_parts(parts).expect("scheme, authority and path are all there");
                request.headers_mut().remove(HOST);
            }
        }
    }

    /// Hands the request over at `now` and waits for the head of the reply.
    async fn head(
        &self,
        lease: &mut Lease,
        request: Request<UpstreamBody>,
        (now, total_at): (Instant, Instant),
    ) -> Result<Exchanged, SendError> {
        let timeouts = &self.spec.timeouts;
        let endpoint = || Arc::clone(&self.spec.name);
        let head_by = now + timeouts.first_byte;
        match lease.try_send(request, head_by.min(total_at)).await {
            Some(Ok(answer)) => Ok(Exchanged::Head(answer)),
            Some(Err(NoAnswer { error, given_back: Some(request) })) => Ok(Exchanged::GivenBack(request, error)),
            Some(Err(NoAnswer { error, given_back: None })) => Err(self.broken_head(lease, error)),
            None if total_at < head_by => Err(SendError::TotalTimeout { endpoint: endpoint(), after: timeouts.total }),
            None => Err(SendError::FirstByteTimeout { endpoint: endpoint(), after: timeouts.first_byte }),
        }
    }

    /// A connection from the pool, or a new one, and the time at which it was there.
    async fn acquire(self: &Arc<Self>, started: Instant, deadline: Instant) -> Result<(Lease, Instant), SendError> {
        if let Some(lease) = self.pooled(started) {
            return Ok((lease, started));
        }
        // What follows takes longer than reading a clock, and is too large to lie in every request's future.
        let lease = Box::pin(self.open(deadline)).await?;
        Ok((lease, Instant::now()))
    }

    async fn open(self: &Arc<Self>, deadline: Instant) -> Result<Lease, SendError> {
        if !self.worth_sharing() {
            return self.dial(deadline).await;
        }
        // A burst of requests at a cold HTTP/2 endpoint needs one connection, not one each.
        let opening = timeout_at(deadline, self.opening.lock())
            .await
            .map_err(|_| self.connector.too_slow(Phase::Waiting, None))?;
        if let Some(lease) = self.pooled(Instant::now()) {
            return Ok(lease);
        }
        if self.worth_sharing() {
            return self.dial(deadline).await;
        }
        drop(opening);
        self.dial(deadline).await
    }

    fn pooled(self: &Arc<Self>, now: Instant) -> Option<Lease> {
        let checked_out = self.pool.check_out(now);
        if checked_out.refresh {
            self.refresh();
        }
        if checked_out.lease.is_some() {
            count(&self.counters.reused);
        }
        checked_out.lease
    }

    fn worth_sharing(&self) -> bool {
        self.connector.may_share() && self.spoken.load(Ordering::Acquire) != 1
    }

    /// Opens a connection: resolve, judge, connect, speak.
    pub(crate) async fn dial(self: &Arc<Self>, deadline: Instant) -> Result<Lease, SendError> {
        let slot = self
            .pool
            .reserve(Instant::now())
            .ok_or_else(|| self.saturated(Bound::Connections, self.pool.bounds().max_connections))?;
        let vouched = self.vouch(deadline, Freshness::Kept).await?;
        let (stream, proof) = self.connector.connect(&vouched, deadline).await?;
        let address = proof.address;
        let proof = Arc::new(proof);
        *self.last.connection.lock() = Some(Arc::clone(&proof));
        let facts = Facts { proof, expires: self.pool.expiry(Instant::now()), _slot: slot };
        let established = timeout_at(deadline, connection::establish(stream, facts, self.pool.idle_time())).await;
        let lease = established
            .map_err(|_| self.connector.too_slow(Phase::Tls, Some(address)))?
            .map_err(|source| self.not_spoken(address, source))?;
        match &lease {
            Lease::H1(_) => self.spoken.store(1, Ordering::Release),
            Lease::H2(stream) => {
                self.spoken.store(2, Ordering::Release);
                self.pool.share(stream.connection(), Instant::now());
            }
        }
        Ok(lease)
    }

    /// Takes the connection of a reply that ended cleanly.
    pub(crate) fn give_back(&self, lease: Lease) {
        self.pool.check_in(lease, Instant::now());
    }

    pub(crate) fn note_cancelled(&self) {
        count(&self.counters.cancelled);
    }

    pub(crate) fn note_broken_body(&self, error: &BodyError) {
        count(&self.counters.broken);
        self.last.note_error(error.to_string());
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn source(&self) -> &Source {
        &self.dialled.source
    }

    pub(crate) fn shows(&self) -> &Shows {
        &self.shows
    }

    /// By what the addresses are judged that are dialled, and at which port.
    pub(crate) fn judged_by(&self) -> (&Reach, u16) {
        (&self.dialled.reach, self.dialled.port)
    }

    pub(crate) fn canary(&self) -> Option<&Canary> {
        self.canary.as_ref()
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(crate) fn verification(&self) -> &Verification {
        &self.verification
    }

    pub(crate) fn last(&self) -> &Last {
        &self.last
    }

    /// True for the first caller only.
    pub(crate) fn start_once(&self) -> bool {
        !self.started.swap(true, Ordering::AcqRel)
    }

    fn saturated(&self, bound: Bound, limit: usize) -> SendError {
        SendError::Saturated { endpoint: Arc::clone(&self.spec.name), bound, limit }
    }

    fn unsendable(&self, reason: &'static str) -> SendError {
        SendError::Unsendable { endpoint: Arc::clone(&self.spec.name), reason }
    }

    fn not_sent(&self, lease: &Lease, source: ExchangeError) -> SendError {
        let address = lease.facts().proof.address;
        SendError::NotSent { endpoint: Arc::clone(&self.spec.name), address, source }
    }

    fn broken_head(&self, lease: &Lease, source: ExchangeError) -> SendError {
        if connection::is_unprocessed(&source) {
            return self.not_sent(lease, source);
        }
        let address = lease.facts().proof.address;
        SendError::BrokenHead { endpoint: Arc::clone(&self.spec.name), address, source }
    }

    fn not_spoken(&self, address: SocketAddr, source: ExchangeError) -> SendError {
        let source = std::io::Error::other(source);
        SendError::Connect { endpoint: Arc::clone(&self.spec.name), address, refused: false, source }
    }
}

/// The TLS settings with the issuers of the service, where the configuration names neither issuers nor roots.
fn tls_of(spec: &EndpointSpec) -> TlsSpec {
    let mut tls = spec.tls.clone();
    if let Reach::PrivateLink { service, .. } = &spec.reach
        && tls.issuers.is_empty()
        && tls.ca.is_none()
    {
        tls.issuers.clone_from(&service.issuers);
    }
    tls
}

/// What a connection did with a request.
enum Exchanged {
    Head(Answer),
    /// Nothing of it was written.
    GivenBack(Box<Request<UpstreamBody>>, ExchangeError),
}

/// The idle time that a server announces (`Keep-Alive: timeout=5`), less a second, so that we close first: a request that
/// meets the server's own closing cannot be told from one that was executed.
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(&KEEP_ALIVE)?.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_idle_time_is_believed_less_a_second() {
        let limit = |value: &'static str| {
            keep_alive(&HeaderMap::from_iter([(
                HeaderName::from_static("keep-alive"),
                HeaderValue::from_static(value),
            )]))
        };

        assert_eq!(limit("timeout=5, max=100"), Some(Duration::from_secs(4)));
        assert_eq!(limit("max=100,timeout=0"), Some(Duration::ZERO));
        assert_eq!(limit("max=100"), None);
    }
}
