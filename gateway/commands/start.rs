//! From a configuration to a gateway that can serve: what `serve` and `demo` have in common.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ledger::Ledger;
use server::break_glass::BreakGlass;
use server::configuration::{self, Compiled, Mistakes};
use server::gateway::Gateway;
use server::load;
use server::restrictions::{Holding, RestrictionsError};
use server::snapshot::{Snapshot, SnapshotError, make_users_key};
use telemetry::audit::{AdminEvent, AuditError, AuditLog};
use telemetry::metrics::Metrics;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The documents have mistakes.
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    /// What the documents name cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The audit log cannot be opened, and nothing is served without it.
    #[error("{}", with_source(.0))]
    Audit(#[from] AuditError),
    /// The key that signs the audit log cannot be used.
    #[error(transparent)]
    AuditKey(#[from] telemetry::audit::KeyFileError),
    /// What administrators held back is not known, and nothing is served without knowing it.
    #[error(transparent)]
    Restrictions(#[from] RestrictionsError),
    /// Which grants are open is not known.
    #[error(transparent)]
    BreakGlass(#[from] server::kept::KeptError),
    /// A listener's certificate cannot be used.
    #[error(transparent)]
    Door(#[from] server::run::DoorError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] server::run::LifecycleError),
    /// A port of the demonstration cannot be had.
    #[error("{address} cannot be listened on: {source}; choose another port with {flag}, or 0 for any free one")]
    DemoPort {
        /// The address.
        address: std::net::SocketAddr,
        /// The option that chooses it.
        flag: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Neither a configuration nor anything on this machine.
    #[error(
        "nothing to serve: no local server answers without a key and no cloud is approved; write a configuration and name it with --config, or try `causeway demo`"
    )]
    NothingFound,
    /// The books cannot be opened.
    #[error(transparent)]
    Ledger(#[from] ledger::LedgerError),
    /// A folder or a file cannot be used.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn with_source(error: &AuditError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Reads the configuration at `path` and builds the gateway.
pub(super) async fn gateway(path: &Path) -> Result<Arc<Gateway>, StartError> {
    let compiled = configuration::load(path, &load::options(SystemTime::now()))?;
    build(&compiled, "start", SystemTime::now()).await
}

/// Builds the gateway from a configuration that was checked and is in force since then, and opens its audit log.
pub(super) async fn build(compiled: &Compiled, action: &str, since: SystemTime) -> Result<Arc<Gateway>, StartError> {
    let metrics = Metrics::new();
    make_users_key(&compiled.state_folder)?;
    let snapshot = Snapshot::build(compiled, None, &metrics)?.in_force_since(since);
    // Before the audit log is opened: a start that fails leaves no epoch behind.
    let (books, home) = (compiled.state_folder.join("ledger"), snapshot.home());
    ledger::is_there(&books, &home)?;
    Holding::default().open(&compiled.state_folder)?;
    BreakGlass::default().open(&compiled.state_folder)?;
    snapshot.join()?;
    let settings = server::run::audit_settings(compiled)?;
    tracing::info!(origin = settings.origin, key = %settings.key.public(), "the audit log is signed; auditors need this public key");
    let audit = AuditLog::open(settings, SystemTime::now())?;
    let process = format!("{}-{:08x}", audit.epoch(), rand::random::<u32>());
    let ledger = Ledger::open(&books, &process, home)?;
    let gateway = Gateway::new(snapshot, audit, ledger, metrics)?;
    gateway.restrictions.open(&compiled.state_folder)?;
    gateway.break_glass.open(&compiled.state_folder)?;
    gateway.captures.open(compiled.state_folder.join("captures"));
    let snapshot = gateway.snapshot();
    gateway.last_used.open(&compiled.state_folder, &snapshot.used());
    let event = AdminEvent {
        at: SystemTime::now(),
        action,
        actor: "process",
        done: true,
        configuration: Some(&snapshot.hash),
        detail: "",
    };
    gateway.audit.admin(&event).await?;
    Ok(gateway)
}
