//! `azure-openai-deployment-utilization`, by which a deployment of provisioned throughput says how much of it is in use.
//!
//! Source: Microsoft Learn, "What is provisioned throughput", section on monitoring. Such a deployment sends no
//! `x-ratelimit-*`; at 100 % it answers 429 with `retry-after-ms`.

use http::HeaderMap;

use super::{Said, text};

pub(super) const NAME: &str = "azure-openai-deployment-utilization";

pub(super) fn read(headers: &HeaderMap, said: &mut Said) {
    let percent = text(headers, NAME)
        .map(|text| text.trim_end_matches('%'))
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|percent| percent.is_finite() && *percent >= 0.0);
    said.utilisation = said.utilisation.or(percent);
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;

    #[test]
    fn utilisation_is_a_percentage() {
        let of = |value| said(&[("azure-openai-deployment-utilization", value)]).utilisation;

        assert_eq!(
            [of("97.5"), of("110%"), of("-1"), of("NaN"), of("inf")],
            [Some(97.5), Some(110.0), None, None, None]
        );
    }
}
