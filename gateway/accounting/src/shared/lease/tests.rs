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

    let asked =
        Question::Level { month: None, limit: 3, used: 0, kept: 0, spent: 0, holds: 0, least: 1, need: 1, want: 1 };
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

    let asked = |used, need, want| Question::Level {
        month: None,
        limit: 3_200,
        used,
        kept: 0,
        spent: 0,
        holds: used,
        least: need,
        need,
        want,
    };
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

/// What is let in while a question is on its way, of these amounts.
fn let_in_meanwhile(lease: &mut Lease, used: &mut u64, amounts: &[u64], now: Instant) -> u64 {
    let before = *used;
    for amount in amounts {
        if lease.fits(*used, *amount, now).0.is_ok() {
            *used += amount;
        }
    }
    *used - before
}

/// A lease of which so much is used, under this ceiling.
fn leased(used: u64, ceiling: u64, now: Instant) -> Lease {
    let mut lease = Lease::default();
    let asked = Wanted { holds: 0, least: ceiling, need: ceiling, want: ceiling };
    lease.learn((0, asked), Some(Answer::Level { ceiling, others: 0, spent: 0 }), now);
    lease.fits(0, used, now).0.expect("it is leased");
    lease
}

#[test]
fn while_a_question_is_on_its_way_nothing_is_let_in_beyond_what_it_says_is_held() {
    let now = Instant::now();
    for (short, wanted) in [
        // Ahead of need, and nobody waits.
        (0, Wanted { holds: 120, least: 100, need: 100, want: 131 }),
        // Too little for who waits: it is left to the others.
        (40, Wanted { holds: 100, least: 140, need: 140, want: 171 }),
    ] {
        let (mut lease, mut used) = (leased(100, 120, now), 100);
        let later = now + RESTS;
        if short > 0 {
            lease.fits(used, short, later).0.expect_err("it is more than lies here");
        }

        let asked = lease.wanted(used, 1_000, later).expect("it was long ago");
        let meanwhile = let_in_meanwhile(&mut lease, &mut used, &[15, 5, 1], later);

        assert_eq!(asked, wanted);
        assert_eq!(meanwhile, asked.holds - 100);
    }
}

#[test]
fn what_is_over_is_not_said_to_be_held() {
    let now = Instant::now();
    let mut lease = leased(100, 120, now);

    let asked = lease.wanted(90, 1_000, now + GOOD_FOR).expect("its time is over");

    assert_eq!(asked, Wanted { holds: 90, least: 90, need: 90, want: 90 });
}

#[test]
fn a_refusal_is_believed_of_what_is_as_much_and_not_of_what_is_less() {
    let now = Instant::now();
    let mut lease = leased(100, 100, now);
    lease.fits(100, 40, now).0.expect_err("nothing is left");
    let asked = lease.wanted(100, 1_000, now + RESTS).expect("somebody waits");
    lease.learn((100, asked), Some(Answer::Level { ceiling: 100, others: 870, spent: 0 }), now);

    let refused = Err(Short::Refused { retry_after: WHEN_HELD });
    assert_eq!([lease.fits(100, 40, now).0, lease.fits(100, 50, now).0], [refused; 2]);
    assert_eq!(lease.fits(100, 39, now).0, Err(Short::Unleased));
    assert_eq!(lease.fits(90, 40, now).0, Err(Short::Unleased), "something was given back here");
    assert_eq!(lease.fits(100, 40, now + BELIEVED).0, Err(Short::Unleased));
}
