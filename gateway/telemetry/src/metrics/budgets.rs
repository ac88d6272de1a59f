//! Figures of money against what may be spent, and of those who are told of it.

use std::collections::BTreeMap;

use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Counters, Gauges, Metrics, RealGauges, add};

/// The families. Names of budgets and webhooks are those of the configuration, which bounds them.
pub(super) struct Budgets {
    limit: RealGauges<1>,
    spent: RealGauges<1>,
    held: RealGauges<1>,
    most_spent: RealGauges<1>,
    amounts: Gauges<1>,
    app_spent: RealGauges<1>,
    thresholds: Counters<2>,
    deliveries: Counters<2>,
    waiting: Gauges<1>,
}

/// How a budget stands in its stretch.
#[derive(Clone, Copy, Debug)]
pub struct BudgetFigures<'a> {
    /// Its name in the configuration.
    pub budget: &'a str,
    /// Dollars that one amount has.
    pub limit: f64,
    /// Dollars that are spent, of all amounts.
    pub spent: f64,
    /// Dollars that running requests hold, of all amounts.
    pub held: f64,
    /// The share that is spent of the amount of which most is spent.
    pub most_spent: f64,
    /// Amounts that are counted: one, or one for each user.
    pub amounts: usize,
}

/// What became of a try to deliver a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it.
    Delivered,
    /// It has it not, and it is tried again.
    Failed,
    /// It was tried for a day.
    GivenUp,
    /// So many waited that there was no room for it.
    Dropped,
}

impl Delivery {
    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::Dropped => "dropped",
        }
    }
}

impl Budgets {
    pub(super) fn register(to: &mut Registry) -> Self {
        Self {
            limit: add(
                to,
                "budget_limit_usd",
                "Dollars that a budget has in its stretch; for each user where it counts users",
                Family::default(),
            ),
            spent: add(to, "budget_spent_usd", "Dollars of a budget that are spent in its stretch", Family::default()),
            held: add(to, "budget_held_usd", "Dollars of a budget that running requests hold", Family::default()),
            most_spent: add(
                to,
                "budget_spent_ratio",
                "Share of a budget that is spent; of the user who has spent most where it counts users",
                Family::default(),
            ),
            amounts: add(to, "budget_users", "Users that a budget counts apart in its stretch", Family::default()),
            app_spent: add(
                to,
                "app_budget_spent_ratio",
                "Share of an app's usd_per_month that is spent",
                Family::default(),
            ),
            thresholds: add(
                to,
                "budget_thresholds",
                "Thresholds that were reached since the process began, by budget and percent",
                Family::default(),
            ),
            deliveries: add(
                to,
                "webhook_deliveries",
                "Tries to deliver a notice, by webhook and outcome",
                Family::default(),
            ),
            waiting: add(to, "webhook_waiting", "Notices that a receiver has not taken yet", Family::default()),
        }
    }
}

impl Metrics {
    /// Takes over how budgets stand, and the share of its month's money that each app has spent; called before
    /// [`Self::render`]. What is not among them any more is forgotten.
    pub fn set_budgets<'a>(
        &self,
        budgets: impl Iterator<Item = BudgetFigures<'a>>,
        apps: impl Iterator<Item = (&'a str, f64)>,
    ) {
        let of = &self.inner.budgets;
        for family in [&of.limit, &of.spent, &of.held, &of.most_spent, &of.app_spent] {
            family.clear();
        }
        of.amounts.clear();
        for one in budgets {
            let labels = [("budget", one.budget.to_owned())];
            of.limit.get_or_create(&labels).set(one.limit);
            of.spent.get_or_create(&labels).set(one.spent);
            of.held.get_or_create(&labels).set(one.held);
            of.most_spent.get_or_create(&labels).set(one.most_spent);
            of.amounts.get_or_create(&labels).set(i64::try_from(one.amounts).unwrap_or(i64::MAX));
        }
        // Apps beyond the bound have one label together, and of them the one that has spent most counts.
        let mut shares = BTreeMap::<String, f64>::new();
        for (app, share) in apps {
            let most = shares.entry(self.inner.apps.label(app)).or_default();
            *most = most.max(share);
        }
        for (app, share) in shares {
            of.app_spent.get_or_create(&[("app", app)]).set(share);
        }
    }

    /// Counts a threshold that was reached.
    pub fn threshold(&self, budget: &str, percent: u32) {
        let labels = [("budget", budget.to_owned()), ("percent", percent.to_string())];
        self.inner.budgets.thresholds.get_or_create_owned(&labels).inc();
    }

    /// Counts what became of a try to deliver a notice.
    pub fn delivery(&self, webhook: &str, outcome: Delivery) {
        let labels = [("webhook", webhook.to_owned()), ("outcome", outcome.name().to_owned())];
        self.inner.budgets.deliveries.get_or_create_owned(&labels).inc();
    }

    /// Takes over how many notices wait for each receiver.
    pub fn set_waiting_notices<'a>(&self, waiting: impl Iterator<Item = (&'a str, usize)>) {
        self.inner.budgets.waiting.clear();
        for (webhook, count) in waiting {
            let labels = [("webhook", webhook.to_owned())];
            self.inner.budgets.waiting.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
