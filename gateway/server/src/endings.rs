//! What runs out by itself: facts of the data pack, exceptions among the policies, and suppressions of findings.
//!
//! When one ends, less is permitted and nothing is widened, so a request that went yesterday is refused today. That is why
//! each is announced 30, 14 and 3 days ahead, and shown as a figure for those who watch figures.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::configuration::{Compiled, asked_about};

/// One thing that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) what: What,
    /// A row or a group of the data pack, the id of a policy, or app and kind of finding.
    pub(crate) name: Arc<str>,
    pub(crate) end: SystemTime,
}

/// What it is that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    /// A row of the data pack that a target rests on.
    Fact,
    /// A group of countries of the data pack that policies ask about.
    Group,
    /// A permit with an end.
    Exception,
    /// A kind of finding that policies do not see for a while.
    Suppression,
}

impl What {
    /// Its name in the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::Group => "group",
            Self::Exception => "exception",
            Self::Suppression => "suppression",
        }
    }
}

/// How near an end is, as far as somebody has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearness {
    Far,
    /// At most 30 days.
    Announced,
    /// At most 14 days.
    Soon,
    /// At most 3 days.
    VerySoon,
    /// It is over.
    Over,
}

impl Nearness {
    pub(crate) const fn of(days: i64) -> Self {
        match days {
            ..=0 => Self::Over,
            1..=3 => Self::VerySoon,
            4..=14 => Self::Soon,
            15..=30 => Self::Announced,
            31.. => Self::Far,
        }
    }
}

impl Ending {
    /// Whole days that are left, rounded up; 0 and less from the instant of its end on.
    pub(crate) fn days_left(&self, now: SystemTime) -> i64 {
        const DAY: u128 = 86_400_000;
        let days = |days: u128| i64::try_from(days).unwrap_or(i64::MAX);
        match self.end.duration_since(now) {
            Ok(left) => days(left.as_millis().div_ceil(DAY)),
            Err(past) => -days(past.duration().as_millis() / DAY),
        }
    }
}

/// What the announcement says.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Fact => write!(f, "row `{}` of the data pack", self.name),
            What::Group => write!(f, "group `{}` of the data pack", self.name),
            What::Exception => write!(f, "exception `{}`", self.name),
            What::Suppression => write!(f, "suppression `{}`", self.name),
        }
    }
}

/// Everything in `compiled` that ends, the soonest first.
pub(crate) fn endings(compiled: &Compiled) -> Box<[Ending]> {
    let mut soonest: BTreeMap<(What, Arc<str>), SystemTime> = BTreeMap::new();
    let mut note = |what: What, name: &str, end: SystemTime| {
        let known = soonest.entry((what, name.into())).or_insert(end);
        *known = end.min(*known);
    };
    for target in &compiled.targets {
        let provenance = &target.facts.provenance;
        if let Some(end) = provenance.valid_until {
            provenance.rows.iter().for_each(|row| note(What::Fact, row, end));
        }
    }
    for (group, end) in asked_about(&compiled.policy.rules, &compiled.policy.zones) {
        note(What::Group, group, end);
    }
    for about in compiled.policy.rules.policies() {
        if let Some(end) = about.expires {
            note(What::Exception, &about.id, end);
        }
    }
    for app in &compiled.apps {
        for one in &app.data.suppressed {
            note(What::Suppression, &format!("{}.{}", app.name, one.kind), one.until);
        }
    }
    let mut all: Vec<Ending> = soonest.into_iter().map(|((what, name), end)| Ending { what, name, end }).collect();
    all.sort_by_key(|ending| ending.end);
    all.into()
}

/// What was announced already; it is forgotten with the ending, so that one that is put off is announced anew.
#[derive(Debug, Default)]
pub(crate) struct Announced(HashMap<(What, Arc<str>), (SystemTime, Nearness)>);

impl Announced {
    /// The endings that have come nearer than was said of them before.
    pub(crate) fn news<'a>(&mut self, endings: &'a [Ending], now: SystemTime) -> Vec<(&'a Ending, Nearness)> {
        let before = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        for ending in endings {
            let key = (ending.what, Arc::clone(&ending.name));
            let near = Nearness::of(ending.days_left(now));
            let said = before.get(&key).filter(|(end, _)| *end == ending.end).map_or(Nearness::Far, |(_, said)| *said);
            if near > said {
                news.push((ending, near));
            }
            self.0.insert(key, (ending.end, near.max(said)));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn day(text: &str) -> SystemTime {
        policy::day_of(text).unwrap()
    }

    fn ending(end: &str) -> Ending {
        Ending { what: What::Fact, name: "azure-standard".into(), end: day(end) }
    }

    #[test]
    fn a_day_that_has_begun_counts_whole_and_the_end_is_its_first_instant() {
        let end = day("2027-05-08");
        let left = |now: SystemTime| ending("2027-05-08").days_left(now);

        assert_eq!(left(end - DAY * 30), 30);
        assert_eq!(left(end - DAY * 30 + Duration::from_secs(1)), 30);
        assert_eq!(left(end - DAY * 30 - Duration::from_secs(1)), 31);
        assert_eq!(left(end - Duration::from_millis(1)), 1);
        assert_eq!(left(end), 0);
        assert_eq!(left(end + DAY / 2), 0);
        assert_eq!(left(end + DAY * 2), -2);
    }

    #[test]
    fn an_ending_is_announced_at_30_14_and_3_days_and_when_it_has_come_and_once_each() {
        let endings = [ending("2027-05-08")];
        let mut announced = Announced::default();

        let mut said = Vec::new();
        for days in (-2_i32..=40).rev() {
            let apart = DAY * days.unsigned_abs();
            let now = if days < 0 { endings[0].end + apart } else { endings[0].end - apart };
            said.extend(announced.news(&endings, now).into_iter().map(|(_, near)| (days, near)));
        }

        assert_eq!(
            said,
            [(30, Nearness::Announced), (14, Nearness::Soon), (3, Nearness::VerySoon), (0, Nearness::Over)]
        );
    }

    #[test]
    fn what_is_near_at_the_start_is_announced_at_once_and_what_was_put_off_anew() {
        let mut announced = Announced::default();
        let now = day("2027-05-06");

        assert_eq!(announced.news(&[ending("2027-05-08")], now), [(&ending("2027-05-08"), Nearness::VerySoon)]);
        assert_eq!(announced.news(&[ending("2027-12-31")], now), []);
        assert_eq!(announced.news(&[ending("2027-12-31")], day("2027-12-30")).len(), 1);
    }
}
