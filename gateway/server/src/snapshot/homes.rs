//! Where the sessions of one model are kept: at the target that read their beginning last, or where the ring puts a new one.
//!
//! A home is a proposal. Routing weighs it by what the target's own answers report of their cache, and a target that is
//! clearly sooner is taken all the same.

use std::sync::Arc;
use std::time::Instant;

use accounting::Tokens;
use parking_lot::Mutex;
use policy::TargetId;
use routing::{Prefix, Ring, Sessions};

/// Sessions that a model remembers; another one in the same place of the table is forgotten. 48 bytes each.
const ROOM: usize = 4_096;

/// The homes of one model's sessions.
#[derive(Debug)]
pub(crate) struct Homes {
    /// Its own servers: clouds have no queue of their own that a ring could spread.
    ring: Ring,
    /// Kept over a reload while the model's targets stay what they are.
    seen: Arc<Mutex<Sessions>>,
    targets: Box<[(TargetId, Arc<str>)]>,
}

/// One request's session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    number: u64,
    /// Where it was served last.
    pub(crate) known: Option<TargetId>,
}

impl Homes {
    /// Those of a model with these targets, each with whether it is an own server.
    pub(super) fn new(targets: Vec<(TargetId, Arc<str>, bool)>, before: Option<&Self>) -> Self {
        let own = targets.iter().filter(|(_, _, is_own)| *is_own);
        let ring = Ring::new(own.map(|(id, name, _)| (*id, &**name)));
        let targets: Box<[_]> = targets.into_iter().map(|(id, name, _)| (id, name)).collect();
        let kept = before.filter(|before| before.targets == targets).map(|before| Arc::clone(&before.seen));
        Self { ring, seen: kept.unwrap_or_else(|| Arc::new(Mutex::new(Sessions::new(ROOM)))), targets }
    }

    /// Whether there is anything to choose between.
    pub(crate) fn matter(&self) -> bool {
        self.targets.len() > 1
    }

    /// The session of this number, and where its home is. `load` gives the requests in flight at a target, or nothing for
    /// one that the request may not go to.
    pub(crate) fn find(
        &self,
        number: u64,
        now: Instant,
        load: impl Fn(TargetId) -> Option<u32>,
    ) -> (Session, Option<Prefix>) {
        let seen = self.seen.lock().recall(number, now);
        let known = seen.filter(|prefix| load(prefix.target).is_some());
        let new = || Some(Prefix { target: self.ring.home(number, &load)?, tokens: Tokens::ZERO });
        (Session { number, known: seen.map(|prefix| prefix.target) }, known.or_else(new))
    }

    /// The target has read a prompt of so many tokens for the session. One that is not the model's own is not remembered.
    pub(crate) fn remember(&self, session: &Session, target: TargetId, read: Tokens, now: Instant) -> Option<Kept> {
        if !self.targets.iter().any(|(known, _)| *known == target) {
            return None;
        }
        self.seen.lock().remember(session.number, target, read, now);
        Some(match session.known {
            None => Kept::New,
            Some(known) if known == target => Kept::Home,
            Some(_) => Kept::Moved,
        })
    }
}

/// Where a session was served, as against the time before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is served for the first time.
    New,
    /// Where it was served before.
    Home,
    /// Elsewhere.
    Moved,
}

impl Kept {
    /// The label in the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Home => "home",
            Self::Moved => "moved",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(names: &[&str]) -> Vec<(TargetId, Arc<str>, bool)> {
        (0..).map(TargetId).zip(names).map(|(id, name)| (id, Arc::from(*name), !name.starts_with("cloud"))).collect()
    }

    #[test]
    fn a_session_goes_where_it_was_until_it_may_not_go_there_any_more() {
        let now = Instant::now();
        let homes = Homes::new(targets(&["gpu-1/m", "gpu-2/m", "cloud/m"]), None);
        let (session, new) = homes.find(7, now, |_| Some(0));

        assert_eq!(homes.remember(&session, TargetId(2), Tokens(900), now), Some(Kept::New));
        let (again, prefix) = homes.find(7, now, |_| Some(0));
        let (_, barred) = homes.find(7, now, |id| (id != TargetId(2)).then_some(0));

        assert!(new.is_some_and(|home| home.target != TargetId(2)), "a new session has its home at an own server");
        assert_eq!(prefix, Some(Prefix { target: TargetId(2), tokens: Tokens(900) }));
        assert_eq!(barred, new);
        assert_eq!(homes.remember(&again, TargetId(0), Tokens(900), now), Some(Kept::Moved));
        assert_eq!(homes.remember(&again, TargetId(9), Tokens(900), now), None, "no target of this model");
    }

    #[test]
    fn a_reload_keeps_the_sessions_of_a_model_whose_targets_stay() {
        let now = Instant::now();
        let before = Homes::new(targets(&["gpu-1/m", "gpu-2/m"]), None);
        let (session, _) = before.find(7, now, |_| Some(0));
        before.remember(&session, TargetId(1), Tokens(900), now);

        let same = Homes::new(targets(&["gpu-1/m", "gpu-2/m"]), Some(&before));
        let other = Homes::new(targets(&["gpu-1/m", "gpu-3/m"]), Some(&before));

        assert_eq!(same.find(7, now, |_| Some(0)).0.known, Some(TargetId(1)));
        assert_eq!(other.find(7, now, |_| Some(0)).0.known, None);
    }
}
