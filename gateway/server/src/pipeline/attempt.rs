//! Stages 10 to 12, once per attempt: clear for this target, encode in its dialect, send, judge, and go on or stop.
//!
//! This is the one failover loop under all API surfaces. What an attempt met is classified once, by [`wire::Outcome`]:
//! `Same` tries the target again (the request was given back unsent), `Next` goes to the plan's next target, `Never`
//! ends here. Nothing is retried after the first byte went downstream, because a reply leaves this loop before that.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use egress::{Act, Reach, SendError, UpstreamRequest};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ingress::body::BodyPermit;
use policy::{TargetId, Warrant};
use tower::retry::budget::Budget as _;
use wire::{Call, DecodeError, EncodeTarget, Outcome, Retry, TimeoutKind, Usage};

use super::books::Books;
use super::clear;
use super::drift;
use super::examine::{self, EventStream};
use super::record::Recorded;
use super::refusal::{Refusal, Refused};
use super::users;
use crate::gateway::Gateway;
use crate::snapshot::Target;

/// What an upstream answered: a reply, whole or as a stream whose first event was seen.
pub(super) struct Answered {
    pub(super) books: Box<Books>,
    pub(super) endpoint: HeaderValue,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) reply: Reply,
}

/// The body of an upstream's answer.
pub(super) enum Reply {
    /// Known whole; `failed` when it is the upstream's own error, passed on. A large one has its share of the budget.
    Whole { body: Bytes, usage: Option<Usage>, failed: bool, share: Option<BodyPermit> },
    /// Events, the first of which is no error.
    Stream(Box<EventStream>),
}

/// One attempt's end.
pub(super) enum Tried {
    /// The upstream answered well.
    Answered { status: StatusCode, headers: HeaderMap, reply: Reply },
    /// It did not; what it said is kept, in case it was the last.
    Failed(Met),
}

/// What a failed attempt met.
pub(super) struct Met {
    pub(super) outcome: Outcome,
    /// The upstream's own error, where it gave one.
    pub(super) said: Option<(StatusCode, HeaderMap, Bytes)>,
    /// What it used, where it says so all the same.
    pub(super) usage: Option<Usage>,
    /// How long it asked to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// Why a private endpoint could not be reached privately.
    pub(super) verdict: Option<egress::Code>,
    /// Why it could not be redacted for this target; nothing was sent then.
    pub(super) unredacted: Option<String>,
}

impl Met {
    /// Something that is not of the path to the endpoint.
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { outcome, said: None, usage: None, retry_after: None, verdict: None, unredacted: None }
    }
}

/// What is asked, and the same with pseudonyms in place of users, made once for all attempts.
struct Asked {
    call: Call,
    renamed: OnceLock<Call>,
}

impl Asked {
    fn renamed(&self, books: &Books) -> Result<&Call, DecodeError> {
        if let Some(call) = self.renamed.get() {
            return Ok(call);
        }
        let call = users::replaced(books.snapshot(), books.exchange().caller.as_ref(), &self.call)?;
        Ok(self.renamed.get_or_init(|| call))
    }
}

pub(super) async fn run(recorded: Recorded) -> Result<Answered, Box<Refused>> {
    let Recorded { mut plan, call, mut books } = recorded;
    let asked = Asked { call, renamed: OnceLock::new() };
    let gateway = books.gateway();
    gateway.retry_budget.deposit();
    let mut last: Option<(Met, HeaderValue)> = None;
    let mut begun = Instant::now();
    let mut next = books.next_warrant(&mut plan, begun).await;
    while let Some(warrant) = next {
        let id = warrant.target();
        let target = books.target(id);
        books.begin_attempt((id, &target), begun);
        let met = match one(&mut books, &target, warrant, &asked).await {
            Tried::Answered { status, mut headers, reply } => {
                books.answered(status);
                if let Some(name) = books.name_of_stand_in(id) {
                    headers.insert(super::headers::MODEL, name);
                }
                return Ok(Answered { books, endpoint: target.endpoint_header.clone(), status, headers, reply });
            }
            Tried::Failed(met) => met,
        };
        books.failed(met.outcome, met.retry_after, met.usage.as_ref());
        begun = Instant::now();
        next = match met.outcome.retry() {
            Retry::Never => None,
            Retry::Same => match plan.again(id).filter(|again| !books.is_withheld(again.target())) {
                Some(again) => Some(again),
                None => books.next_warrant(&mut plan, begun).await,
            },
            Retry::Next => books.next_warrant(&mut plan, begun).await,
        };
        if let Some(warrant) = &next
            && !may_go_on(&gateway, &books, met.outcome)
        {
            // It may have been a half-open target's only probe.
            books.target(warrant.target()).health.lock().give_probe_back(begun);
            next = None;
        }
        last = Some((met, target.endpoint_header.clone()));
    }
    give_up(books, last)
}

/// An attempt that may have been executed is followed by another only within the retry budget; the others are free.
fn may_go_on(gateway: &Gateway, books: &Books, outcome: Outcome) -> bool {
    if !outcome.may_have_executed() || gateway.retry_budget.withdraw() {
        gateway.metrics.process().retries().inc();
        return true;
    }
    gateway.metrics.process().retries_denied().inc();
    tracing::warn!(decision = %books.decision(), "the retry budget is used up; the request is not tried elsewhere");
    false
}

/// Nothing is left to try: the caller gets the last upstream's own error where there is one, else ours.
fn give_up(books: Box<Books>, last: Option<(Met, HeaderValue)>) -> Result<Answered, Box<Refused>> {
    let Some((met, endpoint)) = last else {
        let held_back = books.held_back();
        return Err(books.refuse(held_back.unwrap_or(Refusal::UpstreamUnavailable)));
    };
    if let Some((status, headers, body)) = met.said
        && !is_our_fault(status)
        && !status.is_redirection()
    {
        return Ok(Answered {
            books,
            endpoint,
            status,
            headers,
            reply: Reply::Whole { body, usage: None, failed: true, share: None },
        });
    }
    if let Some(why) = met.unredacted {
        return Err(books.refuse(Refusal::RedactionFailed { why }));
    }
    if let Some(code) = met.verdict {
        return Err(books.refuse(Refusal::NoPrivatePath { code: code.as_str() }));
    }
    let refusal = match met.outcome {
        // A verdict comes with each of these; without one there is nothing to tell but that.
        Outcome::NoPrivatePath => Refusal::UpstreamUnavailable,
        Outcome::Timeout(kind) => Refusal::UpstreamTimeout { limit: limit_of(kind) },
        Outcome::Saturated => Refusal::Overloaded { retry_after: books.retry_after() },
        Outcome::NotSent
        | Outcome::NoCredential
        | Outcome::Refused
        | Outcome::ConnectFailed
        | Outcome::TlsFailed
        | Outcome::Status(_)
        | Outcome::BrokenHead
        | Outcome::BrokenBody
        | Outcome::ErrorEvent { .. }
        | Outcome::ThrottledEvent
        | Outcome::Success => Refusal::UpstreamUnavailable,
    };
    Err(books.refuse(refusal))
}

/// The limit that a timeout exceeded, as the configuration names it.
fn limit_of(kind: TimeoutKind) -> &'static str {
    match kind {
        TimeoutKind::Connect => "`connect_ms`",
        TimeoutKind::FirstByte => "`first_byte_ms`",
        TimeoutKind::Idle => "`idle_ms`",
        TimeoutKind::Total => "`total_ms`",
    }
}

/// An upstream that does not accept our credential is misconfigured here; the caller can do nothing about it.
fn is_our_fault(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
}

async fn one(books: &mut Books, target: &Target, warrant: Warrant, asked: &Asked) -> Tried {
    let call = &asked.call;
    let (id, keep_state) = (warrant.target(), warrant.grants().keep_state);
    let user = users::shown(books.exchange().caller.as_ref(), target, call);
    if let Some(seen) = books.seen() {
        seen.user = user;
    }
    let shown = match user {
        Some(users::PSEUDONYM) => asked.renamed(books),
        _ => Ok(call),
    };
    let fulfilled = match shown {
        Ok(call) => clear::fulfil(&warrant, call, &books.exchange().snapshot.recognisers).await,
        Err(error) => Err(error.into()),
    };
    let (cleared, restorer) = match fulfilled {
        Ok(fulfilled) => fulfilled,
        Err(error) => {
            tracing::error!(decision = %books.decision(), target = %target.name, %error, "not sent: the target may be used only redacted");
            // Nothing was sent and nobody is to blame; another target may need no redaction.
            return Tried::Failed(Met { unredacted: Some(error.to_string()), ..Met::new(Outcome::Saturated) });
        }
    };
    let (head, spans) = (&books.exchange().head, &books.exchange().spans);
    let most_output = books.most_output(call, target);
    let request = cleared.encode(|call| {
        let mut request = encode(&call, target, (keep_state, most_output), head);
        spans.tell(&mut request.headers, target);
        request
    });
    let ready = books.exchange().ready.into();
    let sent = books.snapshot().fleet.send_since(warrant, request, ready).await;
    match sent {
        Ok(reply) => {
            books.connected(&reply.connection, reply.level);
            books.heard(&reply.headers);
            drift::head(books, target, &reply.headers);
            let mut tried = examine::examine(reply, call, target, &books.gateway().body_budget).await;
            drift::answer(books, target, call, &tried);
            if let Tried::Failed(met) = &mut tried {
                look_for_front(books, id, met);
                warn_of_our_fault(books, target, met);
            }
            clear::restore(tried, restorer)
        }
        Err(error) => {
            let outcome = outcome_of(&error);
            if matches!(
                error,
                SendError::WrongWarrant(_) | SendError::UnknownTarget { .. } | SendError::Unsendable { .. }
            ) {
                tracing::error!(decision = %books.decision(), target = %target.name, %error, "a fault of the gateway; nothing was sent");
            } else {
                tracing::warn!(decision = %books.decision(), target = %target.name, %error, "attempt failed");
            }
            let private = matches!(outcome, Outcome::NoPrivatePath | Outcome::NoCredential) || is_private(books, id);
            let verdict = error.code().filter(|_| private);
            if let Some(code) = verdict {
                books.path_failed(code);
            }
            // Without a token no path was tried.
            let verdict = verdict.filter(|_| outcome != Outcome::NoCredential);
            Tried::Failed(Met { verdict, ..Met::new(outcome) })
        }
    }
}

fn is_private(books: &Books, id: TargetId) -> bool {
    let endpoint = books.snapshot().fleet.endpoint(id);
    endpoint.is_some_and(|endpoint| matches!(endpoint.spec().reach, Reach::PrivateLink { .. }))
}

/// A refusal may be a public front's, which the request reached although its address was a private one. It is no answer
/// of the endpoint's then: nothing was executed, and the next target is tried.
fn look_for_front(books: &mut Books, id: TargetId, met: &mut Met) {
    let Some((status, _, body)) = &met.said else { return };
    let Some(code) = egress::front_of(*status, body) else { return };
    let Some(endpoint) = books.snapshot().fleet.endpoint(id).filter(|_| is_private(books, id)).cloned() else { return };
    let verdict = endpoint.met_front(code);
    tracing::error!(decision = %books.decision(), %verdict, "the answer is not the endpoint's");
    books.path_failed(code);
    if code.entry().act == Act::Deny {
        *met = Met { verdict: Some(code), ..Met::new(Outcome::NoPrivatePath) };
    }
}

fn warn_of_our_fault(books: &Books, target: &Target, met: &Met) {
    if let Outcome::Status(status) = met.outcome
        && StatusCode::from_u16(status).is_ok_and(is_our_fault)
    {
        tracing::error!(
            decision = %books.decision(),
            target = %target.name,
            status,
            "the endpoint does not accept this gateway's credential; check `auth` of the endpoint"
        );
    }
}

/// The request in the target's dialect. The body is the caller's bytes with splices between.
fn encode(
    call: &Call,
    target: &Target,
    (keep_state, most_output): (bool, Option<u64>),
    head: &http::request::Parts,
) -> UpstreamRequest {
    let way = EncodeTarget { upstream_model: &target.upstream_model, keep_state, most_output };
    let body = target.dialect.encode(call, &way);
    let mut headers = wire::forward_request_headers(&head.headers);
    for (name, value) in target.dialect.required_headers() {
        let name = HeaderName::from_static(name);
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if target.asks_for_load {
        let (name, form) = wire::ASK_FOR_LOAD;
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(form));
    }
    let path = target.dialect.path(call.api(), &target.upstream_model, target.api_version.as_deref());
    UpstreamRequest {
        method: http::Method::POST,
        path_and_query: wire::with_query(path, head.uri.query()),
        headers,
        body: body.parts,
        body_len: body.len as u64,
    }
}

/// What `egress` met, as the outcome that decides what happens next.
fn outcome_of(error: &SendError) -> Outcome {
    match error {
        // Faults of ours: nothing was sent, and the target is not to blame.
        SendError::WrongWarrant(_) | SendError::UnknownTarget { .. } | SendError::Unsendable { .. } => {
            Outcome::Saturated
        }
        SendError::NoPrivatePath(_) => Outcome::NoPrivatePath,
        SendError::NoCredential(_) => Outcome::NoCredential,
        SendError::Saturated { .. } => Outcome::Saturated,
        SendError::Connect { refused: true, .. } => Outcome::Refused,
        SendError::Connect { refused: false, .. } => Outcome::ConnectFailed,
        SendError::ConnectTimeout { .. } => Outcome::Timeout(TimeoutKind::Connect),
        SendError::Tls { .. } => Outcome::TlsFailed,
        SendError::NotSent { .. } => Outcome::NotSent,
        SendError::FirstByteTimeout { .. } => Outcome::Timeout(TimeoutKind::FirstByte),
        SendError::TotalTimeout { .. } => Outcome::Timeout(TimeoutKind::Total),
        SendError::BrokenHead { .. } => Outcome::BrokenHead,
    }
}
