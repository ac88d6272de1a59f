//! Tokens: each way to ask for one, against a host that refuses what Entra ID and the metadata services would refuse.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use egress::{
    Application, ClientCertificate, Code, EndpointSpec, Fleet, Grant, Own, Reach, Scheme, Secret, SendError, TokenSpec,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use crate::world::{Upstream, answering, endpoint, fleet, pass, read, send, until};

const TENANT: &str = "contoso.example";
const CLIENT: &str = "6a5b2c1d-0000-4000-8000-123456789abc";
const SECRET: &str = "s3cr3t~with&odd=characters+in%it";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const RESOURCE: &str = "https://cognitiveservices.azure.com";
const FOREIGN_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln";

/// An identity host, and what it knows.
struct Identity {
    server: Upstream,
    known: Arc<Known>,
}

/// What the host checks requests against, and how it answers.
struct Known {
    certificate: Vec<u8>,
    public_key: Vec<u8>,
    /// The file that an Arc agent wants read, and what stands in it.
    challenge: Mutex<(PathBuf, String)>,
    /// Ids of assertions; none counts twice.
    seen: Mutex<Vec<String>>,
    asked: AtomicUsize,
    lifetime_s: AtomicU64,
    /// How far its clock is behind ours.
    behind_s: AtomicI64,
    down: AtomicBool,
}

/// Entra ID's way to say no.
type Refusal = (StatusCode, &'static str, &'static str);

const BAD_REQUEST: Refusal = (StatusCode::BAD_REQUEST, "invalid_request", "AADSTS900144: what was sent is wrong.");
const BAD_SECRET: Refusal =
    (StatusCode::UNAUTHORIZED, "invalid_client", "AADSTS7000215: Invalid client secret provided.");
const BAD_ASSERTION: Refusal =
    (StatusCode::UNAUTHORIZED, "invalid_client", "AADSTS700027: signature validation failed.");
const BAD_TIME: Refusal =
    (StatusCode::UNAUTHORIZED, "invalid_client", "AADSTS700024: Client assertion is not within its valid time range.");

impl Identity {
    async fn start() -> (Self, ClientCertificate) {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let certificate = CertificateParams::new([]).unwrap().self_signed(&key).unwrap();
        let known = Arc::new(Known {
            certificate: certificate.der().to_vec(),
            public_key: key.der_bytes().to_vec(),
            challenge: Mutex::default(),
            seen: Mutex::default(),
            asked: AtomicUsize::new(0),
            lifetime_s: AtomicU64::new(3600),
            behind_s: AtomicI64::new(0),
            down: AtomicBool::new(false),
        });
        let own = Arc::clone(&known);
        let server = answering(move |request| {
            let known = Arc::clone(&own);
            async move { known.answer(request).await }
        })
        .await;
        let shown = ClientCertificate {
            chain: vec![CertificateDer::from(certificate.der().to_vec())],
            key: Arc::new(PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()))),
        };
        (Self { server, known }, shown)
    }

    fn asked(&self) -> usize {
        self.known.asked.load(Ordering::SeqCst)
    }

    fn host(&self) -> EndpointSpec {
        EndpointSpec { name: "identity.entra".into(), base_path: String::new(), ..endpoint(self.server.address) }
    }

    /// An endpoint that wants the tokens of this host.
    fn endpoint(&self, upstream: &Upstream, grant: Grant) -> EndpointSpec {
        wanting(upstream.address, self.host(), grant)
    }
}

fn wanting(upstream: SocketAddr, host: EndpointSpec, grant: Grant) -> EndpointSpec {
    let token = TokenSpec { host: Arc::new(host), scope: SCOPE.to_owned(), grant };
    EndpointSpec { credential: Some(Own::Token(Arc::new(token))), ..endpoint(upstream) }
}

impl Known {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path_and_query().unwrap().as_str().to_owned();
        let mut response = if self.down.load(Ordering::SeqCst) {
            Response::builder().status(503).body(Full::default()).unwrap()
        } else if head.method == Method::POST {
            let host = head.headers[header::HOST].to_str().unwrap();
            let allowed = self.application(&head.headers, host, &path, &body);
            // Numbers, as Entra ID writes them.
            said(allowed, &json!(self.lifetime_s.load(Ordering::SeqCst)), number)
        } else {
            match self.machine(&head.headers, &path) {
                Some(challenge) => challenge,
                // Texts, as the metadata services write them.
                None => said(Ok(()), &json!(self.lifetime_s.load(Ordering::SeqCst).to_string()), number),
            }
        };
        let behind = Duration::from_secs(self.behind_s.load(Ordering::SeqCst).unsigned_abs());
        let date = httpdate::fmt_http_date(SystemTime::now() - behind);
        response.headers_mut().insert(header::DATE, date.parse().unwrap());
        response
    }

    /// RFC 6749 section 4.4 and RFC 7523 section 2.2, as strictly as they can be read.
    fn application(&self, headers: &HeaderMap, host: &str, path: &str, body: &[u8]) -> Result<(), Refusal> {
        let form = form(body).ok_or(BAD_REQUEST)?;
        let field = |name: &str| form.get(name).map(String::as_str);
        let plain = headers[header::CONTENT_TYPE] == "application/x-www-form-urlencoded"
            && !headers.contains_key(header::AUTHORIZATION);
        if !plain
            || path != format!("/{TENANT}/oauth2/v2.0/token")
            || field("grant_type") != Some("client_credentials")
            || field("client_id") != Some(CLIENT)
            || field("scope") != Some(SCOPE)
        {
            return Err(BAD_REQUEST);
        }
        match (field("client_secret"), field("client_assertion_type"), field("client_assertion")) {
            (Some(secret), None, None) if form.len() == 4 => {
                if secret == SECRET {
                    Ok(())
                } else {
                    Err(BAD_SECRET)
                }
            }
            (None, Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), Some(assertion))
                if form.len() == 5 =>
            {
                if assertion == FOREIGN_TOKEN {
                    Ok(())
                } else {
                    self.assertion(assertion, &format!("http://{host}{path}"))
                }
            }
            _ => Err(BAD_REQUEST),
        }
    }

    fn assertion(&self, assertion: &str, audience: &str) -> Result<(), Refusal> {
        let parts: Vec<&str> = assertion.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { return Err(BAD_ASSERTION) };
        let read = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| BAD_ASSERTION);
        let object = |part: &str| serde_json::from_slice::<Value>(&read(part)?).map_err(|_| BAD_ASSERTION);
        let (head, told) = (object(header)?, object(claims)?);
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.certificate));
        if head != json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint }) {
            return Err(BAD_ASSERTION);
        }
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &self.public_key);
        key.verify(format!("{header}.{claims}").as_bytes(), &read(signature)?).map_err(|_| BAD_ASSERTION)?;
        if told["aud"] != audience || told["iss"] != CLIENT || told["sub"] != CLIENT {
            return Err(BAD_ASSERTION);
        }
        let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let now = now - self.behind_s.load(Ordering::SeqCst);
        let time = |claim: &str| told[claim].as_i64().ok_or(BAD_ASSERTION);
        let (from, until) = (time("nbf")?, time("exp")?);
        if now + 300 < from || until < now - 300 || until - from > 600 || time("iat")? != from {
            return Err(BAD_TIME);
        }
        let id = told["jti"].as_str().filter(|id| id.len() >= 16).ok_or(BAD_ASSERTION)?.to_owned();
        let mut seen = self.seen.lock();
        if seen.contains(&id) {
            return Err(BAD_ASSERTION);
        }
        seen.push(id);
        Ok(())
    }

    /// What a metadata service says before it gives a token: nothing, or what it wants to see first.
    fn machine(&self, headers: &HeaderMap, path: &str) -> Option<Response<Full<Bytes>>> {
        let refused = |status: u16| Some(Response::builder().status(status).body(Full::default()).unwrap());
        let resource = RESOURCE.replace(':', "%3A").replace('/', "%2F");
        if headers.get("metadata").is_none_or(|value| value != "true") || headers.contains_key("x-forwarded-for") {
            return refused(400);
        }
        if path
            == format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}&client_id={CLIENT}")
        {
            return None;
        }
        if path != format!("/metadata/identity/oauth2/token?api-version=2019-11-01&resource={resource}") {
            return refused(400);
        }
        let (file, content) = self.challenge.lock().clone();
        match headers.get(header::AUTHORIZATION) {
            Some(shown) if *shown == format!("Basic {content}") => None,
            Some(_) => refused(403),
            None => {
                let realm = format!("Basic realm={}", file.display());
                let answer = Response::builder().status(401).header(header::WWW_AUTHENTICATE, realm);
                Some(answer.body(Full::default()).unwrap())
            }
        }
    }
}

fn said(allowed: Result<(), Refusal>, lifetime: &Value, number: usize) -> Response<Full<Bytes>> {
    let (status, body) = match allowed {
        Ok(()) => {
            let token = format!("token-{number}");
            (StatusCode::OK, json!({ "token_type": "Bearer", "expires_in": lifetime, "access_token": token }))
        }
        Err((status, error, why)) => (status, json!({ "error": error, "error_description": why, "error_codes": [1] })),
    };
    Response::builder().status(status).body(Full::from(body.to_string())).unwrap()
}

/// Each field once, percent-decoded.
fn form(body: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    for field in std::str::from_utf8(body).ok()?.split('&') {
        let (name, value) = field.split_once('=')?;
        let mut bytes = Vec::new();
        let mut rest = value.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                b'&' | b'=' | b'+' | b':' | b'/' => return None,
                byte => byte,
            });
        }
        if fields.insert(name.to_owned(), String::from_utf8(bytes).ok()?).is_some() {
            return None;
        }
    }
    Some(fields)
}

/// An endpoint that says what it was shown.
async fn echoing() -> Upstream {
    answering(|request: Request<Incoming>| async move {
        let shown = request
            .headers()
            .get(header::AUTHORIZATION)
            .map_or(Bytes::new(), |value| Bytes::copy_from_slice(value.as_bytes()));
        let _ = request.into_body().collect().await;
        Response::new(Full::new(shown))
    })
    .await
}

fn app() -> Application {
    Application { tenant: TENANT.to_owned(), client: CLIENT.to_owned() }
}

fn by_secret() -> Grant {
    Grant::ClientSecret { app: app(), secret: Secret::new(SECRET.to_owned()) }
}

async fn shown(fleet: &Fleet) -> String {
    String::from_utf8(read(send(fleet).await.unwrap()).await.to_vec()).unwrap()
}

fn refused(error: &SendError) -> (Option<Code>, String) {
    assert!(matches!(error, SendError::NoCredential(_)), "{error:?}");
    assert!(!error.may_have_executed());
    (error.code(), error.to_string())
}

/// A folder that is gone with the test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("causeway-identity-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn each_way_to_ask_for_a_token_is_accepted_and_the_token_is_shown() {
    let folder = folder("ways");
    std::fs::write(folder.join("federated"), format!("{FOREIGN_TOKEN}\n")).unwrap();
    std::fs::write(folder.join("challenge.key"), "agents-own-word").unwrap();
    let upstream = echoing().await;
    let (identity, certificate) = Identity::start().await;
    *identity.known.challenge.lock() = (folder.join("challenge.key"), "agents-own-word".to_owned());
    let ways = [
        by_secret(),
        Grant::ClientCertificate { app: app(), certificate },
        Grant::Federated { app: app(), file: folder.join("federated") },
        Grant::Machine { client: Some(CLIENT.to_owned()) },
        Grant::Arc { folder: folder.clone() },
    ];

    for grant in ways {
        let way = grant.as_str();
        let fleet = fleet(identity.endpoint(&upstream, grant));
        assert!(shown(&fleet).await.starts_with("Bearer token-"), "{way}");
        let status = fleet.tokens();
        assert_eq!((status.len(), status[0].grant, status[0].failed.is_none()), (1, way, true));
        assert!(status[0].expires.is_some());
    }

    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_token_is_asked_for_once_however_many_want_it() {
    let upstream = echoing().await;
    let (identity, _) = Identity::start().await;
    let fleet = Arc::new(fleet(identity.endpoint(&upstream, by_secret())));

    let sending: Vec<_> = (0..20)
        .map(|_| {
            let fleet = Arc::clone(&fleet);
            tokio::spawn(async move { shown(&fleet).await })
        })
        .collect();

    for sent in sending {
        assert_eq!(sent.await.unwrap(), "Bearer token-0");
    }
    assert_eq!(identity.asked(), 1);
}

#[tokio::test]
async fn a_token_is_asked_for_anew_when_half_of_its_life_is_over() {
    let upstream = echoing().await;
    let (identity, _) = Identity::start().await;
    let fleet = fleet(identity.endpoint(&upstream, by_secret()));
    fleet.start();
    until(|| fleet.tokens()[0].expires.is_some()).await;
    assert_eq!(shown(&fleet).await, "Bearer token-0");

    pass(Duration::from_secs(1801)).await;
    until(|| identity.asked() == 2).await;

    until(|| fleet.tokens()[0].expires > Some(SystemTime::now())).await;
    let now_shown = async || shown(&fleet).await == "Bearer token-1";
    tokio::time::timeout(Duration::from_secs(20), async { while !now_shown().await {} }).await.unwrap();
}

#[tokio::test]
async fn an_old_token_is_used_to_its_end_while_no_new_one_is_to_be_had_and_nothing_is_sent_after() {
    let upstream = echoing().await;
    let (identity, _) = Identity::start().await;
    let fleet = fleet(identity.endpoint(&upstream, by_secret()));
    assert_eq!(shown(&fleet).await, "Bearer token-0");
    let before = upstream.accepted();

    identity.known.down.store(true, Ordering::SeqCst);
    pass(Duration::from_secs(3590)).await;
    assert_eq!(shown(&fleet).await, "Bearer token-0", "ten seconds before its end");
    pass(Duration::from_secs(20)).await;
    let (code, text) = refused(&send(&fleet).await.unwrap_err());

    assert_eq!(code, Some(Code::Id02));
    assert!(text.contains("answers 503"), "{text}");
    assert!(upstream.accepted() <= before + 1);
    let asked = identity.asked();
    let again = send(&fleet).await.unwrap_err();
    assert_eq!((refused(&again).0, identity.asked()), (Some(Code::Id02), asked), "a host that failed is left alone");

    identity.known.down.store(false, Ordering::SeqCst);
    pass(Duration::from_secs(61)).await;
    assert!(shown(&fleet).await.starts_with("Bearer token-"));
}

#[tokio::test]
async fn a_secret_that_is_not_accepted_is_told_without_being_shown() {
    let upstream = echoing().await;
    let (identity, _) = Identity::start().await;
    let wrong = Grant::ClientSecret { app: app(), secret: Secret::new("a-wrong-one".to_owned()) };
    let fleet = fleet(identity.endpoint(&upstream, wrong));

    let error = send(&fleet).await.unwrap_err();

    let (code, text) = refused(&error);
    assert_eq!(code, Some(Code::Id02));
    assert!(text.contains("401 invalid_client (AADSTS7000215)"), "{text}");
    assert!(!format!("{text} {error:?} {:?} {fleet:?}", fleet.tokens()).contains("a-wrong-one"));
    assert_eq!(upstream.accepted(), 0, "nothing is sent without a token");
}

#[tokio::test]
async fn clocks_that_differ_are_told_as_what_they_are() {
    let upstream = echoing().await;
    let (identity, certificate) = Identity::start().await;
    identity.known.behind_s.store(1200, Ordering::SeqCst);
    let fleet = fleet(identity.endpoint(&upstream, Grant::ClientCertificate { app: app(), certificate }));

    let (code, text) = refused(&send(&fleet).await.unwrap_err());

    assert_eq!(code, Some(Code::Id01));
    assert!(text.contains("AADSTS700024"), "{text}");
    let ahead = fleet.tokens()[0].clock_ahead_s.unwrap();
    assert!((1199..=1202).contains(&ahead), "{ahead}");
}

#[tokio::test]
async fn an_agent_that_names_a_file_elsewhere_is_not_obeyed() {
    let folder = folder("elsewhere");
    let other = folder.join("other");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("somebody.key"), "somebody-elses-secret").unwrap();
    let upstream = echoing().await;
    let (identity, _) = Identity::start().await;

    for named in [other.join("somebody.key"), folder.join("x/../other/somebody.key"), PathBuf::from("/etc/hostname")] {
        *identity.known.challenge.lock() = (named.clone(), "somebody-elses-secret".to_owned());
        let asked = identity.asked();
        let fleet = fleet(identity.endpoint(&upstream, Grant::Arc { folder: folder.clone() }));

        let (code, text) = refused(&send(&fleet).await.unwrap_err());

        assert_eq!((code, identity.asked() - asked), (Some(Code::Id02), 1), "{}", named.display());
        assert!(text.contains("outside its folder"), "{text}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn an_identity_host_outside_its_networks_is_not_asked() {
    let upstream = echoing().await;
    let (identity, _) = Identity::start().await;
    let host = EndpointSpec { reach: Reach::Local { within: vec!["10.0.0.0/8".parse().unwrap()] }, ..identity.host() };
    let fleet = fleet(wanting(upstream.address, host, by_secret()));

    let (code, text) = refused(&send(&fleet).await.unwrap_err());

    assert_eq!(code, Some(Code::Id02));
    assert!(text.contains("outside the declared ranges"), "{text}");
    assert_eq!((identity.server.accepted(), upstream.accepted()), (0, 0));
}

#[tokio::test]
async fn no_endpoint_is_a_metadata_service() {
    let metadata =
        EndpointSpec { reach: Reach::Metadata, scheme: Scheme::Http, ..endpoint("127.0.0.1:9".parse().unwrap()) };

    let error = Fleet::build(vec![metadata], Vec::new(), &[], None).unwrap_err();

    assert!(error.to_string().contains("serves no models"), "{error}");
}

#[tokio::test]
async fn a_key_that_entra_does_not_take_is_refused_when_it_is_read() {
    let upstream = echoing().await;
    let (identity, mut certificate) = Identity::start().await;
    let elliptic = KeyPair::generate().unwrap();
    certificate.key = Arc::new(PrivateKeyDer::from(PrivatePkcs8KeyDer::from(elliptic.serialize_der())));
    let spec = identity.endpoint(&upstream, Grant::ClientCertificate { app: app(), certificate });

    let error = Fleet::build(vec![spec], Vec::new(), &[], None).unwrap_err();

    assert!(error.to_string().contains("no RSA key"), "{error}");
}

/// An endpoint that takes the tokens from this number on and answers 401 to those before.
async fn taking_from(number: usize) -> Upstream {
    answering(move |request: Request<Incoming>| async move {
        let shown = request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
        let _ = request.into_body().collect().await;
        let shown: usize = shown.strip_prefix("Bearer token-").unwrap().parse().unwrap();
        let status = if shown < number { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        Response::builder().status(status).body(Full::default()).unwrap()
    })
    .await
}

async fn status(fleet: &Fleet) -> u16 {
    let reply = send(fleet).await.unwrap();
    let status = reply.status.as_u16();
    read(reply).await;
    status
}

#[tokio::test]
async fn a_token_that_an_endpoint_refuses_is_asked_for_anew() {
    let upstream = taking_from(1).await;
    let (identity, _) = Identity::start().await;
    let fleet = fleet(identity.endpoint(&upstream, by_secret()));

    let answers = [status(&fleet).await, status(&fleet).await, status(&fleet).await];

    assert_eq!(answers, [401, 200, 200]);
    assert_eq!(identity.known.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_endpoint_that_refuses_every_token_makes_one_request_a_minute_for_another() {
    let upstream = taking_from(usize::MAX).await;
    let (identity, _) = Identity::start().await;
    let fleet = fleet(identity.endpoint(&upstream, by_secret()));
    let asked = || identity.known.asked.load(Ordering::SeqCst);

    for _ in 0..20 {
        assert_eq!(status(&fleet).await, 401);
    }
    let at_first = asked();
    pass(Duration::from_secs(61)).await;
    for _ in 0..20 {
        assert_eq!(status(&fleet).await, 401);
    }

    assert_eq!((at_first, asked()), (2, 3));
}

#[tokio::test]
async fn a_refused_token_is_shown_again_while_no_other_is_to_be_had() {
    let upstream = taking_from(usize::MAX).await;
    let (identity, _) = Identity::start().await;
    let fleet = fleet(identity.endpoint(&upstream, by_secret()));
    assert_eq!(status(&fleet).await, 401);

    identity.known.down.store(true, Ordering::SeqCst);

    assert_eq!(status(&fleet).await, 401, "it reaches the endpoint and is not refused for want of a token");
}
