//! The figures of runs, for people and for programs.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{json, Map, Value};

use crate::compare::{Course, Figures, Side, Step};
use crate::load::{Outcome, Plan};
use crate::target::{Answer, Target};

/// A table with everything a reader needs to judge the figures.
pub fn table(target: &Target, plan: &Plan, outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", target.url);
    let _ = writeln!(
        text,
        "{}, {} connections, {} requests in turn, {:.1} s",
        loop_kind(plan.rate),
        plan.connections,
        plan.requests.len(),
        outcome.elapsed.as_secs_f64()
    );
    let _ = writeln!(
        text,
        "\n{:>12} answers   {:.1}/s",
        outcome.succeeded(),
        per_second(outcome)
    );
    for (name, count) in troubles(outcome) {
        let _ = writeln!(text, "{count:>12} {name}");
    }
    let _ = writeln!(text, "\n{:>12} {:>12}", "percentile", "ms");
    for (name, ms) in percentiles(&outcome.latency_us) {
        let _ = writeln!(text, "{name:>12} {ms:>12.3}");
    }
    text
}

/// The same as one object.
pub fn json(target: &Target, plan: &Plan, outcome: &Outcome) -> Value {
    let mut figures = outcome_json(outcome);
    figures["url"] = target.url.clone().into();
    figures["connections"] = plan.connections.into();
    figures["rate"] = plan.rate.into();
    figures["requests"] = plan.requests.len().into();
    figures
}

/// The figures of several servers, each beside the first one.
pub fn comparison_table(course: &Course, steps: &[Step], sides: &[Side]) -> String {
    let mut text = format!(
        "{} rounds of {:.1} s a server in turns, {} connections, {} requests in turn\n",
        course.rounds,
        course.duration.as_secs_f64(),
        course.connections,
        course.requests.len()
    );
    for step in steps {
        let _ = writeln!(text, "\n{}", loop_kind(step.rate));
        let _ = writeln!(
            text,
            "{:<16} {:>10} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>8} {:>6} {:>9}",
            "server",
            "answers/s",
            "ratio",
            "p50 ms",
            "p90",
            "p99",
            "p99.9",
            "p99.99",
            "max",
            "errors",
            "unsent",
            "CPU us",
            "ratio",
            "syscalls"
        );
        let first = &step.figures[0];
        for (side, figures) in sides.iter().zip(&step.figures) {
            let ms =
                |quantile| milliseconds(figures.outcome.latency_us.value_at_quantile(quantile));
            let cpu_ratio = figures
                .cpu_us
                .zip(first.cpu_us)
                .map(|(own, first)| own / first);
            let _ = writeln!(
                text,
                "{:<16} {:>10.0} {:>6.2} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>7} {:>7} {:>8} {:>6} {:>9}",
                side.target.name,
                per_second(&figures.outcome),
                per_second(&figures.outcome) / per_second(&first.outcome),
                ms(0.5),
                ms(0.9),
                ms(0.99),
                ms(0.999),
                ms(0.9999),
                ms(1.0),
                figures.outcome.failed(),
                figures.outcome.unsent,
                known(figures.cpu_us, 1),
                known(cpu_ratio, 2),
                known(figures.syscalls, 2),
            );
        }
    }
    if sides.iter().any(|side| side.pids.is_empty()) {
        text.push_str(
            "\nCPU and system calls are of servers whose processes were named with --pid.\n",
        );
    }
    text
}

/// The same as one object, with the latency curves.
pub fn comparison_json(course: &Course, steps: &[Step], sides: &[Side]) -> Value {
    let side_json = |(side, figures): (&Side, &Figures)| {
        let mut of = outcome_json(&figures.outcome);
        of["name"] = side.target.name.clone().into();
        of["url"] = side.target.url.clone().into();
        of["cpu_us"] = figures.cpu_us.into();
        of["syscalls"] = figures.syscalls.into();
        of["curve"] = json!(curve(&figures.outcome.latency_us));
        of
    };
    let steps = steps.iter().map(|step| {
        let figures = sides.iter().zip(&step.figures).map(side_json);
        json!({ "rate": step.rate, "sides": figures.collect::<Vec<_>>() })
    });
    json!({
        "connections": course.connections,
        "requests": course.requests.len(),
        "rounds": course.rounds,
        "turn_s": course.duration.as_secs_f64(),
        "steps": steps.collect::<Vec<_>>(),
    })
}

/// Points of the latency curve: how many nines of the answers (0: none, 1: 90 %, 4: 99.99 %) came within how many milliseconds.
pub fn curve(latency_us: &Histogram<u64>) -> Vec<(f64, f64)> {
    let points = (0..=40).map(|step| f64::from(step) / 10.0);
    points
        .map(|nines| {
            let quantile = 1.0 - 10_f64.powf(-nines);
            (nines, milliseconds(latency_us.value_at_quantile(quantile)))
        })
        .collect()
}

/// How requests were started.
pub fn loop_kind(rate: Option<f64>) -> String {
    match rate {
        Some(rate) => format!("open loop at {rate} requests/s, latency from the intended start"),
        None => "closed loop".to_owned(),
    }
}

fn outcome_json(outcome: &Outcome) -> Value {
    let latency: Map<String, Value> = percentiles(&outcome.latency_us)
        .map(|(name, ms)| (name.to_owned(), ms.into()))
        .collect();
    let troubles: Map<String, Value> = troubles(outcome)
        .into_iter()
        .map(|(name, count)| (name, count.into()))
        .collect();
    json!({
        "elapsed_s": outcome.elapsed.as_secs_f64(),
        "answers": outcome.succeeded(),
        "answers_per_second": per_second(outcome),
        "errors": outcome.failed(),
        "unsent": outcome.unsent,
        "troubles": troubles,
        "latency_ms": latency,
    })
}

/// Named percentiles, the largest and the mean, in milliseconds.
fn percentiles(latency_us: &Histogram<u64>) -> impl Iterator<Item = (&'static str, f64)> + '_ {
    let ends = [
        ("max", milliseconds(latency_us.max())),
        ("mean", latency_us.mean() / 1e3),
    ];
    let at = |(name, quantile)| (name, milliseconds(latency_us.value_at_quantile(quantile)));
    PERCENTILES.into_iter().map(at).chain(ends)
}

fn known(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Everything that was not a full answer, by kind.
fn troubles(outcome: &Outcome) -> Vec<(String, u64)> {
    let mut troubles: Vec<(String, u64)> = outcome
        .answers
        .iter()
        .filter_map(|(answer, count)| match answer {
            Answer::Ok { degraded: false } => None,
            Answer::Ok { degraded: true } => {
                Some(("degraded answers (counted above)".to_owned(), *count))
            }
            Answer::Status(status) => Some((format!("status {status}"), *count)),
            Answer::Failed(why) => Some((format!("without an answer: {why}"), *count)),
        })
        .collect();
    if outcome.unsent > 0 {
        troubles.push((
            "not sent: every connection was busy".to_owned(),
            outcome.unsent,
        ));
    }
    troubles
}

/// Good answers a second.
pub fn per_second(outcome: &Outcome) -> f64 {
    outcome.succeeded() as f64 / outcome.elapsed.as_secs_f64().max(1e-9)
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e3
}

const PERCENTILES: [(&str, f64); 8] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.5", 0.995),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];
