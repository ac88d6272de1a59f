use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn now() -> Moment {
    Moment { at: Instant::now(), month: 7, month_left: Duration::from_secs(1_000) }
}

fn book() -> Arc<Book> {
    Arc::new(Book::new(Instant::now()))
}

fn ask(input: u64, output: u64) -> Ask {
    let money = Money(input.saturating_add(output).saturating_mul(10));
    Ask { estimate: Estimate { input: Tokens(input), output: Tokens(output) }, money }
}

fn reserve(book: &Arc<Book>, input: u64, output: u64) -> Reservation {
    book.reserve(None, ask(input, output), now()).expect("the book has no limits")
}

fn used(input: u64, output: u64) -> Used {
    Used { input: Tokens(input), output: Tokens(output), ..Used::default() }
}

fn cost(input: u64, output: u64) -> Option<Money> {
    Some(Money(input + output))
}

#[test]
fn an_open_reservation_is_held_and_nothing_is_settled() {
    let book = book();

    let reservation = reserve(&book, 10, 20);

    let totals = book.totals();
    assert_eq!((totals.requests, totals.open, totals.reserved, totals.settled()), (1, 1, Tokens(30), Tokens(0)));
    reservation.not_sent();
}

#[test]
fn a_reported_usage_replaces_the_reservation_even_when_it_is_larger() {
    let book = book();

    let settlement = reserve(&book, 10, 20).settle(used(11, 500), cost(11, 500));

    let totals = book.totals();
    assert_eq!((settlement.total(), settlement.by, settlement.flagged()), (Tokens(511), SettledBy::Reported, false));
    assert_eq!((totals.settled_input, totals.settled_output), (Tokens(11), Tokens(500)));
    assert_eq!((totals.reserved, totals.open, totals.flagged), (Tokens(0), 0, 0));
    assert_eq!((totals.held_money, totals.settled_money, totals.flagged_money), (Money(0), Money(511), Money(0)));
}

#[test]
fn an_unknown_usage_is_settled_at_the_reservation_and_flagged() {
    let book = book();

    let settlement = reserve(&book, 10, 20).settle_unknown(None);

    assert!(settlement.flagged());
    assert_eq!((book.totals().settled_unknown, book.totals().flagged), (Tokens(30), 1));
    assert_eq!((settlement.money, book.totals().flagged_money), (Money(300), Money(300)));
}

#[test]
fn an_unknown_price_is_charged_at_the_reservation_and_flagged() {
    let book = book();

    let settlement = reserve(&book, 10, 20).settle(used(1, 1), None);

    assert_eq!((settlement.by, settlement.money, settlement.flagged()), (SettledBy::Reported, Money(300), true));
    assert_eq!(book.totals().flagged_money, Money(300));
}

#[test]
fn an_unknown_usage_costs_the_most_that_its_own_target_could_ask_for() {
    let book = book();

    let settlement = reserve(&book, 10, 20).settle_unknown(Some(Money(40)));

    assert_eq!((settlement.total(), settlement.charged(), settlement.flagged()), (Tokens(30), Money(40), true));
}

#[test]
fn a_budget_stops_at_its_limit_and_the_last_reservations() {
    let book = book();
    book.set_limits(Limits { per_month: Some(Money(1_000)), tokens_per_minute: None });
    book.restore(7, Money(100));

    let first = reserve(&book, 40, 40);
    let denied = book.reserve(None, ask(10, 1), now()).expect_err("only 100 are left");
    first.settle(used(40, 40), Some(Money(2_000)));

    assert!(
        matches!(denied, Denied::Budget { held: Money(800), spent: Money(100), asked: Money(110), .. }),
        "{denied:?}"
    );
    assert_eq!(book.budget(7), BudgetStanding { limit: Some(Money(1_000)), spent: Money(2_100), held: Money(0) });
    assert!(book.reserve(None, ask(0, 1), now()).is_err(), "the overshoot is not forgotten");
    assert_eq!(book.totals().denied, 2);
}

#[test]
fn a_key_is_charged_together_with_its_app_or_neither_is() {
    let (key, app) = (book(), book());
    key.set_limits(Limits { tokens_per_minute: Some(100), per_month: None });
    app.set_limits(Limits { tokens_per_minute: None, per_month: Some(Money(500)) });

    let denied = key.reserve(Some(&app), ask(40, 20), now()).expect_err("the app has no money for it");
    let reservation = key.reserve(Some(&app), ask(40, 5), now()).expect("both have room");
    let tokens = key.reserve(Some(&app), ask(40, 30), now()).expect_err("the key has no tokens for it");

    assert!(matches!(denied, Denied::Budget { .. }), "{denied:?}");
    assert!(matches!(tokens, Denied::Budget { .. } | Denied::Tokens { .. }), "{tokens:?}");
    reservation.settle(used(10, 10), Some(Money(7)));
    assert_eq!((app.totals().settled_money, key.totals().settled_money), (Money(7), Money(7)));
    assert_eq!((app.budget(7).held, app.totals().held_money, key.totals().held_money), (Money(0), Money(0), Money(0)));
    let left = key.rate(now().at).map(|rate| rate.remaining).expect("it has a limit");
    assert!((80..=81).contains(&left), "{left}");
}

#[test]
fn a_dropped_reservation_is_settled_at_what_it_held_and_flagged() {
    let book = book();

    drop(reserve(&book, 10, 20));

    let totals = book.totals();
    assert_eq!((totals.reserved, totals.settled_unknown, totals.flagged), (Tokens(0), Tokens(30), 1));
}

#[test]
fn a_request_that_never_left_costs_nothing() {
    let book = book();

    let settlement = reserve(&book, 10, 20).not_sent();

    assert_eq!((settlement.total(), settlement.flagged()), (Tokens::ZERO, false));
    assert_eq!((book.totals().settled(), book.totals().not_sent), (Tokens::ZERO, 1));
}

#[test]
fn an_attempt_that_may_have_run_is_charged_beside_the_answer() {
    let book = book();
    let mut reservation = reserve(&book, 10, 20);
    reservation.lost_attempt(Money(25));

    let settlement = reservation.settle(used(9, 1), cost(9, 1));

    assert_eq!((settlement.by, settlement.lost, settlement.flagged()), (SettledBy::Reported, Tokens(30), true));
    // What was reported of the answer beside it is confirmed.
    assert_eq!(settlement.unconfirmed(), settlement.lost_money);
    assert_eq!(book.totals().flagged_money, settlement.lost_money);
    assert_eq!((settlement.total(), book.totals().settled()), (Tokens(40), Tokens(40)));
    assert_eq!((settlement.charged(), book.totals().settled_money), (Money(35), Money(35)));
}

#[test]
fn an_attempt_that_failed_and_said_what_it_used_is_charged_that_and_not_flagged() {
    let book = book();
    let mut reservation = reserve(&book, 10, 20);
    reservation.failed_attempt(used(5, 3), Some(Money(8)), Money(25));

    let settlement = reservation.settle(used(9, 1), cost(9, 1));

    assert_eq!((settlement.lost, settlement.lost_attempts, settlement.flagged()), (Tokens(8), 0, false));
    assert_eq!((settlement.charged(), settlement.unconfirmed()), (Money(18), Money::ZERO));
    let totals = book.totals();
    assert_eq!(
        (totals.settled_input, totals.settled_output, totals.settled_unknown),
        (Tokens(14), Tokens(4), Tokens(0))
    );
    assert_eq!((totals.settled_money, totals.flagged, totals.flagged_money), (Money(18), 0, Money::ZERO));
}

#[test]
fn what_a_failed_attempt_used_counts_although_nobody_knows_its_price() {
    let book = book();
    let mut reservation = reserve(&book, 10, 20);
    reservation.failed_attempt(used(5, 3), None, Money(25));

    let settlement = reservation.settle(used(9, 1), cost(9, 1));

    assert_eq!((settlement.lost, settlement.lost_attempts, settlement.flagged()), (Tokens(8), 1, true));
    assert_eq!((settlement.charged(), settlement.unconfirmed()), (Money(35), Money(25)));
    assert_eq!((book.totals().settled(), book.totals().settled_unknown), (Tokens(18), Tokens::ZERO));
}

#[test]
fn what_one_failed_attempt_said_is_charged_although_another_said_nothing_and_nothing_was_answered() {
    let book = book();
    let mut reservation = reserve(&book, 10, 20);
    reservation.failed_attempt(used(5, 3), Some(Money(8)), Money(25));
    reservation.lost_attempt(Money(25));

    let settlement = reservation.not_sent();

    assert_eq!((settlement.lost, settlement.lost_attempts, settlement.flagged()), (Tokens(38), 1, true));
    assert_eq!((settlement.charged(), settlement.unconfirmed()), (Money(33), Money(33)));
    assert_eq!((book.totals().settled(), book.totals().settled_unknown), (Tokens(38), Tokens(30)));
}

#[test]
fn what_a_failed_attempt_stated_is_owed_to_the_rate_without_a_bound_of_a_minute() {
    let (book, now) = limited(600);

    let mut failed = book.reserve(None, ask(0, 100), now).expect("the bucket is full");
    failed.failed_attempt(used(0, 6_000), Some(Money(1)), Money(25));
    failed.not_sent();

    let full_in = book.rate(now.at).map(|rate| rate.full_in).expect("it has a limit");
    assert_eq!(full_in, 10 * Duration::from_secs(60), "as for what an answer reports");
}

#[test]
fn a_panic_on_the_way_still_settles() {
    let book = book();
    let reservation = reserve(&book, 10, 20);

    let met = std::thread::spawn(move || {
        let _held = reservation;
        panic!("an upstream broke the pipeline");
    })
    .join();

    assert!(met.is_err());
    assert_eq!((book.totals().open, book.totals().settled_unknown), (0, Tokens(30)));
}

#[test]
fn absurd_numbers_do_not_wrap_a_book_around() {
    let book = book();
    let absurd = used(u64::MAX, u64::MAX);

    let held = reserve(&book, u64::MAX, u64::MAX);
    reserve(&book, u64::MAX, u64::MAX).settle(absurd, Some(Money(u64::MAX)));

    assert_eq!(book.totals().reserved, Tokens::MOST + Tokens(2_000_000));
    assert_eq!(book.totals().settled_input, Tokens::MOST);
    assert_eq!((book.totals().held_money, book.totals().settled_money), (Money::MOST, Money::MOST));
    held.not_sent();
    assert_eq!(book.totals().reserved, Tokens::ZERO);
}

#[test]
fn a_book_is_exact_under_many_threads() {
    let book = book();

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    reserve(&book, 3, 4).settle(used(1, 2), cost(1, 2));
                    drop(reserve(&book, 3, 4));
                }
            });
        }
    });

    let totals = book.totals();
    assert_eq!((totals.requests, totals.open, totals.reserved), (8_000, 0, Tokens::ZERO));
    assert_eq!(totals.settled(), Tokens(4_000 * 3 + 4_000 * 7));
}

fn is_send<T: Send>() {}

#[test]
fn a_reservation_can_move_with_its_stream_to_another_thread() {
    is_send::<Reservation>();
}

#[derive(Clone, Debug)]
enum End {
    Reported(u64, u64),
    Unknown,
    NotSent,
    Dropped,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        (0..100_000_u64, 0..100_000_u64).prop_map(|(input, output)| End::Reported(input, output)),
        Just(End::Unknown),
        Just(End::NotSent),
        Just(End::Dropped),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_nothing_stays_reserved_and_what_was_settled_is_the_sum_of_all_ends(
        requests in proptest::collection::vec((0..100_000_u64, 0..100_000_u64, (0..3_u32, 0..3_u64), end()), 0..40)
    ) {
        let book = book();
        let (mut expected, mut expected_money) = (0_u64, 0_u64);
        let mut held = Vec::new();
        for (input, output, (lost, failed), end) in requests {
            let mut reservation = reserve(&book, input, output);
            (0..lost).for_each(|_| reservation.lost_attempt(Money(5)));
            (0..failed).for_each(|_| reservation.failed_attempt(used(3, 4), Some(Money(2)), Money(5)));
            expected += failed * 7;
            expected_money += failed * 2;
            expected += u64::from(lost) * (input + output);
            expected_money += u64::from(lost) * 5;
            expected_money += match end {
                End::Reported(used_in, used_out) => used_in + used_out,
                End::Unknown | End::Dropped => 10 * (input + output),
                End::NotSent => 0,
            };
            expected += match end {
                End::Reported(used_in, used_out) => used_in + used_out,
                End::Unknown | End::Dropped => input + output,
                End::NotSent => 0,
            };
            held.push((reservation, end));
        }
        let count = u64::try_from(held.len()).expect("at most 40");
        let reserved: Tokens = held.iter().map(|(reservation, _)| reservation.estimate().total()).sum();
        prop_assert_eq!(book.totals().reserved, reserved);

        let mut settled = Tokens::ZERO;
        for (reservation, end) in held {
            match end {
                End::Reported(input, output) => {
                    settled = settled + reservation.settle(used(input, output), cost(input, output)).total();
                }
                End::Unknown => settled = settled + reservation.settle_unknown(None).total(),
                End::NotSent => settled = settled + reservation.not_sent().total(),
                End::Dropped => drop(reservation),
            }
        }

        let totals = book.totals();
        prop_assert_eq!((totals.reserved, totals.open, totals.requests), (Tokens::ZERO, 0, count));
        prop_assert_eq!(totals.settled(), Tokens(expected));
        prop_assert_eq!((totals.held_money, totals.settled_money), (Money::ZERO, Money(expected_money)));
        prop_assert_eq!(book.budget(7), BudgetStanding { limit: None, held: Money::ZERO, spent: Money(expected_money) });
        prop_assert!(settled <= totals.settled());
    }
}

fn limited(tokens_per_minute: u64) -> (Arc<Book>, Moment) {
    let now = now();
    let book = Arc::new(Book::new(now.at));
    book.set_limits(Limits { tokens_per_minute: Some(tokens_per_minute), per_month: None });
    (book, now)
}

fn model(tokens_per_minute: u64, now: Moment) -> Arc<Flow> {
    let flow = Flow::own(now.at);
    flow.set(Some(tokens_per_minute), MINUTE);
    Arc::new(flow)
}

fn left(model: &Flow, now: Moment) -> u64 {
    model.standing(now.at).map(|standing| standing.remaining).expect("it has a limit")
}

#[test]
fn the_tokens_of_a_model_are_held_settled_by_what_was_used_and_given_back_where_nothing_was_reserved() {
    let (book, now) = (book(), now());
    let model = model(600, now);
    let held = |estimate| HeldTokens::of(&model, estimate, now.at);
    let mut reservation = reserve(&book, 100, 200);

    reservation.move_to(held(reservation.estimate()).expect("the bucket is full"));
    assert_eq!(left(&model, now), 300);
    let denied = held(ask(0, 400).estimate).expect_err("three hundred are left");
    drop(held(ask(0, 300).estimate).expect("three hundred are left"));
    assert_eq!(left(&model, now), 300, "what nobody reserved for is given back");
    reservation.settle(used(10, 1_190), cost(10, 1_190));

    let retry_after = Duration::from_secs(10);
    assert_eq!(denied, Denied::Tokens { limit: 600, asked: Tokens(400), retry_after });
    let debt = model.standing(now.at).map(|standing| standing.full_in);
    assert_eq!(debt, Some(2 * MINUTE), "what was used beyond is owed");
}

#[test]
fn of_a_reservation_that_is_forgotten_the_model_keeps_all_and_of_one_that_was_not_sent_nothing() {
    let (book, now) = (book(), now());
    let model = model(600, now);
    let at_model = || {
        let mut reservation = reserve(&book, 100, 200);
        reservation.move_to(HeldTokens::of(&model, reservation.estimate(), now.at).expect("there is room"));
        reservation
    };

    at_model().not_sent();
    assert_eq!(left(&model, now), 600);
    drop(at_model());
    assert_eq!(left(&model, now), 300);
}

#[test]
fn each_of_two_models_pays_for_what_was_tried_there() {
    let (book, now) = (book(), now());
    let [asked, standing_in] = [600, 600].map(|limit| model(limit, now));
    let mut reservation = reserve(&book, 10, 20);
    let held = |model, estimate| HeldTokens::of(model, estimate, now.at).expect("the bucket is full");

    reservation.move_to(held(&asked, reservation.estimate()));
    reservation.lost_attempt(Money(7));
    reservation.failed_attempt(used(5, 1), cost(5, 1), Money(90));
    reservation.move_to(held(&standing_in, reservation.estimate()));
    assert_eq!((left(&asked, now), left(&standing_in, now)), (564, 570), "thirty that are unknown, and six");
    reservation.failed_attempt(used(3, 0), cost(3, 0), Money(90));
    reservation.settle(used(10, 40), cost(10, 40));

    assert_eq!((left(&asked, now), left(&standing_in, now)), (564, 547));
    assert_eq!(book.totals().settled(), Tokens(30 + 6 + 3 + 50));
}

#[test]
fn an_absurd_bound_shuts_an_app_out_for_a_minute_at_most_until_an_upstream_reports_more() {
    let minute = Duration::from_secs(60);
    let full_in = |book: &Book, now: Moment| book.rate(now.at).map(|rate| rate.full_in).expect("it has a limit");
    let (book, now) = limited(600);

    let mut lost = book.reserve(None, ask(0, 1 << 40), now).expect("the bucket is full");
    assert_eq!(full_in(&book, now), minute);
    (0..3).for_each(|_| lost.lost_attempt(Money(5)));
    drop(lost);
    assert_eq!(full_in(&book, now), minute);

    let later = Moment { at: now.at + minute, ..now };
    let given_back = book.reserve(None, ask(0, 1 << 40), later).expect("the minute is over");
    given_back.not_sent();
    assert_eq!(full_in(&book, later), Duration::ZERO);

    let reported = book.reserve(None, ask(0, 1 << 40), later).expect("nothing was used");
    reported.settle(used(0, 6_000), cost(0, 6_000));
    assert_eq!(full_in(&book, later), 10 * minute);
}

#[test]
fn a_request_that_reserves_after_the_month_turned_is_released_in_the_month_that_paid() {
    let (key, app) = (book(), book());
    let (old, new) = (now(), Moment { month: 8, ..now() });
    let first = app.reserve(None, ask(1, 1), new).expect("it has no limits");

    // It arrived in the old month: its key has not turned yet, its app has.
    let late = key.reserve(Some(&app), ask(10, 20), old).expect("neither has limits");
    let second = key.reserve(Some(&app), ask(10, 20), new).expect("neither has limits");
    assert_eq!((key.budget(8).held, app.budget(8).held), (Money(300), Money(620)));
    late.settle(used(10, 20), Some(Money(70)));

    let standing = |spent, held| BudgetStanding { limit: None, spent: Money(spent), held: Money(held) };
    assert_eq!((key.budget(8), app.budget(8)), (standing(0, 300), standing(70, 320)));
    second.not_sent();
    first.not_sent();
    assert_eq!((key.budget(8), app.budget(8)), (standing(0, 0), standing(70, 0)));
}

#[test]
fn a_late_request_that_is_denied_holds_no_money() {
    let new = Moment { month: 8, ..now() };
    let (key, app) = (book(), book());
    key.reserve(None, ask(0, 0), new).expect("it has no limits").not_sent();
    app.set_limits(Limits { tokens_per_minute: Some(100), per_month: None });
    app.reserve(None, ask(50, 50), new).expect("the bucket is full").settle_unknown(Some(Money::ZERO));

    let denied = key.reserve(Some(&app), ask(50, 50), now()).expect_err("the app has no tokens left");

    assert!(matches!(denied, Denied::Tokens { .. }), "{denied:?}");
    assert_eq!((key.budget(8).held, app.budget(8).held), (Money::ZERO, Money::ZERO));
}

#[test]
fn a_clock_that_runs_ahead_and_comes_back_leaves_nothing_held() {
    let (book, start) = (book(), now());
    let at = |month, second| Moment { month, at: start.at + Duration::from_secs(second), ..start };

    let held = [at(7, 0), at(90, 1), at(7, 2), at(8, 3)]
        .map(|at| book.reserve(None, ask(10, 20), at).expect("it has no limits"));
    let [_, ahead, ..] = &held;
    assert_eq!((ahead.money(), book.budget(8).held), (Money(300), Money(300)), "a new month holds its own alone");
    drop(held);

    // The others were charged to the month that it was.
    assert_eq!(book.budget(8), BudgetStanding { limit: None, spent: Money(300), held: Money::ZERO });
}
