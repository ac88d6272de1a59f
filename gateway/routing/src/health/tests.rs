use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fail(health: &mut TargetHealth, times: u32, at: Instant) {
    (0..times).for_each(|_| health.on_failure(at, at));
}

fn succeed(health: &mut TargetHealth, times: u32, at: Instant) {
    (0..times).for_each(|_| health.on_success(at, at));
}

fn ejected(at: Instant) -> TargetHealth {
    let mut health = TargetHealth::new();
    fail(&mut health, EJECTED_AFTER, at);
    health
}

/// Fails the probe as soon as it is free, `times` times, and gives the moment of the last failure.
fn fail_probes(health: &mut TargetHealth, times: u32, mut now: Instant) -> Instant {
    for _ in 0..times {
        now += EJECTION * MOST_EJECTIONS;
        assert!(health.take_probe(now));
        health.on_failure(now, now);
    }
    now
}

#[test]
fn a_new_target_is_healthy() {
    assert_eq!(TargetHealth::new().standing(Instant::now()), Standing::Healthy);
}

#[test]
fn five_failures_in_a_row_eject_for_thirty_seconds() {
    let now = Instant::now();
    let mut health = TargetHealth::new();

    fail(&mut health, 4, now);
    let after_four = health.standing(now);
    fail(&mut health, 1, now);

    assert_eq!(after_four, Standing::Healthy);
    assert_eq!(health.standing(now), Standing::Ejected { since: now, until: now + seconds(30) });
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let now = Instant::now();
    let mut health = TargetHealth::new();

    fail(&mut health, 4, now);
    succeed(&mut health, 1, now);
    fail(&mut health, 4, now);

    assert_eq!(health.standing(now), Standing::Healthy);
}

#[test]
fn after_its_time_an_ejected_target_lets_exactly_one_probe_through() {
    let now = Instant::now();
    let mut health = ejected(now);
    let later = now + seconds(30);

    assert_eq!(health.standing(later), Standing::HalfOpen);
    assert!(health.take_probe(later));

    assert_eq!(health.standing(later), Standing::Probing { since: now });
    assert!(!health.take_probe(later));
}

#[test]
fn no_probe_is_taken_from_a_healthy_or_an_ejected_target() {
    let now = Instant::now();

    assert!(!TargetHealth::new().take_probe(now));
    assert!(!ejected(now).take_probe(now + seconds(29)));
}

#[test]
fn a_probe_that_succeeds_makes_the_target_healthy() {
    let now = Instant::now();
    let mut health = ejected(now);
    let later = now + seconds(30);
    health.take_probe(later);

    health.on_success(later, later + seconds(1));

    assert_eq!(health.standing(later + seconds(1)), Standing::Healthy);
}

#[test]
fn a_probe_that_fails_ejects_again_and_for_longer() {
    let now = Instant::now();
    let mut health = ejected(now);
    let later = now + seconds(30);
    health.take_probe(later);

    health.on_failure(later, later);

    assert_eq!(health.standing(later), Standing::Ejected { since: later, until: later + seconds(60) });
}

#[test]
fn an_ejection_never_lasts_longer_than_ten_times_the_first() {
    let now = Instant::now();
    let mut health = ejected(now);

    let last = fail_probes(&mut health, 30, now);

    assert_eq!(health.standing(last), Standing::Ejected { since: last, until: last + seconds(300) });
}

#[test]
fn twenty_successes_in_a_row_forgive_earlier_ejections_and_nineteen_do_not() {
    let now = Instant::now();
    for (successes, next_ejection) in [(19, seconds(120)), (20, seconds(30))] {
        let mut health = ejected(now);
        let later = fail_probes(&mut health, 2, now) + seconds(90);
        assert!(health.take_probe(later));

        succeed(&mut health, successes, later);
        fail(&mut health, 5, later);

        assert_eq!(health.standing(later), Standing::Ejected { since: later, until: later + next_ejection });
    }
}

#[test]
fn requests_that_began_before_the_ejection_neither_prolong_nor_end_it() {
    let began = Instant::now();
    let ejection = began + seconds(1);
    let mut health = ejected(ejection);
    let before = health.standing(ejection);

    health.on_failure(began, ejection + seconds(2));
    health.on_success(began, ejection + seconds(3));

    assert_eq!(health.standing(ejection), before);
}

#[test]
fn an_old_failure_does_not_fail_the_probe_and_does_not_count_after_recovery() {
    let now = Instant::now();
    let mut health = ejected(now);
    let later = now + seconds(30);
    health.take_probe(later);

    health.on_failure(now, later);
    let while_probing = health.standing(later);
    health.on_success(later, later + seconds(1));
    (0..9).for_each(|_| health.on_failure(now, later + seconds(2)));

    assert_eq!(while_probing, Standing::Probing { since: now });
    assert_eq!(health.standing(later + seconds(2)), Standing::Healthy);
}

#[test]
fn a_success_of_a_last_resort_ends_the_ejection() {
    let now = Instant::now();
    let mut health = ejected(now);

    health.on_success(now + seconds(1), now + seconds(2));

    assert_eq!(health.standing(now + seconds(2)), Standing::Healthy);
}

#[test]
fn a_probe_that_is_given_back_can_be_taken_again() {
    let now = Instant::now();
    let mut health = ejected(now);
    let later = now + seconds(30);
    health.take_probe(later);

    health.give_probe_back(later + seconds(1));
    assert_eq!(health.standing(later), Standing::Probing { since: now }, "another request's probe is not given back");
    health.give_probe_back(later);

    assert!(health.take_probe(later));
}

#[test]
fn a_probe_without_a_result_is_lost_after_a_minute() {
    let now = Instant::now();
    let mut health = ejected(now);
    let later = now + seconds(30);
    health.take_probe(later);

    assert!(!health.take_probe(later + seconds(59)));
    assert!(health.take_probe(later + seconds(60)));
}

#[test]
fn a_429_blocks_for_as_long_as_it_asks_within_bounds() {
    let now = Instant::now();
    let blocked_for = |retry_after: Option<u64>| {
        let mut health = TargetHealth::new();
        health.block(now, retry_after.map(seconds));
        match health.standing(now) {
            Standing::Blocked { until } => until - now,
            _ => Duration::ZERO,
        }
    };

    assert_eq!(blocked_for(None), seconds(1));
    assert_eq!(blocked_for(Some(0)), seconds(0));
    assert_eq!(blocked_for(Some(30)), seconds(30));
    assert_eq!(blocked_for(Some(86_400)), seconds(120));
}

#[test]
fn a_429_never_shortens_an_earlier_one_and_never_counts_to_ejection() {
    let now = Instant::now();
    let mut health = TargetHealth::new();
    fail(&mut health, 4, now);

    health.block(now, Some(seconds(60)));
    (0..50).for_each(|_| health.block(now, Some(seconds(2))));

    assert_eq!(health.standing(now), Standing::Blocked { until: now + seconds(60) });
    assert_eq!(health.standing(now + seconds(60)), Standing::Healthy);
    fail(&mut health, 1, now + seconds(60));
    assert!(matches!(health.standing(now + seconds(60)), Standing::Ejected { .. }), "nor did it forgive the four");
}

#[test]
fn a_probe_that_meets_a_429_is_given_back_and_waits() {
    let now = Instant::now();
    let mut health = ejected(now);
    let later = now + seconds(30);
    health.take_probe(later);

    health.block(later, Some(seconds(5)));

    assert_eq!(health.standing(later), Standing::Blocked { until: later + seconds(5) });
    assert_eq!(health.standing(later + seconds(5)), Standing::HalfOpen);
}

#[derive(Clone, Debug)]
enum Event {
    Success,
    Failure,
    Block(u64),
    Probe,
}

fn event() -> impl Strategy<Value = (u64, u64, Event)> {
    let event = prop_oneof![
        3 => Just(Event::Success),
        6 => Just(Event::Failure),
        1 => (0..100_000_u64).prop_map(Event::Block),
        3 => Just(Event::Probe),
    ];
    (0..90_u64, 0..90_u64, event)
}

proptest! {
    #[test]
    fn whatever_happens_a_target_is_back_in_reach_within_five_minutes_and_a_probe_is_taken_once(
        events in proptest::collection::vec(event(), 0..200)
    ) {
        let start = Instant::now() + seconds(1_000);
        let mut now = start;
        let mut health = TargetHealth::new();
        for (wait, age, event) in events {
            now += seconds(wait);
            let began = now - seconds(age);
            match event {
                Event::Success => health.on_success(began, now),
                Event::Failure => health.on_failure(began, now),
                Event::Block(asked) => health.block(now, Some(seconds(asked))),
                Event::Probe => {
                    let free = health.standing(now) == Standing::HalfOpen;
                    prop_assert_eq!(health.take_probe(now), free);
                    prop_assert!(!health.take_probe(now));
                }
            }
            if let Standing::Ejected { until, .. } | Standing::Blocked { until } = health.standing(now) {
                prop_assert!(until > now && until <= now + EJECTION * MOST_EJECTIONS);
            }
            let in_reach = health.standing(now + EJECTION * MOST_EJECTIONS);
            prop_assert!(matches!(in_reach, Standing::Healthy | Standing::HalfOpen), "{:?}", in_reach);
        }
    }
}
