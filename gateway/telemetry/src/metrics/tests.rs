//! What an operator reads.

use std::time::{Duration, UNIX_EPOCH};

use super::*;

/// The value of the series that starts with `series`.
fn value(text: &str, series: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

#[test]
fn a_request_is_counted_by_app_api_and_code() {
    let metrics = Metrics::new();
    let app = metrics.app("claims");

    app.request("chat", "ok");
    app.request("chat", "ok");
    app.request("chat", "rate_limit_exceeded");

    let text = metrics.render();
    let series = r#"causeway_requests_total{app="claims",api="chat",code="ok"}"#;
    assert_eq!(value(&text, series).as_deref(), Some("2"));
    assert_eq!(text.matches("causeway_requests_total{").count(), 2, "no series for what never happened");
}

#[test]
fn a_code_an_api_and_an_outcome_that_are_on_no_list_count_as_other() {
    let metrics = Metrics::new();

    metrics.app("claims").request("telepathy", "teapot");
    metrics.endpoint("gpu-01").attempt("melted", Duration::from_millis(3));

    let text = metrics.render();
    assert!(text.contains(r#"app="claims",api="other",code="other""#), "{text}");
    assert!(text.contains(r#"endpoint="gpu-01",outcome="other""#), "{text}");
}

#[test]
fn the_life_of_a_token_is_told_and_of_two_that_look_alike_the_shorter() {
    let metrics = Metrics::new();
    let of = |scope, seconds| (["entra", "client-secret", scope], Duration::from_secs(seconds));

    metrics.set_token_lives([of("gone", 9)].into_iter());
    metrics.set_token_lives([of("a", 1800), of("a", 60), of("b", 0)].into_iter());

    let text = metrics.render();
    let life = |scope: &str| {
        value(
            &text,
            &format!(r#"causeway_token_life_seconds{{identity="entra",grant="client-secret",scope="{scope}"}}"#),
        )
    };
    assert_eq!((life("a").as_deref(), life("b").as_deref(), life("gone")), (Some("60"), Some("0"), None));
}

#[test]
fn an_endpoint_whose_addresses_are_stale_has_a_figure_until_they_are_not() {
    let metrics = Metrics::new();
    let stale = |text: &str| value(text, r#"causeway_endpoint_stale_seconds{endpoint="aoai"}"#);

    metrics.set_stale([("aoai", Duration::ZERO)].into_iter());
    let began = metrics.render();
    metrics.set_stale(std::iter::empty());

    assert_eq!(stale(&began).as_deref(), Some("1"), "it counts from the first moment");
    assert_eq!(stale(&metrics.render()), None);
}

#[test]
fn no_value_of_a_label_stands_twice_on_its_list() {
    for list in [APIS, CODES, OUTCOMES] {
        let twice: Vec<_> = list.iter().enumerate().filter(|(at, value)| list[..*at].contains(value)).collect();

        assert!(twice.is_empty(), "{twice:?}");
    }
}

#[test]
fn the_thousandth_app_has_its_own_series_and_the_next_shares_other() {
    let metrics = Metrics::new();

    for number in 1..=MAX_NAMES + 2 {
        metrics.app(&format!("app-{number}")).request("chat", "ok");
    }
    metrics.app("app-1").request("chat", "ok");

    let text = metrics.render();
    let of = |app: &str| value(&text, &format!(r#"causeway_requests_total{{app="{app}",api="chat",code="ok"}}"#));
    assert_eq!(of("app-1").as_deref(), Some("2"), "a name that was seen keeps its series");
    assert_eq!(of("app-1000").as_deref(), Some("1"));
    assert_eq!(of("app-1001"), None);
    assert_eq!(of(OTHER).as_deref(), Some("2"));
}

#[test]
fn a_reload_goes_on_counting_in_the_same_series() {
    let metrics = Metrics::new();
    let before = metrics.endpoint("gpu-01");
    before.attempt("success", Duration::from_millis(3));

    let after = metrics.endpoint("gpu-01");
    after.attempt("success", Duration::from_millis(3));
    before.attempt("success", Duration::from_millis(3));

    let series = r#"causeway_attempts_total{endpoint="gpu-01",outcome="success"}"#;
    let text = metrics.render();
    assert_eq!(value(&text, series).as_deref(), Some("3"));
    assert_eq!(value(&text, r#"causeway_attempt_seconds_count{endpoint="gpu-01"}"#).as_deref(), Some("3"));
}

#[test]
fn a_running_request_is_counted_until_its_guard_is_dropped() {
    let metrics = Metrics::new();
    let endpoint = metrics.endpoint("gpu-01");
    let series = r#"causeway_endpoint_in_flight{endpoint="gpu-01"}"#;

    let running = endpoint.enter();
    assert_eq!(value(&metrics.render(), series).as_deref(), Some("1"));

    drop(running);
    assert_eq!(value(&metrics.render(), series).as_deref(), Some("0"));
}

#[test]
fn tokens_and_times_are_kept_by_model() {
    let metrics = Metrics::new();
    let model = metrics.model("chat-large");

    model.tokens(Direction::Input, 100);
    model.tokens(Direction::Reasoning, 7);
    model.first_token(Duration::from_millis(30), None);
    model.total(Duration::from_secs(3), None);

    let text = metrics.render();
    let tokens = |direction: &str| {
        value(&text, &format!(r#"causeway_tokens_total{{model="chat-large",direction="{direction}"}}"#))
    };
    assert_eq!(tokens("input").as_deref(), Some("100"));
    assert_eq!(tokens("reasoning").as_deref(), Some("7"));
    assert_eq!(tokens("output").as_deref(), Some("0"));
    let bucket = r#"causeway_first_token_seconds_bucket{le="0.05",model="chat-large"}"#;
    assert_eq!(value(&text, bucket).as_deref(), Some("1"), "{text}");
    assert!(text.contains(r#"causeway_request_seconds_count{model="chat-large"} 1"#), "{text}");
}

#[test]
fn a_bucket_names_the_latest_trace_in_it_and_only_where_exemplars_are_asked_for() {
    let metrics = Metrics::new();
    let model = metrics.model("chat-large");

    for trace in [[1; 16], [0xab; 16]] {
        model.total(Duration::from_secs(3), Some(trace));
    }
    model.total(Duration::from_secs(3), None);
    model.total(Duration::from_millis(3), None);

    let named = metrics.render_with_exemplars();
    let bucket = format!(
        r#"causeway_request_seconds_bucket{{le="5.0",model="chat-large"}} 4 # {{trace_id="{}"}} 3.0"#,
        "ab".repeat(16)
    );
    assert!(named.contains(&bucket), "{named}");
    assert_eq!(named.matches("trace_id").count(), 1, "{named}");
    let plain = metrics.render();
    assert!(!plain.contains("trace_id") && plain.ends_with("# EOF\n"), "{plain}");
    assert_eq!(plain.lines().count(), named.lines().count());
}

#[test]
fn only_the_configuration_in_force_is_shown() {
    let metrics = Metrics::new();

    metrics.set_configuration("aaaa", UNIX_EPOCH + Duration::from_secs(10), false);
    metrics.set_configuration("bbbb", UNIX_EPOCH + Duration::from_secs(20), true);

    let text = metrics.render();
    assert!(!text.contains("aaaa"));
    assert_eq!(value(&text, r#"causeway_configuration_info{hash="bbbb"}"#).as_deref(), Some("1"));
    assert_eq!(value(&text, "causeway_configuration_loaded_timestamp_seconds").as_deref(), Some("20"));
    assert_eq!(value(&text, "causeway_configuration_degraded").as_deref(), Some("1"));
}

#[test]
fn what_runs_out_is_shown_in_days_until_it_is_there_no_more() {
    let metrics = Metrics::new();

    metrics.set_runs_out([("fact", "azure-standard", 14), ("exception", "trial", -2)].into_iter());
    metrics.set_runs_out([("fact", "azure-standard", 13)].into_iter());

    let text = metrics.render();
    let fact = r#"causeway_runs_out_days{kind="fact",name="azure-standard"}"#;
    assert_eq!(value(&text, fact).as_deref(), Some("13"), "{text}");
    assert!(!text.contains("trial"), "{text}");
}

#[test]
fn the_state_of_the_audit_log_is_taken_over() {
    let metrics = Metrics::new();

    metrics.set_audit(&AuditStatus {
        entries: 9,
        waiting_bytes: 300,
        open: 2,
        errors: 4,
        lost: 1,
        actions_lost: 5,
        refusals_lost: 6,
        passed: 7,
        unrecorded: 3,
        failing: true,
        ..AuditStatus::default()
    });

    let text = metrics.render();
    assert_eq!(value(&text, "causeway_audit_errors_total").as_deref(), Some("4"));
    assert_eq!(value(&text, "causeway_audit_outcomes_lost_total").as_deref(), Some("1"));
    assert_eq!(value(&text, "causeway_audit_actions_lost_total").as_deref(), Some("5"));
    assert_eq!(value(&text, "causeway_audit_refusals_lost_total").as_deref(), Some("6"));
    assert_eq!(value(&text, "causeway_audit_passed_total").as_deref(), Some("7"));
    assert_eq!(value(&text, "causeway_audit_unrecorded_total").as_deref(), Some("3"));
    assert_eq!(value(&text, "causeway_audit_failing").as_deref(), Some("1"));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_name_with_quotes_and_newlines_stays_within_its_label() {
    let metrics = Metrics::new();

    metrics.app("a\"b\\c\nd").request("chat", "ok");

    let text = metrics.render();
    assert!(text.contains(r#"app="a\"b\\c\nd""#), "{text}");
}
