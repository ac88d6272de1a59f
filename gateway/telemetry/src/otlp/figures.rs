//! The page of figures in the form of OTLP.
//!
//! There is one set of figures, and the page that Prometheus reads is the one way out of it; so what a collector gets can never
//! differ from it. Two histograms have a name in OpenTelemetry's conventions for generative AI and get it.

use super::proto::{Buckets, CUMULATIVE, Data, Gauge, Histogram, KeyValue, Metric, Point, Sum, text};

/// Our name, the name in the conventions, and the label that is an attribute there.
const KNOWN: [(&str, &str); 2] = [
    ("causeway_request_seconds", "gen_ai.server.request.duration"),
    ("causeway_first_token_seconds", "gen_ai.server.time_to_first_token"),
];

/// Reads a page; a line that is not understood is passed over.
pub(super) fn read(page: &str, time: (u64, u64)) -> Vec<Metric> {
    let mut reader = Reader { time, metrics: Vec::new(), name: String::new(), help: String::new() };
    for line in page.lines() {
        reader.line(line);
    }
    reader.metrics.retain(|metric| match &metric.data {
        Some(Data::Gauge(gauge)) => !gauge.data_points.is_empty(),
        Some(Data::Sum(sum)) => !sum.data_points.is_empty(),
        Some(Data::Histogram(histogram)) => !histogram.data_points.is_empty(),
        None => false,
    });
    reader.metrics
}

struct Reader {
    time: (u64, u64),
    metrics: Vec<Metric>,
    /// The family that the lines are of.
    name: String,
    help: String,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split_once(' ').map_or("", |(_, help)| help).trim_end_matches('.').clone_into(&mut self.help);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = kind.split_once(' ') else { return };
            name.clone_into(&mut self.name);
            self.begin(kind);
        } else if !line.starts_with('#') {
            self.sample(line);
        }
    }

    fn begin(&mut self, kind: &str) {
        let data = match kind {
            "counter" => {
                Data::Sum(Sum { data_points: Vec::new(), aggregation_temporality: CUMULATIVE, is_monotonic: true })
            }
            "histogram" => Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality: CUMULATIVE }),
            _ => Data::Gauge(Gauge { data_points: Vec::new() }),
        };
        let known = KNOWN.iter().find(|(ours, _)| *ours == self.name).map(|(_, theirs)| *theirs);
        let unit = if self.name.ends_with("_seconds") {
            "s"
        } else if self.name.ends_with("_bytes") {
            "By"
        } else {
            ""
        };
        self.metrics.push(Metric {
            name: known.unwrap_or(&self.name).to_owned(),
            description: std::mem::take(&mut self.help),
            unit: unit.to_owned(),
            data: Some(data),
        });
    }

    fn sample(&mut self, line: &str) {
        let Some((series, value)) = line.rsplit_once(' ') else { return };
        let Ok(value) = value.parse::<f64>() else { return };
        let (name, labels) =
            series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest.trim_end_matches('}')));
        let Some(part) = name.strip_prefix(self.name.as_str()) else { return };
        let is_known = KNOWN.iter().any(|(ours, _)| *ours == self.name);
        let (attributes, bound) = attributes(labels, is_known);
        let (start, now) = self.time;
        let point = || Point {
            start_time_unix_nano: start,
            time_unix_nano: now,
            as_double: Some(value),
            attributes: attributes.clone(),
        };
        match self.metrics.last_mut().and_then(|metric| metric.data.as_mut()) {
            Some(Data::Gauge(gauge)) => gauge.data_points.push(Point { start_time_unix_nano: 0, ..point() }),
            Some(Data::Sum(sum)) => sum.data_points.push(point()),
            Some(Data::Histogram(histogram)) => {
                let points = &mut histogram.data_points;
                if points.last().is_none_or(|last| last.attributes != attributes) {
                    points.push(Buckets {
                        start_time_unix_nano: start,
                        time_unix_nano: now,
                        attributes,
                        ..Buckets::default()
                    });
                }
                if let Some(buckets) = points.last_mut() {
                    add(buckets, part, bound.as_deref(), value);
                }
            }
            None => {}
        }
    }
}

/// The page counts everything below a bound; OTLP what lies between two.
fn add(buckets: &mut Buckets, part: &str, bound: Option<&str>, value: f64) {
    match (part, bound) {
        ("_bucket", Some(bound)) => {
            let below: u64 = buckets.bucket_counts.iter().sum();
            buckets.bucket_counts.push((value as u64).saturating_sub(below));
            if let Ok(bound) = bound.parse::<f64>()
                && bound.is_finite()
            {
                buckets.explicit_bounds.push(bound);
            }
        }
        ("_sum", _) => buckets.sum = Some(value),
        ("_count", _) => buckets.count = value as u64,
        _ => {}
    }
}

/// The labels as attributes, and the bound of a bucket.
fn attributes(labels: &str, is_known: bool) -> (Vec<KeyValue>, Option<String>) {
    let (mut attributes, mut bound) = (Vec::new(), None);
    let mut letters = labels.chars();
    loop {
        let name: String = letters.by_ref().take_while(|letter| *letter != '=').collect();
        if letters.next() != Some('"') {
            return (attributes, bound);
        }
        let mut value = String::new();
        loop {
            match letters.next() {
                None | Some('"') => break,
                Some('\\') => value.push(match letters.next() {
                    Some('n') => '\n',
                    Some(letter) => letter,
                    None => break,
                }),
                Some(letter) => value.push(letter),
            }
        }
        match name.trim_start_matches(',') {
            "le" => bound = Some(value),
            "model" if is_known => attributes.push(text("gen_ai.request.model", value)),
            name => attributes.push(text(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Direction, Metrics};

    #[test]
    fn the_page_says_the_same_in_both_forms() {
        let metrics = Metrics::new();
        metrics.app("a \"quoted\", app").request("chat", "ok");
        let model = metrics.model("m");
        model.tokens(Direction::Input, 17);
        model.total(Duration::from_millis(7), None);
        model.total(Duration::from_secs(400), None);

        let read = read(&metrics.render(), (1, 2));

        let find =
            |name: &str| read.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}: {read:?}"));
        let Some(Data::Sum(requests)) = &find("causeway_requests").data else { panic!("a counter") };
        assert_eq!((requests.data_points.len(), requests.data_points[0].as_double), (1, Some(1.0)));
        assert!(requests.data_points[0].attributes.contains(&text("app", "a \"quoted\", app")));
        let Some(Data::Histogram(total)) = &find("gen_ai.server.request.duration").data else { panic!("a histogram") };
        let point = &total.data_points[0];
        assert_eq!(point.attributes, [text("gen_ai.request.model", "m")]);
        assert_eq!((point.count, point.sum), (2, Some(400.007)));
        assert_eq!((point.bucket_counts.len(), point.explicit_bounds.len()), (15, 14));
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), 2);
        assert_eq!((point.bucket_counts[1], point.bucket_counts[14]), (1, 1));
        assert!(matches!(find("causeway_in_flight").data, Some(Data::Gauge(_))));
    }
}
