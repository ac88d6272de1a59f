//! Stages 1 to 3: a request arrives, says who it is, and is admitted. Its body is still unread.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use accounting::Tier;
use http::HeaderValue;
use http::request::Parts;
use ingress::auth::{AppIndex, Marks};
use ingress::limits::{self, Admitted as AdmittedGuard, Standing};
use ingress::listen::{Incoming, Peer, RequestBody};
use inspection::{FindingKind, Findings};
use policy::{Denial, Verdict};
use wire::{Api, Call, ErrorShape, Route};

use super::authorize::{finding_counts, kind_of};
use super::data::DataFacts;
use super::guard::Fault;
use super::refusal::{Considered, Refusal, Refused};
use super::sharing;
use super::spans::Spans;
use crate::gateway::Gateway;
use crate::snapshot::{App, KeyFacts, ModelIndex, Snapshot};

/// Names one decision: milliseconds since 1970 and 80 random bits, 32 hex digits behind `cwd_`, so that ids sort by
/// time and cannot be guessed.
#[derive(Clone)]
pub struct DecisionId(HeaderValue);

impl DecisionId {
    fn new(at: SystemTime) -> Self {
        let ms = at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let (few, many): (u16, u64) = rand::random();
        let mut text = *b"cwd_00000000000000000000000000000000";
        let (_, digits) = text.split_at_mut(4);
        for (digits, word) in digits.chunks_exact_mut(16).zip([ms << 16 | u64::from(few), many]) {
            for (place, digit) in digits.iter_mut().rev().enumerate() {
                *digit = HEX[(word >> (4 * place)) as usize & 15];
            }
        }
        Self(HeaderValue::from_bytes(&text).expect("hex digits and an underscore are header characters"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.as_bytes()).expect("it was made of hex digits and an underscore")
    }

    /// The same, for a header; a clone of it is a reference count.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a request from its arrival to its end, whatever becomes of it.
pub(super) struct Exchange {
    pub(super) gateway: Arc<Gateway>,
    /// The configuration that this request started with and keeps.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) decision: DecisionId,
    pub(super) started: Instant,
    /// When it had its place: its arrival, or the end of its wait. The whole time of a call is counted from here.
    pub(super) ready: Instant,
    pub(super) at: SystemTime,
    /// The moment that policy was asked for: its arrival, or the end of its wait.
    pub(super) asked_at: SystemTime,
    pub(super) shape: ErrorShape,
    pub(super) head: Parts,
    pub(super) peer: Arc<Peer>,
    /// Set by [`identify`]: who asks, and with which key.
    pub(super) caller: Option<Caller>,
    /// Set by `decode`: what was asked for, for the record of a refusal.
    pub(super) api: Option<Api>,
    pub(super) model: Option<String>,
    pub(super) model_index: Option<ModelIndex>,
    /// Set by `authorize`: what the data is.
    pub(super) data: Option<DataFacts>,
    /// Set by `authorize`: what the candidate policies say of each target; nothing where there are none.
    pub(super) proposed: Vec<Verdict>,
    pub(super) stream: bool,
    /// Set by `plan`: how the provider will charge it, as far as the request says that.
    pub(super) tier: Tier,
    /// Set by [`admit`] and `decode`: how the rate of requests that leaves least stands.
    pub(super) rate: Option<Standing>,
    /// What it leaves in a trace.
    pub(super) spans: Spans,
    /// Whether one of its stages panicked.
    pub(super) fault: Fault,
    /// Why the request goes where it goes, where its app asked and may see it: the sentence, and the whole plan.
    pub(super) explanation: Option<[HeaderValue; 2]>,
}

/// Who asks.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) app: Arc<App>,
    pub(super) key: Arc<KeyFacts>,
    /// What the claims of its token say of the data.
    pub(super) marks: Marks,
    /// The user that its token names, where its app says by which claim.
    pub(super) user: Option<Arc<str>>,
}

impl Caller {
    /// Whom limits, budgets and records count the call for: the user of the token, which the issuer vouches for, and where
    /// no claim says that, whom the body names.
    pub(super) fn user_of<'a>(&'a self, call: &'a Call) -> Option<Cow<'a, str>> {
        self.user.as_deref().map(Cow::Borrowed).or_else(|| call.user())
    }

    /// Output tokens that the call may ask for, by itself and by the bound of its key or app; no bound where neither has one.
    pub(super) fn output_of(&self, call: &Call) -> Option<u64> {
        lesser(call.max_output_tokens(), self.key.most_output)
    }
}

/// The lesser of two bounds, each of which may be none.
pub(super) fn lesser(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Exchange {
    /// Ends the request here; nothing of it was sent.
    pub(super) fn refuse(self: Box<Self>, refusal: Refusal) -> Box<Refused> {
        Box::new(Refused { exchange: self, refusal, recorded: false, considered: Considered::default(), unread: None })
    }

    /// Which kinds of finding policies did not see.
    pub(super) fn suppresses(&self) -> impl Fn(&FindingKind) -> bool {
        |kind| self.caller.as_ref().is_some_and(|caller| caller.app.data.suppresses(kind, self.asked_at))
    }

    /// Ends the request because policy permits no target; the record keeps what was weighed.
    pub(super) fn deny(self: Box<Self>, refusal: Refusal, denial: &Denial, read: (&Call, &Findings)) -> Box<Refused> {
        let (call, findings) = read;
        let features = call.features().iter().map(|feature| (kind_of(&feature.kind).to_string(), feature.path.clone()));
        let considered = Considered {
            verdicts: denial.verdicts().to_vec(),
            features: features.collect(),
            findings: finding_counts(findings, self.suppresses()),
        };
        Box::new(Refused { exchange: self, refusal, recorded: false, considered, unread: None })
    }

    /// Ends a request whose books are closed: its record says what each attempt met.
    pub(super) fn refuse_recorded(self: Box<Self>, refusal: Refusal) -> Box<Refused> {
        Box::new(Refused { exchange: self, refusal, recorded: true, considered: Considered::default(), unread: None })
    }

    /// The line of the access log, where the filter lets it through: names of the configuration, numbers, and where the caller is.
    fn log_access(&self, caller: &Caller, code: &str, total: Duration) {
        tracing::debug!(
            target: "access",
            decision = %self.decision,
            app = &*caller.app.name,
            key = &*caller.key.name,
            model = self.model_index.map(|model| &*self.snapshot.model(model).name),
            api = self.api.map(Api::config_name),
            stream = self.stream,
            peer = %self.peer.address.ip(),
            code,
            ms = u64::try_from(total.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }

    /// Counts the request under its code, and ends its trace.
    pub(super) fn count(&self, code: &str, total: Duration) {
        let trace = self.spans.trace_id();
        self.spans.end(self, code);
        let Some(caller) = &self.caller else { return };
        self.log_access(caller, code, total);
        caller.app.metrics.request(self.api.map_or("other", Api::config_name), code);
        if let Some(model) = self.model_index {
            self.snapshot.model(model).metrics.total(total, trace);
        }
    }
}

/// Stage 1: a head, bounded, and a body that nobody has read.
pub(super) struct Arrived {
    exchange: Box<Exchange>,
    body: RequestBody,
}

impl Arrived {
    pub(super) fn exchange(&self) -> &Exchange {
        &self.exchange
    }
}

pub(super) fn arrive(gateway: Arc<Gateway>, incoming: Incoming) -> Arrived {
    let at = SystemTime::now();
    let snapshot = gateway.snapshot();
    let shape = wire::shape_of(incoming.head.uri.path());
    let started = Instant::now();
    let spans = Spans::begin(&snapshot, &incoming.head.headers, (at, started));
    let exchange = Box::new(Exchange {
        spans,
        gateway,
        snapshot,
        decision: DecisionId::new(at),
        started,
        ready: started,
        at,
        asked_at: at,
        shape,
        head: incoming.head,
        peer: incoming.peer,
        caller: None,
        api: None,
        model: None,
        model_index: None,
        data: None,
        proposed: Vec::new(),
        stream: false,
        tier: Tier::default(),
        rate: None,
        fault: Fault::default(),
        explanation: None,
    });
    Arrived { exchange, body: incoming.body }
}

/// Stage 2: the app is known.
pub(super) struct Identified {
    exchange: Box<Exchange>,
    caller: Caller,
    index: AppIndex,
    body: RequestBody,
}

pub(super) fn identify(arrived: Arrived) -> Result<Identified, Box<Refused>> {
    let Arrived { mut exchange, body } = arrived;
    let certificate = exchange.peer.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
    match exchange.snapshot.callers.authenticate(&exchange.head.headers, certificate, exchange.at) {
        Ok(identified) => {
            let caller = Caller {
                app: Arc::clone(exchange.snapshot.app(identified.app)),
                key: Arc::clone(exchange.snapshot.key(identified.key)),
                marks: identified.marks,
                user: identified.user,
            };
            caller.key.touch(exchange.at);
            exchange.caller = Some(caller.clone());
            if exchange.gateway.restrictions.current().revoke(&caller.app, &caller.key) {
                // The caller learns no more than that its key is no good; the record says whose it was.
                return Err(exchange.refuse(Refusal::InvalidApiKey).with_unread(body));
            }
            Ok(Identified { exchange, caller, index: identified.app, body })
        }
        Err(error) => {
            exchange.gateway.metrics.process().unauthenticated().inc();
            // Counted all, said once a second: whoever tries keys must not fill the log.
            if exchange.gateway.unauthenticated_sample.is_due(exchange.at) {
                tracing::warn!(%error, peer = %exchange.peer.address, "a credential was refused (at most one such line a second)");
            }
            Err(exchange.refuse(Refusal::InvalidApiKey).with_unread(body))
        }
    }
}

/// Stage 3: the request has a place among those in flight, and its app has taken one of its requests per minute.
pub(super) struct Admitted {
    pub(super) exchange: Box<Exchange>,
    pub(super) caller: Caller,
    pub(super) index: AppIndex,
    pub(super) route: Route,
    pub(super) guard: AdmittedGuard,
    pub(super) body: RequestBody,
}

impl Admitted {
    pub(super) fn asks_for_models(&self) -> bool {
        !matches!(self.route, Route::Call { .. })
    }
}

pub(super) async fn admit(identified: Identified) -> Result<Box<Admitted>, Box<Refused>> {
    let Identified { mut exchange, caller, index, body } = identified;
    // Before the path is looked at: whoever asks for what does not exist takes from the app's rate as well.
    let admission = &exchange.snapshot.admission;
    let admitted = match admission.enter() {
        // INVARIANT: whoever waits for the store has its place among all meanwhile, so that not more wait than may be in flight.
        Ok(mut entered) => {
            let admit = || admission.admit_entered(&mut entered, index, caller.key.limit);
            sharing::ask(exchange.snapshot.counters(), admit).await
        }
        Err(full) => Err(full),
    };
    let guard = match admitted {
        Ok(guard) => guard,
        Err(early) => {
            exchange.rate = standing_of(early);
            let refusal = refusal_of(early);
            return Err(exchange.refuse(refusal).with_unread(body));
        }
    };
    exchange.rate = guard.standing();
    match route_of(&exchange) {
        Ok(route) => Ok(Box::new(Admitted { exchange, caller, index, route, guard, body })),
        Err(refusal) => Err(exchange.refuse(refusal).with_unread(body)),
    }
}

/// The API that the path names.
fn route_of(exchange: &Exchange) -> Result<Route, Refusal> {
    let path = exchange.head.uri.path();
    wire::route(&exchange.head.method, path).map_err(|error| match error {
        wire::RouteError::NotFound => Refusal::UnknownPath { path: path.to_owned() },
        wire::RouteError::MethodNotAllowed { allow } => Refusal::MethodNotAllowed { allow },
    })
}

/// How the rate stands that refused a request, for the headers of its answer.
pub(super) fn standing_of(early: limits::Refusal) -> Option<Standing> {
    match early {
        limits::Refusal::TooFast { standing, .. } => Some(standing),
        limits::Refusal::Shed { .. } | limits::Refusal::Busy { .. } | limits::Refusal::Unleased => None,
    }
}

pub(super) fn refusal_of(early: limits::Refusal) -> Refusal {
    match early {
        limits::Refusal::Shed { retry_after } => Refusal::Overloaded { retry_after },
        limits::Refusal::Busy { retry_after } | limits::Refusal::TooFast { retry_after, .. } => {
            Refusal::RateLimited { retry_after }
        }
        limits::Refusal::Unleased => Refusal::StoreLost,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_id_begins_with_its_time_and_is_never_the_same_twice() {
        let at = UNIX_EPOCH + Duration::from_millis(0x0123_4567_89ab);

        let (first, second) = (DecisionId::new(at), DecisionId::new(at));

        assert_eq!(first.as_str().len(), 36);
        assert!(first.as_str().starts_with("cwd_0123456789ab"), "{first}");
        assert!(first.as_str().bytes().skip(4).all(|digit| digit.is_ascii_hexdigit()), "{first}");
        assert_ne!(first.as_str(), second.as_str());
    }
}
