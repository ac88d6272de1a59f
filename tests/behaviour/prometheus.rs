//! A real Prometheus scrapes a gateway: what the shipped rules and the dashboard ask for is there.

use serde_json::Value;

use crate::monitoring::{expressions_of, read};
use crate::testkit::{Config, Endpoint, Gateway, Prometheus, Refusing, Request, Upstream, chat, until};

/// Eighteen tokens, as the scripted answer reports them, are 0.018 dollars.
const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn a_real_one_scrapes_reads_every_rule_and_panel_and_raises_what_is_wrong() {
    let (upstream, nobody) = (Upstream::start("only").await, Refusing::new());
    let config = Config::new()
        .endpoint("only", Endpoint::of(&upstream).with(DEAR))
        .model("assistant", &["only/served-model"])
        .section("[budget.team]\nteam = \"testers\"\nusd = 0.1\n")
        .section(&format!(
            "[telemetry.otlp]\nurl = \"http://{}\"\nreach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\n",
            nobody.address
        ));
    let mut gateway = Gateway::start(&config).await;
    let Some(prometheus) = Prometheus::scraping("what Prometheus makes of the figures", gateway.admin()).await else {
        return;
    };
    until("the gateway to be scraped", async || {
        let up = prometheus.series("up{job=\"causeway\"} == 1").await;
        (!up.is_empty()).then_some(())
    })
    .await;
    assert_eq!(of_the_gateway(&prometheus).await, Vec::<String>::new(), "nothing is wrong yet");

    // Five fit into the budget, which then is spent to nine tenths. A rate is of what is added after the first scrape.
    let mut body = chat("assistant");
    body["max_tokens"] = 18.into();
    for asked in 1..=5 {
        let traced = Request::post("/v1/chat/completions", &body);
        let traced = traced.header("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01"));
        assert_eq!(gateway.send(traced).await.status, 200);
        let counted = format!("sum(causeway_requests_total{{app=\"tests\", code=\"ok\"}}) == {asked}");
        until("the request to be counted", async || (!prometheus.series(&counted).await.is_empty()).then_some(()))
            .await;
    }
    // A busy machine may be slow as well, which has an alert of its own.
    until("the budget's alert", async || {
        of_the_gateway(&prometheus).await.contains(&"CausewayBudgetNearlySpent".to_owned()).then_some(())
    })
    .await;
    let exemplars = until("the trace of a request", async || {
        let found = prometheus.exemplars("causeway_request_seconds_bucket").await;
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert!(exemplars.iter().all(|exemplar| exemplar["labels"]["trace_id"] == TRACE), "{exemplars:?}");

    every_rule_is_healthy(&prometheus).await;
    panels_have_series(&prometheus).await;

    gateway.kill().await;
    until("the gateway to be missed", async || {
        of_the_gateway(&prometheus).await.contains(&"CausewayDown".to_owned()).then_some(())
    })
    .await;
}

/// The alerts that are raised, but for those of the machine's disk, which may be as full as it likes.
async fn of_the_gateway(prometheus: &Prometheus) -> Vec<String> {
    let raised = prometheus.raised().await;
    raised.into_iter().filter(|alert| !alert.starts_with("CausewayAuditDisk")).collect()
}

/// Each rule was evaluated, and none failed.
async fn every_rule_is_healthy(prometheus: &Prometheus) {
    let shipped = read("deploy/prometheus/alerts.yaml").lines().filter(|line| line.contains("- alert: ")).count();
    let rules = until("every rule to be evaluated", async || {
        let groups = prometheus.says("rules").await;
        let groups = groups["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<Value> =
            groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    })
    .await;

    assert_eq!(rules.len(), shipped);
    let failed: Vec<&Value> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Every expression of the dashboard is answered, and those of what has happened have something to show.
async fn panels_have_series(prometheus: &Prometheus) {
    let board: Value = serde_json::from_str(&read("deploy/grafana/causeway.json")).expect("JSON");
    let expressions = expressions_of(&board);
    // What nobody asked for and what has not gone wrong has no series.
    let happened =
        ["causeway_requests_total", "causeway_first_token_seconds", "causeway_budget_spent_ratio", "causeway_audit_"];
    let of_a_second_place = "causeway_audit_witness";
    let is_due = |expression: &str| {
        happened.iter().any(|figure| expression.contains(figure)) && !expression.contains(of_a_second_place)
    };
    // A rate needs two scrapes.
    let shown = until("the panels to show what has happened", async || {
        let (mut shown, mut silent) = (0, 0);
        for expression in &expressions {
            let is_empty = prometheus.series(expression).await.is_empty();
            shown += usize::from(!is_empty);
            silent += usize::from(is_empty && is_due(expression));
        }
        (silent == 0).then_some(shown)
    })
    .await;
    assert!(shown > 30, "{shown} of {} expressions show something", expressions.len());
    // Without one bad answer the budget of errors is whole, and not unknown.
    let burn: Vec<&String> = expressions.iter().filter(|expression| expression.ends_with("/ 0.001")).collect();
    assert_eq!(burn.len(), 2);
    for expression in burn {
        let found = prometheus.series(expression).await;
        assert!(matches!(&found[..], [one] if one["value"][1] == "0"), "{expression}: {found:?}");
    }
}
