//! The world of a test: endpoints on loopback, scripted servers, a tiny DNS server, a permit for everything.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use egress::{
    EndpointSpec, Fleet, Host, Http2, PoolSpec, Reach, Reply, ResolverSpec, Scheme, SendError, Timeouts, TlsSpec,
    TransportSpec, UpstreamRequest,
};
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use policy::{Candidate, Cleared, Judge, Permit, Question, TargetId, Warrant, decide};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

pub(crate) const TARGET: TargetId = TargetId(0);
pub(crate) const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(20),
    idle: Duration::from_secs(10),
    total: Duration::from_secs(60),
};

/// An endpoint at a loopback address, plain HTTP/1.1.
pub(crate) fn endpoint(address: SocketAddr) -> EndpointSpec {
    EndpointSpec {
        name: "gpu-1".into(),
        scheme: Scheme::Http,
        host: Host::Address(address.ip()),
        port: address.port(),
        authority: address.to_string(),
        base_path: "/v1".to_owned(),
        reach: Reach::Local { within: vec!["127.0.0.0/8".parse().unwrap()] },
        tls: TlsSpec::default(),
        credential: None,
        timeouts: TIMEOUTS,
        in_flight: None,
        pool: PoolSpec::default(),
        http2: Http2::Auto,
        page: None,
        probe: None,
        transport: TransportSpec::default(),
        via: None,
        canary: None,
    }
}

/// The same at a name.
pub(crate) fn named(host: &str, port: u16, within: &[&str]) -> EndpointSpec {
    EndpointSpec {
        host: Host::Name(host.to_owned()),
        authority: format!("{host}:{port}"),
        reach: Reach::Local { within: within.iter().map(|net| net.parse().unwrap()).collect() },
        ..endpoint(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

pub(crate) fn fleet(spec: EndpointSpec) -> Fleet {
    Fleet::build(vec![spec], Vec::new(), &[(TARGET, 0)], None).unwrap()
}

pub(crate) fn fleet_with(spec: EndpointSpec, resolver: ResolverSpec) -> Fleet {
    Fleet::build(vec![spec], vec![resolver], &[(TARGET, 0)], None).unwrap()
}

pub(crate) fn permit() -> Arc<Permit> {
    let candidates = [Candidate::new(TARGET, "gpu-1/llama"), Candidate::new(TargetId(1), "gpu-2/llama")];
    decide(&Judge::of_grants(&candidates), &Question::about("claims", "chat", &candidates)).unwrap()
}

pub(crate) fn cleared(request: UpstreamRequest) -> (Warrant, Cleared<UpstreamRequest>) {
    let permit = permit();
    let warrant = permit.warrant(TARGET).unwrap();
    let cleared = warrant.clear(request).unwrap();
    (warrant, cleared)
}

pub(crate) fn post(parts: &[&'static str]) -> UpstreamRequest {
    UpstreamRequest {
        method: Method::POST,
        path_and_query: "/chat/completions?x=1".to_owned(),
        headers: HeaderMap::new(),
        body: parts.iter().map(|part| Bytes::from_static(part.as_bytes())).collect(),
        body_len: parts.iter().map(|part| part.len() as u64).sum(),
    }
}

pub(crate) async fn send(fleet: &Fleet) -> Result<Reply, SendError> {
    send_this(fleet, post(&["{\"model\":", "\"llama\"}"])).await
}

pub(crate) async fn send_this(fleet: &Fleet, request: UpstreamRequest) -> Result<Reply, SendError> {
    let (warrant, request) = cleared(request);
    fleet.send(warrant, request).await
}

/// Lets time pass at once.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits until something is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it should have become so");
}

/// Reads a reply to its end.
pub(crate) async fn read(reply: Reply) -> Bytes {
    reply.body.collect().await.unwrap().to_bytes()
}

/// A server and how many connections it accepted.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A server that gives each connection to `script`, with its number from 0.
pub(crate) async fn scripted<F, T>(script: F) -> Upstream
where
    F: Fn(TcpStream, usize) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let upstream = Upstream { address: listener.local_addr().unwrap(), accepted: Arc::default() };
    let accepted = Arc::clone(&upstream.accepted);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = accepted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(script(stream, number));
        }
    });
    upstream
}

/// A server that answers HTTP/1.1 and HTTP/2 (prior knowledge) with what `answer` makes of each request.
pub(crate) async fn answering<F, T>(answer: F) -> Upstream
where
    F: Fn(Request<Incoming>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    scripted(move |stream, _| {
        let answer = answer.clone();
        async move {
            stream.set_nodelay(true).unwrap();
            serve(stream, answer).await;
        }
    })
    .await
}

pub(crate) async fn serve<I, F, T>(io: I, answer: F)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    // A client that goes away in the middle is part of several tests.
    let _ = builder.serve_connection(TokioIo::new(io), service).await;
}

/// Says "ok" once the request has been read.
pub(crate) async fn ok(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let _ = request.into_body().collect().await;
    Response::new(Full::new(Bytes::from_static(b"ok")))
}

/// Reads a request's head and a body of the announced length; gives everything as text.
pub(crate) async fn read_request(stream: &mut TcpStream) -> String {
    next_request(stream).await.expect("the client sends a request before it closes")
}

/// The same, or `None` when the client has closed the connection.
pub(crate) async fn next_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return None;
        }
        text.extend_from_slice(&buffer[..count]);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some(so_far);
        }
    }
}

pub(crate) async fn write(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// A DNS server that answers every question for an address with the current ones, over UDP.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
}

/// What it says now.
#[derive(Default)]
struct Says {
    addresses: Vec<IpAddr>,
    /// Every name points to this one, and nothing is said about it.
    leads_to: Option<Name>,
    /// Names without an address exist all the same.
    exists: bool,
    failing: bool,
    /// Questions of this kind are taken, and nothing is said.
    drops: Option<RecordType>,
}

impl Dns {
    pub(crate) async fn start(answers: &[&str]) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let dns = Self { address, says: Arc::default(), asked: Arc::default() };
        dns.now_answers(answers);
        let (says, asked) = (Arc::clone(&dns.says), Arc::clone(&dns.asked));
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (count, client) = socket.recv_from(&mut buffer).await.unwrap();
                asked.fetch_add(1, Ordering::SeqCst);
                let reply = says.lock().reply(&buffer[..count]);
                if let Some(reply) = reply {
                    socket.send_to(&reply, client).await.unwrap();
                }
            }
        });
        dns
    }

    /// With no address at all the name does not exist.
    pub(crate) fn now_answers(&self, answers: &[&str]) {
        let addresses = answers.iter().map(|address| address.parse().unwrap()).collect();
        self.now(|says| *says = Says { addresses, drops: says.drops, ..Says::default() });
    }

    /// From now on the name exists and has no address.
    pub(crate) fn now_has_no_address(&self) {
        self.now(|says| *says = Says { exists: true, drops: says.drops, ..Says::default() });
    }

    /// From now on every name points to this one.
    pub(crate) fn now_leads_to(&self, name: &str) {
        let leads_to = Some(Name::from_ascii(name).unwrap());
        self.now(|says| *says = Says { leads_to, drops: says.drops, ..Says::default() });
    }

    /// From now on it answers SERVFAIL.
    pub(crate) fn fails_now(&self) {
        self.now(|says| says.failing = true);
    }

    /// From now on it says nothing to questions of this kind, as some forwarders do to those for AAAA.
    pub(crate) fn drops(&self, kind: RecordType) {
        self.now(|says| says.drops = Some(kind));
    }

    fn now(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock());
    }

    /// Questions so far; one look-up is two, for A and for AAAA.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A resolver that asks this server for `internal`.
    pub(crate) fn resolver(&self) -> ResolverSpec {
        ResolverSpec::new("corp", &["internal"], vec![self.address])
    }
}

impl Says {
    fn reply(&self, question: &[u8]) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        if self.drops == Some(query.query_type()) {
            return None;
        }
        let mut reply = Message::new(question.id, MessageType::Response, question.op_code);
        reply.metadata.recursion_desired = question.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.metadata.response_code = if self.failing {
            ResponseCode::ServFail
        } else if self.addresses.is_empty() && self.leads_to.is_none() && !self.exists {
            ResponseCode::NXDomain
        } else {
            ResponseCode::NoError
        };
        let leads_to = self.leads_to.iter().map(|name| RData::CNAME(CNAME(name.clone())));
        let addresses = self.addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) if query.query_type() == RecordType::A => Some(RData::A((*v4).into())),
            IpAddr::V6(v6) if query.query_type() == RecordType::AAAA => Some(RData::AAAA((*v6).into())),
            _ => None,
        });
        if !self.failing {
            let record = |data| Record::from_rdata(query.name().clone(), 10, data);
            reply.answers.extend(leads_to.chain(addresses).map(record));
        }
        reply.queries.push(query);
        Some(reply.to_vec().unwrap())
    }
}
