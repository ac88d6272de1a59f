use proptest::prelude::*;

use super::*;
use crate::purse::{BudgetStanding, Purse};

fn rate(per_minute: u64) -> (Bucket, Instant) {
    let origin = Instant::now();
    let rate = Bucket::new(origin);
    rate.set(Some(per_minute), seconds(60));
    (rate, origin)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn wait(denied: Result<Taken, Duration>) -> Duration {
    denied.expect_err("it was let in")
}

#[test]
fn a_minutes_tokens_go_through_at_once_and_come_back_evenly() {
    let (rate, start) = rate(600);

    assert!(rate.take(600, start).is_ok());
    assert_eq!(wait(rate.take(10, start)), seconds(1));
    assert!(rate.take(10, start + seconds(1)).is_ok());
    assert_eq!(wait(rate.take(1, start + seconds(1))), Duration::from_millis(100));
}

#[test]
fn after_the_time_that_was_named_the_same_request_is_let_in() {
    let (rate, start) = rate(777);
    rate.take(700, start).expect("it is the first");

    let after = wait(rate.take(300, start));

    assert!(rate.take(300, start + after - Duration::from_nanos(2)).is_err());
    assert!(rate.take(300, start + after).is_ok());
}

#[test]
fn what_was_reserved_and_not_used_comes_back() {
    let (rate, start) = rate(600);
    let taken = rate.take(600, start).expect("it is the first");

    rate.correct(taken, 100, 0);

    assert_eq!(rate.standing(start).map(|standing| standing.remaining), Some(500));
    assert!(rate.take(500, start).is_ok());
}

#[test]
fn what_was_used_beyond_the_reservation_is_a_debt_that_is_waited_for() {
    let (rate, start) = rate(600);
    let taken = rate.take(10, start).expect("it is the first");

    rate.correct(taken, 1_200, 0);

    assert_eq!(wait(rate.take(10, start)), seconds(61));
    assert_eq!(rate.standing(start), Some(RateStanding { limit: 600, remaining: 0, full_in: seconds(120) }));
    assert!(rate.take(10, start + seconds(61)).is_ok());
}

#[test]
fn a_request_larger_than_the_limit_is_let_in_by_a_full_bucket_only_and_empties_it() {
    let (rate, start) = rate(600);
    rate.take(1, start).expect("it is the first");

    let after = wait(rate.take(6_000, start));

    assert_eq!(after, Duration::from_millis(100));
    assert!(rate.take(6_000, start + after).is_ok());
    assert_eq!(wait(rate.take(600, start + after)), seconds(60));
}

#[test]
fn what_nobody_reported_is_a_debt_of_a_minute_at_most_beside_what_was_reported() {
    let (rate, start) = rate(600);
    let taken = rate.take(10, start).expect("it is the first");

    rate.correct(taken, 1_200, 1 << 40);

    assert_eq!(rate.standing(start).map(|standing| standing.full_in), Some(seconds(180)));
}

#[test]
fn an_absurd_report_shuts_nobody_out_for_longer_than_an_hour() {
    let (rate, start) = rate(600);
    let taken: Vec<Taken> = (0..3).map(|_| rate.take(10, start).expect("there is room")).collect();

    for taken in taken {
        rate.correct(taken, 1 << 40, 1 << 40);
    }

    let full_in = rate.standing(start).map(|standing| standing.full_in);
    assert!(full_in.is_some_and(|time| time <= seconds(3_600)), "{full_in:?}");
    assert!(rate.take(10, start + seconds(3_600)).is_ok());
}

#[test]
fn a_late_report_of_an_early_request_takes_nothing_from_what_others_owe() {
    let (rate, start) = rate(600);
    let early = rate.take(10, start).expect("there is room");
    let later = rate.take(10, start + seconds(3_000)).expect("there is room");
    rate.correct(later, 1 << 40, 0);
    let owed = rate.standing(start).map(|standing| standing.full_in);

    rate.correct(early, 10, 0);

    assert_eq!(rate.standing(start).map(|standing| standing.full_in), owed.map(|owed| owed - seconds(1)));
}

#[test]
fn a_rate_without_a_limit_lets_everything_through_and_says_nothing() {
    let rate = Bucket::new(Instant::now());

    assert!(rate.take(u64::MAX, Instant::now()).is_ok());
    assert_eq!(rate.standing(Instant::now()), None);
}

fn moment(month: u32) -> Moment {
    Moment { at: Instant::now(), month, month_left: seconds(1_000) }
}

#[test]
fn a_budget_holds_what_runs_and_lets_no_request_begin_beyond_it() {
    let purse = Purse::default();
    purse.set(Some(Money(100)));

    let era = purse.hold(Money(60), moment(1)).expect("there is room");
    let held = purse.hold(Money(50), moment(1)).expect_err("it is held");
    purse.settle(era, Money(60), Money(55));
    let spent = purse.hold(Money(50), moment(1)).expect_err("it is spent");

    let retry = |denied| match denied {
        Denied::Budget { retry_after, spent, held, .. } => (retry_after, spent, held),
        Denied::Tokens { .. } | Denied::Unleased => panic!("no token is counted here"),
    };
    assert_eq!(retry(held), (WHEN_HELD, Money(0), Money(60)));
    assert_eq!(retry(spent), (seconds(1_000), Money(55), Money(0)));
    purse.hold(Money(45), moment(1)).expect("exactly the limit");
    purse.hold(Money::ZERO, moment(1)).expect("what costs nothing passes");
}

fn standing(spent: u64, held: u64) -> BudgetStanding {
    BudgetStanding { limit: Some(Money(100)), spent: Money(spent), held: Money(held) }
}

#[test]
fn a_month_begins_with_nothing_spent_and_a_request_is_charged_to_the_month_it_began_in() {
    let purse = Purse::default();
    purse.set(Some(Money(100)));
    purse.restore(1, Money(90));
    let (before, after) = (moment(1), moment(2));
    let old = purse.hold(Money(10), before).expect("there is room");

    let new = purse.hold(Money(100), after).expect("a new month");
    purse.settle(old, Money(10), Money(500));

    assert_eq!(purse.standing(2), standing(0, 100));
    assert!(purse.hold(Money(1), before).is_err(), "it began before the turn and comes after it");
    assert_eq!(purse.hold(Money::ZERO, before), Ok(new), "who comes late is held by the new month");
}

#[test]
fn a_calendar_that_jumped_ahead_and_was_put_right_keeps_the_budget_of_the_month_it_is() {
    let purse = Purse::default();
    purse.set(Some(Money(100)));
    let at = |month, after| Moment { at: moment(1).at + seconds(after), ..moment(month) };
    let early = purse.hold(Money(20), at(11, 0)).expect("there is room");
    purse.settle(early, Money(20), Money(15));
    let running = purse.hold(Money(5), at(11, 1)).expect("there is room");
    let ahead = purse.hold(Money(30), at(600, 2)).expect("a month that is not yet");

    let back = purse.hold(Money(40), at(11, 3)).expect("there is room");

    assert_eq!(purse.standing(11), standing(15, 75), "what was held and spent before and meanwhile counts here");
    assert!(purse.hold(Money(11), at(11, 4)).is_err());
    for (era, held) in [(running, 5), (ahead, 30), (back, 40)] {
        purse.settle(era, Money(held), Money(held));
    }
    assert_eq!(purse.standing(11), standing(90, 0));
    purse.hold(Money(100), at(12, 5)).expect("the next month begins with nothing spent");
    assert_eq!(purse.standing(12), standing(0, 100));
}

#[test]
fn what_a_process_began_with_in_a_month_ahead_counts_in_the_month_that_it_was() {
    let purse = Purse::default();
    purse.set(Some(Money(100)));
    let first = moment(600);
    let era = purse.hold(Money(70), first).expect("there is room");
    purse.settle(era, Money(70), Money(70));

    let denied = purse.hold(Money(40), Moment { at: first.at + seconds(1), ..moment(11) });

    assert!(denied.is_err());
    assert_eq!(purse.standing(11), standing(70, 0));
}

proptest! {
    #[test]
    fn over_any_stretch_no_more_is_reserved_than_the_limit_and_what_refills(
        limit in 1_u64..100_000, asks in proptest::collection::vec((1_u64..5_000, 0_u64..3_000), 1..60)
    ) {
        let (rate, start) = rate(limit);
        let (mut at, mut through) = (start, 0_u128);
        for (tokens, gap) in asks {
            at += Duration::from_millis(gap);
            if rate.take(tokens, at).is_ok() {
                // What is larger than the bucket takes all of it.
                through += u128::from(tokens.min(limit));
            }
        }
        let refilled = (at - start).as_nanos() * u128::from(limit) / Duration::from_mins(1).as_nanos();
        // Rounding is one token a request.
        let bound = u128::from(limit) + refilled + 60;
        prop_assert!(through <= bound, "{through} > {bound}");
    }
}
