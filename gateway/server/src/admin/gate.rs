//! The one gate of the operators' listener: who asks, and may they ask for the route that was found.

use std::net::IpAddr;
use std::time::SystemTime;

use http::request::Parts;
use http::{StatusCode, header};
use ingress::auth::AuthError;
use ingress::listen::Peer;
use telemetry::audit::AdminEvent;

use super::routes::{Access, Route};
use crate::configuration::Role;
use crate::gateway::{Gateway, Taken};
use crate::snapshot::Administrator;

/// The proof that a route may be carried out, for whom. Only [`authorize`] makes one.
pub(super) struct Authorized {
    route: Route,
    who: Option<Administrator>,
}

impl Authorized {
    pub(super) fn route(&self) -> Route {
        self.route
    }

    /// Who asks; an action has an administrator always.
    pub(super) fn who(&self) -> Option<&Administrator> {
        self.who.as_ref()
    }
}

/// Why a request is turned away.
#[derive(Debug, thiserror::Error)]
pub(super) enum Denied {
    /// No credential of an administrator. One message for all, so that nothing is learnt from it.
    #[error("this needs the key, token or certificate of an administrator; send a key as `Authorization: Bearer`")]
    Unknown(AuthError),
    /// An administrator of a lesser role.
    #[error("this needs the role `{}`, and `{}` has the role `{}`", needed.name(), who.name, who.role.name())]
    Role { who: Administrator, needed: Role },
    /// Nobody is named who could act.
    #[error(
        "the configuration names no administrator, so nobody may act here: a record must say who did; add an `[administrator.NAME]`"
    )]
    NobodyNamed,
    /// A name led here that could lead anywhere.
    #[error("name this listener by its address or `localhost`")]
    Misdirected,
}

impl Denied {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unknown(_) => StatusCode::UNAUTHORIZED,
            Self::Role { .. } | Self::NobodyNamed => StatusCode::FORBIDDEN,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "invalid_api_key",
            Self::Role { .. } => "role_required",
            Self::NobodyNamed => "no_administrator",
            Self::Misdirected => "misdirected",
        }
    }
}

/// Default closed: whatever is not said to be allowed here is not.
pub(super) fn authorize(
    gateway: &Gateway,
    (head, peer): (&Parts, &Peer),
    route: Route,
    now: SystemTime,
) -> Result<Authorized, Denied> {
    let (Access::Read(needed) | Access::Act(needed)) = route.access() else {
        return Ok(Authorized { route, who: None });
    };
    let snapshot = gateway.snapshot();
    if snapshot.administrators.is_empty() {
        // The configuration keeps such a listener on loopback.
        return match route.access() {
            Access::Read(_) if is_named_by_address(head) => Ok(Authorized { route, who: None }),
            Access::Read(_) => Err(Denied::Misdirected),
            Access::Act(_) | Access::Everybody => Err(Denied::NobodyNamed),
        };
    }
    let certificate = peer.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
    let who = snapshot.administrators.authenticate(&head.headers, certificate, now).map_err(Denied::Unknown)?;
    if who.role < needed {
        return Err(Denied::Role { who, needed });
    }
    Ok(Authorized { route, who: Some(who) })
}

/// Counts and says who was turned away; an administrator who tried what its role does not allow leaves a record.
pub(super) fn note(gateway: &Gateway, denied: &Denied, route: Route, now: SystemTime) {
    match denied {
        Denied::Unknown(error) => {
            gateway.metrics.process().unauthenticated().inc();
            if gateway.unauthenticated_sample.is_due(now) {
                tracing::warn!(%error, path = route.path(), "an administrator's credential was refused (at most one such line a second)");
            }
        }
        Denied::Role { who, .. } => {
            match gateway.refused_administrators.take(now) {
                Taken::Yes => {}
                Taken::YesAfter { unwritten } => {
                    gateway.note_unwritten(now, &format!("administrators: {unwritten} refusals"), unwritten);
                }
                Taken::No => return,
            }
            let detail = format!("{} by role {}: {denied}", route.path(), who.role.name());
            let event = AdminEvent {
                at: now,
                action: "refused",
                actor: &who.actor(),
                done: false,
                configuration: None,
                detail: &detail,
            };
            if let Err(error) = gateway.audit.admin_refused(&event, 1) {
                tracing::error!(%error, actor = &*who.actor(), path = route.path(), "a refused action could not be recorded");
            }
        }
        Denied::NobodyNamed | Denied::Misdirected => {}
    }
}

/// A browser on the operator's machine can be led to a foreign name that resolves to this listener; that name is then what
/// it asks for. An address, or `localhost`, cannot be led anywhere.
fn is_named_by_address(head: &Parts) -> bool {
    let field = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = head.uri.authority().map(http::uri::Authority::as_str).or(field) else { return false };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
