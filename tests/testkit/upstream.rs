//! A strict scripted upstream: it refuses what the gateway must never send, remembers what came, and answers by script.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::bodies::usual_answer;
use super::script::{Act, Step};
use super::socket::Socket;
use super::{Authority, Engine, KEY, UPSTREAM_KEY, within};

/// Whose API the upstream plays, which says where its paths lie and how it wants its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    OpenAi,
    Azure,
    Anthropic,
}

/// A server on loopback, for as long as it is held.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) secure: bool,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    name: String,
    expect: Expect,
    script: Mutex<VecDeque<Act>>,
    seen: watch::Sender<Vec<Arc<Seen>>>,
    connections: AtomicUsize,
    /// Bytes that came, of whatever they were part.
    bytes: AtomicUsize,
    /// It reads prompts one after another, and answers what is not scripted when it has.
    engine: Option<Engine>,
    /// What every GET is answered with, and how many came.
    probe_answer: Mutex<Act>,
    probes: AtomicUsize,
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    left: watch::Sender<bool>,
}

impl Seen {
    /// The value of a header that came once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(seen, _)| seen == name).map(|(_, value)| value.as_str());
        let value = found.next();
        assert!(found.next().is_none(), "the header `{name}` came twice");
        value
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a strict upstream refuses what is not JSON")
    }

    /// The body as it came.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns when the gateway has closed the connection before the answer was over.
    pub(crate) async fn caller_left(&self) {
        let mut left = self.left.subscribe();
        within("the gateway to close the upstream connection", left.wait_for(|left| *left))
            .await
            .expect("held by self");
    }
}

impl Upstream {
    /// Speaks OpenAI's API and answers in the name of `name`.
    pub(crate) async fn start(name: &str) -> Self {
        Self::playing(Expect::OpenAi, name, None).await
    }

    /// Speaks OpenAI's API, and reads so many prompt tokens a second.
    pub(crate) async fn reading(name: &str, tokens_per_second: u32) -> Self {
        let engine = Some(Engine::new(tokens_per_second));
        Self::listening((Ipv4Addr::LOCALHOST, 0).into(), Expect::OpenAi, name, (None, engine)).await
    }

    /// Speaks OpenAI's API behind a certificate of `authority`.
    pub(crate) async fn secure(name: &str, authority: &Authority) -> Self {
        Self::playing(Expect::OpenAi, name, Some(authority)).await
    }

    pub(crate) async fn playing(expect: Expect, name: &str, authority: Option<&Authority>) -> Self {
        let acceptor = authority.map(|authority| TlsAcceptor::from(authority.server()));
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), expect, name, acceptor).await
    }

    /// The same at an address of its own.
    pub(crate) async fn at(address: SocketAddr, expect: Expect, name: &str, acceptor: Option<TlsAcceptor>) -> Self {
        Self::listening(address, expect, name, (acceptor, None)).await
    }

    async fn listening(
        address: SocketAddr,
        expect: Expect,
        name: &str,
        (acceptor, engine): (Option<TlsAcceptor>, Option<Engine>),
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            expect,
            script: Mutex::default(),
            seen: watch::Sender::new(Vec::new()),
            connections: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            engine,
            probe_answer: Mutex::new(Act::bytes(200, "")),
            probes: AtomicUsize::new(0),
        });
        let secure = acceptor.is_some();
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Self { address, secure, shared, task }
    }

    /// Plays these acts for the next requests, one each; after them every request gets the usual answer.
    pub(crate) fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.shared.script.lock().expect("no test panics while it holds the script").extend(acts);
    }

    /// Forgets the acts that were not played.
    pub(crate) fn forget_script(&self) {
        self.shared.script.lock().expect("no test panics while it holds the script").clear();
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Arc<Seen>> {
        self.shared.seen.borrow().clone()
    }

    /// The request with this number, counted from 0, as soon as it has come.
    pub(crate) async fn request(&self, number: usize) -> Arc<Seen> {
        let mut seen = self.shared.seen.subscribe();
        let what = format!("request {number} at upstream `{}`", self.shared.name);
        let all = within(&what, seen.wait_for(|seen| seen.len() > number)).await.expect("held by self");
        Arc::clone(&all[number])
    }

    /// The only request that came.
    pub(crate) fn only_request(&self) -> Arc<Seen> {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "requests at upstream `{}`", self.shared.name);
        Arc::clone(&requests[0])
    }

    /// The queue of a server that reads prompts one after another.
    pub(crate) fn engine(&self) -> &Engine {
        self.shared.engine.as_ref().expect("made by `reading`")
    }

    /// Answers health probes with this status; they are counted apart from requests.
    pub(crate) fn answer_probes_with(&self, status: u16) {
        self.answer_probes(Act::bytes(status, ""));
    }

    /// The same with an answer of any kind.
    pub(crate) fn answer_probes(&self, answer: Act) {
        *self.shared.probe_answer.lock().expect("no test panics while it holds this") = answer;
    }

    /// How many health probes came.
    pub(crate) fn probes(&self) -> usize {
        self.shared.probes.load(Ordering::Relaxed)
    }

    /// How many bytes came, whether or not they made a request.
    pub(crate) fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a connected socket takes TCP_NODELAY");
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let socket = match acceptor {
                None => Socket::Plain(stream),
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(tls) => Socket::Accepted(Box::new(tls)),
                    Err(_) => return,
                },
            };
            serve(socket, &shared).await;
        });
    }
}

async fn serve(mut socket: Socket, shared: &Shared) {
    let mut unread = Vec::new();
    while let Some(seen) = read_request(&mut socket, &mut unread, &shared.bytes).await {
        if seen.method == "GET" && seen.body.is_empty() {
            shared.probes.fetch_add(1, Ordering::Relaxed);
            let page = shared.engine.as_ref().map(|engine| Bytes::from(engine.page()));
            let own = || shared.probe_answer.lock().expect("no test panics while it holds this").clone();
            let answer = page.map_or_else(own, |page| Act::bytes(200, page));
            if matches!(perform(&mut socket, &answer).await, Ended::Closed) {
                return;
            }
            continue;
        }
        let seen = Arc::new(seen);
        let (read_at, act) = match fault(&seen, shared.expect) {
            None => shared.next_act(&seen),
            // 400 is never tried elsewhere, so the fault is what the test sees.
            Some(fault) => {
                let error = serde_json::json!({"error": {"message": format!("strict upstream: {fault}")}});
                (None, Act::reply(400, &error))
            }
        };
        shared.seen.send_modify(|all| all.push(Arc::clone(&seen)));
        if let Some(read_at) = read_at {
            tokio::time::sleep_until(read_at.into()).await;
        }
        match perform(&mut socket, &act).await {
            Ended::Whole => {}
            Ended::Reset => return socket.reset(),
            Ended::Closed => {
                let _ = socket.shutdown().await;
                return;
            }
            Ended::CallerLeft => {
                seen.left.send_replace(true);
                return;
            }
        }
    }
}

impl Shared {
    /// What is answered, and when its prompt has been read where somebody reads.
    fn next_act(&self, seen: &Seen) -> (Option<Instant>, Act) {
        let scripted = self.script.lock().expect("no test panics while it holds the script").pop_front();
        match (scripted, &self.engine) {
            (Some(act), _) => (None, act),
            (None, Some(engine)) => {
                let (read_at, act) = engine.take(&seen.json(), &self.name);
                (Some(read_at), act)
            }
            (None, None) => (None, usual_answer(&seen.path, &seen.json(), &self.name)),
        }
    }
}

enum Ended {
    Whole,
    Reset,
    Closed,
    CallerLeft,
}

async fn perform(socket: &mut Socket, act: &Act) -> Ended {
    // A whole answer that has to wait waits before its head.
    let mut steps = act.steps.as_slice();
    while let [Step::Wait(gate), rest @ ..] = steps {
        if caller_leaves_before(socket, gate).await {
            return Ended::CallerLeft;
        }
        steps = rest;
    }
    if let Some(head) = head_of(act, steps)
        && socket.write_all(head.as_bytes()).await.is_err()
    {
        return Ended::CallerLeft;
    }
    let chunked = act.head.is_some() && !act.whole;
    for step in steps {
        let sent = match step {
            Step::Send(bytes) if chunked => socket.write_all(&as_chunk(bytes)).await,
            Step::Send(bytes) => socket.write_all(bytes).await,
            Step::Wait(gate) => {
                if caller_leaves_before(socket, gate).await {
                    return Ended::CallerLeft;
                }
                Ok(())
            }
            Step::Pause(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            Step::Close => return Ended::Closed,
            Step::Reset => return Ended::Reset,
        };
        if sent.is_err() || socket.flush().await.is_err() {
            return Ended::CallerLeft;
        }
    }
    match act.head {
        None => Ended::Closed,
        Some(_) if chunked && socket.write_all(b"0\r\n\r\n").await.is_err() => Ended::CallerLeft,
        Some(_) => Ended::Whole,
    }
}

fn head_of(act: &Act, steps: &[Step]) -> Option<String> {
    let head = act.head.as_ref()?;
    let mut text = format!("HTTP/1.1 {} Scripted\r\n", head.status);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if act.whole {
        let length: usize = steps.iter().map(|step| if let Step::Send(bytes) = step { bytes.len() } else { 0 }).sum();
        // Unless the script says something else, which is how an answer is cut short.
        if !head.headers.iter().any(|(name, _)| name == "content-length") {
            text.push_str(&format!("content-length: {length}\r\n"));
        }
    } else {
        text.push_str("transfer-encoding: chunked\r\n");
    }
    Some(text + "\r\n")
}

fn as_chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Waits for the gate; true when the caller closed the connection first.
async fn caller_leaves_before(socket: &mut Socket, gate: &super::Gate) -> bool {
    let mut byte = [0];
    tokio::select! {
        () = gate.passed() => false,
        // A caller that waits for an answer has nothing to say, so whatever comes is the end.
        _ = socket.read(&mut byte) => true,
    }
}

/// The next request of a connection; none when it was closed between requests.
async fn read_request(socket: &mut Socket, unread: &mut Vec<u8>, bytes: &AtomicUsize) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if read_some(socket, unread, bytes).await? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&unread[..head_end]).into_owned();
    unread.drain(..head_end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let length: usize = length.unwrap_or(0);
    while unread.len() < length {
        if read_some(socket, unread, bytes).await? == 0 {
            return None;
        }
    }
    let body = Bytes::from(unread.drain(..length).collect::<Vec<u8>>());
    Some(Seen { method, path, headers, body, left: watch::Sender::new(false) })
}

/// How many bytes came next, which are counted; none where the connection broke.
async fn read_some(socket: &mut Socket, unread: &mut Vec<u8>, bytes: &AtomicUsize) -> Option<usize> {
    let came = socket.read_buf(unread).await.ok()?;
    bytes.fetch_add(came, Ordering::Relaxed);
    Some(came)
}

/// What in this request no gateway of ours may send.
fn fault(seen: &Seen, expect: Expect) -> Option<String> {
    const HOP_BY_HOP: &[&str] =
        &["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"];
    const ABOUT_THE_CALLER: &[&str] =
        &["forwarded", "via", "x-real-ip", "cookie", "content-encoding", "accept-encoding"];
    for (name, value) in &seen.headers {
        let prefixed = ["x-causeway-", "x-forwarded-", "proxy-"].iter().any(|prefix| name.starts_with(prefix));
        if prefixed || HOP_BY_HOP.contains(&name.as_str()) || ABOUT_THE_CALLER.contains(&name.as_str()) {
            return Some(format!("the header `{name}` must not reach an upstream"));
        }
        if value.contains(KEY) {
            return Some(format!("the caller's key came in `{name}`"));
        }
    }
    let (credential, value, root) = match expect {
        Expect::OpenAi => ("authorization", format!("Bearer {UPSTREAM_KEY}"), "/v1/"),
        Expect::Azure => ("api-key", UPSTREAM_KEY.to_owned(), "/openai/"),
        Expect::Anthropic => ("x-api-key", UPSTREAM_KEY.to_owned(), "/v1/messages"),
    };
    for name in ["authorization", "api-key", "x-api-key"] {
        let expected = (name == credential).then_some(value.as_str());
        if seen.header(name) != expected {
            return Some(format!("`{name}` is {:?}, not {expected:?}", seen.header(name)));
        }
    }
    if seen.method != "POST" || !seen.path.starts_with(root) {
        return Some(format!("{} {} is not served", seen.method, seen.path));
    }
    if seen.header("host").is_none() {
        return Some("there is no `host`".to_owned());
    }
    if seen.header("content-type") != Some("application/json") {
        return Some(format!("`content-type` is {:?}", seen.header("content-type")));
    }
    if seen.header("content-length") != Some(seen.body.len().to_string().as_str()) {
        return Some("`content-length` is not there once".to_owned());
    }
    if expect == Expect::Anthropic && seen.header("anthropic-version").is_none() {
        return Some("there is no `anthropic-version`".to_owned());
    }
    serde_json::from_slice::<Value>(&seen.body).err().map(|error| format!("the body is not JSON: {error}"))
}
