//! Administrative actions in the audit log, and a word in the gateway's own where they are not.

use telemetry::audit::{AdminEvent, AuditError};

use crate::gateway::Gateway;

/// For what is done once it is recorded.
pub(super) async fn record(gateway: &Gateway, event: &AdminEvent<'_>) -> Result<(), AuditError> {
    let written = gateway.audit.admin(event).await;
    written.inspect_err(|error| not_recorded(event, error))
}

/// For what has taken effect, whatever becomes of its record: false where that waits until the log takes entries again, or found
/// no room to wait.
pub(super) async fn record_or_late(gateway: &Gateway, event: &AdminEvent<'_>) -> bool {
    match gateway.audit.admin_or_late(event).await {
        Ok(true) => return true,
        Ok(false) => tracing::warn!(
            actor = event.actor,
            action = event.action,
            "an action is recorded once the audit log takes entries"
        ),
        Err(error) => not_recorded(event, &error),
    }
    false
}

fn not_recorded(event: &AdminEvent<'_>, error: &AuditError) {
    tracing::error!(%error, actor = event.actor, action = event.action, "an action could not be recorded");
}
