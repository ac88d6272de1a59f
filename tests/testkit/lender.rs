//! Hosts that lend a gateway a token or keys for who it is, as strict as their documents: the sign-in host of Entra ID for an
//! application that shows another issuer's token, the metadata service of a machine in Azure, and AWS's security token service,
//! metadata service (version 2 alone) and agent beside a container.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::clouds::stamp;
use super::{AWS_ID, AWS_SECRET, AWS_TOKEN, Authority, UPSTREAM_KEY};

/// The application, or the identity of the machine, in Entra ID.
pub(crate) const LENT_CLIENT: &str = "6a5b2c1d-0000-4000-8000-123456789abc";
/// The role in AWS.
pub(crate) const LENT_ROLE: &str = "arn:aws:iam::111122223333:role/audit/causeway-audit";
const ROLE_NAME: &str = "causeway-audit";
const SESSION: &str = "AQAEAH-session==";

/// Who lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lends {
    /// Entra ID, for a token of another issuer.
    Workload,
    /// The metadata service of a machine in Azure.
    AzureMachine,
    /// AWS's security token service, for a token of another issuer.
    WebIdentity,
    /// The metadata service of a machine in AWS.
    AwsMachine,
    /// The agent beside a container in AWS, which wants to see a token.
    AwsContainer,
}

/// A running host.
pub(crate) struct Lender {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    lends: Lends,
    /// The other issuer's token, or the one that the agent wants to see.
    wanted: String,
    life: Duration,
    lent: usize,
    /// What came that no gateway of ours may send.
    faults: Vec<String>,
}

impl Lender {
    /// One that wants to see this token, where it wants to see any; what it lends is good for an hour. The two that stand on the
    /// internet have a certificate.
    pub(crate) async fn start(authority: &Authority, lends: Lends, wanted: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let life = Duration::from_secs(3_600);
        let state = Arc::new(Mutex::new(State { lends, wanted: wanted.to_owned(), life, lent: 0, faults: Vec::new() }));
        let acceptor = lends.has_certificate().then(|| TlsAcceptor::from(authority.server()));
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&state)));
        Self { address, state, task }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this")
    }

    /// From now on it wants to see another token.
    pub(crate) fn wants(&self, wanted: &str) {
        wanted.clone_into(&mut self.state().wanted);
    }

    /// What it lends from now on is good for so long.
    pub(crate) fn lends_for(&self, life: Duration) {
        self.state().life = life;
    }

    /// How often it lent something.
    pub(crate) fn lent(&self) -> usize {
        self.state().lent
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.state().faults.clone()
    }

    /// The section of a configuration that names it `lender`; it needs `ca.pem` beside it.
    pub(crate) fn section(&self) -> String {
        let (scheme, tls) =
            if self.state().lends.has_certificate() { ("https", "tls = { ca = \"ca.pem\" }\n") } else { ("http", "") };
        let address = self.address;
        let reach = "reach = { local = { within = [\"127.0.0.0/8\"] } }";
        format!("[identity.lender]\nurl = \"{scheme}://{address}\"\n{reach}\n{tls}\n")
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lends {
    fn has_certificate(self) -> bool {
        matches!(self, Self::Workload | Self::WebIdentity)
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&state)));
            let http = hyper::server::conn::http1::Builder::new();
            match acceptor {
                None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                }
            }
        });
    }
}

/// A request, read whole.
struct Asked {
    line: String,
    headers: HeaderMap,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The fields of a form, in the order of their names.
    fn fields(&self) -> Vec<&str> {
        let mut fields: Vec<&str> = self.body.split('&').collect();
        fields.sort_unstable();
        fields
    }
}

/// Status and body.
type Answer = (u16, String);

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
    let asked = Asked {
        line: format!("{} {path}", head.method),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap_or_default(),
    };
    let mut state = state.lock().expect("no test panics while it holds this");
    let is_bare = asked.body.is_empty() && head.method != Method::POST;
    let (status, body) = match state.lends {
        Lends::Workload => workload(&mut state, &asked),
        Lends::WebIdentity => web_identity(&mut state, &asked),
        _ if !is_bare || asked.headers.contains_key("x-forwarded-for") => (400, String::new()),
        Lends::AzureMachine => azure_machine(&mut state, &asked),
        Lends::AwsMachine => aws_machine(&mut state, &asked),
        Lends::AwsContainer => aws_container(&mut state, &asked),
    };
    if status != 200 {
        state.faults.push(format!("{status} to {}: {} {:?}", asked.line, asked.body, asked.headers));
    }
    let response = Response::builder().status(status).header("date", httpdate::fmt_http_date(SystemTime::now()));
    Ok(response.body(Full::from(body)).expect("the headers are plain"))
}

/// RFC 7523, section 2.2, as Entra ID has it.
fn workload(state: &mut State, asked: &Asked) -> Answer {
    let wanted = [
        format!("client_assertion={}", state.wanted),
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer".to_owned(),
        format!("client_id={LENT_CLIENT}"),
        "grant_type=client_credentials".to_owned(),
        "scope=https%3A%2F%2Fmodels.example%2F.default".to_owned(),
    ];
    let is_form = asked.header("content-type") == Some("application/x-www-form-urlencoded");
    if asked.line != "POST /contoso.example/oauth2/v2.0/token" || !is_form || asked.fields() != wanted {
        let why = "AADSTS700213: No matching federated identity record found.";
        return (401, format!("{{\"error\":\"invalid_client\",\"error_description\":\"{why}\"}}"));
    }
    state.lent += 1;
    (200, bearer(&state.life.as_secs().to_string()))
}

fn azure_machine(state: &mut State, asked: &Asked) -> Answer {
    let resource = "resource=https%3A%2F%2Fmodels.example";
    let line = format!("GET /metadata/identity/oauth2/token?api-version=2018-02-01&{resource}&client_id={LENT_CLIENT}");
    if asked.header("metadata") != Some("true") || asked.line != line {
        return (400, "{\"error\":\"invalid_request\"}".to_owned());
    }
    state.lent += 1;
    (200, bearer(&format!("\"{}\"", state.life.as_secs())))
}

/// The one token that upstreams take.
fn bearer(life: &str) -> String {
    format!("{{\"token_type\":\"Bearer\",\"expires_in\":{life},\"access_token\":\"{UPSTREAM_KEY}\"}}")
}

fn web_identity(state: &mut State, asked: &Asked) -> Answer {
    let role = LENT_ROLE.replace(':', "%3A").replace('/', "%2F");
    let wanted = [
        "Action=AssumeRoleWithWebIdentity".to_owned(),
        format!("RoleArn={role}"),
        "RoleSessionName=causeway".to_owned(),
        "Version=2011-06-15".to_owned(),
        format!("WebIdentityToken={}", state.wanted),
    ];
    let refused = |code: &str| {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>said at length</Message></Error>");
        (400, format!("<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{error}</ErrorResponse>"))
    };
    // It is asked by nobody who has keys already.
    if asked.line != "POST /" || asked.header("authorization").is_some() {
        return refused("InvalidAction");
    }
    if asked.fields() != wanted {
        return refused("InvalidIdentityToken");
    }
    state.lent += 1;
    let (id, secret, token) = (AWS_ID, AWS_SECRET, AWS_TOKEN);
    let keys = format!(
        "<Credentials>\n      <SessionToken>{token}</SessionToken>\n      <SecretAccessKey>{secret}</SecretAccessKey>\n      \
         <Expiration>{}</Expiration>\n      <AccessKeyId>{id}</AccessKeyId>\n    </Credentials>",
        end(state.life)
    );
    let result = format!(
        "<AssumeRoleWithWebIdentityResult>\n    <SubjectFromWebIdentityToken>a</SubjectFromWebIdentityToken>\n    {keys}\n  \
         </AssumeRoleWithWebIdentityResult>"
    );
    let head = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">";
    (200, format!("{head}\n  {result}\n</AssumeRoleWithWebIdentityResponse>\n"))
}

fn aws_machine(state: &mut State, asked: &Asked) -> Answer {
    const ROLES: &str = "GET /latest/meta-data/iam/security-credentials/";
    if asked.line == "PUT /latest/api/token" {
        let ttl = asked.header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|text| text.parse().ok());
        let is_good = ttl.is_some_and(|seconds: u32| (1..=21_600).contains(&seconds));
        return if is_good { (200, SESSION.to_owned()) } else { (400, String::new()) };
    }
    // Version 1 has no sessions.
    if asked.header("x-aws-ec2-metadata-token") != Some(SESSION) {
        return (401, String::new());
    }
    match asked.line.strip_prefix(ROLES) {
        Some("") => (200, ROLE_NAME.to_owned()),
        Some(ROLE_NAME) => {
            state.lent += 1;
            (200, keys("\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",", state.life))
        }
        _ => (404, String::new()),
    }
}

fn aws_container(state: &mut State, asked: &Asked) -> Answer {
    if asked.line != "GET /v1/credentials" {
        return (404, String::new());
    }
    if asked.header("authorization") != Some(state.wanted.as_str()) {
        return (401, "{\"code\":\"AccessDenied\",\"message\":\"said at length\"}".to_owned());
    }
    state.lent += 1;
    (200, keys("\"AccountId\":\"111122223333\",", state.life))
}

fn keys(more: &str, life: Duration) -> String {
    let end = end(life);
    format!(
        "{{{more}\"AccessKeyId\":\"{AWS_ID}\",\"SecretAccessKey\":\"{AWS_SECRET}\",\"Token\":\"{AWS_TOKEN}\",\
         \"Expiration\":\"{end}\"}}"
    )
}

/// `2026-11-27T14:05:06Z`, so long from now.
fn end(life: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let plain = stamp(now + life);
    let part = |range: std::ops::Range<usize>| plain.get(range).expect("a time has this form");
    format!("{}-{}-{}T{}:{}:{}Z", part(0..4), part(4..6), part(6..8), part(9..11), part(11..13), part(13..15))
}
