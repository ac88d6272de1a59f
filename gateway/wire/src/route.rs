//! Which call a downstream path means.

use http::Method;

use crate::{Api, ErrorShape};

/// What a downstream request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A call with a JSON body.
    Call {
        /// The API that the path belongs to.
        api: Api,
        /// The deployment that an Azure-style path names; it wins over the body's `model`.
        model: Option<String>,
    },
    /// `GET /v1/models`.
    ModelList,
    /// `GET /v1/models/{id}`; the id may hold slashes, plain or percent-encoded.
    Model(String),
    /// `HEAD /` or `GET /`: some clients knock before they call.
    Root,
}

/// Why a path is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No API has this path.
    #[error("this path is not served; the APIs are under /v1/ and /openai/")]
    NotFound,
    /// The path exists under another method.
    #[error("this path takes {allow}")]
    MethodNotAllowed {
        /// The value of the `allow` header.
        allow: &'static str,
    },
}

/// Reads the method and the path (without its query) of a downstream request.
///
/// Azure's forms are `/openai/deployments/{model}/...`, `/openai/v1/...` and, for what has no deployment in its path,
/// `/openai/responses` and `/openai/models`.
///
/// # Errors
///
/// [`RouteError`] when no API has the path, or not with this method.
pub fn route(method: &Method, path: &str) -> Result<Route, RouteError> {
    let path = one_leading_slash(path);
    if path == "/" {
        return read_only(method, Route::Root);
    }
    if let Some(rest) = path.strip_prefix("/openai/deployments/") {
        let (model, tail) = rest.split_once('/').ok_or(RouteError::NotFound)?;
        let model = decoded(model).ok_or(RouteError::NotFound)?;
        return call(method, deployment_api(tail), Some(model));
    }
    if let Some(rest) = path.strip_prefix("/openai/v1/") {
        return match openai_api(rest) {
            Some(api) => call(method, Some(api), None),
            None => models(method, rest),
        };
    }
    if let Some(rest) = path.strip_prefix("/openai/") {
        return match rest {
            "responses" => call(method, Some(Api::Responses), None),
            _ => models(method, rest),
        };
    }
    let rest = path.strip_prefix("/v1/").ok_or(RouteError::NotFound)?;
    match openai_api(rest).or_else(|| anthropic_api(rest)) {
        Some(api) => call(method, Some(api), None),
        None => models(method, rest),
    }
}

/// The shape in which a caller at this path expects an error, whether or not the path is served.
///
/// It follows [`route`], which takes a doubled slash in front for one: `//v1/messages` is Anthropic's as well.
#[must_use]
pub fn shape_of(path: &str) -> ErrorShape {
    let below = one_leading_slash(path).strip_prefix("/v1/messages");
    let is_anthropic = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_anthropic { ErrorShape::Anthropic } else { ErrorShape::OpenAi }
}

/// `path` with a doubled slash in front made one: what a client sends whose base URL ends in a slash.
fn one_leading_slash(path: &str) -> &str {
    let extra = path.bytes().take_while(|&byte| byte == b'/').count().saturating_sub(1);
    path.get(extra..).unwrap_or(path)
}

fn openai_api(tail: &str) -> Option<Api> {
    match tail {
        "chat/completions" => Some(Api::Chat),
        "completions" => Some(Api::Completions),
        "responses" => Some(Api::Responses),
        "embeddings" => Some(Api::Embeddings),
        "rerank" => Some(Api::Rerank),
        _ => None,
    }
}

fn anthropic_api(tail: &str) -> Option<Api> {
    match tail {
        "messages" => Some(Api::Messages),
        "messages/count_tokens" => Some(Api::CountTokens),
        _ => None,
    }
}

fn deployment_api(tail: &str) -> Option<Api> {
    match tail {
        "chat/completions" => Some(Api::Chat),
        "completions" => Some(Api::Completions),
        "embeddings" => Some(Api::Embeddings),
        _ => None,
    }
}

fn call(method: &Method, api: Option<Api>, model: Option<String>) -> Result<Route, RouteError> {
    let api = api.ok_or(RouteError::NotFound)?;
    if method == Method::POST {
        Ok(Route::Call { api, model })
    } else {
        Err(RouteError::MethodNotAllowed { allow: "POST" })
    }
}

fn models(method: &Method, rest: &str) -> Result<Route, RouteError> {
    if rest == "models" {
        return read_only(method, Route::ModelList);
    }
    let id = rest.strip_prefix("models/").and_then(decoded).ok_or(RouteError::NotFound)?;
    read_only(method, Route::Model(id))
}

fn read_only(method: &Method, route: Route) -> Result<Route, RouteError> {
    if method == Method::GET || method == Method::HEAD {
        Ok(route)
    } else {
        Err(RouteError::MethodNotAllowed { allow: "GET, HEAD" })
    }
}

/// Percent-decodes a path segment; `None` where it is empty, badly encoded or not UTF-8.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(path: &str) -> Result<Route, RouteError> {
        route(&Method::POST, path)
    }

    #[test]
    fn every_served_path_leads_to_its_api() {
        let table = [
            ("/v1/chat/completions", Api::Chat, None),
            ("/v1/completions", Api::Completions, None),
            ("/v1/responses", Api::Responses, None),
            ("/v1/embeddings", Api::Embeddings, None),
            ("/v1/rerank", Api::Rerank, None),
            ("/v1/messages", Api::Messages, None),
            ("/v1/messages/count_tokens", Api::CountTokens, None),
            ("/openai/v1/chat/completions", Api::Chat, None),
            ("/openai/v1/responses", Api::Responses, None),
            ("/openai/responses", Api::Responses, None),
            ("/openai/deployments/gpt-4o/chat/completions", Api::Chat, Some("gpt-4o")),
            ("/openai/deployments/a%20b/completions", Api::Completions, Some("a b")),
            ("/openai/deployments/e/embeddings", Api::Embeddings, Some("e")),
            ("//openai/deployments/e/embeddings", Api::Embeddings, Some("e")),
        ];
        for (path, api, model) in table {
            let model = model.map(str::to_owned);
            assert_eq!(post(path), Ok(Route::Call { api, model }), "{path}");
        }
    }

    #[test]
    fn errors_follow_the_path_as_the_route_does() {
        let paths = [
            "/v1/messages",
            "//v1/messages",
            "///v1/messages/count_tokens",
            "/v1/messages/batches",
            "/v1/messagesx",
            "/v1/chat/completions",
            "//v1/responses",
            "/openai/v1/messages",
            "/",
            "",
        ];
        for path in paths {
            let expected = match post(path) {
                Ok(Route::Call { api, .. }) => api.dialect_of_errors(),
                _ if path == "/v1/messages/batches" => ErrorShape::Anthropic,
                _ => ErrorShape::OpenAi,
            };
            assert_eq!(shape_of(path), expected, "{path}");
        }
    }

    #[test]
    fn model_ids_may_hold_slashes() {
        for path in ["/v1/models/org/m-1", "/openai/v1/models/org%2Fm-1", "/openai/models/org/m-1"] {
            assert_eq!(route(&Method::GET, path), Ok(Route::Model("org/m-1".into())), "{path}");
        }
        assert_eq!(route(&Method::GET, "/v1/models"), Ok(Route::ModelList));
        assert_eq!(route(&Method::HEAD, "/"), Ok(Route::Root));
    }

    #[test]
    fn a_wrong_method_names_the_right_one() {
        let wrong = route(&Method::GET, "/v1/chat/completions");
        assert_eq!(wrong, Err(RouteError::MethodNotAllowed { allow: "POST" }));
        let wrong = post("/v1/models");
        assert_eq!(wrong, Err(RouteError::MethodNotAllowed { allow: "GET, HEAD" }));
    }

    #[test]
    fn what_is_not_listed_is_not_found() {
        let paths = [
            "",
            "/v1",
            "/v1/",
            "/v1/models/",
            "/v1/files",
            "/v1/chat/completions/",
            "/chat/completions",
            "/v1//models",
            "/openai/deployments/x",
            "/openai/deployments//chat/completions",
            "/openai/deployments/x/responses",
            "/openai/deployments/%zz/chat/completions",
            "/openai/deployments/%ff/embeddings",
            "/openai/v1/messages",
        ];
        for path in paths {
            assert_eq!(post(path), Err(RouteError::NotFound), "{path}");
        }
    }
}
