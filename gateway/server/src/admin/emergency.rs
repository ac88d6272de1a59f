//! Opening and closing grants for an emergency.
//!
//! Opening widens, so it is recorded first, then kept, then in force; what fails on the way leaves it closed. Closing is in
//! force first.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use telemetry::audit::{AdminEvent, AuditError};

use super::record::{record, record_or_late};
use super::{answer, error};
use crate::break_glass::{self, NotOpened, Person, Step};
use crate::configuration::Role;
use crate::gateway::Gateway;
use crate::kept::KeptError;
use crate::snapshot::Administrator;

/// Why a grant is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the configuration has no grant `{0}`")]
    Unknown(String),
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
    #[error("the grant is not open, and nobody has asked for it")]
    NotOpen,
    #[error("the decision could not be recorded, so nothing was changed")]
    Unrecorded(#[from] AuditError),
    #[error("{0}")]
    Kept(#[from] KeptError),
}

impl Fault {
    pub(super) fn respond(&self) -> Response<Full<Bytes>> {
        let (status, code) = match self {
            Self::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::NotOpened(_) | Self::NotOpen => (StatusCode::CONFLICT, "not_done"),
            Self::Unrecorded(_) => (StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable"),
            Self::Kept(KeptError::Changed(_)) => (StatusCode::CONFLICT, "not_done"),
            Self::Kept(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_kept"),
        };
        error(status, code, &self.to_string())
    }
}

/// The first of two people asks, or the second one opens it.
pub(super) async fn open(
    gateway: &Arc<Gateway>,
    who: &Administrator,
    (name, because): (&str, &str),
) -> Result<Response<Full<Bytes>>, Fault> {
    let snapshot = gateway.snapshot();
    let found = snapshot.break_glass.grants.iter().find(|grant| grant.name == name);
    let grant = found.ok_or_else(|| Fault::Unknown(name.to_owned()))?;
    let now = SystemTime::now();
    let _changing = gateway.break_glass.changing.lock().await;
    latest(gateway).await?;
    let person = break_glass::person(who, now);
    let still = |first: &Person| {
        let role = if first.is_security { Role::Security } else { Role::Operator };
        snapshot.administrators.has(&first.name, role, first.subject.as_ref())
    };
    let before = gateway.break_glass.current();
    let (step, next) = before.of_people(still).asked(grant, person, because)?;
    let action = match step {
        Step::Waits { .. } => "break_glass_asked",
        Step::Opens { .. } => "break_glass_opened",
    };
    let detail = format!("grant `{name}`, by role {}: {because}", who.role.name());
    let event = AdminEvent {
        at: now,
        action,
        actor: &who.actor(),
        done: true,
        configuration: Some(&snapshot.hash),
        detail: &detail,
    };
    record(gateway, &event).await?;
    let kept = handled(gateway, move |gateway| gateway.break_glass.change(&before, next)).await;
    if kept.is_err() {
        // The record said that it would be done.
        record_or_late(gateway, &AdminEvent { at: SystemTime::now(), done: false, ..event }).await;
    }
    kept?;
    let (state, until) = match step {
        Step::Waits { until } => ("waits for a second person", until),
        Step::Opens { until } => {
            tracing::error!(
                grant = name,
                actor = &*who.actor(),
                until,
                "ALARM break_glass: a grant for an emergency is open; policies do not hold for it"
            );
            ("open", until)
        }
    };
    let body = json!({ "action": action, "grant": name, "state": state, "until": until });
    Ok(answer(StatusCode::OK, "application/json", body.to_string()))
}

pub(super) async fn close(
    gateway: &Arc<Gateway>,
    who: &Administrator,
    (name, because): (&str, &str),
) -> Result<Response<Full<Bytes>>, Fault> {
    let snapshot = gateway.snapshot();
    let _changing = gateway.break_glass.changing.lock().await;
    // What cannot be read must not keep a grant open.
    if let Err(error) = latest(gateway).await {
        tracing::error!(%error, "what another process changed in the grants is not known");
    }
    if !gateway.break_glass.current().0.contains_key(name) {
        return Err(Fault::NotOpen);
    }
    let grant = name.to_owned();
    let kept = handled(gateway, move |gateway| gateway.break_glass.close(|all| all.without(&grant))).await;
    let event = AdminEvent {
        at: SystemTime::now(),
        action: "break_glass_closed",
        actor: &who.actor(),
        done: true,
        configuration: Some(&snapshot.hash),
        detail: &format!("grant `{name}`, by role {}: {because}", who.role.name()),
    };
    // Where it waits for the log it is not recorded yet.
    let recorded = record_or_late(gateway, &event).await;
    tracing::warn!(grant = name, actor = &*who.actor(), "a grant for an emergency was closed");
    let problem = kept.err().map(|error| error.to_string());
    let body = json!({
        "action": "break_glass_closed", "grant": name, "state": "closed",
        "kept": problem.is_none(), "recorded": recorded, "problem": problem,
    });
    Ok(answer(StatusCode::OK, "application/json", body.to_string()))
}

/// Closes what has ended, and records it; called every second.
pub(crate) async fn sweep(gateway: &Arc<Gateway>) {
    if let Err(error) = latest(gateway).await {
        tracing::error!(%error, "which grants are open stays as it was");
    }
    let snapshot = gateway.snapshot();
    let now = SystemTime::now();
    if gateway.break_glass.ended(&snapshot.break_glass, now).is_none() {
        return;
    }
    let _changing = gateway.break_glass.changing.lock().await;
    // Another process may have closed it while this one waited for its turn.
    if let Err(error) = latest(gateway).await {
        tracing::error!(%error, "what another process changed in the grants is not known");
    }
    let Some(ended) = gateway.break_glass.ended(&snapshot.break_glass, now) else { return };
    let of = Arc::clone(&snapshot);
    let closed =
        handled(gateway, move |gateway| gateway.break_glass.close(|all| all.swept(&of.break_glass, now).1)).await;
    if let Err(error) = closed {
        tracing::error!(%error, "a grant has ended, and that cannot be kept; it is closed all the same");
    }
    for name in ended {
        tracing::warn!(grant = name, "a grant for an emergency has closed itself");
        let event = AdminEvent {
            at: now,
            action: "break_glass_ended",
            actor: "process",
            done: true,
            configuration: Some(&snapshot.hash),
            detail: &format!("grant `{name}`"),
        };
        // A failure is in the log; the grant is closed whatever the record.
        record_or_late(gateway, &event).await;
    }
}

/// Takes over what another process has changed since the last look.
async fn latest(gateway: &Arc<Gateway>) -> Result<(), KeptError> {
    handled(gateway, |gateway| gateway.break_glass.look()).await
}

/// On a thread that may wait: a disk that hangs must not hold up the listener.
async fn handled(
    gateway: &Arc<Gateway>,
    what: impl FnOnce(&Gateway) -> Result<(), KeptError> + Send + 'static,
) -> Result<(), KeptError> {
    let owner = Arc::clone(gateway);
    tokio::task::spawn_blocking(move || what(&owner)).await.unwrap_or_else(|fault| {
        Err(KeptError::Damaged { path: "break-glass".into(), what: format!("was not handled: {fault}") })
    })
}
