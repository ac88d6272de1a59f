//! What administrators hold back for now: keys and apps that are revoked, endpoints and models in quarantine, and
//! "local only". It is kept in the state folder, so that a restart does not undo what somebody did at three in the morning.
//!
//! **Promises.** A restriction only takes away: every look at it ends in less being permitted than the configuration and its
//! policies permit. A restriction is written before it is in force, so that what was refused once is refused after a kill as
//! well; a disk that refuses delays none, and one that hangs at most for [`PATIENCE`]. What is not written stays in force
//! whatever the file says until it is. Lifting one is written before it is in force as well. A file that is damaged or of a
//! newer version refuses the start: what it held back is not known. One that vanishes while the process runs lifts nothing:
//! it is written again.
//! At most [`MOST_RESTRICTIONS`] stand at once.
//!
//! **Does not do.** It knows no role and writes no record: `admin` does both, and a drift of a place writes its own. It cuts no stream that runs.

pub(crate) mod fleet;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use policy::{Candidate, TargetId};
use serde::{Deserialize, Serialize};

use crate::kept::{Home, KeptError};
use crate::snapshot::{App, KeyFacts, Target};

/// Most restrictions at once. A leak of more keys than this is a case for a new configuration.
pub const MOST_RESTRICTIONS: usize = 4_096;

/// How long a disk may take to keep a restriction before it comes into force without being kept.
const PATIENCE: Duration = Duration::from_secs(1);

/// One thing that can be held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restraint {
    /// A credential: a key by its digest, `sha256:` and 64 hex digits, or an app's tokens or certificate by their name.
    Key(String),
    /// Every credential of an app.
    App(String),
    /// Every target of an endpoint.
    Endpoint(String),
    /// A model by the name that callers ask for.
    Model(String),
    /// Every endpoint that is not on a site of one's own and reached locally.
    LocalOnly,
}

impl std::fmt::Display for Restraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(name) => write!(f, "key `{name}`"),
            Self::App(name) => write!(f, "app `{name}`"),
            Self::Endpoint(name) => write!(f, "endpoint `{name}`"),
            Self::Model(name) => write!(f, "model `{name}`"),
            Self::LocalOnly => f.write_str("local only"),
        }
    }
}

/// Who held something back, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Seconds since 1970.
    pub at: u64,
    /// The administrator.
    pub by: String,
    /// The reason that was given.
    pub because: String,
    /// The name of the key in the configuration at that time, where a key is held back by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
}

/// Everything that is held back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restrictions {
    /// Revoked credentials.
    pub keys: BTreeMap<String, Held>,
    /// Revoked apps.
    pub apps: BTreeMap<String, Held>,
    /// Endpoints in quarantine.
    pub endpoints: BTreeMap<String, Held>,
    /// Models in quarantine.
    pub models: BTreeMap<String, Held>,
    /// Whether only one's own sites are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_only: Option<Held>,
}

impl Restrictions {
    /// Whether nothing is held back, as nearly always.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many things are held back.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
            + self.apps.len()
            + self.endpoints.len()
            + self.models.len()
            + usize::from(self.local_only.is_some())
    }

    /// Who holds this back, if anybody does.
    #[must_use]
    pub fn held(&self, what: &Restraint) -> Option<&Held> {
        match what {
            Restraint::Key(name) => self.keys.get(name),
            Restraint::App(name) => self.apps.get(name),
            Restraint::Endpoint(name) => self.endpoints.get(name),
            Restraint::Model(name) => self.models.get(name),
            Restraint::LocalOnly => self.local_only.as_ref(),
        }
    }

    /// Whether this caller's app or credential is revoked.
    pub(crate) fn revoke(&self, app: &App, key: &KeyFacts) -> bool {
        !self.is_empty() && (self.apps.contains_key(&*app.name) || self.keys.contains_key(&*key.id))
    }

    /// The candidates that are held back for a request for `model`, each with what holds it back.
    pub(crate) fn withheld(&self, model: &str, candidates: &[Candidate]) -> Vec<(TargetId, Arc<str>)> {
        if self.endpoints.is_empty() && self.models.is_empty() && self.local_only.is_none() {
            return Vec::new();
        }
        let what = |candidate: &Candidate| self.holds_back(model, candidate.endpoint(), candidate.own_site);
        candidates.iter().filter_map(|candidate| what(candidate).map(|what| (candidate.target, what))).collect()
    }

    /// What holds a target back by now, for a request for `model` that was permitted it before.
    pub(crate) fn withhold(&self, model: &str, target: &Target) -> Option<Arc<str>> {
        if self.is_empty() {
            return None;
        }
        self.holds_back(model, &target.endpoint, target.own_site)
    }

    /// What holds a model back, wherever it is served.
    pub(crate) fn model(&self, model: &str) -> Option<Arc<str>> {
        self.models.contains_key(model).then(|| format!("model `{model}` is in quarantine").into())
    }

    fn holds_back(&self, model: &str, endpoint: &str, own_site: bool) -> Option<Arc<str>> {
        if let Some(what) = self.model(model) {
            return Some(what);
        }
        if self.endpoints.contains_key(endpoint) {
            return Some(format!("endpoint `{endpoint}` is in quarantine").into());
        }
        let away = self.local_only.is_some() && !own_site;
        away.then(|| format!("only own sites are used for now, and endpoint `{endpoint}` is on none").into())
    }

    fn add(&mut self, what: Restraint, held: Held) {
        match what {
            Restraint::Key(name) => drop(self.keys.insert(name, held)),
            Restraint::App(name) => drop(self.apps.insert(name, held)),
            Restraint::Endpoint(name) => drop(self.endpoints.insert(name, held)),
            Restraint::Model(name) => drop(self.models.insert(name, held)),
            Restraint::LocalOnly => self.local_only = Some(held),
        }
    }

    /// What stands here already keeps its reason.
    fn take_over(&mut self, others: &Self) {
        for (what, held) in others.clone().into_restraints() {
            if self.held(&what).is_none() {
                self.add(what, held);
            }
        }
    }

    fn remove(&mut self, what: &Restraint) -> bool {
        match what {
            Restraint::Key(name) => self.keys.remove(name).is_some(),
            Restraint::App(name) => self.apps.remove(name).is_some(),
            Restraint::Endpoint(name) => self.endpoints.remove(name).is_some(),
            Restraint::Model(name) => self.models.remove(name).is_some(),
            Restraint::LocalOnly => self.local_only.take().is_some(),
        }
    }
}

/// Why something cannot be held back or let go, or what is held back is not known.
#[derive(Debug, thiserror::Error)]
pub enum RestrictionsError {
    /// The file.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// There are as many as there may be.
    #[error("{MOST_RESTRICTIONS} restrictions stand already; lift some, or change the configuration")]
    TooMany,
}

/// What is in force, and where it is kept.
#[derive(Debug, Default)]
pub struct Holding {
    /// Changed only by who holds `unwritten`.
    current: ArcSwap<Restrictions>,
    /// What is in force and not in the file yet. Held for moments only, never while a disk is asked.
    unwritten: Mutex<Restrictions>,
    /// Taken by whoever changes something; none until [`Holding::open`].
    home: Mutex<Option<Home<Restrictions>>>,
    /// When a fleet let something go last, as far as this gateway heard; what is held back from then on is said later.
    let_go: AtomicU64,
}

/// What a change led to.
#[derive(Debug)]
pub enum Changed {
    /// It is in force and kept.
    Kept,
    /// Nothing had to be done: it was so already.
    Already,
    /// It is in force until this process ends, because it cannot be written.
    NotKept(KeptError),
    /// It is in force until this process ends, because the disk does not answer; kept if it does.
    NotYetKept,
}

impl Holding {
    /// Takes over what is kept in `state_folder`, and keeps what comes there.
    ///
    /// # Errors
    ///
    /// When the file is damaged, of a newer version or cannot be read: the gateway must not serve then.
    pub fn open(&self, state_folder: &Path) -> Result<(), RestrictionsError> {
        let mut home = Home::at(state_folder, "restrictions");
        let kept = home.read()?;
        self.put(kept, &self.unwritten.lock());
        *self.home.lock() = Some(home);
        Ok(())
    }

    /// The fleet let something go at this second.
    pub(crate) fn latest_let_go(&self, at: u64) {
        self.let_go.fetch_max(at, Ordering::Relaxed);
    }

    /// The second at which something is held back that is said at `now`: after everything that was let go.
    pub(crate) fn said_at(&self, now: u64) -> u64 {
        now.max(self.let_go.load(Ordering::Relaxed).saturating_add(1))
    }

    /// What is held back now.
    #[must_use]
    pub fn current(&self) -> Arc<Restrictions> {
        self.current.load_full()
    }

    /// Holds something back: kept where the disk takes it, then in force, which it is in any case when this returns. What
    /// stands already is kept with its first reason, and written now where it could not be before. It waits for the disk;
    /// whoever must not wait for long goes by way of [`Holding::in_time`].
    ///
    /// # Errors
    ///
    /// [`RestrictionsError::TooMany`]; nothing is changed then.
    pub fn tighten(&self, what: &Restraint, held: &Held) -> Result<Changed, RestrictionsError> {
        self.tighten_all(&[(what.clone(), held.clone())])
    }

    /// The same of several things, which are written together: what each costs on a disk, all of them cost once.
    ///
    /// # Errors
    ///
    /// [`RestrictionsError::TooMany`] where some have no room; the others are held back all the same.
    pub(crate) fn tighten_all(&self, news: &[(Restraint, Held)]) -> Result<Changed, RestrictionsError> {
        if news.iter().all(|(what, _)| self.is_kept(what)) {
            return Ok(Changed::Already);
        }
        let home = self.home.lock();
        let fitting = self.fitting(news);
        if fitting.is_empty() {
            return Err(RestrictionsError::TooMany);
        }
        let failure = match home.as_ref() {
            // INVARIANT: kept before it is in force. Whoever saw it in force sees it after a kill as well, and so nothing
            // that other gateways were told, or do because they were, is let go by one that starts anew.
            Some(home) => self.write_out(home, &fitting).err(),
            None => None,
        };
        if home.is_none() || failure.is_some() {
            self.hold_all_at_once(&fitting);
        }
        if home.is_none() {
            let mut unwritten = self.unwritten.lock();
            for (what, _) in &fitting {
                unwritten.remove(what);
            }
        }
        let now = self.current();
        if news.iter().any(|(what, _)| now.held(what).is_none()) {
            return Err(RestrictionsError::TooMany);
        }
        Ok(failure.map_or(Changed::Kept, Changed::NotKept))
    }

    /// Those for which there is room, the first ones first; what stands already needs none.
    fn fitting(&self, news: &[(Restraint, Held)]) -> Vec<(Restraint, Held)> {
        let now = self.current();
        let mut room = MOST_RESTRICTIONS.saturating_sub(now.len());
        let mut fits = |(what, _): &&(Restraint, Held)| {
            let stands = now.held(what).is_some();
            let fits = stands || room > 0;
            room -= usize::from(fits && !stands);
            fits
        };
        news.iter().filter(|one| fits(one)).cloned().collect()
    }

    /// Waits for a change that holds `news` back on a thread of its own. `None` where the disk hangs: after [`PATIENCE`] all of
    /// them are in force for which there is room, and the change goes on; whoever polls it again hears of it.
    pub(crate) async fn in_time<T>(&self, news: &[(Restraint, Held)], change: impl Future<Output = T>) -> Option<T> {
        let done = tokio::time::timeout(PATIENCE, change).await.ok();
        if done.is_none() {
            self.hold_unkept(news);
        }
        done
    }

    /// Puts in force what a disk hangs at, and says so once.
    fn hold_unkept(&self, news: &[(Restraint, Held)]) {
        let held = self.hold_all_at_once(news);
        if let Some((what, _)) = held.first() {
            let more = held.len() - 1;
            tracing::error!(%what, more, "held back, but not kept yet: the disk of the state folder does not answer");
        }
    }

    /// Whether it is in force and in the file.
    fn is_kept(&self, what: &Restraint) -> bool {
        self.current.load().held(what).is_some() && self.unwritten.lock().held(what).is_none()
    }

    /// Holds something back without asking a disk: in force when this returns, and kept by the next [`Holding::tighten`] of
    /// the same, or by the next [`Holding::look`]. At the bound nothing is changed, and what did not stand is not held back.
    #[must_use = "at the bound it is not held back"]
    pub(crate) fn hold_at_once(&self, what: &Restraint, held: &Held) -> bool {
        self.hold_all_at_once(&[(what.clone(), held.clone())]);
        self.current.load().held(what).is_some()
    }

    /// The same of several things, the first ones first; gives those that came into force.
    fn hold_all_at_once<'a>(&self, news: &'a [(Restraint, Held)]) -> Vec<&'a (Restraint, Held)> {
        let mut unwritten = self.unwritten.lock();
        let mut next = Restrictions::clone(&self.current.load());
        let mut came = Vec::new();
        for one @ (what, held) in news {
            if next.held(what).is_none() && next.len() < MOST_RESTRICTIONS {
                next.add(what.clone(), held.clone());
                unwritten.add(what.clone(), held.clone());
                came.push(one);
            }
        }
        if !came.is_empty() {
            self.put(next, &unwritten);
        }
        came
    }

    /// Writes what is in force and not written yet to what the file holds, and `news`; that is in force then as well.
    fn write_out(&self, home: &Home<Restrictions>, news: &[(Restraint, Held)]) -> Result<(), KeptError> {
        let _alone = home.alone()?;
        let mut written = self.unwritten.lock().clone();
        for (what, held) in news {
            if written.held(what).is_none() {
                written.add(what.clone(), held.clone());
            }
        }
        let mut next = self.kept(home);
        next.take_over(&written);
        home.write(&next)?;
        let mut unwritten = self.unwritten.lock();
        for (what, _) in written.into_restraints() {
            unwritten.remove(&what);
        }
        self.put(next, &unwritten);
        Ok(())
    }

    /// What is kept comes into force, together with what is not written yet.
    fn put(&self, kept: Restrictions, unwritten: &Restrictions) {
        let mut next = kept;
        next.take_over(unwritten);
        self.current.store(Arc::new(next));
    }

    /// Lets something go again: kept first, then in force.
    ///
    /// # Errors
    ///
    /// When it cannot be written; it is then held back as before.
    pub fn lift(&self, what: &Restraint) -> Result<Changed, RestrictionsError> {
        let home = self.home.lock();
        let _alone = home.as_ref().map(Home::alone).transpose()?;
        let mut next = home.as_ref().map_or_else(|| Restrictions::clone(&self.current.load()), |home| self.kept(home));
        let was_kept = next.remove(what);
        if !was_kept && self.current.load().held(what).is_none() {
            return Ok(Changed::Already);
        }
        if let Some(home) = home.as_ref() {
            home.write(&next)?;
        }
        let mut unwritten = self.unwritten.lock();
        unwritten.remove(what);
        self.put(next, &unwritten);
        Ok(Changed::Kept)
    }

    /// Takes over what another process of the same state folder has changed, as during an upgrade, and writes what could not
    /// be written before, or what somebody removed. Cheap when there is neither.
    ///
    /// # Errors
    ///
    /// When the file cannot be understood any more, or cannot be written still; what is in force stays in force.
    pub fn look(&self) -> Result<bool, RestrictionsError> {
        let mut home = self.home.lock();
        let Some(home) = home.as_mut() else { return Ok(false) };
        if home.has_vanished() {
            self.write_out(home, &[])?;
            tracing::error!("the file of what is held back was gone; it is written again, and nothing was let go");
        } else if !self.unwritten.lock().is_empty() {
            self.write_out(home, &[])?;
        }
        if !home.has_changed() {
            return Ok(false);
        }
        // One that is gone by now is written again at the next look.
        let Some(kept) = home.read_found()? else { return Ok(false) };
        let before = self.current.load_full();
        self.put(kept, &self.unwritten.lock());
        Ok(*before != *self.current.load_full())
    }

    /// What the file holds, since another process may have written it; where it cannot be read or is gone, what is in force.
    fn kept(&self, home: &Home<Restrictions>) -> Restrictions {
        let in_force = || Restrictions::clone(&self.current.load());
        match home.found() {
            Ok(Some(kept)) => kept,
            // Nothing was ever written.
            Ok(None) if !home.has_vanished() => Restrictions::default(),
            Ok(None) | Err(_) => in_force(),
        }
    }
}

impl Restrictions {
    fn into_restraints(self) -> impl Iterator<Item = (Restraint, Held)> {
        let of = |map: BTreeMap<String, Held>, wrap: fn(String) -> Restraint| {
            map.into_iter().map(move |(name, held)| (wrap(name), held))
        };
        of(self.keys, Restraint::Key)
            .chain(of(self.apps, Restraint::App))
            .chain(of(self.endpoints, Restraint::Endpoint))
            .chain(of(self.models, Restraint::Model))
            .chain(self.local_only.map(|held| (Restraint::LocalOnly, held)))
    }
}
