//! What a request leaves in a trace: a span for itself, one for each stage, and one for each attempt.
//!
//! Nothing is done here for a request that nobody traces. What a span holds are names of the configuration, codes, numbers and
//! times; the name that a caller asks for is shown only once it is known to be a model of the configuration.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use telemetry::audit::{AttemptNote, UsageNote};
use telemetry::otlp::{AttemptSpan, Ended, KeyValue, RequestTrace, TraceContext, number, text};
use wire::Api;

use super::arrive::Exchange;
use crate::snapshot::{Snapshot, Target};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The trace of a request, where it has one. A clone is the same.
#[derive(Clone, Default)]
pub(super) struct Spans {
    open: Option<Arc<Mutex<Open>>>,
    /// The id of the trace, where anybody else may know it.
    recorded: Option<[u8; 16]>,
}

struct Open {
    /// Given away when the request ends.
    trace: Option<RequestTrace>,
    /// It was drawn here. What only its caller wants traced is traced once it is known who that is.
    drawn: bool,
    /// The id of the attempt that runs.
    attempt: [u8; 8],
    status: Option<StatusCode>,
    usage: Option<UsageNote>,
    /// The pseudonym of the user, where the collector gets it.
    user: Option<Box<str>>,
}

impl Spans {
    pub(super) fn begin(snapshot: &Snapshot, headers: &HeaderMap, (wall, steady): (SystemTime, Instant)) -> Self {
        let percent = snapshot.collector.as_ref().filter(|collector| collector.traces).map(|one| one.sample_percent);
        let one = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
        };
        let caller = one(&TRACEPARENT).and_then(|parent| TraceContext::parse(parent, one(&TRACESTATE)));
        let of_caller = caller.as_ref().map(|caller| caller.trace);
        if percent.is_none() && !snapshot.tells_traces {
            return Self { open: None, recorded: of_caller };
        }
        let sampled = percent.is_some_and(|percent| rand::random_range(0..100_u8) < percent);
        let own = TraceContext { trace: rand::random(), span: rand::random(), sampled, state: None };
        let recorded = of_caller.or_else(|| (sampled || snapshot.tells_traces).then_some(own.trace));
        let trace = Some(RequestTrace::begin(caller, own, (wall, steady)));
        let open = Open { trace, drawn: sampled, attempt: rand::random(), status: None, usage: None, user: None };
        Self { open: Some(Arc::new(Mutex::new(open))), recorded }
    }

    /// A stage ended.
    pub(super) fn stage(&self, name: &'static str) {
        self.with(|open| {
            if let Some(trace) = &mut open.trace {
                trace.stage(name, rand::random(), Instant::now());
            }
        });
    }

    /// What the endpoint is told of the trace: nothing, also not what the caller sent, unless it is set to be told.
    pub(super) fn tell(&self, headers: &mut HeaderMap, target: &Target) {
        for name in [&TRACEPARENT, &TRACESTATE, &BAGGAGE] {
            headers.remove(name);
        }
        if !target.trace_context {
            return;
        }
        self.with(|open| {
            let Some(context) = open.trace.as_ref().map(|trace| trace.at_span(open.attempt)) else { return };
            if let Ok(parent) = HeaderValue::from_str(&context.parent()) {
                headers.insert(TRACEPARENT.clone(), parent);
            }
            if let Some(Ok(state)) = context.state.as_deref().map(HeaderValue::from_str) {
                headers.insert(TRACESTATE.clone(), state);
            }
        });
    }

    /// An attempt ended.
    pub(super) fn attempt(&self, note: &AttemptNote, target: &Target, (api, began): (Option<Api>, Instant)) {
        self.with(|open| {
            let id = std::mem::replace(&mut open.attempt, rand::random());
            let Some(trace) = open.trace.as_mut().filter(|trace| trace.is_sampled()) else { return };
            trace.attempt(AttemptSpan {
                id,
                name: format!("{} {}", operation(api), target.upstream_model),
                time: (began, Instant::now()),
                failed: (note.outcome != "success").then_some(note.outcome),
                attributes: attributes_of_attempt(note, target, api),
            });
        });
    }

    pub(super) fn answered(&self, status: Option<StatusCode>, usage: Option<UsageNote>) {
        self.with(|open| (open.status, open.usage) = (status.or(open.status), usage.or(open.usage)));
    }

    /// The pseudonym of the user that the request names, which goes to a collector that is to have it and to nobody else.
    pub(super) fn user(&self, snapshot: &Snapshot, pseudonym: Option<&str>) {
        if snapshot.collector.as_ref().is_some_and(|collector| collector.users) {
            self.with(|open| open.user = pseudonym.map(Into::into));
        }
    }

    /// The request ended with this code, `ok` or one of ours; its spans wait for the collector.
    pub(super) fn end(&self, exchange: &Exchange, code: &str) {
        let Some(open) = &self.open else { return };
        let mut open = open.lock();
        let Some(trace) = open.trace.take() else { return };
        if !trace.is_sampled() || exchange.caller.is_none() && !open.drawn {
            return;
        }
        let model = exchange.model_index.map(|index| exchange.snapshot.model(index).name.to_string());
        let operation = operation(exchange.api);
        let name = model.as_ref().map_or_else(|| operation.to_owned(), |model| format!("{operation} {model}"));
        let mut attributes = attributes_of(exchange, code);
        attributes.extend(model.map(|model| text("gen_ai.request.model", model)));
        attributes.extend(open.status.map(|status| number("http.response.status_code", status.as_u16())));
        attributes.extend(usage(open.usage));
        attributes.extend(open.user.take().map(|user| text("enduser.pseudo.id", String::from(user))));
        let failed = (code != "ok").then_some(code);
        let spans = trace.end(Ended { name, at: Instant::now(), failed, attributes });
        exchange.gateway.export.spans().put(spans);
    }

    /// The id of the trace for the record: the caller's own, whether or not anything is exported, or one that the collector or
    /// an endpoint is told.
    pub(super) fn recorded(&self) -> Option<[u8; 16]> {
        self.recorded
    }

    /// The id of the trace, where the request is traced and has not ended.
    pub(super) fn trace_id(&self) -> Option<[u8; 16]> {
        let open = self.open.as_ref()?.lock();
        let trace = open.trace.as_ref().filter(|trace| trace.is_sampled())?;
        Some(trace.at_span(open.attempt).trace)
    }

    fn with(&self, act: impl FnOnce(&mut Open)) {
        if let Some(open) = &self.open {
            act(&mut open.lock());
        }
    }
}

fn attributes_of_attempt(note: &AttemptNote, target: &Target, api: Option<Api>) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("gen_ai.operation.name", operation(api)),
        text("gen_ai.provider.name", provider(target.dialect.name())),
        text("gen_ai.request.model", &*target.upstream_model),
        text("causeway.endpoint", &*target.endpoint),
        text("causeway.outcome", note.outcome),
    ];
    if let Some(address) = note.address {
        attributes.push(text("network.peer.address", address.ip().to_string()));
        attributes.push(number("network.peer.port", address.port()));
    }
    attributes.extend(note.status.map(|status| number("http.response.status_code", status)));
    attributes.extend(note.evidence.map(|evidence| text("causeway.evidence", evidence)));
    attributes.extend(note.verdict.map(|verdict| text("causeway.verdict", verdict)));
    attributes.extend(usage(note.usage));
    attributes
}

/// The methods that there are; a caller's own word is none of ours, and as long as it likes.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

fn attributes_of(exchange: &Exchange, code: &str) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("gen_ai.operation.name", operation(exchange.api)),
        text("http.request.method", method(&exchange.head.method)),
        text("causeway.code", code),
        text("causeway.decision", exchange.decision.as_str()),
        text("causeway.policy", &*exchange.snapshot.policy_hash),
    ];
    if let Some(caller) = &exchange.caller {
        attributes.push(text("causeway.app", &*caller.app.name));
        attributes.push(text("causeway.team", &*caller.app.team));
    }
    attributes
}

fn usage(usage: Option<UsageNote>) -> impl Iterator<Item = KeyValue> {
    let tokens = |name, count: u64| number(name, count);
    usage.into_iter().flat_map(move |usage| {
        [tokens("gen_ai.usage.input_tokens", usage.input), tokens("gen_ai.usage.output_tokens", usage.output)]
    })
}

/// The operation in the conventions for generative AI.
fn operation(api: Option<Api>) -> &'static str {
    match api.map(Api::config_name) {
        Some("chat" | "responses" | "messages") => "chat",
        Some("completions") => "text_completion",
        Some("embeddings") => "embeddings",
        Some(other) => other,
        None => "request",
    }
}

/// The provider in the same.
fn provider(dialect: &'static str) -> &'static str {
    match dialect {
        "azure-openai" => "azure.ai.openai",
        other => other,
    }
}
