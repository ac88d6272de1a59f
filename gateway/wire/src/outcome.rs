//! How an attempt went, and what follows from it: the one classification that failover uses.

use http::StatusCode;

use crate::Api;
use crate::relay::{ErrorKind, error_of};
use crate::sse::Frame;

/// How one attempt at one target ended, before any byte of its answer went downstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The request was given back without a byte of it sent: a pooled connection had closed.
    NotSent,
    /// The address refused the connection.
    Refused,
    /// No connection for another reason: unreachable, reset, no answer from DNS.
    ConnectFailed,
    /// The TLS handshake failed.
    TlsFailed,
    /// The private path could not be verified.
    NoPrivatePath,
    /// The gateway has no token to show to it.
    NoCredential,
    /// The endpoint's own bound on requests in flight is reached.
    Saturated,
    /// A time limit passed.
    Timeout(TimeoutKind),
    /// The upstream answered with this status, which is not a success.
    Status(u16),
    /// The answer's head broke off or was no HTTP.
    BrokenHead,
    /// The answer's body broke off.
    BrokenBody,
    /// The first event of the stream was an error.
    ErrorEvent {
        /// Whether another endpoint might do better.
        retryable: bool,
    },
    /// The first event of the stream was a rate limit.
    ThrottledEvent,
    /// An answer.
    Success,
}

/// Which time limit passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeoutKind {
    /// Until connected, TLS included.
    Connect,
    /// From sending to the first byte of the answer.
    FirstByte,
    /// Between two chunks of the answer.
    Idle,
    /// The whole call, all attempts together.
    Total,
}

/// Whether a failed attempt may be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// No: no target would answer otherwise, or the answer is there.
    Never,
    /// Yes, at the same target.
    Same,
    /// Yes, at the next target of the plan.
    Next,
}

/// What an outcome means for the retry, the retry budget and the endpoint's standing.
struct Verdict {
    retry: Retry,
    /// The upstream may have done the work: a retry then costs twice and is charged.
    executed: bool,
    /// It says something bad about the endpoint.
    blames: bool,
}

impl Outcome {
    /// The one table.
    const fn verdict(self) -> Verdict {
        let (retry, executed, blames) = match self {
            Self::NotSent => (Retry::Same, false, false),
            // Nothing reached a model: free to go on.
            Self::Refused | Self::ConnectFailed | Self::TlsFailed | Self::NoPrivatePath => (Retry::Next, false, true),
            // Both are found out at once and say nothing about the endpoint itself.
            Self::Saturated | Self::NoCredential => (Retry::Next, false, false),
            Self::Timeout(TimeoutKind::Connect) => (Retry::Next, false, true),
            Self::Timeout(TimeoutKind::FirstByte | TimeoutKind::Idle) => (Retry::Next, true, true),
            // The caller's time is spent, and which of the attempts spent it is not said.
            Self::Timeout(TimeoutKind::Total) => (Retry::Never, true, false),
            // Turned away before any work: free. Being busy is no fault, being unavailable is.
            Self::Status(429) => (Retry::Next, false, false),
            Self::Status(503 | 529) => (Retry::Next, false, true),
            Self::Status(408) => (Retry::Next, true, false),
            Self::Status(500..=599) => (Retry::Next, true, true),
            // Every other 4xx is about the request, or about our own credential: elsewhere it would be no better. A
            // redirect is never followed.
            Self::Status(_) => (Retry::Never, true, false),
            Self::BrokenHead | Self::BrokenBody => (Retry::Next, true, true),
            Self::ErrorEvent { retryable: true } => (Retry::Next, true, true),
            Self::ErrorEvent { retryable: false } => (Retry::Never, true, false),
            Self::ThrottledEvent => (Retry::Next, true, false),
            Self::Success => (Retry::Never, true, false),
        };
        Verdict { retry, executed, blames }
    }

    /// Whether and where the call may be tried again. Never once a byte of the answer went downstream, which only the
    /// caller of this knows.
    #[must_use]
    pub const fn retry(self) -> Retry {
        self.verdict().retry
    }

    /// Whether the upstream may have executed the request; a retry after it is charged to the retry budget.
    #[must_use]
    pub const fn may_have_executed(self) -> bool {
        self.verdict().executed
    }

    /// Whether it counts towards the endpoint's ejection.
    #[must_use]
    pub const fn counts_for_ejection(self) -> bool {
        self.verdict().blames
    }

    /// Whether the endpoint answered as it should.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Success)
    }
}

/// The outcome of an attempt whose head has come, and of whose stream (if it is one) the first event has.
///
/// A first event by which the upstream rejects the gateway's credential is [`Outcome::Status`] 401, whatever the status was.
/// `first_event` is the first frame that is not a comment; without one, only the status speaks.
#[must_use]
pub fn outcome(status: StatusCode, first_event: Option<&Frame>, api: Api) -> Outcome {
    if !status.is_success() {
        return Outcome::Status(status.as_u16());
    }
    match first_event.and_then(|frame| error_of(api, frame)) {
        None => Outcome::Success,
        // Handled as the status that the upstream should have answered with, so that its words are hidden likewise.
        Some(error) if error.kind == ErrorKind::Credential => Outcome::Status(StatusCode::UNAUTHORIZED.as_u16()),
        Some(error) if error.kind == ErrorKind::RateLimited => Outcome::ThrottledEvent,
        Some(error) => Outcome::ErrorEvent { retryable: error.kind.is_retryable() },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::SseFramer;

    #[test]
    fn every_outcome_has_its_row() {
        use Retry::{Never, Next, Same};
        // outcome, retry, charged to the budget, counts towards ejection
        let table = [
            (Outcome::NotSent, Same, false, false),
            (Outcome::Refused, Next, false, true),
            (Outcome::ConnectFailed, Next, false, true),
            (Outcome::TlsFailed, Next, false, true),
            (Outcome::NoPrivatePath, Next, false, true),
            (Outcome::NoCredential, Next, false, false),
            (Outcome::Saturated, Next, false, false),
            (Outcome::Timeout(TimeoutKind::Connect), Next, false, true),
            (Outcome::Timeout(TimeoutKind::FirstByte), Next, true, true),
            (Outcome::Timeout(TimeoutKind::Idle), Next, true, true),
            (Outcome::Timeout(TimeoutKind::Total), Never, true, false),
            (Outcome::Status(301), Never, true, false),
            (Outcome::Status(400), Never, true, false),
            (Outcome::Status(401), Never, true, false),
            (Outcome::Status(403), Never, true, false),
            (Outcome::Status(404), Never, true, false),
            (Outcome::Status(408), Next, true, false),
            (Outcome::Status(409), Never, true, false),
            (Outcome::Status(413), Never, true, false),
            (Outcome::Status(422), Never, true, false),
            (Outcome::Status(429), Next, false, false),
            (Outcome::Status(499), Never, true, false),
            (Outcome::Status(500), Next, true, true),
            (Outcome::Status(501), Next, true, true),
            (Outcome::Status(502), Next, true, true),
            (Outcome::Status(503), Next, false, true),
            (Outcome::Status(504), Next, true, true),
            (Outcome::Status(529), Next, false, true),
            (Outcome::Status(599), Next, true, true),
            (Outcome::BrokenHead, Next, true, true),
            (Outcome::BrokenBody, Next, true, true),
            (Outcome::ErrorEvent { retryable: true }, Next, true, true),
            (Outcome::ErrorEvent { retryable: false }, Never, true, false),
            (Outcome::ThrottledEvent, Next, true, false),
            (Outcome::Success, Never, true, false),
        ];
        for (outcome, retry, executed, ejects) in table {
            assert_eq!(outcome.retry(), retry, "{outcome:?}");
            assert_eq!(outcome.may_have_executed(), executed, "{outcome:?}");
            assert_eq!(outcome.counts_for_ejection(), ejects, "{outcome:?}");
        }
    }

    #[test]
    fn the_first_event_decides_by_its_type() {
        let retryable = Outcome::ErrorEvent { retryable: true };
        let never = Outcome::ErrorEvent { retryable: false };
        let table = [
            (Api::Chat, "data: {\"choices\":[]}\n\n", Outcome::Success),
            (Api::Chat, ": ping\n\n", Outcome::Success),
            (Api::Chat, "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}\n\n", retryable),
            (Api::Chat, "data: {\"error\":{\"code\":400,\"type\":\"invalid_request_error\"}}\n\n", never),
            (Api::Chat, "data: {\"error\":{\"code\":503}}\n\n", retryable),
            (Api::Chat, "data: {\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\n", Outcome::ThrottledEvent),
            (Api::Chat, "data: {\"error\":\"boom\"}\n\n", retryable),
            (Api::Chat, "data: {\"error\":\"unauthorized\"}\n\n", Outcome::Status(401)),
            (Api::Chat, "data: {\"error\":{\"code\":403}}\n\n", Outcome::Status(401)),
            (
                Api::Chat,
                "data: {\"error\":{\"type\":\"invalid_request_error\",\"code\":\"invalid_api_key\"}}\n\n",
                Outcome::Status(401),
            ),
            (Api::Chat, "data: {\"error\":{\"type\":\"authentication_error\",\"code\":400}}\n\n", Outcome::Status(401)),
            (
                Api::Messages,
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"permission_error\"}}\n\n",
                Outcome::Status(401),
            ),
            (
                Api::Responses,
                "data: {\"type\":\"error\",\"code\":\"invalid_api_key\",\"error\":{}}\n\n",
                Outcome::Status(401),
            ),
            (Api::Chat, "data: {\"error\":{\"code\":\"insufficient_quota\"}}\n\n", Outcome::ThrottledEvent),
            (Api::Chat, "data: {\"error\":null,\"choices\":[]}\n\n", Outcome::Success),
            (Api::Completions, "error: {\"code\":500,\"message\":\"m\"}\n\n", retryable),
            (Api::Chat, "event: error\ndata: nonsense\n\n", retryable),
            (
                Api::Messages,
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
                retryable,
            ),
            (
                Api::Messages,
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"}}\n\n",
                never,
            ),
            (Api::Messages, "event: message_start\ndata: {\"type\":\"message_start\"}\n\n", Outcome::Success),
            (Api::Responses, "event: error\ndata: {\"type\":\"error\",\"code\":\"invalid_prompt\"}\n\n", never),
            (Api::Responses, "data: {\"type\":\"error\",\"code\":\"server_error\"}\n\n", retryable),
            (
                Api::Responses,
                "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\"}}}\n\n",
                Outcome::ThrottledEvent,
            ),
            (
                Api::Responses,
                "data: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n",
                Outcome::Success,
            ),
        ];
        for (api, event, expected) in table {
            let mut framer = SseFramer::new();
            framer.push(Bytes::copy_from_slice(event.as_bytes()));
            let frame = framer.next_frame().expect("small").expect("whole");
            assert_eq!(outcome(StatusCode::OK, Some(&frame), api), expected, "{event}");
        }
        assert_eq!(outcome(StatusCode::OK, None, Api::Chat), Outcome::Success);
        assert_eq!(outcome(StatusCode::BAD_GATEWAY, None, Api::Chat), Outcome::Status(502));
    }
}
