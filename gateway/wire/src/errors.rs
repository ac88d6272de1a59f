//! Errors as callers expect them, in the shape of the API they called.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use crate::{Api, ErrorShape};

/// The stable codes of the gateway's own errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// No credential, or an unknown one.
    InvalidApiKey,
    /// An unknown model, or one that this app may not see.
    ModelNotFound,
    /// A path that is not served.
    NotFound,
    /// A path under another method.
    MethodNotAllowed,
    /// Policy permits no target.
    ResidencyDenied,
    /// A remote URL, a hosted tool or kept state that no policy grants.
    FeatureDenied,
    /// Policy permits a target only with something replaced, and that could not be done.
    RedactionFailed,
    /// Not JSON, a wrong shape, a key twice, an unknown label.
    InvalidRequest,
    /// Over the body limit.
    RequestTooLarge,
    /// More header fields, or longer ones, than the listener takes.
    RequestHeadTooLarge,
    /// The body did not arrive in time.
    RequestTimeout,
    /// Too many requests or tokens.
    RateLimitExceeded,
    /// The money is spent.
    BudgetExceeded,
    /// Every permitted target failed the private check.
    NoPrivatePath,
    /// All attempts failed.
    UpstreamUnavailable,
    /// All attempts failed, the last by time.
    UpstreamTimeout,
    /// Shed before any work was done.
    Overloaded,
    /// The decision could not be written to the audit log, so nothing was sent.
    AuditUnavailable,
    /// The reservation could not be written to the ledger, so nothing was sent.
    LedgerUnavailable,
    /// A fault of the gateway itself, for example an audit log that cannot be written.
    InternalError,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 20] = [
        Self::InvalidApiKey,
        Self::ModelNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::ResidencyDenied,
        Self::FeatureDenied,
        Self::RedactionFailed,
        Self::InvalidRequest,
        Self::RequestTooLarge,
        Self::RequestHeadTooLarge,
        Self::RequestTimeout,
        Self::RateLimitExceeded,
        Self::BudgetExceeded,
        Self::NoPrivatePath,
        Self::UpstreamUnavailable,
        Self::UpstreamTimeout,
        Self::Overloaded,
        Self::AuditUnavailable,
        Self::LedgerUnavailable,
        Self::InternalError,
    ];

    /// Status, code and the `type` of each shape: the one table.
    const fn row(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Self::InvalidApiKey => {
                (StatusCode::UNAUTHORIZED, "invalid_api_key", "invalid_request_error", "authentication_error")
            }
            Self::ModelNotFound => {
                (StatusCode::NOT_FOUND, "model_not_found", "invalid_request_error", "not_found_error")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "invalid_request_error", "not_found_error"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "invalid_request_error", "invalid_request_error")
            }
            Self::ResidencyDenied => {
                (StatusCode::FORBIDDEN, "residency_denied", "permission_error", "permission_error")
            }
            Self::FeatureDenied => (StatusCode::FORBIDDEN, "feature_denied", "permission_error", "permission_error"),
            Self::RedactionFailed => {
                (StatusCode::FORBIDDEN, "redaction_failed", "permission_error", "permission_error")
            }
            Self::InvalidRequest => {
                (StatusCode::BAD_REQUEST, "invalid_request", "invalid_request_error", "invalid_request_error")
            }
            Self::RequestTooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", "invalid_request_error", "request_too_large")
            }
            Self::RequestHeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "request_head_too_large",
                "invalid_request_error",
                "request_too_large",
            ),
            Self::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "request_timeout", "invalid_request_error", "invalid_request_error")
            }
            Self::RateLimitExceeded => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "rate_limit_error", "rate_limit_error")
            }
            Self::BudgetExceeded => {
                (StatusCode::TOO_MANY_REQUESTS, "budget_exceeded", "insufficient_quota", "rate_limit_error")
            }
            Self::NoPrivatePath => (StatusCode::SERVICE_UNAVAILABLE, "no_private_path", "server_error", "api_error"),
            Self::UpstreamUnavailable => (StatusCode::BAD_GATEWAY, "upstream_unavailable", "server_error", "api_error"),
            Self::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "server_error", "timeout_error"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "server_error", "overloaded_error"),
            Self::AuditUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable", "server_error", "api_error")
            }
            Self::LedgerUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", "server_error", "api_error")
            }
            Self::InternalError => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "server_error", "api_error"),
        }
    }

    /// The HTTP status it is answered with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().0
    }

    /// The word in `code`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The word in `type`, which each shape takes from its own list.
    #[must_use]
    pub const fn kind(self, shape: ErrorShape) -> &'static str {
        match shape {
            ErrorShape::OpenAi => self.row().2,
            ErrorShape::Anthropic => self.row().3,
        }
    }

    /// An error with this code.
    #[must_use]
    pub const fn error(self, shape: ErrorShape, message: &str) -> ApiError<'_> {
        ApiError { message, kind: self.kind(shape), code: self.as_str(), param: None }
    }
}

/// One error for a caller. The message holds no prompt, no key and no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiError<'a> {
    /// What happened and what to do.
    pub message: &'a str,
    /// The word in `type`.
    pub kind: &'a str,
    /// The stable code.
    pub code: &'a str,
    /// The member of the request at fault; Anthropic's shape has no place for it.
    pub param: Option<&'a str>,
}

#[derive(Serialize)]
struct OpenAiBody<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

#[derive(Serialize)]
struct AnthropicBody<'a> {
    #[serde(rename = "type")]
    outer: &'static str,
    error: AnthropicError<'a>,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
    code: &'a str,
}

/// The error event of the Responses API, with the `error` object beside it that SDKs look for in any stream.
#[derive(Serialize)]
struct ResponsesEvent<'a> {
    #[serde(rename = "type")]
    outer: &'static str,
    sequence_number: u64,
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    error: OpenAiError<'a>,
}

/// The JSON body of an error.
#[must_use]
pub fn error_body(shape: ErrorShape, error: &ApiError<'_>) -> Bytes {
    match shape {
        ErrorShape::OpenAi => written(&OpenAiBody { error: openai(error) }),
        ErrorShape::Anthropic => {
            let ApiError { message, kind, code, .. } = *error;
            written(&AnthropicBody { outer: "error", error: AnthropicError { kind, message, code } })
        }
    }
    .into()
}

/// A server-sent event that reports an error in a stream that has begun, in the dialect of `api`.
///
/// `code` is one of the gateway's own where it is in the table, which then gives the `type` as well.
#[must_use]
pub fn error_event(api: Api, code: &str, message: &str) -> Bytes {
    numbered_error_event(api, code, message, 0)
}

pub(crate) fn numbered_error_event(api: Api, code: &str, message: &str, sequence_number: u64) -> Bytes {
    let shape = api.dialect_of_errors();
    let known = Code::ALL.into_iter().find(|known| known.as_str() == code);
    let kind = known.unwrap_or(Code::InternalError).kind(shape);
    let error = ApiError { message, kind, code, param: None };
    let (name, data) = match api {
        Api::Responses => {
            let error = openai(&error);
            let event = ResponsesEvent { outer: "error", sequence_number, code, message, param: None, error };
            ("event: error\n", Bytes::from(written(&event)))
        }
        Api::Messages | Api::CountTokens => ("event: error\n", error_body(shape, &error)),
        Api::Chat | Api::Completions | Api::Embeddings | Api::Rerank => ("", error_body(shape, &error)),
    };
    [name.as_bytes(), b"data: ", &data, b"\n\n"].concat().into()
}

fn openai<'a>(error: &ApiError<'a>) -> OpenAiError<'a> {
    let ApiError { message, kind, code, param } = *error;
    OpenAiError { message, kind, param, code }
}

fn written<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).expect("strings and numbers always have a JSON form")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn each_shape_has_its_body() {
        let error = ApiError { param: Some("model"), ..Code::ModelNotFound.error(ErrorShape::OpenAi, "no `x`") };

        let openai: Value = serde_json::from_slice(&error_body(ErrorShape::OpenAi, &error)).expect("JSON");
        let anthropic: Value = serde_json::from_slice(&error_body(ErrorShape::Anthropic, &error)).expect("JSON");

        let expected = json!({"error": {
            "message": "no `x`", "type": "invalid_request_error", "param": "model", "code": "model_not_found",
        }});
        assert_eq!(openai, expected);
        let expected = json!({"type": "error", "error": {
            "type": "invalid_request_error", "message": "no `x`", "code": "model_not_found",
        }});
        assert_eq!(anthropic, expected);
    }

    #[test]
    fn codes_are_unique_words_and_keep_their_status() {
        let statuses =
            [401, 404, 404, 405, 403, 403, 403, 400, 413, 431, 408, 429, 429, 503, 502, 504, 503, 503, 503, 500];
        assert_eq!(Code::ALL.len(), statuses.len());
        for (code, status) in Code::ALL.into_iter().zip(statuses) {
            assert_eq!(code.status().as_u16(), status, "{code:?}");
            let same = Code::ALL.into_iter().filter(|other| other.as_str() == code.as_str());
            assert_eq!(same.count(), 1);
        }
    }

    #[test]
    fn error_events_follow_the_callers_dialect() {
        let event = |api| error_event(api, "upstream_unavailable", "a \"b\"\nc");
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("an event is text");

        let chat = text(event(Api::Chat));
        assert!(chat.starts_with("data: {\"error\":{") && chat.ends_with("}}\n\n"), "{chat}");
        let messages = text(event(Api::Messages));
        assert!(
            messages.starts_with("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\""),
            "{messages}"
        );
        let responses = text(event(Api::Responses));
        assert!(responses.starts_with("event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,"), "{responses}");
        for text in [chat, messages, responses] {
            assert_eq!(text.matches("\n\n").count(), 1, "a line break in a message must not end the event: {text}");
        }
    }
}
