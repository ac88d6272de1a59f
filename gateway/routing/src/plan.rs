//! The plan: the permitted targets in the order in which they are tried.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::{Permit, TargetId, Warrant};

use crate::ask::Class;
use crate::choice::{Demand, Group, Judge, Rank, Why, batch_latest, write_price, write_time, write_tokens};
use crate::health::Standing;
use crate::outlook::{Left, Outlook};
use crate::signals::Paid;

/// Orders the targets that `permit` covers by their health alone, best first.
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
pub fn plan(permit: &Arc<Permit>, mut standing: impl FnMut(TargetId) -> Standing) -> Plan {
    arrange(permit, None, |target| Outlook::of(standing(target)))
}

/// Orders the targets that `permit` covers by what each is to this request, best first.
///
/// 1. The target whose share of the traffic this request falls into.
/// 2. Own servers whose first token comes in time, the soonest first; then provisioned throughput that is not used up.
/// 3. Targets that charge by the token, whose quota suffices and whose first token comes in time, the cheapest first.
///    With `prefer = "latency"` the first three are one group, the soonest first.
/// 4. What would be too slow, the least slow first; what would refuse; what is blocked; what is ejected, as in [`plan`].
///
/// Health and its bounds are those of [`plan`], and the declared order breaks ties. `outlook` is asked once for each
/// target. [`Plan::advice`] says whether the first is good enough, or whether it is better to wait.
///
/// ```
/// # use policy::{Candidate, Judge, Question, TargetId, decide};
/// # let candidates = [Candidate::new(TargetId(0), "gpu-01/llama"), Candidate::new(TargetId(1), "aoai-sweden/gpt-4o")];
/// # let permit = decide(&Judge::of_grants(&candidates), &Question::about("claims", "chat", &candidates))?;
/// use std::time::{Duration, Instant};
/// use routing::*;
///
/// let now = Instant::now();
/// let mut server = Signals::new(Terms::of(Tier::Sunk), now);
/// let cloud = Signals::new(Terms::of(Tier::PerToken(Prices::flat(2.75e-6, 11.0e-6))), now);
/// let expected = Habits::new().expect(4_000, Some(100), now);
/// let ask = Ask { expected, class: Class::Interactive, waited: Duration::ZERO, session: None, draw: 0 };
/// let knobs = Knobs { first_token: Some(Duration::from_millis(1_500)), ..Knobs::default() };
/// let demand = Demand { ask: &ask, knobs: &knobs, tightness: Tightness::NONE, now };
///
/// let mut sent = Vec::new();
/// for _ in 0..20 {
///     sent.push(server.on_send(&ask, TargetId(0), now));
/// }
/// let plan = route(&permit, &demand, |target| match target {
///     TargetId(0) => server.outlook(&ask, target, Standing::Healthy, now),
///     _ => cloud.outlook(&ask, target, Standing::Healthy, now),
/// });
///
/// assert_eq!(plan.explain()[0].target, TargetId(1));
/// assert_eq!(plan.reason().to_string(), "burst: own capacity takes 2.67 s, over 1.50 s; this costs $0.0039");
/// # Ok::<(), policy::Denial>(())
/// ```
pub fn route(permit: &Arc<Permit>, demand: &Demand<'_>, outlook: impl FnMut(TargetId) -> Outlook) -> Plan {
    arrange(permit, Some(demand), outlook)
}

fn arrange(permit: &Arc<Permit>, demand: Option<&Demand<'_>>, mut outlook: impl FnMut(TargetId) -> Outlook) -> Plan {
    let unjudged = |(index, target): (usize, TargetId)| {
        let outlook = outlook(target);
        Ranked { target, outlook, place: index + 1, why: Why::Declared, rank: Rank::last(index) }
    };
    // The one allocation of a decision: the list that the plan is.
    let mut ranked: Vec<Ranked> = permit.targets().iter().copied().enumerate().map(unjudged).collect();
    let has_own = ranked.iter().any(|entry| entry.outlook.paid.is_sunk());
    let spared = spared(&ranked);
    let mut judge = Judge::new(demand, has_own);
    for (index, entry) in ranked.iter_mut().enumerate() {
        (entry.why, entry.rank) = judge.rule(&entry.outlook, index, spared.contains(&index));
    }
    ranked.sort_unstable_by(|a, b| a.rank.order(&b.rank));
    number(&mut ranked);
    let advice = demand.map_or(Advice::Send, |demand| advise(demand, &ranked));
    Plan { permit: Arc::clone(permit), ranked, next: 0, repeated: Vec::new(), advice, behind: Vec::new() }
}

/// The indices of the ejected targets that exceed half of all, ejected longest ago. Allocates only when any is ejected.
fn spared(ranked: &[Ranked]) -> Vec<usize> {
    let mut out: Vec<(Instant, usize)> = Vec::new();
    for (index, entry) in ranked.iter().enumerate() {
        if let Standing::Ejected { since, .. } | Standing::Probing { since } = entry.outlook.standing {
            out.push((since, index));
        }
    }
    let at_most = ranked.len() / 2;
    if out.len() <= at_most {
        return Vec::new();
    }
    out.sort_by_key(|entry| Reverse(*entry));
    // INVARIANT: what stays ejected is the first `at_most` of this list; everything behind it is spared.
    out.into_iter().skip(at_most).map(|(_, index)| index).collect()
}

fn number(ranked: &mut [Ranked]) {
    for (index, entry) in ranked.iter_mut().enumerate() {
        entry.place = index + 1;
    }
}

/// What to do with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The first target will do: send.
    Send,
    /// Nothing will do now, and there is time: wait, and ask again when a request ends somewhere, at the latest after this
    /// time. Whoever cannot wait sends.
    Wait {
        /// The longest time until asking again.
        at_most: Duration,
    },
    /// Nothing will do, and waiting mends nothing: send to the first, which is the least bad.
    LeastBad,
    /// The permit's targets are all barred: nothing may be tried.
    Nothing,
}

/// The shortest wait that is worth it.
const SHORTEST: Duration = Duration::from_millis(1);

fn advise(demand: &Demand<'_>, ranked: &[Ranked]) -> Advice {
    let Some(first) = ranked.first() else { return Advice::Nothing };
    match first.rank.group {
        Group::Never => Advice::Nothing,
        Group::CanWait => match first.why {
            Why::CanWait { at_most } => Advice::Wait { at_most: at_most.max(SHORTEST) },
            _ => Advice::LeastBad,
        },
        group if group.would_do() => Advice::Send,
        group => {
            let soonest = ranked.iter().filter_map(|entry| worth_waiting(demand, entry)).min();
            let all_refuse = matches!(group, Group::WouldRefuse | Group::Blocked);
            let patience = all_refuse.then(|| patience(demand)).filter(|patience| !patience.is_zero());
            soonest.or(patience).map_or(Advice::LeastBad, |at_most| Advice::Wait { at_most: at_most.max(SHORTEST) })
        }
    }
}

/// After which time a target that would refuse now will do, if its first token still comes in time then.
///
/// Waiting here for an own server that is too slow mends nothing: its queue grows no shorter by that. Waiting for a quota
/// does.
fn worth_waiting(demand: &Demand<'_>, entry: &Ranked) -> Option<Duration> {
    let wait = match (entry.outlook.standing, entry.outlook.quota) {
        (Standing::Blocked { until }, _) if entry.why != Why::NoBurst => until.saturating_duration_since(demand.now),
        (Standing::Healthy, Left::Short { wait: Some(wait), .. }) if entry.why != Why::NoBurst => wait,
        _ => return None,
    };
    let done = demand.ask.waited + wait + entry.outlook.first_token.unwrap_or_default();
    demand.knobs.first_token.is_some_and(|target| done <= target).then_some(wait)
}

/// How long a request may go on waiting for a place where everything would refuse it.
fn patience(demand: &Demand<'_>) -> Duration {
    let knobs = demand.knobs;
    let most = match demand.ask.class {
        Class::Batch => batch_latest(knobs),
        Class::Interactive => knobs.deadline.or(knobs.first_token).unwrap_or_default(),
    };
    most.saturating_sub(demand.ask.waited)
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
    advice: Advice,
    /// What is tried when all of this is used up: other models, each under a permit of its own.
    behind: Vec<Plan>,
}

impl Plan {
    /// The same with another plan behind all that it has: the targets of a model that stands in, under the permit that was
    /// asked for it. How this plan is judged (its advice, its reason, whether it is a burst) does not change.
    pub fn followed_by(mut self, other: Self) -> Self {
        self.behind.push(other);
        self
    }

    /// This plan and those behind it, each with a permit of its own.
    pub fn parts(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.behind)
    }

    /// The warrant for the next target, where a half-open one is passed over unless `take_probe` takes its probe.
    ///
    /// Two plans made at the same moment both see a half-open target in first place; the one that takes the probe
    /// ([`TargetHealth::take_probe`](crate::TargetHealth::take_probe)) goes there, and for the other it moves to the end.
    pub fn next_probing(&mut self, mut take_probe: impl FnMut(TargetId) -> bool) -> Option<Warrant> {
        let own = self.next_of_its_own(&mut take_probe);
        own.or_else(|| self.behind.iter_mut().find_map(|plan| plan.next_of_its_own(&mut take_probe)))
    }

    fn next_of_its_own(&mut self, take_probe: &mut impl FnMut(TargetId) -> bool) -> Option<Warrant> {
        loop {
            let entry = self.ranked.get(self.next).filter(|entry| entry.is_tried())?;
            let probes = entry.outlook.standing == Standing::HalfOpen && entry.why != Why::ProbeTaken;
            if !probes || take_probe(entry.target) {
                break;
            }
            let mut entry = self.ranked.remove(self.next);
            entry.why = Why::ProbeTaken;
            // Behind everything that may be tried, before what may not.
            let end = self.ranked.iter().take_while(|entry| entry.is_tried()).count();
            self.ranked.insert(end, entry);
            number(&mut self.ranked);
        }
        let target = self.ranked.get(self.next)?.target;
        self.next += 1;
        self.permit.warrant(target)
    }

    /// A second warrant for a target that this plan has already given out, at most once for each.
    pub fn again(&mut self, target: TargetId) -> Option<Warrant> {
        let tried = self.ranked.iter().take(self.next).any(|entry| entry.target == target);
        if !tried {
            return self.behind.iter_mut().find_map(|plan| plan.again(target));
        }
        if self.repeated.contains(&target) {
            return None;
        }
        self.repeated.push(target);
        self.permit.warrant(target)
    }

    /// Whether to send to the first target, or what else to do.
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.advice
    }

    /// Whether this request goes elsewhere for want of own capacity: its first target charges by the token, and own
    /// capacity was permitted and did not do.
    #[must_use]
    pub fn is_burst(&self) -> bool {
        let paid =
            self.ranked.first().is_some_and(|first| !first.outlook.paid.is_sunk() && first.rank.group == Group::Paid);
        paid && self.ranked.iter().any(|entry| entry.outlook.paid.is_sunk())
    }

    /// When the first token of the soonest own server is expected, where own capacity is permitted.
    #[must_use]
    pub fn own_first_token(&self) -> Option<Duration> {
        let own = self.ranked.iter().filter(|entry| entry.outlook.paid == Paid::Sunk);
        own.filter_map(|entry| entry.outlook.first_token).min()
    }

    /// After which time the first of its own targets has room again, as far as is known: its quota suffices, it is not blocked
    /// any more, and otherwise its first token is predicted by then. Nothing where nobody can tell.
    #[must_use]
    pub fn free_in(&self, now: Instant) -> Option<Duration> {
        self.ranked.iter().filter(|entry| entry.is_tried()).filter_map(|entry| entry.outlook.free_in(now)).min()
    }

    /// The sentence why the first target is the first; [`fmt::Display`] says it to a person.
    #[must_use]
    pub fn reason(&self) -> Reason<'_> {
        Reason(self)
    }

    /// Every target of its own in the order of the plan, with what is known of it and the reason for its place.
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Which target.
    pub target: TargetId,
    /// What it was to the request when the plan was made.
    pub outlook: Outlook,
    /// Its place, counted from 1.
    pub place: usize,
    /// Why it has that place.
    pub why: Why,
    rank: Rank,
}

impl Ranked {
    /// Whether the plan gives out a warrant for it.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        self.rank.group != Group::Never
    }
}

/// Why the first target of a plan is the first.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a>(&'a Plan);

impl Reason<'_> {
    /// What the cheapest of the other targets that would do costs.
    fn next_price(&self) -> Option<f64> {
        let others = self.0.ranked.iter().skip(1).filter(|entry| entry.rank.group.would_do());
        others.filter_map(|entry| entry.outlook.price).reduce(f64::min)
    }

    /// How soon own capacity would have been, and what it was allowed.
    fn own(&self) -> Option<(Duration, Duration)> {
        let late = |entry: &Ranked| match entry.why {
            Why::TooSlow { first_token, within } if entry.outlook.paid == Paid::Sunk => Some((first_token, within)),
            _ => None,
        };
        self.0.ranked.iter().filter_map(late).min()
    }

    /// Writes it as a person reads it, into a string without the machinery of formats: every record has it.
    ///
    /// # Errors
    ///
    /// Those of `out`; a string has none.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let Some(first) = self.0.ranked.first() else { return out.write_str("no target") };
        match first.why {
            Why::InTime { .. } => {
                out.write_str("own capacity: ")?;
                first.why.write(out)?;
                self.next_price().map_or(Ok(()), |next| write_price(out, "; elsewhere it would cost ", next))
            }
            Why::Affordable { price, .. } => self.write_burst(out, price),
            Why::TooSlow { .. } | Why::SlowPace { .. } => {
                out.write_str("the least bad: ")?;
                first.why.write(out)
            }
            why => why.write(out),
        }
    }

    fn write_burst(&self, out: &mut impl fmt::Write, price: Option<f64>) -> fmt::Result {
        if self.0.is_burst() {
            match self.own() {
                Some((first, within)) => {
                    write_time(out, "burst: own capacity takes ", first)?;
                    write_time(out, ", over ", within)?;
                }
                None => out.write_str("burst: own capacity would not do")?,
            }
            out.write_str("; ")?;
        }
        match price {
            Some(price) => write_price(out, "this costs ", price)?,
            None => out.write_str("the price is unknown")?,
        }
        if let Some(next) = self.next_price() {
            write_price(out, ", the next ", next)?;
        }
        let Some(quota) = self.0.ranked.first().and_then(|first| first.outlook.quota.tokens()) else { return Ok(()) };
        write_tokens(out, "; quota ", quota)?;
        out.write_str(" tokens left")
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

#[cfg(test)]
mod tests;
