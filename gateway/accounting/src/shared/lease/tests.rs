use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

fn answer(seats: &Seats, ceiling: u64, now: Instant) -> Question {
    let question = seats.questions(now).pop().expect("there is something to ask");
    seats.learn(&question, Some(Answer::Level { ceiling, others: 0, spent: 0 }), now);
    question
}

#[test]
fn a_seat_is_taken_only_below_the_ceiling_and_only_while_it_is_good() {
    let (seats, now) = (Seats::new(3), Instant::now());
    assert_eq!(seats.enter(now), Err(Short::Unleased));

    let question = answer(&seats, 1, now);

    let asked = Question::Level { month: None, limit: 3, used: 0, kept: 0, spent: 0, need: 1, want: 1 };
    assert_eq!(question, asked);
    assert_eq!((seats.enter(now), seats.enter(now)), (Ok(()), Err(Short::Unleased)));
    seats.leave();
    assert_eq!(seats.enter(now + GOOD_FOR), Err(Short::Unleased));
}

#[test]
fn a_refusal_holds_for_a_moment() {
    let (seats, now) = (Seats::new(3), Instant::now());
    seats.enter(now).expect_err("nothing is leased yet");
    answer(&seats, 0, now);

    assert_eq!(seats.enter(now), Err(Short::Refused { retry_after: WHEN_HELD }));
    assert_eq!(seats.enter(now + BELIEVED), Err(Short::Unleased));
}

#[test]
fn what_is_not_wanted_any_more_cannot_be_used_while_the_store_is_told() {
    let (seats, now) = (Seats::new(640), Instant::now());
    for _ in 0..8 {
        seats.enter(now).expect_err("nothing is leased yet");
    }
    answer(&seats, 8, now);

    let given_up = seats.questions(now + Duration::from_millis(500));

    assert!(matches!(given_up[..], [Question::Level { used: 0, want: 0, .. }]), "{given_up:?}");
    assert_eq!(seats.enter(now), Err(Short::Unleased));
}

/// Seats of which there are many, after so many came and were let in by what was taken ahead; and what was asked last.
fn pressed(times: u64, now: Instant) -> (Seats, Question) {
    let seats = Seats::new(3_200);
    seats.enter(now).expect_err("nothing is leased yet");
    answer(&seats, times, now);
    for _ in 0..times {
        seats.enter(now).expect("it is leased");
    }
    seats.enter(now).expect_err("no more was leased");
    let question = seats.questions(now).pop().expect("somebody waits");
    (seats, question)
}

#[test]
fn what_is_held_ahead_of_need_does_not_shrink_because_the_store_is_asked_twice_in_a_row() {
    let now = Instant::now();
    let (seats, first) = pressed(40, now);
    seats.learn(&first, Some(Answer::Level { ceiling: 41, others: 0, spent: 0 }), now);
    seats.enter(now).expect("it is leased");
    seats.enter(now).expect_err("no more was leased");

    let second = seats.questions(now).pop();

    let asked = |used, need, want| Question::Level { month: None, limit: 3_200, used, kept: 0, spent: 0, need, want };
    assert_eq!((first, second), (asked(40, 41, 121), Some(asked(41, 42, 124))));
}

#[test]
fn whoever_rang_while_the_store_was_asked_finds_what_it_gave_and_it_is_not_asked_again_at_once() {
    let now = Instant::now();
    let (seats, question) = pressed(40, now);
    for _ in 0..8 {
        seats.enter(now).expect_err("the answer is on its way");
    }
    seats.learn(&question, Some(Answer::Level { ceiling: 121, others: 0, spent: 0 }), now);

    assert_eq!(seats.questions(now), []);
    assert_eq!(seats.enter(now), Ok(()));
    assert!(matches!(seats.questions(now + RESTS)[..], [Question::Level { used: 41, need: 41, .. }]));
    seats.tell_again();
    assert!(matches!(seats.questions(now)[..], [Question::Level { used: 41, .. }]), "the store has forgotten");
}

#[test]
fn the_store_is_asked_once_before_nothing_is_left_and_only_where_it_has_enough() {
    let now = Instant::now();
    for (ceiling, rings) in [(121, 1), (120, 0)] {
        let (seats, question) = pressed(40, now);
        let rung = Arc::new(AtomicU64::new(0));
        let bell = Arc::clone(&rung);
        seats.ring_by(Box::new(move || {
            bell.fetch_add(1, Ordering::Relaxed);
        }));
        seats.learn(&question, Some(Answer::Level { ceiling, others: 0, spent: 0 }), now);

        let let_in = (0..80).filter(|_| seats.enter(now).is_ok()).count();

        assert_eq!((let_in, rung.load(Ordering::Relaxed)), (80, rings));
    }
}

#[test]
fn without_a_limit_seats_are_counted_and_nobody_is_asked() {
    let (seats, now) = (Seats::default(), Instant::now());

    assert_eq!(seats.enter(now), Ok(()));
    assert_eq!((seats.questions(now), seats.is_busy()), (Vec::new(), false));
}
