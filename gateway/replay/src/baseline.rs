//! The routers that ours is held against: what gateways do today, and one that knows everything.

use std::collections::VecDeque;

use crate::random::Random;

/// Which router decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Router {
    /// The gateway's own.
    Causeway,
    /// Everything to clouds, the cheapest first, the next on a 429.
    AllCloud,
    /// Own servers in turn, clouds only on a 429: priority groups with spill-over. An own server never says 429.
    StaticPriority,
    /// The target whose last ten first tokens came soonest on the average; one that was never tried comes first.
    LowestLatency,
    /// The better of two drawn targets, by the peak-sensitive average of the first-token time and what is in flight.
    PeakEwma,
    /// The better of two drawn targets, by what is in flight.
    LeastRequest,
    /// The own server with the fewest requests while it has fewer than this, else the cheapest cloud.
    RequestCap(u32),
    /// Own servers while one of them, asked what it really has to do, would answer in time; else the cheapest cloud whose
    /// quota really suffices.
    Perfect,
}

impl Router {
    /// Ours first, then the others.
    pub const ALL: [Self; 8] = [
        Self::Causeway,
        Self::AllCloud,
        Self::StaticPriority,
        Self::LowestLatency,
        Self::PeakEwma,
        Self::LeastRequest,
        Self::RequestCap(12),
        Self::Perfect,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Causeway => "causeway".to_owned(),
            Self::AllCloud => "all-cloud".to_owned(),
            Self::StaticPriority => "static-priority".to_owned(),
            Self::LowestLatency => "lowest-latency".to_owned(),
            Self::PeakEwma => "peak-ewma".to_owned(),
            Self::LeastRequest => "least-request".to_owned(),
            Self::RequestCap(most) => format!("request-cap-{most}"),
            Self::Perfect => "perfect-information".to_owned(),
        }
    }

    /// The router of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Some(most) = name.strip_prefix("request-cap-") {
            return most.parse().ok().map(Self::RequestCap);
        }
        Self::ALL.into_iter().find(|router| router.name() == name)
    }
}

/// What a baseline sees of a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) own: bool,
    /// Permitted, not tried yet, and not blocked by a 429.
    pub(crate) open: bool,
    /// What the request would cost there.
    pub(crate) usd: f64,
    /// The target itself says when the first token would come, and whether its quota suffices.
    pub(crate) foreseen: f64,
    pub(crate) quota: bool,
}

/// What a baseline remembers of a target.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) in_flight: u32,
    pub(crate) blocked_until: f64,
    /// Prompt tokens whose first byte came: what gateways tell one another.
    pub(crate) read: u64,
    /// The last ten first-token times.
    last: VecDeque<f64>,
    ewma: Option<(f64, f64)>,
}

/// Seconds over which the peak-sensitive average fades.
const FADES: f64 = 10.0;

/// What an untried target is taken to need, as in linkerd.
const UNTRIED: f64 = 0.03;

impl Memory {
    pub(crate) fn on_first_token(&mut self, took: f64, now: f64) {
        if self.last.len() == 10 {
            self.last.pop_front();
        }
        self.last.push_back(took);
        self.ewma = Some(match self.ewma {
            // Peak-sensitive: a slower answer is believed at once.
            Some((mean, at)) if took < mean => (took + (mean - took) * (-(now - at) / FADES).exp(), now),
            _ => (took, now),
        });
    }

    fn mean_of_last(&self) -> f64 {
        if self.last.is_empty() { 0.0 } else { self.last.iter().sum::<f64>() / self.last.len() as f64 }
    }

    fn load(&self) -> f64 {
        self.ewma.map_or(UNTRIED, |(mean, _)| mean) * f64::from(self.in_flight + 1)
    }
}

/// Draws and turns that a baseline needs.
#[derive(Debug)]
pub(crate) struct Chance {
    pub(crate) random: Random,
    pub(crate) turn: usize,
}

/// The target that a baseline takes; none when everything was tried. `within` is the first-token target.
pub(crate) fn pick(router: Router, targets: &[(Seen, &Memory)], within: f64, chance: &mut Chance) -> Option<usize> {
    let open = |own: bool| move |(_, (seen, _)): &(usize, &(Seen, &Memory))| seen.open && seen.own == own;
    let cheapest = || {
        let clouds = targets.iter().enumerate().filter(open(false));
        clouds.min_by(|a, b| a.1.0.usd.total_cmp(&b.1.0.usd)).map(|(index, _)| index)
    };
    let idlest = || {
        let own = targets.iter().enumerate().filter(open(true));
        own.min_by_key(|(_, (_, memory))| memory.in_flight).map(|(index, _)| index)
    };
    match router {
        Router::AllCloud => cheapest().or_else(|| any_open(targets)),
        Router::StaticPriority => {
            let own: Vec<usize> = targets.iter().enumerate().filter(open(true)).map(|(index, _)| index).collect();
            chance.turn = chance.turn.wrapping_add(1);
            own.get(chance.turn % own.len().max(1)).copied().or_else(cheapest)
        }
        Router::LowestLatency => least(targets, |(_, memory)| memory.mean_of_last()),
        Router::PeakEwma => of_two(targets, chance, |(_, memory)| memory.load()),
        Router::LeastRequest => of_two(targets, chance, |(_, memory)| f64::from(memory.in_flight)),
        Router::RequestCap(most) => {
            let free = idlest().filter(|index| targets.get(*index).is_some_and(|(_, m)| m.in_flight < most));
            free.or_else(cheapest).or_else(idlest)
        }
        Router::Perfect | Router::Causeway => perfect(targets, within),
    }
}

fn perfect(targets: &[(Seen, &Memory)], within: f64) -> Option<usize> {
    let own = least_where(targets, |seen| seen.own, |(seen, _)| seen.foreseen);
    let in_time = own.filter(|index| targets.get(*index).is_some_and(|(seen, _)| seen.foreseen <= within));
    let cloud = || least_where(targets, |seen| !seen.own && seen.quota, |(seen, _)| seen.usd);
    in_time.or_else(cloud).or(own).or_else(|| any_open(targets))
}

fn any_open(targets: &[(Seen, &Memory)]) -> Option<usize> {
    targets.iter().position(|(seen, _)| seen.open)
}

fn least(targets: &[(Seen, &Memory)], number: impl Fn(&(Seen, &Memory)) -> f64) -> Option<usize> {
    least_where(targets, |_| true, number)
}

fn least_where(
    targets: &[(Seen, &Memory)],
    wanted: impl Fn(&Seen) -> bool,
    number: impl Fn(&(Seen, &Memory)) -> f64,
) -> Option<usize> {
    let open = targets.iter().enumerate().filter(|(_, (seen, _))| seen.open && wanted(seen));
    open.min_by(|a, b| number(a.1).total_cmp(&number(b.1))).map(|(index, _)| index)
}

/// The better of two different targets drawn evenly.
fn of_two(targets: &[(Seen, &Memory)], chance: &mut Chance, number: impl Fn(&(Seen, &Memory)) -> f64) -> Option<usize> {
    let open: Vec<usize> = (0..targets.len()).filter(|index| targets.get(*index).is_some_and(|t| t.0.open)).collect();
    let first = chance.random.below(open.len());
    let second = (first + 1 + chance.random.below(open.len().saturating_sub(1))) % open.len().max(1);
    let (first, second) = (*open.get(first)?, *open.get(second)?);
    let (one, other) = (targets.get(first)?, targets.get(second)?);
    Some(if number(other) < number(one) { second } else { first })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_router_is_found_by_its_name() {
        for router in Router::ALL {
            assert_eq!(Router::named(&router.name()), Some(router));
        }
        assert_eq!(Router::named("request-cap-30"), Some(Router::RequestCap(30)));
        assert_eq!(Router::named("fastest"), None);
    }

    #[test]
    fn a_peak_is_believed_at_once_and_forgotten_slowly() {
        let mut memory = Memory::default();
        memory.on_first_token(0.1, 0.0);
        memory.on_first_token(2.0, 1.0);
        memory.on_first_token(0.1, 2.0);

        assert!(memory.ewma.is_some_and(|(mean, _)| mean > 1.5));
    }
}
