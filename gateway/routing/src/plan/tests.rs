use std::time::Duration;

use policy::{Candidate, Judge, Question, decide};
use proptest::prelude::*;

use super::*;

fn permit(targets: u32) -> Arc<Permit> {
    let candidates: Vec<Candidate> =
        (0..targets).map(|id| Candidate::new(TargetId(id), format!("gpu-{id}/llama"))).collect();
    decide(&Judge::of_grants(&candidates), &Question::about("claims", "chat", &candidates)).unwrap()
}

/// A plan over targets 0, 1, 2, … with these standings.
fn plan_of(standings: &[Standing]) -> Plan {
    let permit = permit(u32::try_from(standings.len()).unwrap());
    plan(&permit, |target| standings[usize::try_from(target.0).unwrap()])
}

fn order(plan: Plan) -> Vec<u32> {
    plan.map(|warrant| warrant.target().0).collect()
}

fn whys(plan: &Plan) -> Vec<Why> {
    plan.explain().iter().map(|ranked| ranked.why).collect()
}

fn at(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn ejected(start: Instant, since: u64) -> Standing {
    Standing::Ejected { since: at(start, since), until: at(start, since + 30) }
}

#[test]
fn healthy_targets_keep_the_declared_order() {
    assert_eq!(order(plan_of(&[Standing::Healthy; 4])), [0, 1, 2, 3]);
}

#[test]
fn blocked_targets_come_after_healthy_ones_and_ejected_ones_last() {
    let now = Instant::now();
    let standings = [
        ejected(now, 0),
        Standing::Blocked { until: at(now, 9) },
        Standing::Blocked { until: at(now, 3) },
        Standing::Healthy,
        Standing::Healthy,
    ];

    let plan = plan_of(&standings);

    assert_eq!(whys(&plan), [Why::Declared, Why::Declared, Why::Blocked, Why::Blocked, Why::Ejected]);
    assert_eq!(order(plan), [3, 4, 2, 1, 0]);
}

#[test]
fn a_half_open_target_keeps_its_declared_place_for_the_request_that_takes_its_probe() {
    let mut plan = plan_of(&[Standing::HalfOpen, Standing::Healthy]);

    let first = plan.next_probing(|_| true).unwrap();

    assert_eq!(first.target(), TargetId(0));
}

#[test]
fn a_half_open_target_moves_to_the_end_for_every_other_request() {
    let mut plan = plan_of(&[Standing::HalfOpen, Standing::Healthy, Standing::Healthy]);
    let mut asked = 0;
    let mut refuse = |_| {
        asked += 1;
        false
    };

    let order: Vec<u32> = std::iter::from_fn(|| plan.next_probing(&mut refuse)).map(|w| w.target().0).collect();

    assert_eq!((order, asked), (vec![1, 2, 0], 1));
    let last = plan.explain()[2];
    assert_eq!((last.why, last.place), (Why::ProbeTaken, 3));
}

#[test]
fn a_target_whose_probe_is_on_its_way_is_last() {
    let now = Instant::now();

    let plan = plan_of(&[Standing::Probing { since: now }, Standing::Healthy]);

    assert_eq!(order(plan), [1, 0]);
}

#[test]
fn when_more_than_half_are_ejected_those_ejected_longest_ago_count_as_healthy_again() {
    let now = Instant::now();
    let standings = [ejected(now, 5), ejected(now, 1), ejected(now, 9), Standing::Healthy];

    let plan = plan_of(&standings);

    assert_eq!(whys(&plan), [Why::Spared, Why::Declared, Why::Ejected, Why::Ejected]);
    assert_eq!(order(plan), [1, 3, 0, 2]);
}

#[test]
fn a_single_target_is_never_ejected() {
    let plan = plan_of(&[ejected(Instant::now(), 0)]);

    assert_eq!(whys(&plan), [Why::Spared]);
    assert_eq!(order(plan), [0]);
}

#[test]
fn targets_ejected_at_the_same_moment_are_spared_in_declared_order() {
    let now = Instant::now();
    let plan = plan_of(&[ejected(now, 0), ejected(now, 0), ejected(now, 0)]);

    assert_eq!(whys(&plan), [Why::Spared, Why::Spared, Why::Ejected]);
    assert_eq!(order(plan), [0, 1, 2]);
}

#[test]
fn a_target_is_tried_again_only_after_its_first_attempt_and_only_once() {
    let mut plan = plan_of(&[Standing::Healthy, Standing::Healthy]);

    assert!(plan.again(TargetId(0)).is_none(), "not before its first attempt");
    plan.next();

    assert_eq!(plan.again(TargetId(0)).map(|warrant| warrant.target()), Some(TargetId(0)));
    assert!(plan.again(TargetId(0)).is_none(), "not twice");
    assert!(plan.again(TargetId(1)).is_none(), "not one that was not tried");
    assert!(plan.again(TargetId(7)).is_none(), "not one that is not permitted");
}

#[test]
fn the_explanation_names_every_target_with_place_and_reason() {
    let now = Instant::now();
    let blocked = Standing::Blocked { until: now };

    let plan = plan_of(&[blocked, Standing::Healthy]);

    let expected = [(TargetId(1), Standing::Healthy, 1, Why::Declared), (TargetId(0), blocked, 2, Why::Blocked)];
    let explained: Vec<_> =
        plan.explain().iter().map(|entry| (entry.target, entry.outlook.standing, entry.place, entry.why)).collect();
    assert_eq!(explained, expected);
    assert_eq!(plan.explain()[1].why.to_string(), "blocked after a 429");
}

fn standings() -> impl Strategy<Value = Vec<(u8, u64)>> {
    proptest::collection::vec((0..5_u8, 0..300_u64), 1..12)
}

fn standing(kind: u8, seconds: u64, start: Instant) -> Standing {
    match kind {
        0 => Standing::Healthy,
        1 => Standing::HalfOpen,
        2 => Standing::Blocked { until: at(start, seconds) },
        3 => ejected(start, seconds),
        _ => Standing::Probing { since: at(start, seconds) },
    }
}

proptest! {
    #[test]
    fn a_plan_tries_every_permitted_target_once_and_no_other_whoever_takes_the_probes(
        kinds in standings(),
        probes in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let start = Instant::now();
        let standings: Vec<Standing> = kinds.iter().map(|(kind, seconds)| standing(*kind, *seconds, start)).collect();
        let mut plan = plan_of(&standings);
        let mut answers = probes.into_iter().cycle();

        let mut tried: Vec<TargetId> =
            std::iter::from_fn(|| plan.next_probing(|_| answers.next() == Some(true))).map(|w| w.target()).collect();

        tried.sort();
        let permitted = plan.permit().targets().to_vec();
        prop_assert_eq!(tried, permitted);
    }

    #[test]
    fn never_more_than_half_are_ejected_and_only_those_above_half_are_spared(kinds in standings()) {
        let start = Instant::now();
        let standings: Vec<Standing> = kinds.iter().map(|(kind, seconds)| standing(*kind, *seconds, start)).collect();

        let plan = plan_of(&standings);

        let count = |wanted: fn(Why) -> bool| plan.explain().iter().filter(|ranked| wanted(ranked.why)).count();
        let out = count(|why| matches!(why, Why::Ejected | Why::Probing));
        let spared = count(|why| why == Why::Spared);
        prop_assert!(out <= standings.len() / 2);
        prop_assert!(spared == 0 || out == standings.len() / 2);
    }

    #[test]
    fn nothing_that_failed_stands_before_something_that_did_not(kinds in standings()) {
        let start = Instant::now();
        let standings: Vec<Standing> = kinds.iter().map(|(kind, seconds)| standing(*kind, *seconds, start)).collect();

        let plan = plan_of(&standings);

        let group = |why: Why| match why {
            Why::Blocked => 1,
            Why::Ejected | Why::Probing | Why::ProbeTaken => 2,
            _ => 0,
        };
        let groups: Vec<u8> = whys(&plan).into_iter().map(group).collect();
        prop_assert!(groups.is_sorted());
        let first: Vec<TargetId> =
            plan.explain().iter().filter(|ranked| group(ranked.why) == 0).map(|ranked| ranked.target).collect();
        prop_assert!(first.is_sorted(), "the declared order is kept among them");
        let places: Vec<usize> = plan.explain().iter().map(|ranked| ranked.place).collect();
        prop_assert_eq!(places, (1..=standings.len()).collect::<Vec<_>>());
    }
}

#[test]
fn what_stands_behind_is_tried_when_all_before_it_was_and_under_its_own_permit() {
    let others: Vec<Candidate> = (7..9).map(|id| Candidate::new(TargetId(id), format!("small-{id}/llama"))).collect();
    let question = Question::about("claims", "chat-small", &others);
    let other = plan(&decide(&Judge::of_grants(&others), &question).unwrap(), |_| Standing::Healthy);
    let mut whole = plan_of(&[Standing::Healthy; 2]).followed_by(other);

    assert_eq!(whole.explain().len(), 2, "the plan of the model itself stays what it was");
    assert_eq!(whole.parts().map(|part| part.explain().len()).collect::<Vec<_>>(), [2, 2]);
    assert!(whole.again(TargetId(7)).is_none(), "nothing is repeated that was not tried");
    let tried: Vec<u32> = whole.by_ref().map(|warrant| warrant.target().0).collect();
    assert_eq!(tried, [0, 1, 7, 8]);
    assert_eq!(whole.again(TargetId(7)).map(|warrant| warrant.target()), Some(TargetId(7)));
    assert!(whole.again(TargetId(7)).is_none());
}

#[test]
fn whoever_is_turned_away_is_told_when_the_first_target_has_room_as_far_as_is_known() {
    let now = Instant::now();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let healthy = Outlook::of(Standing::Healthy);
    let blocked = |seconds| Outlook::of(Standing::Blocked { until: at(now, seconds) });
    let short = |wait| Outlook { quota: Left::Short { tokens: None, wait }, ..healthy };
    let full = |first_token| Outlook { full: true, first_token, ..healthy };
    let table = [
        ("its quota suffices before the other is unblocked", vec![blocked(9), short(seconds(4))], seconds(4)),
        ("it is unblocked before the other's quota suffices", vec![blocked(3), short(seconds(4))], seconds(3)),
        ("both must be over", vec![Outlook { quota: short(seconds(4)).quota, ..blocked(9) }], seconds(9)),
        ("its queue is read by then", vec![full(seconds(2)), blocked(9)], seconds(2)),
        ("nobody knows of the full one", vec![full(None), blocked(9)], seconds(9)),
        ("an ejected one is tried again then", vec![Outlook::of(ejected(now, 0))], seconds(30)),
        ("nobody can tell", vec![full(None), short(None)], None),
    ];

    for (case, outlooks, expected) in table {
        let permit = permit(u32::try_from(outlooks.len()).unwrap());
        let plan = arrange(&permit, None, |target| outlooks[usize::try_from(target.0).unwrap()]);

        assert_eq!(plan.free_in(now), expected, "{case}");
    }
}
