//! What would be different: two runs over the same trace, request by request.

use std::collections::BTreeMap;

use crate::outcome::{End, Run};
use crate::trace::Trace;

/// A first token is slower, or sooner, when it differs by more than this part and by more than [`NOTICED_S`].
const NOTICED: f32 = 0.1;

/// Seconds below which nobody notices.
const NOTICED_S: f32 = 0.05;

/// A price differs when it does by more than a millionth of a dollar.
const NOTICED_USD: f64 = 1e-6;

/// What would be different, in all or for one app.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Requests.
    pub requests: u64,
    /// Answered before, and denied by policy now.
    pub denied: u64,
    /// Denied before, and permitted now.
    pub permitted: u64,
    /// Answered by another target.
    pub moved: u64,
    /// The first token comes noticeably later.
    pub slower: u64,
    /// The first token comes noticeably sooner.
    pub sooner: u64,
    /// It costs more.
    pub dearer: u64,
    /// It costs less.
    pub cheaper: u64,
    /// Dollars in all, before and now.
    pub usd: [f64; 2],
}

/// Two runs beside one another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// In all.
    pub all: Difference,
    /// For each app, by name.
    pub by_app: BTreeMap<String, Difference>,
    /// Where requests went before and where they go now, with their number: the largest first. A denied or refused request
    /// went to no target.
    pub moves: Vec<(Option<u16>, Option<u16>, u64)>,
}

/// Compares two runs over the same trace. Targets are told apart by `names`, so that a fleet in another order is the same:
/// they give the name of a target of each run.
#[must_use]
pub fn compare<'a>(
    trace: &Trace,
    (before, before_name): (&Run, &dyn Fn(u16) -> &'a str),
    (now, now_name): (&Run, &dyn Fn(u16) -> &'a str),
) -> Comparison {
    let mut comparison = Comparison::default();
    let mut moves: BTreeMap<(Option<u16>, Option<u16>), u64> = BTreeMap::new();
    for ((row, one), other) in trace.rows.iter().zip(&before.outcomes).zip(&now.outcomes) {
        let app = trace.profiles.get(usize::from(row.profile)).map_or("", |profile| &*profile.app);
        let (from, to) = (one.end.target(), other.end.target());
        let moved = from.map(before_name) != to.map(now_name);
        if moved {
            *moves.entry((from, to)).or_default() += 1;
        }
        let both = from.is_some() && to.is_some();
        let gap = other.first - one.first;
        let noticed = both && gap.abs() > NOTICED_S && gap.abs() > NOTICED * one.first;
        let costs = other.usd - one.usd;
        let change = Difference {
            requests: 1,
            denied: u64::from(other.end == End::Denied && one.end != End::Denied),
            permitted: u64::from(other.end != End::Denied && one.end == End::Denied),
            moved: u64::from(both && moved),
            slower: u64::from(noticed && gap > 0.0),
            sooner: u64::from(noticed && gap < 0.0),
            dearer: u64::from(both && costs > NOTICED_USD),
            cheaper: u64::from(both && costs < -NOTICED_USD),
            usd: [one.usd, other.usd],
        };
        comparison.all.add(&change);
        match comparison.by_app.get_mut(app) {
            Some(known) => known.add(&change),
            None => {
                comparison.by_app.insert(app.to_owned(), change);
            }
        }
    }
    comparison.moves = moves.into_iter().map(|((from, to), count)| (from, to, count)).collect();
    comparison.moves.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
    comparison
}

impl Difference {
    fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.denied += more.denied;
        self.permitted += more.permitted;
        self.moved += more.moved;
        self.slower += more.slower;
        self.sooner += more.sooner;
        self.dearer += more.dearer;
        self.cheaper += more.cheaper;
        self.usd[0] += more.usd[0];
        self.usd[1] += more.usd[1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::trace::{Profile, Row};

    fn outcome(end: End, first: f32, usd: f64) -> Outcome {
        Outcome { at: 0.0, profile: 0, end, first, total: first, usd, batch: false, in_time: true, burst: false }
    }

    #[test]
    fn each_kind_of_difference_is_counted_and_a_target_is_the_same_by_its_name() {
        let row = Row { at: 0.0, prompt: 1, output: 1, profile: 0 };
        let trace = Trace { rows: vec![row; 4], profiles: vec![Profile::of_app("claims")], left_out: Vec::new() };
        let run = |outcomes: Vec<Outcome>| Run { outcomes, ..Run::default() };
        let before = run(vec![
            outcome(End::Answered(0), 0.5, 0.0),
            outcome(End::Answered(0), 0.5, 0.0),
            outcome(End::Denied, 0.0, 0.0),
            outcome(End::Answered(1), 0.9, 0.01),
        ]);
        let now = run(vec![
            outcome(End::Answered(1), 0.52, 0.0),
            outcome(End::Denied, 0.0, 0.0),
            outcome(End::Answered(0), 0.5, 0.02),
            outcome(End::Answered(1), 0.5, 0.0),
        ]);

        let comparison = compare(
            &trace,
            (&before, &|target| ["gpu", "cloud"][usize::from(target)]),
            (&now, &|target| ["cloud", "gpu"][usize::from(target)]),
        );

        let all = &comparison.all;
        assert_eq!((all.denied, all.permitted, all.moved, all.slower, all.sooner), (1, 1, 1, 0, 1));
        assert_eq!((all.dearer, all.cheaper, all.requests), (0, 1, 4));
        assert_eq!(comparison.by_app["claims"], *all);
        assert_eq!(comparison.moves.iter().map(|(.., count)| count).sum::<u64>(), 3);
    }
}
