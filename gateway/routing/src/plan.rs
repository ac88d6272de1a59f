//! The plan: the permitted targets in the order in which they are tried.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use policy::{Permit, TargetId, Warrant};

use crate::health::Standing;

/// Orders the targets that `permit` covers, best first.
///
/// 1. In declared order: healthy targets, and half-open ones. A half-open target keeps its declared place, because a first
///    choice that came back is only found again by a request that tries it; [`Plan::next_probing`] lets one through.
/// 2. Blocked targets, the one that is free soonest first.
/// 3. Ejected targets, the one ejected longest ago first. They are kept, but last: a poor choice beats a refused request.
///
/// Ejection never takes more than half of the targets (rounded down), counted over those that this permit covers, since
/// the others cannot serve this request. Where more are ejected, those ejected longest ago count as healthy again.
///
/// `standing` is asked once for each target. A permit's targets are in declared order already.
///
/// ```
/// # use policy::*;
/// # let findings = Findings::none();
/// # let candidate = |id, name: &str| Candidate { target: TargetId(id), approved: true, grants: NO_GRANTS, name: name.into() };
/// # let candidates = [candidate(0, "gpu-01/llama"), candidate(1, "aoai-sweden/gpt-4o")];
/// # let permit = decide(&Question { app: "claims", model: "chat", findings: &findings, candidates: &candidates })?;
/// # let now = std::time::Instant::now();
/// use routing::{Standing, plan};
///
/// let mut plan = plan(&permit, |target| match target {
///     TargetId(0) => Standing::Blocked { until: now },
///     _ => Standing::Healthy,
/// });
///
/// let order: Vec<TargetId> = plan.map(|warrant| warrant.target()).collect();
/// assert_eq!(order, [TargetId(1), TargetId(0)]);
/// # Ok::<(), Denial>(())
/// ```
pub fn plan(permit: &Arc<Permit>, standing: impl FnMut(TargetId) -> Standing) -> Plan {
    let targets = permit.targets();
    let standings: Vec<Standing> = targets.iter().copied().map(standing).collect();
    let spared = spared(&standings);
    let mut entries: Vec<(Rank, Ranked)> = Vec::with_capacity(targets.len());
    for (index, (target, standing)) in targets.iter().copied().zip(standings).enumerate() {
        let why = if spared.contains(&index) { Why::Spared } else { Why::of(standing) };
        entries.push((rank(standing, why), Ranked { target, standing, place: 0, why }));
    }
    entries.sort_by_key(|(rank, _)| *rank); // Stable: the declared order decides between equals.
    let mut ranked: Vec<Ranked> = entries.into_iter().map(|(_, ranked)| ranked).collect();
    number(&mut ranked);
    Plan { permit: Arc::clone(permit), ranked, next: 0, repeated: Vec::new() }
}

/// The indices of the ejected targets that exceed half of all, ejected longest ago.
fn spared(standings: &[Standing]) -> Vec<usize> {
    let mut out: Vec<(Instant, usize)> = Vec::new();
    for (index, standing) in standings.iter().enumerate() {
        if let Standing::Ejected { since, .. } | Standing::Probing { since } = standing {
            out.push((*since, index));
        }
    }
    let at_most = standings.len() / 2;
    if out.len() <= at_most {
        return Vec::new();
    }
    out.sort_by_key(|entry| Reverse(*entry));
    // INVARIANT: what stays ejected is the first `at_most` of this list; everything behind it is spared.
    out.into_iter().skip(at_most).map(|(_, index)| index).collect()
}

/// Sorts first by group, then by time within the group where time matters.
type Rank = (u8, Option<Instant>);

fn rank(standing: Standing, why: Why) -> Rank {
    if why == Why::Spared {
        return (0, None);
    }
    match standing {
        Standing::Healthy | Standing::HalfOpen => (0, None),
        Standing::Blocked { until } => (1, Some(until)),
        Standing::Ejected { since, .. } | Standing::Probing { since } => (2, Some(since)),
    }
}

fn number(ranked: &mut [Ranked]) {
    for (index, entry) in ranked.iter_mut().enumerate() {
        entry.place = index + 1;
    }
}

/// The attempts of one request, in order. As an iterator it gives a warrant for each target once.
#[derive(Debug)]
#[must_use = "a plan does nothing until its warrants are taken"]
pub struct Plan {
    permit: Arc<Permit>,
    // INVARIANT: a permutation of the permit's targets; entries move, none comes or goes.
    ranked: Vec<Ranked>,
    /// Index of the entry that is handed out next.
    next: usize,
    /// Targets that were tried a second time.
    repeated: Vec<TargetId>,
}

impl Plan {
    /// The warrant for the next target, where a half-open one is passed over unless `take_probe` takes its probe.
    ///
    /// Two plans made at the same moment both see a half-open target in first place; the one that takes the probe
    /// ([`TargetHealth::take_probe`](crate::TargetHealth::take_probe)) goes there, and for the other it moves to the end.
    pub fn next_probing(&mut self, mut take_probe: impl FnMut(TargetId) -> bool) -> Option<Warrant> {
        loop {
            let entry = self.ranked.get(self.next)?;
            if entry.why != Why::Probe || take_probe(entry.target) {
                break;
            }
            let mut entry = self.ranked.remove(self.next);
            entry.why = Why::ProbeTaken;
            self.ranked.push(entry);
            number(&mut self.ranked);
        }
        let target = self.ranked.get(self.next)?.target;
        self.next += 1;
        self.permit.warrant(target)
    }

    /// A second warrant for a target that this plan has already given out, at most once for each.
    pub fn again(&mut self, target: TargetId) -> Option<Warrant> {
        let tried = self.ranked.iter().take(self.next).any(|entry| entry.target == target);
        if !tried || self.repeated.contains(&target) {
            return None;
        }
        self.repeated.push(target);
        self.permit.warrant(target)
    }

    /// Every target in the order of the plan, with its standing and the reason for its place.
    #[must_use]
    pub fn explain(&self) -> &[Ranked] {
        &self.ranked
    }

    /// The permit that this plan was made for; it clears the request for each attempt.
    #[must_use]
    pub fn permit(&self) -> &Arc<Permit> {
        &self.permit
    }
}

/// Gives the next warrant and asks nobody for the probe of a half-open target; see [`Plan::next_probing`].
impl Iterator for Plan {
    type Item = Warrant;

    fn next(&mut self) -> Option<Warrant> {
        self.next_probing(|_| true)
    }
}

/// One target in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// Which target.
    pub target: TargetId,
    /// How it stood when the plan was made.
    pub standing: Standing,
    /// Its place, counted from 1.
    pub place: usize,
    /// Why it has that place.
    pub why: Why,
}

/// The reason for a place in the plan; [`fmt::Display`] says it to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Healthy, at its declared place.
    Declared,
    /// Half-open, at its declared place: this request may be its probe.
    Probe,
    /// Ejected, but at its declared place: more than half of the targets are ejected, and this one for longest.
    Spared,
    /// Behind the healthy ones: it asked for time.
    Blocked,
    /// Last: it failed too often in a row.
    Ejected,
    /// Last: its probe was on its way when the plan was made.
    Probing,
    /// Last: its probe was taken by another request before this one came to it.
    ProbeTaken,
}

impl Why {
    fn of(standing: Standing) -> Self {
        match standing {
            Standing::Healthy => Self::Declared,
            Standing::HalfOpen => Self::Probe,
            Standing::Blocked { .. } => Self::Blocked,
            Standing::Ejected { .. } => Self::Ejected,
            Standing::Probing { .. } => Self::Probing,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declared => "healthy, in declared order",
            Self::Probe => "half-open, this request may be the probe",
            Self::Spared => "ejected, but more than half of the targets are",
            Self::Blocked => "blocked after a 429",
            Self::Ejected => "ejected after failures in a row",
            Self::Probing => "ejected, a probe is on its way",
            Self::ProbeTaken => "ejected, another request took the probe",
        })
    }
}

#[cfg(test)]
mod tests;
