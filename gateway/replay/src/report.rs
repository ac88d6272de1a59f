//! The report: one HTML page that needs nothing else, with the figures and three plots.
//!
//! Text comes from scenarios, configurations and traces, so every piece of it is escaped.

use std::fmt::Write as _;

use crate::compare::Comparison;
use crate::outcome::{Run, Summary};
use crate::page::{escaped, opened};

mod plot;

use plot::{Line, lines, stacks};

/// One run, with what the page says of it.
#[derive(Clone, Copy, Debug)]
pub struct Played<'a> {
    /// Its name: a router, `now` or `with the new policy`.
    pub name: &'a str,
    /// The run of the first seed.
    pub run: &'a Run,
    /// The sums over all seeds.
    pub summary: &'a Summary,
    /// The names of its targets.
    pub targets: &'a [&'a str],
}

/// What the page is about.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// What was played, in a line.
    pub title: &'a str,
    /// What holds for all of it: assumptions, and what was left out. One paragraph each.
    pub notes: &'a [String],
    /// The seconds that the trace lasts.
    pub seconds: f64,
    /// The first-token target, in seconds.
    pub first_token: f64,
    /// The runs, at least one; plots show the first four.
    pub played: &'a [Played<'a>],
    /// The difference of the first two.
    pub comparison: Option<&'a Comparison>,
}

/// Parts of the time that plots over time show.
const SLICES: usize = 48;

/// Runs that fit into a plot.
const MOST: usize = 4;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
td,th{padding:.3rem .6rem;border-bottom:1px solid #d8dee6;text-align:right;font-variant-numeric:tabular-nums}\
td:first-child,th:first-child{text-align:left}p.note{color:#4d5a6b}svg{width:100%;height:auto}\
svg text{font:12px system-ui,sans-serif;fill:#4d5a6b}";

/// Writes the page.
#[must_use]
pub fn html(page: &Page<'_>) -> String {
    let mut out = opened(page.title, STYLE);
    for note in page.notes {
        put(&mut out, format_args!("<p class=\"note\">{}</p>\n", escaped(note)));
    }
    summaries(&mut out, page);
    if let Some(comparison) = page.comparison {
        differences(&mut out, page, comparison);
    }
    let shown: Vec<&Played<'_>> = page.played.iter().take(MOST).collect();
    out.push_str(
        "<h2>Time to the first token</h2>\n<p>Share of the requests whose first token came within this time.</p>\n",
    );
    out.push_str(&first_tokens(page, &shown));
    out.push_str("<h2>Cloud cost over time</h2>\n<p>Dollars an hour.</p>\n");
    out.push_str(&cost_over_time(page, &shown));
    for played in &shown {
        put(&mut out, format_args!("<h2>Where requests went: {}</h2>\n", escaped(played.name)));
        out.push_str("<p>Requests a second, by the target that answered.</p>\n");
        out.push_str(&places(page, played));
    }
    out.push_str("</body></html>\n");
    out
}

/// Writing to a string cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all that is written to it");
}

fn summaries(out: &mut String, page: &Page<'_>) {
    out.push_str(
        "<table><tr><th></th><th>cloud $/h</th><th>total $/h</th><th>in time</th><th>first token p50</th><th>p95</th>\
         <th>p99</th><th>to clouds</th><th>429s per 1000</th><th>denied</th></tr>\n",
    );
    for Played { name, summary, .. } in page.played {
        put(
            out,
            format_args!(
                "<tr><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2} %</td><td>{:.2} s</td><td>{:.2} s</td>\
                 <td>{:.2} s</td><td>{:.1} %</td><td>{:.2}</td><td>{}</td></tr>\n",
                escaped(name),
                summary.usd_per_hour,
                summary.total_usd_per_hour,
                summary.in_time * 100.0,
                summary.first[0],
                summary.first[1],
                summary.first[2],
                summary.cloud_share * 100.0,
                summary.refusals_per_thousand,
                summary.denied,
            ),
        );
    }
    out.push_str("</table>\n");
}

fn differences(out: &mut String, page: &Page<'_>, comparison: &Comparison) {
    out.push_str(
        "<h2>What would be different</h2>\n<table><tr><th>app</th><th>requests</th><th>denied now</th>\
         <th>permitted now</th><th>moved</th><th>slower</th><th>sooner</th><th>dearer</th><th>cheaper</th>\
         <th>dollars before</th><th>now</th></tr>\n",
    );
    let all = [("all", &comparison.all)];
    for (app, d) in all.into_iter().chain(comparison.by_app.iter().map(|(app, d)| (app.as_str(), d))) {
        put(
            out,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
                 <td>{}</td><td>{:.4}</td><td>{:.4}</td></tr>\n",
                escaped(app),
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
    out.push_str("</table>\n<table><tr><th>from</th><th>to</th><th>requests</th></tr>\n");
    let name = |index: usize, target: Option<u16>| {
        let targets = page.played.get(index).map_or(&[][..], |played| played.targets);
        target.and_then(|target| targets.get(usize::from(target)).copied()).unwrap_or("no target").to_owned()
    };
    for (from, to, count) in comparison.moves.iter().take(20) {
        let (from, to) = (name(0, *from), name(1, *to));
        put(out, format_args!("<tr><td>{}</td><td>{}</td><td>{count}</td></tr>\n", escaped(&from), escaped(&to)));
    }
    out.push_str("</table>\n");
}

fn first_tokens(page: &Page<'_>, shown: &[&Played<'_>]) -> String {
    let most = page.first_token * 3.0;
    let curves: Vec<Line<'_>> = shown
        .iter()
        .map(|played| {
            let answered = played.run.outcomes.iter().filter(|o| o.end.target().is_some() && !o.batch);
            let mut firsts: Vec<f64> = answered.map(|outcome| f64::from(outcome.first)).collect();
            firsts.sort_by(f64::total_cmp);
            let share = |at: f64| firsts.partition_point(|first| *first <= at) as f64 / firsts.len().max(1) as f64;
            let points = (0..=120).map(|step| f64::from(step) / 120.0 * most).map(|at| (at, share(at) * 100.0));
            Line { name: played.name, points: points.collect() }
        })
        .collect();
    lines(&curves, (most, "s"), (100.0, "%"), Some(page.first_token))
}

fn cost_over_time(page: &Page<'_>, shown: &[&Played<'_>]) -> String {
    let slice = (page.seconds / SLICES as f64).max(1e-9);
    let mut most = 1.0_f64;
    let mut curves: Vec<Line<'_>> = Vec::new();
    for played in shown {
        let mut usd = [0.0; SLICES];
        for outcome in &played.run.outcomes {
            usd[((outcome.at / slice) as usize).min(SLICES - 1)] += outcome.usd;
        }
        let per_hour = usd.map(|usd| usd / slice * 3_600.0);
        most = per_hour.into_iter().fold(most, f64::max);
        let points = per_hour.into_iter().enumerate().map(|(i, usd)| ((i as f64 + 0.5) * slice / 60.0, usd));
        curves.push(Line { name: played.name, points: points.collect() });
    }
    lines(&curves, (page.seconds / 60.0, "min"), (most, "$/h"), None)
}

fn places(page: &Page<'_>, played: &Played<'_>) -> String {
    let slice = (page.seconds / SLICES as f64).max(1e-9);
    let mut counts = vec![[0.0; SLICES]; played.targets.len()];
    for outcome in &played.run.outcomes {
        let slot = ((outcome.at / slice) as usize).min(SLICES - 1);
        if let Some(counts) = outcome.end.target().and_then(|target| counts.get_mut(usize::from(target))) {
            counts[slot] += 1.0 / slice;
        }
    }
    let stacked: Vec<Line<'_>> = played
        .targets
        .iter()
        .zip(&counts)
        .map(|(name, counts)| Line {
            name,
            points: counts.iter().enumerate().map(|(i, count)| (i as f64 * slice / 60.0, *count)).collect(),
        })
        .collect();
    stacks(&stacked, page.seconds / 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{End, Outcome};

    #[test]
    fn a_page_needs_nothing_else_and_escapes_every_name() {
        let outcome = |at, first| Outcome {
            at,
            profile: 0,
            end: End::Answered(0),
            first,
            total: 1.0,
            usd: 0.01,
            batch: false,
            in_time: true,
            burst: false,
        };
        let run = Run { outcomes: vec![outcome(0.0, 0.2), outcome(30.0, 0.4)], ..Run::default() };
        let summary = run.summary(60.0, 0.0, |_| true);
        let played = Played { name: "<now>", run: &run, summary: &summary, targets: &["gpu-1/<script>"] };
        let page = Page {
            title: "a & b",
            notes: &["so it is".to_owned()],
            seconds: 60.0,
            first_token: 1.5,
            played: &[played],
            comparison: None,
        };

        let html = html(&page);

        assert!(html.contains("a &amp; b") && html.contains("gpu-1/&lt;script&gt;") && !html.contains("<script"));
        assert!(!html.contains("http://") && !html.contains("https://"), "nothing is fetched from anywhere");
        assert_eq!(html.matches("<svg").count(), 3);
    }
}
