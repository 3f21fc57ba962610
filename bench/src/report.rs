//! The figures of a run, for people and for programs.

use std::fmt::Write;

use serde_json::{json, Map, Value};

use crate::load::{Outcome, Plan};
use crate::target::{Answer, Target};

/// A table with everything a reader needs to judge the figures.
pub fn table(target: &Target, plan: &Plan, outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}/indexes/{}/search", target.url, target.index);
    let loop_kind = match plan.rate {
        Some(rate) => format!("open loop at {rate} requests/s, latency from the intended start"),
        None => "closed loop".to_owned(),
    };
    let _ = writeln!(
        text,
        "{loop_kind}, {} connections, {} queries, {:.1} s",
        plan.connections,
        plan.bodies.len(),
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
    for (name, quantile) in PERCENTILES {
        let _ = writeln!(
            text,
            "{name:>12} {:>12.3}",
            milliseconds(outcome.latency_us.value_at_quantile(quantile))
        );
    }
    let _ = writeln!(
        text,
        "{:>12} {:>12.3}",
        "max",
        milliseconds(outcome.latency_us.max())
    );
    let _ = writeln!(
        text,
        "{:>12} {:>12.3}",
        "mean",
        outcome.latency_us.mean() / 1e3
    );
    text
}

/// The same as one object.
pub fn json(target: &Target, plan: &Plan, outcome: &Outcome) -> Value {
    let percentiles = PERCENTILES.iter().map(|(name, quantile)| {
        (
            name.to_string(),
            json!(milliseconds(
                outcome.latency_us.value_at_quantile(*quantile)
            )),
        )
    });
    let mut latency: Map<String, Value> = percentiles.collect();
    latency.insert("max".into(), json!(milliseconds(outcome.latency_us.max())));
    latency.insert("mean".into(), json!(outcome.latency_us.mean() / 1e3));
    let troubles: Map<String, Value> = troubles(outcome)
        .into_iter()
        .map(|(name, count)| (name, count.into()))
        .collect();
    json!({
        "url": target.url,
        "index": target.index,
        "connections": plan.connections,
        "rate": plan.rate,
        "queries": plan.bodies.len(),
        "elapsed_s": outcome.elapsed.as_secs_f64(),
        "answers": outcome.succeeded(),
        "answers_per_second": per_second(outcome),
        "troubles": troubles,
        "latency_ms": latency,
    })
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

fn per_second(outcome: &Outcome) -> f64 {
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
