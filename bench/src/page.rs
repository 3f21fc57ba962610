//! A comparison as one HTML page that needs nothing else: latency curves as SVG, and the table.

use std::fmt::Write;

use crate::compare::{Side, Step};
use crate::report::{curve, loop_kind, per_second};

/// The page. `table` is the plain text of the same figures.
pub fn html(sides: &[Side], steps: &[Step], table: &str) -> String {
    let mut body = legend(sides);
    for step in steps {
        let lines: Vec<Line> = step
            .figures
            .iter()
            .map(|figures| curve(&figures.outcome.latency_us))
            .collect();
        let _ = write!(body, "<h2>{}</h2>", escaped(&loop_kind(step.rate)));
        body.push_str(&chart(&lines, &NINES, "answers within", false));
    }
    if steps.len() > 1 {
        body.push_str("<h2>p99 by throughput</h2>");
        let line = |side: usize| -> Line {
            let points = steps.iter().map(|step| {
                let outcome = &step.figures[side].outcome;
                let p99_us = outcome.latency_us.value_at_quantile(0.99);
                (per_second(outcome), p99_us as f64 / 1e3)
            });
            points.collect()
        };
        let lines: Vec<Line> = (0..sides.len()).map(line).collect();
        let most = lines.iter().flatten().map(|point| point.0);
        let ticks = rounded_ticks(most.fold(1.0, f64::max));
        body.push_str(&chart(&lines, &ticks, "answers a second", true));
    }
    let _ = write!(body, "<h2>Figures</h2><pre>{}</pre>", escaped(table));
    format!("{HEAD}{body}</body></html>\n")
}

/// Milliseconds over something.
type Line = Vec<(f64, f64)>;
/// A place on the horizontal axis and what it is called.
type Tick = (f64, String);

/// Lines of milliseconds on a logarithmic axis over ticks from 0 to the last one.
fn chart(lines: &[Line], ticks: &[impl AsTick], title: &str, dots: bool) -> String {
    let ticks: Vec<Tick> = ticks.iter().map(AsTick::tick).collect();
    let right = ticks.last().map_or(1.0, |tick| tick.0);
    let values = || lines.iter().flatten().map(|point| point.1.max(1e-3));
    let low = values().fold(f64::MAX, f64::min).log10().floor();
    let high = values().fold(1e-3, f64::max).log10().ceil().max(low + 1.0);
    let x = |value: f64| LEFT + value / right * WIDTH;
    let y = |ms: f64| TOP + (high - ms.max(1e-3).log10()) / (high - low) * HEIGHT;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\">",
        LEFT + WIDTH + 30.0,
        TOP + HEIGHT + 50.0
    );
    for exponent in low as i32..=high as i32 {
        for part in if exponent < high as i32 { 1..10 } else { 1..2 } {
            let ms = f64::from(part) * 10_f64.powi(exponent);
            let class = if part == 1 { "grid" } else { "fine" };
            let _ = write!(
                svg,
                "<path class=\"{class}\" d=\"M{LEFT} {0:.1}h{WIDTH}\"/>",
                y(ms)
            );
        }
        let ms = 10_f64.powi(exponent);
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>",
            LEFT - 8.0,
            y(ms) + 4.0
        );
    }
    for (value, name) in &ticks {
        let (at, foot) = (x(*value), TOP + HEIGHT);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}v{HEIGHT}\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            foot + 18.0
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{title}</text>",
        LEFT + WIDTH / 2.0,
        TOP + HEIGHT + 40.0
    );
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<String> = line
            .iter()
            .map(|(value, ms)| format!("{:.1},{:.1}", x(*value), y(*ms)))
            .collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" stroke=\"{colour}\"/>",
            points.join(" ")
        );
        for point in points.iter().filter(|_| dots) {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = write!(
                svg,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>"
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

trait AsTick {
    fn tick(&self) -> Tick;
}

impl AsTick for (f64, &str) {
    fn tick(&self) -> Tick {
        (self.0, self.1.to_owned())
    }
}

impl AsTick for f64 {
    fn tick(&self) -> Tick {
        (*self, format!("{self}"))
    }
}

/// Up to eight steps of 1, 2 or 5 times a power of ten, from 0 to past `most`.
fn rounded_ticks(most: f64) -> Vec<f64> {
    let power = 10_f64.powf((most / 8.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| step * 8.0 >= most)
        .unwrap_or(most);
    (0..=(most / step).ceil() as i32)
        .map(|number| f64::from(number) * step)
        .collect()
}

fn legend(sides: &[Side]) -> String {
    let entries = sides.iter().zip(COLOURS.iter().cycle());
    let entries: String = entries
        .map(|(side, colour)| {
            let name = escaped(&side.target.name);
            format!("<span><i style=\"background:{colour}\"></i>{name}</span>")
        })
        .collect();
    format!("<p class=\"legend\">{entries}</p>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const LEFT: f64 = 80.0;
const TOP: f64 = 12.0;
const WIDTH: f64 = 780.0;
const HEIGHT: f64 = 300.0;
/// Told apart by people who see few colours (Okabe and Ito's palette).
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];
const NINES: [(f64, &str); 6] = [
    (0.0, "0"),
    (std::f64::consts::LOG10_2, "50 %"),
    (1.0, "90 %"),
    (2.0, "99 %"),
    (3.0, "99.9 %"),
    (4.0, "99.99 %"),
];
const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>miroir-bench compare</title><style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#222}\
h2{font-size:1.05rem;margin:2rem 0 .3rem}svg{width:100%}text{font-size:12px;fill:#444}\
.grid{stroke:#ccc;fill:none}.fine{stroke:#eee;fill:none}polyline{fill:none;stroke-width:2}\
pre{overflow-x:auto;font-size:12px}.legend span{margin-right:1.5rem}\
.legend i{display:inline-block;width:1.2rem;height:.35rem;margin-right:.4rem;vertical-align:middle}\
</style></head><body><h1>Side by side</h1>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        assert_eq!(rounded_ticks(7.9).last(), Some(&8.0));
        assert_eq!(rounded_ticks(38_000.0)[1], 5000.0);
        for most in [1.0, 3.0, 999.0, 12_345.0] {
            let ticks = rounded_ticks(most);
            assert!(
                ticks.len() <= 9 && *ticks.last().unwrap() >= most,
                "{ticks:?}"
            );
        }
    }

    #[test]
    fn a_line_stays_in_its_chart() {
        let lines = [vec![(0.0, 0.2), (4.0, 30.0)], vec![(0.0, 0.0), (4.0, 0.5)]];
        let svg = chart(&lines, &NINES, "answers within", true);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("100 ms") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
