use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::advance;

use super::{Admission, Limit, LimitIndex, Refusal};
use crate::auth::AppIndex;

const APP: AppIndex = AppIndex(0);
const OTHER: AppIndex = AppIndex(1);
const KEY: LimitIndex = LimitIndex(2);

fn most(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn limit(name: &str, in_flight: u32, requests_per_minute: u32) -> Limit {
    Limit {
        name: name.into(),
        in_flight: NonZeroU32::new(in_flight),
        requests_per_minute: NonZeroU32::new(requests_per_minute),
    }
}

#[tokio::test]
async fn as_many_requests_as_the_bound_are_let_in_and_the_next_is_shed() {
    let admission = Admission::new(most(3), vec![limit("app", 0, 0)]);

    let mut held: Vec<_> = (0..3).map(|_| admission.admit(APP, None).unwrap()).collect();
    let shed = admission.admit(APP, None).unwrap_err();
    held.pop();
    let next = admission.admit(APP, None);

    assert!(matches!(shed, Refusal::Shed { .. }));
    assert!(shed.retry_after() > Duration::ZERO);
    assert!(next.is_ok());
    assert_eq!(admission.in_flight(), 3);
    drop((held, next));
    assert_eq!(admission.in_flight(), 0);
}

#[tokio::test]
async fn an_app_at_its_bound_leaves_the_others_alone() {
    let limits = vec![limit("app", 2, 0), limit("other", 0, 0)];
    let admission = Admission::new(most(100), limits);

    let _held = [admission.admit(APP, None), admission.admit(APP, None)].map(Result::unwrap);

    assert!(matches!(admission.admit(APP, None), Err(Refusal::Busy { .. })));
    assert!(admission.admit(OTHER, None).is_ok());
    assert_eq!(admission.in_flight_of(APP), 2);
    assert_eq!(admission.in_flight(), 2, "a refused request holds nothing");
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_n_lets_n_through_at_once_and_then_one_each_nth_of_a_minute() {
    let admission = Admission::new(most(1000), vec![limit("app", 0, 60)]);

    let burst: Vec<_> = (0..60).map(|_| admission.admit(APP, None)).collect();
    let early = admission.admit(APP, None).unwrap_err();
    advance(Duration::from_millis(400)).await;
    let later = admission.admit(APP, None).unwrap_err();
    advance(later.retry_after()).await;
    let on_time = admission.admit(APP, None);
    let again = admission.admit(APP, None);

    assert!(burst.iter().all(Result::is_ok));
    assert_eq!(early, Refusal::TooFast { retry_after: Duration::from_secs(1) });
    assert_eq!(later, Refusal::TooFast { retry_after: Duration::from_millis(600) });
    assert!(on_time.is_ok());
    assert!(matches!(again, Err(Refusal::TooFast { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_one_lets_one_through_each_minute() {
    let admission = Admission::new(most(10), vec![limit("app", 0, 1)]);

    let first = admission.admit(APP, None).is_ok();
    let second = admission.admit(APP, None).unwrap_err();

    assert!(first);
    assert_eq!(second.retry_after(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_request_refused_for_those_in_flight_does_not_count_towards_the_rate() {
    let admission = Admission::new(most(10), vec![limit("app", 1, 2)]);
    let first = admission.admit(APP, None).unwrap();

    for _ in 0..5 {
        let refused = admission.admit(APP, None).unwrap_err();
        assert!(matches!(refused, Refusal::Busy { .. }));
    }
    drop(first);

    assert!(admission.admit(APP, None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_held_to_its_own_limit_and_to_its_apps() {
    let limits = vec![limit("app", 0, 3), limit("other", 0, 0), limit("key", 0, 2)];
    let admission = Admission::new(most(10), limits);

    assert!(admission.admit(APP, Some(KEY)).is_ok());
    assert!(admission.admit(APP, Some(KEY)).is_ok());
    assert!(matches!(admission.admit(APP, Some(KEY)), Err(Refusal::TooFast { .. })));
    assert!(admission.admit(APP, None).is_ok(), "the key's refusal cost the app nothing");
    assert!(matches!(admission.admit(APP, None), Err(Refusal::TooFast { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_reload_forgets_neither_what_is_in_flight_nor_an_unchanged_rate() {
    let before = Admission::new(most(2), vec![limit("app", 0, 1), limit("other", 0, 1)]);
    let held = before.admit(APP, None).unwrap();
    let done = before.admit(OTHER, None).unwrap();
    drop(done);

    let after = before.renewed(most(1), vec![limit("other", 0, 5), limit("app", 0, 1)]);
    let (other, app) = (AppIndex(0), AppIndex(1));

    assert_eq!(after.in_flight(), 1);
    assert_eq!(after.in_flight_of(app), 1);
    assert!(matches!(after.admit(app, None), Err(Refusal::Shed { .. })));
    drop(held);
    assert!(matches!(after.admit(app, None), Err(Refusal::TooFast { .. })));
    assert!(after.admit(other, None).is_ok());
}

#[test]
fn many_threads_never_exceed_the_bound_and_leave_nothing_behind() {
    let admission = Admission::new(most(4), vec![limit("app", 3, 0)]);

    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let admitted = admission.admit(APP, None);
                    assert!(admission.in_flight_of(APP) <= 3);
                    drop(admitted);
                }
            });
        }
    });

    assert_eq!(admission.in_flight(), 0);
    assert_eq!(admission.in_flight_of(APP), 0);
}
