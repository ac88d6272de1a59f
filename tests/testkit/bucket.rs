//! Object stores, as strict as their documents: a bucket of Amazon S3, which checks each signature, and a container of Azure Blob
//! Storage with the sign-in host of Entra ID. Neither lets anything take the place of what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::clouds::{AWS_REGION, hex, stamp};
use super::{AWS_ID, AWS_SECRET, AWS_TOKEN, Authority, CLOUD_SECRET, ShelfMood};

/// The shared access signature that a container takes.
pub(crate) const SHARED: &str = "sv=2023-11-03&sr=c&sp=rc&se=2099-01-01T00%3A00%3A00Z&sig=c2hhcmVkLXNlY3JldA%3D%3D";
const CLIENT: &str = "6a5b2c1d-0000-4000-8000-123456789abc";
const STORAGE: &str = "https%3A%2F%2Fstorage.azure.com%2F.default";
/// How far clocks may be apart.
const SKEW: Duration = Duration::from_secs(900);

/// Who may put things there, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BucketKind {
    /// Whoever signs with AWS's keys.
    S3,
    /// Whoever shows a token of its sign-in host.
    AzureToken,
    /// Whoever has its shared access signature.
    AzureShared,
}

/// A bucket or container on loopback, behind a certificate, for as long as it is held.
pub(crate) struct Bucket {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

struct State {
    kind: BucketKind,
    mood: ShelfMood,
    objects: BTreeMap<String, Bytes>,
    puts: u64,
    /// How often something was not put because something of its name was there.
    kept: u64,
    tokens: u32,
    /// The status and the code with which it refuses what is signed as it should be.
    turned_away: Option<(u16, &'static str)>,
    faults: Vec<String>,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bucket {
    pub(crate) async fn start(authority: &Authority, kind: BucketKind) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State {
            kind,
            mood: ShelfMood::Honest,
            objects: BTreeMap::new(),
            puts: 0,
            kept: 0,
            tokens: 0,
            turned_away: None,
            faults: Vec::new(),
        }));
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(authority.server()), Arc::clone(&state)));
        Self { address, state, task }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this")
    }

    pub(crate) fn becomes(&self, mood: ShelfMood) {
        self.state().mood = mood;
    }

    /// From now on it answers with this status and code whatever is signed as it should be, or as ever again.
    pub(crate) fn turns_away(&self, with: Option<(u16, &'static str)>) {
        self.state().turned_away = with;
    }

    pub(crate) fn puts(&self) -> u64 {
        self.state().puts
    }

    /// How often something was not put because something of its name was there.
    pub(crate) fn kept(&self) -> u64 {
        self.state().kept
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// What came that no gateway of ours may send.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.state().faults.clone()
    }

    /// Puts something there, as somebody with other keys would.
    pub(crate) fn plant(&self, name: &str) {
        self.state().objects.insert(name.to_owned(), Bytes::from_static(b"planted"));
    }

    /// Writes its objects into a folder, as an auditor would download them.
    pub(crate) fn download(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder can be made");
        for (name, bytes) in &self.state().objects {
            std::fs::write(folder.join(name), bytes).expect("a file can be written");
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let serve = hyper::service::service_fn(|request| answer(request, &state));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

/// A request, read whole.
struct Asked {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }
}

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let asked = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default(),
    };
    let mood = {
        let mut state = state.lock().expect("no test panics while it holds this");
        if asked.path.ends_with("/oauth2/v2.0/token") {
            return Ok(token(&mut state, &asked));
        }
        if asked.method == Method::PUT {
            state.puts += 1;
        }
        if let Err((status, code, fault)) = admitted(&state, &asked) {
            state.faults.push(fault);
            return Ok(refusal(state.kind, status, code));
        }
        if let Some((status, code)) = state.turned_away {
            return Ok(refusal(state.kind, status, code));
        }
        state.mood
    };
    if mood == ShelfMood::Hanging {
        return std::future::pending().await;
    }
    Ok(served(&mut state.lock().expect("no test panics while it holds this"), &asked))
}

/// What is answered to a request with which nothing is wrong.
fn served(state: &mut State, asked: &Asked) -> Response<Full<Bytes>> {
    let name = asked.path.trim_start_matches("/auditors/causeway/").to_owned();
    let done = if state.kind == BucketKind::S3 { StatusCode::OK } else { StatusCode::CREATED };
    let plain = |status: StatusCode, bytes: Bytes| {
        Response::builder().status(status).body(Full::new(bytes)).expect("it has no headers")
    };
    match (&asked.method, state.mood) {
        (_, ShelfMood::Refusing) => refusal(state.kind, 503, "ServerBusy"),
        (&Method::PUT, ShelfMood::Forgetting) => plain(done, Bytes::new()),
        (&Method::PUT, _) if state.objects.contains_key(&name) => {
            state.kept += 1;
            match state.kind {
                BucketKind::S3 => refusal(state.kind, 412, "PreconditionFailed"),
                BucketKind::AzureToken | BucketKind::AzureShared => refusal(state.kind, 409, "BlobAlreadyExists"),
            }
        }
        (&Method::PUT, _) => {
            state.objects.insert(name, asked.body.clone());
            plain(done, Bytes::new())
        }
        (_, mood) => match state.objects.get(&name) {
            None if state.kind == BucketKind::S3 => refusal(state.kind, 404, "NoSuchKey"),
            None => refusal(state.kind, 404, "BlobNotFound"),
            Some(_) if mood == ShelfMood::Changing => plain(StatusCode::OK, Bytes::from_static(b"something else")),
            Some(bytes) => plain(StatusCode::OK, bytes.clone()),
        },
    }
}

/// How each says what is wrong: S3 in XML, Azure in a header as well.
fn refusal(kind: BucketKind, status: u16, code: &str) -> Response<Full<Bytes>> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>said at length</Message></Error>"
    );
    let response = Response::builder().status(status).header("content-type", "application/xml");
    let response = if kind == BucketKind::S3 { response } else { response.header("x-ms-error-code", code) };
    response.body(Full::from(text)).expect("the headers are plain")
}

/// A fault: the status and code that it is answered with, and what it is.
type Fault = (u16, &'static str, String);

fn admitted(state: &State, asked: &Asked) -> Result<(), Fault> {
    let wrong = |what: String| Err((400, "InvalidRequest", what));
    let Some(name) = asked.path.strip_prefix("/auditors/causeway/") else {
        return wrong(format!("{} is elsewhere", asked.path));
    };
    if name.contains('/') || !name.ends_with(".checkpoint") {
        return wrong(format!("{name} is no name of a checkpoint"));
    }
    match asked.method {
        Method::PUT => {
            if asked.header("if-none-match") != Some("*") {
                return wrong("an object could be put over another".to_owned());
            }
            if asked.header("content-length") != Some(asked.body.len().to_string().as_str()) {
                return wrong("`content-length` is not there".to_owned());
            }
            if !asked.body.starts_with(b"gw-1/") {
                return wrong("it is no checkpoint of `gw-1`".to_owned());
            }
        }
        Method::GET if asked.body.is_empty() => {}
        _ => return wrong(format!("{} is not served", asked.method)),
    }
    match state.kind {
        BucketKind::S3 => signed(asked),
        BucketKind::AzureToken | BucketKind::AzureShared => permitted(state, asked),
    }
}

/// Signature Version 4 for S3, written from its description and not from the gateway.
fn signed(asked: &Asked) -> Result<(), Fault> {
    let denied = |code, what: &str| (403, code, format!("{what}: {:?}", asked.headers));
    let malformed = |what| denied("AuthorizationHeaderMalformed", what);
    let header = |name| asked.header(name).ok_or_else(|| malformed(name));
    let (time, content) = (header("x-amz-date")?, header("x-amz-content-sha256")?);
    if !is_now(time) {
        return Err(denied("RequestTimeTooSkewed", "the time is another"));
    }
    if content != hex(digest(&SHA256, &asked.body).as_ref()) {
        return Err(denied("XAmzContentSHA256Mismatch", "the body is another"));
    }
    if header("x-amz-security-token")? != AWS_TOKEN {
        return Err(denied("InvalidToken", "the token is another"));
    }
    let checksum = STANDARD.encode(digest(&SHA256, &asked.body).as_ref());
    let summed = (asked.header("x-amz-checksum-sha256"), asked.header("x-amz-sdk-checksum-algorithm"));
    if asked.method == Method::PUT && summed != (Some(checksum.as_str()), Some("SHA256")) {
        return Err(denied("InvalidRequest", "a bucket whose objects are locked takes nothing without a checksum"));
    }
    let shown = header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| malformed("algorithm"))?;
    let parts: Vec<&str> = shown.split(", ").collect();
    let [credential, names, signature] = parts.as_slice() else { return Err(malformed("parts")) };
    let day = time.get(..8).ok_or_else(|| malformed("date"))?;
    let scope = format!("{day}/{AWS_REGION}/s3/aws4_request");
    if *credential != format!("Credential={AWS_ID}/{scope}") {
        return Err(malformed("credential"));
    }
    let names = names.strip_prefix("SignedHeaders=").ok_or_else(|| malformed("names"))?;
    let listed: Vec<&str> = names.split(';').collect();
    let set: BTreeSet<&str> = listed.iter().copied().collect();
    if !set.iter().eq(listed.iter()) {
        return Err(malformed("the names are not sorted"));
    }
    let must = |name: &str| name.starts_with("x-amz-") || ["host", "content-type", "if-none-match"].contains(&name);
    if let Some(left) = asked.headers.keys().find(|name| must(name.as_str()) && !set.contains(name.as_str())) {
        return Err(denied("AccessDenied", &format!("`{left}` is not signed")));
    }
    let mut canonical = format!("{}\n{}\n{}\n", asked.method, asked.path, asked.query);
    for name in &listed {
        canonical += &format!("{name}:{}\n", header(name)?);
    }
    canonical += &format!("\n{names}\n{content}");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(digest(&SHA256, canonical.as_bytes()).as_ref()));
    let mut key = format!("AWS4{AWS_SECRET}").into_bytes();
    for part in scope.split('/') {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    let good = hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes()).as_ref());
    if *signature == format!("Signature={good}") { Ok(()) } else { Err(denied("SignatureDoesNotMatch", "signature")) }
}

/// Whether `20261126T080000Z` is about now.
fn is_now(time: &str) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let (first, last) = (stamp(now.saturating_sub(SKEW)), stamp(now + SKEW));
    time.len() == first.len() && first.as_str() <= time && time <= last.as_str()
}

/// What Azure wants of every request, and of one that puts a blob.
fn permitted(state: &State, asked: &Asked) -> Result<(), Fault> {
    let wrong = |code, what: &str| Err((400, code, format!("{what}: {:?}", asked.headers)));
    // Tokens are taken from this version on; versions are days, and sort as text.
    let version = asked.header("x-ms-version").unwrap_or_default();
    if !(version.len() == 10 && ("2017-11-09"..="2026-12-31").contains(&version)) {
        return wrong("MissingRequiredHeader", "x-ms-version");
    }
    let date = asked.header("x-ms-date").and_then(|date| httpdate::parse_http_date(date).ok());
    let apart = date.map(|date| SystemTime::now().duration_since(date).unwrap_or_else(|error| error.duration()));
    if apart.is_none_or(|apart| apart > SKEW) {
        return wrong("InvalidHeaderValue", "x-ms-date");
    }
    let kind = asked.header("x-ms-blob-type");
    if kind != (asked.method == Method::PUT).then_some("BlockBlob") {
        return wrong("InvalidHeaderValue", "x-ms-blob-type");
    }
    let (shown, query) = match state.kind {
        BucketKind::AzureToken => (Some(format!("Bearer storage-token-{}", state.tokens)), ""),
        BucketKind::AzureShared | BucketKind::S3 => (None, SHARED),
    };
    if asked.header("authorization").map(str::to_owned) != shown || asked.query != query {
        return Err((403, "AuthenticationFailed", format!("`{}` and {:?}", asked.query, asked.headers)));
    }
    Ok(())
}

/// RFC 6749, section 4.4.
fn token(state: &mut State, asked: &Asked) -> Response<Full<Bytes>> {
    let escaped = CLOUD_SECRET.replace('&', "%26").replace('=', "%3D");
    let mut fields: Vec<&str> = std::str::from_utf8(&asked.body).expect("a form is text").split('&').collect();
    fields.sort_unstable();
    let wanted = [
        format!("client_id={CLIENT}"),
        format!("client_secret={escaped}"),
        "grant_type=client_credentials".to_owned(),
        format!("scope={STORAGE}"),
    ];
    let json = |status: u16, text: String| {
        let response = Response::builder().status(status).header("content-type", "application/json");
        response.body(Full::from(text)).expect("the headers are plain")
    };
    if asked.method != Method::POST || asked.path != "/contoso.example/oauth2/v2.0/token" || fields != wanted {
        state.faults.push(format!("{} with {fields:?}", asked.path));
        return json(401, "{\"error\":\"invalid_client\"}".to_owned());
    }
    state.tokens += 1;
    let token = format!("storage-token-{}", state.tokens);
    json(200, format!("{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}"))
}

/// The lines of a configuration that name it as the second place, and what they need beside them.
pub(crate) fn bucket_sections(bucket: &Bucket) -> String {
    let address = bucket.address;
    let reached = "reach = { local = { within = [\"127.0.0.0/8\"] } }\ntls = { ca = \"ca.pem\" }\n";
    let (section, auth) = match bucket.state().kind {
        BucketKind::S3 => (
            "s3",
            format!(
                "{{ aws = {{ region = \"{AWS_REGION}\", access_key = {{ file = \"aws.id\" }}, \
                 secret_key = {{ file = \"aws.secret\" }}, session_token = {{ file = \"aws.token\" }} }} }}"
            ),
        ),
        BucketKind::AzureShared => ("azure-blob", "{ sas = { file = \"shared\" } }".to_owned()),
        BucketKind::AzureToken => (
            "azure-blob",
            format!(
                "{{ client-secret = {{ identity = \"entra\", tenant = \"contoso.example\", client = \"{CLIENT}\", \
                 secret = {{ file = \"app.secret\" }} }} }}"
            ),
        ),
    };
    let entra = format!("[identity.entra]\nurl = \"https://{address}\"\n{reached}\n");
    format!(
        "[audit]\norigin = \"gw-1\"\n\n[audit.witness.{section}]\nurl = \"https://{address}/auditors/causeway\"\n{reached}\
         auth = {auth}\n\n{}",
        if auth.contains("entra") { &entra } else { "" }
    )
}
