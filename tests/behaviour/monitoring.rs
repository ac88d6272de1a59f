//! What a person is shown and woken for names only figures that exist: the shipped alert rules and the dashboard are held
//! to the page of figures, and that page to the figures that the gateway registers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::testkit::{Client, Config, Gateway, Refusing, Request, Upstream, chat, not_tested, until};

/// Labels that Prometheus adds.
const OF_PROMETHEUS: &[&str] = &["instance", "job", "le"];

pub(super) fn read(path: &str) -> String {
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
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src").join(runbook);
        let page = std::fs::read_to_string(page).unwrap_or_default();
        for part in ["\n## Check\n", "\n## Do\n", "\n## Who\n"] {
            if !page.contains(part) {
                faults.push(format!("{name}: its runbook `{runbook}` has no `{}`", part.trim()));
            }
        }
    }

    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_page_of_figures_lists_the_alerts_as_they_are() {
    let rules = read("deploy/prometheus/alerts.yaml");
    let mut shipped = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let severity = rule.split("severity: ").nth(1).and_then(|rest| rest.split([' ', '}']).next());
        shipped.insert((rule.lines().next().unwrap_or_default().to_owned(), severity.unwrap_or_default().to_owned()));
    }

    let page = read("docs/src/reference/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `Causeway"));
    let listed: BTreeSet<(String, String)> = rows
        .filter_map(|row| {
            let (name, rest) = row.split_once("` | ")?;
            Some((format!("Causeway{name}"), rest.split(' ').next()?.to_owned()))
        })
        .collect();

    assert_eq!(listed, shipped);
}

/// What the gateway registers, read from its source: a series that no request has made yet is on no page that it shows.
fn registered() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/telemetry/src/metrics");
    let files = std::fs::read_dir(&folder).expect("the crate is there").flatten();
    let mut names = BTreeSet::new();
    for file in files.filter(|file| file.file_name() != "tests.rs") {
        let text = std::fs::read_to_string(file.path()).expect("a source file is text");
        for call in text.split("add(").skip(1) {
            let mut arguments = call.split('"');
            let to = arguments.next().unwrap_or_default().trim().trim_end_matches(',').trim_end();
            if let (true, Some(name)) = (matches!(to, "to" | "registry"), arguments.next()) {
                names.insert(format!("causeway_{name}"));
            }
        }
    }
    names
}

#[test]
fn the_page_of_figures_lists_every_figure_and_no_other() {
    let registered = registered();
    assert!(registered.len() > 50, "{registered:?}");

    // A counter is registered without the end that every counter has.
    let listed: BTreeSet<String> = documented()
        .into_iter()
        .map(|(name, (kind, _))| match kind.as_str() {
            "counter" => name.strip_suffix("_total").expect("a counter ends so").to_owned(),
            _ => name,
        })
        .collect();

    assert_eq!(listed, registered);
}

/// Expressions of the dashboard as Prometheus would get them from Grafana.
pub(super) fn expressions_of(board: &Value) -> Vec<String> {
    let panels = board["panels"].as_array().expect("it has panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = board["annotations"]["list"].as_array().expect("it has annotations").iter();
    let annotations = annotations.map(|annotation| &annotation["target"]);
    let written = targets.chain(annotations).map(|target| target["expr"].as_str().expect("an expression"));
    written
        .map(|written| written.replace("$__rate_interval", "5m").replace("$model", ".*").replace("$endpoint", ".*"))
        .collect()
}

#[test]
fn the_dashboard_is_whole_and_prometheus_can_read_each_of_its_expressions() {
    let board: Value = serde_json::from_str(&read("deploy/grafana/causeway.json")).expect("JSON");
    for (field, value) in [("title", "Causeway"), ("uid", "causeway")] {
        assert_eq!(board[field], value);
    }
    assert!(board["schemaVersion"].as_u64() >= Some(36), "panels name their source by type and uid since 36");
    let mut ids = BTreeSet::new();
    for panel in board["panels"].as_array().expect("it has panels") {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        let place = &panel["gridPos"];
        let fits = place["x"].as_u64().zip(place["w"].as_u64()).is_some_and(|(x, w)| w > 0 && x + w <= 24);
        assert!(fits && place["h"].as_u64() >= Some(1) && place["y"].is_u64(), "{panel}");
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"], json!({ "type": "prometheus", "uid": "${source}" }), "{panel}");
        let targets = panel["targets"].as_array().expect("it shows something");
        let names: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().expect("a name")).collect();
        assert!(!targets.is_empty() && names.len() == targets.len(), "{panel}");
    }
    let expressions = expressions_of(&board);
    assert!(expressions.iter().all(|expression| !expression.contains('$')), "{expressions:#?}");

    let folder = tempfile::tempdir().expect("a folder can be made");
    let rules = folder.path().join("rules.json");
    let rules_of = |expressions: &[String]| {
        let record = |(at, expr): (usize, &String)| json!({ "record": format!("panel:{at}"), "expr": expr });
        let records: Vec<Value> = expressions.iter().enumerate().map(record).collect();
        // JSON is YAML.
        std::fs::write(&rules, json!({ "groups": [{ "name": "board", "rules": records }] }).to_string()).expect("room");
        std::process::Command::new("promtool").args(["check", "rules"]).arg(&rules).output()
    };
    let Ok(checked) = rules_of(&expressions) else {
        not_tested("whether Prometheus reads the dashboard's expressions: there is no promtool (Debian: prometheus)");
        return;
    };
    let broken = rules_of(&["sum by (code (causeway_in_flight)".to_owned()]).expect("it was there a moment ago");

    assert!(checked.status.success(), "{checked:?}");
    assert!(!broken.status.success(), "{broken:?}");
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

#[tokio::test]
async fn a_scrape_that_asks_for_it_is_told_the_trace_of_a_request_in_a_bucket_and_no_other_is() {
    let (upstream, nobody) = (Upstream::start("only").await, Refusing::new());
    let config = Config::serving(&upstream).section(&format!(
        "[telemetry.otlp]\nurl = \"http://{}\"\nreach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\n",
        nobody.address
    ));
    let gateway = Gateway::start(&config).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let asked = Request::post("/v1/chat/completions", &chat("assistant"));
    let traced = asked.header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(gateway.send(traced).await.status, 200);

    let admin = Client::plain(gateway.admin());
    let page = async |accept: &str| admin.send(Request::get("/metrics").header("accept", accept)).await.text().await;
    let exemplars = until("the request to be counted", async || {
        // What Prometheus sends.
        let page =
            page("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.1").await;
        page.contains("causeway_request_seconds_bucket").then_some(page)
    })
    .await;
    let plain = page("text/plain").await;

    let named: Vec<&str> = exemplars.lines().filter(|line| line.contains(trace)).collect();
    assert_eq!(named.len(), 1, "{exemplars}");
    assert!(named[0].starts_with("causeway_request_seconds_bucket{le="), "{named:?}");
    assert!(named[0].contains(&format!(" # {{trace_id=\"{trace}\"}} ")), "{named:?}");
    assert!(!plain.contains("trace_id"), "{plain}");
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
