//! How budgets stand, for the figures and the status page. Users are counted here and never named.

use std::time::SystemTime;

use accounting::Money;
use serde_json::{Value, json};
use telemetry::metrics::BudgetFigures;

use crate::gateway::Gateway;
use crate::snapshot::Snapshot;

pub(super) fn gauge(gateway: &Gateway, snapshot: &Snapshot, month: u32) {
    let seconds = seconds();
    let figures = snapshot.budgets.rules().iter().map(|rule| {
        let report = rule.report(seconds);
        BudgetFigures {
            budget: &rule.name,
            limit: dollars(report.limit),
            spent: dollars(report.spent),
            held: dollars(report.held),
            most_spent: report.most_spent,
            amounts: report.amounts,
        }
    });
    let apps = snapshot.apps().filter_map(|app| {
        let budget = app.book.budget(month);
        Some((&*app.name, dollars(budget.spent) / dollars(budget.limit?)))
    });
    gateway.metrics.set_budgets(figures, apps);
}

pub(super) fn report(snapshot: &Snapshot) -> Vec<Value> {
    let seconds = seconds();
    let rules = snapshot.budgets.rules().iter();
    rules
        .map(|rule| {
            let report = rule.report(seconds);
            let stretch = rule.calendar.at(seconds);
            json!({
                "budget": rule.name,
                "period": rule.calendar.period().name(),
                "time_zone": rule.calendar.zone(),
                "seconds_left": stretch.ends.saturating_sub(seconds),
                "usd": report.limit.to_string(),
                "spent": report.spent.to_string(),
                "held": report.held.to_string(),
                "users": rule.counts_users().then_some(report.amounts),
                "most_spent_ratio": report.most_spent,
            })
        })
        .collect()
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// For figures only: what is charged is counted in whole units.
fn dollars(money: Money) -> f64 {
    money.0 as f64 * 1e-9
}
