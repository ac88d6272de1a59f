//! Two kinds of plots as SVG: lines, and stacked areas.

use std::fmt::Write as _;

use crate::page::escaped;

/// A named row of points.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 40.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 28.0;

/// Height of a row of names below a plot, and the width of a letter in it, rather wide than narrow.
const ROW: f64 = 18.0;
const LETTER: f64 = 7.2;

/// Told apart by lightness as well as by hue.
const COLOURS: [&str; 8] = ["#0b5cad", "#d1661a", "#2c8a57", "#8d3f97", "#5b6b7f", "#c3a21b", "#b03048", "#3aa6b9"];

/// Lines over axes that begin at 0. `mark` is a value of the lower axis that is drawn in.
pub(super) fn lines(lines: &[Line<'_>], x: (f64, &str), y: (f64, &str), mark: Option<f64>) -> String {
    let mut out = frame(x, y, places(lines).1);
    if let Some(mark) = mark {
        let at = across(mark, x.0);
        put(
            &mut out,
            format_args!(
                "<path d=\"M{at:.1} {TOP}V{:.1}\" stroke=\"#9aa6b5\" stroke-dasharray=\"4\"/>",
                HEIGHT - BOTTOM
            ),
        );
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        for (index, point) in line.points.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            put(&mut path, format_args!("{letter}{:.1} {:.1}", across(point.0, x.0), up(point.1, y.0)));
        }
        put(&mut out, format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
    }
    legend(&mut out, lines);
    out.push_str("</svg>\n");
    out
}

/// Rows of equal length, one on top of the other, over the same points of time.
pub(super) fn stacks(lines: &[Line<'_>], most_x: f64) -> String {
    let count = lines.first().map_or(0, |line| line.points.len());
    let height =
        |index: usize| lines.iter().filter_map(|line| line.points.get(index)).map(|point| point.1).sum::<f64>();
    let most = (0..count).map(height).fold(0.1, f64::max);
    let mut out = frame((most_x, "min"), (most, "a second"), places(lines).1);
    let width = (WIDTH - LEFT - RIGHT) / count.max(1) as f64;
    for index in 0..count {
        let mut below = 0.0;
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let Some((at, value)) = line.points.get(index).copied() else { continue };
            if value > 0.0 {
                let (top, bottom) = (up(below + value, most), up(below, most));
                let (left, tall) = (across(at, most_x), bottom - top);
                put(
                    &mut out,
                    format_args!(
                        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{colour}\"/>",
                        width + 0.3
                    ),
                );
            }
            below += value;
        }
    }
    legend(&mut out, lines);
    out.push_str("</svg>\n");
    out
}

/// The axes, with room for so many rows of names below them.
fn frame(x: (f64, &str), y: (f64, &str), rows: usize) -> String {
    let height = HEIGHT + ROW * rows as f64;
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let (at, value) = (up(part, 1.0), part * y.0);
        put(&mut out, format_args!("<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#e3e8ee\"/>", WIDTH - RIGHT));
        put(
            &mut out,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                tick(value)
            ),
        );
        let (at, value) = (across(part, 1.0), part * x.0);
        put(
            &mut out,
            format_args!(
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM + 18.0,
                tick(value)
            ),
        );
    }
    put(&mut out, format_args!("<text x=\"{LEFT}\" y=\"{:.1}\">{}</text>", TOP - 12.0, escaped(y.1)));
    put(
        &mut out,
        format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 4.0,
            escaped(x.1)
        ),
    );
    out
}

/// Where each name stands below the plot, and how many rows that takes. A row is as wide as the plot.
fn places(lines: &[Line<'_>]) -> (Vec<(f64, f64)>, usize) {
    let (mut at, mut row) = (LEFT, 0);
    let places = lines.iter().map(|line| {
        let wide = 30.0 + LETTER * line.name.chars().count() as f64;
        if at > LEFT && at + wide > WIDTH - RIGHT {
            (at, row) = (LEFT, row + 1);
        }
        let place = (at, HEIGHT + ROW * row as f64);
        at += wide;
        place
    });
    let places: Vec<(f64, f64)> = places.collect();
    (places, row + 1)
}

fn legend(out: &mut String, lines: &[Line<'_>]) {
    let (places, _) = places(lines);
    for ((line, colour), (at, top)) in lines.iter().zip(COLOURS.iter().cycle()).zip(places) {
        put(out, format_args!("<rect x=\"{at:.1}\" y=\"{top:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"));
        let (beside, base) = (at + 14.0, top + 9.0);
        put(out, format_args!("<text x=\"{beside:.1}\" y=\"{base:.1}\">{}</text>", escaped(line.name)));
    }
}

fn across(value: f64, most: f64) -> f64 {
    LEFT + (value / most.max(1e-12)).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
}

fn up(value: f64, most: f64) -> f64 {
    HEIGHT - BOTTOM - (value / most.max(1e-12)).clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
}

fn tick(value: f64) -> String {
    if value >= 10.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_many_targets_all_stand_inside_the_picture() {
        let names: Vec<String> = (1..=12).map(|number| format!("endpoint-{number}/llama-3.3-70b")).collect();
        let lines: Vec<Line<'_>> = names.iter().map(|name| Line { name, points: vec![(0.0, 1.0)] }).collect();

        let (places, rows) = places(&lines);
        let picture = stacks(&lines, 10.0);

        let ends = places.iter().zip(&names).map(|((at, _), name)| at + 14.0 + LETTER * name.len() as f64);
        assert!(ends.into_iter().all(|end| end <= WIDTH), "{places:?}");
        assert!(places.iter().all(|(_, top)| *top < HEIGHT + ROW * rows as f64), "{places:?}");
        assert!(names.iter().all(|name| picture.contains(&format!(">{name}</text>"))), "{picture}");
    }
}
