//! The public keys of issuers that are fetched: kept fresh, kept when the issuer is down, and given up in the end.
//!
//! **Promises.** Keys are asked for when `refresh_s` is over, and when a token names a key that nobody knows, but then at most
//! once in [`UNKNOWN_EVERY`] for each issuer: whoever sends ever new tokens cannot make the gateway call. While no keys
//! are to be had the last good ones count, `keep_s` long and over a restart, with the alarm `issuer_keys` from half of that time
//! on; then no token of the issuer is accepted. A document that is too long, is not the issuer's or leads to another host than the
//! configuration names changes nothing.
//!
//! **Does not do.** It verifies no token (`ingress` does) and dials nothing (`egress` does).

mod fetch;
mod kept;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use egress::{ControlHost, Fleet};
use ingress::auth::{Issuer, KeySet};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::configuration::{Compiled, FetchedKeysConfig, IssuerConfig, IssuerKeysConfig, KeysPathConfig};
use crate::snapshot::SnapshotError;
use kept::Kept;

/// Shortest time between two fetches because of unknown keys.
const UNKNOWN_EVERY: Duration = Duration::from_secs(10);
/// Until a failure is looked at again; doubled each time.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Time for one fetch, of both documents.
const LIMIT: Duration = Duration::from_secs(20);

/// Keeps the keys of one issuer.
pub(crate) struct KeySource {
    issuer: Arc<Issuer>,
    config: FetchedKeysConfig,
    hosts: Hosts,
    folder: PathBuf,
    state: Arc<State>,
    started: AtomicBool,
}

/// Who is asked.
#[derive(Clone)]
struct Hosts {
    keys: ControlHost,
    /// Path of the keys, or host and path of the document that leads to them.
    path: Way,
}

#[derive(Clone)]
enum Way {
    Known(String),
    Discovered(ControlHost, String),
}

/// What outlives a reload.
#[derive(Default)]
struct State {
    known: Mutex<Known>,
    failures: AtomicU64,
}

#[derive(Default)]
struct Known {
    /// When the keys in force were fetched, by the calendar.
    fetched: Option<SystemTime>,
    /// Until when they count, and when to look again.
    expires: Option<Instant>,
    next: Option<Instant>,
    /// When a fetch because of an unknown key is allowed again.
    unknown_at: Option<Instant>,
    /// What was fetched, to see whether it changed.
    text: Vec<u8>,
    failed: Option<Failed>,
    /// The issuer as each configuration has it that is in force, or was until lately: keys that one of them fetches are those of
    /// all, also where a fetch began before a reload and ends behind it.
    holders: Vec<Weak<Issuer>>,
}

impl Known {
    /// These keys count from now on, for all that have the issuer.
    fn renew(&mut self, keys: KeySet) {
        let keys = Arc::new(keys);
        self.holders.retain(|holder| holder.upgrade().inspect(|issuer| issuer.adopt(Arc::clone(&keys))).is_some());
    }
}

struct Failed {
    why: String,
    times: u32,
    is_alarm: bool,
}

/// How the keys of an issuer stand.
#[derive(Clone, Debug)]
pub(crate) struct KeyStatus {
    pub(crate) issuer: Arc<str>,
    pub(crate) host: Arc<str>,
    pub(crate) keys: usize,
    pub(crate) fetched: Option<SystemTime>,
    pub(crate) failed: Option<String>,
    pub(crate) failures: u64,
}

/// The issuers of a configuration.
pub(crate) struct Issuers {
    /// All of them.
    pub(crate) all: Vec<Arc<Issuer>>,
    /// What keeps the keys of those that are fetched.
    pub(crate) sources: Vec<Arc<KeySource>>,
}

/// The issuers of a configuration. `before` gives what is known of fetched keys already.
pub(crate) fn build(compiled: &Compiled, fleet: &Fleet, before: &[Arc<KeySource>]) -> Result<Issuers, SnapshotError> {
    let (mut all, mut sources) = (Vec::new(), Vec::new());
    for config in &compiled.issuers {
        match &config.keys {
            IssuerKeysConfig::File(path) => all.push(Arc::new(in_file(config, path)?)),
            IssuerKeysConfig::Fetched(keys) => {
                let source = KeySource::build((config, keys), (compiled, fleet), before);
                all.push(Arc::clone(&source.issuer));
                sources.push(source);
            }
        }
    }
    Ok(Issuers { all, sources })
}

fn in_file(config: &IssuerConfig, path: &std::path::Path) -> Result<Issuer, SnapshotError> {
    let text = std::fs::read(path).map_err(|source| SnapshotError::File { path: path.to_owned(), source })?;
    let keys =
        KeySet::read(&text).map_err(|source| SnapshotError::IssuerKeys { issuer: config.name.clone(), source })?;
    Ok(issuer(config, keys))
}

fn issuer(config: &IssuerConfig, keys: KeySet) -> Issuer {
    let algorithms = config.algorithms.iter().copied().collect();
    let issuer = Issuer::new(config.name.as_str().into(), &config.issuer, algorithms, config.skew, keys);
    issuer.only_from(config.only_from.iter().cloned().collect())
}

impl Hosts {
    fn of(config: &FetchedKeysConfig, compiled: &Compiled, fleet: &Fleet) -> Self {
        let host = |index: usize| {
            let name = crate::snapshot::identity_name(&compiled.identities[index]);
            fleet.control(&name).expect("the fleet was built with every identity host of the same issuers").clone()
        };
        let path = match &config.path {
            KeysPathConfig::Known(path) => Way::Known(path.clone()),
            KeysPathConfig::Discovered { host: document, path } => Way::Discovered(host(*document), path.clone()),
        };
        Self { keys: host(config.host), path }
    }

    /// The same hosts with the same connections.
    fn are(&self, other: &Self) -> bool {
        let same = |one: &ControlHost, other: &ControlHost| one.is(other);
        same(&self.keys, &other.keys)
            && match (&self.path, &other.path) {
                (Way::Known(one), Way::Known(other)) => one == other,
                (Way::Discovered(host, path), Way::Discovered(other, other_path)) => {
                    same(host, other) && path == other_path
                }
                (Way::Known(_), Way::Discovered(..)) | (Way::Discovered(..), Way::Known(_)) => false,
            }
    }

    /// Where the keys come from, in words that do not change while it stays the same.
    fn source(&self) -> String {
        let place = |host: &ControlHost| format!("{}://{}", host.spec().scheme.as_str(), host.spec().authority);
        match &self.path {
            Way::Known(path) => format!("{}{path}", place(&self.keys)),
            Way::Discovered(host, path) => format!("{}{path} {}", place(host), place(&self.keys)),
        }
    }
}

impl KeySource {
    fn build(
        (config, keys): (&IssuerConfig, &FetchedKeysConfig),
        (compiled, fleet): (&Compiled, &Fleet),
        before: &[Arc<Self>],
    ) -> Arc<Self> {
        let hosts = Hosts::of(keys, compiled, fleet);
        let fresh = issuer(config, KeySet::empty());
        let same_place = |known: &&Arc<Self>| {
            known.issuer.name == fresh.name
                && known.issuer.issuer == fresh.issuer
                && known.hosts.source() == hosts.source()
        };
        let known = before.iter().find(same_place);
        let same = |known: &&Arc<Self>| {
            let rules = |issuer: &Issuer| (issuer.algorithms.clone(), issuer.skew, issuer.only_from.clone());
            rules(&known.issuer) == rules(&fresh) && known.config == *keys && known.hosts.are(&hosts)
        };
        if let Some(same) = known.filter(same) {
            return Arc::clone(same);
        }
        let source = Self {
            folder: compiled.state_folder.join("issuers"),
            state: known.map(|known| Arc::clone(&known.state)).unwrap_or_default(),
            issuer: Arc::new(fresh),
            config: keys.clone(),
            hosts,
            started: AtomicBool::new(false),
        };
        {
            // Under one lock, so that no keys come between what is taken over and what is told.
            let mut state = source.state.known.lock();
            if let Some(known) = known {
                source.issuer.adopt(known.issuer.keys());
            }
            state.holders.push(Arc::downgrade(&source.issuer));
        }
        if known.is_none() {
            source.recall(SystemTime::now(), Instant::now());
        }
        Arc::new(source)
    }

    /// Takes what an earlier process fetched, as long as it counts.
    fn recall(&self, now: SystemTime, steady: Instant) {
        let Some(kept) = Kept::read(&self.folder, &self.issuer.name) else { return };
        let Ok(age) = now.duration_since(kept.fetched) else { return };
        let is_ours = kept.issuer == *self.issuer.issuer && kept.source == self.hosts.source();
        if !is_ours || age >= self.config.keep {
            return;
        }
        let Ok(keys) = KeySet::read(kept.keys.as_bytes()) else { return };
        let mut known = self.state.known.lock();
        known.renew(keys);
        known.fetched = Some(kept.fetched);
        known.expires = Some(steady + (self.config.keep - age));
        known.text = kept.keys.into_bytes();
    }

    /// Begins to keep the keys fresh, once.
    pub(crate) fn start(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::AcqRel) {
            tokio::spawn(keep_fresh(Arc::downgrade(self)));
        }
    }

    pub(crate) fn status(&self) -> KeyStatus {
        let known = self.state.known.lock();
        KeyStatus {
            issuer: Arc::clone(&self.issuer.name),
            host: Arc::clone(self.hosts.keys.name()),
            keys: self.issuer.keys().len(),
            fetched: known.fetched,
            failed: known.failed.as_ref().map(|failed| failed.why.clone()),
            failures: self.state.failures.load(Ordering::Relaxed),
        }
    }

    /// Fetches, and keeps what comes of it.
    async fn fetch(&self) {
        let fetched = match timeout(LIMIT, fetch::fetch(&self.issuer.issuer, &self.hosts)).await {
            Ok(fetched) => fetched.map_err(|fault| fault.to_string()),
            Err(_) => Err(format!("there was no answer within {} s", LIMIT.as_secs())),
        };
        match fetched {
            Ok((keys, text)) => self.keep(keys, text).await,
            Err(why) => self.failed(why, Instant::now()),
        }
    }

    async fn keep(&self, keys: KeySet, text: Vec<u8>) {
        let (now, at) = (Instant::now(), SystemTime::now());
        let count = keys.len();
        let (changed, recovered) = {
            let mut known = self.state.known.lock();
            let changed = known.text != text || self.issuer.keys().is_empty();
            if changed {
                known.renew(keys);
                known.text.clone_from(&text);
            }
            known.fetched = Some(at);
            known.expires = Some(now + self.config.keep);
            known.next = Some(now + self.config.refresh);
            (changed, known.failed.take().is_some())
        };
        if recovered || changed {
            tracing::info!(issuer = %self.issuer.name, keys = count, "the issuer's keys are fetched");
        }
        let kept = Kept {
            issuer: self.issuer.issuer.to_string(),
            source: self.hosts.source(),
            fetched: at,
            keys: String::from_utf8_lossy(&text).into_owned(),
        };
        let (folder, name) = (self.folder.clone(), Arc::clone(&self.issuer.name));
        let written = tokio::task::spawn_blocking(move || kept.write(&folder, &name)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(issuer = %self.issuer.name, %error, "the issuer's keys are not kept for a restart");
        }
    }

    fn failed(&self, why: String, now: Instant) {
        self.state.failures.fetch_add(1, Ordering::Relaxed);
        let mut known = self.state.known.lock();
        let before = known.failed.take().unwrap_or(Failed { why: String::new(), times: 0, is_alarm: false });
        let wait = AGAIN.0.saturating_mul(1 << before.times.min(6)).min(AGAIN.1);
        let left = known.expires.map(|expires| expires.saturating_duration_since(now));
        known.next = Some(now + left.filter(|left| !left.is_zero()).map_or(wait, |left| left.min(wait)));
        let issuer = &self.issuer.name;
        if before.times == 0 {
            tracing::warn!(%issuer, %why, good_for_s = left.unwrap_or_default().as_secs(), "the issuer's keys cannot be fetched");
        }
        let is_gone = left.is_none_or(|left| left.is_zero());
        let is_alarm = is_gone || left.is_some_and(|left| left < self.config.keep / 2);
        if is_gone && !self.issuer.keys().is_empty() {
            known.renew(KeySet::empty());
            known.text.clear();
            tracing::error!(%issuer, %why, "ALARM issuer_keys: the issuer's keys are too old; none of its tokens is accepted");
        } else if is_alarm && !before.is_alarm {
            tracing::error!(%issuer, %why, "ALARM issuer_keys: the issuer's keys grow old and cannot be fetched");
        }
        known.failed = Some(Failed { why, times: before.times.saturating_add(1), is_alarm });
    }

    /// When somebody should look without being asked to.
    fn next(&self, now: Instant) -> Instant {
        self.state.known.lock().next.unwrap_or(now)
    }

    /// When a token with an unknown key may have the keys fetched, and that it does.
    fn take_turn(&self, now: Instant) -> Instant {
        let mut known = self.state.known.lock();
        let at = known.unknown_at.map_or(now, |at| at.max(now));
        known.unknown_at = Some(at + UNKNOWN_EVERY);
        at
    }
}

/// Keeps the keys fresh for as long as somebody holds the source.
async fn keep_fresh(source: Weak<KeySource>) {
    loop {
        let Some(held) = source.upgrade() else { return };
        let (next, issuer) = (held.next(Instant::now()), Arc::clone(&held.issuer));
        drop(held);
        tokio::select! {
            () = sleep_until(next) => {}
            () = issuer.key_was_unknown() => {
                let Some(at) = source.upgrade().map(|held| held.take_turn(Instant::now())) else { return };
                sleep_until(at.min(next)).await;
            }
        }
        let Some(held) = source.upgrade() else { return };
        held.fetch().await;
    }
}
