//! Asking a running gateway's operators' listener, through the same door as any request that leaves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use egress::{
    ClientCertificate, Credential, EndpointSpec, Fleet, Host, Http2, Own, PoolSpec, Reach, Scheme,
    Secret as EgressSecret, Timeouts, TlsSpec, TransportSpec, UpstreamRequest,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use ipnet::IpNet;
use policy::{Candidate, Judge, Question, TargetId};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use server::configuration::{self, Mistakes, Secrets};
use server::load;

use super::{NO, UNKNOWN};

/// Environment variable that holds the administrator's key.
const KEY: &str = "CAUSEWAY_ADMIN_KEY";

/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 4 << 20;

/// Where the operators' listener is, and who asks it.
#[derive(clap::Args)]
pub(super) struct Operator {
    /// The configuration of the gateway: it says where the operators' listener is.
    #[arg(long, value_name = "PATH", required_unless_present = "admin")]
    config: Option<PathBuf>,
    /// The listener's address instead, as `127.0.0.1:9443`; it is asked over TLS unless it is on loopback.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    admin: Option<SocketAddr>,
    /// Issuers of the listener's certificate, PEM, in place of the system's; on loopback it is asked over TLS then. The certificate must name the listener's address.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Your certificate, PEM, where you show one instead of a key; needs `--certificate-key`.
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
    /// File that holds your key or token; by default it is taken from the variable `CAUSEWAY_ADMIN_KEY`.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// What a command takes that changes something at a running gateway.
#[derive(clap::Args)]
pub(super) struct Change {
    /// Why, in a few words; it stands in the audit log. No names of people, no data.
    #[arg(long, value_name = "TEXT")]
    because: String,
    #[command(flatten)]
    at: Operator,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Change {
    /// Posts an order and its reason, and says why where it was not done; `told` says what was done, and whether that is all of it.
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]
    pub(super) fn order(&self, path: &str, mut body: Value, told: impl FnOnce(&Value) -> ExitCode) -> ExitCode {
        body["because"] = self.because.as_str().into();
        match self.at.post(path, &body) {
            Ok(answered) if answered.status.is_success() => told(&answered.body),
            Ok(answered) => {
                if self.json {
                    println!("{}", answered.body);
                } else {
                    let message = answered.body["error"]["message"].as_str();
                    eprintln!("not done: {}", message.unwrap_or(&answered.body.to_string()));
                }
                ExitCode::from(NO)
            }
            Err(error) => {
                eprintln!("{error}");
                match error {
                    OperatorError::NoKey | OperatorError::Key | OperatorError::NoListener => ExitCode::from(2),
                    _ => ExitCode::from(UNKNOWN),
                }
            }
        }
    }
}

/// Why the gateway could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperatorError {
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    #[error("the configuration has no `[admin]` listener")]
    NoListener,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} holds no certificate or key in PEM form", path.display())]
    Pem { path: PathBuf },
    #[error("the key is empty, or holds a character that no header can carry")]
    Key,
    #[error("no key: put yours into the variable {KEY}, or into a file that --key-file names, or show a certificate")]
    NoKey,
    #[error("{address} could not be asked: {why}")]
    Unreachable { address: SocketAddr, why: String },
}

impl OperatorError {
    /// What went wrong, without a word that a person wrote.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Mistakes(_) => "the configuration has mistakes",
            Self::NoListener => "the configuration has no `[admin]` listener",
            Self::File { .. } | Self::Pem { .. } | Self::Key => "a key or certificate cannot be used",
            Self::NoKey => "no key",
            Self::Unreachable { .. } => "the listener does not answer",
        }
    }
}

/// What the gateway answered.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Operator {
    /// The configuration, where one is named.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Posts a JSON body to `path` and gives the answer.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Answered, OperatorError> {
        self.send(path, Some(body), self.credential()?)
    }

    /// Fetches `path`; where you have no key it is tried without.
    pub(super) fn get(&self, path: &str) -> Result<Answered, OperatorError> {
        let credential = match self.credential() {
            Err(OperatorError::NoKey) => None,
            credential => credential?,
        };
        self.send(path, None, credential)
    }

    fn send(
        &self,
        path: &str,
        body: Option<&Value>,
        credential: Option<Credential>,
    ) -> Result<Answered, OperatorError> {
        let (address, has_tls) = self.listener()?;
        let credential = credential.map(Own::Secret);
        let spec = EndpointSpec { credential, ..self.spec(address, has_tls || self.ca.is_some())? };
        let unreachable = |why: String| OperatorError::Unreachable { address, why };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
        runtime.block_on(ask(spec, path, body)).map_err(unreachable)
    }

    /// The listener's address, and whether it speaks TLS.
    fn listener(&self) -> Result<(SocketAddr, bool), OperatorError> {
        if let Some(address) = self.admin {
            // INVARIANT: a credential crosses no network in the clear.
            return Ok((address, !address.ip().is_loopback()));
        }
        let mut options = load::options(SystemTime::now());
        // Whoever holds something back need not hold the gateway's credentials.
        options.secrets = Secrets::Skip;
        let compiled = configuration::load(self.config.as_deref().unwrap_or(Path::new("")), &options)?;
        let mut address = compiled.admin.ok_or(OperatorError::NoListener)?;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        Ok((address, compiled.administration.tls.is_some()))
    }

    fn spec(&self, address: SocketAddr, tls: bool) -> Result<EndpointSpec, OperatorError> {
        let ip: IpAddr = address.ip();
        Ok(EndpointSpec {
            name: Arc::from("admin"),
            scheme: if tls { Scheme::Https } else { Scheme::Http },
            host: Host::Address(ip),
            port: address.port(),
            authority: address.to_string(),
            base_path: String::new(),
            reach: Reach::Local { within: vec![IpNet::from(ip)] },
            tls: TlsSpec {
                ca: self.ca.as_deref().map(certificates).transpose()?,
                client_certificate: self.client_certificate()?,
                ..TlsSpec::default()
            },
            credential: None,
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                first_byte: Duration::from_secs(30),
                idle: Duration::from_secs(30),
                total: Duration::from_secs(60),
            },
            in_flight: None,
            pool: PoolSpec::default(),
            http2: Http2::Off,
            probe: None,
            page: None,
            transport: TransportSpec::default(),
            via: None,
            canary: None,
        })
    }

    fn client_certificate(&self) -> Result<Option<ClientCertificate>, OperatorError> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.certificate_key) else { return Ok(None) };
        let private = PrivateKeyDer::from_pem_slice(&read(key)?);
        let private = private.map_err(|_| OperatorError::Pem { path: key.clone() })?;
        Ok(Some(ClientCertificate { chain: certificates(certificate)?, key: Arc::new(private) }))
    }

    fn credential(&self) -> Result<Option<Credential>, OperatorError> {
        let text = match &self.key_file {
            Some(path) => String::from_utf8(read(path)?).map_err(|_| OperatorError::Key)?,
            None => match std::env::var(KEY) {
                Ok(text) => text,
                Err(_) if self.certificate.is_some() => return Ok(None),
                Err(_) => return Err(OperatorError::NoKey),
            },
        };
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(OperatorError::Key);
        }
        let secret = EgressSecret::new(text.to_owned());
        Ok(Some(Credential { header: header::AUTHORIZATION, prefix: "Bearer ", secret }))
    }
}

async fn ask(spec: EndpointSpec, path: &str, body: Option<&Value>) -> Result<Answered, String> {
    let target = TargetId(0);
    let fleet = Fleet::build(vec![spec], Vec::new(), &[(target, 0)], None).map_err(|error| error.to_string())?;
    let candidates = [Candidate::new(target, "admin")];
    let judge = Judge::of_grants(&candidates);
    let permit = policy::decide(&judge, &Question::about("operator", "(admin)", &candidates))
        .map_err(|denial| denial.to_string())?;
    let warrant = permit.warrant(target).ok_or("nothing permits it")?;
    let bytes = Bytes::from(body.map(Value::to_string).unwrap_or_default());
    let mut headers = HeaderMap::new();
    if body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let request = UpstreamRequest {
        method: if body.is_some() { Method::POST } else { Method::GET },
        path_and_query: path.to_owned(),
        headers,
        body_len: bytes.len() as u64,
        body: if body.is_some() { vec![bytes] } else { Vec::new() },
    };
    let cleared = warrant.clear(request).map_err(|owed| owed.to_string())?;
    let reply = fleet.send(warrant, cleared).await.map_err(|error| with_sources(&error))?;
    let status = reply.status;
    let body = Limited::new(reply.body, LONGEST_ANSWER).collect().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    // What is no JSON is shown as it came: another server may listen there.
    let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.trim()));
    Ok(Answered { status, body })
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn read(path: &Path) -> Result<Vec<u8>, OperatorError> {
    std::fs::read(path).map_err(|source| OperatorError::File { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OperatorError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| OperatorError::Pem { path: path.to_owned() })
}
