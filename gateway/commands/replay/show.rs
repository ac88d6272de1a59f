//! The answer, for people and as JSON.

use std::fmt::Write as _;

use replay::{Comparison, Difference};
use serde_json::{Value, json};

use super::Series;
use super::world::World;

pub(super) struct Shown<'a> {
    pub(super) world: &'a World,
    pub(super) what_if: Option<&'a World>,
    pub(super) series: &'a [Series],
    /// Names of the targets, for each of the series.
    pub(super) targets: &'a [Vec<String>],
    pub(super) comparison: Option<Comparison>,
}

/// Moves that a table shows.
const MOST_MOVES: usize = 12;

impl Shown<'_> {
    pub(super) fn title(&self) -> String {
        let trace = &self.world.trace;
        format!("Replay of {} requests in {:.0} minutes", trace.rows.len(), trace.seconds() / 60.0)
    }

    /// What the reader must know: assumptions, and what the replay does not answer for.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.world.notes.clone();
        for note in self.what_if.iter().flat_map(|world| &world.notes) {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        for (why, count) in &self.world.trace.left_out {
            notes.push(format!("Left out of the trace: {count} {why}."));
        }
        notes.push(
            "Servers and clouds are models with stated constants; figures are as good as these constants are."
                .to_owned(),
        );
        notes
    }

    pub(super) fn table(&self) -> String {
        let mut out = format!("{}\n\n", self.title());
        line(
            &mut out,
            format_args!(
                "{:<22}{:>11}{:>11}{:>10}{:>24}{:>11}{:>9}{:>9}{:>11}",
                "",
                "cloud $/h",
                "total $/h",
                "in time",
                "first token p50/95/99",
                "to clouds",
                "429/1000",
                "denied",
                "requests/s",
            ),
        );
        for Series { name, summary, speed, .. } in self.series {
            let first = format!("{:.2} {:.2} {:.2} s", summary.first[0], summary.first[1], summary.first[2]);
            line(
                &mut out,
                format_args!(
                    "{name:<22}{:>11.2}{:>11.2}{:>8.2} %{first:>24}{:>9.1} %{:>9.2}{:>9}{speed:>11.0}",
                    summary.usd_per_hour,
                    summary.total_usd_per_hour,
                    summary.in_time * 100.0,
                    summary.cloud_share * 100.0,
                    summary.refusals_per_thousand,
                    summary.denied,
                ),
            );
        }
        if let Some(comparison) = &self.comparison {
            self.differences(&mut out, comparison);
        }
        out.push('\n');
        for note in self.notes() {
            line(&mut out, format_args!("{note}"));
        }
        out.trim_end().to_owned()
    }

    fn differences(&self, out: &mut String, comparison: &Comparison) {
        out.push('\n');
        line(
            out,
            format_args!(
                "{:<22}{:>10}{:>9}{:>11}{:>8}{:>8}{:>8}{:>8}{:>9}{:>13}{:>13}",
                "app",
                "requests",
                "denied",
                "permitted",
                "moved",
                "slower",
                "sooner",
                "dearer",
                "cheaper",
                "$ before",
                "$ what if",
            ),
        );
        let all = std::iter::once(("all", &comparison.all));
        for (app, d) in all.chain(comparison.by_app.iter().map(|(app, d)| (app.as_str(), d))) {
            line(
                out,
                format_args!(
                    "{app:<22}{:>10}{:>9}{:>11}{:>8}{:>8}{:>8}{:>8}{:>9}{:>13.4}{:>13.4}",
                    d.requests,
                    d.denied,
                    d.permitted,
                    d.moved,
                    d.slower,
                    d.sooner,
                    d.dearer,
                    d.cheaper,
                    d.usd[0],
                    d.usd[1],
                ),
            );
        }
        for (from, to, count) in comparison.moves.iter().take(MOST_MOVES) {
            line(out, format_args!("{count:>10}  {} -> {}", self.name(0, *from), self.name(1, *to)));
        }
    }

    fn name(&self, series: usize, target: Option<u16>) -> &str {
        let targets = self.targets.get(series).map_or(&[][..], Vec::as_slice);
        target.and_then(|target| targets.get(usize::from(target))).map_or("no target", String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        let series = self.series.iter().map(|Series { name, summary, .. }| {
            json!({
                "name": name,
                "requests": summary.requests,
                "denied": summary.denied,
                "refused": summary.refused,
                "cloud_usd_per_hour": summary.usd_per_hour,
                "total_usd_per_hour": summary.total_usd_per_hour,
                "in_time": summary.in_time,
                "batch_in_time": summary.batch_in_time,
                "first_token_s": { "p50": summary.first[0], "p95": summary.first[1], "p99": summary.first[2] },
                "cloud_share": summary.cloud_share,
                "refusals_per_thousand": summary.refusals_per_thousand,
                "prediction_error": summary.prediction_error,
            })
        });
        let mut answer = json!({
            "requests": self.world.trace.rows.len(),
            "seconds": self.world.trace.seconds(),
            "notes": self.notes(),
            "runs": series.collect::<Vec<_>>(),
        });
        if let (Some(comparison), Some(answer)) = (&self.comparison, answer.as_object_mut()) {
            let by_app = comparison.by_app.iter().map(|(app, d)| (app.clone(), difference(d)));
            let moves = comparison.moves.iter().map(|(from, to, count)| {
                json!({ "from": self.target(0, *from), "to": self.target(1, *to), "requests": count })
            });
            let compared = json!({
                "all": difference(&comparison.all),
                "by_app": by_app.collect::<serde_json::Map<_, _>>(),
                "moves": moves.collect::<Vec<_>>(),
            });
            answer.insert("what_if".to_owned(), compared);
        }
        answer
    }

    fn target(&self, series: usize, target: Option<u16>) -> Option<&str> {
        target.map(|target| self.name(series, Some(target)))
    }
}

fn difference(d: &Difference) -> Value {
    json!({
        "requests": d.requests,
        "denied": d.denied,
        "permitted": d.permitted,
        "moved": d.moved,
        "slower": d.slower,
        "sooner": d.sooner,
        "dearer": d.dearer,
        "cheaper": d.cheaper,
        "usd_before": d.usd[0],
        "usd_what_if": d.usd[1],
    })
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all that is written to it");
    out.push('\n');
}
