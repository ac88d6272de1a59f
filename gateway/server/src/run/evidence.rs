//! Where the audit log lies and who signs it: from the configuration to the settings of the log.

use std::path::PathBuf;
use std::time::SystemTime;

use telemetry::audit::{self, AuditError, Durability, KeyFileError, SecondPlace, Settings};

use crate::configuration::Compiled;
use crate::gateway::Gateway;

/// The audit log's folder below a state folder. It holds nothing else, so that every byte in it can be accounted for.
#[must_use]
pub fn audit_folder(compiled: &Compiled) -> PathBuf {
    compiled.state_folder.join("audit")
}

/// The name of this gateway's log: what the configuration says, or the host's name in the characters that it may have.
#[must_use]
pub fn audit_origin(compiled: &Compiled) -> String {
    if let Some(origin) = &compiled.audit.origin {
        return origin.clone();
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' };
    let kept: String = name.trim().to_ascii_lowercase().chars().map(plain).take(64).collect();
    let kept = kept.trim_start_matches(['-', '.']);
    if kept.is_empty() { "gateway".to_owned() } else { kept.to_owned() }
}

/// The file of the key that signs checkpoints.
#[must_use]
pub fn signing_key(compiled: &Compiled) -> PathBuf {
    let own = || compiled.state_folder.join("audit-keys").join(audit_origin(compiled));
    compiled.audit.signing_key.clone().unwrap_or_else(own)
}

/// How the audit log is opened. The key is made where there is none.
///
/// # Errors
///
/// When the key cannot be read or made, or is the key of another log.
pub fn audit_settings(compiled: &Compiled) -> Result<Settings, KeyFileError> {
    let origin = audit_origin(compiled);
    let key = audit::load_or_make(&signing_key(compiled), &origin)?;
    Ok(Settings {
        folder: audit_folder(compiled),
        scratch: compiled.state_folder.join("audit-scratch"),
        origin,
        durability: if compiled.audit.on_disk { Durability::Disk } else { Durability::Os },
        key,
        witness: second_place(compiled),
        reserve: compiled.state_folder.join("audit-reserve"),
    })
}

fn second_place(compiled: &Compiled) -> Option<SecondPlace> {
    let elsewhere = compiled.audit.witness_http.is_some().then_some(SecondPlace::Elsewhere);
    compiled.audit.witness.clone().map(SecondPlace::Folder).or(elsewhere)
}

/// A reload found another key at the same place, or a key at another place: from the next checkpoint on it signs as well.
pub(super) async fn renew_key(gateway: &Gateway, compiled: &Compiled, actor: &str) -> Result<(), RenewError> {
    let key = audit::load_or_make(&signing_key(compiled), &audit_origin(compiled))?;
    if gateway.audit.signs_with(&key) {
        return Ok(());
    }
    let public = key.public().to_string();
    gateway.audit.rotate(key, actor, SystemTime::now()).await?;
    tracing::info!(
        key = public,
        "the audit log is signed by another key as well; give its public half to the auditors"
    );
    Ok(())
}

/// Why a new key does not sign.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenewError {
    /// It cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Its coming cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
}
