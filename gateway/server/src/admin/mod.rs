//! The operators' listener and the probes' listener. Neither is reachable through the callers' listener.
//!
//! Until administrators have identities of their own this listener must be loopback; the configuration refuses
//! anything else. `/livez` and `/readyz` never need a credential.

mod status;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use ingress::listen::{Handler, Incoming};

use crate::gateway::{Gateway, Phase};
use crate::run::Reloader;

/// `/livez`, `/readyz`, `/metrics`, `/api/status`.
pub struct Admin {
    gateway: Arc<Gateway>,
    reloader: Option<Arc<Reloader>>,
}

impl Admin {
    /// The admin API over this gateway.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, reloader: Option<Arc<Reloader>>) -> Self {
        Self { gateway, reloader }
    }
}

impl Handler for Admin {
    type Body = Full<Bytes>;

    async fn handle(self: Arc<Self>, incoming: Incoming) -> Response<Self::Body> {
        // Every path of this listener stands here; a path that is not here is 404.
        match (&incoming.head.method, incoming.head.uri.path()) {
            (&Method::GET | &Method::HEAD, path @ ("/livez" | "/readyz")) => probe(&self.gateway, path),
            _ if !is_named_by_address(&incoming.head) => {
                let text = "name this listener by its address or `localhost`\n".to_owned();
                answer(StatusCode::MISDIRECTED_REQUEST, "text/plain; charset=utf-8", text)
            }
            (&Method::GET | &Method::HEAD, "/metrics") => {
                status::gauge(&self.gateway);
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                answer(StatusCode::OK, kind, self.gateway.metrics.render())
            }
            (&Method::GET | &Method::HEAD, "/api/status") => {
                let status = status::report(&self.gateway, self.reloader.as_deref());
                answer(StatusCode::OK, "application/json", status.to_string())
            }
            (&Method::GET | &Method::HEAD, "/") => answer(
                StatusCode::OK,
                "text/plain; charset=utf-8",
                "causeway admin listener: /livez /readyz /metrics /api/status\n".to_owned(),
            ),
            (_, "/livez" | "/readyz" | "/metrics" | "/api/status" | "/") => {
                answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "GET only\n".to_owned())
            }
            _ => not_found(),
        }
    }
}

/// The probes alone, for load balancers.
pub struct Probes(pub Arc<Gateway>);

impl Handler for Probes {
    type Body = Full<Bytes>;

    async fn handle(self: Arc<Self>, incoming: Incoming) -> Response<Self::Body> {
        match (&incoming.head.method, incoming.head.uri.path()) {
            (&Method::GET | &Method::HEAD, path @ ("/livez" | "/readyz")) => probe(&self.0, path),
            _ => not_found(),
        }
    }
}

/// A browser on the operator's machine can be led to a foreign name that resolves to this listener; that name is then what
/// it asks for. An address, or `localhost`, cannot be led anywhere.
fn is_named_by_address(head: &http::request::Parts) -> bool {
    let field = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = head.uri.authority().map(http::uri::Authority::as_str).or(field) else { return false };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

/// Alive whenever it answers; ready while it serves. Neither asks an upstream: one endpoint's outage must not take the
/// whole gateway out of its load balancer.
fn probe(gateway: &Gateway, path: &str) -> Response<Full<Bytes>> {
    let phase = gateway.phase();
    let (status, text) = match (path, phase) {
        ("/livez", _) => (StatusCode::OK, "alive\n"),
        (_, Phase::Ready) => (StatusCode::OK, "ready\n"),
        (_, Phase::Starting) => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        (_, Phase::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    };
    answer(status, "text/plain; charset=utf-8", text.to_owned())
}

fn not_found() -> Response<Full<Bytes>> {
    answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found\n".to_owned())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
