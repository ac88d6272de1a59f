//! Control planes of clouds, as strict as their documents: Azure Resource Manager with the sign-in host of Entra ID, and the
//! control plane of Amazon Bedrock, which checks each signature.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Authority;

/// What the application shows, and what it is for.
pub(crate) const CLOUD_SECRET: &str = "s3cr3t~of&the=app";
pub(crate) const CLOUD_SCOPE: &str = "https://management.azure.com/.default";
pub(crate) const ACCOUNT: &str =
    "/subscriptions/11111111-2222/resourceGroups/rg-ai/providers/Microsoft.CognitiveServices/accounts/contoso";
pub(crate) const AWS_ID: &str = "AKIDEXAMPLE";
pub(crate) const AWS_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const AWS_TOKEN: &str = "SESSION/TOKEN+x=";
pub(crate) const AWS_REGION: &str = "eu-central-1";
const CLIENT: &str = "6a5b2c1d-0000-4000-8000-123456789abc";

/// A control plane on loopback, behind a certificate, for as long as it is held.
pub(crate) struct Cloud {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// What lies at which path, without its query.
    documents: Vec<(String, Value)>,
    /// What everything is answered with instead.
    refusal: Option<Answer>,
    /// Path and status of each request.
    seen: Vec<(String, u16)>,
    token: u32,
}

impl Cloud {
    /// Azure Resource Manager and the sign-in host, at one address.
    pub(crate) async fn azure(authority: &Authority) -> Self {
        Self::start(authority, azure).await
    }

    /// The control plane of Amazon Bedrock.
    pub(crate) async fn bedrock(authority: &Authority) -> Self {
        Self::start(authority, bedrock).await
    }

    async fn start(authority: &Authority, answer: fn(&mut State, &Asked) -> Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let acceptor = TlsAcceptor::from(authority.server());
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(accept(listener, acceptor, (Arc::clone(&state), answer)));
        Self { address, state, task }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this")
    }

    /// What lies at a path from now on.
    pub(crate) fn put(&self, path: &str, document: Value) {
        let mut state = self.state();
        state.documents.retain(|(known, _)| known != path);
        state.documents.push((path.to_owned(), document));
    }

    /// Answers everything with this from now on, tokens apart.
    pub(crate) fn refuse(&self, status: u16, headers: &[(&'static str, &str)], body: Value) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.state().refusal = Some((status, headers, body));
    }

    /// Path and status of each request.
    pub(crate) fn seen(&self) -> Vec<(String, u16)> {
        self.state().seen.clone()
    }

    /// How often a path was answered with a status.
    pub(crate) fn answered(&self, path: &str, status: u16) -> usize {
        self.seen().iter().filter(|(seen, with)| seen.split('?').next() == Some(path) && *with == status).count()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request, read whole.
struct Asked {
    method: String,
    path: String,
    query: String,
    headers: http::HeaderMap,
    body: Bytes,
    host: String,
}

type Answer = (u16, Vec<(&'static str, String)>, Value);

/// What answers a request.
type Answers = fn(&mut State, &Asked) -> Answer;

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, (state, answer): (Arc<Mutex<State>>, Answers)) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let Ok(tls) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let state = Arc::clone(&state);
                async move { Ok::<_, std::convert::Infallible>(respond(request, &state, answer).await) }
            });
            let io = hyper_util::rt::TokioIo::new(tls);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    state: &Mutex<State>,
    answer: fn(&mut State, &Asked) -> Answer,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("the gateway sends its bodies whole").to_bytes();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        host: head.headers[HOST].to_str().expect("a host is text").to_owned(),
        headers: head.headers,
        body,
    };
    let mut state = state.lock().expect("no test panics while it holds this");
    let (status, headers, document) = answer(&mut state, &asked);
    let query = if asked.query.is_empty() { String::new() } else { format!("?{}", asked.query) };
    state.seen.push((format!("{}{query}", asked.path), status));
    let mut response = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Full::from(document.to_string())).expect("the headers are plain")
}

fn refused(status: u16, code: &str) -> Answer {
    (status, Vec::new(), json!({"error": {"code": code, "message": "said at length"}}))
}

/// What is refused, or lies there.
fn found(state: &State, path: &str, absent: Answer) -> Answer {
    if let Some(refusal) = &state.refusal {
        return refusal.clone();
    }
    let document = state.documents.iter().find(|(known, _)| known == path);
    document.map_or(absent, |(_, document)| (200, Vec::new(), document.clone()))
}

fn azure(state: &mut State, asked: &Asked) -> Answer {
    if asked.path.ends_with("/oauth2/v2.0/token") {
        return token(state, asked);
    }
    let shown = asked.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if state.token == 0 || shown != Some(format!("Bearer arm-token-{}", state.token).as_str()) {
        return refused(401, "InvalidAuthenticationToken");
    }
    if asked.method != "GET" || !asked.body.is_empty() || asked.headers.contains_key("api-key") {
        return refused(405, "MethodNotAllowed");
    }
    if asked.query != "api-version=2024-10-01" {
        return refused(400, "InvalidApiVersionParameter");
    }
    found(state, &asked.path, refused(404, "ResourceNotFound"))
}

/// RFC 6749, section 4.4.
fn token(state: &mut State, asked: &Asked) -> Answer {
    let escaped = |text: &str| {
        text.replace('%', "%25").replace('&', "%26").replace('=', "%3D").replace(':', "%3A").replace('/', "%2F")
    };
    let mut fields: Vec<&str> = std::str::from_utf8(&asked.body).expect("a form is text").split('&').collect();
    fields.sort_unstable();
    let mut wanted = [
        format!("client_id={CLIENT}"),
        format!("client_secret={}", escaped(CLOUD_SECRET)),
        "grant_type=client_credentials".to_owned(),
        format!("scope={}", escaped(CLOUD_SCOPE)),
    ];
    wanted.sort_unstable();
    if asked.method != "POST" || asked.path != "/contoso.example/oauth2/v2.0/token" || fields != wanted {
        return (401, Vec::new(), json!({"error": "invalid_client"}));
    }
    state.token += 1;
    let token = format!("arm-token-{}", state.token);
    (200, Vec::new(), json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
}

fn bedrock(state: &mut State, asked: &Asked) -> Answer {
    let refused = |kind: &str, status: u16| {
        let header = ("x-amzn-errortype", format!("{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"));
        (status, vec![header], json!({"message": "said at length"}))
    };
    if let Err(kind) = signature(asked) {
        return refused(kind, 403);
    }
    if asked.method != "GET" || !asked.query.is_empty() || !asked.body.is_empty() {
        return refused("ValidationException", 400);
    }
    found(state, &asked.path, refused("ResourceNotFoundException", 404))
}

/// Signature Version 4, written from its description and not from the gateway.
fn signature(asked: &Asked) -> Result<(), &'static str> {
    let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
    let time = header("x-amz-date").ok_or("IncompleteSignatureException")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let minutes = |by: Duration| stamp(now.saturating_sub(by)).as_str() <= time;
    if !minutes(Duration::from_secs(300)) || stamp(now + Duration::from_secs(300)).as_str() < time {
        return Err("InvalidSignatureException");
    }
    if header("x-amz-security-token") != Some(AWS_TOKEN) {
        return Err("UnrecognizedClientException");
    }
    let day = time.get(..8).ok_or("IncompleteSignatureException")?;
    let scope = format!("{day}/{AWS_REGION}/bedrock/aws4_request");
    let names = "host;x-amz-date;x-amz-security-token";
    // Each segment is encoded once more than it was sent.
    let path: Vec<String> = asked.path.split('/').map(|segment| segment.replace('%', "%25")).collect();
    let canonical = [
        &asked.method,
        &path.join("/"),
        &asked.query,
        &format!("host:{}", asked.host),
        &format!("x-amz-date:{time}"),
        &format!("x-amz-security-token:{AWS_TOKEN}"),
        "",
        names,
        &hex(digest(&SHA256, &asked.body).as_ref()),
    ]
    .join("\n");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(digest(&SHA256, canonical.as_bytes()).as_ref()));
    let mut key = format!("AWS4{AWS_SECRET}").into_bytes();
    for part in scope.split('/') {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    let good = hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes()).as_ref());
    let wanted = format!("AWS4-HMAC-SHA256 Credential={AWS_ID}/{scope}, SignedHeaders={names}, Signature={good}");
    if header("authorization") == Some(wanted.as_str()) { Ok(()) } else { Err("InvalidSignatureException") }
}

/// `20261126T080000Z`.
pub(super) fn stamp(since: Duration) -> String {
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Howard Hinnant's `civil_from_days`, for days after 1970.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of a configuration that name the manager of Azure, and sign in to it.
pub(crate) fn azure_sections(cloud: &Cloud) -> String {
    let address = cloud.address;
    format!(
        "[identity.entra]\nurl = \"https://{address}\"\nreach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\n\
         tls = {{ ca = \"cloud-ca.pem\" }}\n\n\
         [control.azure]\nurl = \"https://{address}\"\nreach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\n\
         tls = {{ ca = \"cloud-ca.pem\" }}\n\
         auth = {{ client-secret = {{ identity = \"entra\", tenant = \"contoso.example\", client = \"{CLIENT}\", \
         secret = {{ file = \"app.secret\" }}, scope = \"{CLOUD_SCOPE}\" }} }}\n"
    )
}

/// The same for the control plane of Bedrock.
pub(crate) fn bedrock_sections(cloud: &Cloud) -> String {
    let address = cloud.address;
    format!(
        "[control.bedrock]\nurl = \"https://{address}\"\nreach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\n\
         tls = {{ ca = \"cloud-ca.pem\" }}\n\
         auth = {{ aws = {{ region = \"{AWS_REGION}\", access_key = {{ file = \"aws.id\" }}, \
         secret_key = {{ file = \"aws.secret\" }}, session_token = {{ file = \"aws.token\" }} }} }}\n"
    )
}
