use std::sync::Arc;

use policy::{Candidate, Judge, Permit, Question, TargetId, decide};
use proptest::prelude::*;

use super::*;
use crate::ask::{Expected, Prefer};
use crate::plan::{Advice, Plan, route};

const TARGET: Duration = Duration::from_millis(1_500);

fn permit(targets: usize) -> Arc<Permit> {
    let candidates: Vec<Candidate> =
        (0..u32::try_from(targets).unwrap()).map(|id| Candidate::new(TargetId(id), format!("target-{id}/m"))).collect();
    decide(&Judge::of_grants(&candidates), &Question::about("claims", "chat", &candidates)).unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn own(first_ms: u64) -> Outlook {
    Outlook { first_token: Some(ms(first_ms)), typical: Some(ms(first_ms)), ..Outlook::of(Standing::Healthy) }
}

fn cloud(price: f64, p95_ms: u64) -> Outlook {
    Outlook { paid: Paid::PerToken, price: Some(price), ..own(p95_ms) }
}

fn short(outlook: Outlook, wait_ms: u64) -> Outlook {
    Outlook { quota: Left::Short { tokens: Some(Tokens(0)), wait: Some(ms(wait_ms)) }, ..outlook }
}

fn ask() -> Ask {
    let expected = Expected { prompt: Tokens(1_000), output: Tokens(200), at_most: Tokens(400) };
    Ask { expected, class: Class::Interactive, waited: Duration::ZERO, session: None, draw: u32::MAX }
}

fn batch(waited: Duration) -> Ask {
    Ask { class: Class::Batch, waited, ..ask() }
}

fn knobs() -> Knobs {
    Knobs { first_token: Some(TARGET), ..Knobs::default() }
}

fn plan_of(ask: &Ask, knobs: &Knobs, outlooks: &[Outlook]) -> Plan {
    let demand = Demand { ask, knobs, tightness: Tightness::NONE, now: Instant::now() };
    route(&permit(outlooks.len()), &demand, |target| outlooks[usize::try_from(target.0).unwrap()])
}

fn order(plan: Plan) -> Vec<u32> {
    plan.map(|warrant| warrant.target().0).collect()
}

#[test]
fn own_servers_that_are_in_time_come_before_a_cloud_that_is_sooner() {
    let plan = plan_of(&ask(), &knobs(), &[cloud(0.001, 300), own(1_400), own(900)]);

    assert_eq!(plan.advice(), Advice::Send);
    assert!(!plan.is_burst());
    let said = "own capacity: first token in 0.90 s, within 1.50 s; elsewhere it would cost $0.0010";
    assert_eq!(plan.reason().to_string(), said);
    assert_eq!(order(plan), [2, 1, 0]);
}

#[test]
fn what_own_servers_cannot_serve_in_time_goes_to_the_cheapest_cloud_that_can() {
    let outlooks = [own(1_900), cloud(0.0041, 800), cloud(0.0013, 900), cloud(0.0001, 2_000)];

    let plan = plan_of(&ask(), &knobs(), &outlooks);

    assert!(plan.is_burst());
    let said = "burst: own capacity takes 1.90 s, over 1.50 s; this costs $0.0013, the next $0.0041";
    assert_eq!(plan.reason().to_string(), said);
    assert_eq!(order(plan), [2, 1, 0, 3]);
}

#[test]
fn time_that_was_waited_is_gone_from_the_target() {
    let waited = Ask { waited: ms(700), ..ask() };

    assert_eq!(order(plan_of(&waited, &knobs(), &[own(900), cloud(0.001, 700)])), [1, 0]);
}

#[test]
fn a_tightened_target_binds_own_servers_and_not_clouds() {
    let (ask, knobs) = (ask(), knobs());
    let tightness = Tightness { first_token: 0.5, per_token: 1.0 };
    let demand = Demand { ask: &ask, knobs: &knobs, tightness, now: Instant::now() };
    let outlooks = [own(900), cloud(0.001, 1_400)];

    let plan = route(&permit(2), &demand, |target| outlooks[usize::try_from(target.0).unwrap()]);

    assert_eq!(order(plan), [1, 0]);
}

#[test]
fn a_server_whose_streams_crawl_is_passed_over() {
    let crawls = Outlook { per_token: Some(ms(140)), ..own(100) };

    let plan = plan_of(&ask(), &knobs(), &[crawls, cloud(0.001, 700)]);

    assert_eq!(plan.explain()[1].why, Why::SlowPace { per_token: ms(140), within: ms(100) });
    assert_eq!(order(plan), [1, 0]);
}

#[test]
fn without_a_first_token_target_own_servers_are_never_too_slow() {
    let plan = plan_of(&ask(), &Knobs::default(), &[cloud(0.001, 100), own(60_000)]);

    assert_eq!(order(plan), [1, 0]);
}

#[test]
fn provisioned_throughput_stands_between_own_servers_and_clouds_until_it_is_used_up() {
    let provisioned = Outlook { paid: Paid::Provisioned, ..own(700) };
    let used_up = Outlook { full: true, ..provisioned };

    assert_eq!(order(plan_of(&ask(), &knobs(), &[cloud(0.001, 500), provisioned, own(1_000)])), [2, 1, 0]);
    assert_eq!(order(plan_of(&ask(), &knobs(), &[cloud(0.001, 500), used_up, own(9_000)])), [0, 2, 1]);
}

#[test]
fn a_target_without_a_price_comes_after_all_that_have_one() {
    let unpriced = Outlook { paid: Paid::Unpriced, price: None, ..own(200) };

    let plan = plan_of(&ask(), &knobs(), &[unpriced, cloud(9.0, 900)]);

    assert_eq!(order(plan), [1, 0]);
}

#[test]
fn a_preference_for_latency_takes_the_soonest_whatever_it_costs() {
    let knobs = Knobs { prefer: Prefer::Latency, ..knobs() };

    assert_eq!(order(plan_of(&ask(), &knobs, &[own(900), cloud(9.0, 300), cloud(0.1, 600)])), [1, 2, 0]);
}

#[test]
fn burst_never_keeps_clouds_out_also_when_own_capacity_fails_and_means_nothing_without_any() {
    let knobs = Knobs { burst: Burst::Never, ..knobs() };
    let now = Instant::now();
    let ejected = Outlook::of(Standing::Ejected { since: now, until: now });

    let plan = plan_of(&ask(), &knobs, &[cloud(0.001, 500), own(9_000), ejected]);

    assert_eq!(plan.explain().last().map(|entry| entry.why), Some(Why::NoBurst));
    assert_eq!(order(plan), [1, 2]);
    assert_eq!(order(plan_of(&ask(), &knobs, &[cloud(0.001, 500)])), [0]);
}

#[test]
fn where_a_quota_is_back_in_time_it_is_worth_waiting_and_where_it_is_not_the_least_bad_serves() {
    let own_late = own(4_000);

    let waits = plan_of(&ask(), &knobs(), &[own_late, short(cloud(0.001, 500), 600)]).advice();
    let sends = plan_of(&ask(), &knobs(), &[own_late, short(cloud(0.001, 500), 1_200)]);

    assert_eq!(waits, Advice::Wait { at_most: ms(600) });
    assert_eq!(sends.advice(), Advice::LeastBad);
    assert_eq!(sends.reason().to_string(), "the least bad: first token in 4.00 s, over 1.50 s");
    assert_eq!(order(sends), [0, 1]);
}

#[test]
fn where_all_are_full_a_request_waits_as_long_as_its_target_allows() {
    let full = Outlook { full: true, ..own(100) };
    let waited = Ask { waited: ms(400), ..ask() };

    assert_eq!(plan_of(&waited, &knobs(), &[full, full]).advice(), Advice::Wait { at_most: ms(1_100) });
    let late = Ask { waited: ms(2_000), ..ask() };
    assert_eq!(plan_of(&late, &knobs(), &[full, full]).advice(), Advice::LeastBad);
}

#[test]
fn a_batch_request_takes_slack_and_waits_for_it_and_goes_out_at_ninety_percent_of_its_deadline() {
    let knobs = Knobs { deadline: Some(Duration::from_secs(100)), ..knobs() };
    let (busy, idle, paid) = (own(900), own(400), cloud(0.001, 500));
    let at = |seconds| batch(Duration::from_secs(seconds));

    let waits = plan_of(&at(30), &knobs, &[busy, paid]).advice();
    let slack = plan_of(&at(30), &knobs, &[idle, paid]).advice();
    let last_call = plan_of(&at(91), &knobs, &[own(9_000), paid]);

    assert_eq!(waits, Advice::Wait { at_most: Duration::from_secs(60) });
    assert_eq!(slack, Advice::Send);
    assert_eq!((last_call.advice(), order(last_call)), (Advice::Send, vec![1, 0]));
}

#[test]
fn a_batch_request_waits_for_nothing_where_no_own_capacity_is_permitted() {
    let knobs = Knobs { deadline: Some(Duration::from_secs(100)), ..knobs() };
    let (cheap, dear, late) = (cloud(0.001, 500), cloud(0.002, 400), cloud(0.001, 9_000));

    let plan = plan_of(&batch(Duration::ZERO), &knobs, &[dear, cheap]);

    assert_eq!((plan.advice(), order(plan)), (Advice::Send, vec![1, 0]));
    assert_eq!(plan_of(&batch(Duration::ZERO), &knobs, &[late]).advice(), Advice::LeastBad);
}

#[test]
fn a_share_is_its_percent_of_the_draws_and_the_others_pass_it_over() {
    let canary = own(100).with_share(Some(5));
    let outlooks = [own(1_000), canary];

    let count = (0..1_000_u32)
        .filter(|step| {
            let ask = Ask { draw: step * (u32::MAX / 1_000), ..ask() };
            order(plan_of(&ask, &knobs(), &outlooks))[0] == 1
        })
        .count();

    assert!((45..=55).contains(&count), "{count} of 1000");
}

#[test]
fn a_session_stays_at_home_until_another_server_is_clearly_sooner() {
    let home = |first| Outlook { home: true, ..own(first) };

    assert_eq!(order(plan_of(&ask(), &knobs(), &[own(300), home(360)])), [1, 0]);
    assert_eq!(order(plan_of(&ask(), &knobs(), &[own(300), home(400)])), [0, 1]);
}

#[test]
fn a_home_is_named_with_what_is_cached_there() {
    let home = |cached, first| Outlook { home: true, cached: Tokens(cached), ..own(first) };
    let said = |outlook| plan_of(&ask(), &knobs(), &[outlook]).explain()[0].why.to_string();

    assert_eq!(said(home(0, 300)), "first token in 0.30 s, within 1.50 s; the session's home");
    assert_eq!(
        said(home(900, 100)),
        "first token in 0.10 s, within 1.50 s; the session's home, with about 900 tokens of its prompt cached"
    );
}

#[test]
fn every_candidate_says_why_it_is_where_it_is() {
    let outlooks = [own(1_900), short(cloud(0.004, 500), 2_000), Outlook { full: true, ..own(1) }, cloud(0.001, 900)];

    let plan = plan_of(&ask(), &knobs(), &outlooks);

    let said: Vec<String> = plan.explain().iter().map(|entry| format!("{} {}", entry.target, entry.why)).collect();
    assert_eq!(
        said,
        [
            "#3 $0.0010, first token in 0.90 s (p95)",
            "#0 first token in 1.90 s, over 1.50 s",
            "#2 it serves as many requests as it may",
            "#1 its quota does not suffice, 0 tokens left, enough in 2.00 s",
        ]
    );
}

fn written(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    write(&mut text).expect("a string takes everything");
    text
}

fn any_outlook() -> impl Strategy<Value = Outlook> {
    (
        0..5_u8,
        0..3_u8,
        proptest::option::of(0..4_000_u64),
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(0..101_u8),
    )
        .prop_map(|(standing, paid, first, full, dry, share)| {
            let now = Instant::now();
            let standing = match standing {
                0 => Standing::Blocked { until: now },
                1 => Standing::Ejected { since: now, until: now },
                2 => Standing::HalfOpen,
                _ => Standing::Healthy,
            };
            let paid = match paid {
                0 => Paid::Sunk,
                1 => Paid::Unpriced,
                _ => Paid::PerToken,
            };
            let quota = if dry { Left::Short { tokens: None, wait: None } } else { Left::Unknown };
            Outlook { paid, first_token: first.map(ms), full, quota, share, ..Outlook::of(standing) }
        })
}

proptest! {
    #[test]
    fn whatever_the_signals_say_a_plan_tries_exactly_the_permitted_targets(
        outlooks in proptest::collection::vec(any_outlook(), 1..12),
        draw: u32,
        is_batch: bool,
    ) {
        let ask = Ask { draw, class: if is_batch { Class::Batch } else { Class::Interactive }, ..ask() };
        let plan = plan_of(&ask, &knobs(), &outlooks);
        let permitted = plan.permit().targets().to_vec();

        let mut tried: Vec<TargetId> = plan.map(|warrant| warrant.target()).collect();

        tried.sort();
        prop_assert_eq!(tried, permitted);
    }

    #[test]
    fn a_healthy_target_that_would_do_is_never_behind_one_that_would_not(
        outlooks in proptest::collection::vec(any_outlook(), 1..12),
    ) {
        let plan = plan_of(&ask(), &knobs(), &outlooks);

        let would_do: Vec<bool> = plan.explain().iter().map(|entry| matches!(
            entry.why,
            Why::Declared | Why::InTime { .. } | Why::Affordable { .. } | Why::Share { .. } | Why::Probe | Why::Spared
        )).collect();
        prop_assert!(would_do.is_sorted_by_key(|fits| !fits), "{:?}", plan.explain());
    }
}

proptest! {
    #[test]
    fn prices_and_times_are_written_as_the_formatter_writes_them(
        price in prop_oneof![0.0..2.0_f64, 0.0..0.002_f64, any::<f64>()], halves in 0_u32..20_000, nanos: u64,
    ) {
        // Exact halves of the last place and their neighbours, where rounding is decided in the last bits.
        let half = (f64::from(halves) + 0.5) / 10_000.0;
        for price in [price, -0.0, half, half.next_up(), half.next_down(), f64::from(halves) / 10_000.0] {
            let expected = if price >= 1.0 { format!("${price:.2}") } else { format!("${price:.4}") };
            prop_assert_eq!(written(|out| write_price(out, "", price)), expected);
        }
        for nanos in [nanos, nanos % 100_000_000_000, u64::from(halves) * 5_000_000] {
            let hundredths = (u128::from(nanos) + 4_999_999) / 10_000_000;
            let expected = format!("{}.{:02} s", hundredths / 100, hundredths % 100);
            prop_assert_eq!(written(|out| write_time(out, "", Duration::from_nanos(nanos))), expected);
        }
    }
}

#[test]
fn the_longest_time_is_written_whole() {
    assert_eq!(written(|out| write_time(out, "", Duration::MAX)), "18446744073709551616.00 s");
    assert_eq!(written(|out| write_time(out, "", Duration::from_secs(u64::MAX / 100))), "184467440737095516.00 s");
}
