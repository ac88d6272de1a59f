//! Every way in which the gateway itself says no, and the one map from each to its status, code and words.

use std::time::Duration;

use accounting::Money;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use ingress::listen::{RequestBody, Unreadable};
use policy::Verdict;
use telemetry::audit::FeatureNote;
use wire::{ApiError, Code, ErrorShape};

use super::arrive::Exchange;
use super::authorize::FindingCount;
use super::data::DataFacts;
use super::headers;
use super::record::{Whys, counted};
use super::respond::ReplyBody;
use crate::gateway::Taken;

/// Why the gateway itself refuses a request.
///
/// An upstream's own error is not a refusal: it is passed on as it came.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No credential, an unknown one, or two that differ. One message for all, so that nothing is learnt from it.
    #[error("the API key is missing or not known here; send it as `Authorization: Bearer`, `api-key` or `x-api-key`")]
    InvalidApiKey,
    /// No such path.
    #[error("no API is served at `{path}`")]
    UnknownPath {
        /// The path that was asked for.
        path: String,
    },
    /// The path exists, the method does not.
    #[error("this path answers {allow} only")]
    MethodNotAllowed {
        /// The methods that the path answers.
        allow: &'static str,
    },
    /// A model that does not exist, or that this app may not see: both look the same from outside.
    #[error("the model `{model}` does not exist or this app may not use it; GET /v1/models lists what it may use")]
    ModelNotFound {
        /// The model that was asked for.
        model: String,
    },
    /// No target of the model speaks the API that was asked for.
    #[error("no endpoint of the model `{model}` speaks the `{api}` API")]
    ApiNotServed {
        /// The model that was asked for.
        model: String,
        /// The API, by its name in the configuration.
        api: &'static str,
    },
    /// Not JSON, the wrong shape, duplicate keys, an unknown label.
    #[error("{message}")]
    InvalidRequest {
        /// What was found and what would be right.
        message: String,
        /// The field at fault, where there is one.
        param: Option<String>,
    },
    /// A body over the limit, counted after decompression.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A head that the listener cannot read, so that no stage has seen the request and no record has it.
    #[error(transparent)]
    UnreadableHead(#[from] Unreadable),
    /// A content coding that the gateway does not read.
    #[error(
        "content-encoding names a coding that is not read here, or more than two; send gzip, deflate, br, zstd or none"
    )]
    UnsupportedEncoding,
    /// The caller's body stalled.
    #[error("the request body did not arrive in time")]
    SlowBody,
    /// A rate of requests is used up, or as many are in flight as may be.
    #[error("this app, key, user or model has used up its requests; retry in {} ms", retry_after.as_millis())]
    RateLimited {
        /// When it will really work.
        retry_after: Duration,
    },
    /// The tokens of the minute are used up.
    #[error("this app, key or model has used up its {limit} tokens per minute; retry in {} ms", retry_after.as_millis())]
    TokensUsedUp {
        /// Tokens per minute.
        limit: u64,
        /// When it will really work.
        retry_after: Duration,
    },
    /// The money of the month is spent, or held by requests that run.
    #[error(
        "this request could pass the budget of {limit} dollars a month: {spent} are spent and {held} are held by running requests"
    )]
    BudgetSpent {
        /// Dollars per month.
        limit: Money,
        /// What is spent.
        spent: Money,
        /// What running requests hold.
        held: Money,
        /// The end of the month, or a second where only running requests stand in the way.
        retry_after: Duration,
    },
    /// A budget that the request would pay into has no room for it.
    #[error("this request could pass the budget `{budget}`")]
    BudgetFull {
        /// The budget's name. No amount: others spend of it as well.
        budget: std::sync::Arc<str>,
        /// The end of its stretch, or a second where only running requests stand in the way.
        retry_after: Duration,
    },
    /// Shed before work was done.
    #[error("the gateway is at its limit of requests or buffered bytes; retry in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// Stored state, a remote URL or a hosted tool that no policy grants.
    #[error("the request uses {what} at `{path}`, which no policy grants for this model")]
    FeatureDenied {
        /// What was found, in words.
        what: String,
        /// The JSON path at which it was found.
        path: String,
    },
    /// Policy permits the last target only redacted, and the request could not be.
    #[error(
        "policy permits this request only with something replaced before it leaves, and that could not be done: {why}"
    )]
    RedactionFailed {
        /// What stood in the way, never what was found.
        why: String,
    },
    /// Policy permits no target.
    #[error("policy permits no endpoint for this request ({reason})")]
    ResidencyDenied {
        /// The policies or rules, never the data.
        reason: String,
    },
    /// The intent could not be written to the audit log, so nothing was sent.
    #[error("the decision could not be recorded, so nothing was sent; the operator's log says why")]
    AuditUnavailable,
    /// The reservation could not be written to the ledger, so nothing was sent.
    #[error("the reservation could not be written to the ledger, so nothing was sent; the operator's log says why")]
    LedgerUnavailable,
    /// The store of what several gateways share is away, and nothing may be let in without it.
    #[error(
        "the store in which gateways share their limits does not answer, so nothing was sent; the operator's log says why"
    )]
    StoreLost,
    /// Every permitted target failed the private check.
    #[error("no permitted endpoint could be reached over a verified private path; the last one failed by {code}")]
    NoPrivatePath {
        /// The code of the failure catalogue.
        code: &'static str,
    },
    /// All attempts failed.
    #[error("no permitted endpoint could answer; the record of this decision says what each met")]
    UpstreamUnavailable,
    /// The last attempt ran out of time.
    #[error("no permitted endpoint answered in time; the last one exceeded {limit}")]
    UpstreamTimeout {
        /// The limit that was exceeded, by its name in the configuration.
        limit: &'static str,
    },
    /// A fault of the gateway itself.
    #[error("the gateway failed at this request; its operator's log says more under the id of this decision")]
    Internal,
}

impl Refusal {
    /// The one map from a refusal to what the caller sees. It has no wildcard: a new refusal does not build without
    /// its code, and a code has its status and its type in each dialect.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::InvalidApiKey => Code::InvalidApiKey,
            Self::UnknownPath { .. } => Code::NotFound,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::ModelNotFound { .. } | Self::ApiNotServed { .. } => Code::ModelNotFound,
            Self::InvalidRequest { .. } | Self::UnsupportedEncoding => Code::InvalidRequest,
            Self::UnreadableHead(Unreadable::Malformed) => Code::InvalidRequest,
            Self::TooLarge { .. } => Code::RequestTooLarge,
            Self::UnreadableHead(Unreadable::TooLarge { .. }) => Code::RequestHeadTooLarge,
            Self::SlowBody => Code::RequestTimeout,
            Self::RateLimited { .. } | Self::TokensUsedUp { .. } => Code::RateLimitExceeded,
            Self::BudgetSpent { .. } | Self::BudgetFull { .. } => Code::BudgetExceeded,
            Self::Overloaded { .. } => Code::Overloaded,
            Self::FeatureDenied { .. } => Code::FeatureDenied,
            Self::ResidencyDenied { .. } => Code::ResidencyDenied,
            Self::RedactionFailed { .. } => Code::RedactionFailed,
            Self::AuditUnavailable => Code::AuditUnavailable,
            Self::LedgerUnavailable | Self::StoreLost => Code::LedgerUnavailable,
            Self::NoPrivatePath { .. } => Code::NoPrivatePath,
            Self::UpstreamUnavailable => Code::UpstreamUnavailable,
            Self::UpstreamTimeout { .. } => Code::UpstreamTimeout,
            Self::Internal => Code::InternalError,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after }
            | Self::TokensUsedUp { retry_after, .. }
            | Self::BudgetSpent { retry_after, .. }
            | Self::BudgetFull { retry_after, .. }
            | Self::Overloaded { retry_after } => Some(*retry_after),
            Self::AuditUnavailable | Self::LedgerUnavailable | Self::StoreLost | Self::NoPrivatePath { .. } => {
                Some(Duration::from_secs(1))
            }
            _ => None,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::InvalidRequest { param, .. } => param.as_deref(),
            Self::ModelNotFound { .. } | Self::ApiNotServed { .. } => Some("model"),
            Self::FeatureDenied { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The answer in the caller's dialect, without the headers that name the decision.
    #[must_use]
    pub fn response(&self, shape: ErrorShape) -> Response<ReplyBody> {
        self.answer(shape).map(ReplyBody::whole)
    }

    /// The same as bytes, for a listener that writes them itself.
    #[must_use]
    pub fn answer(&self, shape: ErrorShape) -> Response<Bytes> {
        let code = self.code();
        let message = self.to_string();
        let body: Bytes = wire::error_body(shape, &ApiError { param: self.param(), ..code.error(shape, &message) });
        let mut response = Response::new(body);
        *response.status_mut() = code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after() {
            let ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
            headers.insert("retry-after-ms", HeaderValue::from(ms));
        }
        if matches!(self, Self::BudgetSpent { .. } | Self::BudgetFull { .. }) {
            // The clients' own retries come within seconds; money comes back with the next stretch.
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if matches!(self, Self::InvalidApiKey) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What policy weighed before it said no, for the record.
#[derive(Default)]
pub(super) struct Considered {
    pub(super) verdicts: Vec<Verdict>,
    pub(super) features: Vec<(String, String)>,
    /// What inspection found, by kind and number.
    pub(super) findings: Vec<FindingCount>,
}

/// A refusal together with what was known of the request by then.
pub(super) struct Refused {
    pub(super) exchange: Box<Exchange>,
    pub(super) refusal: Refusal,
    /// The request has a record already, which its books closed.
    pub(super) recorded: bool,
    pub(super) considered: Considered,
    /// The body, where nobody has read it yet.
    pub(super) unread: Option<RequestBody>,
}

/// A refused body up to this many bytes is read and thrown away, so that the connection can be kept.
const DRAINED: usize = 64 << 10;

/// How long a refused body may take; then its connection is closed.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

impl Refused {
    /// Keeps the unread body, to drain it before the answer.
    pub(super) fn with_unread(mut self: Box<Self>, body: RequestBody) -> Box<Self> {
        self.unread = Some(body);
        self
    }

    /// The caller's answer, and the one `refused` record of a request whose caller is known.
    pub(super) async fn respond(mut self) -> Response<ReplyBody> {
        // On HTTP/2 a body that nobody reads holds no connection back.
        if let Some(body) = self.unread.take()
            && self.exchange.head.version < http::Version::HTTP_2
        {
            ingress::body::drain(body, DRAINED, DRAINED_WITHIN).await;
        }
        if !self.recorded {
            let code = self.refusal.code();
            self.record(code);
            self.exchange.spans.answered(Some(code.status()), None);
            self.exchange.count(code.as_str(), self.exchange.started.elapsed());
        }
        let mut response = self.refusal.response(self.exchange.shape);
        headers::name_decision(response.headers_mut(), &self.exchange, None);
        response
    }

    /// A refusal sends nothing, so it stands even where it cannot be recorded.
    fn record(&self, code: Code) {
        let exchange = &self.exchange;
        let Some(caller) = &exchange.caller else { return };
        match caller.app.refusals.take(exchange.at) {
            Taken::Yes => {}
            Taken::YesAfter { unwritten } => {
                let detail = format!("app `{}`: {unwritten} refusals, all counted in the metrics", caller.app.name);
                exchange.gateway.note_unwritten(exchange.at, &detail, unwritten);
            }
            Taken::No => return,
        }
        let whys = Whys::of(&self.considered.verdicts, &exchange.proposed);
        let findings = counted(&self.considered.findings);
        let features: Vec<FeatureNote<'_>> =
            self.considered.features.iter().map(|(kind, path)| FeatureNote { kind, path }).collect();
        let refused = telemetry::audit::Refused {
            decision: exchange.decision.as_str(),
            // After a wait that is long after it arrived.
            at: exchange.at + exchange.started.elapsed(),
            app: &caller.app.name,
            team: &caller.app.team,
            key: Some(&caller.key.name),
            model: exchange.model.as_deref(),
            api: exchange.api.map(wire::Api::config_name),
            peer: Some(exchange.peer.address.ip()),
            trace: exchange.spans.recorded(),
            policy: &exchange.snapshot.policy_hash,
            pack: &exchange.snapshot.grounds.pack,
            configuration: &exchange.snapshot.hash,
            status: code.status().as_u16(),
            code: code.as_str(),
            candidates: &whys.notes(&self.considered.verdicts, None, &exchange.snapshot),
            basis: &exchange.snapshot.grounds.basis_of(self.considered.verdicts.iter()),
            features: &features,
            data: exchange.data.as_ref().map(DataFacts::note),
            findings: &findings,
        };
        if let Err(error) = exchange.gateway.audit.refused(&refused) {
            tracing::error!(%error, decision = %exchange.decision, "a refusal could not be recorded");
        }
    }
}
