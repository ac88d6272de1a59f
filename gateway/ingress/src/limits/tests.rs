use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::advance;

use super::users::Users;
use super::{Admission, Limit, LimitIndex, MINUTE, Refusal, Standing};
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
        ..Limit::default()
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
    assert_eq!(early.retry_after(), Duration::from_secs(1));
    assert_eq!(later.retry_after(), Duration::from_millis(600));
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
    after.take_effect(&ledger::Shared::beside(std::path::Path::new("nowhere")));
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

#[tokio::test(start_paused = true)]
async fn a_second_and_a_minute_are_both_held_and_the_time_to_come_back_is_when_it_works() {
    let both = Limit { requests_per_second: Some(most(2)), ..limit("app", 0, 3) };
    let admission = Admission::new(most(100), vec![both]);
    let ask = || admission.admit(APP, None);

    let burst = [ask().is_ok(), ask().is_ok()];
    let second = ask().unwrap_err().retry_after();
    advance(second).await;
    let third = ask().is_ok();
    advance(Duration::from_secs(1)).await;
    let minute = ask().unwrap_err().retry_after();
    advance(minute).await;
    let fourth = ask().is_ok();

    assert_eq!((burst, third, fourth), ([true, true], true, true));
    assert_eq!(second, Duration::from_millis(500));
    assert!(minute > Duration::from_secs(10), "{minute:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_one_rate_took_and_the_next_refused_is_told_when_both_have_one() {
    let key = Limit { requests_per_second: Some(most(1)), ..limit("key", 0, 0) };
    let admission = Admission::new(most(100), vec![limit("app", 0, 60), limit("other", 0, 0), key]);
    for _ in 0..60 {
        let _ = admission.admit(APP, None).unwrap();
    }
    advance(Duration::from_millis(900)).await;

    // The app has one again in 100 ms; the key's was just taken and needs a second.
    let refused = admission.admit(APP, Some(KEY)).unwrap_err().retry_after();
    advance(refused).await;

    assert_eq!(refused, Duration::from_secs(1));
    assert!(admission.admit(APP, Some(KEY)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_rate_that_leaves_least_says_how_it_stands() {
    let limits = vec![limit("app", 0, 60), limit("other", 0, 0), limit("key", 0, 10)];
    let admission = Admission::new(most(100), limits);

    let first = admission.admit(APP, Some(KEY)).unwrap().standing();
    let none = admission.admit(OTHER, None).unwrap().standing();

    let full_in = Duration::from_secs(6);
    assert_eq!((first, none), (Some(Standing { limit: 10, remaining: 9, full_in }), None));
}

#[tokio::test(start_paused = true)]
async fn a_model_has_its_own_bounds_and_gives_its_place_back_with_the_request() {
    let model = Limit { in_flight: Some(most(1)), ..limit("model", 0, 2) };
    let admission = Admission::new(most(100), vec![limit("app", 0, 0), limit("other", 0, 0), model]);
    let ask = || admission.model(KEY).map(|place| admission.admit(APP, None).unwrap().and(place));

    let first = ask().unwrap();
    let busy = ask().unwrap_err();
    drop(first);
    let second = ask().map(drop);
    let fast = ask().unwrap_err();

    assert!(matches!(busy, Refusal::Busy { .. }) && second.is_ok());
    assert_eq!(fast.retry_after(), Duration::from_secs(30));
    assert_eq!(admission.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_user_has_a_rate_of_their_own() {
    let app = Limit { user_requests_per_minute: Some(most(2)), ..limit("app", 0, 0) };
    let admission = Admission::new(most(100), vec![app, limit("other", 0, 0)]);
    let ask = |app, user| admission.admit_user(app, None, user);

    assert_eq!([ask(APP, "erika"), ask(APP, "erika"), ask(APP, "max")], [Ok(()); 3]);
    assert_eq!(ask(APP, "erika").unwrap_err().retry_after(), Duration::from_secs(30));
    assert_eq!((ask(APP, "max"), ask(OTHER, "erika")), (Ok(()), Ok(())));
    advance(Duration::from_secs(30)).await;
    assert_eq!(ask(APP, "erika"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_user_is_held_by_the_second_and_by_the_minute_and_told_when_both_let_one_in() {
    let app = Limit {
        user_requests_per_second: Some(most(1)),
        user_requests_per_minute: Some(most(2)),
        ..limit("app", 0, 0)
    };
    let admission = Admission::new(most(100), vec![app.clone()]);
    let ask = |user| admission.admit_user(APP, None, user);

    assert_eq!([ask("erika"), ask("max")], [Ok(()); 2]);
    let refused = ask("erika").unwrap_err();
    assert!(
        matches!(refused, Refusal::TooFast { standing: Standing { limit: 1, remaining: 0, .. }, .. }),
        "{refused:?}"
    );
    assert_eq!(refused.retry_after(), Duration::from_secs(1));
    advance(Duration::from_secs(1)).await;
    assert_eq!(ask("erika"), Ok(()));
    advance(Duration::from_secs(1)).await;
    assert_eq!(ask("erika").unwrap_err().retry_after(), Duration::from_secs(28), "the minute's two are used");
    advance(Duration::from_millis(27_500)).await;
    // The minute has one again in half a second; the second's was just taken.
    assert_eq!(ask("erika").unwrap_err().retry_after(), Duration::from_secs(1));

    let changed = Limit { user_requests_per_minute: Some(most(3)), ..app };
    let renewed = admission.renewed(most(100), vec![changed]);
    assert_eq!(renewed.admit_user(APP, None, "erika").unwrap_err().retry_after(), Duration::from_secs(1));
    advance(Duration::from_secs(1)).await;
    assert_eq!(renewed.admit_user(APP, None, "erika"), Ok(()), "the rate that changed begins anew");
}

#[tokio::test(start_paused = true)]
async fn the_largest_rate_of_a_user_that_can_be_written_lets_everything_through() {
    let app = Limit { user_requests_per_second: Some(most(u32::MAX)), ..limit("app", 0, 0) };
    let admission = Admission::new(most(100), vec![app]);

    assert!((0..1_000).all(|_| admission.admit_user(APP, None, "erika").is_ok()));
}

#[tokio::test(start_paused = true)]
async fn users_beyond_the_bound_share_buckets_and_idle_ones_make_room() {
    let users = Users::bounded((most(1), MINUTE), 128);
    let mut refilled = Duration::ZERO;
    for number in 0..1_000 {
        let _ = users.pace(&number.to_string(), &mut refilled);
    }
    let crowded = users.len();
    advance(Duration::from_secs(121)).await;

    let later = users.pace("somebody new", &mut refilled);

    assert!(crowded <= 128, "{crowded}");
    assert_eq!(later, Ok(()));
    assert!(users.len() < 10, "{}", users.len());
}

#[tokio::test]
async fn whoever_waits_for_the_store_is_among_those_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ledger::SharedSettings {
        prefix: "causeway".to_owned(),
        user: None,
        password: None,
        on_loss: ledger::OnLoss::Deny,
    };
    let shared = ledger::Shared::open(folder.path(), folder.path(), settings).unwrap();
    let admission = Admission::shared(most(1), vec![limit("app", 0, 60)], shared.clone());
    admission.take_effect(&shared);

    let mut waits = admission.enter().unwrap();
    let unleased = admission.admit_entered(&mut waits, APP, None).unwrap_err();
    let shed = admission.enter().unwrap_err();

    assert_eq!((unleased, admission.in_flight()), (Refusal::Unleased, 1));
    assert!(matches!(shed, Refusal::Shed { .. }), "nobody else waits beside it");
    drop(waits);
    assert_eq!(admission.in_flight(), 0);
}
