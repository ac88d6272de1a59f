use super::*;
use crate::ask::{Expected, Prefix};

const HERE: TargetId = TargetId(0);

fn ask(prompt: u64) -> Ask {
    Ask {
        expected: Expected { prompt: Tokens(prompt), output: Tokens(100), at_most: Tokens(200) },
        class: Class::Interactive,
        waited: Duration::ZERO,
        session: None,
        draw: 0,
    }
}

fn with_prefix(prompt: u64, tokens: u64) -> Ask {
    Ask { session: Some(Prefix { target: HERE, tokens: Tokens(tokens) }), ..ask(prompt) }
}

fn outlook(signals: &Signals, ask: &Ask, now: Instant) -> Outlook {
    signals.outlook(ask, HERE, Standing::Healthy, now)
}

fn ms(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn a_cloud_is_full_of_unknowns_until_it_has_answered_once() {
    let start = Instant::now();
    let prices = Prices::flat(0.000_001, 0.000_002);
    let mut cloud = Signals::new(Terms::of(Tier::PerToken(prices)), start);

    let before = outlook(&cloud, &ask(1_000), start);
    let mut sent = cloud.on_send(&ask(1_000), HERE, start);
    cloud.on_first_byte(&mut sent, ms(start, 400));
    let after = outlook(&cloud, &ask(1_000), ms(start, 400));

    assert_eq!((before.first_token, before.quota, before.full), (None, Left::Unknown, false));
    assert!(before.price.is_some_and(|price| (price - 0.0012).abs() < 1e-12));
    assert_eq!(after.typical.map(|time| time.as_millis()), Some(400));
    assert!(after.first_token > after.typical);
    cloud.on_end(sent, None, ms(start, 900));
    assert_eq!(cloud.in_flight(), 0);
}

#[test]
fn what_an_answer_used_replaces_what_was_taken_from_the_quota_for_it() {
    let start = Instant::now();
    let terms = Terms { tokens_per_minute: Some(60_000), ..Terms::of(Tier::Unpriced) };
    let mut cloud = Signals::new(terms, start);

    let sent = cloud.on_send(&ask(4_000), HERE, start);
    let meanwhile = outlook(&cloud, &ask(10), start).quota;
    let used = Used { input: Tokens(4_000), cached: Tokens(0), output: Tokens(500) };
    cloud.on_end(sent, Some(used), start);

    assert_eq!(meanwhile, Left::Enough(Tokens(5_900)));
    assert_eq!(outlook(&cloud, &ask(10), start).quota, Left::Enough(Tokens(5_500)));
}

#[test]
fn a_429_empties_the_quota_and_says_when_it_is_back() {
    let start = Instant::now();
    let terms = Terms { tokens_per_minute: Some(60_000), ..Terms::of(Tier::Unpriced) };
    let mut cloud = Signals::new(terms, start);

    let sent = cloud.on_send(&ask(100), HERE, start);
    cloud.on_refused(sent, start);

    let expected = Left::Short { tokens: Some(Tokens(0)), wait: Some(Duration::from_secs(1)) };
    assert_eq!(outlook(&cloud, &ask(900), start).quota, expected);
    assert_eq!(cloud.in_flight(), 0);
}

#[test]
fn a_server_with_a_bound_on_its_requests_is_full_at_it() {
    let start = Instant::now();
    let mut server = Signals::new(Terms { in_flight: Some(2), ..Terms::of(Tier::Sunk) }, start);

    let first = server.on_send(&ask(10), HERE, start);
    let _second = server.on_send(&ask(10), HERE, start);
    let at_the_bound = outlook(&server, &ask(10), start).full;
    server.on_gone(first, start);

    assert!(at_the_bound);
    assert!(!outlook(&server, &ask(10), start).full);
}

#[test]
fn provisioned_throughput_is_full_while_its_header_says_so_and_ten_seconds_later_no_more() {
    let start = Instant::now();
    let mut provisioned = Signals::new(Terms::of(Tier::Provisioned), start);

    provisioned.on_utilisation(104.0, start);

    assert!(outlook(&provisioned, &ask(10), ms(start, 9_000)).full);
    assert!(!outlook(&provisioned, &ask(10), ms(start, 11_000)).full);
}

#[test]
fn the_pace_of_a_server_without_streams_is_unknown() {
    let start = Instant::now();
    let mut server = Signals::new(Terms::of(Tier::Sunk), start);
    let mut sent = server.on_send(&ask(10), HERE, start);
    server.on_first_byte(&mut sent, ms(start, 50));
    server.on_token(Duration::from_millis(300), ms(start, 350));

    let streaming = outlook(&server, &ask(10), ms(start, 400)).per_token;
    server.on_end(sent, None, ms(start, 410));

    assert_eq!(streaming, Some(Duration::from_millis(300)));
    assert_eq!(outlook(&server, &ask(10), ms(start, 420)).per_token, None);
}

#[test]
fn a_cached_prefix_counts_only_where_reported_hits_pay_for_it() {
    let start = Instant::now();
    for (reported, pays) in [(4_000, true), (500, false)] {
        let mut server = Signals::new(Terms::of(Tier::Sunk), start);
        for step in 0..20 {
            let now = ms(start, step * 10_000);
            let mut sent = server.on_send(&with_prefix(5_000, 4_000), HERE, now);
            server.on_first_byte(&mut sent, now + Duration::from_millis(200));
            let used = Used { input: Tokens(5_000), cached: Tokens(reported), output: Tokens(10) };
            server.on_end(sent, Some(used), now + Duration::from_millis(300));
        }

        let now = ms(start, 201_000);
        let (with, without) = (outlook(&server, &with_prefix(5_000, 4_000), now), outlook(&server, &ask(5_000), now));

        assert_eq!(with.first_token < without.first_token, pays, "{reported} of 4000 reported");
        assert_eq!((with.home, without.home), (pays, false));
    }
}

#[test]
fn a_home_whose_cache_does_not_pay_is_no_home_until_it_does() {
    let start = Instant::now();
    let mut server = Signals::new(Terms::of(Tier::Sunk), start);
    let answers = |server: &mut Signals, reported: u64, count: u32| {
        for _ in 0..count {
            let sent = server.on_send(&with_prefix(5_000, 4_000), HERE, start);
            let used = Used { input: Tokens(5_000), cached: Tokens(reported), output: Tokens(10) };
            server.on_end(sent, Some(used), start);
        }
        outlook(server, &with_prefix(5_000, 4_000), start)
    };

    let unknown = answers(&mut server, 0, 9);
    let lost = answers(&mut server, 0, 1);
    let found_again = answers(&mut server, 4_000, 60);

    assert_eq!((unknown.home, unknown.cached), (true, Tokens::ZERO), "nine answers are too few to tell");
    assert_eq!((lost.home, lost.cached), (false, Tokens::ZERO));
    assert!(found_again.home && found_again.cached > Tokens(2_000), "{found_again:?}");
}
