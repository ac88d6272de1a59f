//! Figures for those who answer for money, policy and evidence: spend against budget, denials by policy, captures.

use std::collections::BTreeSet;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Counters, Metrics, RealGauges, add, raise};
use crate::capture::CaptureStatus;

/// The families.
pub(super) struct Answering {
    spent: RealGauges<1>,
    budget: RealGauges<1>,
    denials: Counters<1>,
    captures: Counter,
    capture_failures: Counter,
    captures_cut: Counter,
    capture_failing: Gauge,
    capture_held: Gauge,
    capture_waiting: Gauge,
}

impl Answering {
    pub(super) fn register(to: &mut Registry) -> Self {
        Self {
            spent: add(to, "spent_usd", "Dollars that an app has spent and holds this month", Family::default()),
            budget: add(to, "budget_usd", "Dollars that an app may spend a month", Family::default()),
            denials: add(to, "policy_denials", "Requests denied, by a policy that had a part in it", Family::default()),
            captures: add(to, "captures", "Requests and answers that were kept, sealed", Counter::default()),
            capture_failures: add(
                to,
                "capture_failures",
                "Requests and answers that were to be kept and were not",
                Counter::default(),
            ),
            captures_cut: add(
                to,
                "captures_cut",
                "Answers of which only the beginning was held to be kept",
                Counter::default(),
            ),
            capture_held: add(
                to,
                "capture_held_bytes",
                "Bytes that are held of running answers that are to be kept",
                Gauge::default(),
            ),
            capture_failing: add(to, "capture_failing", "1 while captures cannot be written", Gauge::default()),
            capture_waiting: add(
                to,
                "capture_waiting_bytes",
                "Sealed bytes of captures that wait for the disk",
                Gauge::default(),
            ),
        }
    }
}

impl Metrics {
    /// Takes over what apps have spent and hold this month, and what they may spend, in dollars; called before
    /// [`Self::render`]. Of apps past the bound of names none is shown: their sum would be nobody's.
    pub fn set_spending<'a>(&self, apps: impl Iterator<Item = (&'a str, f64, Option<f64>)>) {
        let (inner, answering) = (&self.inner, &self.inner.answering);
        answering.spent.clear();
        answering.budget.clear();
        for (app, spent, budget) in apps {
            let label = inner.apps.label(app);
            if label != app {
                continue;
            }
            let labels = [("app", label)];
            answering.spent.get_or_create(&labels).set(spent);
            if let Some(budget) = budget {
                answering.budget.get_or_create(&labels).set(budget);
            }
        }
    }

    /// Counts a request that was denied, once for each policy that had a part in it; where no policy had, as `none`.
    pub fn denied_by<'a>(&self, policies: impl Iterator<Item = &'a str>) {
        let mut policies: BTreeSet<&str> = policies.collect();
        if policies.is_empty() {
            policies.insert("none");
        }
        for policy in policies {
            let labels = [("policy", self.inner.policies.label(policy))];
            self.inner.answering.denials.get_or_create(&labels).inc();
        }
    }

    /// Takes over how captures stand; called before [`Self::render`].
    pub fn set_captures(&self, status: &CaptureStatus) {
        let answering = &self.inner.answering;
        raise(&answering.captures, status.kept);
        raise(&answering.capture_failures, status.failed);
        raise(&answering.captures_cut, status.cut);
        answering.capture_held.set(i64::try_from(status.held_bytes).unwrap_or(i64::MAX));
        answering.capture_failing.set(i64::from(status.failing));
        answering.capture_waiting.set(i64::try_from(status.waiting_bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::MAX_NAMES;

    #[test]
    fn a_denial_counts_once_for_each_policy_that_had_a_part_in_it() {
        let metrics = Metrics::new();

        metrics.denied_by(["cards-only-redacted", "no-training-on-our-data", "cards-only-redacted"].into_iter());
        metrics.denied_by(std::iter::empty());

        let page = metrics.render();
        for policy in ["cards-only-redacted", "no-training-on-our-data", "none"] {
            let line = format!("causeway_policy_denials_total{{policy=\"{policy}\"}} 1\n");
            assert!(page.contains(&line), "{page}");
        }
    }

    #[test]
    fn spending_is_that_of_the_apps_there_are_and_of_no_more_than_the_bound() {
        let metrics = Metrics::new();
        metrics.set_spending([("gone", 3.0, None)].into_iter());
        let names: Vec<String> = (0..2 * MAX_NAMES).map(|number| format!("app-{number}")).collect();

        metrics.set_spending(names.iter().map(|name| (name.as_str(), 1.5, Some(20.0))));

        let page = metrics.render();
        let shown = |name: &str| page.lines().filter(|line| line.starts_with(name)).count();
        assert!(!page.contains("gone") && !page.contains("app=\"other\""));
        // One name was taken by an app that is gone.
        assert_eq!((shown("causeway_spent_usd{"), shown("causeway_budget_usd{")), (MAX_NAMES - 1, MAX_NAMES - 1));
        assert!(page.contains("causeway_spent_usd{app=\"app-0\"} 1.5\n"), "{page}");
    }
}
