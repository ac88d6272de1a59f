//! What a gateway allows by itself while the store is away, where it may: its share of each limit.

use std::time::{Duration, Instant};

use accounting::{Answer, Question};

/// The share of one account.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// What the store said last of a level.
    known: Option<Known>,
    /// What the store said last was left of a flow.
    left: Option<u64>,
    /// While the store is away: the most that a level may come to here.
    cap: Option<(Option<u32>, u64)>,
    /// Units of a flow that are used, and when that was.
    used: Option<(f64, Instant)>,
    /// What of a flow was taken from the store by this gateway and is not back yet, as a store that lost its memory must be
    /// told.
    taken: Option<Taken>,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    limit: u64,
    period: Duration,
    units: f64,
    at: Instant,
}

impl Taken {
    fn at(self, now: Instant) -> f64 {
        (self.units - back(self.limit, self.period, now.saturating_duration_since(self.at))).max(0.0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Known {
    month: Option<u32>,
    /// What this gateway might go up to.
    ceiling: u64,
    /// What the others might come to, and what of it was used up.
    others: u64,
    spent: u64,
}

impl Share {
    /// The store said something: the share is over. What was used of a flow meanwhile is owed to it.
    pub(super) fn learn(&mut self, question: &Question, answer: Answer, now: Instant) {
        match (question, answer) {
            (Question::Level { month, .. }, Answer::Level { ceiling, others, spent }) => {
                self.known = Some(Known { month: *month, ceiling, others, spent });
                self.cap = None;
            }
            (Question::Flow { limit, period, owed, .. }, Answer::Flow { granted, left, .. }) => {
                self.left = Some(left);
                let units = self.taken.map_or(0.0, |taken| taken.at(now)) + as_float(granted) + signed(*owed);
                self.taken = Some(Taken { limit: *limit, period: *period, units: units.max(0.0), at: now });
            }
            _ => {}
        }
    }

    /// What was used of a flow without the store, and is not back yet; it is forgotten here.
    pub(super) fn take_debt(&mut self, limit: u64, period: Duration, now: Instant) -> i64 {
        let Some((used, at)) = self.used.take() else { return 0 };
        whole(used - back(limit, period, now.saturating_duration_since(at))).cast_signed()
    }

    /// The question that tells a store without memory what was taken lately; it is asked once.
    pub(super) fn tell_again(&mut self, now: Instant) -> Option<Question> {
        let taken = self.taken.take()?;
        let owed = whole(taken.at(now).ceil()).cast_signed();
        let Taken { limit, period, .. } = taken;
        (owed > 0).then_some(Question::Flow { limit, period, owed, least: 0, most: 0 })
    }

    /// What this gateway may do as one of `of`.
    pub(super) fn answer(&mut self, question: &Question, of: u32, now: Instant) -> Answer {
        let part = |amount: u64| amount / u64::from(of.max(1));
        match *question {
            Question::Flow { limit, period, owed, least, most } => {
                let own = part(limit);
                let (used, at) = self.used.unwrap_or_else(|| {
                    // What the store had left is shared as well: the others take theirs of it.
                    let left = part(self.left.unwrap_or(limit).min(limit));
                    (as_float(own - left.min(own)), now)
                });
                let used = (used - back(own, period, now.saturating_duration_since(at))).max(0.0);
                let used = (used + signed(owed)).max(0.0);
                let free = whole(as_float(own) - used);
                let granted = if free >= least { most.min(free) } else { 0 };
                let used = used + as_float(granted);
                self.used = Some((used, now));
                let lacking = as_float(least) + used - as_float(own);
                let wait = if granted >= least { Duration::ZERO } else { in_time(lacking, own, period) };
                Answer::Flow { granted, left: whole(as_float(own) - used), wait }
            }
            Question::Level { month, limit, used, holds, need, want, .. } => {
                // Where nothing is known of the others what is used here stays, and the rest is shared.
                let nothing = Known { month, ceiling: used, others: 0, spent: 0 };
                let known = self.known.filter(|known| known.month == month).unwrap_or(nothing);
                let Known { ceiling, others, spent, .. } = known;
                let cap = match self.cap {
                    Some((capped, cap)) if capped == month => cap,
                    _ => ceiling + part(limit.saturating_sub(others).saturating_sub(ceiling)),
                };
                self.cap = Some((month, cap));
                let granted = if cap >= want { want } else { cap.min(need.max(holds)) };
                Answer::Level { ceiling: granted.max(used), others, spent }
            }
        }
    }
}

/// Units that come back in this time.
fn back(limit: u64, period: Duration, time: Duration) -> f64 {
    as_float(limit) * time.as_secs_f64() / period.as_secs_f64().max(1e-9)
}

fn in_time(units: f64, limit: u64, period: Duration) -> Duration {
    if limit == 0 {
        return period;
    }
    Duration::try_from_secs_f64((units.max(0.0) / as_float(limit)) * period.as_secs_f64()).unwrap_or(period)
}

#[expect(clippy::cast_precision_loss, reason = "limits lie far below 2^52")]
fn as_float(units: u64) -> f64 {
    units as f64
}

#[expect(clippy::cast_precision_loss, reason = "limits lie far below 2^52")]
fn signed(units: i64) -> f64 {
    units as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float stops at the ends")]
fn whole(units: f64) -> u64 {
    units.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn flow(least: u64) -> Question {
        Question::Flow { limit: 300, period: MINUTE, owed: 0, least, most: least }
    }

    fn level(used: u64, need: u64) -> Question {
        Question::Level {
            month: Some(7),
            limit: 900,
            used,
            kept: used,
            spent: used,
            holds: used,
            least: need,
            need,
            want: need,
        }
    }

    fn granted(share: &mut Share, question: &Question, now: Instant) -> u64 {
        match share.answer(question, 3, now) {
            Answer::Flow { granted, .. } => granted,
            Answer::Level { ceiling, .. } => ceiling,
        }
    }

    #[test]
    fn a_third_of_a_rate_is_used_by_one_of_three_and_comes_back_with_time() {
        let (mut share, now) = (Share::default(), Instant::now());

        let taken: u64 = (0..200).map(|_| granted(&mut share, &flow(1), now)).sum();

        assert_eq!(taken, 100);
        assert_eq!((0..200).map(|_| granted(&mut share, &flow(1), now + MINUTE / 2)).sum::<u64>(), 50);
        assert_eq!(share.take_debt(300, MINUTE, now + MINUTE / 2), 100);
    }

    #[test]
    fn only_a_third_of_what_the_store_had_left_is_used_at_once() {
        let (mut share, now) = (Share::default(), Instant::now());
        share.learn(&flow(1), Answer::Flow { granted: 1, left: 30, wait: Duration::ZERO }, now);

        assert_eq!((0..200).map(|_| granted(&mut share, &flow(1), now)).sum::<u64>(), 10);
    }

    #[test]
    fn a_store_without_memory_is_told_what_was_taken_and_is_not_back_yet() {
        let (mut share, now) = (Share::default(), Instant::now());
        share.learn(&flow(40), Answer::Flow { granted: 40, left: 260, wait: Duration::ZERO }, now);

        let told = share.tell_again(now + Duration::from_secs(4));

        assert_eq!(told, Some(Question::Flow { limit: 300, period: MINUTE, owed: 20, least: 0, most: 0 }));
        assert_eq!(share.tell_again(now), None);
    }

    #[test]
    fn a_level_rises_by_a_third_of_what_was_free_when_the_store_went_away() {
        let (mut share, now) = (Share::default(), Instant::now());
        share.learn(&level(100, 150), Answer::Level { ceiling: 150, others: 450, spent: 400 }, now);

        assert_eq!(granted(&mut share, &level(150, 200), now), 200);
        assert_eq!(granted(&mut share, &level(200, 900), now), 250);
        assert_eq!(granted(&mut share, &level(250, 251), now), 250);
    }

    #[test]
    fn a_gateway_that_never_met_the_store_adds_a_third_of_the_rest_to_its_own() {
        let (mut share, now) = (Share::default(), Instant::now());

        assert_eq!(granted(&mut share, &level(300, 900), now), 500);
    }
}
