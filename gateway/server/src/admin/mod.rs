//! The operators' listener and the probes' listener. Neither is reachable through the callers' listener.
//!
//! Every path stands in one table ([`routes`]) with what it takes to ask for it, and every request passes one gate
//! ([`gate`]), which authorises the route that was found and nothing else: what is carried out takes the proof that the gate
//! gave for it. A path that is not in the table is 404.
//!
//! Where the configuration names administrators, all but `/livez` and `/readyz` need one. Where it names none the listener
//! is loopback, everybody there may read, and nobody may act: a record must say who did.

mod actions;
mod budgets;
pub(crate) mod emergency;
mod gate;
mod issuers;
mod record;
mod routes;
mod status;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use ingress::listen::{Handler, Incoming, RequestBody};
use serde_json::json;
use telemetry::metrics::CONTENT_TYPE;

use crate::gateway::{Gateway, Phase};
use crate::run::Reloader;
use gate::{Authorized, Denied};
use routes::{Missing, Route};
pub(crate) use status::gauge;

/// The operators' listener.
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

    /// Reads; nothing here changes anything.
    fn read(&self, route: Route, headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
        Some(match route {
            Route::Livez | Route::Readyz => probe(&self.gateway, route),
            Route::Index => plain(StatusCode::OK, routes::index()),
            Route::Metrics => {
                gauge(&self.gateway);
                let metrics = &self.gateway.metrics;
                let page = if asks_for_exemplars(headers) { metrics.render_with_exemplars() } else { metrics.render() };
                answer(StatusCode::OK, CONTENT_TYPE, page)
            }
            Route::Status => {
                let status = status::report(&self.gateway, self.reloader.as_deref());
                answer(StatusCode::OK, "application/json", status.to_string())
            }
            Route::Restrictions => {
                let restrictions = json!(&*self.gateway.restrictions.current());
                answer(StatusCode::OK, "application/json", restrictions.to_string())
            }
            Route::BreakGlass => {
                let standings = json!(self.gateway.break_glass.current().shown());
                answer(StatusCode::OK, "application/json", standings.to_string())
            }
            Route::Reload
            | Route::BreakGlassOpen
            | Route::BreakGlassClose
            | Route::Revoke
            | Route::Quarantine
            | Route::LocalOnlyOn
            | Route::Reinstate
            | Route::Release
            | Route::LocalOnlyOff => return None,
        })
    }
}

impl Handler for Admin {
    type Body = Full<Bytes>;

    async fn handle(self: Arc<Self>, incoming: Incoming) -> Response<Self::Body> {
        let Incoming { head, body, peer } = incoming;
        let route = match Route::of(&head.method, head.uri.path()) {
            Ok(route) => route,
            Err(Missing::Path) => return not_found(),
            Err(Missing::Method { allow }) => return method_not_allowed(allow),
        };
        let now = SystemTime::now();
        match gate::authorize(&self.gateway, (&head, &peer), route, now) {
            // Boxed, because the connection keeps the room of this future.
            Ok(authorized) => Box::pin(self.carry_out(authorized, &head, body)).await,
            Err(denied) => {
                ingress::body::drain(body, actions::LONGEST, actions::WITHIN).await;
                gate::note(&self.gateway, &denied, route, now);
                refuse(&denied)
            }
        }
    }
}

impl Admin {
    async fn carry_out(
        &self,
        authorized: Authorized,
        head: &http::request::Parts,
        body: RequestBody,
    ) -> Response<Full<Bytes>> {
        match self.read(authorized.route(), &head.headers) {
            Some(response) => response,
            None => actions::carry_out((&self.gateway, self.reloader.as_ref()), authorized, head, body).await,
        }
    }
}

/// Whoever names the format reads exemplars; others may take them for a mistake.
fn asks_for_exemplars(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("application/openmetrics-text"))
}

/// The probes alone, for load balancers.
pub struct Probes(pub Arc<Gateway>);

impl Handler for Probes {
    type Body = Full<Bytes>;

    async fn handle(self: Arc<Self>, incoming: Incoming) -> Response<Self::Body> {
        match Route::of(&incoming.head.method, incoming.head.uri.path()) {
            Ok(route @ (Route::Livez | Route::Readyz)) => probe(&self.0, route),
            _ => not_found(),
        }
    }
}

/// Alive whenever it answers; ready while it serves. Neither asks an upstream: one endpoint's outage must not take the
/// whole gateway out of its load balancer.
fn probe(gateway: &Gateway, route: Route) -> Response<Full<Bytes>> {
    let (status, text) = match (route, gateway.phase()) {
        (Route::Livez, _) => (StatusCode::OK, "alive\n"),
        (_, Phase::Ready) => (StatusCode::OK, "ready\n"),
        (_, Phase::Starting) => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        (_, Phase::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    };
    plain(status, text.to_owned())
}

fn refuse(denied: &Denied) -> Response<Full<Bytes>> {
    let mut response = error(denied.status(), denied.code(), &denied.to_string());
    if matches!(denied, Denied::Unknown(_)) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn not_found() -> Response<Full<Bytes>> {
    plain(StatusCode::NOT_FOUND, "not found\n".to_owned())
}

fn method_not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, format!("{allow} only\n"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", text)
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    answer(status, "application/json", json!({ "error": { "code": code, "message": message } }).to_string())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
