//! Grants for an emergency: approved and signed beforehand, opened by two administrators, closing themselves.
//!
//! **Promises.** A grant permits its apps its endpoints for the operation they ask for, and nothing else: features still take
//! the endpoint's own grant, a policy that cannot be evaluated still denies, what is held back stays held back, and the private
//! path is verified as ever. Data of a label or class that `no_break_glass` names goes nowhere by a grant. Every request that a
//! grant lets through says so in its record. Opening is recorded and kept before it is in force; it ends after the hours that
//! the grant says, at most four, when the grant runs out, when its text changes, or when an administrator closes it.
//!
//! Two who show tokens are two people where their tokens name two, whatever sections and issuers they came in by.
//!
//! **Does not do.** It cannot tell people apart who show keys or certificates: those are two where the configuration has two names.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use policy::{Candidate, Data, TargetId};
use serde::{Deserialize, Serialize};

use crate::configuration::{BreakGlassConfig, Grant, Role};
use crate::kept::{Home, KeptError};
use crate::outlook;
use crate::snapshot::{Administrator, Subject, shown};

/// How long the first of two people waits for the second.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What stands before a grant's name where policies are named.
const PREFIX: &str = "break-glass:";

/// The name of the grant behind an id that a ruling gives.
pub(crate) fn grant_of(id: &str) -> Option<&str> {
    id.strip_prefix(PREFIX)
}

/// An administrator who asked for a grant to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Its name in the configuration.
    pub name: String,
    /// Who that was, where its token said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Whether its role was `security`.
    pub is_security: bool,
    /// Seconds since 1970.
    pub at: u64,
}

impl Person {
    /// Whether both may be one person. Of whoever shows no token nothing is known but the section, which many may use.
    ///
    /// The issuer tells nobody apart: one directory may sign as two, as Entra ID does with its versions 1 and 2 of tokens. That
    /// two namesakes of two directories are refused is the lesser harm, and so it is with large and small letters.
    fn may_be(&self, other: &Self) -> bool {
        match (&self.subject, &other.subject) {
            (Some(one), Some(other)) => one.user.eq_ignore_ascii_case(&other.user),
            _ => self.name == other.name,
        }
    }
}

/// How a grant stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The text that was opened.
    pub hash: String,
    /// Who asked first.
    pub first: Person,
    /// Who asked second; the grant is open since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Person>,
    /// When it closes, or when the first person's asking is forgotten; seconds since 1970.
    pub until: u64,
    /// The reason that the first person gave.
    pub because: String,
}

/// Grants that are open, or wait for a second person, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Standings(pub BTreeMap<String, Standing>);

/// What asking led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A second person has to ask as well, before this time.
    Waits {
        /// Seconds since 1970.
        until: u64,
    },
    /// It is open until then.
    Opens {
        /// Seconds since 1970.
        until: u64,
    },
}

/// Why a grant is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// It has run out.
    #[error("the grant has run out; it has to be approved again")]
    RanOut,
    /// It is open.
    #[error("the grant is open already")]
    AlreadyOpen,
    /// The same person asked twice.
    #[error("another person has to ask as well, and you asked before")]
    SamePerson,
    /// Nobody of security is among the two.
    #[error("one of the two has to have the role `security`")]
    NobodyOfSecurity,
}

impl Standings {
    /// What asking for `grant` leads to, and how all grants stand then.
    ///
    /// # Errors
    ///
    /// [`NotOpened`]; nothing changes.
    pub fn asked(&self, grant: &Grant, who: Person, because: &str) -> Result<(Step, Self), NotOpened> {
        let now = who.at;
        let runs_out = seconds(grant.until);
        if now >= runs_out {
            return Err(NotOpened::RanOut);
        }
        let mut next = self.clone();
        let before = self.0.get(&grant.name).filter(|standing| standing.hash == grant.hash && now < standing.until);
        let Some(before) = before else {
            let until = now.saturating_add(PATIENCE.as_secs()).min(runs_out);
            let (hash, because) = (grant.hash.clone(), because.to_owned());
            next.0.insert(grant.name.clone(), Standing { hash, first: who, second: None, until, because });
            return Ok((Step::Waits { until }, next));
        };
        if before.second.is_some() {
            return Err(NotOpened::AlreadyOpen);
        }
        if before.first.may_be(&who) {
            return Err(NotOpened::SamePerson);
        }
        if !before.first.is_security && !who.is_security {
            return Err(NotOpened::NobodyOfSecurity);
        }
        let until = now.saturating_add(grant.open_for.as_secs()).min(runs_out);
        let opened = Standing { second: Some(who), until, ..before.clone() };
        next.0.insert(grant.name.clone(), opened);
        Ok((Step::Opens { until }, next))
    }

    /// How they stand without this one.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut rest = self.clone();
        rest.0.remove(name);
        rest
    }

    /// How they stand without those whose first person is nobody any more, has lost the role that it asked with, or would be
    /// named otherwise now, so that it could come as the second.
    #[must_use]
    pub fn of_people(&self, still: impl Fn(&Person) -> bool) -> Self {
        let stands = |standing: &Standing| standing.second.is_some() || still(&standing.first);
        Self(
            self.0
                .iter()
                .filter(|(_, standing)| stands(standing))
                .map(|(name, one)| (name.clone(), one.clone()))
                .collect(),
        )
    }

    /// As an answer has them: who a token names stands there as in the records.
    #[must_use]
    pub(crate) fn shown(&self) -> Self {
        let mut all = self.clone();
        let people = all.0.values_mut().flat_map(|one| std::iter::once(&mut one.first).chain(one.second.as_mut()));
        for subject in people.filter_map(|person| person.subject.as_mut()) {
            subject.user = shown(&subject.user).into();
        }
        all
    }

    /// Whether a grant of this text is open.
    fn is_open(&self, name: &str, hash: Option<&str>, now: u64) -> bool {
        let standing = self.0.get(name);
        standing.is_some_and(|standing| {
            standing.second.is_some() && now < standing.until && hash.is_none_or(|hash| hash == standing.hash)
        })
    }

    /// The grants whose time is over or whose text is gone, and how the others stand.
    pub(crate) fn swept(&self, config: &BreakGlassConfig, now: SystemTime) -> (Vec<String>, Self) {
        let now = seconds(now);
        let lives = |name: &str, standing: &Standing| {
            let is_there = config.grants.iter().any(|grant| grant.name == *name && grant.hash == standing.hash);
            is_there && now < standing.until
        };
        let (kept, over): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.0.clone().into_iter().partition(|(name, standing)| lives(name, standing));
        let ended = over.into_iter().filter(|(_, standing)| standing.second.is_some()).map(|(name, _)| name);
        (ended.collect(), Self(kept))
    }
}

/// How grants stand, and where that is kept.
#[derive(Debug, Default)]
pub struct BreakGlass {
    current: ArcSwap<Standings>,
    home: Mutex<Option<Home<Standings>>>,
    /// Held by whoever changes something, from the look to the record to the change.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

impl BreakGlass {
    /// Takes over what is kept in `state_folder`, and keeps what comes there.
    ///
    /// # Errors
    ///
    /// When the file is damaged, of a newer version or cannot be read.
    pub fn open(&self, state_folder: &Path) -> Result<(), KeptError> {
        let mut home = Home::at(state_folder, "break-glass");
        self.current.store(Arc::new(home.read()?));
        *self.home.lock() = Some(home);
        Ok(())
    }

    /// How grants stand.
    #[must_use]
    pub fn current(&self) -> Arc<Standings> {
        self.current.load_full()
    }

    /// Keeps this, which was made from `before`, and puts it in force then.
    ///
    /// # Errors
    ///
    /// [`KeptError::Changed`] where another process has changed something since: what it has closed stays closed.
    pub(crate) fn change(&self, before: &Standings, next: Standings) -> Result<(), KeptError> {
        if let Some(home) = self.home.lock().as_ref() {
            let _alone = home.alone()?;
            home.write_over(before, &next)?;
        }
        self.current.store(Arc::new(next));
        Ok(())
    }

    /// Puts in force what `without` leaves, whether it can be kept or not, and keeps what it leaves of what another process has
    /// made of it meanwhile.
    pub(crate) fn close(&self, without: impl Fn(&Standings) -> Standings) -> Result<(), KeptError> {
        let close = |all: &Standings| self.current.store(Arc::new(without(all)));
        close(&self.current.load());
        let mut home = self.home.lock();
        // Once more: somebody may have looked, and read the old file, before the lock was to be had.
        close(&self.current.load());
        let Some(home) = home.as_mut() else { return Ok(()) };
        let _alone = home.alone()?;
        // What cannot be read must not keep a grant open.
        if home.has_changed()
            && let Ok(found) = home.read()
        {
            close(&found);
        }
        home.write(&self.current.load())
    }

    /// Takes over what another process of the same state folder has changed.
    pub(crate) fn look(&self) -> Result<(), KeptError> {
        let mut home = self.home.lock();
        if let Some(home) = home.as_mut().filter(|home| home.has_changed()) {
            self.current.store(Arc::new(home.read()?));
        }
        Ok(())
    }

    /// The grants that have ended; none where nothing has to be closed.
    pub(crate) fn ended(&self, config: &BreakGlassConfig, now: SystemTime) -> Option<Vec<String>> {
        let current = self.current.load_full();
        if current.0.is_empty() {
            return None;
        }
        let (ended, rest) = current.swept(config, now);
        (*current != rest).then_some(ended)
    }

    /// How many are open now.
    pub(crate) fn open_count(&self, now: SystemTime) -> i64 {
        let (current, now) = (self.current.load(), seconds(now));
        let open = current.0.keys().filter(|name| current.is_open(name, None, now)).count();
        i64::try_from(open).unwrap_or(i64::MAX)
    }

    /// Whether a request that this grant let through may still make an attempt.
    pub(crate) fn is_open(&self, name: &str, now: SystemTime) -> bool {
        self.current.load().is_open(name, None, seconds(now))
    }

    /// The candidates that open grants permit `app` for this data, each with the id that records show.
    pub(crate) fn lifted(
        &self,
        config: &BreakGlassConfig,
        (app, data): (&str, &Data<'_>),
        candidates: &[Candidate],
        now: SystemTime,
    ) -> Vec<(TargetId, Arc<str>)> {
        let current = self.current.load();
        if current.0.is_empty() || is_never(config, data) {
            return Vec::new();
        }
        let now = seconds(now);
        let mut lifted = Vec::new();
        for grant in &config.grants {
            let is_for = grant.apps.iter().any(|named| named == app);
            if !is_for || !current.is_open(&grant.name, Some(&grant.hash), now) {
                continue;
            }
            let id: Arc<str> = format!("{PREFIX}{}", grant.name).into();
            let named =
                candidates.iter().filter(|candidate| grant.endpoints.iter().any(|one| one == candidate.endpoint()));
            lifted.extend(named.map(|candidate| (candidate.target, Arc::clone(&id))));
        }
        lifted
    }
}

/// Whether no grant may send this data anywhere.
fn is_never(config: &BreakGlassConfig, data: &Data<'_>) -> bool {
    let by_class = config.never_from.is_some_and(|lowest| data.class >= outlook::class(lowest));
    by_class || data.labels.iter().any(|label| config.never_labels.iter().any(|never| **never == **label))
}

/// An administrator as the one who asks now.
pub(crate) fn person(who: &Administrator, now: SystemTime) -> Person {
    let (name, subject) = (who.name.to_string(), who.subject.clone());
    Person { name, subject, is_security: who.role >= Role::Security, at: seconds(now) }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
