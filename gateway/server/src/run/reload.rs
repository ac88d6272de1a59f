//! Rereads the configuration: whole or not at all, and the last good one is kept on disk.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use telemetry::audit::AdminEvent;

use super::{DoorError, Doors, evidence};
use crate::configuration::{
    self, AuditConfig, Compiled, ListenConfig, Mistakes, Secret, Sources, Stamps, StoreConfig, StoreLoss,
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

/// Looks in a row at which no file differs that did not before, after which what stands still is enough. A folder that is being copied
/// is waited for until it is whole; files that never stand still must not keep a mend of another out, and neither must such that come
/// and go.
const PATIENCE: u32 = 30;

/// Looks in a row at which something differs, after which what stands still is enough whatever comes: five minutes.
const MOST_PATIENCE: u32 = 300;

/// How the files stood.
#[derive(Default)]
struct Seen {
    /// Before the last time that they were read, whether that was taken or refused: what came of it can become another thing
    /// only when one of these changes.
    read: Stamps,
    /// What differed at the last look. It must be seen again unchanged before it is read.
    pending: Stamps,
    /// What differed at any look since something does.
    met: BTreeSet<PathBuf>,
    /// Looks in a row at which nothing differed that had not before.
    looks: u32,
    /// Looks in a row at which something differed.
    waited: u32,
}

impl Seen {
    fn of(read: Stamps) -> Self {
        Self { read, ..Self::default() }
    }

    /// Takes what differs now; whether it is to be read.
    fn look(&mut self, changed: Stamps) -> bool {
        let before = std::mem::replace(&mut self.pending, changed);
        if self.pending.is_empty() {
            self.met.clear();
            (self.looks, self.waited) = (0, 0);
            return false;
        }
        // A copy goes on to further files; what never stands still stays the same.
        let known = self.met.len();
        self.met.extend(self.pending.paths().map(Path::to_owned));
        self.looks = if self.met.len() == known { self.looks.saturating_add(1) } else { 1 };
        self.waited = self.waited.saturating_add(1);
        let is_enough = self.looks >= PATIENCE || self.waited >= MOST_PATIENCE;
        let settled = self.pending == before || is_enough && self.pending.share_any(&before);
        if !settled && self.waited == 2 * PATIENCE {
            let files: Vec<_> = self.pending.paths().map(|path| path.display().to_string()).collect();
            tracing::warn!(?files, "a change of the configuration waits: these files differ, and do not stand still");
        }
        settled
    }
}

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
        let read = from_last_good.as_ref().map_or(&compiled.material, Mistakes::material).clone();
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
        let seen = Mutex::new(Seen::of(read));
        Self { path, doors, begun, seen, last: Mutex::new(last), turn: tokio::sync::Mutex::new(()) }
    }

    /// How the latest attempt went.
    #[must_use]
    pub fn last(&self) -> LastReload {
        self.last.lock().clone()
    }

    /// Whether files differ from those that were read last, and have stood still since the last look: all of them, or after
    /// [`PATIENCE`] or [`MOST_PATIENCE`] looks any.
    #[must_use]
    pub fn changed_and_settled(&self) -> bool {
        let read = self.seen.lock().read.clone();
        // Not under the lock: a disk may hang.
        let changed = read.changed(&self.path);
        self.seen.lock().look(changed)
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
            let (stamps, read) = reloader.read();
            (stamps, read.and_then(|(sources, compiled)| reloader.take(&owner, &sources, compiled)))
        });
        let (read, outcome) = match read.await {
            Ok(read) => read,
            Err(panicked) => {
                let read = self.seen.lock().read.clone();
                (read, Err(ReloadError::Panicked(panicked.to_string())))
            }
        };
        let at = SystemTime::now();
        let refused = outcome.as_ref().err().map(ToString::to_string);
        *self.seen.lock() = Seen::of(read);
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

    /// Reads and checks; with it, how what was read stood just before. What changes while it is read is found at the next look.
    fn read(&self) -> (Stamps, Result<(Sources, Compiled), ReloadError>) {
        let read = Sources::read(&self.path).and_then(|sources| {
            let compiled = configuration::load_sources(&sources, &load::options(SystemTime::now()))?;
            Ok((sources, compiled))
        });
        let stamps = match &read {
            Ok((_, compiled)) => compiled.material.clone(),
            Err(mistakes) => mistakes.material().clone(),
        };
        // Of two files one may have been read before and one after they were changed together, right or wrong.
        let torn = stamps.changed(&self.path).paths().next().map(|file| ReloadError::Torn(file.to_owned()));
        (stamps, torn.map_or_else(|| Ok(read?), Err))
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

#[cfg(test)]
mod tests {
    use super::super::doors;
    use super::*;

    const GOOD: &str = r#"
[listen]
address = "127.0.0.1:8443"

[state]
folder = "state"

[endpoint.gpu]
provider = "openai"
url = "http://127.0.0.1:8000/v1"
reach = { local = { within = ["127.0.0.1/32"] } }

[model.chat]
targets = ["gpu/llama"]

[app.claims]
team = "insurance"
keys = ["sha256:1111111111111111111111111111111111111111111111111111111111111111"]
models = ["chat"]

[data.claims]
labels = []
"#;

    fn load(path: &Path) -> Result<Compiled, Mistakes> {
        configuration::load(path, &load::options(SystemTime::now()))
    }

    /// Writes the document, which takes the endpoint's key from this file.
    fn name_a_key(path: &Path, file: &str) {
        let key = format!("provider = \"openai\"\nauth = {{ key = {{ file = \"{file}\" }} }}");
        std::fs::write(path, GOOD.replace("provider = \"openai\"", &key)).unwrap();
    }

    /// The document in a folder of its own, which runs.
    fn running() -> (tempfile::TempDir, PathBuf, Reloader) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, GOOD).unwrap();
        let compiled = load(&path).unwrap();
        let reloader = Reloader::new(path.clone(), doors(&compiled).unwrap(), &compiled, None);
        (folder, path, reloader)
    }

    /// Reads the document, which is refused.
    fn refuse(reloader: &Reloader) {
        let (stamps, read) = reloader.read();
        assert!(matches!(read, Err(ReloadError::Mistakes(_))));
        *reloader.seen.lock() = Seen::of(stamps);
    }

    /// What two looks say of whether to read again.
    fn twice(reloader: &Reloader) -> [bool; 2] {
        [reloader.changed_and_settled(), reloader.changed_and_settled()]
    }

    #[test]
    fn what_is_changed_or_mended_while_the_gateway_starts_is_found() {
        let (folder, path, _) = running();
        let compiled = load(&path).unwrap();
        let begun = |broken| Reloader::new(path.clone(), doors(&compiled).unwrap(), &compiled, broken);
        assert_eq!(twice(&begun(None)), [false, false]);
        name_a_key(&path, "key");
        let mistakes = load(&path).unwrap_err();
        assert_eq!(twice(&begun(Some(mistakes.clone()))), [false, false]);

        std::fs::write(folder.path().join("key"), "k-123").unwrap();

        assert_eq!(twice(&begun(None)), [false, true], "the document");
        assert_eq!(twice(&begun(Some(mistakes))), [false, true], "the file that it names");
    }

    #[test]
    fn what_only_an_earlier_refused_document_named_is_not_watched_any_more() {
        let (folder, path, reloader) = running();
        name_a_key(&path, "one");
        refuse(&reloader);
        name_a_key(&path, "other");
        refuse(&reloader);

        std::fs::write(folder.path().join("one"), "k-123").unwrap();
        assert_eq!(twice(&reloader), [false, false]);

        std::fs::write(folder.path().join("other"), "k-123").unwrap();
        assert_eq!(twice(&reloader), [false, true]);
    }

    #[test]
    fn a_file_that_never_stands_still_is_waited_for_for_thirty_looks_and_then_keeps_no_mend_out() {
        let (folder, path, reloader) = running();
        name_a_key(&path, "restless");
        refuse(&reloader);
        let mut written = String::new();
        let mut move_and_look = || {
            written.push('\n');
            std::fs::write(folder.path().join("restless"), &written).unwrap();
            reloader.changed_and_settled()
        };

        std::fs::write(&path, GOOD).unwrap();

        let looks: Vec<bool> = (0..30).map(|_| move_and_look()).collect();
        assert_eq!(looks.iter().position(|settled| *settled), Some(29));
        // Which is taken, since the document names it no more.
        let (stamps, read) = reloader.read();
        assert!(read.is_ok());
        *reloader.seen.lock() = Seen::of(stamps);
        assert!(!move_and_look() && !move_and_look());
    }

    /// A folder with the document, which runs.
    fn running_folder() -> (tempfile::TempDir, PathBuf, Reloader) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("gateway.toml"), GOOD).unwrap();
        let compiled = load(&path).unwrap();
        let reloader = Reloader::new(path.clone(), doors(&compiled).unwrap(), &compiled, None);
        (folder, path, reloader)
    }

    #[test]
    fn files_that_come_and_go_keep_no_mend_out_either() {
        let (_folder, path, reloader) = running_folder();
        std::fs::write(path.join("gateway.toml"), format!("{GOOD}\n")).unwrap();

        let looks = (0..PATIENCE + 2).map(|look| {
            let other = path.join("other.toml");
            if look % 2 == 0 { std::fs::write(other, "") } else { std::fs::remove_file(other) }.unwrap();
            reloader.changed_and_settled()
        });

        assert_eq!(looks.into_iter().position(|settled| settled), Some(PATIENCE as usize - 1));
    }

    #[test]
    fn files_that_are_ever_new_keep_a_mend_out_for_five_minutes_at_most() {
        let (_folder, path, reloader) = running_folder();

        let looks = (0..MOST_PATIENCE).map(|number| {
            std::fs::write(path.join(format!("{number}.toml")), "").unwrap();
            reloader.changed_and_settled()
        });

        assert_eq!(looks.into_iter().position(|settled| settled), Some(MOST_PATIENCE as usize - 1));
    }

    #[test]
    fn a_copy_that_goes_on_to_further_files_is_waited_for() {
        let (_folder, path, reloader) = running_folder();

        for copied in 0..100 {
            std::fs::write(path.join(format!("{copied}.toml")), "").unwrap();
            assert!(!reloader.changed_and_settled(), "file {copied}");
        }

        assert!(reloader.changed_and_settled(), "now nothing more comes");
    }

    #[test]
    fn a_file_that_never_stands_still_is_alone_no_reason_to_read_again() {
        let (folder, path, reloader) = running();
        name_a_key(&path, "restless");
        refuse(&reloader);

        for looks in 1..100 {
            std::fs::write(folder.path().join("restless"), "\n".repeat(looks)).unwrap();
            assert!(!reloader.changed_and_settled(), "look {looks}");
        }

        assert!(reloader.changed_and_settled(), "now it stands still");
    }
}
