//! Rereads the configuration: whole or not at all, and the last good one is kept on disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use telemetry::audit::AdminEvent;

use super::{DoorError, Doors, evidence};
use crate::configuration::{
    self, AuditConfig, Compiled, ListenConfig, Mistakes, Secret, Sources, StoreConfig, StoreLoss,
};
use crate::gateway::Gateway;
use crate::load;
use crate::snapshot::{Snapshot, SnapshotError};

/// Rereads the configuration from where it came.
pub struct Reloader {
    path: PathBuf,
    doors: Doors,
    begun: Begun,
    seen: Mutex<Seen>,
    last: Mutex<LastReload>,
    /// One reload at a time: of two, the one that read the older files must not end last.
    turn: tokio::sync::Mutex<()>,
}

/// What the process began with and cannot change while it runs.
struct Begun {
    listen: ListenConfig,
    admin: Option<SocketAddr>,
    admin_has_tls: bool,
    health: Option<SocketAddr>,
    state_folder: PathBuf,
    audit: (AuditConfig, bool),
    store: Option<StoreConfig>,
}

/// What the files looked like.
#[derive(Default)]
struct Seen {
    taken: Fingerprint,
    /// A change that was seen once and must be seen again unchanged before it is taken.
    pending: Option<Fingerprint>,
}

/// Each file's modification time, length and inode; a ConfigMap swaps links, so links are followed.
type Fingerprint = BTreeMap<PathBuf, Option<(SystemTime, u64, u64)>>;

/// How the latest attempt to reload went.
#[derive(Clone, Debug)]
pub struct LastReload {
    /// When.
    pub at: SystemTime,
    /// What was wrong; none when it took effect.
    pub refused: Option<String>,
    /// The process runs on the persisted last good configuration, because the files were broken when it started; true until
    /// a reload takes effect.
    pub from_last_good: bool,
}

/// Why a reload did not take effect. What ran before runs on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Mistakes in the documents.
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    /// What was read may be half of the old and half of the new. It is read again when it stands still.
    #[error("{} changed while the configuration was read; it is read again when it stands still", .0.display())]
    Torn(PathBuf),
    /// The documents are right, but what they name cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Without administrators everybody who reaches the operators' listener may read, so it must be on loopback; an open
    /// listener keeps its address.
    #[error(
        "the operators' listener is open on {0}, which other machines reach, and the configuration names no administrator any more; \
         name one as `[administrator.NAME]`, or restart with `admin.address` on loopback"
    )]
    NobodyAdministers(SocketAddr),
    /// A listener's certificate or key cannot be used.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// What was spent this month cannot be read, and the budgets of new apps and keys would begin at nothing.
    #[error(transparent)]
    Ledger(#[from] ledger::LedgerError),
    /// A fault of the gateway; what ran before is untouched.
    #[error("the reload ended in a fault of the gateway: {0}")]
    Panicked(String),
}

impl Reloader {
    /// Watches `path`. `from_last_good` says with which mistakes the process started, if it did.
    #[must_use]
    pub fn new(path: PathBuf, doors: Doors, compiled: &Compiled, from_last_good: Option<Mistakes>) -> Self {
        let refused = from_last_good.iter().flat_map(Mistakes::material);
        let taken = fingerprint(&path, compiled.material.iter().chain(refused));
        let refused = from_last_good.map(|mistakes| mistakes.to_string());
        let last = LastReload { at: SystemTime::now(), from_last_good: refused.is_some(), refused };
        let begun = Begun {
            listen: compiled.listen.clone(),
            admin: compiled.admin,
            admin_has_tls: compiled.administration.tls.is_some(),
            health: compiled.health,
            state_folder: compiled.state_folder.clone(),
            audit: log_of(compiled),
            store: compiled.store.clone(),
        };
        let seen = Mutex::new(Seen { taken, pending: None });
        Self { path, doors, begun, seen, last: Mutex::new(last), turn: tokio::sync::Mutex::new(()) }
    }

    /// How the latest attempt went.
    #[must_use]
    pub fn last(&self) -> LastReload {
        self.last.lock().clone()
    }

    /// Whether the files differ from those that were read, and have stood still since the last look.
    #[must_use]
    pub fn changed_and_settled(&self) -> bool {
        let watched = self.seen.lock().taken.clone();
        // Not under the lock: a disk may hang.
        let now = fingerprint(&self.path, watched.keys());
        let mut seen = self.seen.lock();
        if now == seen.taken {
            seen.pending = None;
            return false;
        }
        if seen.pending.as_ref() == Some(&now) {
            return true;
        }
        seen.pending = Some(now);
        false
    }

    /// Reads, checks and swaps. On any mistake the snapshot in force stays.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; it was logged, and noted for the status page, the metrics and the audit log.
    pub async fn reload(self: &Arc<Self>, gateway: &Arc<Gateway>, actor: &str) -> Result<(), ReloadError> {
        let _turn = self.turn.lock().await;
        let (begun, before) = (Instant::now(), gateway.snapshot());
        // Files may lie on a mount that hangs; the audit log's timer and the watchdog must not hang with it.
        let (reloader, owner) = (Arc::clone(self), Arc::clone(gateway));
        let read = tokio::task::spawn_blocking(move || {
            // Looked at first: what changes while it is read is found at the next look.
            let listed = fingerprint(&reloader.path, std::iter::empty());
            let watched = reloader.seen.lock().taken.clone();
            let known = fingerprint(&reloader.path, watched.keys());
            let read = reloader.read(&known);
            let now = match &read {
                Ok((_, compiled)) => looks(compiled.material.iter()),
                Err(ReloadError::Mistakes(mistakes)) => looks(mistakes.material()),
                Err(_) => Fingerprint::new(),
            };
            let outcome = read.and_then(|(sources, compiled)| reloader.take(&owner, &sources, compiled));
            (seen_of(listed, known, now, outcome.is_ok()), outcome)
        });
        let (taken, outcome) = match read.await {
            Ok(read) => read,
            Err(panicked) => {
                let taken = self.seen.lock().taken.clone();
                (taken, Err(ReloadError::Panicked(panicked.to_string())))
            }
        };
        let at = SystemTime::now();
        let refused = outcome.as_ref().err().map(ToString::to_string);
        *self.seen.lock() = Seen { taken, pending: None };
        match &refused {
            None => tracing::info!(took_ms = begun.elapsed().as_millis() as u64, "configuration reloaded"),
            Some(mistakes) => tracing::error!(%mistakes, "configuration not reloaded; what ran before runs on"),
        }
        let snapshot = gateway.snapshot();
        if refused.is_some() {
            gateway.metrics.configuration_refused();
        }
        gateway.metrics.set_configuration(&snapshot.hash, snapshot.loaded, refused.is_some());
        let changed = snapshot.what_decides_became(&before);
        let event = AdminEvent {
            at,
            action: if refused.is_none() { "reload" } else { "reload_refused" },
            actor,
            done: refused.is_none(),
            configuration: Some(&snapshot.hash),
            detail: refused.as_deref().unwrap_or(&changed),
        };
        match gateway.audit.admin_or_late(&event).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("the reload is recorded once the audit log takes entries again"),
            Err(error) => tracing::error!(%error, "the reload could not be recorded"),
        }
        if let Ok(compiled) = &outcome
            && let Err(error) = evidence::renew_key(gateway, compiled, actor).await
        {
            tracing::error!(%error, "the audit log goes on with the key it had");
        }
        let mut last = self.last.lock();
        *last = LastReload { at, from_last_good: last.from_last_good && refused.is_some(), refused };
        drop(last);
        outcome.map(drop)
    }

    /// A listener that is open keeps its address and its limits; the operator must not think otherwise.
    fn warn_of_what_needs_a_restart(&self, compiled: &Compiled) {
        let begun = &self.begun;
        let same = fixed(&begun.listen) == fixed(&compiled.listen)
            && begun.listen.tls.is_some() == compiled.listen.tls.is_some()
            && (begun.admin, begun.health) == (compiled.admin, compiled.health)
            && begun.admin_has_tls == compiled.administration.tls.is_some()
            && (&begun.state_folder, &begun.audit) == (&compiled.state_folder, &log_of(compiled))
            && kept(begun.store.as_ref()) == kept(compiled.store.as_ref());
        if !same {
            tracing::warn!(
                "`[listen]` address, time limits or connections, `[admin]`, `[health]`, `[state]`, `[audit]`, or `user`, \
                 `password`, `prefix` or `on_loss` of `[store]` changed; \
                 that takes effect at a restart or with `serve --upgrade`, the rest of the configuration now"
            );
        }
    }

    /// `known` is how the files stood just before.
    fn read(&self, known: &Fingerprint) -> Result<(Sources, Compiled), ReloadError> {
        let sources = Sources::read(&self.path)?;
        let compiled = configuration::load_sources(&sources, &load::options(SystemTime::now()));
        // Of two files one may have been read before and one after they were changed together, right or wrong.
        let torn = known.iter().find(|(file, stamp)| look(file) != **stamp);
        if let Some((file, _)) = torn {
            return Err(ReloadError::Torn(file.clone()));
        }
        Ok((sources, compiled?))
    }

    fn take(&self, gateway: &Arc<Gateway>, sources: &Sources, compiled: Compiled) -> Result<Compiled, ReloadError> {
        if let Some(address) = self.begun.admin.filter(|address| !address.ip().is_loopback())
            && compiled.administration.administrators.is_empty()
        {
            return Err(ReloadError::NobodyAdministers(address));
        }
        let before = gateway.snapshot();
        let next = Snapshot::build(&compiled, Some(&before), &gateway.metrics)?;
        let spendings = gateway.spendings(&next)?;
        let certificates = self.doors.prepare(&compiled)?;
        self.warn_of_what_needs_a_restart(&compiled);
        // INVARIANT: nothing below can fail, so that what is refused changes nothing.
        certificates.take();
        gateway.put_in_force(next, spendings);
        persist(&compiled, sources);
        Ok(compiled)
    }
}

/// What of the audit log cannot change while it is open: its key can, and how a server is reached that checkpoints go to, but
/// not whether they go to one.
fn log_of(compiled: &Compiled) -> (AuditConfig, bool) {
    let fixed = AuditConfig {
        signing_key: None,
        origins: Vec::new(),
        retention: None,
        refuse_from: None,
        pseudonyms: None,
        witness_http: None,
        ..compiled.audit.clone()
    };
    (fixed, compiled.audit.witness_http.is_some())
}

/// What the counters of several gateways keep for as long as the process runs; how the store is reached is not in it.
fn kept(store: Option<&StoreConfig>) -> Option<(Option<&str>, Option<&Secret>, &str, StoreLoss)> {
    store.map(|store| (store.user.as_deref(), store.password.as_ref(), store.prefix.as_str(), store.on_loss))
}

/// What of the listener's section can change while it is open: the rest is told apart by leaving this out.
fn fixed(listen: &ListenConfig) -> ListenConfig {
    ListenConfig {
        tls: None,
        forwarded_client_cert_from: Vec::new(),
        body_timeout: Duration::ZERO,
        stream_comment: Duration::ZERO,
        max_body_bytes: 0,
        max_buffered_bytes: 0,
        max_in_flight: 0,
        ..listen.clone()
    }
}

/// Keeps the last good configuration on disk. A failure is loud and stops nothing: the running state is right.
pub fn persist(compiled: &Compiled, sources: &Sources) {
    if let Err(error) = configuration::save_last_good(
        &compiled.state_folder,
        sources,
        (&compiled.policy.files, &compiled.policy.pack.files),
        SystemTime::now(),
    ) {
        tracing::error!(%error, "the last good configuration is not kept; a restart with a broken file would fail");
    }
}

fn fingerprint<'a>(path: &Path, watched: impl Iterator<Item = &'a PathBuf>) -> Fingerprint {
    let mut files = looks(watched);
    files.insert(path.to_owned(), look(path));
    if let Ok(folder) = std::fs::read_dir(path) {
        for file in folder.flatten().map(|entry| entry.path()) {
            if file.extension().is_some_and(|extension| extension == "toml") {
                files.insert(file.clone(), look(&file));
            }
        }
    }
    files
}

fn looks<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Fingerprint {
    files.map(|file| (file.clone(), look(file))).collect()
}

/// What counts as seen: each file that is watched from `now` on, as it stood before it was read where it was known then, and
/// the documents that stood there. What was refused may be mended in any file that it reads, and what runs goes on reading its own, so
/// then both are watched.
fn seen_of(listed: Fingerprint, known: Fingerprint, now: Fingerprint, is_taken: bool) -> Fingerprint {
    let mut seen: Fingerprint =
        now.into_iter().map(|(path, stamp)| (path.clone(), known.get(&path).copied().unwrap_or(stamp))).collect();
    if is_taken {
        seen.extend(listed);
    } else {
        seen.extend(known);
    }
    seen
}

fn look(file: &Path) -> Option<(SystemTime, u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
