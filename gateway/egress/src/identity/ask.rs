//! One request for a token, and what came of it.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use http_body::Body as _;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::assertion::{self, AssertionError};
use super::{Application, Grant, LentKeys, TokenSpec, aws};
use crate::endpoint::{Endpoint, Reply, UpstreamRequest};
use crate::error::SendError;

/// Most bytes of an answer that are read; a token has a few thousand.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Most bytes of a token.
const LONGEST_TOKEN: usize = 16 * 1024;
/// Most bytes of a file that stands for an identity. The agent's challenges are smaller.
const LONGEST_FILE: u64 = 32 * 1024;
/// A token is believed to live no longer than this, whatever its issuer says.
pub(super) const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The grant type of every application.
const CREDENTIALS: (&str, &str) = ("grant_type", "client_credentials");
/// Says what kind of assertion is shown.
const BY_ASSERTION: (&str, &str) = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
static METADATA: HeaderName = HeaderName::from_static("metadata");

/// What is lent for a time.
#[derive(Clone)]
pub(crate) enum Lent {
    /// `Bearer …`, marked sensitive.
    Token(HeaderValue),
    /// Keys to sign with.
    Keys(LentKeys),
}

/// A token or keys, fresh.
pub(super) struct Issued {
    /// What is lent.
    pub(super) lent: Lent,
    /// How long it is good from now on.
    pub(super) lifetime: Duration,
    /// When its issuer wishes to be asked again.
    pub(super) refresh_in: Option<Duration>,
}

/// Why there is no token.
#[derive(Debug)]
pub(super) enum Refused {
    /// The identity host was not reached.
    Unreached(SendError),
    /// It answered with an error.
    Answered(StatusCode, String),
    /// Its answer cannot be used.
    Unusable(&'static str),
    /// A file that stands for the identity cannot be used.
    File(PathBuf, String),
    /// No assertion can be made.
    Assertion(AssertionError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreached(error) => write!(f, "the identity host was not reached: {error}"),
            Self::Answered(status, said) => write!(f, "the identity host answers {}{said}", status.as_u16()),
            Self::Unusable(why) => write!(f, "the identity host's answer cannot be used: {why}"),
            Self::File(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Assertion(error) => write!(f, "no assertion can be signed: {error}"),
        }
    }
}

/// What came of one request.
pub(super) struct Heard {
    pub(super) token: Result<Issued, Refused>,
    /// Seconds by which our clock is ahead of the host's.
    pub(super) ahead_s: Option<i64>,
}

/// Asks once.
pub(super) async fn ask(spec: &TokenSpec, host: &Arc<Endpoint>) -> Heard {
    let mut ahead_s = None;
    let token = asked(spec, host, &mut ahead_s).await;
    Heard { token, ahead_s }
}

async fn asked(spec: &TokenSpec, host: &Arc<Endpoint>, ahead_s: &mut Option<i64>) -> Result<Issued, Refused> {
    if let Some(keys) = aws::asked(spec, host, ahead_s).await {
        return keys;
    }
    let request = request(spec, host)?;
    let mut reply = host.send_from_root(request, None).await.map_err(Refused::Unreached)?;
    if let Grant::Arc { folder } = &spec.grant
        && reply.status == StatusCode::UNAUTHORIZED
    {
        let answer = challenge(&reply.headers, folder)?;
        let again = machine("2019-11-01", &spec.scope, None);
        reply = host.send_from_root(again, Some((AUTHORIZATION, answer))).await.map_err(Refused::Unreached)?;
    }
    *ahead_s = seen_clock(&reply.headers);
    let status = reply.status;
    let body = read(reply).await?;
    if status.is_success() { issued(&body) } else { Err(Refused::Answered(status, said(&body))) }
}

fn request(spec: &TokenSpec, host: &Endpoint) -> Result<UpstreamRequest, Refused> {
    match &spec.grant {
        Grant::ClientSecret { app, secret } => Ok(form(app, spec, &[CREDENTIALS, ("client_secret", secret.expose())])),
        Grant::ClientCertificate { app, certificate } => {
            let audience = format!("{}://{}{}", host.spec().scheme.as_str(), host.spec().authority, path(app));
            let signed = assertion::assertion(app, certificate, &audience, SystemTime::now());
            let signed = Zeroizing::new(signed.map_err(Refused::Assertion)?);
            Ok(form(app, spec, &[CREDENTIALS, BY_ASSERTION, ("client_assertion", &signed)]))
        }
        Grant::Federated { app, file } => {
            let token = small_file(file)?;
            Ok(form(app, spec, &[CREDENTIALS, BY_ASSERTION, ("client_assertion", token.trim())]))
        }
        Grant::Machine { client } => Ok(machine("2018-02-01", &spec.scope, client.as_deref())),
        Grant::Arc { .. } => Ok(machine("2019-11-01", &spec.scope, None)),
        Grant::AwsWebIdentity { .. } | Grant::AwsMachine { .. } | Grant::AwsContainer { .. } => {
            Err(Refused::Unusable("keys of AWS are no token"))
        }
    }
}

fn path(app: &Application) -> String {
    format!("/{}/oauth2/v2.0/token", app.tenant)
}

/// A request of an application (RFC 6749, section 4.4).
fn form(app: &Application, spec: &TokenSpec, fields: &[(&str, &str)]) -> UpstreamRequest {
    let fields: Vec<_> =
        [("client_id", app.client.as_str()), ("scope", &spec.scope)].iter().chain(fields).copied().collect();
    let body = encoded(&fields);
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))]);
    let body_len = body.len() as u64;
    UpstreamRequest { method: Method::POST, path_and_query: path(app), headers, body: vec![body], body_len }
}

/// The fields of a form.
pub(super) fn encoded(fields: &[(&str, &str)]) -> Bytes {
    let mut body = Zeroizing::new(String::new());
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        escape(value, &mut body);
    }
    Bytes::copy_from_slice(body.as_bytes())
}

/// A request of a machine. The header keeps requests away that somebody made a server send.
fn machine(version: &str, scope: &str, client: Option<&str>) -> UpstreamRequest {
    let mut path = format!("/metadata/identity/oauth2/token?api-version={version}&resource=");
    escape(scope.strip_suffix("/.default").unwrap_or(scope), &mut path);
    if let Some(client) = client {
        path.push_str("&client_id=");
        escape(client, &mut path);
    }
    let headers = HeaderMap::from_iter([(METADATA.clone(), HeaderValue::from_static("true"))]);
    UpstreamRequest { method: Method::GET, path_and_query: path, headers, body: Vec::new(), body_len: 0 }
}

/// Percent-encodes everything that is not unreserved (RFC 3986, section 2.3).
fn escape(text: &str, into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(DIGITS[usize::from(byte >> 4)]));
            into.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// What the Arc agent wants to see: the content of a file that only those may read who may have the identity. The agent
/// names the file; one outside its folder would make the gateway read a file for somebody else, and is refused.
fn challenge(headers: &HeaderMap, folder: &Path) -> Result<HeaderValue, Refused> {
    const WANTED: Refused = Refused::Unusable("the agent names no file to read");
    let named = headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).ok_or(WANTED)?;
    let file = Path::new(named.strip_prefix("Basic realm=").ok_or(WANTED)?.trim_matches('"'));
    if file.parent() != Some(folder) || file.extension().is_none_or(|extension| extension != "key") {
        return Err(Refused::Unusable("the agent names a file outside its folder"));
    }
    let content = small_file(file)?;
    let mut value = HeaderValue::from_str(&format!("Basic {}", content.trim()))
        .map_err(|_| Refused::Unusable("the agent's file holds what no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn small_file(path: &Path) -> Result<Zeroizing<String>, Refused> {
    let refused = |why: String| Refused::File(path.to_owned(), why);
    let mut text = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
    file.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(|error| refused(error.to_string()))?;
    match text.len() as u64 {
        0 => Err(refused("it is empty".to_owned())),
        length if length > LONGEST_FILE => Err(refused("it is too long to be a token".to_owned())),
        _ => Ok(text),
    }
}

pub(super) async fn read(mut reply: Reply) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let mut bytes = Zeroizing::new(Vec::new());
    loop {
        let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut reply.body).poll_frame(context)).await;
        match frame {
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => return Err(Refused::Unusable("it broke off")),
            None => return Ok(bytes),
        }
        if bytes.len() > LONGEST_ANSWER {
            return Err(Refused::Unusable("it is too long"));
        }
    }
}

/// The members that matter of an answer that holds a token. Entra ID writes seconds as numbers, the metadata services as
/// texts.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    expires_in: Seconds,
    #[serde(default)]
    refresh_in: Option<Seconds>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Seconds {
    fn duration(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().ok()?,
        };
        Some(Duration::from_secs(seconds).min(LONGEST_LIFE)).filter(|life| !life.is_zero())
    }
}

fn issued(body: &[u8]) -> Result<Issued, Refused> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| Refused::Unusable("it holds no token"))?;
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err(Refused::Unusable("its token is of another type than Bearer"));
    }
    let token = Zeroizing::new(answer.access_token);
    if token.is_empty() || token.len() > LONGEST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refused::Unusable("its token is empty, too long, or no token"));
    }
    let lifetime = answer.expires_in.duration().ok_or(Refused::Unusable("its token has no lifetime"))?;
    let text = Zeroizing::new(format!("Bearer {}", token.as_str()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| Refused::Unusable("its token is no token"))?;
    value.set_sensitive(true);
    Ok(Issued {
        lent: Lent::Token(value),
        lifetime,
        refresh_in: answer.refresh_in.as_ref().and_then(Seconds::duration),
    })
}

/// What the host says of its refusal, as far as it is certain to hold nothing that should not be shown: the error's name
/// and Entra ID's number for it.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Told {
        error: Option<String>,
        error_description: Option<String>,
    }
    let Ok(told) = serde_json::from_slice::<Told>(body) else { return String::new() };
    let word = |text: &str, more: &[u8]| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
        text.len() <= 64 && !text.is_empty() && text.bytes().all(plain)
    };
    let error = told.error.filter(|error| word(error, b"_-.")).map(|error| format!(" {error}")).unwrap_or_default();
    let number = told.error_description.as_deref().and_then(|text| text.split([':', ' ']).next());
    let number = number.filter(|number| number.starts_with("AADSTS") && word(number, b""));
    let number = number.map(|number| format!(" ({number})")).unwrap_or_default();
    format!("{error}{number}")
}

/// Seconds by which our clock is ahead of that of whoever answers, where it says its time.
pub(super) fn seen_clock(headers: &HeaderMap) -> Option<i64> {
    clock_ahead(headers, SystemTime::now())
}

/// Whole seconds by which `now` is ahead of the `Date` of an answer.
fn clock_ahead(headers: &HeaderMap, now: SystemTime) -> Option<i64> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let seconds = |time: Duration| i64::try_from(time.as_secs()).ok();
    match now.duration_since(date) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => seconds(behind.duration()).map(|behind| -behind),
    }
}
