//! What a person is shown and woken for names only figures that exist: the shipped alert rules and the dashboard are held
//! to the page of figures, and that page to the figures that the gateway registers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::testkit::{Config, Gateway, Upstream, chat, until};

/// Labels that Prometheus adds.
const OF_PROMETHEUS: &[&str] = &["instance", "job", "le"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| unreachable!("{}: {error}", path.display()))
}

/// The page of figures: of each its kind and its labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = read("docs/src/reference/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `causeway_"));
    rows.filter_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = format!("causeway_{}", cells[0].strip_suffix('`')?);
        let labels = cells[2].split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned);
        Some((name, (cells[1].to_owned(), labels.collect())))
    })
    .collect()
}

/// Words of `text` that begin like a figure.
fn figures_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| word.starts_with("causeway_")).map(str::to_owned).collect()
}

/// The figure behind the name of a series: a histogram has three.
fn figure_of<'a>(series: &'a str, all: &BTreeMap<String, (String, BTreeSet<String>)>) -> Option<&'a str> {
    if all.contains_key(series) {
        return Some(series);
    }
    let of_histogram = ["_bucket", "_sum", "_count"].into_iter().filter_map(|suffix| series.strip_suffix(suffix));
    of_histogram.into_iter().find(|stem| all.get(*stem).is_some_and(|(kind, _)| kind == "histogram"))
}

/// Labels that an expression matches or groups by, and the values that it compares them with.
fn labels_in(expression: &str) -> Vec<(String, Option<String>)> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut labels = Vec::new();
    for group in expression.split("by (").skip(1) {
        let inside = group.split(')').next().unwrap_or_default();
        labels.extend(inside.split(',').map(|label| (label.trim().to_owned(), None)));
    }
    for selector in expression.split('{').skip(1) {
        let inside = selector.split('}').next().unwrap_or_default();
        for matcher in inside.split(", ").flat_map(|part| part.split("\",")) {
            let name: String = matcher.trim().chars().take_while(|c| is_name(*c)).collect();
            labels.push((name, matcher.split('"').nth(1).map(str::to_owned)));
        }
    }
    labels
}

/// Everything that is wrong with one expression.
fn faults_of(expression: &str, all: &BTreeMap<String, (String, BTreeSet<String>)>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut known: BTreeSet<String> = OF_PROMETHEUS.iter().map(|label| (*label).to_owned()).collect();
    for series in figures_in(expression) {
        match figure_of(&series, all) {
            Some(figure) => known.extend(all[figure].1.iter().cloned()),
            None => faults.push(format!("`{series}` is no figure: {expression}")),
        }
    }
    let words = read("docs/src/reference/errors.md") + &read("docs/src/reference/metrics.md");
    for (label, value) in labels_in(expression) {
        if !known.contains(&label) {
            faults.push(format!("`{label}` is no label of these figures: {expression}"));
        }
        let codes = value.filter(|_| label == "code").unwrap_or_default();
        let unknown = codes.split('|').filter(|code| !code.is_empty() && !words.contains(&format!("`{code}`")));
        faults.extend(unknown.map(|code| format!("`{code}` is no code: {expression}")));
    }
    faults
}

/// The rules: name, expression and runbook of each.
fn alerts() -> Vec<(String, String, String)> {
    let text = read("deploy/prometheus/alerts.yaml");
    let field = |rule: &str, name: &str| {
        let (_, rest) = rule.split_once(name)?;
        let value: Vec<&str> =
            rest.lines().take(1).chain(rest.lines().skip(1).take_while(|l| l.starts_with("          "))).collect();
        Some(value.join(" ").trim().trim_start_matches('|').trim().to_owned())
    };
    let rules = text.split("- alert: ").skip(1);
    rules
        .map(|rule| {
            let name = rule.lines().next().unwrap_or_default().to_owned();
            (name, field(rule, "expr: ").unwrap_or_default(), field(rule, "runbook: ").unwrap_or_default())
        })
        .collect()
}

#[test]
fn every_alert_names_figures_and_codes_that_exist_and_a_runbook_that_can_be_read() {
    let all = documented();
    let alerts = alerts();
    assert!(alerts.len() >= 15, "{alerts:?}");

    let mut faults = Vec::new();
    for (name, expression, runbook) in &alerts {
        faults.extend(faults_of(expression, &all).into_iter().map(|fault| format!("{name}: {fault}")));
        if !Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src").join(runbook).is_file() || runbook.is_empty() {
            faults.push(format!("{name}: there is no runbook `{runbook}`"));
        }
    }

    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_panel_of_the_dashboard_names_figures_that_exist() {
    let all = documented();
    let board: Value = serde_json::from_str(&read("deploy/grafana/causeway.json")).unwrap();
    let panels = board["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array()).flatten();
    let variables = board["templating"]["list"].as_array().unwrap().iter().filter_map(|v| v["query"]["query"].as_str());
    let panels: Vec<&str> = panels.filter_map(|target| target["expr"].as_str()).collect();
    assert!(panels.len() > 20, "{panels:?}");

    let mut faults: Vec<String> = panels.iter().flat_map(|expression| faults_of(expression, &all)).collect();
    for query in variables {
        faults.extend(figures_in(query).iter().filter(|series| figure_of(series, &all).is_none()).cloned());
    }

    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_fault_in_an_expression_is_seen() {
    let all = documented();

    for wrong in [
        "causeway_no_such_total > 0",
        "causeway_in_flight_bucket > 0",
        "sum by (app) (causeway_connections)",
        "rate(causeway_requests_total{model=\"a\"}[5m])",
        "rate(causeway_requests_total{code=\"no_such_code\"}[5m])",
    ] {
        assert_eq!(faults_of(wrong, &all).len(), 1, "{wrong}");
    }
    assert_eq!(faults_of("rate(causeway_first_token_seconds_bucket{model=\"a\"}[5m])", &all), Vec::<String>::new());
}

#[tokio::test]
async fn every_figure_that_a_gateway_shows_stands_on_the_page_of_figures_with_its_kind_and_labels() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    gateway.chat(&chat("assistant")).await;
    let page = until("the request to be counted", async || {
        let page = String::from_utf8(gateway.operator("/metrics").await.bytes().await.to_vec()).ok()?;
        page.contains("causeway_requests_total{").then_some(page)
    })
    .await;

    let all = documented();
    let mut faults = Vec::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let series = line.split(['{', ' ']).next().unwrap_or_default();
        match figure_of(series, &all) {
            None => faults.push(format!("{series} is not on the page")),
            Some(figure) => faults.extend(
                labels_in(line)
                    .into_iter()
                    .filter(|(label, _)| label != "le" && !all[figure].1.contains(label))
                    .map(|(label, _)| format!("{series} has the label {label}, which the page does not say")),
            ),
        }
    }

    assert!(faults.is_empty(), "{faults:#?}");
    assert!(page.lines().filter(|line| line.starts_with("# TYPE causeway_")).count() > 25, "{page}");
}
