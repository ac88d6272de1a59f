//! Figures of what the gateway itself has to do with: issuers' keys, and the export of traces, metrics and logs.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Counters, Gauges, Metrics, add, raise};

/// The families.
pub(super) struct Control {
    key_age: Gauges<1>,
    keys: Gauges<1>,
    key_failures: Counters<1>,
    exported: Counters<1>,
    dropped: Counters<1>,
    export_failures: Counters<1>,
}

/// How the keys of an issuer stand.
#[derive(Clone, Copy, Debug)]
pub struct IssuerKeys<'a> {
    /// The issuer's name in the configuration.
    pub issuer: &'a str,
    /// How long ago they were fetched; none where they never were.
    pub age: Option<Duration>,
    /// How many there are.
    pub keys: usize,
    /// Fetches that failed.
    pub failures: u64,
}

impl Control {
    pub(super) fn register(to: &mut Registry) -> Self {
        Self {
            key_age: add(
                to,
                "issuer_keys_age_seconds",
                "Time since the keys of an issuer of tokens were fetched",
                Family::default(),
            ),
            keys: add(
                to,
                "issuer_keys",
                "Keys of an issuer that are in force; 0 while none of its tokens is accepted",
                Family::default(),
            ),
            key_failures: add(
                to,
                "issuer_keys_fetch_failures",
                "Times that the keys of an issuer could not be fetched",
                Family::default(),
            ),
            exported: add(to, "otlp_exported", "Items that the collector took, by signal", Family::default()),
            dropped: add(
                to,
                "otlp_dropped",
                "Items that were dropped because the collector did not take them in time, by signal",
                Family::default(),
            ),
            export_failures: add(
                to,
                "otlp_failures",
                "Deliveries to the collector that failed, by signal",
                Family::default(),
            ),
        }
    }
}

impl Metrics {
    /// Takes over how the keys of issuers stand; called before [`Self::render`]. An issuer that is not among them any more is
    /// forgotten.
    pub fn set_issuers<'a>(&self, issuers: impl Iterator<Item = IssuerKeys<'a>>) {
        let control = &self.inner.control;
        control.key_age.clear();
        control.keys.clear();
        for one in issuers {
            let labels = [("issuer", self.inner.issuers.label(one.issuer))];
            if let Some(age) = one.age {
                control.key_age.get_or_create(&labels).set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
            }
            control.keys.get_or_create(&labels).set(i64::try_from(one.keys).unwrap_or(i64::MAX));
            let failures: Counter = control.key_failures.get_or_create_owned(&labels);
            raise(&failures, one.failures);
        }
    }
}

impl Metrics {
    /// Counts what the collector took of a signal: `traces`, `metrics` or `logs`.
    pub fn exported(&self, signal: &'static str, items: u64) {
        self.inner.control.exported.get_or_create_owned(&[("signal", signal.to_owned())]).inc_by(items);
    }

    /// Takes over how many items of a signal were dropped in all.
    pub fn set_export_dropped(&self, signal: &'static str, items: u64) {
        raise(&self.inner.control.dropped.get_or_create_owned(&[("signal", signal.to_owned())]), items);
    }

    /// Counts a delivery that failed.
    pub fn export_failed(&self, signal: &'static str) {
        self.inner.control.export_failures.get_or_create_owned(&[("signal", signal.to_owned())]).inc();
    }
}
