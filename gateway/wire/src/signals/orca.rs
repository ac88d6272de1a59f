//! `endpoint-load-metrics`, the open request cost aggregation that vLLM and Triton answer with when they are asked.
//!
//! Source: the `xds` proposal for ORCA load reports, and vLLM's `orca_metrics.py`:
//! `TEXT named_metrics.kv_cache_usage_perc=0.5, named_metrics.num_requests_waiting=3`, or `JSON {…}`. The text form is
//! asked for; JSON is read as well, as far as its named metrics are numbers.

use http::HeaderMap;

use super::{Said, text};

pub(super) const NAME: &str = "endpoint-load-metrics";

pub(super) fn read(headers: &HeaderMap, said: &mut Said) {
    let Some(report) = text(headers, NAME) else { return };
    if let Some(pairs) = report.strip_prefix("TEXT ") {
        for (name, value) in pairs.split(',').filter_map(|pair| pair.split_once('=')) {
            take(said, name.trim().trim_start_matches("named_metrics."), value.trim().parse().ok());
        }
    } else if let Some(json) = report.strip_prefix("JSON ") {
        let Ok(report) = serde_json::from_str::<serde_json::Value>(json) else { return };
        for (name, value) in report["named_metrics"].as_object().into_iter().flatten() {
            take(said, name, value.as_f64());
        }
    }
}

fn take(said: &mut Said, name: &str, value: Option<f64>) {
    let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) else { return };
    match name {
        // A count above four thousand million is no count.
        "num_requests_waiting" if value <= f64::from(u32::MAX) => said.waiting = Some(value as u32),
        "kv_cache_usage_perc" => said.cache_usage = Some(value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;

    #[test]
    fn both_forms_of_a_load_report_are_read() {
        let text = "TEXT named_metrics.kv_cache_usage_perc=0.25, named_metrics.num_requests_waiting=3";
        let json = r#"JSON {"named_metrics":{"kv_cache_usage_perc":0.25,"num_requests_waiting":3.0}}"#;
        for report in [text, json] {
            let said = said(&[("endpoint-load-metrics", report)]);
            assert_eq!((said.waiting, said.cache_usage), (Some(3), Some(0.25)), "{report}");
        }
    }

    /// Taken from the answers of a vLLM 0.26.0 on 2026-11-26. To a streamed request it answered without the header.
    #[test]
    fn the_reports_of_a_real_server_are_read() {
        let text = "TEXT named_metrics.num_requests_waiting=0.0, named_metrics.kv_cache_usage_perc=0.0";
        let json = r#"JSON {"named_metrics": {"num_requests_waiting": 0.0, "kv_cache_usage_perc": 0.0}}"#;
        for report in [text, json] {
            let said = said(&[("endpoint-load-metrics", report)]);
            assert_eq!((said.waiting, said.cache_usage), (Some(0), Some(0.0)), "{report}");
        }
    }

    #[test]
    fn a_report_that_cannot_be_is_not_believed() {
        for report in ["TEXT named_metrics.num_requests_waiting=-1", "JSON {", "BIN 0a0b", "TEXT", "JSON []"] {
            assert!(!said(&[("endpoint-load-metrics", report)]).is_anything(), "{report}");
        }
    }
}
