//! One look at an endpoint, step by step: resolve, judge, connect, TLS, one `GET`. Each step says how long it took and what
//! was seen; the first that fails is the verdict.
//!
//! It walks the same way as a request does, with the same judgement and the same words, and carries no caller's content.
//! `causeway doctor` shows it to a person; the gateway itself uses the last step to find out whether a public front that
//! showed itself is gone.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::time::{Instant, timeout_at};

use crate::address::Verified;
use crate::connect::{ConnectionProof, Stream, Vouched};
use crate::connection::{self, Answer as Answered, Facts, Slot};
use crate::dns::Freshness;
use crate::endpoint::{Endpoint, UpstreamRequest};
use crate::error::{Listed, SendError};
use crate::fault::{Code, Verdict};
use crate::front::{FRONT_BYTES, front_of};
use crate::resolve::Resolution;
use crate::stream_host::Agreement;

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Inspect {
    /// The path that is asked for with `GET`, from the root of the host; `None` ends after TLS.
    pub path: Option<String>,
    /// Whether the endpoint's credential goes along.
    pub with_credential: bool,
    /// Time for each step.
    pub limit: Duration,
}

impl Default for Inspect {
    fn default() -> Self {
        Self { path: Some("/".to_owned()), with_credential: false, limit: Duration::from_secs(5) }
    }
}

/// What one look showed.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The endpoint.
    pub endpoint: Arc<str>,
    /// The steps that were made, in their order; the last one is the one that failed, where there is a verdict.
    pub steps: Vec<Step>,
    /// Why the endpoint cannot be used; `None` where every step passed.
    pub verdict: Option<Verdict>,
    /// What its name resolved to.
    pub resolution: Option<Arc<Resolution>>,
    /// What is known of the connection, as far as it came.
    pub connection: Option<ConnectionProof>,
    /// What the endpoint answered.
    pub answer: Option<Answer>,
}

/// One step of a look.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which one.
    pub kind: StepKind,
    /// How long it took.
    pub took: Duration,
    /// What was seen, in one sentence.
    pub seen: String,
    /// The code, where it failed or gave a warning.
    pub code: Option<Code>,
}

/// The steps of a verification, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Asking the resolver.
    Resolve,
    /// Judging its answer.
    Judge,
    /// The TCP connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// One request without content.
    Http,
}

impl StepKind {
    /// The name as reports have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Judge => "judge",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Http => "http",
        }
    }
}

/// What the endpoint answered to the one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The endpoint's clock, as its `date` header tells it.
    pub date: Option<SystemTime>,
    /// All of its headers.
    pub headers: HeaderMap,
    /// The beginning of the body.
    pub body: Bytes,
    /// Whether that is all of it, or as much as [`FRONT_BYTES`]: of a body that broke off nobody knows what it would have said.
    pub whole: bool,
}

/// A look under way.
struct Look<'a> {
    endpoint: &'a Arc<Endpoint>,
    inspection: Inspection,
    began: Instant,
}

impl Look<'_> {
    fn step(&mut self, kind: StepKind, seen: String, code: Option<Code>) {
        let took = self.began.elapsed();
        self.began = Instant::now();
        self.inspection.steps.push(Step { kind, took, seen, code });
    }

    /// The step failed: what it met is the verdict.
    fn failed(mut self, kind: StepKind, error: &SendError) -> Inspection {
        let verdict = self.endpoint.verdict_of(error);
        self.step(kind, verdict.seen.clone(), Some(verdict.code));
        self.inspection.verdict = Some(verdict);
        self.inspection
    }
}

impl Endpoint {
    /// Looks at the endpoint from its name to its answer, without a connection that is kept and without a kept answer.
    pub async fn inspect(self: &Arc<Self>, inspect: &Inspect) -> Inspection {
        let (look, stream, proof) = match self.inspect_up_to_tls(inspect.limit, Agreement::Needless).await {
            Ok(spoken) => spoken,
            Err(inspection) => return *inspection,
        };
        let Some(path) = &inspect.path else { return look.inspection };
        match self.ask(stream, proof, (path, inspect.with_credential), Instant::now() + inspect.limit).await {
            Ok(answer) => look.answered(answer),
            Err(error) => look.failed(StepKind::Http, &error),
        }
    }

    /// The same for a host whose protocol is not HTTP: up to TLS.
    pub(crate) async fn inspect_stream(self: &Arc<Self>, limit: Duration, begins: Agreement) -> Inspection {
        match self.inspect_up_to_tls(limit, begins).await {
            Ok((look, ..)) => look.inspection,
            Err(inspection) => *inspection,
        }
    }

    /// Looks as far as the stream that a protocol begins on, or gives what was seen until the step that failed.
    async fn inspect_up_to_tls(
        self: &Arc<Self>,
        limit: Duration,
        begins: Agreement,
    ) -> Result<(Look<'_>, Stream, ConnectionProof), Box<Inspection>> {
        let inspection = Inspection {
            endpoint: Arc::clone(self.name()),
            steps: Vec::new(),
            verdict: None,
            resolution: None,
            connection: None,
            answer: None,
        };
        let mut look = Look { endpoint: self, inspection, began: Instant::now() };
        let deadline = || Instant::now() + limit;
        let vouched = match look.vouch(deadline()).await {
            Ok(vouched) => vouched,
            Err(error) => return Err(Box::new(look.failed(StepKind::Judge, &error))),
        };
        let (mut tcp, proof) = match self.connector().connect_tcp(&vouched, deadline()).await {
            Ok(connected) => connected,
            Err(error) => return Err(Box::new(look.failed(StepKind::Connect, &error))),
        };
        let seen = match proof.via {
            None => format!("{} answered, met from {}", proof.peer, proof.source.ip()),
            Some(proxy) => format!("the proxy at {proxy} says that it connected, met from {}", proof.source.ip()),
        };
        look.inspection.connection = Some(proof.clone());
        look.step(StepKind::Connect, seen, None);
        let deadline = deadline();
        let begun = begins.agree(self.connector(), (&mut tcp, proof.address), deadline).await;
        let spoken = match begun {
            Ok(()) => self.connector().handshake(tcp, proof, deadline).await,
            Err(error) => Err(error),
        };
        let (stream, proof) = match spoken {
            Ok(spoken) => spoken,
            Err(error) => return Err(Box::new(look.failed(StepKind::Tls, &error))),
        };
        look.inspection.connection = Some(proof.clone());
        if let Some(tls) = &proof.tls {
            let group = tls.group.as_deref().unwrap_or("a resumed key");
            look.step(StepKind::Tls, format!("{}, {group}, issued by {}", tls.version, tls.issuer), None);
        }
        Ok((look, stream, proof))
    }

    /// How many servers its resolver has; 0 where nobody is asked.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.source().servers()
    }

    /// What each server of the resolver says when it alone is asked; empty where nobody is.
    pub async fn each_server(&self) -> Vec<(std::net::SocketAddr, Resolution)> {
        self.source().each_server().await
    }

    /// Why a resolution would be refused for this endpoint.
    #[must_use]
    pub fn judged(&self, resolution: &Resolution) -> Option<Verdict> {
        let (reach, port) = self.judged_by();
        let refused = crate::judge::judge(reach, resolution, port).err()?;
        Some(Verdict { endpoint: Arc::clone(self.name()), code: refused.code, seen: refused.seen })
    }

    /// An error as a verdict. One that is not of the path counts as an endpoint that speaks something else.
    #[must_use]
    pub fn verdict_of(&self, error: &SendError) -> Verdict {
        if let SendError::NoPrivatePath(verdict) = error {
            return Verdict::clone(verdict);
        }
        let prefix = format!("endpoint `{}`: ", self.name());
        let text = error.to_string();
        let source = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
        let seen = format!("{}{source}", text.strip_prefix(&prefix).unwrap_or(&text));
        Verdict { endpoint: Arc::clone(self.name()), code: error.code().unwrap_or(Code::Tls03), seen }
    }

    /// Whether a front that showed itself is gone, found out by a request that carries nothing.
    pub(crate) async fn front_is_gone(self: &Arc<Self>, vouched: &Vouched, deadline: Instant) -> bool {
        let Ok((stream, proof)) = self.connector().connect(vouched, deadline).await else { return false };
        let asked = self.ask(stream, proof, (&self.spec().harmless_path(), false), deadline).await;
        if let Ok(Answer { status, whole, .. }) = &asked {
            tracing::debug!(endpoint = %self.name(), status = status.as_u16(), whole, "asked whether the front is still there");
        }
        asked.is_ok_and(|answer| answer.whole && front_of(answer.status, &answer.body).is_none())
    }

    /// One `GET` over a connection of its own.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        stream: Stream,
        proof: ConnectionProof,
        (path, with_credential): (&str, bool),
        deadline: Instant,
    ) -> Result<Answer, SendError> {
        let address = proof.address;
        let slot = Slot::take(&Arc::new(AtomicUsize::new(0)), 1).expect("the first of one is free");
        let facts = Facts { proof: Arc::new(proof), expires: deadline, _slot: slot };
        let too_slow =
            || SendError::FirstByteTimeout { endpoint: Arc::clone(self.name()), after: self.spec().timeouts.connect };
        let broken = |source| SendError::BrokenHead { endpoint: Arc::clone(self.name()), address, source };
        let spoken = timeout_at(deadline, connection::establish(stream, facts, Duration::ZERO)).await;
        let mut lease = spoken.map_err(|_| too_slow())?.map_err(broken)?;
        let request = UpstreamRequest {
            method: Method::GET,
            path_and_query: path.to_owned(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            body_len: 0,
        };
        let own = if with_credential { self.identified().await? } else { None };
        let mut request = self.prepare("", request, own)?;
        self.fit(&mut request, lease.protocol());
        let response = lease.try_send(request, deadline).await.ok_or_else(too_slow)?;
        let Answered { status, headers, mut body } = response.map_err(|refused| broken(refused.error))?;
        let mut begun = Vec::new();
        let whole = loop {
            if begun.len() >= FRONT_BYTES {
                break true;
            }
            let frame = std::future::poll_fn(|context| lease.poll_frame(&mut body, context));
            match timeout_at(deadline, frame).await {
                Ok(Some(Ok(frame))) => begun.extend(frame.into_data().unwrap_or_default()),
                Ok(None) => break true,
                Ok(Some(Err(_))) | Err(_) => break false,
            }
        };
        let date = headers.get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        Ok(Answer { status, date, headers, body: begun.into(), whole })
    }
}

impl Look<'_> {
    async fn vouch(&mut self, deadline: Instant) -> Result<Vouched, SendError> {
        let resolved = timeout_at(deadline, self.endpoint.source().resolve(Freshness::Asked)).await;
        let resolution =
            Arc::new(resolved.map_err(|_| self.endpoint.connector().too_slow(crate::error::Phase::Resolve, None))?);
        self.inspection.resolution = Some(Arc::clone(&resolution));
        let by: Vec<String> = resolution.servers().iter().map(ToString::to_string).collect();
        let by = if by.is_empty() { resolution.by.to_string() } else { by.join(", ") };
        self.step(StepKind::Resolve, format!("{}, says {by}", resolution.chain()), None);
        let vouched = self.endpoint.judge(&resolution)?;
        let addresses: Vec<_> = vouched.addresses.iter().map(Verified::socket).collect();
        self.step(StepKind::Judge, format!("{} may be dialled", Listed(&addresses)), None);
        Ok(vouched)
    }

    fn answered(mut self, answer: Answer) -> Inspection {
        let front = front_of(answer.status, &answer.body);
        let seen = match front {
            Some(code) => format!("status {}: {}", answer.status.as_u16(), code.entry().title),
            None => format!("status {}", answer.status.as_u16()),
        };
        self.step(StepKind::Http, seen.clone(), front);
        self.inspection.answer = Some(answer);
        self.inspection.verdict = front
            .filter(|code| code.entry().act == crate::fault::Act::Deny)
            .map(|code| Verdict { endpoint: Arc::clone(self.endpoint.name()), code, seen });
        self.inspection
    }
}
