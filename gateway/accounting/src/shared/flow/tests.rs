use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn take(flow: &Flow, units: u64, now: Instant) -> Result<u64, Short> {
    flow.take(units, now).map(|taken| taken.units)
}

fn asked(flow: &Flow, now: Instant) -> Question {
    flow.questions(now).pop().expect("there is something to ask")
}

fn answered(flow: &Flow, granted: u64, now: Instant) -> Question {
    let question = asked(flow, now);
    flow.learn(&question, Some(Answer::Flow { granted, left: 0, wait: Duration::from_secs(5) }), now);
    question
}

#[test]
fn nothing_is_let_in_that_was_not_taken_from_the_store() {
    let (flow, now) = (Flow::new(640, MINUTE), Instant::now());

    assert_eq!(take(&flow, 3, now), Err(Short::Unleased));
    let question = answered(&flow, 3, now);

    assert_eq!(question, Question::Flow { limit: 640, period: MINUTE, owed: 0, least: 3, most: 3 });
    assert_eq!((take(&flow, 3, now), take(&flow, 1, now)), (Ok(3), Err(Short::Unleased)));
}

#[test]
fn the_more_is_used_the_more_is_taken_ahead_up_to_a_thirty_second() {
    let (flow, now) = (Flow::new(640, MINUTE), Instant::now());
    take(&flow, 15, now).expect_err("nothing is here yet");
    answered(&flow, 15, now);
    take(&flow, 15, now).expect("it was taken");

    let Question::Flow { most, .. } = asked(&flow, now) else { unreachable!("a flow asks for a flow") };

    assert_eq!(most, 20);
}

#[test]
fn what_is_taken_ahead_does_not_shrink_because_the_store_is_asked_twice_in_a_row() {
    let (flow, now) = (Flow::new(6_400, MINUTE), Instant::now());
    take(&flow, 40, now).expect_err("nothing is here yet");
    answered(&flow, 40, now);
    take(&flow, 40, now).expect("it was taken");

    let most = || {
        take(&flow, 1, now).expect_err("nothing is left");
        let Question::Flow { most, .. } = answered(&flow, 1, now) else { unreachable!("a flow asks for a flow") };
        take(&flow, 1, now).expect("it was taken");
        most
    };

    assert_eq!([most(), most()], [81, 83]);
}

#[test]
fn whoever_rang_while_the_store_was_asked_finds_what_it_gave_and_it_is_not_asked_again_at_once() {
    let (flow, now) = (Flow::new(6_400, MINUTE), Instant::now());
    take(&flow, 40, now).expect_err("nothing is here yet");
    answered(&flow, 40, now);
    take(&flow, 40, now).expect("it was taken");
    take(&flow, 1, now).expect_err("nothing is left");
    let question = asked(&flow, now);
    take(&flow, 8, now).expect_err("the answer is on its way");
    flow.learn(&question, Some(Answer::Flow { granted: 81, left: 6_000, wait: Duration::ZERO }), now);

    assert_eq!(flow.questions(now), []);
    assert_eq!((take(&flow, 1, now), take(&flow, 8, now)), (Ok(1), Ok(8)));
}

#[test]
fn units_in_use_are_asked_for_again_before_their_time_is_over_and_those_in_no_use_are_given_back() {
    let (flow, now) = (Flow::new(6_400, MINUTE), Instant::now());
    take(&flow, 100, now).expect_err("nothing is here yet");
    answered(&flow, 100, now);
    let later = now + LIES_FOR - RENEWED / 2;
    take(&flow, 1, later).expect("they are good still");

    let renewed = flow.questions(later);
    let given_back = flow.questions(later + RENEWED / 2);

    assert!(matches!(renewed[..], [Question::Flow { owed: 0, most: 0, .. }]), "{renewed:?}");
    assert!(matches!(given_back[..], [Question::Flow { owed: -99, most: 0, .. }]), "{given_back:?}");
}

#[test]
fn what_lies_unused_is_given_back() {
    let (flow, now) = (Flow::new(640, MINUTE), Instant::now());
    take(&flow, 9, now).expect_err("nothing is here yet");
    answered(&flow, 9, now);

    let Question::Flow { owed, most, .. } = asked(&flow, now) else { unreachable!("a flow asks for a flow") };

    assert_eq!((owed, most, flow.is_busy()), (-9, 0, false));
    assert_eq!(take(&flow, 1, now), Err(Short::Unleased));
}

#[test]
fn units_that_lay_here_for_too_long_are_not_used() {
    let (flow, now) = (Flow::new(640, MINUTE), Instant::now());
    take(&flow, 9, now).expect_err("nothing is here yet");
    answered(&flow, 9, now);

    assert_eq!(take(&flow, 1, now + LIES_FOR), Err(Short::Unleased));
}

#[test]
fn what_was_used_beyond_is_owed_until_the_store_was_told() {
    let (flow, now) = (Flow::new(640, MINUTE), Instant::now());
    take(&flow, 10, now).expect_err("nothing is here yet");
    answered(&flow, 10, now);
    take(&flow, 10, now).expect("it was taken");
    flow.settle(Taken::of(10), 50, 0);

    let question = asked(&flow, now);
    flow.learn(&question, None, now);
    let again = asked(&flow, now);

    for question in [question, again] {
        assert!(matches!(question, Question::Flow { owed: 40, .. }), "{question:?}");
    }
}

#[test]
fn a_refusal_is_believed_for_a_moment_and_says_when_it_will_fit() {
    let (flow, now) = (Flow::new(60, MINUTE), Instant::now());
    take(&flow, 2, now).expect_err("nothing is here yet");
    answered(&flow, 0, now);

    let refused = |units| take(&flow, units, now);

    assert_eq!(refused(2), Err(Short::Refused { retry_after: Duration::from_secs(5) }));
    assert_eq!(refused(4), Err(Short::Refused { retry_after: Duration::from_secs(7) }));
    assert_eq!(refused(1), Err(Short::Unleased));
    assert_eq!(take(&flow, 2, now + BELIEVED), Err(Short::Unleased));
}

#[test]
fn a_request_larger_than_the_limit_takes_all_of_it() {
    let (flow, now) = (Flow::new(100, MINUTE), Instant::now());
    take(&flow, 5_000, now).expect_err("nothing is here yet");
    let question = answered(&flow, 100, now);

    assert!(matches!(question, Question::Flow { least: 100, most: 100, .. }), "{question:?}");
    assert_eq!(take(&flow, 5_000, now), Ok(100));
}

#[test]
fn a_lower_limit_makes_what_is_owed_less_and_a_higher_one_makes_what_lies_here_no_more() {
    let (flow, now) = (Flow::new(6_400, MINUTE), Instant::now());
    take(&flow, 100, now).expect_err("nothing is here yet");
    answered(&flow, 100, now);
    flow.set(Some(640_000), MINUTE);
    take(&flow, 101, now).expect_err("no more than was given lies here");
    take(&flow, 100, now).expect("it was given");
    flow.settle(Taken::of(100), 320_100, 0);

    flow.set(Some(640), MINUTE);

    let question = asked(&flow, now);
    assert!(matches!(question, Question::Flow { limit: 640, owed: 320, .. }), "{question:?}");
}
