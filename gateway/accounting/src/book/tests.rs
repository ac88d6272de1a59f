use proptest::prelude::*;

use super::*;

fn reserve(book: &Arc<Book>, input: u64, output: u64) -> Reservation {
    book.reserve(Estimate { input: Tokens(input), output: Tokens(output) })
}

#[test]
fn an_open_reservation_is_held_and_nothing_is_settled() {
    let book = Arc::new(Book::new());

    let reservation = reserve(&book, 10, 20);

    let totals = book.totals();
    assert_eq!((totals.requests, totals.open, totals.reserved, totals.settled()), (1, 1, Tokens(30), Tokens(0)));
    reservation.not_sent();
}

#[test]
fn a_reported_usage_replaces_the_reservation_even_when_it_is_larger() {
    let book = Arc::new(Book::new());

    let settlement = reserve(&book, 10, 20).settle(Reported { input: Tokens(11), output: Tokens(500) });

    let totals = book.totals();
    assert_eq!((settlement.total(), settlement.by, settlement.flagged()), (Tokens(511), SettledBy::Reported, false));
    assert_eq!((totals.settled_input, totals.settled_output), (Tokens(11), Tokens(500)));
    assert_eq!((totals.reserved, totals.open, totals.flagged), (Tokens(0), 0, 0));
}

#[test]
fn an_unknown_usage_is_settled_at_the_reservation_and_flagged() {
    let book = Arc::new(Book::new());

    let settlement = reserve(&book, 10, 20).settle_unknown();

    assert!(settlement.flagged());
    assert_eq!((book.totals().settled_unknown, book.totals().flagged), (Tokens(30), 1));
}

#[test]
fn a_dropped_reservation_is_settled_at_what_it_held_and_flagged() {
    let book = Arc::new(Book::new());

    drop(reserve(&book, 10, 20));

    let totals = book.totals();
    assert_eq!((totals.reserved, totals.settled_unknown, totals.flagged), (Tokens(0), Tokens(30), 1));
}

#[test]
fn a_request_that_never_left_costs_nothing() {
    let book = Arc::new(Book::new());

    let settlement = reserve(&book, 10, 20).not_sent();

    assert_eq!((settlement.total(), settlement.flagged()), (Tokens::ZERO, false));
    assert_eq!((book.totals().settled(), book.totals().not_sent), (Tokens::ZERO, 1));
}

#[test]
fn an_attempt_that_may_have_run_is_charged_beside_the_answer() {
    let book = Arc::new(Book::new());
    let mut reservation = reserve(&book, 10, 20);
    reservation.lost_attempt();

    let settlement = reservation.settle(Reported { input: Tokens(9), output: Tokens(1) });

    assert_eq!((settlement.by, settlement.lost, settlement.flagged()), (SettledBy::Reported, Tokens(30), true));
    assert_eq!((settlement.total(), book.totals().settled()), (Tokens(40), Tokens(40)));
}

#[test]
fn a_panic_on_the_way_still_settles() {
    let book = Arc::new(Book::new());
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
    let book = Arc::new(Book::new());
    let absurd = Reported { input: Tokens(u64::MAX), output: Tokens(u64::MAX) };

    let held = reserve(&book, u64::MAX, u64::MAX);
    reserve(&book, u64::MAX, u64::MAX).settle(absurd);

    assert_eq!(book.totals().reserved, Tokens::MOST + Tokens::MOST);
    assert_eq!(book.totals().settled_input, Tokens::MOST);
    held.not_sent();
    assert_eq!(book.totals().reserved, Tokens::ZERO);
}

#[test]
fn a_book_is_exact_under_many_threads() {
    let book = Arc::new(Book::new());

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    reserve(&book, 3, 4).settle(Reported { input: Tokens(1), output: Tokens(2) });
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
        requests in proptest::collection::vec((0..100_000_u64, 0..100_000_u64, 0..3_u32, end()), 0..40)
    ) {
        let book = Arc::new(Book::new());
        let mut expected = 0_u64;
        let mut held = Vec::new();
        for (input, output, lost, end) in requests {
            let mut reservation = reserve(&book, input, output);
            (0..lost).for_each(|_| reservation.lost_attempt());
            expected += u64::from(lost) * (input + output);
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
                    settled = settled + reservation.settle(Reported { input: Tokens(input), output: Tokens(output) }).total();
                }
                End::Unknown => settled = settled + reservation.settle_unknown().total(),
                End::NotSent => settled = settled + reservation.not_sent().total(),
                End::Dropped => drop(reservation),
            }
        }

        let totals = book.totals();
        prop_assert_eq!((totals.reserved, totals.open, totals.requests), (Tokens::ZERO, 0, count));
        prop_assert_eq!(totals.settled(), Tokens(expected));
        prop_assert!(settled <= totals.settled());
    }
}
